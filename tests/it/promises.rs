//! What migrate promises at its edges: losses by class, roles, encodings, full-text tables, keys to tables that are left out.

use crate::support::{Case, Database, addresses};

#[test]
fn only_classes_of_losses_that_there_are_can_be_allowed() {
    let database = Database::fresh();
    let case = Case::new("allow").source_sql("CREATE TABLE t(a); CREATE VIEW v AS SELECT randomblob(4) FROM missing").database(&database);
    let wrong = case.run("migrate {source} --to {url} --allow trigers").exit(2);
    assert!(wrong.stderr.contains("did you mean `triggers`?"), "{wrong}");
    let damage = case.run("migrate {source} --to {url} --allow views,damage").exit(2);
    assert!(damage.stderr.contains("half a copy must not look whole"), "{damage}");
    assert_eq!(database.value("SELECT to_regclass('t') IS NULL"), "t");
    case.run("migrate {source} --to {url}").exit(1);
    case.run("migrate {source} --to {url} --allow triggers,views --replace --yes").exit(0);
}

#[test]
fn a_role_owns_what_it_makes_and_reads_what_it_compares() {
    let database = Database::fresh();
    let role = format!("{}_owner", database.name);
    database.execute(&format!("CREATE ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER; GRANT CREATE ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}", database.name));
    let case = Case::new("role").source_sql("CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").database(&database);
    case.run(&format!("migrate {{source}} --to {{url}} --role {role}")).exit(0);
    assert_eq!(database.value("SELECT tableowner FROM pg_tables WHERE tablename = 't'"), role);
    case.run(&format!("verify {{source}} --to {{url}} --role {role}")).exit(0);
    // Whoever may not read is told so: the role it is that reads.
    let other = format!("{}_other", database.name);
    database.execute(&format!("CREATE ROLE {other} NOLOGIN; GRANT {other} TO CURRENT_USER"));
    let refused = case.run(&format!("verify {{source}} --to {{url}} --role {other} --json")).exit(2);
    assert!(refused.stdout.contains("permission denied"), "{refused}");
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}; DROP OWNED BY {other}; DROP ROLE {other}"));
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused() {
    let maintenance = Database::fresh();
    let name = format!("{}_latin", maintenance.name);
    for encoding in ["LATIN1", "SQL_ASCII"] {
        maintenance.run_outside(&format!("CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"));
        let case = Case::new(encoding).source_sql("CREATE TABLE t(a); INSERT INTO t VALUES ('é')");
        let url = addresses().database_url_of(&name);
        let refused = case.run(&format!("migrate {{source}} --to {url} --json")).exit(2);
        assert_eq!(refused.json()["error"]["code"], "target_encoding", "{refused}");
        assert_eq!(refused.json()["error"]["target_changed"], false);
        maintenance.run_outside(&format!("DROP DATABASE {name}"));
    }
}

#[test]
fn a_full_text_table_keeps_the_ids_that_others_know_its_rows_by() {
    let database = Database::fresh();
    let case = Case::new("fts ids")
        .source_sql(
            "CREATE VIRTUAL TABLE docs USING fts5(title, body);
             INSERT INTO docs(rowid, title, body) VALUES (7, 'seven', 'x'), (40, 'forty', 'y');
             CREATE VIRTUAL TABLE old USING fts4(body); INSERT INTO old(docid, body) VALUES (5, 'five');
             CREATE TABLE read(doc INTEGER, at TEXT); INSERT INTO read VALUES (40, 'now');",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(database.rows("SELECT d.title FROM read r JOIN docs d ON d.rowid = r.doc"), ["forty"]);
    assert_eq!(database.rows("SELECT rowid, body FROM old"), ["5|five"]);
    assert_eq!(database.value("INSERT INTO docs(title) VALUES ('next') RETURNING rowid"), "41");
}

#[test]
fn a_full_text_table_whose_content_is_gone_stops_nothing() {
    let database = Database::fresh();
    let case = Case::new("external content")
        .source_sql(
            "CREATE TABLE pages(id INTEGER PRIMARY KEY, body TEXT); INSERT INTO pages VALUES (1, 'a');
             CREATE VIRTUAL TABLE found USING fts5(body, content='pages', content_rowid='id');
             INSERT INTO found(found) VALUES ('rebuild'); DROP TABLE pages;
             CREATE TABLE t(a INTEGER); INSERT INTO t VALUES (1);",
        )
        .database(&database);
    let output = case.run("migrate {source} --to {url} --json").exit(1);
    let report = output.json();
    assert_eq!(report["outcome"], "incomplete");
    let lost = report["exit_reasons"].as_array().unwrap().iter().find(|reason| reason["object"] == "found").cloned();
    assert_eq!(lost.unwrap_or_else(|| panic!("{output}"))["code"], "table_missing");
    assert_eq!(database.value("SELECT a FROM t"), "1");
    case.run("migrate {source} --to {url} --allow tables --replace --yes").exit(0);
}

#[test]
fn a_default_that_spells_a_truth_is_one() {
    let database = Database::fresh();
    let case = Case::new("truth")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a BOOLEAN DEFAULT 'yes', b BOOLEAN DEFAULT 'off'); INSERT INTO t VALUES (1, 1, 0)",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(database.rows("INSERT INTO t DEFAULT VALUES RETURNING a, b"), ["t|f"]);
}

#[test]
fn rows_that_postgresql_refused_are_found_without_being_told_where() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY, n int CHECK (n > 0))");
    let case = Case::new("rejects in the journal")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 5), (2, -5)")
        .database(&database);
    case.run("migrate {source} --to {url}").exit(1);
    let verdict = case.run("verify {source} --to {url} --json").exit(0).json();
    assert_eq!((verdict["outcome"].as_str(), verdict["tables"][0]["rows_set_aside"].as_i64()), (Some("identical"), Some(1)));
    // Moved away, the row is missing, and it is said why that may be.
    std::fs::rename(case.dir().join("candlefish-rejects"), case.dir().join("elsewhere")).unwrap();
    let verdict = case.run("verify {source} --to {url}").exit(1);
    assert!(verdict.stderr.contains("--rejects DIR"), "{verdict}");
}

#[test]
fn a_key_to_a_table_that_is_left_out_holds_where_the_target_has_the_table() {
    let database = Database::fresh();
    let case = Case::new("excluded parent")
        .source_sql(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1);
             CREATE TABLE child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent); INSERT INTO child VALUES (1, 1);",
        )
        .database(&database);
    let left_out = case.run("migrate {source} --to {url} --exclude parent --json").exit(1).json();
    assert!(left_out["exit_reasons"].to_string().contains("foreign_key_missing"), "{left_out}");
    database.execute("DROP TABLE child");
    case.run("migrate {source} --to {url} --include parent").exit(0);
    case.run("migrate {source} --to {url} --exclude parent").exit(0);
    assert!(database.try_execute("INSERT INTO child VALUES (2, 99)").is_err(), "the key holds");
}

#[test]
fn what_fails_in_the_middle_of_a_chunk_has_changed_the_target() {
    let database = Database::fresh();
    // Who may make no temporary tables cannot ask before what only the server refuses.
    let role = format!("{}_poor", database.name);
    database.execute(&format!(
        "CREATE TABLE t(id bigint PRIMARY KEY, n int CHECK (n < 100)); CREATE ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER; ALTER TABLE t OWNER TO {role};
         REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC; GRANT CREATE ON DATABASE {name} TO {role}",
        name = database.name
    ));
    let case = Case::new("misfit in a chunk")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 5), (2, 500)")
        .database(&database);
    let failed = case.run(&format!("migrate {{source}} --to {{url}} --role {role} --on-misfit fail --json")).exit(2);
    let error = &failed.json()["error"];
    assert_eq!(error["target_changed"], true, "{failed}");
    assert!(error["message"].as_str().unwrap().contains("copy table \"t\": table \"t\": rowid 2"), "{failed}");
    database.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn what_a_given_table_lacks_of_the_sources_schema_is_said() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE parent(id bigint PRIMARY KEY, code text);
         CREATE TABLE child(id bigint PRIMARY KEY, p bigint, name text NOT NULL);
         CREATE VIEW names AS SELECT 1 AS other; CREATE SEQUENCE taken",
    );
    let case = Case::new("given schema")
        .source_sql(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE); INSERT INTO parent VALUES (1, 'a');
             CREATE TABLE child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent, name TEXT NOT NULL); INSERT INTO child VALUES (1, 1, 'x');
             CREATE INDEX child_name ON child(name); CREATE VIEW names AS SELECT name FROM child; CREATE VIEW taken AS SELECT 1 AS one;",
        )
        .database(&database);
    // A view whose name something else has is lost, and so is what a given table lacks; that its application gives the ids itself is weaker.
    let output = case.run("migrate {source} --to {url} --json").exit(1);
    let report = output.json();
    let said = |severity: &str| -> Vec<String> {
        let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == severity);
        let mut said: Vec<String> = all.map(|warning| warning["object"].as_str().unwrap().to_string()).collect();
        said.sort();
        said
    };
    assert_eq!(said("loss"), ["child.child_name", "child.p → parent", "names", "parent.code", "parent.code", "taken"], "{output}");
    assert_eq!(said("weaker"), ["child.id", "parent.id"], "{output}");
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"), "2");
    case.run("migrate {source} --to {url} --existing truncate --allow views").exit(1);
    let all = "views,indexes,uniques,not-nulls,foreign-keys";
    case.run(&format!("migrate {{source}} --to {{url}} --existing truncate --allow {all}")).exit(0);
    case.run(&format!("migrate {{source}} --to {{url}} --existing truncate --allow {all} --strict")).exit(1);
    case.run(&format!("migrate {{source}} --to {{url}} --existing truncate --allow {all},sequences --strict")).exit(0);
}

#[test]
fn text_that_postgresql_cannot_hold_is_kept_as_the_mapping_says() {
    for (choice, two, three) in [
        ("strip", "ab", "caf"),
        ("replace", "a\u{2400}b", "caf\u{fffd}"),
        ("latin1", "a\u{2400}b", "café"),
        ("windows1252", "a\u{2400}b", "café"),
        ("bytea", "\\x610062", "\\x636166e9"),
    ] {
        let database = Database::fresh();
        let case = Case::new(choice)
            .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'ok'), (2, 'a' || char(0) || 'b'), (3, CAST(x'636166e9' AS TEXT))")
            .database(&database);
        let planned = case.run("migrate {source} --to {url} --dry-run").exit(1);
        assert!(planned.stdout.contains("bad_text = \"strip\", \"replace\", \"latin1\", \"windows1252\" or \"bytea\""), "{planned}");
        std::fs::write(case.dir().join("m.toml"), format!("[tables.t.columns.s]\nbad_text = \"{choice}\"\n")).unwrap();
        case.run("migrate {source} --to {url} --mapping {dir}/m.toml").exit(0);
        assert_eq!(database.rows("SELECT s FROM t WHERE id > 1 ORDER BY id"), [two, three], "{choice}");
        assert_eq!(case.run("verify {source} --to {url} --json").exit(0).json()["outcome"], "identical", "{choice}");
    }
}

#[test]
fn damage_in_a_table_that_is_left_out_stops_nothing() {
    let database = Database::fresh();
    let case = Case::new("damage elsewhere")
        .source_sql(
            "CREATE TABLE good(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO good VALUES (1, 'x');
             CREATE TABLE bad(id INTEGER PRIMARY KEY, s TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO bad SELECT i, 'row ' || i || hex(zeroblob(50)) FROM n;",
        )
        .database(&database);
    let mut bytes = std::fs::read(case.source_path()).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xA5);
    std::fs::write(case.source_path(), bytes).unwrap();
    assert_eq!(case.run("migrate {source} {url} --json").exit(2).json()["error"]["code"], "source_damaged");
    case.run("migrate {source} {url} --exclude bad --dry-run").exit(0);
    assert_eq!(case.run("migrate {source} {url} --exclude bad --json").exit(0).json()["outcome"], "clean");
    assert_eq!(database.rows("SELECT * FROM good"), ["1|x"]);
    case.run("verify {source} {url} --include good").exit(0);
    // A mapping that leaves the table out says the same.
    std::fs::write(case.dir().join("m.toml"), "[tables.bad]\nskip = true\n").unwrap();
    case.run("migrate {source} {url} --mapping {dir}/m.toml --replace --yes").exit(0);
}

#[test]
fn conflict_clauses_of_keys_are_said() {
    let database = Database::fresh();
    let case = Case::new("conflict clauses")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, a TEXT UNIQUE ON CONFLICT IGNORE, b INT NOT NULL ON CONFLICT REPLACE DEFAULT 5,
               c INT UNIQUE ON CONFLICT ABORT, UNIQUE (a, b) ON CONFLICT REPLACE); INSERT INTO t VALUES (1, 'x', 1, 1);",
        )
        .database(&database);
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    let notes = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "conflict_clause");
    let mut objects: Vec<&str> = notes.map(|warning| warning["object"].as_str().unwrap()).collect();
    objects.sort_unstable();
    assert_eq!(objects, ["t.a", "t.a, b", "t.b", "t.id"], "{report}");
}

#[test]
fn each_view_and_trigger_is_there_or_is_written_down() {
    let database = Database::fresh();
    let views = [
        ("extracted", "SELECT json_extract(j, '$.a') AS a FROM t"),
        ("distinct_names", "SELECT DISTINCT name FROM t"),
        ("both", "SELECT name FROM t UNION SELECT name FROM u"),
        ("grouped", "SELECT name, count(*) AS n FROM t GROUP BY name"),
        ("numbered", "SELECT rowid, v FROM u"),
        ("by_spelling", "SELECT d, sum(n) AS s FROM g GROUP BY d"),
        ("spellings", "SELECT DISTINCT d FROM g"),
        ("by_key", "SELECT n, d, count(*) AS c FROM g GROUP BY n, d"),
        ("kinds", "SELECT b, count(*) AS c FROM g GROUP BY b"),
        ("same_kind", "SELECT x.n FROM g AS x JOIN g AS y USING (b)"),
        ("untyped", "SELECT x, count(*) AS c FROM g GROUP BY x"),
        ("documents", "SELECT DISTINCT j FROM g"),
    ];
    let triggers = [
        ("instead", "INSTEAD OF UPDATE OF name ON plain BEGIN UPDATE t SET name = NEW.name WHERE id = OLD.id; END"),
        ("ignores", "AFTER INSERT ON t BEGIN UPDATE OR IGNORE u SET v = NEW.id WHERE name = NEW.name; END"),
        ("replaces", "AFTER DELETE ON t BEGIN INSERT OR REPLACE INTO u VALUES (OLD.name, OLD.id); END"),
        ("own_row", "BEFORE UPDATE ON g BEGIN UPDATE g SET s = 'now' WHERE n = NEW.n; END"),
        ("other_rows", "BEFORE UPDATE ON g BEGIN UPDATE g SET s = 'old' WHERE n <> NEW.n; END"),
        ("ripple", "AFTER INSERT ON g BEGIN INSERT INTO h VALUES (NEW.n); END"),
        ("bounce", "AFTER INSERT ON h BEGIN UPDATE g SET s = 'seen' WHERE n = NEW.v; END"),
        ("before_bounce", "BEFORE UPDATE OF d ON g BEGIN INSERT INTO h VALUES (NEW.n); END"),
        ("by_rowid", "AFTER UPDATE ON u BEGIN DELETE FROM t WHERE id = NEW.rowid; END"),
    ];
    let mut sql = String::from(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, j TEXT); INSERT INTO t VALUES (1, 'a', '{\"a\": 1}'), (2, 'A', '{\"a\": \"x\"}');
         CREATE TABLE u(name TEXT UNIQUE, v INTEGER UNIQUE); INSERT INTO u VALUES ('b', 5); CREATE VIEW plain AS SELECT id, name FROM t;
         CREATE TABLE g(n INTEGER PRIMARY KEY, d DATETIME, b TEXT, x, j JSON, s TEXT); CREATE TABLE h(v INTEGER);
         INSERT INTO g VALUES (1, '2024-01-01', '1', 1, '{\"a\":1}', ''), (2, '2024-01-01 00:00:00', x'31', 1.0, '{\"a\": 1}', ''),
             (4, '2024-01-01T00:00:00', 'y', '1', '[]', '');",
    );
    views.iter().for_each(|(name, select)| sql.push_str(&format!("CREATE VIEW {name} AS {select};")));
    triggers.iter().for_each(|(name, body)| sql.push_str(&format!("CREATE TRIGGER {name} {body};")));
    let case = Case::new("known losses").source_sql(&sql).database(&database);
    let output = case.run("migrate {source} {url} --json");
    let report = output.json();
    let todo =
        report["objects"]["todo_file"].as_str().map(|file| std::fs::read_to_string(case.dir().join(file)).unwrap()).unwrap_or_default();
    let mut lost = 0;
    let mut judge = |name: &str, catalog: &str, original: &str| {
        let there = database.value(&format!("SELECT count(*) > 0 FROM {catalog} = '{name}'")) == "t";
        let said = report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning["severity"] == "loss" && warning["object"].as_str().unwrap().split('.').next_back() == Some(name));
        assert!(there != said, "{name} is there or it is said: {output}");
        assert_eq!(said, todo.contains(original), "{name}: {todo}");
        lost += usize::from(said);
    };
    for (name, _) in views {
        judge(name, "pg_views WHERE schemaname = 'public' AND viewname", &format!("CREATE VIEW {name} AS"));
    }
    for (name, _) in triggers {
        judge(name, "pg_trigger WHERE tgname", &format!("CREATE TRIGGER {name} "));
    }
    assert_eq!(output.code, Some(i32::from(lost > 0)));
    // What is there answers as SQLite did.
    let source = rusqlite::Connection::open(case.source_path()).unwrap();
    for (name, _) in views {
        if database.value(&format!("SELECT to_regclass('{name}') IS NOT NULL")) == "t" {
            let in_sqlite: i64 = source.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0)).unwrap();
            assert_eq!(database.value(&format!("SELECT count(*) FROM {name}")), in_sqlite.to_string(), "{name}");
        }
    }
    assert_eq!(database.value("SELECT count(*) FROM by_key"), "3", "a key tells its rows apart");
    // A trigger beside the row does not end the statements that fire it.
    database.execute("UPDATE g SET s = 'x' WHERE n = 1");
    assert_eq!(database.value("SELECT s FROM g WHERE n = 1"), "x");
    let note = report["warnings"].as_array().unwrap().iter().find(|warning| warning["object"] == "g.ripple").map(ToString::to_string);
    assert!(note.unwrap_or_default().contains("looks at its own table"), "{output}");
}

/// Beside a full-text table, names such as `docs_content` are free where the module makes no table of them.
#[test]
fn a_users_table_with_the_name_of_a_shadow_is_copied() {
    let database = Database::fresh();
    let case = Case::new("shadow names")
        .source_sql(
            "CREATE TABLE docs_content(id INTEGER PRIMARY KEY, body TEXT, secret TEXT, price DECIMAL(10,2));
             CREATE VIRTUAL TABLE docs USING fts5(body, content='docs_content', content_rowid='id');
             INSERT INTO docs_content VALUES (1, 'hello world', 'only here', 9.99); INSERT INTO docs(docs) VALUES ('rebuild');
             CREATE TABLE notes_stat(id INTEGER PRIMARY KEY, hits INT); INSERT INTO notes_stat VALUES (1, 7);
             CREATE VIRTUAL TABLE notes USING fts3(body); INSERT INTO notes VALUES ('a note');
             CREATE TABLE pages_content(docid INTEGER PRIMARY KEY, c0body TEXT); INSERT INTO pages_content VALUES (3, 'a page');
             CREATE VIRTUAL TABLE pages USING fts4(content=\"pages_content\", c0body); INSERT INTO pages(pages) VALUES ('rebuild');
             CREATE TABLE plain_config(k, v, note); INSERT INTO plain_config VALUES ('a', 'b', 'c');
             CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 0, 1);
             CREATE TABLE boxes_stat(id INTEGER PRIMARY KEY); INSERT INTO boxes_stat VALUES (5);",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let mut tables: Vec<&str> = report["tables"].as_array().unwrap().iter().map(|table| table["source"].as_str().unwrap()).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["boxes", "boxes_stat", "docs", "docs_content", "notes", "notes_stat", "pages", "pages_content", "plain_config"]);
    assert_eq!(database.rows("SELECT secret, price FROM docs_content"), ["only here|9.99"]);
    assert_eq!(database.rows("SELECT hits FROM notes_stat"), ["7"]);
    assert_eq!(database.rows("SELECT body FROM docs"), ["hello world"]);
    assert_eq!(case.run("verify {source} --to {url} --json").exit(0).json()["outcome"], "identical");
}

/// What differs by its storage class alone is equal in PostgreSQL: the rows are there, and that is said.
#[test]
fn values_that_become_equal_are_counted() {
    let database = Database::fresh();
    let case = Case::new("merged")
        .source_sql(
            "CREATE TABLE settings(key TEXT PRIMARY KEY, value); INSERT INTO settings VALUES ('a', 1), ('b', '1'), ('c', x'31'), ('d', 1.0), ('e', 'x');
             CREATE TABLE plain(id INTEGER PRIMARY KEY, value); INSERT INTO plain VALUES (1, 5), (2, 'five'), (3, 2.5);
             CREATE TABLE wide(id INTEGER PRIMARY KEY, at DATETIME UNIQUE, price DECIMAL(5,2), code VARCHAR(3), fits DECIMAL(5,2));
             INSERT INTO wide VALUES (1, '2024-01-02 03:04:05', 2.675, 'abcd', 1.25), (2, '2024-01-02T03:04:06', 1, 'a', 2);
             CREATE TABLE given(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO given VALUES (1, 'a'), (2, x'61'), (3, 'b');",
        )
        .database(&database);
    let report = case.run("migrate {source} {url} --json").exit(1).json();
    let said = |severity: &str| -> Vec<(String, String)> {
        let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == severity);
        all.map(|warning| (format!("{} {}", warning["code"], warning["object"]).replace('"', ""), warning["message"].to_string())).collect()
    };
    let lost = said("loss");
    assert_eq!(
        lost.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(),
        ["values_merged settings.value", "values_merged given.v"],
        "{report}"
    );
    assert!(lost[0].1.contains("1 value of bytea stand each for several"), "{report}");
    let noted = said("note");
    let note = |object: &str| {
        noted.iter().find(|(what, _)| what == &format!("column_widened {object}")).unwrap_or_else(|| panic!("{report}")).1.clone()
    };
    assert!(note("settings.value").contains("has no declared type, and holds 1 integer, 1 real, 2 text, 1 blob"), "{report}");
    assert!(note("plain.value").contains("1 integer, 1 real, 1 text"), "{report}");
    // Of these no row is known, and they are said all the same.
    assert!(note("wide.at").contains("is text: a key tells apart what would be one value of"), "{report}");
    assert!(note("wide.price").contains("more than (5,2) allows"), "{report}");
    assert!(note("wide.code").contains("the longest value has 4 characters, more than 3"), "{report}");
    assert!(!noted.iter().any(|(what, _)| what.ends_with(" wide.fits")), "{report}");
    assert_eq!(report["outcome"], "incomplete");
    case.run("migrate {source} {url} --replace --yes --allow columns").exit(0);
    case.run("verify {source} {url}").exit(0);
}
