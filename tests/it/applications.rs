//! What the schemas of real applications ask for: full-text tables kept by triggers, REPLACE, defaults that their own type does not hold.

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
    let lost: Vec<&str> = report["warnings"].as_array().unwrap().iter().map(|warning| warning["object"].as_str().unwrap()).collect();
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
