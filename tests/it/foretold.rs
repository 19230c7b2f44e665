//! What is said before a run is what the run does: `migrate --dry-run`, and `schema generate` with `migrate --migrations`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;

use crate::support::{Case, Database, fixture};

/// Columns, constraints, indexes, views, triggers of `public`: what a schema is.
const SCHEMA: &str = "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(collation_name, '') || ' ' || is_nullable || ' ' || is_identity || ' ' || is_generated || coalesce(' ' || column_default, '')
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'view ' || viewname || definition FROM pg_views WHERE schemaname = 'public'
    UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
    ORDER BY 1";

/// Everything that a plan foretells beyond the usual: rows that do not fit, orphans, broken checks, objects without an exact form.
const ODD: &str = "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE COLLATE NOCASE, note TEXT);
    INSERT INTO parent VALUES (1, 'a', 'ok'), (2, 'b', 'x' || char(0)), (3, NULL, CAST(x'ff' AS TEXT));
    CREATE TABLE child(id INTEGER PRIMARY KEY AUTOINCREMENT, p INTEGER NOT NULL REFERENCES parent, n INT CHECK (n > 0), at DATETIME DEFAULT CURRENT_TIMESTAMP,
        twice INT AS (n * 2) STORED);
    PRAGMA ignore_check_constraints = 1; 
    INSERT INTO child(id, p, n) VALUES (1, 1, 5), (2, 99, 1), (3, 1, -1);
    CREATE INDEX child_n ON child(n DESC) WHERE n > 1;
    CREATE VIEW sums AS SELECT p, sum(n) AS n FROM child GROUP BY p;
    CREATE VIEW odd AS SELECT randomblob(3) AS r;
    CREATE TRIGGER touch AFTER UPDATE OF n ON child BEGIN UPDATE child SET at = datetime('now') WHERE id = NEW.id; END;
    CREATE TABLE child_id_seq(x INTEGER, \"\" TEXT); INSERT INTO child_id_seq VALUES (1, 'a'); CREATE INDEX parent_id_seq ON child(at);
    CREATE TABLE \"\"(id INTEGER PRIMARY KEY, price DECIMAL(4,2) DEFAULT 123.456, code VARCHAR(3) DEFAULT 'toolong', n INTEGER DEFAULT 'none');
    INSERT INTO \"\" VALUES (1, 1.25, 'abc', 5);
    CREATE TABLE pairs(a TEXT, b INTEGER, v REAL, PRIMARY KEY (b, a)) WITHOUT ROWID; INSERT INTO pairs VALUES ('x', 1, 0.5), ('y', 1, NULL);";

/// Every fixture, the failure modes, and the odd one.
fn sources() -> Vec<(String, String)> {
    let mut sources =
        vec![("odd".to_string(), ODD.to_string()), ("failure modes".to_string(), include_str!("failure-modes.sql").to_string())];
    for entry in fs::read_dir(fixture("")).unwrap() {
        let folder = entry.unwrap().path();
        if let Ok(sql) = fs::read_to_string(folder.join("source.sql")) {
            sources.push((folder.file_name().unwrap().to_string_lossy().into_owned(), sql));
        }
    }
    assert!(sources.len() >= 4);
    sources.push(("long names".to_string(), long_names()));
    // What enforces keys here would keep orphans out of the sources.
    sources.into_iter().map(|(name, sql)| (name, format!("PRAGMA foreign_keys = 0;\n{sql}"))).collect()
}

/// Tables, columns, indexes, views and triggers whose names are the same in their first 63 bytes, and one table that is called as another would be.
fn long_names() -> String {
    let long = "abcdefghi ".repeat(6) + "xyz";
    format!(
        "CREATE TABLE \"{long}1\"(id INTEGER PRIMARY KEY, a TEXT UNIQUE CHECK (a <> 'x'), b INT REFERENCES \"{long}2\"(id), \"{long}c1\" INT, \"{long}c2\" TEXT, CHECK (b > 0));
         CREATE TABLE \"{long}2\"(id INTEGER PRIMARY KEY, a TEXT, b INT);
         CREATE TABLE \"{}_2\"(id INTEGER PRIMARY KEY, other BLOB);
         CREATE INDEX \"{long}i1\" ON \"{long}1\"(b); CREATE INDEX \"{long}i2\" ON \"{long}1\"(a); CREATE INDEX \"{long}i3\" ON \"{long}2\"(a);
         CREATE VIEW \"{long}v1\" AS SELECT * FROM \"{long}1\"; CREATE VIEW \"{long}v2\" AS SELECT * FROM \"{long}2\";
         CREATE TRIGGER \"{long}t1\" AFTER INSERT ON \"{long}1\" BEGIN UPDATE \"{long}2\" SET b = 1; END;
         INSERT INTO \"{}_2\" VALUES (1, x'00'), (2, NULL), (3, x'01');
         INSERT INTO \"{long}2\" VALUES (1, 'a', 1); INSERT INTO \"{long}1\" VALUES (1, 'a', 1, 2, 'c'), (2, 'b', 9, 2, 'd');",
        &long[..61],
        &long[..61]
    )
}

fn list<'a>(json: &'a Json, key: &str) -> Vec<&'a Json> {
    json[key].as_array().unwrap_or_else(|| panic!("{key} in {json}")).iter().collect()
}

/// (code, object) of what is lost or weaker.
fn losses(report: &Json) -> BTreeSet<String> {
    let said = list(report, "warnings").into_iter().filter(|warning| warning["severity"] != "note");
    said.map(|warning| format!("{} {}", warning["code"], warning["object"])).collect()
}

/// What is said of constraints that rows break.
fn not_valid(report: &Json) -> BTreeSet<String> {
    let said = list(report, "warnings").into_iter().filter(|warning| warning["severity"] == "weaker");
    said.map(|warning| format!("{} {}", warning["object"], warning["message"])).collect()
}

#[test]
fn a_dry_run_tells_what_the_run_does() {
    for (name, sql) in sources() {
        let (database, by_hand) = (Database::fresh(), Database::fresh());
        let case = Case::new(&name).source_sql(&sql).database(&database);
        let planned = case.run("migrate {source} --to {url} --mapping derive --dry-run --json");
        let plan = planned.json();
        assert_eq!(database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'candlefish'"), "0", "a dry run changes nothing");
        let run = case.run("migrate {source} --to {url} --mapping derive --json");
        let report = run.json();
        assert_eq!(planned.code, run.code, "{name}: {planned}\n{run}");
        // Per table: rows, rows set aside, bytes; and each column's type.
        let told = |report: &Json, key: &str| -> Vec<String> {
            let of = |table: &&Json| format!("{} {} {} {}", table["source"], table["target"], table[key], table["rows_rejected"]);
            list(report, "tables").iter().map(of).collect()
        };
        assert_eq!(told(&plan, "rows"), told(&report, "rows_read"), "{name}");
        let types = |report: &Json| -> Vec<String> {
            let columns = list(report, "tables").into_iter().flat_map(|table| list(table, "columns").into_iter());
            columns.map(|column| format!("{} {} {}", column["source"], column["target"], column["type"])).collect()
        };
        assert_eq!(types(&plan), types(&report), "{name}");
        assert_eq!((&plan["rows_read"], &plan["rows_rejected"]), (&report["rows_read"], &report["rows_rejected"]), "{name}");
        assert_eq!(losses(&plan), losses(&report), "{name}");
        assert_eq!(not_valid(&plan), not_valid(&report), "{name}");
        assert!(plan["estimate_seconds"].as_f64().unwrap() > 0.0);
        // The statements that it prints, run by hand, make the schema that the run has made.
        for table in list(&plan, "tables") {
            by_hand.execute(table["ddl"].as_str().unwrap());
        }
        for object in list(&plan["objects"], "planned") {
            for statement in list(object, "statements") {
                if let Err(error) = by_hand.try_execute(statement.as_str().unwrap()) {
                    let label = object["object"].to_string();
                    assert!(losses(&report).iter().any(|loss| loss.ends_with(&label)), "{name}: {label}: {error}");
                }
            }
        }
        let without_validity = |database: &Database| -> Vec<String> {
            let mut rows: Vec<String> = database.rows(SCHEMA).iter().map(|row| row.replace(" NOT VALID", "")).collect();
            rows.sort();
            rows
        };
        assert_eq!(without_validity(&by_hand), without_validity(&database), "{name}");
    }
}

#[test]
fn misfits_of_a_given_schema_are_listed_with_their_keys() {
    let database = Database::fresh();
    database.execute(
        "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TABLE t(id int PRIMARY KEY, flag boolean, code varchar(3), who uuid, mood mood, small smallint, n positive)",
    );
    let case = Case::new("misfits")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, flag, code, who, mood, small, n);
             INSERT INTO t VALUES (1, 1, 'abc', '00112233-4455-6677-8899-aabbccddeeff', 'ok', 5, 1), (2, 7, 'abc', NULL, 'ok', 5, 1),
                (3, 0, 'toolong', NULL, 'sad', 5, 1), (4, 0, 'a', 'nobody', 'ok', 5, 1), (5, 0, 'a', NULL, 'glad', 5, 1),
                (6, 0, 'a', NULL, 'ok', 70000, 1), (5000000000, 0, 'a', NULL, 'ok', 5, 1), (8, 0, 'b', NULL, NULL, NULL, NULL);",
        )
        .database(&database);
    let plan = case.run("migrate {source} --to {url} --dry-run --json").exit(1).json();
    assert_eq!(plan["rows_rejected"], 6, "{plan}");
    for (column, key) in [("flag", 2), ("code", 3), ("who", 4), ("mood", 5), ("small", 6), ("id", 5_000_000_000_i64)] {
        let found = list(&plan["tables"][0], "columns").into_iter().find(|known| known["source"] == column).unwrap();
        assert_eq!((&found["misfits"]["count"], &found["misfits"]["examples"][0]["key"]["id"]), (&1.into(), &key.into()), "{found}");
    }
    let text = case.run("migrate {source} --to {url} --dry-run").exit(1);
    assert!(text.stdout.contains("-- set aside: 1 row for who: {\"id\":4}: text 'nobody': not a UUID"), "{text}");
    assert!(text.stdout.contains("-- time: about "), "{text}");
    // Whoever asked for a stop at the first one is told of it before anything is done.
    let stopped = case.run("migrate {source} --to {url} --dry-run --on-misfit fail --json").exit(2);
    assert_eq!(stopped.json()["error"]["code"], "misfit");
    let many = case.run("migrate {source} --to {url} --dry-run --max-rejects 5 --json").exit(2);
    assert_eq!(many.json()["error"]["code"], "too_many_rejects");
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(report["rows_rejected"], plan["rows_rejected"]);
}

#[test]
fn a_row_that_is_refused_as_a_whole_is_told_without_a_column() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, n int CHECK (n > 0))");
    let case = Case::new("refused")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n); INSERT INTO t VALUES (1, 1), (2, -5);")
        .database(&database);
    let said = case.run("migrate {source} --to {url} --dry-run --on-misfit fail --json").exit(2).json()["error"]["message"].to_string();
    assert!(!said.contains("column \\\"\\\"") && said.contains("1 row does not fit"), "{said}");
    let said = case.run("migrate {source} --to {url} --dry-run --max-rejects 0 --json").exit(2).json()["error"]["message"].to_string();
    assert!(said.contains("1 row does not fit, more than 0"), "{said}");
}

#[test]
fn generated_migrations_make_what_a_derived_run_makes() {
    for (name, sql) in sources() {
        let (derived, migrated) = (Database::fresh(), Database::fresh());
        let case = Case::new(&name).source_sql(&sql).database(&derived);
        let generated = case.run("schema generate {source} --out {dir}/db --json");
        assert!(matches!(generated.code, Some(0 | 1)), "{generated}");
        let first = case.run("migrate {source} --to {url} --mapping derive --json");
        let case = Case::new(&name).source_file(case.source_path()).database(&migrated);
        let folder = generated.json()["files"][0].as_str().unwrap().replace("/schema/V1__tables.sql", "");
        let second = case.run(&format!("migrate {{source}} --to {{url}} --mapping derive --migrations {folder} --json"));
        assert!(matches!(second.code, Some(0 | 1)), "{name}: {second}");
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (migrated.rows(SCHEMA).into_iter().collect(), derived.rows(SCHEMA).into_iter().collect());
        let other: Vec<_> = ours.symmetric_difference(&theirs).collect();
        assert!(other.is_empty(), "{name}: on one side only: {other:#?}");
        let rows = |report: &Json| -> Vec<String> {
            list(report, "tables")
                .iter()
                .map(|table| format!("{} {} {}", table["target"], table["rows_written"], table["verified"]))
                .collect()
        };
        assert_eq!(rows(&second.json()), rows(&first.json()), "{name}");
        // Sequences go on alike.
        let next = "SELECT schemaname || sequencename || coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1";
        assert_eq!(migrated.rows(next), derived.rows(next), "{name}");
        case.run(&format!("schema status --to {{url}} --migrations {folder}")).exit(0);
    }
}

/// A generated migration leaves a constraint NOT VALID where rows break it; so may anybody's.
#[test]
fn constraints_that_migrations_leave_not_valid_are_listed_with_their_rows() {
    let database = Database::fresh();
    let case = Case::new("not valid")
        .source_sql(
            "PRAGMA foreign_keys = 0; CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
             CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p, n INT CHECK (n > 0), m INT);
             PRAGMA ignore_check_constraints = 1; INSERT INTO c VALUES (1, 1, 1, 1), (2, 7, 1, 1), (3, 8, -1, 1);",
        )
        .database(&database);
    case.run("schema generate {source} --out {dir}/db").exit(0);
    fs::write(
        case.dir().join("db/indexes/V3__more.sql"),
        "ALTER TABLE c ADD CONSTRAINT whole CHECK (m > 0) NOT VALID, ADD CONSTRAINT fails CHECK (1 / (n + 1) > 5) NOT VALID;",
    )
    .unwrap();
    let report = case.run("migrate {source} {url} --migrations {dir}/db --json").exit(0).json();
    let said: Vec<String> = list(&report, "warnings")
        .iter()
        .filter(|warning| warning["code"].as_str().unwrap().ends_with("_not_valid"))
        .map(|warning| ["severity", "object", "message"].map(|part| warning[part].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(
        said,
        [
            "weaker c.c_check1 is NOT VALID: 1 row breaks it (id 3)",
            "weaker c.c_p_fkey is NOT VALID: 2 rows have no parent (id 2 → 7; id 3 → 8)",
            "weaker c.fails is NOT VALID: division by zero",
            "note c.whole is NOT VALID, though no row breaks it: ALTER TABLE … VALIDATE CONSTRAINT makes it whole",
        ]
    );
}

/// What a type is that only a server knows cannot be asked where there is none.
#[test]
fn types_that_no_server_was_asked_about_are_said_to_be_so() {
    let case = Case::new("unasked").source_sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT DEFAULT 'x' CHECK (length(email) > 2), at TEXT); CREATE UNIQUE INDEX tl ON t(lower(email));
         CREATE VIEW v AS SELECT id FROM t WHERE email <> 'a';",
    );
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.email]\ntype = \"app.mail\"\n[tables.t.columns.at]\ntype = \"inet\"\n")
        .unwrap();
    let report = case.run("schema generate {source} --out {dir}/db --mapping {dir}/m.toml --json").exit(1).json();
    let said: Vec<String> = list(&report, "warnings").iter().map(|warning| format!("{} {}", warning["code"], warning["object"])).collect();
    assert!(
        said.contains(&"\"type_not_asked\" \"t.email\"".to_string()) && !said.contains(&"\"type_not_asked\" \"t.at\"".to_string()),
        "{said:#?}"
    );
    let todo = fs::read_to_string(case.dir().join("db/todo.sql")).unwrap();
    assert!(todo.contains("-- has no DEFAULT 'x': a text does not fit the column, of whose type no server was asked"), "{todo}");
    assert!(todo.contains("has a type that no server was asked about") && !todo.contains("PostgreSQL's own"), "{todo}");
    assert!(fs::read_to_string(case.dir().join("db/schema/V1__tables.sql")).unwrap().contains("\"email\" app.mail"));
}

/// A run for one table means the same by its name as a run for all of them.
#[test]
fn a_name_that_is_cut_means_the_same_table_in_every_run() {
    let (database, long) = (Database::fresh(), "t".repeat(63));
    let case = Case::new("cut")
        .source_sql(&format!(
            "CREATE TABLE {long}1(a); CREATE TABLE {long}2(a); INSERT INTO {long}1 VALUES ('1'); INSERT INTO {long}2 VALUES ('2');"
        ))
        .database(&database);
    case.run("migrate {source} {url} --include *2").exit(0);
    case.run("migrate {source} {url} --include *1").exit(0);
    assert_eq!(database.rows(&format!("SELECT a FROM {long} UNION ALL SELECT a FROM {}_2", &long[..61])), ["1", "2"]);
}

/// A history outlives the schema that it tells of: what it calls applied is not there, and nothing takes the place of what the files say.
#[test]
fn migrations_of_a_schema_that_was_made_again_are_not_passed_over() {
    let database = Database::fresh();
    database.execute("CREATE SCHEMA app");
    let case = Case::new("made again")
        .source_sql("CREATE TABLE UserProfile(Id INTEGER PRIMARY KEY, v INT); INSERT INTO UserProfile VALUES (1, 1)")
        .database(&database);
    case.run("schema generate {source} --out {dir}/db --schema app --names snake").exit(0);
    let tables = case.dir().join("db/schema/V1__tables.sql");
    let reviewed = fs::read_to_string(&tables).unwrap().replace("\"v\" bigint", "\"v\" integer");
    fs::write(&tables, reviewed).unwrap();
    let migrate = "migrate {source} --to {url} --schema app --names snake --migrations {dir}/db --json";
    let type_of_v = "SELECT data_type FROM information_schema.columns WHERE table_schema = 'app' AND column_name = 'v'";
    case.run(migrate).exit(0);
    assert_eq!(database.value(type_of_v), "integer");

    database.execute("DROP SCHEMA app CASCADE; CREATE SCHEMA app");
    for dry in ["--dry-run", ""] {
        let error = case.run(&format!("{migrate} {dry}")).exit(2).json()["error"].clone();
        assert_eq!((&error["code"], &error["target_changed"]), (&"migrations_undone".into(), &false.into()), "{error}");
        let message = "schema/V1__tables.sql was applied to schema \"app\", and its table \"app\".\"user_profile\" is not there any more";
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
    for command in ["status", "apply", "apply --dry-run"] {
        let failed = case.run(&format!("schema {command} --to {{url}} --schema app --migrations {{dir}}/db --json")).exit(2).json();
        assert_eq!(failed["error"]["code"], "migrations_undone", "{failed}");
    }
    // What the hint says mends it.
    let hint = case.run(migrate).json()["error"]["hint"].as_str().unwrap().to_string();
    database.execute(&hint[hint.find("DROP TABLE").unwrap()..=hint.find(';').unwrap()]);
    case.run(migrate).exit(0);
    assert_eq!(database.value(type_of_v), "integer");

    // An index over a derived table, too, is not to be missing in silence.
    fs::remove_dir_all(case.dir().join("db/schema")).unwrap();
    fs::create_dir_all(case.dir().join("db/indexes")).unwrap();
    fs::write(case.dir().join("db/indexes/V1__more.sql"), "CREATE INDEX more ON user_profile (v);").unwrap();
    database.execute(&hint[hint.find("DROP TABLE").unwrap()..=hint.find(';').unwrap()]);
    database.execute("DROP SCHEMA app CASCADE; CREATE SCHEMA app");
    case.run(migrate).exit(0);
    database.execute("DROP SCHEMA app CASCADE; CREATE SCHEMA app");
    let error = case.run(migrate).exit(2).json()["error"].clone();
    assert_eq!(error["code"], "migrations_undone", "{error}");
}

/// Files that were made for one schema do not fill another's tables behind a person's back.
#[test]
fn files_for_another_schema_are_refused() {
    let database = Database::fresh();
    let case = Case::new("elsewhere").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").database(&database);
    case.run("schema generate {source} --out {dir}/db").exit(0);
    for dry in ["--dry-run", ""] {
        let migrate = "migrate {source} --to {url} --schema other --create-schema --migrations {dir}/db --json";
        let error = case.run(&format!("{migrate} {dry}")).exit(2).json()["error"].clone();
        assert_eq!((&error["code"], &error["target_changed"]), (&"migrations_elsewhere".into(), &false.into()), "{error}");
        let message = "schema/V1__tables.sql is about table \"public\".\"t\", and \"other\".\"t\" would be derived beside it";
        assert!(error["message"].as_str().unwrap().ends_with(message), "{error}");
    }
    case.run("migrate {source} --to {url} --schema public --migrations {dir}/db").exit(0);
}

/// The line that `schema generate` ends with fills the tables of its files, and no others.
#[test]
fn the_next_line_of_generate_says_what_was_said_to_it() {
    let database = Database::fresh();
    database.execute("CREATE SCHEMA \"my app\"");
    let case = Case::new("next line")
        .source_sql(
            "CREATE TABLE UserProfile(Id INTEGER PRIMARY KEY, v TEXT); INSERT INTO UserProfile VALUES (1, 'a'); CREATE TABLE Other(x)",
        )
        .database(&database);
    fs::write(case.dir().join("m.toml"), "[tables.UserProfile.columns.v]\ntype = \"varchar(3)\"\n").unwrap();
    let mapping = "--mapping {dir}/m.toml --include User* --collation default --allow views,triggers";
    let generated =
        case.run(&format!("schema generate {{source}} --out {{dir}}/db --schema app --names snake {mapping} --exclude Other")).exit(0);
    let said = " --include 'User*' --exclude Other --names snake --collation default --allow views,triggers";
    let line = generated.stderr.lines().find(|line| line.starts_with("next: ")).unwrap();
    assert!(line.contains("/db --schema app --mapping ") && line.ends_with(said), "{generated}");
    let generated = case.run("schema generate {source} --out {dir}/plain").exit(0);
    assert!(generated.stderr.trim_end().ends_with("/plain"), "{generated}");
}

/// Two columns that become one name are told apart by the same rule in the files and in the run that uses them.
#[test]
fn columns_that_become_one_name_find_their_places_in_generated_tables() {
    let database = Database::fresh();
    let case = Case::new("one name")
        .source_sql(
            "CREATE TABLE t(Id INTEGER PRIMARY KEY, userName TEXT, user_name TEXT, user_name_2 TEXT, UserName2 TEXT);
             INSERT INTO t VALUES (1, 'a', 'b', 'c', 'd');
             CREATE TABLE Ut(a INTEGER PRIMARY KEY, user_name TEXT, userName TEXT); INSERT INTO Ut VALUES (1, 'a', 'b');
             CREATE TABLE ut_(userName_3 TEXT, userName TEXT, user_name TEXT); INSERT INTO ut_ VALUES ('a', 'b', 'c');",
        )
        .database(&database);
    case.run("schema generate {source} --out {dir}/db --names snake").exit(0);
    let migrate = "migrate {source} --to {url} --names snake --migrations {dir}/db";
    case.run(&format!("{migrate} --dry-run")).exit(0);
    case.run(&format!("{migrate} --json")).exit(0);
    let derived = Database::fresh();
    Case::new("one name derived").source_file(case.source_path()).database(&derived).run("migrate {source} {url} --names snake").exit(0);
    for table in ["t", "ut", "ut_"] {
        let rows = format!("SELECT to_jsonb(t) FROM {table} t");
        assert_eq!(database.rows(&rows), derived.rows(&rows));
    }
    // A mapping that sends two columns into one is still refused.
    fs::write(
        case.dir().join("m.toml"),
        "[tables.t.columns]\nuserName = { target = \"user_name\" }\nuser_name = { target = \"user_name\" }\n",
    )
    .unwrap();
    case.run(&format!("{migrate} --mapping {{dir}}/m.toml --existing *=truncate")).exit(2).stderr_has("two columns of");
}

/// A row that is set aside may be a parent, and a key may be spelled otherwise than its parent's: which, no file knows before the rows are there.
#[test]
fn generated_constraints_that_rows_break_stay_not_valid_as_a_run_leaves_them() {
    let database = Database::fresh();
    let case = Case::new("set-aside parent")
        .source_sql(
            "PRAGMA foreign_keys = 0; CREATE TABLE p(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO p VALUES (1, 'ok'), (2, 'a' || char(0));
             CREATE TABLE c(id INTEGER PRIMARY KEY, pid INT REFERENCES p(id)); INSERT INTO c VALUES (1, 1), (2, 2);
             CREATE TABLE q(k INT PRIMARY KEY); INSERT INTO q VALUES (1), (2);
             CREATE TABLE d(id INTEGER PRIMARY KEY, k TEXT REFERENCES q); INSERT INTO d VALUES (1, '1'), (2, ' 2');
             CREATE TABLE e(id INTEGER PRIMARY KEY, k INT REFERENCES p); INSERT INTO e VALUES (1, 1);",
        )
        .database(&database);
    case.run("schema generate {source} --out {dir}/db").exit(0);
    let report = case.run("migrate {source} --to {url} --migrations {dir}/db --json").exit(1).json();
    let orphans = ["c.c_pid_fkey is NOT VALID: 1 row has no parent (id 2 → 2)", "d.d_k_fkey is NOT VALID: 1 row has no parent (id 2 →  2)"];
    let said: Vec<String> = list(&report, "warnings")
        .iter()
        .filter(|warning| warning["code"] == "foreign_key_not_valid")
        .map(|warning| ["object", "message"].map(|part| warning[part].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(said, orphans, "{report}");
    let validated =
        "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1";
    assert_eq!(database.rows(validated), ["c_pid_fkey|f", "d_k_fkey|f", "e_k_fkey|t"]);
}

/// Keys of which SQLite's own answer is not PostgreSQL's: rows that are set aside are nobody's parents and nobody's children, and values meet by their
/// PostgreSQL types.
const DOUBTFUL: &str = "CREATE TABLE p(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO p VALUES (1, 'ok'), (2, 'a' || char(0));
    CREATE TABLE c(id INTEGER PRIMARY KEY, pid INT REFERENCES p ON DELETE CASCADE, w TEXT); INSERT INTO c VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 9, char(0));
    CREATE TABLE grandchild(id INTEGER PRIMARY KEY, cid INT REFERENCES c); INSERT INTO grandchild VALUES (1, 1), (2, 2), (3, 3);
    CREATE TABLE tree(id INTEGER PRIMARY KEY, up INT REFERENCES tree ON DELETE SET NULL, v TEXT);
    INSERT INTO tree VALUES (1, NULL, 'r'), (2, 1, char(0)), (3, 2, 'x'), (4, 3, 'y'), (5, 77, 'z');
    CREATE TABLE ring(id INTEGER PRIMARY KEY, other INT REFERENCES back, v TEXT); INSERT INTO ring VALUES (1, 1, 'x'), (2, 2, char(0));
    CREATE TABLE back(id INTEGER PRIMARY KEY, other INT REFERENCES ring); INSERT INTO back VALUES (1, 1), (2, 2);
    CREATE TABLE q(a TEXT, b INT, UNIQUE (a, b)); INSERT INTO q VALUES ('x', 1), ('y', 2);
    CREATE TABLE d(b TEXT, a TEXT, FOREIGN KEY (a, b) REFERENCES q(a, b)); INSERT INTO d VALUES ('1', 'x'), (' 2', 'y');
    CREATE TABLE mixed(k PRIMARY KEY); INSERT INTO mixed VALUES (1), ('2'), (3.0);
    CREATE TABLE e(id INTEGER PRIMARY KEY, k REFERENCES mixed); INSERT INTO e VALUES (1, '1'), (2, 2), (3, 3);
    CREATE TABLE whole(id INTEGER PRIMARY KEY, k TEXT UNIQUE); INSERT INTO whole VALUES (1, 'a'), (2, 'b');
    CREATE TABLE f(id INTEGER PRIMARY KEY, wid INT REFERENCES whole, k TEXT REFERENCES whole(k), w TEXT);
    INSERT INTO f VALUES (1, 1, 'a', 'x'), (2, 2, 'b', char(0)), (3, 7, 'B', char(0));";

#[test]
fn a_dry_run_tells_which_foreign_keys_stay_not_valid() {
    let orphans = |report: &Json| -> Vec<String> {
        let said = list(report, "warnings").into_iter().filter(|warning| warning["code"] == "foreign_key_not_valid");
        said.map(|warning| ["severity", "object", "message"].map(|part| warning[part].as_str().unwrap()).join(" ")).collect()
    };
    let case = Case::new("doubtful").source_sql(&format!("PRAGMA foreign_keys = 0; {DOUBTFUL}"));
    case.run("schema generate {source} --out {dir}/db").exit(0);
    let files = case.dir().join("db").display().to_string();
    let mut of_derived = Vec::new();
    for flags in ["", "--migrations FILES", "--schema other --create-schema"] {
        let database = Database::fresh();
        let case = Case::new("doubtful").source_file(case.source_path()).database(&database);
        let migrate = format!("migrate {{source}} --to {{url}} {} --strict --json", flags.replace("FILES", &files));
        let planned = case.run(&format!("{migrate} --dry-run")).exit(1).json();
        assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0", "nothing is made");
        let report = case.run(&migrate).exit(1).json();
        let sorted = |mut said: Vec<String>| {
            said.sort();
            said
        };
        assert_eq!(sorted(orphans(&planned)), sorted(orphans(&report)), "{flags}");
        of_derived = if flags.is_empty() { orphans(&planned) } else { of_derived };
    }
    assert_eq!(
        of_derived,
        [
            "weaker c.pid → p is NOT VALID: 1 row has no parent (id 2 → 2)",
            "weaker grandchild.cid → c is NOT VALID: 1 row has no parent (id 3 → 3)",
            "weaker tree.up → tree is NOT VALID: 2 rows have no parent (id 3 → 2; id 5 → 77)",
            "weaker back.other → ring is NOT VALID: 1 row has no parent (id 2 → 2)",
            "weaker d.a, b → q is NOT VALID: 1 row has no parent (y,  2)",
            "weaker e.k → mixed is NOT VALID: 1 row has no parent (id 3 → 3)",
        ]
    );
}

/// A parent that is in the target already is what it is there, and one without rows is nobody's.
#[test]
fn a_dry_run_looks_for_parents_where_the_run_will_find_them() {
    let case = Case::new("parents there").source_sql(
        "PRAGMA foreign_keys = 0; CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1), (2);
         CREATE TABLE c(id INTEGER PRIMARY KEY, pid INT REFERENCES p); INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 4);",
    );
    for (flags, there, orphans) in [
        ("--exclude p", "INSERT INTO p VALUES (2), (3)", Some("2 rows have no parent (id 1 → 1; id 4 → 4)")),
        ("--existing p=keep", "INSERT INTO p VALUES (3)", Some("1 row has no parent (id 4 → 4)")),
        ("--existing p=truncate", "INSERT INTO p VALUES (3)", Some("2 rows have no parent (id 3 → 3; id 4 → 4)")),
        ("", "ALTER TABLE p ADD CHECK (id < 2)", Some("3 rows have no parent (id 2 → 2; id 3 → 3; id 4 → 4)")),
        ("--exclude-data p", "INSERT INTO p VALUES (1), (2), (3), (4)", None),
        ("--exclude-data c", "SELECT 1", None),
    ] {
        let database = Database::fresh();
        database.execute(&format!("CREATE TABLE p(id bigint PRIMARY KEY); {there}"));
        let case = Case::new("parents there").source_file(case.source_path()).database(&database);
        let migrate = format!("migrate {{source}} --to {{url}} {flags} --strict --json");
        let (planned, report) = (case.run(&format!("{migrate} --dry-run")), case.run(&migrate));
        assert_eq!(planned.code, report.code, "{flags}: {planned}\n{report}");
        for report in [planned.json(), report.json()] {
            let said: Vec<&Json> =
                list(&report, "warnings").into_iter().filter(|warning| warning["code"] == "foreign_key_not_valid").collect();
            let said: Vec<&str> = said.iter().map(|warning| warning["message"].as_str().unwrap()).collect();
            let expected: Vec<String> = orphans.iter().map(|orphans| format!("is NOT VALID: {orphans}")).collect();
            assert_eq!(said, expected, "{flags}");
        }
    }
}

/// A migration that comes after the rows is tried before they come.
#[test]
fn a_dry_run_fails_for_a_migration_after_the_rows_that_cannot_run() {
    let database = Database::fresh();
    let case = Case::new("late").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);").database(&database);
    case.run("schema generate {source} --out {dir}/db").exit(0);
    fs::create_dir_all(case.dir().join("db/indexes")).unwrap();
    fs::write(case.dir().join("db/indexes/V9__late.sql"), "CREATE INDEX late ON nowhere(id);").unwrap();
    let failed = case.run("migrate {source} --to {url} --migrations {dir}/db --dry-run --json").exit(2).json();
    let said = ["code", "message", "target_changed"].map(|part| failed["error"][part].to_string()).join(" ");
    assert!(said.starts_with("\"migration_failed\"") && said.ends_with(" false"), "{said}");
    assert!(said.contains("indexes/V9__late.sql, line 1: relation \\\"nowhere\\\" does not exist"), "{said}");
    // Or that the rows do not let run, though their tables do.
    fs::write(case.dir().join("db/indexes/V9__late.sql"), "ALTER TABLE t ADD CONSTRAINT late CHECK (id > 1);").unwrap();
    let failed = case.run("migrate {source} --to {url} --migrations {dir}/db --dry-run --json").exit(2).json();
    let said = failed["error"]["message"].as_str().unwrap();
    assert!(said.ends_with("check constraint \"late\" of relation \"t\" is violated by some row"), "{said}");
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0", "nothing is made");
}

/// Whoever reads the plan by program learns from it why the exit code is 1, as from a report.
#[test]
fn a_dry_run_gives_its_reasons_for_exit_1() {
    let database = Database::fresh();
    let case = Case::new("reasons")
        .source_sql(
            "PRAGMA foreign_keys = 0; CREATE TABLE p(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO p VALUES (1, 'a' || char(0));
             CREATE TABLE c(id INTEGER PRIMARY KEY, x INT REFERENCES c); INSERT INTO c VALUES (1, 7); CREATE VIEW odd AS SELECT randomblob(3) AS r;",
        )
        .database(&database);
    for flags in ["", "--strict", "--allow views"] {
        let migrate = format!("migrate {{source}} --to {{url}} --replace --yes {flags} --json");
        let planned = case.run(&format!("{migrate} --dry-run")).exit(1).json();
        let report = case.run(&migrate).exit(1).json();
        assert!(!list(&planned, "exit_reasons").is_empty());
        let reasons = |report: &Json| list(report, "exit_reasons").iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(reasons(&planned), reasons(&report), "{flags}");
    }
}

/// An index is not called otherwise than in SQLite without a word.
#[test]
fn an_index_that_gets_another_name_is_said() {
    let database = Database::fresh();
    let case = Case::new("index names")
        .source_sql("CREATE TABLE t(a INT, b INT); CREATE INDEX idxUser ON t(a); CREATE INDEX idx_user ON t(b); CREATE UNIQUE INDEX a_b ON t(a, b); CREATE UNIQUE INDEX \"a b\" ON t(b, a)")
        .database(&database);
    let report = case.run("migrate {source} --to {url} --names snake --json").exit(0).json();
    let said: Vec<String> = list(&report, "warnings")
        .iter()
        .filter(|warning| warning["code"] == "index_renamed")
        .map(|warning| ["object", "message"].map(|part| warning[part].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(
        said,
        [
            "t.idx_user is \"idx_user_2\" in PostgreSQL: the name is taken there",
            "t.a b is \"a_b_2\" in PostgreSQL: the name is taken there"
        ],
        "{report}"
    );
}

#[test]
fn generated_files_are_not_overwritten_unasked() {
    let case = Case::new("generate").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); CREATE INDEX t_s ON t(s)");
    let files = case.run("schema generate {source} --out {dir}/db").exit(0);
    assert!(files.stdout.contains("schema/V1__tables.sql") && files.stdout.contains("indexes/V1__indexes.sql"), "{files}");
    case.run("schema generate {source} --out {dir}/db").exit(0);
    let tables = case.dir().join("db/schema/V1__tables.sql");
    fs::write(&tables, "-- mine\n").unwrap();
    let refused = case.run("schema generate {source} --out {dir}/db --json").exit(2);
    assert_eq!(refused.json()["error"]["code"], "file_exists");
    assert_eq!(fs::read_to_string(&tables).unwrap(), "-- mine\n");
    case.run("schema generate {source} --out {dir}/db --force").exit(0);
    assert!(fs::read_to_string(&tables).unwrap().contains("CREATE TABLE \"public\".\"t\""));
}

/// A key that rows of SQLite break, since nothing has kept them apart there, is lost, and with it whatever references it.
#[test]
fn a_dry_run_tells_which_foreign_keys_find_no_key_of_their_parent() {
    let long = "A".repeat(100);
    let sources = [
        // Nothing makes it unique in SQLite; a part of it; for the one parent, not for the other.
        "CREATE TABLE pb(id INTEGER PRIMARY KEY, e TEXT); INSERT INTO pb VALUES (1, 'k'), (2, 'k'); CREATE TABLE cb(b TEXT REFERENCES pb(e)); INSERT INTO cb VALUES ('k');".to_string(),
        "CREATE TABLE pn(k TEXT); INSERT INTO pn VALUES (NULL), (NULL), ('u'); CREATE TABLE c6(id INTEGER PRIMARY KEY, k TEXT REFERENCES pn(k)); INSERT INTO c6 VALUES (1, 'u'), (2, 'v');
         CREATE TABLE pp(k TEXT, d INTEGER); CREATE UNIQUE INDEX ppi ON pp(k) WHERE d = 0; INSERT INTO pp VALUES ('a', 0), ('a', 1);
         CREATE TABLE c7(id INTEGER PRIMARY KEY, k TEXT REFERENCES pp(k)); INSERT INTO c7 VALUES (1, 'a'), (2, 'orphan');".to_string(),
        // Its own parent, and of two columns.
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT, ua INT, ub TEXT, FOREIGN KEY (ua, ub) REFERENCES t(a, b)); INSERT INTO t VALUES (1, 1, 'x', 1, 'x'), (2, 1, 'x', NULL, 'y');".to_string(),
        // Values without room in a B-tree, and values that become one.
        format!("CREATE TABLE big(k TEXT UNIQUE, n INTEGER); INSERT INTO big VALUES ('{long}' || hex(randomblob(6000)), 1), ('s', 2); CREATE TABLE cb(k TEXT REFERENCES big(k)); INSERT INTO cb SELECT k FROM big;"),
        "CREATE TABLE pb(b BLOB PRIMARY KEY); INSERT INTO pb VALUES ('x'), (x'78'); CREATE TABLE cb(b BLOB REFERENCES pb(b)); INSERT INTO cb VALUES ('x');".to_string(),
    ];
    for sql in sources {
        let case = Case::new("no key").source_sql(&format!("PRAGMA foreign_keys = 0; {sql}"));
        for flags in ["", "--allow uniques", "--strict"] {
            let database = Database::fresh();
            let case = Case::new("no key").source_file(case.source_path()).database(&database);
            let migrate = format!("migrate {{source}} --to {{url}} {flags} --json");
            let (planned, report) = (case.run(&format!("{migrate} --dry-run")).exit(1).json(), case.run(&migrate).exit(1).json());
            let said = |report: &Json| -> BTreeSet<String> {
                let all = list(report, "warnings").into_iter().filter(|warning| warning["severity"] != "note");
                all.map(|warning| format!("{} {} {}", warning["code"], warning["object"], warning["message"])).collect()
            };
            assert_eq!(said(&planned), said(&report), "{sql} {flags}");
            assert!(losses(&report).iter().any(|loss| loss.starts_with("\"foreign_key_missing\"")), "{report}");
            assert_eq!(report["rows_rejected"], 0, "{report}");
        }
    }
}

/// SQLite refuses a parent's change that would write into a generated column, and PostgreSQL a key that says it would.
#[test]
fn a_key_of_a_generated_column_refuses_what_sqlite_refuses() {
    let database = Database::fresh();
    let action = |number: u8, action: &str| {
        format!(
            "CREATE TABLE c{number}(id INTEGER PRIMARY KEY, d TEXT, h INTEGER AS (length(d)) STORED REFERENCES p(a) {action}); INSERT INTO c{number}(id, d) VALUES (1, 'ab');"
        )
    };
    let actions =
        ["ON DELETE SET NULL", "ON DELETE SET DEFAULT", "ON UPDATE CASCADE", "ON UPDATE SET NULL ON DELETE CASCADE", "ON DELETE CASCADE"];
    let children: String = (1..).zip(actions).map(|(number, said)| action(number, said)).collect();
    let case = Case::new("generated key")
        .source_sql(&format!("CREATE TABLE p(a INTEGER PRIMARY KEY); INSERT INTO p VALUES (2); {children}"))
        .database(&database);
    for dry in ["--dry-run", ""] {
        let report = case.run(&format!("migrate {{source}} --to {{url}} --strict --json {dry}")).exit(0).json();
        let noted = list(&report, "warnings").into_iter().filter(|warning| warning["code"] == "foreign_key_action");
        let noted: Vec<&str> = noted.map(|warning| warning["object"].as_str().unwrap()).collect();
        assert_eq!(noted, ["c1.h → p", "c2.h → p", "c3.h → p", "c4.h → p"], "{report}");
    }
    let made = database.rows("SELECT confupdtype::text || confdeltype::text FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND convalidated ORDER BY conrelid::regclass::text");
    assert_eq!(made, ["ar", "ar", "ra", "rc", "ac"]);
}

/// Under MATCH FULL a row with some NULLs breaks the key, and is one of those that are named.
#[test]
fn rows_that_break_a_match_full_key_are_foretold_and_named() {
    for (extra, said) in [
        ("", "2 rows have no parent (id 3 → NULL, c; id 4 → 5, NULL)"),
        (", (2, 1, 'c')", "3 rows have no parent (id 2 → 1, c; id 3 → NULL, c; id 4 → 5, NULL)"),
    ] {
        let database = Database::fresh();
        database.execute(
            "CREATE TABLE p(id int PRIMARY KEY, k varchar(3), UNIQUE (id, k));
             CREATE TABLE c2(id int PRIMARY KEY, a int, b varchar(3), FOREIGN KEY (a, b) REFERENCES p(id, k) MATCH FULL)",
        );
        let case = Case::new("match full")
            .source_sql(&format!(
                "CREATE TABLE p(id INTEGER, k TEXT); INSERT INTO p VALUES (1, 'a'); CREATE TABLE c2(id INTEGER, a INTEGER, b TEXT);
                 INSERT INTO c2 VALUES (1, 1, 'a'), (3, NULL, 'c'), (4, 5, NULL), (5, NULL, NULL){extra}"
            ))
            .database(&database);
        for dry in ["--dry-run", ""] {
            let report = case.run(&format!("migrate {{source}} --to {{url}} --strict --json {dry}")).exit(1).json();
            let broken = list(&report, "warnings").into_iter().find(|warning| warning["code"] == "foreign_key_not_valid").unwrap();
            assert_eq!(broken["message"], format!("is NOT VALID: {said}"), "{report}");
        }
    }
}

/// What the rows break is no key of a generated migration either: it would set rows aside that a run of its own keeps.
#[test]
fn no_key_that_rows_break_is_generated_for_a_foreign_key() {
    let database = Database::fresh();
    let case = Case::new("broken keys")
        .source_sql(
            "PRAGMA foreign_keys = 0; CREATE TABLE pb(id INTEGER PRIMARY KEY, e TEXT, f TEXT, g TEXT COLLATE NOCASE); INSERT INTO pb VALUES (1, 'k', 'x', 'a'), (2, 'k', 'y', 'A'), (3, NULL, 'z', NULL), (4, NULL, NULL, NULL);
             CREATE TABLE cb(b TEXT REFERENCES pb(e), f TEXT REFERENCES pb(f), g TEXT REFERENCES pb(g)); INSERT INTO cb VALUES ('k', 'x', 'a');
             CREATE TABLE cc(a TEXT, b TEXT, FOREIGN KEY (a, b) REFERENCES pb(e, f), FOREIGN KEY (b) REFERENCES pb(e)); INSERT INTO cc VALUES ('k', 'x');",
        )
        .database(&database);
    let generated = case.run("schema generate {source} --out {dir}/db --json").exit(1).json();
    let lost = ["unique_missing pb.e", "foreign_key_missing cb.b → pb", "foreign_key_missing cc.b → pb"];
    let expected: BTreeSet<String> = lost.iter().map(|lost| format!("\"{}\"", lost.replacen(' ', "\" \"", 1))).collect();
    assert_eq!(losses(&generated), expected, "{generated}");
    let todo = fs::read_to_string(case.dir().join("db/todo.sql")).unwrap();
    assert!(todo.contains("cannot be UNIQUE, as a foreign key would have it: 2 rows hold (k)"), "{todo}");
    let migrated = case.run("migrate {source} --to {url} --migrations {dir}/db --json").json();
    assert_eq!(migrated["rows_rejected"], 0, "{migrated}");
    let derived = Database::fresh();
    Case::new("broken keys derived").source_file(case.source_path()).database(&derived).run("migrate {source} {url}").exit(1);
    assert_eq!(database.rows(SCHEMA), derived.rows(SCHEMA));
    assert_eq!(database.rows("SELECT * FROM pb ORDER BY id"), derived.rows("SELECT * FROM pb ORDER BY id"));
}

/// Rows of a table without a key are known by what they reference, and those that break a check by SQLite's rowid: a place in PostgreSQL's file is no help.
#[test]
fn rows_without_a_key_are_named_alike_before_and_after() {
    let database = Database::fresh();
    let case = Case::new("no keys")
        .source_sql(
            "PRAGMA foreign_keys = 0; PRAGMA ignore_check_constraints = 1; CREATE TABLE p(code TEXT COLLATE NOCASE PRIMARY KEY); INSERT INTO p VALUES ('Abc'), ('é');
             CREATE TABLE c(code TEXT COLLATE NOCASE REFERENCES p(code), n INT CHECK (n > 0));
             INSERT INTO c VALUES ('É', 1), ('abc', -1), ('abc', 1), ('Abc', -2), (NULL, 1), ('ABC', 1), ('a', 1);",
        )
        .database(&database);
    for dry in ["--dry-run", ""] {
        let report = case.run(&format!("migrate {{source}} --to {{url}} --strict --json {dry}")).exit(1).json();
        let expected = [
            "\"c.check 1\" \"is NOT VALID: 2 rows break it (rowid 2; rowid 4)\"",
            "\"c.code → p\" \"is NOT VALID: 5 rows have no parent (ABC; a; abc; É)\"",
        ];
        assert_eq!(not_valid(&report), expected.map(String::from).into(), "{report}");
    }
}
