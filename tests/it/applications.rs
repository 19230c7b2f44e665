//! What the schemas of real applications ask for: full-text tables kept by triggers, REPLACE, defaults that their own type does not hold.

use serde_json::Value as Json;

use crate::support::{Case, Database};

/// The same statements to both sides, and after each the same rows.
#[track_caller]
fn alike(case: &Case, database: &Database, steps: &[&str], questions: &[&str]) {
    let source = rusqlite::Connection::open(case.source_path()).unwrap();
    for step in steps {
        source.execute_batch(step).unwrap_or_else(|error| panic!("{step}: {error}"));
        database.execute(step);
        for question in questions {
            let mut statement = source.prepare(question).unwrap();
            let here: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(here, database.rows(question), "{question} after {step}");
        }
    }
}

#[test]
fn triggers_keep_full_text_tables_as_they_did() {
    let database = Database::fresh();
    let case = Case::new("fts triggers")
        .source_sql(
            "CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, body TEXT);
             INSERT INTO docs VALUES (1, 'one', 'first'), (2, 'two', 'second');
             CREATE VIRTUAL TABLE found USING fts5(title, body, content='docs', content_rowid='id');
             INSERT INTO found(found) VALUES ('rebuild');
             CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN INSERT INTO found(rowid, title, body) VALUES (new.rowid, new.title, new.body); END;
             CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN
                 INSERT INTO found(found, rowid, title, body) VALUES ('delete', old.id, old.title, old.body); END;
             CREATE TRIGGER docs_au AFTER UPDATE ON docs BEGIN
                 INSERT INTO found(found, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
                 INSERT INTO found(rowid, title, body) VALUES (new.id, new.title, new.body); END;
             CREATE VIRTUAL TABLE titles USING fts4(title);
             INSERT INTO titles(docid, title) SELECT id, title FROM docs;
             CREATE TRIGGER titles_bu BEFORE UPDATE ON docs BEGIN DELETE FROM titles WHERE docid = old.rowid; END;
             CREATE TRIGGER titles_au AFTER UPDATE ON docs BEGIN INSERT INTO titles(docid, title) VALUES (new.id, new.title); END;
             CREATE VIEW every AS SELECT * FROM titles;",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    // `*` of a full-text table does not show its rowid.
    assert_eq!(database.rows("SELECT * FROM every ORDER BY 1"), ["one", "two"]);
    alike(
        &case,
        &database,
        &[
            "INSERT INTO docs(id, title, body) VALUES (7, 'seven', 'x')",
            "UPDATE docs SET title = 'zwei' WHERE id = 2",
            "DELETE FROM docs WHERE id = 1",
        ],
        &["SELECT rowid || title || body FROM found ORDER BY rowid", "SELECT rowid || title FROM titles ORDER BY rowid"],
    );
}

#[test]
fn a_rowid_that_views_and_triggers_read_comes_along() {
    let database = Database::fresh();
    // As mopidy keeps its library: tracks are known to the full-text table by a rowid that no column shows.
    let case = Case::new("rowids")
        .source_sql(
            "CREATE TABLE artist(uri TEXT PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE track(uri TEXT PRIMARY KEY, name TEXT, artist TEXT);
             CREATE TABLE keyless(s TEXT);
             CREATE TABLE other(uri TEXT PRIMARY KEY);
             INSERT INTO artist VALUES ('a:1', 'Ann'), ('a:2', 'Bob');
             INSERT INTO track(rowid, uri, name, artist) VALUES (5, 't:5', 'five', 'a:1'), (3, 't:3', 'three', 'a:2'), (70, 't:70', 'last', NULL);
             INSERT INTO keyless(rowid, s) VALUES (-2, 'minus'), (9, 'nine');
             INSERT INTO other VALUES ('o:1');
             CREATE VIEW search AS SELECT track.rowid AS docid, track.name AS name, coalesce(artist.name, '') AS artist
                 FROM track LEFT JOIN artist ON track.artist = artist.uri;
             CREATE VIEW every AS SELECT * FROM track ORDER BY uri;
             CREATE VIEW counted AS SELECT oid AS n, s FROM keyless;
             CREATE VIRTUAL TABLE fts USING fts3(name, artist);
             INSERT INTO fts(docid, name, artist) SELECT docid, name, artist FROM search;
             CREATE TRIGGER track_ai AFTER INSERT ON track BEGIN
                 INSERT INTO fts(docid, name, artist) SELECT docid, name, artist FROM search WHERE docid = NEW.rowid; END;
             CREATE TRIGGER track_bu BEFORE UPDATE ON track BEGIN DELETE FROM fts WHERE docid = OLD.rowid; END;
             CREATE TRIGGER track_au AFTER UPDATE ON track BEGIN
                 INSERT INTO fts(docid, name, artist) SELECT docid, name, artist FROM search WHERE docid = NEW.rowid; END;
             CREATE TRIGGER track_bd BEFORE DELETE ON track BEGIN DELETE FROM fts WHERE docid = OLD.rowid; END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    assert_eq!(database.rows("SELECT * FROM every"), ["t:3|three|a:2", "t:5|five|a:1", "t:70|last|"]);
    // Only where it is read.
    let with_rowid = "SELECT table_name FROM information_schema.columns WHERE column_name = 'rowid' AND table_schema = 'public' ORDER BY 1";
    assert_eq!(database.rows(with_rowid), ["fts", "keyless", "track"]);
    let kept = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "rowid_kept").count();
    assert_eq!(kept, 2, "{report}");
    alike(
        &case,
        &database,
        &[
            "INSERT INTO track(uri, name, artist) VALUES ('t:new', 'new', 'a:1')",
            "UPDATE track SET name = 'cinq' WHERE uri = 't:5'",
            "DELETE FROM track WHERE uri = 't:3'",
            "INSERT INTO keyless(s) VALUES ('ten')",
        ],
        &[
            "SELECT rowid || name || artist FROM fts ORDER BY rowid",
            "SELECT docid || name || artist FROM search ORDER BY docid",
            "SELECT n || s FROM counted ORDER BY n",
        ],
    );
    let again = case.run("migrate {source} --to {url} --refresh --json");
    assert!(again.code != Some(2), "{again}");
    // A table of the application's own need not have it.
    let given = Database::fresh();
    given.execute("CREATE TABLE track(uri text PRIMARY KEY, name text, artist text)");
    let case = case.database(&given);
    case.run("migrate {source} --to {url} --on-extra fail --include track --allow views,triggers --json").exit(0);
    assert_eq!(given.value("SELECT count(*) FROM track"), "3");
    case.run("verify {source} --to {url} --include track").exit(0);
    // And a mapping can leave it out.
    let without = Database::fresh();
    std::fs::write(case.dir().join("m.toml"), "[tables.track.columns.rowid]\nskip = true\n").unwrap();
    let case = case.database(&without);
    case.run("migrate {source} --to {url} --mapping {dir}/m.toml --json").exit(1);
    assert_eq!(without.rows(with_rowid), ["fts", "keyless"]);
}

#[test]
fn or_ignore_leaves_out_what_keys_nulls_and_checks_refuse() {
    let database = Database::fresh();
    let case = Case::new("or ignore")
        .source_sql(
            "CREATE TABLE slot(id INTEGER PRIMARY KEY, place INTEGER UNIQUE, name TEXT NOT NULL, CHECK (place < 100));
             CREATE TABLE told(id INTEGER PRIMARY KEY, place INTEGER, name TEXT);
             INSERT INTO slot VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');
             CREATE TRIGGER moved AFTER INSERT ON told WHEN NEW.id < 10 BEGIN
                 UPDATE OR IGNORE slot SET place = NEW.place, name = NEW.name WHERE id = NEW.id; END;
             CREATE TRIGGER all_moved AFTER INSERT ON told WHEN NEW.id BETWEEN 10 AND 19 BEGIN
                 UPDATE OR IGNORE slot SET place = place + NEW.place; END;
             CREATE TRIGGER added AFTER INSERT ON told WHEN NEW.id BETWEEN 20 AND 29 BEGIN
                 INSERT OR IGNORE INTO slot VALUES (NEW.id, NEW.place, NEW.name); END;
             CREATE TRIGGER copied AFTER INSERT ON told WHEN NEW.id >= 30 BEGIN
                 INSERT OR IGNORE INTO slot(place, name) SELECT place, name FROM told WHERE id >= 20 ORDER BY id; END;",
        )
        .database(&database);
    case.run("migrate {source} --to {url} --json").exit(0);
    alike(
        &case,
        &database,
        &[
            "INSERT INTO told VALUES (1, 7, 'moves')",
            "INSERT INTO told VALUES (2, 7, 'is taken')",
            "INSERT INTO told VALUES (3, 5, NULL)",
            "INSERT INTO told VALUES (4, 5, 'is nobody')",
            "INSERT INTO told VALUES (5, 500, 'breaks the check')",
            "INSERT INTO told VALUES (10, 50, 'all')",
            "INSERT INTO told VALUES (11, 46, 'but those that break the check')",
            "INSERT INTO told VALUES (20, 20, 'new')",
            "INSERT INTO told VALUES (21, 20, 'is taken')",
            "INSERT INTO told VALUES (22, 22, NULL)",
            "INSERT INTO told VALUES (23, 1000, 'breaks the check')",
            "INSERT INTO told VALUES (30, 30, 'several')",
        ],
        &["SELECT place || ' ' || name FROM slot ORDER BY place"],
    );
}

#[test]
fn instead_of_update_of_columns_is_instead_of_update_where_nothing_else_stands_in() {
    let database = Database::fresh();
    let case = Case::new("instead of")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT); INSERT INTO t VALUES (1, 'x', 'y');
             CREATE VIEW v AS SELECT id, a FROM t;
             CREATE TRIGGER v_all INSTEAD OF UPDATE OF a, id ON v BEGIN UPDATE t SET a = NEW.a, b = 'set' WHERE id = OLD.id; END;",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    alike(&case, &database, &["UPDATE v SET a = 'z' WHERE id = 1"], &["SELECT id || a || b FROM t"]);
    let some = Database::fresh();
    let case = Case::new("some columns")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); CREATE VIEW v AS SELECT id, a FROM t;
             CREATE TRIGGER v_a INSTEAD OF UPDATE OF a ON v BEGIN UPDATE t SET a = NEW.a WHERE id = OLD.id; END;
             CREATE VIEW w AS SELECT id, a FROM t;
             CREATE TRIGGER w_a INSTEAD OF UPDATE OF a ON w BEGIN UPDATE t SET a = NEW.a WHERE id = OLD.id; END;
             CREATE TRIGGER w_id INSTEAD OF UPDATE OF id ON w BEGIN UPDATE t SET id = NEW.id WHERE id = OLD.id; END;",
        )
        .database(&some);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let lost = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss");
    assert_eq!(lost.map(|loss| loss["object"].as_str().unwrap()).collect::<Vec<_>>(), ["w.w_a", "w.w_id"], "{report}");
    assert!(report["warnings"].to_string().contains("takes every UPDATE of the view"), "{report}");
    alike(&case, &some, &["INSERT INTO t VALUES (1, 'x')", "UPDATE v SET a = 'z', id = 7 WHERE id = 1"], &["SELECT id || a FROM t"]);
}

#[test]
fn replace_replaces_where_nobody_else_takes_notice() {
    let database = Database::fresh();
    let case = Case::new("replace")
        .source_sql(
            "CREATE TABLE kv(k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;
             CREATE TABLE counts(\"table\" TEXT PRIMARY KEY, n INTEGER, note TEXT DEFAULT 'fresh');
             CREATE TABLE watched(id INTEGER PRIMARY KEY, x TEXT UNIQUE);
             CREATE TRIGGER kv_i AFTER INSERT ON kv BEGIN
                 INSERT OR REPLACE INTO counts(\"table\", n) VALUES ('kv', coalesce((SELECT n FROM counts WHERE \"table\" = 'kv'), 0) + 1); END;
             CREATE TRIGGER kv_d AFTER DELETE ON kv BEGIN
                 REPLACE INTO counts SELECT 'kv', coalesce((SELECT n FROM counts WHERE \"table\" = 'kv'), 0) - 1, 'down'; END;
             CREATE TRIGGER two_keys AFTER UPDATE ON kv BEGIN REPLACE INTO watched VALUES (1, 'x'); END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let lost: Vec<&str> = report["exit_reasons"].as_array().unwrap().iter().map(|reason| reason["object"].as_str().unwrap()).collect();
    assert_eq!(lost, ["kv.two_keys"]);
    alike(
        &case,
        &database,
        &[
            "INSERT INTO kv VALUES ('a', 1)",
            "INSERT INTO kv VALUES ('b', 2)",
            "DELETE FROM kv WHERE k = 'a'",
            "INSERT INTO kv VALUES ('c', 2)",
        ],
        &["SELECT \"table\" || n || note FROM counts"],
    );
}

#[test]
fn a_default_that_the_declared_type_does_not_hold_decides_where_no_row_does() {
    let database = Database::fresh();
    let case = Case::new("defaults")
        .source_sql(
            "CREATE TABLE empty(id INTEGER PRIMARY KEY, at DATETIME DEFAULT 0, made NUMERIC DEFAULT (datetime('now')), day DATE DEFAULT CURRENT_TIMESTAMP,
                 plain DATETIME DEFAULT CURRENT_TIMESTAMP, born DATETIME DEFAULT '1970-01-01T00:00:00Z');
             CREATE TABLE contents(id INTEGER PRIMARY KEY, last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')));
             INSERT INTO contents VALUES (1, '2024-01-31T23:59:59.123Z');",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    let types = "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_name = 'empty' AND column_name <> 'id' ORDER BY 1";
    let stamp = "timestamp without time zone";
    assert_eq!(
        database.rows(types),
        ["at text".into(), format!("born {stamp}"), format!("day {stamp}"), "made text".into(), format!("plain {stamp}")]
    );
    database.execute("INSERT INTO empty(id) VALUES (1)");
    let text = "SELECT at || ' ' || (made ~ '^[0-9-]{10} [0-9:]{8}$') || ' ' || born || (day > '2020-01-01') FROM empty";
    assert_eq!(database.value(text), "0 true 1970-01-01 00:00:00true");
    database.execute("INSERT INTO contents(id) VALUES (2)");
    let recent = "SELECT count(*) FROM contents WHERE id = 2 AND abs(extract(epoch FROM now() - last_change)) < 60 AND
        date_trunc('milliseconds', last_change) = last_change";
    assert_eq!(database.value(recent), "1");
}

#[test]
fn a_default_of_the_rowid_is_said_to_be_none() {
    let database = Database::fresh();
    let case = Case::new("rowid default")
        .source_sql("CREATE TABLE gammu(version INTEGER NOT NULL DEFAULT '0' PRIMARY KEY, x INTEGER); INSERT INTO gammu(x) VALUES (5);")
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let warning = &report["warnings"][0];
    assert_eq!((&warning["code"], &warning["object"]), (&"default_of_rowid".into(), &"gammu.version".into()), "{report}");
    assert_eq!(database.value("INSERT INTO gammu(x) VALUES (6) RETURNING version"), "2");
}

#[test]
fn a_time_of_day_keeps_its_spelling() {
    let database = Database::fresh();
    let case = Case::new("times")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TIME, b TIME);
             INSERT INTO t VALUES (1, '10:00:00', '10:00'), (2, '23:59:59.5', '10:00:00');",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let types = "SELECT data_type FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position";
    assert_eq!(database.rows(types), ["bigint", "time without time zone", "text"]);
    assert!(
        report["warnings"][0]["message"].as_str().unwrap().contains("1 time that PostgreSQL would print another way (rows 1)"),
        "{report}"
    );
}

#[test]
fn json_is_valid_or_null_in_either_order() {
    let database = Database::fresh();
    let case = Case::new("json check")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, j TEXT CHECK ((JSON_VALID(\"j\") OR \"j\" IS NULL)), total DECIMAL(8,2), pos INTEGER,
                 sum DECIMAL(12,3) GENERATED ALWAYS AS (total * pos) STORED);
             INSERT INTO t(id, j, total, pos) VALUES (1, '{}', 1.5, 3), (2, NULL, 2, 4), (3, '[]', 0.1, 3);",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    // SQLite multiplies in double precision.
    assert_eq!(database.rows("SELECT sum FROM t ORDER BY id"), ["4.5", "8", "0.30000000000000004"]);
    assert_eq!(database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND convalidated AND conrelid = 't'::regclass"), "1");
}

#[test]
fn views_that_live_from_the_order_of_rowids_keep_it_or_say_so() {
    let database = Database::fresh();
    let case = Case::new("order of rowids")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, g INTEGER, v TEXT); INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c');
             CREATE TABLE keyed(k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO keyed VALUES ('z'), ('y');
             CREATE VIEW first AS SELECT 'v' || id AS x FROM t LIMIT 1;
             CREATE VIEW one AS SELECT (SELECT v FROM t WHERE g = 1) AS x;
             CREATE VIEW joined AS SELECT g || group_concat(v) AS x FROM t GROUP BY g;
             CREATE VIEW unsaid AS SELECT k AS x FROM keyed LIMIT 1;
             CREATE TABLE log(n INTEGER);
             CREATE TRIGGER counting AFTER INSERT ON t BEGIN INSERT INTO log SELECT count(*) FROM t; END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let notes = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"].as_str().unwrap().ends_with("_differs"));
    let notes: Vec<&str> = notes.map(|warning| warning["object"].as_str().unwrap()).collect();
    assert_eq!(notes, ["unsaid", "t.counting"], "{report}");
    alike(
        &case,
        &database,
        &["UPDATE t SET v = 'a2' WHERE id = 1", "UPDATE t SET v = v WHERE id = 2"],
        &["SELECT x FROM first", "SELECT x FROM one", "SELECT x FROM joined ORDER BY 1"],
    );
}

#[test]
fn names_of_constraints_are_kept_where_they_can_be() {
    let database = Database::fresh();
    let case = Case::new("constraint names")
        .source_sql(
            "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
             CREATE TABLE t(a INTEGER CONSTRAINT c CHECK (a > 0), b INTEGER CONSTRAINT c REFERENCES p(id), u INTEGER, w INTEGER,
                CONSTRAINT uq UNIQUE (u), CONSTRAINT t_w_key CHECK (w > 0), UNIQUE (w));
             CREATE TABLE s(b INTEGER CONSTRAINT c REFERENCES p(id));
             INSERT INTO t VALUES (1, 1, 1, 1);",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let sql =
        "SELECT conrelid::regclass || ' ' || conname || ' ' || contype::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
               AND contype IN ('c', 'f', 'u') ORDER BY 1";
    assert_eq!(database.rows(sql), ["s c f", "t c c", "t c_2 f", "t t_w_key u", "t t_w_key_2 c", "t uq u"]);
    let renamed = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "constraint_renamed").count();
    assert_eq!(renamed, 2, "{report}");
}

/// SQLite holds no default to a type's limits, and rows to come will have it.
#[test]
fn defaults_that_their_type_has_no_room_for() {
    let database = Database::fresh();
    let case = Case::new("defaults")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, price DECIMAL(4,2) DEFAULT 123.456, code VARCHAR(3) DEFAULT 'toolong', whole DECIMAL(4,2) DEFAULT 12.5, n INTEGER DEFAULT 'none');
             INSERT INTO t VALUES (1, 1.25, 'abc', 1, 5);",
        )
        .database(&database);
    let plan = case.run("migrate {source} --to {url} --dry-run").exit(1);
    assert!(plan.stdout.contains("-- \"price\" is numeric: declared DECIMAL(4,2), which has no room for its default, 123.456"), "{plan}");
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(report["exit_reasons"][0]["object"], "t.n", "{report}");
    assert!(report["warnings"].to_string().contains("has no DEFAULT 'none': a text does not fit"), "{report}");
    database.execute("INSERT INTO t(id) VALUES (2)");
    assert_eq!(database.rows("SELECT * FROM t ORDER BY id"), ["1|1.25|abc|1.00|5", "2|123.456|toolong|12.50|"]);
    // Where types stay as declared, the default goes, with a word.
    let strict = Database::fresh();
    let case = Case::new("as declared").source_file(case.source_path()).database(&strict);
    let plan = case.run("migrate {source} --to {url} --on-misfit reject --dry-run").exit(1);
    assert!(plan.stdout.contains("t.price has no DEFAULT 123.456: numeric(4,2) has no room for it"), "{plan}");
    case.run("migrate {source} --to {url} --on-misfit reject").exit(1);
    strict.execute("INSERT INTO t(id) VALUES (2)");
    assert_eq!(strict.rows("SELECT * FROM t ORDER BY id"), ["1|1.25|abc|1.00|5", "2|||12.50|"]);
}

/// A function that only the application has: what SQLite has stored is read, what it would compute is not there to be read.
#[test]
fn generated_columns_of_an_unknown_function() {
    let database = Database::fresh();
    let case = Case::new("unknown function")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, v INT AS (abs(a)), w INT AS (v + 1), s INT AS (abs(a)) STORED, z TEXT);
             INSERT INTO t(id, a, z) VALUES (1, -5, 'z'); CREATE INDEX t_v ON t(v); CREATE INDEX t_z ON t(z); CREATE VIEW sees AS SELECT v FROM t;
             PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'abs(', 'only_ours(') WHERE name = 't';",
        )
        .database(&database);
    let told = |report: &Json| -> Vec<String> {
        let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss");
        let mut said: Vec<String> = all.map(|warning| format!("{} {}", warning["code"], warning["object"]).replace('"', "")).collect();
        said.sort();
        said
    };
    let plan = case.run("migrate {source} --to {url} --dry-run --json").exit(1).json();
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let expected = [
        "generated_column_missing t.s",
        "generated_column_missing t.v",
        "generated_column_missing t.w",
        "index_missing t.t_v",
        "view_missing sees",
    ];
    assert_eq!((told(&plan), told(&report)), (expected.map(String::from).to_vec(), expected.map(String::from).to_vec()));
    assert!(report["warnings"].to_string().contains("unknown function: only_ours()"), "{report}");
    assert_eq!(database.rows("SELECT * FROM t"), ["1|-5|5|z"]);
    case.run("verify {source} --to {url} --schema-objects").exit(0);
    case.run("migrate {source} --to {url} --refresh --yes").exit(0);
}

#[test]
fn an_empty_table_of_json_promises_no_spelling() {
    let database = Database::fresh();
    let case = Case::new("empty json")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, doc JSON, CHECK (length(doc) <= 7)); CREATE VIEW v AS SELECT id FROM t WHERE doc = '{\"a\":1}'")
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let lost: Vec<&str> = report["exit_reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(lost, ["check_missing", "view_missing"], "{report}");
}

#[test]
fn a_folded_key_folds_ascii_whatever_the_collation() {
    let database = Database::fresh();
    let case = Case::new("folded key")
        .source_sql("CREATE TABLE t(name TEXT COLLATE NOCASE PRIMARY KEY); INSERT INTO t VALUES ('É'), ('é')")
        .database(&database);
    case.run("migrate {source} --to {url} --collation default").exit(0);
    assert!(database.try_execute("INSERT INTO t VALUES ('a'), ('A')").is_err());
}

#[test]
fn days_that_a_month_does_not_have_are_the_days_that_sqlite_makes_of_them() {
    let database = Database::fresh();
    let case = Case::new("odd days")
        .source_sql(
            "CREATE TABLE m(id INTEGER PRIMARY KEY, d TEXT);
             INSERT INTO m VALUES (1, '2024-01-01'), (2, '2024-02-30'), (3, '2023-02-31 10:00'), (4, '2024-12-31 24:00'), (5, '24:30'), (6, '2024-02-32'),
                (7, '2024-04-31T24:00:00Z'), (8, 'n/a');
             CREATE VIEW w AS SELECT id || ' ' || ifnull(date(d), '-') || ' ' || ifnull(datetime(d), '-') || ' ' || ifnull(strftime('%j %H', d), '-') AS x FROM m;
             CREATE VIRTUAL TABLE f USING fts5(body); CREATE VIEW fv AS SELECT body FROM f WHERE f MATCH 'x';",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert!(report["warnings"].to_string().contains("MATCH searches a virtual table"), "{report}");
    alike(&case, &database, &["INSERT INTO m VALUES (9, '2025-02-29')"], &["SELECT x FROM w ORDER BY x"]);
}

#[test]
fn a_full_text_table_without_its_text_is_a_loss() {
    let database = Database::fresh();
    let case = Case::new("contentless")
        .source_sql("CREATE VIRTUAL TABLE fc USING fts5(txt, content=''); INSERT INTO fc(rowid, txt) VALUES (1, 'one'), (2, 'two')")
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(report["exit_reasons"][0]["object"], "fc", "{report}");
    assert_eq!(database.rows("SELECT * FROM fc ORDER BY rowid"), ["|1", "|2"]);
}

#[test]
fn triggers_that_fire_together_are_said() {
    let database = Database::fresh();
    let case = Case::new("together")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE log(x TEXT);
             CREATE TRIGGER b AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('b'); END;
             CREATE TRIGGER c BEFORE INSERT ON t BEGIN INSERT INTO log VALUES ('c'); END;
             CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('a'); END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let together = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "trigger_order");
    let said: Vec<&str> = together.filter_map(|warning| warning["object"].as_str()).collect();
    assert_eq!(said, ["t.a"], "{report}");
}
