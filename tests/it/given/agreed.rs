//! What a given schema has that a run meets and a dry run must know: partitions, keys that are put off, indexes that compute, names that are taken.

use super::{aside, foretold, losses};
use crate::server::{Server, versions};
use crate::support::{Case, Database};

#[test]
fn rows_without_a_partition_and_what_a_partition_alone_refuses_are_foretold() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id int, kind text, n int, u int, CHECK (n <> 13)) PARTITION BY RANGE (id);
         CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY LIST (kind);
         CREATE TABLE t_low_a PARTITION OF t_low(CONSTRAINT small CHECK (n < 1000), UNIQUE (u)) FOR VALUES IN ('a');
         CREATE TABLE t_low_b PARTITION OF t_low FOR VALUES IN ('b'); CREATE UNIQUE INDEX t_low_b_of ON t_low_b(lower(kind), n);
         CREATE TABLE t_high(n int, u int, kind text, id int, CONSTRAINT t_n_check CHECK (n <> 13)); ALTER TABLE t ATTACH PARTITION t_high FOR VALUES FROM (100) TO (200);
         INSERT INTO t VALUES (1, 'a', 1, 7)",
    );
    let case = Case::new("partitions")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, kind TEXT, n INTEGER, u INTEGER);
             INSERT INTO t VALUES (2, 'a', 1, 1), (3, 'a', 1, 1), (4, 'a', 5000, 2), (5, 'b', 5000, 1), (6, 'b', 5000, 2), (7, 'c', 1, 3), (8, 'a', 13, 4),
                (9, 'a', 2, 7), (150, 'z', 5000, 1), (151, NULL, 13, 1), (500, 'a', 1, 9)",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "--existing keep");
    let expected = [
        "{\"id\":151} - 23514",
        "{\"id\":3} - 23505",
        "{\"id\":4} - 23514",
        "{\"id\":500} - 23514",
        "{\"id\":6} - 23505",
        "{\"id\":7} - 23514",
        "{\"id\":8} - 23514",
        "{\"id\":9} - 23505",
    ];
    assert_eq!(aside(&case, &report, "t"), expected);
    // In the run's own words, of its own tables and keys.
    let said = plan["tables"][0]["misfits"].to_string();
    assert!(said.contains("unique constraint \\\"t_low_a_u_key\\\"") && said.contains("relation \\\"t_low_a\\\""), "{said}");
    assert!(!plan.to_string().contains("candlefish_try"), "{plan}");
}

#[test]
fn a_key_that_a_partition_alone_has_costs_no_row_and_comes_back() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE p(id bigint PRIMARY KEY);
         CREATE TABLE c(id bigint PRIMARY KEY, p_id bigint) PARTITION BY RANGE (id);
         CREATE TABLE c_1 PARTITION OF c(CONSTRAINT c_1_p FOREIGN KEY (p_id) REFERENCES p) FOR VALUES FROM (0) TO (100);
         CREATE TABLE c_2 PARTITION OF c FOR VALUES FROM (100) TO (200);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''it has fired''; END';
         CREATE TRIGGER c_2_t BEFORE INSERT ON c_2 FOR EACH ROW EXECUTE FUNCTION f();",
    );
    // More of children than of parents, which therefore come later.
    let source = |last: i64| {
        format!(
            "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1); CREATE TABLE c(id INTEGER PRIMARY KEY, p_id INTEGER);
             INSERT INTO c VALUES (1, 1), (2, 1), (3, {last}), (150, 77)"
        )
    };
    let state = "SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'c_1'::regclass AND contype = 'f'
                 UNION ALL SELECT tgname, tgenabled = 'O' FROM pg_trigger WHERE tgrelid = 'c_2'::regclass AND NOT tgisinternal ORDER BY 1";
    let case = Case::new("key of a partition").source_sql(&source(1)).database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&5.into(), &0.into()), "{report:#}");
    assert_eq!(database.rows(state), ["c_1_p|t", "c_2_t|t"]);
    // A refresh knows it as the table's own.
    rusqlite::Connection::open(case.source_path())
        .unwrap()
        .execute_batch("INSERT INTO c VALUES (4, 88); INSERT INTO p VALUES (2)")
        .unwrap();
    let planned = case.run("migrate {source} {url} --refresh --dry-run --json").exit(0).json();
    let report = case.run("migrate {source} {url} --refresh --json").exit(0).json();
    assert_eq!(losses(&planned), losses(&report), "{planned:#}");
    assert!(losses(&report)[0].contains("is NOT VALID: 1 row has no parent (id 4 → 88)"), "{report:#}");
    database.execute("DELETE FROM c WHERE id = 4; ALTER TABLE c_1 VALIDATE CONSTRAINT c_1_p; TRUNCATE p, c");
    let case = Case::new("orphan of a partition").source_sql(&source(9)).database(&database);
    let (_, report) = foretold(&case, &database, "--strict");
    assert!(losses(&report)[0].contains("\"c.c_1_p\" \"is NOT VALID: 1 row has no parent (id 3 → 9)\""), "{report:#}");
    assert_eq!(database.rows(state), ["c_1_p|f", "c_2_t|t"]);
}

#[test]
fn what_an_unfinished_run_took_away_from_a_partition_comes_back_with_the_next() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE p(id bigint PRIMARY KEY); CREATE SCHEMA other; CREATE TABLE c(id bigint PRIMARY KEY, p_id bigint) PARTITION BY RANGE (id);
         CREATE TABLE c_1 PARTITION OF c(CONSTRAINT c_p FOREIGN KEY (p_id) REFERENCES p) FOR VALUES FROM (0) TO (100);
         CREATE TABLE other.c_2 PARTITION OF c(CONSTRAINT c_p FOREIGN KEY (p_id) REFERENCES p) FOR VALUES FROM (100) TO (200);",
    );
    let case = Case::new("unfinished")
        .source_sql(
            "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1); CREATE TABLE c(id INTEGER PRIMARY KEY, p_id INTEGER);
             INSERT INTO c VALUES (1, 1), (2, 5), (150, 1)",
        )
        .database(&database);
    let keys = "SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'c_p' ORDER BY conrelid::regclass::text";
    case.run("migrate {source} {url} --section pre-data --section data").exit(0);
    assert_eq!(database.rows(keys), [""; 0]);
    let (_, report) = foretold(&case, &database, "--existing truncate --strict");
    assert!(losses(&report)[0].contains("\"c.c_p\" \"is NOT VALID: 1 row has no parent (id 2 → 5)\""), "{report:#}");
    assert_eq!(database.rows(keys), ["c_1|f", "other.c_2|t"]);
}

#[test]
fn a_table_that_another_references_is_not_emptied_and_nothing_is_changed() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id bigint PRIMARY KEY); INSERT INTO t VALUES (9); CREATE SCHEMA billing; CREATE TABLE billing.invoice(t bigint REFERENCES t);
         CREATE TABLE own(id bigint PRIMARY KEY, t bigint REFERENCES t)",
    );
    let case = Case::new("referenced")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE own(id INTEGER PRIMARY KEY, t INTEGER)")
        .database(&database);
    for flags in ["--dry-run", ""] {
        let error = case.run(&format!("migrate {{source}} {{url}} --existing truncate --json {flags}")).exit(2).json()["error"].clone();
        assert_eq!((&error["code"], &error["target_changed"]), (&"referenced_elsewhere".into(), &false.into()), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("\"public\".\"t\"") && message.contains("\"billing\".\"invoice\""), "{message}");
        assert!(!message.contains("own"), "{message}");
    }
    assert_eq!(database.rows("SELECT id FROM t"), ["9"]);
    // One that is left alone by the run stands in the way too, in the same schema.
    let error = case.run("migrate {source} {url} --existing truncate --exclude own --json").exit(2).json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("\"public\".\"own\""), "{error}");
    foretold(&case, &database, "--existing keep");
}

#[test]
fn a_key_that_is_put_off_to_the_end_is_foretold() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    let case = Case::new("deferred")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 1), (2, 2), (3, 2), (4, 4)")
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!(report["rows_rejected"], 1, "{report:#}");
}

#[test]
fn a_parent_that_is_one_by_its_collation_alone_is_none() {
    let database = Database::fresh();
    let case = Case::new("collated parents")
        .source_sql(
            "CREATE TABLE p(code TEXT COLLATE NOCASE PRIMARY KEY); INSERT INTO p VALUES ('a'), ('B');
             CREATE TABLE c(id INTEGER PRIMARY KEY, code TEXT REFERENCES p); INSERT INTO c VALUES (1, 'a'), (2, 'A'), (3, 'b');
             CREATE TABLE q(id INTEGER PRIMARY KEY, code TEXT COLLATE RTRIM UNIQUE); INSERT INTO q VALUES (1, 'x');
             CREATE TABLE d(id INTEGER PRIMARY KEY, code TEXT REFERENCES q(code)); INSERT INTO d VALUES (1, 'x'), (2, 'x  ');",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "--strict");
    assert!(!losses(&report).is_empty(), "{plan} {report}");
}

#[test]
fn a_function_that_is_there_keeps_its_name_and_the_trigger_is_made() {
    let database = Database::fresh();
    database.execute("CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'SELECT 7'");
    let case = Case::new("a function there")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE log(id INTEGER); INSERT INTO t VALUES (1, 'a');
             CREATE TRIGGER touch AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.id); END;",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "");
    assert_eq!(losses(&report), [""; 0], "{report:#}");
    assert!(plan["warnings"].to_string().contains("is \\\"touch_2\\\" in PostgreSQL: a function of that name is there"), "{plan:#}");
    database.execute("INSERT INTO t(id, v) VALUES (2, 'b')");
    assert_eq!(database.rows("SELECT id, touch() FROM log"), ["2|7"]);
}

#[test]
fn the_columns_that_are_added_are_in_the_statements_of_a_dry_run() {
    let (database, by_hand) = (Database::fresh(), Database::fresh());
    let there = "CREATE TABLE t(id bigint PRIMARY KEY)";
    database.execute(there);
    by_hand.execute(there);
    let case = Case::new("added")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, at DATETIME); INSERT INTO t VALUES (7, 'a', '2024-01-02 03:04:05')")
        .database(&database);
    let text = case.run("migrate {source} {url} --on-extra add --dry-run").exit(0);
    let text = text.stdout_has("-- into \"public\".\"t\", which is there\nALTER TABLE \"public\".\"t\" ADD COLUMN \"v\" text;\n");
    text.stdout_has("ADD COLUMN \"at\" timestamp without time zone;\n");
    let (plan, _) = foretold(&case, &database, "--on-extra add");
    by_hand.execute(plan["tables"][0]["ddl"].as_str().unwrap());
    let columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position";
    assert_eq!(by_hand.rows(columns), database.rows(columns));
}

#[test]
fn an_index_at_which_a_row_may_fail_stays_and_the_row_is_set_aside() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id int PRIMARY KEY, n int, s text, d jsonb, g text GENERATED ALWAYS AS (repeat(s, 5)) STORED);
         CREATE INDEX t_of ON t((100 / n)); CREATE INDEX t_some ON t(id) WHERE 7 / (n - 3) > 1; CREATE INDEX t_long ON t(s); CREATE INDEX t_plain ON t(n);
         CREATE INDEX t_g ON t(g);",
    );
    let long = "hex(randomblob(3000))";
    let case = Case::new("indexes")
        .source_sql(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, s TEXT); INSERT INTO t VALUES (1, 1, 'a'), (2, 0, 'b'), (3, 3, 'c'), (4, 4, {long}), (5, 5, 'd')"
        ))
        .database(&database);
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 't' ORDER BY 1";
    let before = database.rows(indexes);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!(database.rows(indexes), before);
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":2} - 22012", "{\"id\":3} - 22012", "{\"id\":4} - 54000"]);
    assert!(losses(&report).iter().all(|loss| loss.contains("object_not_in_target")), "{report:#}");
    assert_eq!(database.rows("SELECT id FROM t ORDER BY id"), ["1", "5"]);
}

#[test]
fn what_a_given_table_computes_otherwise_is_foretold() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id int PRIMARY KEY, n int CHECK (n < 100), twice int GENERATED ALWAYS AS (n * 3) STORED, at text, day text GENERATED ALWAYS AS (left(at, 4)) STORED);
         INSERT INTO t(id, n) VALUES (90, 1)",
    );
    let case = Case::new("computed otherwise")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2), at TEXT, day TEXT AS (substr(at, 1, 4)) STORED);
             INSERT INTO t(id, n, at) VALUES (1, 0, '2024-01-01'), (2, 5, NULL), (3, 7, '2024-01-02'), (4, 500, NULL)",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "--existing keep");
    assert_eq!((&report["outcome"], &report["rows_rejected"]), (&"mismatch".into(), &1.into()), "{report:#}");
    let differences = &plan["tables"][0]["differences"];
    assert_eq!((&differences["count"], differences["keys"].to_string().as_str()), (&2.into(), "[{\"id\":2},{\"id\":3}]"), "{plan:#}");
    assert_eq!(case.run("verify {source} {url} --json").exit(1).json()["differences_total"], differences["count"]);
    let text = case.run("migrate {source} {url} --existing truncate --dry-run").exit(1);
    text.stdout_has("-- different: 2 rows by what PostgreSQL computes: {\"id\":2}; {\"id\":3}\n");
}

#[test]
fn a_column_that_fails_when_it_is_read_is_a_difference_and_no_failure() {
    for (_, bin) in versions().into_iter().filter(|(version, _)| version == "18") {
        let server = Server::start(&bin, &[]);
        server.rows("CREATE TABLE t(id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL)");
        let case = Case::new("virtual").source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2)); INSERT INTO t(id, n) VALUES (1, 7), (2, 2000000000)",
        );
        let url = server.url();
        let plan = case.run(&format!("migrate {{source}} {url} --dry-run --json")).exit(1).json();
        let unreadable = &plan["tables"][0]["differences"]["unreadable"];
        assert_eq!((&unreadable[0]["column"], &unreadable[0]["reason"]), (&"twice".into(), &"integer out of range".into()), "{plan:#}");
        let report = case.run(&format!("migrate {{source}} {url} --json")).exit(1).json();
        assert_eq!((&report["outcome"], &report["rows_written"]), (&"mismatch".into(), &2.into()), "{report:#}");
        assert!(
            report["warnings"].to_string().contains("column \\\"twice\\\" cannot be read in PostgreSQL: integer out of range"),
            "{report:#}"
        );
        case.run(&format!("verify {{source}} {url}")).exit(1).stdout_has("cannot be read in PostgreSQL: integer out of range");
        // With values that fit, every one of them is compared.
        server.rows("TRUNCATE t; DROP SCHEMA candlefish CASCADE");
        let case = Case::new("virtual").source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2)); INSERT INTO t(id, n) VALUES (1, 7), (2, -4)",
        );
        case.run(&format!("migrate {{source}} {url}")).exit(0);
    }
}

#[test]
fn a_refresh_takes_a_column_that_fails_when_it_is_read_for_a_difference_too() {
    for (_, bin) in versions().into_iter().filter(|(version, _)| version == "18") {
        let server = Server::start(&bin, &[]);
        server.rows("CREATE TABLE t(id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL)");
        let case = Case::new("virtual")
            .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2)); INSERT INTO t(id, n) VALUES (1, 7)");
        let url = server.url();
        case.run(&format!("migrate {{source}} {url}")).exit(0);
        let refresh = |change: &str, code: i32| {
            rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(change).unwrap();
            let planned = case.run(&format!("migrate {{source}} {url} --refresh --dry-run --json")).exit(code).json();
            let report = case.run(&format!("migrate {{source}} {url} --refresh --json")).exit(code).json();
            assert_eq!(planned["warnings"], report["warnings"], "{planned:#}\n{report:#}");
            report
        };
        let said = "column \\\"twice\\\" cannot be read in PostgreSQL: integer out of range";
        // What comes makes it fail; then it fails before anything is compared; then what comes mends it.
        for change in ["INSERT INTO t(id, n) VALUES (2, 2000000000)", "UPDATE t SET n = 8 WHERE id = 1"] {
            let report = refresh(change, 1);
            assert_eq!((&report["outcome"], &report["tables"][0]["verified"]), (&"mismatch".into(), &false.into()), "{report:#}");
            assert!(report["warnings"].to_string().contains(said), "{report:#}");
        }
        assert_eq!(server.rows("SELECT id, n FROM t ORDER BY id"), ["1|8", "2|2000000000"]);
        let report = refresh("UPDATE t SET n = 5 WHERE id = 2", 0);
        assert!(report["warnings"].to_string().contains("the next --refresh compares it"), "{report:#}");
        assert_eq!((&report["rows_written"], &report["tables"][0]["verified"]), (&1.into(), &serde_json::Value::Null), "{report:#}");
        assert_eq!(refresh("", 0)["tables"][0]["verified"], true);
        case.run(&format!("verify {{source}} {url} --strict")).exit(0);
    }
}

#[test]
fn a_refresh_deletes_no_row_for_what_its_computed_column_cannot_hold() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, n int, g smallint GENERATED ALWAYS AS (n / 1000) STORED)");
    let case = Case::new("computed otherwise")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, g INTEGER AS (n * 1000)); INSERT INTO t(id, n) VALUES (1, 0), (2, 5000)",
        )
        .database(&database);
    case.run("migrate {source} {url}").exit(1).stdout_has("DIFFERENT");
    for flags in ["--refresh --dry-run", "--refresh --yes"] {
        let report = case.run(&format!("migrate {{source}} {{url}} --json {flags}")).exit(1).json();
        let table = &report["tables"][0];
        assert_eq!(
            (&table["rows_deleted"], &table["rows_rejected"], &table["verified"]),
            (&0.into(), &0.into(), &false.into()),
            "{report:#}"
        );
    }
    assert_eq!(database.rows("SELECT id, g FROM t ORDER BY id"), ["1|0", "2|5"]);
}
