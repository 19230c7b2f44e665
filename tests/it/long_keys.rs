//! Keys and indexes over values that may be too long for a B-tree: it is made where PostgreSQL has room for them, and only else a hash index.

use serde_json::Value as Json;

use crate::support::{Case, Database};

fn warnings<'r>(report: &'r Json, code: &str) -> Vec<(&'r str, &'r str)> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == code);
    all.map(|warning| (warning["object"].as_str().unwrap(), warning["message"].as_str().unwrap())).collect()
}

/// The first statement of a planned object, without its quotes.
fn made(plan: &Json, label: &str) -> String {
    let planned = plan["objects"]["planned"].as_array().unwrap().iter().find(|object| object["object"] == *label);
    planned.unwrap_or_else(|| panic!("no {label} in {plan:#}"))["statements"][0].as_str().unwrap().replace('"', "")
}

/// Texts of 20,000 bytes, which compress to a few; and what names their keys. `t` is new, `u` sets off triggers.
const COMPRESSING: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT UNIQUE, folded TEXT COLLATE NOCASE, raw BLOB, n INTEGER);
    WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)
        INSERT INTO t SELECT i, replace(hex(zeroblob(10000)), '00', 'a' || i), replace(hex(zeroblob(5000)), '00', 'Ab'), zeroblob(9000 + i), i FROM c;
    UPDATE t SET folded = folded || id; INSERT INTO t VALUES (32, 'short', 'Short', x'00', 1);
    CREATE UNIQUE INDEX t_folded ON t(folded); CREATE UNIQUE INDEX t_raw ON t(raw DESC) WHERE n > 0; CREATE INDEX t_plain ON t(raw);
    CREATE TABLE kept(name TEXT UNIQUE, n INTEGER); INSERT INTO kept VALUES (replace(hex(zeroblob(5000)), '00', 'xy'), 1);
    CREATE TABLE u(id INTEGER PRIMARY KEY);
    CREATE TRIGGER upserts AFTER INSERT ON u BEGIN
        INSERT INTO t(body, n) VALUES ('short', 2) ON CONFLICT (body) DO UPDATE SET n = 3; END;
    CREATE TRIGGER replaces AFTER DELETE ON u BEGIN INSERT OR REPLACE INTO kept(name, n) VALUES ('x', OLD.id); END;";

/// One row whose value has no room: hexadecimal digits of random bytes do not become short enough.
const ONE_TOO_LONG: &str = "INSERT INTO t(id, body) VALUES (40, hex(randomblob(5000)))";

const INDEXES: &str = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ('t', 'kept') ORDER BY 1";

#[test]
fn values_that_compress_keep_their_b_trees() {
    let database = Database::fresh();
    let case = Case::new("compressing keys").source_sql(COMPRESSING).database(&database);
    let planned = case.run("migrate {source} --to {url} --dry-run --json").exit(0).json();
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    assert_eq!(made(&planned, "t.body"), "ALTER TABLE public.t ADD CONSTRAINT t_body_key UNIQUE (body)");
    for said in [&planned, &report] {
        let long = warnings(said, "key_too_long");
        assert_eq!(
            long.iter().map(|(object, _)| *object).collect::<Vec<_>>(),
            ["t.body", "t.t_folded", "t.t_raw", "t.t_plain", "kept.name"]
        );
        assert!(long.iter().all(|(_, message)| message.contains("PostgreSQL refuses a row that comes later and needs more")), "{long:?}");
        assert!(warnings(said, "unique_by_hash").is_empty() && warnings(said, "index_by_hash").is_empty(), "{said:#}");
    }
    // All that was open is decided.
    assert!(planned["objects"]["planned"].as_array().unwrap().iter().all(|object| object["otherwise"].is_null()), "{planned:#}");
    assert!(database.rows(INDEXES).iter().all(|index| index.contains("USING btree")), "{:?}", database.rows(INDEXES));
    database.execute("INSERT INTO u VALUES (1); DELETE FROM u; INSERT INTO t(id, body) VALUES (50, 'short') ON CONFLICT (body) DO NOTHING");
    assert_eq!(database.rows("SELECT n FROM t WHERE body = 'short' UNION ALL SELECT n FROM kept WHERE name = 'x'"), ["3", "1"]);
    database.execute("DELETE FROM kept WHERE name = 'x'; UPDATE t SET n = 1 WHERE body = 'short'");
    // What conflicts takes an id.
    database.execute("SELECT setval(pg_get_serial_sequence('t', 'id'), 32)");
    case.run("verify {source} --to {url} --schema-objects").exit(0);
    // PostgreSQL's own answer to a later row, which the note has told of.
    let later = "INSERT INTO t(id, body) SELECT 51, string_agg(md5(i::text), '') FROM generate_series(1, 300) i";
    assert!(database.try_execute(later).expect_err("no room").contains("index row"));
}

#[test]
fn the_form_is_decided_when_the_key_is_made() {
    for too_long in [false, true] {
        let database = Database::fresh();
        let case = Case::new("sections").source_sql(COMPRESSING).database(&database);
        if too_long {
            rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(ONE_TOO_LONG).unwrap();
        }
        for section in ["pre-data", "data"] {
            case.run(&format!("migrate {{source}} --to {{url}} --section {section}")).exit(0);
        }
        let code = i32::from(too_long);
        let report = case.run("migrate {source} --to {url} --section post-data --section verify --json").exit(code).json();
        let by_hash = warnings(&report, "unique_by_hash").iter().map(|(object, _)| *object).collect::<Vec<_>>();
        assert_eq!(by_hash, if too_long { vec!["t.body"] } else { vec![] }, "{report:#}");
        let lost = warnings(&report, "trigger_missing");
        assert_eq!(lost.iter().map(|(object, _)| *object).collect::<Vec<_>>(), if too_long { vec!["u.upserts"] } else { vec![] });
        assert_eq!(database.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), if too_long { "1" } else { "2" });
        // A run that is done says the same again.
        let again = case.run("migrate {source} --to {url} --resume --json").exit(0).json();
        assert_eq!(warnings(&again, "unique_by_hash").len(), usize::from(too_long), "{again:#}");
        case.run("verify {source} --to {url} --schema-objects").exit(0);
    }
}

#[test]
fn a_large_table_is_read_while_its_keys_are_tried() {
    let database = Database::fresh();
    let case = Case::new("large")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT UNIQUE, other TEXT UNIQUE);
             INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000) SELECT i, 'b' || i, 'o' || i FROM c;
             UPDATE t SET body = hex(randomblob(5000)), other = hex(zeroblob(5000)) WHERE id = 70000; CREATE INDEX t_body ON t(body);",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    let by_hash = |code: &str| warnings(&report, code).iter().map(|(object, _)| object.to_string()).collect::<Vec<_>>();
    assert_eq!((by_hash("unique_by_hash"), by_hash("index_by_hash")), (vec!["t.body".to_string()], vec!["t.t_body".to_string()]));
    let kinds = database.rows("SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relname LIKE 't\\_%' AND relkind = 'i' ORDER BY 1");
    assert_eq!(kinds, ["t_body|hash", "t_body_key|hash", "t_other_key|btree", "t_pkey|btree"]);
}

#[test]
fn a_dry_run_that_may_not_try_says_both_forms() {
    let database = Database::fresh();
    let role = format!("{}_planner", database.name);
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN; REVOKE TEMPORARY ON DATABASE {0} FROM PUBLIC; GRANT CREATE ON DATABASE {0} TO {role}; GRANT ALL ON SCHEMA public TO {role}",
        database.name
    ));
    let case = Case::new("both forms").source_sql(COMPRESSING).database(&database);
    let planned = case.run(&format!("migrate {{source}} --to {{url}} --role {role} --dry-run"));
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    planned
        .exit(0)
        .stdout_has("ADD CONSTRAINT \"t_body_key\" UNIQUE (\"body\");\n-- if a value has no room in it: ALTER TABLE \"public\".\"t\" ADD CONSTRAINT \"t_body_key\" EXCLUDE USING hash (\"body\" WITH =);")
        .stdout_has("-- if a key that it names is an exclusion constraint: it is not made")
        .stdout_has("is not foretold");
}

#[test]
fn generated_migrations_decide_as_a_run_does() {
    for too_long in [false, true] {
        let (database, by_run) = (Database::fresh(), Database::fresh());
        let case = Case::new("generated").source_sql(COMPRESSING).database(&database);
        if too_long {
            rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(ONE_TOO_LONG).unwrap();
        }
        // Whether the keys can be named is not known yet, so the trigger that names them is left for a person.
        let generated = case.run("schema generate {source} --out {dir}/files --json").exit(1).json();
        let lost: Vec<&str> = warnings(&generated, "trigger_missing").iter().map(|(object, _)| *object).collect();
        assert_eq!(lost, ["u.upserts", "u.replaces"], "{generated:#}");
        let todo = std::fs::read_to_string(case.dir().join("files/todo.sql")).unwrap();
        assert!(todo.contains("to be run when the key is a B-tree") && todo.contains("ON CONFLICT (body) DO UPDATE"), "{todo}");
        let report = case.run("migrate {source} --to {url} --migrations {dir}/files --json").json();
        assert_eq!(report["rows_rejected"], 0, "{report:#}");
        let other = Case::new("by run").source_file(case.source_path()).database(&by_run);
        other.run("migrate {source} --to {url}");
        assert_eq!(database.rows(INDEXES), by_run.rows(INDEXES), "{report:#}");
        assert_eq!(database.rows(INDEXES).iter().filter(|index| index.contains("USING hash")).count(), usize::from(too_long));
    }
}

#[test]
fn long_values_are_kept_unique_without_a_b_tree() {
    let database = Database::fresh();
    // Hexadecimal digits of random bytes do not become short enough by compression.
    let case = Case::new("long keys")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT UNIQUE, folded TEXT COLLATE NOCASE, raw BLOB, n INTEGER);
             INSERT INTO t SELECT value, hex(randomblob(5000)), hex(randomblob(4000)), randomblob(6000), value FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c WHERE value < 20) SELECT value FROM c);
             INSERT INTO t VALUES (30, NULL, NULL, NULL, NULL), (31, NULL, NULL, NULL, NULL), (32, 'short', 'Short', x'00', 1);
             CREATE UNIQUE INDEX t_folded ON t(folded); CREATE UNIQUE INDEX t_raw ON t(raw DESC) WHERE n > 0; CREATE INDEX t_plain ON t(raw);
             CREATE UNIQUE INDEX t_two ON t(n, body);
             CREATE TABLE u(id INTEGER PRIMARY KEY);
             CREATE TRIGGER upserts AFTER INSERT ON u BEGIN
                 INSERT INTO t(body, n) VALUES ('short', 2) ON CONFLICT (body) DO UPDATE SET n = 3; END;
             CREATE TRIGGER ignores AFTER DELETE ON u BEGIN INSERT OR IGNORE INTO t(body, n) VALUES ('short', 2); END;",
        )
        .database(&database);
    let planned = case.run("migrate {source} --to {url} --dry-run --json").exit(1).json();
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let by_hash: Vec<&str> = warnings(&report, "unique_by_hash").iter().map(|(object, _)| *object).collect();
    assert_eq!(by_hash, ["t.body", "t.t_folded", "t.t_raw"], "{report:#}");
    assert_eq!(warnings(&report, "index_by_hash").len(), 1, "{report:#}");
    // The dry run has tried it: what it prints is what is made, and what has no exact form is refused.
    assert_eq!(made(&planned, "t.body"), "ALTER TABLE public.t ADD CONSTRAINT t_body_key EXCLUDE USING hash (body WITH =)");
    assert_eq!(made(&planned, "t.t_plain"), "CREATE INDEX t_plain ON public.t USING hash (raw)");
    for said in [&planned, &report] {
        assert_eq!(warnings(said, "unique_by_hash").len(), 3, "{said:#}");
        assert!(warnings(said, "unique_missing")[0].1.contains("index row"), "{said:#}");
        let long: Vec<&str> = warnings(said, "key_too_long").iter().map(|(object, _)| *object).collect();
        assert_eq!(long, ["t.body", "t.t_folded", "t.t_raw", "t.t_plain", "t.t_two"], "{said:#}");
        assert!(warnings(said, "trigger_missing").iter().all(|(object, _)| *object == "u.upserts"), "{said:#}");
    }
    assert!(warnings(&report, "trigger_missing")[0].1.contains("ON CONFLICT of body"), "{report:#}");
    let refused = |sql: &str| database.try_execute(sql).expect_err(sql);
    assert!(refused("INSERT INTO t(id, body) SELECT 33, body FROM t WHERE id = 3").contains("exclusion"));
    assert!(refused("INSERT INTO t(id, folded) SELECT 33, lower(folded) FROM t WHERE id = 3").contains("exclusion"));
    assert!(refused("INSERT INTO t(id, raw, n) SELECT 33, raw, 1 FROM t WHERE id = 3").contains("exclusion"));
    database.execute("INSERT INTO t(id, raw, n) SELECT 34, raw, -1 FROM t WHERE id = 3; INSERT INTO t(id, body) VALUES (35, NULL)");
    database.execute("INSERT INTO u VALUES (1); DELETE FROM u; DELETE FROM t WHERE id > 32");
    // OR IGNORE takes an id, as it does in SQLite only where the row is written.
    database.execute("SELECT setval(pg_get_serial_sequence('t', 'id'), 32)");
    case.run("verify {source} --to {url} --schema-objects").exit(0);
    database.execute("ALTER TABLE t DROP CONSTRAINT t_body_key");
    case.run("verify {source} --to {url} --schema-objects").exit(1).stdout_has("unique t.body: none is on t");
}
