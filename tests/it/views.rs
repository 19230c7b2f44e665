//! Views, keys and triggers against the rows that there are: what is made is what can be used.

use serde_json::Value as Json;

use crate::support::{Case, Database};

fn warnings<'r>(report: &'r Json, code: &str) -> Vec<(&'r str, &'r str)> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == code);
    all.map(|warning| (warning["object"].as_str().unwrap(), warning["message"].as_str().unwrap())).collect()
}

#[test]
fn a_view_that_its_rows_make_unreadable_is_a_loss_with_the_reason() {
    let database = Database::fresh();
    let case = Case::new("unreadable views")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER); INSERT INTO t VALUES (1, 2, 3), (2, 9000000000000000000, 5);
             CREATE VIEW products AS SELECT id, a * b AS p FROM t; CREATE VIEW above AS SELECT count(*) AS n FROM products WHERE p > 10;
             CREATE VIEW small AS SELECT id, a * b AS p FROM t WHERE id = 1;
             CREATE VIEW endless AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000000) SELECT count(*) AS n FROM c;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let lost = warnings(&report, "view_unreadable");
    assert_eq!(lost.iter().map(|(object, _)| *object).collect::<Vec<_>>(), ["products", "above"], "{report:#}");
    assert!(lost.iter().all(|(_, message)| message.contains("bigint out of range (SQLSTATE 22003)")), "{lost:?}");
    assert_eq!(database.rows("SELECT * FROM small"), ["1|6"]);
    let unread = warnings(&report, "views_not_read");
    assert!(unread.len() == 1 && unread[0].1.starts_with("has 1 view that was not read") && unread[0].1.ends_with("endless"), "{unread:?}");
    let todo = std::fs::read_to_string(case.dir().join(report["objects"]["todo_file"].as_str().unwrap())).unwrap();
    assert!(todo.contains("-- view products") && todo.contains("22003") && todo.contains("a * b AS p"), "{todo}");
    // The class that --allow takes it by.
    assert!(
        report["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "view_unreadable" && warning["class"] == "views")
    );
    case.run("verify {source} --to {url} --schema-objects").exit(0);
}

#[test]
fn a_view_that_sqlite_cannot_read_either_is_no_loss() {
    let database = Database::fresh();
    let case = Case::new("unreadable in both")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER); INSERT INTO t VALUES (1, -9223372036854775808);
             CREATE VIEW size AS SELECT abs(a) AS a FROM t; CREATE VIEW twice AS SELECT a + a AS a FROM t;
             CREATE VIEW over AS SELECT max(a) AS a FROM size;",
        )
        .database(&database);
    let planned = case.run("migrate {source} --to {url} --dry-run --json").exit(1).json();
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    for said in [&planned, &report] {
        let both = warnings(said, "view_unreadable_in_both");
        assert_eq!(both.iter().map(|(object, _)| *object).collect::<Vec<_>>(), ["size", "over"], "{said:#}");
        assert!(both[0].1.contains("bigint out of range (SQLSTATE 22003); so it does in SQLite: integer overflow"), "{both:?}");
        assert_eq!(warnings(said, "view_unreadable").iter().map(|(object, _)| *object).collect::<Vec<_>>(), ["twice"], "{said:#}");
        assert_eq!(warnings(said, "views_not_foretold").len(), 0, "{said:#}");
    }
    case.run("migrate {source} --to {url} --replace --yes --allow views").exit(0);
}

#[test]
fn what_views_will_say_of_the_rows_is_foretold_or_said_to_be_unknown() {
    let rows = |number: u64| {
        format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER); CREATE TABLE empty(id INTEGER PRIMARY KEY, a INTEGER);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) INSERT INTO t SELECT i, 9223372036854775807 - i FROM n;
             CREATE VIEW \"The Twice\" AS SELECT a + a AS a FROM t; CREATE VIEW none AS SELECT a + a AS a FROM empty; CREATE VIEW one AS SELECT 1 AS one;
             CREATE VIEW counted AS SELECT count(a) AS n FROM \"The Twice\"; CREATE VIEW fine AS SELECT t.id, none.a FROM t LEFT JOIN none ON none.a = t.id;"
        )
    };
    // The tables that a few rows fill are tried; what is large is said.
    let database = Database::fresh();
    let case = Case::new("views foretold").source_sql(&rows(20)).database(&database);
    let planned = case.run("migrate {source} --to {url} --names snake --dry-run --json").exit(1).json();
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relname ~ 'candlefish|twice'"), "0");
    let report = case.run("migrate {source} --to {url} --names snake --json").exit(1).json();
    assert_eq!(warnings(&planned, "view_unreadable"), warnings(&report, "view_unreadable"));
    let unreadable = |report| warnings(report, "view_unreadable").into_iter().map(|(object, _)| object.to_string()).collect::<Vec<_>>();
    assert_eq!(unreadable(&report), ["The Twice", "counted"], "{report:#}");

    let database = Database::fresh();
    let large = Case::new("views not foretold").source_sql(&rows(200_001)).database(&database);
    let planned = large.run("migrate {source} --to {url} --dry-run --json").exit(0).json();
    let unknown = warnings(&planned, "views_not_foretold");
    assert!(unknown.len() == 1 && unknown[0].1.ends_with("is a loss: The Twice, none, counted, fine"), "{unknown:?}");

    // Views of migrations are read too, when all of them have run.
    let database = Database::fresh();
    let case = case.database(&database);
    case.run("schema generate {source} --out {dir}/db").exit(0);
    let planned = case.run("migrate {source} --to {url} --migrations {dir}/db --dry-run --json").exit(0).json();
    assert_eq!(warnings(&planned, "views_not_foretold").len(), 1, "{planned:#}");
    let report = case.run("migrate {source} --to {url} --migrations {dir}/db --json").exit(1).json();
    assert_eq!(unreadable(&report), ["The Twice", "counted"], "{report:#}");
}

/// In a STRICT table ANY is no affinity, elsewhere it makes a number of '1'.
#[test]
fn a_strict_any_keeps_texts_apart_from_numbers() {
    let database = Database::fresh();
    let rows = "VALUES (1, '1'), (2, 1), (3, 'x'), (4, 'y')";
    let case = Case::new("strict any")
        .source_sql(&format!(
            "CREATE TABLE strict(id INTEGER PRIMARY KEY, b ANY) STRICT; CREATE TABLE loose(id INTEGER PRIMARY KEY, b ANY); INSERT INTO strict {rows}; INSERT INTO loose {rows};
             CREATE VIEW of_strict AS SELECT id FROM strict WHERE b = 1; CREATE VIEW of_loose AS SELECT id FROM loose WHERE b = 1;"
        ))
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(warnings(&report, "values_merged").iter().map(|(object, _)| *object).collect::<Vec<_>>(), ["strict.b"], "{report:#}");
    let refused = warnings(&report, "view_missing");
    assert!(refused.len() == 1 && refused[0].0 == "of_strict" && refused[0].1.contains("several storage classes"), "{report:#}");
    assert_eq!(database.rows("SELECT id FROM of_loose ORDER BY 1"), ["1", "2"]);
}

#[test]
fn integers_that_become_texts_are_said() {
    let database = Database::fresh();
    let case = Case::new("mixed columns")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, s TEXT, any_kind, m AS (ifnull(n, 'none'))); INSERT INTO t VALUES (1, 5, 'x', 'y'), (2, NULL, 'z', 'w');
             CREATE TABLE log(what); INSERT INTO log VALUES ('begun');
             CREATE TABLE full(id INTEGER PRIMARY KEY); INSERT INTO full VALUES (9223372036854775807);
             CREATE VIEW shown AS SELECT id, coalesce(n, 'none') AS n, CASE WHEN n > 1 THEN n ELSE 'few' END AS c, iif(n IS NULL, '-', n) AS i FROM t;
             CREATE VIEW plain AS SELECT id, coalesce(n, 0) AS n, coalesce(s, 'none') AS s FROM t WHERE coalesce(n, 'none') <> 'x';
             CREATE TRIGGER logs AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (NEW.n); END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    // A generated column of both has no exact form, and is refused.
    assert_eq!(warnings(&report, "generated_column_missing").len(), 1, "{report:#}");
    let said = warnings(&report, "view_differs");
    assert!(said.len() == 1 && said[0].0 == "shown" && said[0].1.starts_with("numbers and texts are in one column"), "{report:#}");
    assert_eq!(database.rows("SELECT n, c, i FROM shown ORDER BY id"), ["5|5|5", "none|few|-"]);
    let said = warnings(&report, "trigger_differs");
    assert!(said.len() == 1 && said[0].1.starts_with("writes a number into a column of texts"), "{report:#}");
    // How ids are counted is said once, for however many tables; that there is none left, of each.
    assert_eq!(warnings(&report, "ids_counted").len(), 1, "{report:#}");
    let at_end = warnings(&report, "ids_at_end");
    assert!(at_end.len() == 1 && at_end[0].0 == "full", "{report:#}");
}

#[test]
fn times_all_in_one_spelling_are_grouped_and_sorted() {
    let database = Database::fresh();
    let case = Case::new("uniform times")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME, z DATETIME, odd DATETIME);
             INSERT INTO t VALUES (1, '2024-03-05T10:00:00.5', '2024-03-05T10:00:00Z', '2024-03-05T10:00:00'),
                (2, '2024-03-05T10:00:00.5', '2024-03-04T23:00:00Z', '2024-03-05 10:00:00'), (3, '2023-12-31T23:59:59.1', '2024-03-05T10:00:00Z', NULL);
             CREATE VIEW days AS SELECT at, count(*) AS n FROM t GROUP BY at ORDER BY at DESC;
             CREATE VIEW last AS SELECT max(z) AS z, min(at) AS at FROM t; CREATE VIEW each AS SELECT DISTINCT z FROM t;
             CREATE VIEW odds AS SELECT odd, count(*) AS n FROM t GROUP BY odd;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(warnings(&report, "view_missing").iter().map(|(object, _)| *object).collect::<Vec<_>>(), ["odds"], "{report:#}");
    assert_eq!(database.rows("SELECT * FROM days"), ["2024-03-05 10:00:00.5|2", "2023-12-31 23:59:59.1|1"]);
    assert_eq!(database.rows("SELECT z AT TIME ZONE 'UTC', at FROM last"), ["2024-03-05 10:00:00|2023-12-31 23:59:59.1"]);
    assert_eq!(database.value("SELECT count(*) FROM each"), "2");
}

#[test]
fn a_trigger_that_its_foreign_keys_bring_back_to_its_row_is_not_made() {
    let database = Database::fresh();
    let case = Case::new("keys set off")
        .source_sql(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent ON DELETE CASCADE);
             CREATE TABLE other(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent);
             INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1), (20, 2); INSERT INTO other VALUES (5, NULL);
             CREATE TRIGGER up BEFORE DELETE ON child BEGIN DELETE FROM parent WHERE id = OLD.p; END;
             CREATE TRIGGER alone BEFORE DELETE ON other BEGIN DELETE FROM parent WHERE id = OLD.p; END;",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    let lost = warnings(&report, "trigger_missing");
    assert!(lost.len() == 1 && lost[0].0 == "child.up" && lost[0].1.contains("through other triggers or foreign keys"), "{report:#}");
    // With the trigger that is left out PostgreSQL ends such a statement with an error.
    database.execute(
        "CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM parent WHERE id = OLD.p; RETURN OLD; END $$;
                      CREATE TRIGGER up BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION up()",
    );
    assert!(database.try_execute("DELETE FROM child WHERE id = 10").expect_err("27000").contains("already modified"));
}

#[test]
fn counters_and_audits_keep_counting_and_telling() {
    let database = Database::fresh();
    let case = Case::new("counters")
        .source_sql(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, price DECIMAL(10,2), tags JSON);
             CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL DEFAULT 0); CREATE TABLE audit(id INTEGER PRIMARY KEY, msg TEXT);
             INSERT INTO item VALUES (1, 2.5, '[1, 2]'), (2, 3, '{}'), (3, NULL, NULL); INSERT INTO counters VALUES ('items', 3);
             CREATE VIEW shown AS SELECT id, price || ' EUR' AS p, ifnull(price, 'free') AS f, price / 2 AS half, json_array_length(tags) AS n FROM item;
             CREATE TRIGGER counts AFTER INSERT ON item BEGIN
                 INSERT OR REPLACE INTO counters(name, value) VALUES ('items', (SELECT count(*) FROM item)); END;
             CREATE TRIGGER tells AFTER UPDATE OF price ON item BEGIN
                 INSERT INTO audit(msg) VALUES ('from ' || ifnull(OLD.price, 'nothing') || ' to ' || NEW.price); END;",
        )
        .database(&database);
    case.run("migrate {source} --to {url} --json").exit(0);
    database.execute("INSERT INTO item VALUES (4, 7.25, '[]'); UPDATE item SET price = 10.10 WHERE id >= 3");
    let source = rusqlite::Connection::open(case.source_path()).unwrap();
    source.execute_batch("INSERT INTO item VALUES (4, 7.25, '[]'); UPDATE item SET price = 10.10 WHERE id >= 3").unwrap();
    for (here, there) in [
        (
            "SELECT id || '|' || ifnull(p, '') || '|' || f || '|' || ifnull(half, '') || '|' || ifnull(n, '') FROM shown ORDER BY id",
            "SELECT * FROM shown ORDER BY id",
        ),
        ("SELECT name || '|' || value FROM counters", "SELECT * FROM counters"),
        ("SELECT msg FROM audit ORDER BY id", "SELECT msg FROM audit ORDER BY id"),
    ] {
        let mut statement = source.prepare(here).unwrap();
        let rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(database.rows(there), rows, "{there}");
    }
}

#[test]
fn a_dry_run_reads_a_view_as_it_will_be_and_not_its_texts() {
    let database = Database::fresh();
    let case = Case::new("a name in a text")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 9223372036854775807);
             CREATE VIEW v AS SELECT n * (length('\"public\".\"t\"') - 11) AS once FROM t AS \"public\"; CREATE VIEW w AS SELECT once FROM v",
        )
        .database(&database);
    let planned = case.run("migrate {source} --to {url} --dry-run --json").exit(0).json();
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    for said in [&planned, &report] {
        assert_eq!(warnings(said, "view_unreadable").len() + warnings(said, "views_not_foretold").len(), 0, "{said:#}");
    }
    assert_eq!(database.rows("SELECT * FROM w"), ["9223372036854775807"]);
}
