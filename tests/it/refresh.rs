//! `migrate --refresh`: the target of an earlier run follows its source, whatever has changed on either side.

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{Case, Database, Output};
use crate::survive::{Session, ended, kill, send, start};

/// A copied source that can move on.
struct Followed {
    case: Case,
    database: Database,
}

impl Followed {
    fn new(name: &str, sql: &str) -> Self {
        let database = Database::fresh();
        let case = Case::new(name).source_sql(sql).database(&database);
        case.run("migrate {source} --to {url}").exit(0);
        Followed { case, database }
    }

    fn source(&self, sql: &str) {
        Connection::open(self.case.source_path()).unwrap().execute_batch(sql).unwrap();
    }

    fn refresh(&self, flags: &str) -> Output {
        self.case.run(&format!("migrate {{source}} --to {{url}} --refresh {flags}"))
    }

    /// Refreshes, and lets verify, which shares no code with what wrote, say whether both sides are the same.
    fn follows(&self) -> Json {
        let report = self.refresh("--yes --json").exit(0).json();
        for table in report["tables"].as_array().unwrap() {
            assert_eq!(table["verified"], true, "{report:#}");
        }
        self.case.run("verify {source} --to {url} --strict").exit(0);
        self.refresh("--yes").exit(0).stderr_has("nothing differs");
        report
    }
}

/// (inserted, updated, deleted) of a table.
fn changes(report: &Json, table: &str) -> (u64, u64, u64) {
    let table = report["tables"].as_array().unwrap().iter().find(|known| known["source"] == *table).unwrap();
    let count = |name: &str| table[name].as_u64().unwrap();
    (count("rows_inserted"), count("rows_updated"), count("rows_deleted"))
}

const SHOP: &str = "CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT UNIQUE);
    INSERT INTO customer VALUES (1, 'Ada', 'a'), (2, 'Grace', 'b'), (3, 'Zoë', 'c');
    CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer(id), total DECIMAL(10,2), at DATETIME);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO purchase SELECT i, i % 3 + 1, i / 100.0, '2025-01-01 00:00:00' FROM n;";

#[test]
fn only_what_differs_is_written_and_it_is_said_first() {
    let shop = Followed::new("refresh-shop", SHOP);
    shop.source(
        "UPDATE purchase SET total = total + 1 WHERE id % 1000 = 7; DELETE FROM purchase WHERE id IN (1, 2500, 5000);
         INSERT INTO purchase VALUES (9000, 2, 1.5, NULL), (-4, NULL, 2, NULL); INSERT INTO customer(name, email) VALUES ('Miriam', NULL);",
    );
    let before = shop.database.rows("SELECT xmin::text FROM customer ORDER BY id");
    let said = "customer: 1 row to insert\npurchase: 2 rows to insert, 5 rows to update, 3 rows to delete";
    let planned = shop.refresh("--dry-run --json").exit(0).json();
    assert_eq!((planned["outcome"].as_str(), changes(&planned, "purchase")), (Some("planned"), (2, 5, 3)));
    let refused = shop.refresh("").exit(2).stderr_has(said).stderr_has("3 rows of purchase would be deleted, and nobody has agreed");
    assert!(refused.stderr.contains("hint: Say --yes"), "{refused}");
    // Neither has changed anything, or left a trace.
    assert_eq!(shop.database.value("SELECT count(*) || ' ' || max(id) FROM purchase"), "5000 5000");
    assert_eq!(shop.database.value("SELECT count(*) FROM candlefish.run"), "1");

    let report = shop.follows();
    assert_eq!(report["outcome"], "clean");
    assert_eq!(changes(&report, "purchase"), (2, 5, 3));
    assert_eq!(changes(&report, "customer"), (1, 0, 0));
    assert_eq!((report["rows_written"].as_u64(), report["rows_read"].as_u64()), (Some(8), Some(5003)));
    let phases: Vec<&str> = report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["compare", "apply"]);
    // Rows that were equal were not touched.
    assert_eq!(shop.database.rows("SELECT xmin::text FROM customer WHERE id < 4 ORDER BY id"), before);
    // The sequence goes on where SQLite's would, also when only the sequence has moved.
    assert_eq!(shop.database.value("INSERT INTO customer(name) VALUES ('next') RETURNING id"), "5");
    shop.source("INSERT INTO customer VALUES (70, 'gone', NULL); DELETE FROM customer WHERE id = 70");
    shop.follows();
    assert_eq!(shop.database.value("INSERT INTO customer(name) VALUES ('next') RETURNING id"), "71");
    // The journal says what was done.
    let settings: Json = serde_json::from_str(
        &shop.database.value("SELECT settings FROM candlefish.run WHERE settings LIKE '%refresh%' ORDER BY started_at LIMIT 1"),
    )
    .unwrap();
    assert_eq!(settings["refresh"]["purchase"], json!({"inserted": 2, "updated": 5, "deleted": 3}));
}

#[test]
fn what_was_changed_in_the_target_is_a_difference_too() {
    let shop = Followed::new("refresh-target", SHOP);
    shop.database.execute(
        "UPDATE purchase SET total = 0 WHERE id = 17; DELETE FROM purchase WHERE id BETWEEN 100 AND 109; INSERT INTO purchase VALUES (-9, 1, 1), (6000, 1, 1)",
    );
    assert_eq!(changes(&shop.follows(), "purchase"), (10, 1, 2));
}

#[test]
fn a_resume_after_a_refresh_has_nothing_to_do() {
    for mode in ["DELETE", "WAL"] {
        let shop = Followed::new("refresh-resume", &format!("PRAGMA journal_mode={mode}; {SHOP}"));
        shop.source("UPDATE customer SET name = 'Lovelace' WHERE id = 1");
        shop.refresh("--yes").exit(0);
        let resume = || shop.case.run("migrate {source} {url} --resume");
        resume().exit(0).stderr_has("there is nothing left to do");
        shop.source("UPDATE customer SET name = 'Ada' WHERE id = 1");
        resume().exit(2).stderr_has("the source has changed since run").stderr_has("hint: --refresh brings what has changed since");
        // A refresh that an older candlefish has noted knows nothing of its source's state.
        shop.database
            .execute("UPDATE candlefish.run SET settings = (settings::jsonb - 'fingerprint')::text WHERE settings LIKE '%\"refresh\"%'");
        resume().exit(0).stderr_has("there is nothing left to do");
    }
}

#[test]
fn a_refresh_whose_connection_breaks_begins_anew() {
    let shop = Followed::new("refresh-cut", SHOP);
    shop.source("UPDATE customer SET name = 'Lovelace' WHERE id = 1; INSERT INTO customer VALUES (9, 'Kofi', 'k')");
    let other = Session::of(&shop.database);
    other.execute("BEGIN; LOCK TABLE customer IN ACCESS EXCLUSIVE MODE");
    let refresh = start(&shop.case, &shop.database, &["--refresh", "--yes"]);
    let waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    shop.database.until(&format!("SELECT count(*) > 0 {waiting}"));
    shop.database.execute(&format!("SELECT pg_terminate_backend(pid) {waiting}"));
    shop.database.until(&format!("SELECT count(*) = 0 {waiting}"));
    other.execute("ROLLBACK");
    let (code, _, stderr) = ended(refresh);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("; trying again in 0.1 s"), "{stderr}");
    assert_eq!(shop.database.rows("SELECT id, name FROM customer ORDER BY id"), ["1|Lovelace", "2|Grace", "3|Zoë", "9|Kofi"]);
}

#[test]
fn without_yes_nothing_but_a_delete_is_held_up() {
    let shop = Followed::new("refresh-no-delete", SHOP);
    shop.source("UPDATE customer SET name = 'Lovelace' WHERE id = 1; INSERT INTO customer VALUES (9, 'Kofi', 'k')");
    let report = shop.refresh("--json").exit(0).json();
    assert_eq!(changes(&report, "customer"), (1, 1, 0));
}

#[test]
fn keys_of_every_kind() {
    let tables = Followed::new(
        "refresh-keys",
        "CREATE TABLE bare (a INTEGER, b TEXT); INSERT INTO bare VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (NULL, NULL);
         CREATE TABLE word (w TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID; INSERT INTO word VALUES ('a', 1), ('b', 2), ('c', 3);
         CREATE TABLE pair (x TEXT, y INTEGER, v BLOB, PRIMARY KEY (x, y)); INSERT INTO pair VALUES ('k', 1, x'00'), ('k', 2, x'01'), ('l', 1, NULL);
         CREATE TABLE loose (k TEXT PRIMARY KEY, v INTEGER); INSERT INTO loose VALUES ('a', 1), (NULL, 2), (NULL, 3);
         CREATE TABLE only_key (id INTEGER PRIMARY KEY); INSERT INTO only_key VALUES (1), (2), (3);
         CREATE TABLE far (id INTEGER PRIMARY KEY, v TEXT);
         INSERT INTO far VALUES (-9223372036854775808, 'least'), (0, 'none'), (9223372036854775807, 'most');
         CREATE TABLE \"we\"\"ird Name\" (\"Sel ect\" INTEGER PRIMARY KEY, \"tid\" TEXT, \"ctid \" TEXT); INSERT INTO \"we\"\"ird Name\" VALUES (1, 'a', 'b');
         CREATE TABLE computed (id INTEGER PRIMARY KEY, a INTEGER, twice INTEGER AS (a * 2) STORED); INSERT INTO computed(id, a) VALUES (1, 1), (2, 2);",
    );
    tables.source(
        "DELETE FROM bare WHERE rowid = 2; INSERT INTO bare VALUES (2, NULL), (NULL, 'new'); UPDATE bare SET b = 'y' WHERE rowid = 3;
         UPDATE word SET n = 9 WHERE w = 'b'; DELETE FROM word WHERE w = 'a'; INSERT INTO word VALUES ('d', 4);
         UPDATE pair SET v = x'ff' WHERE y = 2; INSERT INTO pair VALUES ('m', 7, x'02'); DELETE FROM pair WHERE x = 'l';
         UPDATE loose SET v = 30 WHERE v = 3; INSERT INTO loose VALUES (NULL, 2);
         DELETE FROM only_key WHERE id = 2; INSERT INTO only_key VALUES (-1);
         UPDATE far SET v = v || '!'; INSERT INTO far VALUES (1, 'one');
         UPDATE \"we\"\"ird Name\" SET tid = NULL; INSERT INTO \"we\"\"ird Name\" VALUES (2, 'c', 'd');
         UPDATE computed SET a = 5 WHERE id = 2; INSERT INTO computed(id, a) VALUES (3, 3);",
    );
    let report = tables.follows();
    assert_eq!(changes(&report, "bare"), (3, 0, 2));
    assert_eq!(changes(&report, "word"), (1, 1, 1));
    assert_eq!(changes(&report, "pair"), (1, 1, 1));
    assert_eq!(changes(&report, "far"), (1, 3, 0));
    assert_eq!(changes(&report, "only_key"), (1, 0, 1));
    assert_eq!(changes(&report, "computed"), (1, 1, 0));
}

#[test]
fn constraints_in_the_way() {
    let tables = Followed::new(
        "refresh-constraints",
        "CREATE TABLE seat (id INTEGER PRIMARY KEY, place TEXT UNIQUE); INSERT INTO seat VALUES (1, 'a'), (2, 'b'), (3, 'c');
         CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree(id)); INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
         CREATE TABLE owner (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO owner VALUES (1, 'one'), (2, 'two'), (3, 'three');
         CREATE TABLE pet (id INTEGER PRIMARY KEY, owner_id INTEGER REFERENCES owner(id) ON DELETE CASCADE);
         INSERT INTO pet VALUES (10, 1), (20, 2), (30, 3);",
    );
    // Two rows exchange a unique value.
    tables.source(
        "UPDATE seat SET place = 'tmp' WHERE id = 1; UPDATE seat SET place = 'a' WHERE id = 2; UPDATE seat SET place = 'b' WHERE id = 1",
    );
    assert_eq!(changes(&tables.follows(), "seat"), (0, 2, 0));
    // A key that is freed and taken again; a tree turned over; parents and children that come and go together.
    tables.source(
        "DELETE FROM seat WHERE id = 3; INSERT INTO seat VALUES (4, 'c');
         UPDATE tree SET up = 3 WHERE id = 1; UPDATE tree SET up = NULL WHERE id = 2; INSERT INTO tree VALUES (5, 6), (6, 5);
         INSERT INTO owner VALUES (4, 'four'); UPDATE pet SET owner_id = 4 WHERE id = 10; DELETE FROM owner WHERE id = 1;",
    );
    tables.follows();
    let keys = "SELECT conrelid::regclass || ' ' || convalidated || ' ' || confdeltype::text FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1";
    assert_eq!(tables.database.rows(keys), ["pet true c", "tree true a"]);
    // SQLite does not enforce its keys unless it is told to: the parent goes, the child stays.
    tables.source("PRAGMA foreign_keys = OFF; DELETE FROM owner WHERE id = 2; INSERT INTO pet VALUES (40, 77)");
    let report = tables.refresh("--yes --json").exit(0).json();
    assert_eq!((changes(&report, "owner"), changes(&report, "pet")), ((0, 0, 1), (1, 0, 0)));
    assert_eq!(report["warnings"][0]["code"], "foreign_key_not_valid", "{report:#}");
    tables.case.run("verify {source} --to {url}").exit(0);
    assert_eq!(tables.database.rows(keys), ["pet false c", "tree true a"]);
    // It stays NOT VALID, and one more orphan is no news.
    tables.source("PRAGMA foreign_keys = OFF; INSERT INTO pet VALUES (50, 78)");
    tables.follows();
}

#[test]
fn a_key_of_the_applications_own_table_is_not_broken() {
    let tables = Followed::new("refresh-application", "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1), (2);");
    tables
        .database
        .execute("CREATE SCHEMA app; CREATE TABLE app.c (p bigint REFERENCES p ON DELETE CASCADE); INSERT INTO app.c VALUES (2)");
    tables.source("DELETE FROM p WHERE id = 2; INSERT INTO p VALUES (3)");
    let error = tables.refresh("--yes --json").exit(2).json()["error"].clone();
    assert_eq!((&error["code"], &error["target_changed"]), (&json!("foreign_key_broken"), &json!(false)), "{error}");
    assert_eq!(tables.database.rows("SELECT p.id, c.p FROM p LEFT JOIN app.c ON c.p = p.id ORDER BY 1"), ["1|", "2|2"]);
    assert_eq!(tables.database.value("SELECT convalidated FROM pg_constraint WHERE conrelid = 'app.c'::regclass"), "t");
    tables.database.execute("DELETE FROM app.c");
    tables.follows();
}

#[test]
fn user_triggers_do_not_fire_and_wake_as_they_were() {
    let shop = Followed::new("refresh-triggers", SHOP);
    shop.database.execute(
        "CREATE TABLE fired (n int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO fired VALUES (1); RETURN NULL; END';
         CREATE TRIGGER plain AFTER INSERT OR UPDATE OR DELETE ON customer FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TRIGGER always AFTER UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TRIGGER never AFTER UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION note();
         ALTER TABLE customer ENABLE ALWAYS TRIGGER always; ALTER TABLE customer DISABLE TRIGGER never;",
    );
    shop.source("UPDATE customer SET name = 'x' WHERE id = 1; INSERT INTO customer VALUES (8, 'y', 'z')");
    shop.follows();
    assert_eq!(shop.database.value("SELECT count(*) FROM fired"), "0");
    let states =
        "SELECT tgname || ' ' || tgenabled::text FROM pg_trigger WHERE tgrelid = 'customer'::regclass AND NOT tgisinternal ORDER BY 1";
    assert_eq!(shop.database.rows(states), ["always A", "never D", "plain O"]);
}

#[test]
fn rows_that_do_not_fit_are_set_aside_and_are_no_differences() {
    let shop = Followed::new("refresh-rejects", SHOP);
    shop.database.execute("ALTER TABLE customer ADD CONSTRAINT short CHECK (length(name) < 20)");
    shop.source(
        "UPDATE purchase SET total = 'unknown' WHERE id = 3; INSERT INTO customer VALUES (10, 'a name that is far too long', NULL), (11, 'fine', NULL);
         UPDATE customer SET name = 'b name that is far too long' WHERE id = 2; INSERT INTO customer VALUES (12, CAST(x'41ff' AS TEXT), NULL)",
    );
    // A dry run says all of it, and leaves no trace.
    let before = shop.database.rows("SELECT id, name FROM customer ORDER BY id");
    let planned = shop.refresh("--dry-run --json").exit(1).json();
    assert_eq!(
        (&planned["outcome"], &planned["rejects_dir"], &planned["tables"][0]["verified"]),
        (&json!("planned"), &Json::Null, &Json::Null)
    );
    assert_eq!(shop.database.rows("SELECT id, name FROM customer ORDER BY id"), before);
    assert!(!shop.case.dir().join("candlefish-rejects").exists(), "{planned:#}");
    let report = shop.refresh("--yes --json").exit(1).json();
    assert_eq!(report["outcome"], "rejected", "{report:#}");
    assert_eq!((&planned["rows_rejected"], &planned["warnings"]), (&report["rows_rejected"], &report["warnings"]), "{planned:#}");
    for table in ["customer", "purchase"] {
        assert_eq!(changes(&planned, table), changes(&report, table), "{planned:#}");
    }
    assert_eq!(changes(&report, "customer"), (1, 0, 1));
    assert_eq!(changes(&report, "purchase"), (0, 0, 1));
    assert_eq!(report["rows_rejected"], 4);
    let folder = shop.case.dir().join(report["rejects_dir"].as_str().unwrap());
    let customers = std::fs::read_to_string(folder.join("customer.jsonl")).unwrap();
    assert_eq!(customers.lines().count(), 3, "{customers}");
    assert!(customers.contains("short") && customers.contains("\"id\":10") && customers.contains("\"id\":2"), "{customers}");
    // Every row of the source is in the target or set aside.
    shop.case.run("verify {source} --to {url}").exit(0);
    assert_eq!(shop.database.rows("SELECT id FROM customer ORDER BY id"), ["1", "3", "11"]);
    // The next refresh tries again: one fits by now.
    shop.database.execute("ALTER TABLE customer DROP CONSTRAINT short");
    let report = shop.refresh("--yes --json").exit(1).json();
    assert_eq!((changes(&report, "customer"), &report["rows_rejected"]), ((2, 0, 0), &json!(2)));
}

#[test]
fn a_refresh_asks_what_a_type_makes_of_what_has_come() {
    let database = Database::fresh();
    database
        .execute("CREATE TYPE entry AS (n real, s text); CREATE EXTENSION hstore; CREATE TABLE t(id int PRIMARY KEY, e entry, h hstore)");
    let case = Case::new("refresh-asked")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, e TEXT, h TEXT);
             INSERT INTO t VALUES (1, '(0.5,a)', 'a=>1'), (2, '(1.10,b)', NULL), (3, NULL, 'b=>2, a=>1')",
        )
        .database(&database);
    case.run("migrate {source} {url}").exit(0);
    let shop = Followed { case, database };
    shop.refresh("--yes").exit(0).stderr_has("nothing differs");
    shop.source(
        "UPDATE t SET e = '(0.123456789,a)' WHERE id = 1; UPDATE t SET h = 'a=>1, b=>3' WHERE id = 3; INSERT INTO t VALUES (4, '(2.0,\"c d\")', NULL),
            (5, '(1e-60,e)', NULL), (6, NULL, 'a=>1, a=>2'), (7, NULL, 'no hstore')",
    );
    let report = shop.refresh("--yes --json").exit(1).json();
    assert_eq!((changes(&report, "t"), &report["rows_rejected"]), ((1, 1, 1), &json!(4)), "{report:#}");
    let folder = shop.case.dir().join(report["rejects_dir"].as_str().unwrap());
    let text = std::fs::read_to_string(folder.join("t.jsonl")).unwrap();
    assert_eq!((text.lines().count(), text.matches("makes another value of it").count()), (4, 4), "{text}");
    assert_eq!(
        shop.database.rows("SELECT id, e, h FROM t ORDER BY id"),
        ["2|(1.1,b)|", "3||\"a\"=>\"1\", \"b\"=>\"3\"", "4|(2,\"c d\")|",]
    );
    shop.case.run("verify {source} {url}").exit(0);
}

#[test]
fn a_dry_run_that_fails_leaves_the_journal_as_it_is() {
    let followed = Followed::new("dry failure", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);");
    // As an earlier build made it.
    followed.database.execute("ALTER TABLE candlefish.kept_definition DROP COLUMN switched");
    followed.source("CREATE TABLE extra (id INTEGER PRIMARY KEY)");
    followed.refresh("--dry-run").exit(2).stderr_has("no run has copied table \"extra\"");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'candlefish' AND column_name = 'switched'";
    assert_eq!(followed.database.value(columns), "0");
    assert_eq!(followed.database.value("SELECT count(*) FROM candlefish.run"), "1");
}

#[test]
fn a_refresh_makes_no_tables_and_no_columns() {
    let database = Database::fresh();
    let case = Case::new("refresh-nothing").source_sql(SHOP).database(&database);
    case.run("migrate {source} --to {url} --refresh").exit(2).stderr_has("no run of candlefish has written into schema");
    let shop = Followed::new("refresh-new", SHOP);
    shop.source("CREATE TABLE extra (a INTEGER); ALTER TABLE customer ADD COLUMN phone TEXT");
    shop.refresh("--yes")
        .exit(2)
        .stderr_has("no run has copied column \"customer\".\"phone\", table \"extra\"")
        .stderr_has("hint: A new table: migrate --include it");
    // Left out, they are no obstacle; a table that came later has its own run.
    shop.source("UPDATE purchase SET total = 5 WHERE id = 1");
    let report = shop.refresh("--exclude extra --exclude customer --json").exit(0).json();
    assert_eq!(changes(&report, "purchase"), (0, 1, 0));
    shop.case.run("migrate {source} --to {url} --include extra").exit(0);
    shop.source("INSERT INTO extra VALUES (1); UPDATE purchase SET total = 6 WHERE id = 1");
    let report = shop.refresh("--exclude customer --json").exit(0).json();
    assert_eq!((changes(&report, "purchase"), changes(&report, "extra")), ((0, 1, 0), (1, 0, 0)));
    shop.database.execute("ALTER TABLE purchase DROP COLUMN total");
    shop.refresh("--exclude customer").exit(2).stderr_has("column \"total\" is not in PostgreSQL");
}

#[test]
fn the_registry_follows_through_its_own_mapping() {
    let database = Database::fresh();
    let case = Case::new("refresh-registry").source("registry-v2").database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    let registry = Followed { case, database };
    registry.source(
        "PRAGMA foreign_keys = OFF; UPDATE users SET email = 'changed@example.com' WHERE id = (SELECT min(id) FROM users);
         UPDATE services SET status = 'stopped', updated_at = '2026-01-01 00:00:00';
         DELETE FROM sessions WHERE rowid = (SELECT max(rowid) FROM sessions);
         INSERT INTO logs(service_id, level, message, metadata, created_at) SELECT service_id, level, message || '!', metadata, created_at FROM logs",
    );
    registry.follows();
}

#[test]
fn a_table_that_is_wholly_another_is_followed_in_bounded_memory() {
    let rows = if crate::support::long() { 3_000_000 } else { 160_000 };
    let fill = |text: &str| {
        format!(
            "DELETE FROM item; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO item SELECT i, '{text}' || i, randomblob(40) FROM n"
        )
    };
    let items =
        Followed::new("refresh-whole", &format!("CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, v BLOB); {}", fill("a")));
    items.source(&fill("b"));
    let report = items.follows();
    assert_eq!(changes(&report, "item"), (0, rows, 0));
    // With an unoptimised program's file, which is some 17 MiB of it more than an optimised one's.
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 60 << 20, "{report:#}");
}

#[test]
fn rows_that_are_all_the_same_are_counted_and_not_held() {
    let rows = if crate::support::long() { 3_000_000 } else { 40_000 };
    let same = |rows: u64| {
        format!(
            "INSERT INTO beat SELECT 'tick', 1 FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n)"
        )
    };
    let beats = Followed::new(
        "refresh-same",
        &format!("CREATE TABLE beat (what TEXT, n INTEGER); {}; INSERT INTO beat VALUES ('tock', 2)", same(rows)),
    );
    beats.source("DELETE FROM beat WHERE rowid % 4 = 0; UPDATE beat SET n = 3 WHERE rowid IN (5, 6); INSERT INTO beat VALUES ('tock', 2)");
    let report = beats.follows();
    let (inserted, updated, deleted) = changes(&report, "beat");
    assert_eq!((inserted, updated), (3, 0), "{report:#}");
    assert_eq!(deleted, rows - (rows - rows / 4) + 2, "{report:#}");
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 64 << 20, "{report:#}");
    beats.source(&same(rows / 4));
    let report = beats.follows();
    assert_eq!(changes(&report, "beat"), (rows / 4, 0, 0));
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 64 << 20, "{report:#}");
}

#[test]
fn runs_show_what_a_refresh_has_changed_and_a_key_that_is_not_valid_is_said() {
    let shop =
        Followed::new("refresh-runs", &format!("PRAGMA foreign_keys = OFF; {SHOP} INSERT INTO purchase VALUES (9999, 77, 1, NULL);"));
    shop.source("UPDATE purchase SET total = 1 WHERE id < 4; DELETE FROM purchase WHERE id = 9; INSERT INTO customer VALUES (8, 'y', 'z')");
    let report = shop.refresh("--yes --json").exit(0).json();
    assert_eq!(report["warnings"][0]["code"], "foreign_key_not_valid", "{report:#}");
    assert!(report["warnings"][0]["message"].as_str().unwrap().contains("VALIDATE CONSTRAINT"), "{report:#}");
    shop.refresh("--yes --strict").exit(1);
    let runs = shop.case.run("runs --to {url} --json").exit(0).json();
    assert_eq!(runs["runs"][1]["refresh"], json!({"rows_inserted": 1, "rows_updated": 3, "rows_deleted": 1}), "{runs:#}");
    assert_eq!(runs["runs"][2]["refresh"], Json::Null);
    shop.case.run("runs --to {url}").exit(0).stdout_has("1 in, 3 changed, 1 out");
}

#[test]
fn runs_show_a_refresh_that_is_under_way_and_one_that_was_stopped() {
    let shop = Followed::new("refresh-stopped", SHOP);
    shop.source("UPDATE customer SET name = 'Lovelace' WHERE id = 1; DELETE FROM purchase WHERE id < 4");
    let newest = || shop.case.run("runs --to {url} --json").exit(0).json()["runs"][0].clone();
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // By a signal and by a kill, while it waits for a lock.
    for state in ["stopped", "interrupted"] {
        let other = Session::of(&shop.database);
        other.execute("BEGIN; LOCK TABLE customer IN ACCESS EXCLUSIVE MODE");
        let refresh = start(&shop.case, &shop.database, &["--refresh", "--yes"]);
        shop.database.until(waiting);
        let none = json!({"rows_inserted": 0, "rows_updated": 0, "rows_deleted": 0});
        let run = newest();
        assert_eq!(
            (&run["state"], &run["phase"], &run["refresh"], &run["resume"]),
            (&"running".into(), &"compare".into(), &none, &Json::Null),
            "{run:#}"
        );
        match state {
            "stopped" => {
                send(&refresh, "-INT");
                let (code, _, stderr) = ended(refresh);
                assert_eq!(code, Some(130), "{stderr}");
                assert!(stderr.contains("nothing is changed"), "{stderr}");
            }
            _ => {
                kill(refresh);
                // The server notices when the lock is to be had.
                other.execute("ROLLBACK");
                shop.database.until(&waiting.replace("> 0", "= 0"));
                shop.database.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'candlefish%' AND pid <> pg_backend_pid()");
            }
        }
        drop(other);
        let run = newest();
        assert_eq!((&run["state"], &run["refresh"], &run["error"]), (&state.into(), &none, &Json::Null), "{run:#}");
        assert!(run["resume"].as_str().unwrap().ends_with(" --refresh --yes"), "{run:#}");
    }
    // Neither is anything to resume, or keeps anybody from anything; and nothing of them stands in what verify goes by.
    shop.case.run("migrate {source} {url} --resume").exit(2).stderr_has("--refresh brings what has changed since");
    let refused = shop.case.run(&format!("migrate {{source}} {{url}} --resume={}", newest()["run_id"].as_str().unwrap())).exit(2);
    refused.stderr_has("was a refresh").stderr_has("hint: The same --refresh does it all.");
    shop.case.run("verify {source} --to {url}").exit(1).stdout_has("4 differences");
    // One that nobody has agreed to leaves no trace.
    shop.refresh("").exit(2);
    assert_eq!(shop.database.value("SELECT count(*) FROM candlefish.run"), "3");
    shop.follows();
    let runs = shop.case.run("runs --to {url} --json").exit(0).json();
    let states: Vec<&str> = runs["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["clean", "clean", "given_up", "given_up", "clean"], "{runs:#}");
}

#[test]
fn what_the_source_declares_otherwise_is_said_until_a_run_makes_it() {
    let shop = Followed::new(
        "refresh-declared",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE VIEW w AS SELECT id FROM t; CREATE INDEX i ON t(v); CREATE VIEW stays AS SELECT 1 AS one;",
    );
    let said = |report: Json| -> Vec<String> {
        let all = report["warnings"].as_array().unwrap().iter();
        all.map(|warning| format!("{} {}", warning["object"].as_str().unwrap(), warning["message"].as_str().unwrap())).collect()
    };
    assert_eq!(said(shop.refresh("--yes --json").exit(0).json()), [""; 0]);
    shop.source(
        "DROP VIEW w; CREATE VIEW w AS SELECT v FROM t; DROP INDEX i; CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END; INSERT INTO t VALUES (1, 'a');",
    );
    for _ in 0..2 {
        let said = said(shop.refresh("--yes --json").exit(0).json());
        let heads: Vec<&str> = said.iter().map(|line| line.split(" in the source").next().unwrap()).collect();
        assert_eq!(heads, ["trigger tr is new", "view w is declared otherwise", "index i is gone"], "{said:#?}");
    }
    // A journal of before this was kept: that it is not known is said, once, and what changes from then on is.
    shop.database.execute("UPDATE candlefish.run SET settings = (settings::jsonb - 'declarations')::text");
    let unknown = said(shop.refresh("--yes --json").exit(0).json());
    assert!(unknown.len() == 1 && unknown[0].contains("is not known: an earlier candlefish did not keep it"), "{unknown:?}");
    assert_eq!(said(shop.refresh("--yes --json").exit(0).json()), [""; 0]);
    shop.source("DROP VIEW stays");
    assert!(said(shop.refresh("--yes --json").exit(0).json())[0].starts_with("view stays is gone"));
}

#[test]
fn rows_that_were_kept_do_not_go_and_tables_that_are_left_are_said() {
    let database = Database::fresh();
    database.execute("CREATE TABLE roles(id bigint PRIMARY KEY, name text); INSERT INTO roles VALUES (100, 'seeded by the application')");
    let case = Case::new("refresh-kept")
        .source_sql("CREATE TABLE roles(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO roles VALUES (1, 'a'); CREATE TABLE gone(x); INSERT INTO gone VALUES (1);")
        .database(&database);
    case.run("migrate {source} --to {url} --existing keep").exit(0);
    Connection::open(case.source_path()).unwrap().execute_batch("INSERT INTO roles VALUES (2, 'b'); DROP TABLE gone").unwrap();
    let error = case.run("migrate {source} --to {url} --refresh --yes --json").exit(2).json()["error"].clone();
    assert_eq!((&error["code"], &error["target_changed"]), (&json!("kept_rows"), &json!(false)), "{error}");
    let report = case.run("migrate {source} --to {url} --refresh --existing roles=keep --json").exit(0).json();
    assert_eq!(database.rows("SELECT id FROM roles ORDER BY 1"), ["1", "2", "100"]);
    assert_eq!(changes(&report, "roles"), (1, 0, 0));
    let said: Vec<&Json> = report["warnings"].as_array().unwrap().iter().map(|warning| &warning["code"]).collect();
    assert_eq!(said, ["table_left_over", "rows_kept"], "{report}");
    assert_eq!(database.value("SELECT count(*) FROM gone"), "1");
    case.run("migrate {source} --to {url} --refresh --existing roles=keep --strict").exit(1);
    // What was kept is known from refresh to refresh, until it is given up.
    case.run("migrate {source} --to {url} --refresh --yes").exit(2);
    case.run("migrate {source} --to {url} --refresh --existing roles=truncate --yes").exit(0);
    assert_eq!(database.rows("SELECT id FROM roles ORDER BY 1"), ["1", "2"]);
    case.run("migrate {source} --to {url} --refresh --yes").exit(0);
}

#[test]
fn another_file_is_not_taken_for_the_one_that_was_copied() {
    let database = Database::fresh();
    let sql = |name: &str| format!("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, '{name}');");
    let first = Case::new("refresh-first").source_sql(&sql("first")).database(&database);
    first.run("migrate {source} --to {url}").exit(0);
    let other = Case::new("refresh-other").source_sql(&sql("other")).database(&database);
    let error = other.run("migrate {source} --to {url} --refresh --yes --json").exit(2).json()["error"].clone();
    assert_eq!(error["code"], "other_source", "{error}");
    assert_eq!(database.rows("SELECT name FROM users"), ["first"]);
    // The file under another name: said so once, and known from then on.
    let run = database.value("SELECT run_id FROM candlefish.run");
    assert!(error["hint"].as_str().unwrap().contains(&format!("--refresh={run}")), "{error}");
    other.run("migrate {source} --to {url} --refresh=no-such-run --yes").exit(2);
    other.run(&format!("migrate {{source}} --to {{url}} --refresh={run} --yes")).exit(0);
    other.run("migrate {source} --to {url} --refresh --yes").exit(0).stderr_has("nothing differs");
    assert_eq!(database.rows("SELECT name FROM users"), ["other"]);
}

#[test]
fn the_journal_that_the_next_refresh_goes_by_is_not_dropped() {
    let shop = Followed::new("refresh-journal", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')");
    shop.source("INSERT INTO t VALUES (2, 'b')");
    let error = shop.refresh("--drop-journal --json").exit(2).json()["error"].clone();
    assert_eq!((&error["code"], &error["target_changed"]), (&json!("usage"), &json!(false)), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("Leave --drop-journal out"), "{error}");
    assert_eq!(shop.database.rows("TABLE t"), ["1|a"]);
    assert_eq!(changes(&shop.follows(), "t"), (1, 0, 0));
}
