//! Modes 21 to 37: keys, constraints, indexes, views, triggers, names and widths.

use rusqlite::Connection;

use super::{migrated, planned};
use crate::support::{Case, Database};

#[test]
fn mode_21_not_null_and_the_order_of_a_key_are_kept() {
    let m = migrated(
        "21",
        0,
        "CREATE TABLE t(b TEXT NOT NULL, a INTEGER NOT NULL, v TEXT, PRIMARY KEY(a,b)); INSERT INTO t VALUES('x',1,'v'),('y',1,'w');",
    );
    assert_eq!(m.constraints("t"), ["PRIMARY KEY (a, b)"]);
    assert_eq!(m.rows("SELECT attname, attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"), ["b|t", "a|t", "v|f"]);
    assert!(!m.accepts("INSERT INTO t VALUES ('x', 1, NULL)"), "the key is there");
}

#[test]
fn mode_22_a_primary_key_with_nulls_becomes_unique_and_is_said() {
    let sql = "CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES(NULL,'1'),(NULL,'2'),('a','3');";
    let m = migrated("22", 0, sql);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY v"), ["|1", "|2", "a|3"]);
    assert_eq!(m.constraints("t"), ["UNIQUE (k)"]);
    let weaker: Vec<_> = m.warnings().into_iter().filter(|(head, _)| head.starts_with("weaker ")).collect();
    assert_eq!(weaker.len(), 1, "{weaker:?}");
    assert!(weaker[0].0.ends_with(" t.k") && weaker[0].1.contains("2 rows hold NULL"), "{weaker:?}");

    let database = Database::fresh();
    Case::new("22, strict").source_sql(sql).database(&database).run("migrate {source} --to {url} --strict").exit(1).stdout_has("UNIQUE");
}

#[test]
fn mode_23_the_next_id_is_the_one_that_sqlite_would_give() {
    let m = migrated(
        "23",
        0,
        "CREATE TABLE deleted(id INTEGER PRIMARY KEY AUTOINCREMENT, s TEXT); INSERT INTO deleted VALUES(100,'x'); DELETE FROM deleted;
         CREATE TABLE gaps(\"id\" INTEGER PRIMARY KEY, s TEXT); INSERT INTO gaps VALUES(-5,'n'),(0,'z'),(7,'x');
         CREATE TABLE none(id INTEGER PRIMARY KEY AUTOINCREMENT, s TEXT);
         CREATE TABLE empty(id INTEGER PRIMARY KEY, s TEXT);
         CREATE TABLE zero(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO zero VALUES(0,'z');
         CREATE TABLE below(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO below VALUES(-9,'n'),(-5,'n');
         CREATE TABLE ahead(id INTEGER PRIMARY KEY AUTOINCREMENT, s TEXT); INSERT INTO ahead VALUES(5,'x'); UPDATE sqlite_sequence SET seq = 50 WHERE name = 'ahead';
         CREATE TABLE moved(id INTEGER PRIMARY KEY AUTOINCREMENT, s TEXT); INSERT INTO moved VALUES(5,'x'); UPDATE moved SET id = 60;
         CREATE TABLE \"It's \"\"odd\"\"\"(\"the Id\" INTEGER PRIMARY KEY, s TEXT); INSERT INTO \"It's \"\"odd\"\"\" VALUES(41,'x');",
    );
    let source = Connection::open(m.case.source_path()).unwrap();
    for (table, id, expected) in [
        ("deleted", "id", 101),
        ("gaps", "id", 8),
        ("none", "id", 1),
        ("empty", "id", 1),
        ("zero", "id", 1),
        ("below", "id", -4),
        ("ahead", "id", 51),
        ("moved", "id", 61),
        ("\"It's \"\"odd\"\"\"", "\"the Id\"", 42),
    ] {
        let sql = format!("INSERT INTO {table}(s) VALUES ('new') RETURNING {id}");
        let in_sqlite: i64 = source.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(in_sqlite, expected, "SQLite's next id of {table}");
        assert_eq!(m.database.value(&sql), expected.to_string(), "PostgreSQL's next id of {table}");
    }
}

#[test]
fn mode_24_generated_columns_are_generated_or_hold_their_values() {
    let m = migrated(
        "24",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a*2) VIRTUAL, c TEXT AS ('x'||a) STORED);
         INSERT INTO t(id,a) VALUES(1,5),(2,NULL);",
    );
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|5|10|x5", "2|||"]);
    m.database.execute("INSERT INTO t(a) VALUES (7)");
    assert_eq!(m.rows("SELECT * FROM t WHERE a = 7"), ["3|7|14|x7"]);

    // What has no exact form is a plain column with SQLite's values, and a loss.
    let m = migrated(
        "24, no form",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, q TEXT AS (quote(s)) STORED); INSERT INTO t(id,s) VALUES(1,'it''s');",
    );
    assert_eq!(m.rows("SELECT * FROM t"), ["1|it's|'it''s'"]);
    assert!(m.warnings().iter().any(|(head, _)| head == "loss generated_column_missing t.q"), "{:?}", m.warnings());
    assert!(m.todo().contains("quote(s)"));
}

#[test]
fn mode_25_defaults_are_meant_as_sqlite_means_them_never_as_their_text() {
    let m = migrated(
        "25",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT DEFAULT (lower('X')), b INTEGER DEFAULT (strftime('%s','now')), c TEXT DEFAULT \"dq\",
           d DATETIME DEFAULT CURRENT_TIMESTAMP, e BLOB DEFAULT x'00ff', f INTEGER DEFAULT (1+1), g TEXT DEFAULT 'it''s',
           h TEXT DEFAULT (hex(randomblob(4))), k DATETIME DEFAULT null, l TEXT DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO t(id) VALUES(1);",
    );
    m.database.execute("INSERT INTO t(id) VALUES (2)");
    assert_eq!(m.rows("SELECT a, c, encode(e, 'hex'), f, g, coalesce(k::text, 'NULL') FROM t WHERE id = 2"), ["x|dq|00ff|2|it's|NULL"]);
    assert_eq!(m.rows("SELECT abs(b - extract(epoch FROM now())) < 60, abs(extract(epoch FROM d - (now() AT TIME ZONE 'UTC'))) < 60 FROM t WHERE id = 2"), ["t|t"]);
    assert_eq!(m.rows("SELECT h ~ '^[0-9A-F]{8}$', l ~ '^20\\d\\d-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d$' FROM t WHERE id = 2"), ["t|t"]);
    let m = migrated(
        "25, no form",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT DEFAULT (sqlite_version())); INSERT INTO t VALUES(1,'kept');",
    );
    assert_eq!(m.rows("SELECT * FROM t"), ["1|kept"]);
    assert_eq!(m.rows("SELECT count(*) FROM pg_attrdef WHERE adrelid = 't'::regclass"), ["0"]);
    assert!(m.warnings().iter().any(|(head, _)| head == "loss default_missing t.a"), "{:?}", m.warnings());
}

#[test]
fn mode_26_checks_hold_or_are_listed() {
    let m = migrated(
        "26",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT CHECK(s IN ('a','b')), n INT CHECK(typeof(n)='integer'), g TEXT CHECK(g GLOB '[a-z]*'));
         INSERT INTO t VALUES(1,'a',1,'q');",
    );
    assert!(m.accepts("INSERT INTO t VALUES (2, 'b', 5, 'zebra')"));
    assert!(m.accepts("INSERT INTO t VALUES (3, NULL, 5, NULL)"), "NULL passes a CHECK");
    assert!(!m.accepts("INSERT INTO t VALUES (4, 'c', 5, 'q')"));
    assert!(!m.accepts("INSERT INTO t VALUES (5, 'a', NULL, 'q')"), "typeof(NULL) is no integer");
    assert!(!m.accepts("INSERT INTO t VALUES (6, 'a', 5, 'Q')"));

    // Rows that broke it already (the CHECK was off) do not stop the rest.
    let m = migrated(
        "26, broken",
        0,
        "PRAGMA ignore_check_constraints = ON; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT CHECK(n > 0)); INSERT INTO t VALUES(1,1),(2,-2);",
    );
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|1", "2|-2"]);
    assert_eq!(m.constraints("t")[0], "CHECK ((n > 0)) NOT VALID");
    assert!(
        m.warnings().iter().any(|(head, message)| head.starts_with("weaker constraint_not_valid t") && message.contains("1 row")),
        "{:?}",
        m.warnings()
    );
}

#[test]
fn mode_27_views_give_the_same_rows_or_are_written_down() {
    let m = migrated(
        "27",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, j TEXT, d TEXT); INSERT INTO t VALUES(1,'{\"a\":1}','2024-01-01'),(2,NULL,NULL);
         CREATE VIEW years AS SELECT id, strftime('%Y',d) y, ifnull(d,'') z FROM t;
         CREATE VIEW this_year AS SELECT [id] FROM years WHERE y=='2024';
         CREATE VIEW hard AS SELECT id, json_extract(j,'$.a') a FROM t;
         CREATE VIEW harder AS SELECT id FROM hard WHERE a = 1;",
    );
    assert_eq!(m.rows("SELECT * FROM years ORDER BY id"), ["1|2024|2024-01-01", "2||"]);
    assert_eq!(m.rows("SELECT * FROM this_year"), ["1"]);
    for view in ["hard", "harder"] {
        m.warning(&format!("loss view_missing {view}"));
        assert!(m.todo().contains(&format!("CREATE VIEW {view} ")), "{}", m.todo());
    }
    // A loss that is accepted is exit 0.
    let database = Database::fresh();
    let url = database.url();
    let source = m.case.source_path().display().to_string();
    m.case.run_args(["migrate", &source, "--to", &url, "--allow", "views"]).exit(0).stdout_has("json_extract");
}

#[test]
fn mode_28_triggers_fire_or_are_written_down() {
    let m = migrated(
        "28",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u DATETIME, n INT);
         CREATE TRIGGER touched AFTER UPDATE OF n ON t BEGIN UPDATE t SET u=datetime('now') WHERE id=NEW.id; END;
         INSERT INTO t VALUES(1,NULL,1),(2,NULL,2);",
    );
    m.database.execute("UPDATE t SET n = 5 WHERE id = 1");
    assert_eq!(m.rows("SELECT id, u IS NULL FROM t ORDER BY id"), ["1|f", "2|t"]);
    let m = migrated(
        "28, no form",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'a');
         CREATE TRIGGER odd AFTER INSERT ON t BEGIN SELECT load_extension(NEW.s); END;",
    );
    m.warning("loss trigger_missing t.odd");
    assert!(m.todo().contains("load_extension"), "{}", m.todo());
}

#[test]
fn mode_29_partial_and_descending_indexes_stay_what_they_are() {
    let m = migrated(
        "29",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT, deleted INTEGER NOT NULL); INSERT INTO t VALUES(1,'a',1),(2,'a',0),(3,'B',0);
         CREATE UNIQUE INDEX live ON t(email) WHERE deleted=0; CREATE INDEX latest ON t(email DESC, deleted);",
    );
    assert!(m.accepts("INSERT INTO t VALUES (4, 'a', 1)"), "twice among the deleted");
    assert!(!m.accepts("INSERT INTO t VALUES (5, 'a', 0)"), "once among the others");
    let latest = &m.indexes("t")[0];
    // SQLite's NULLs come first in ascending order, last in descending.
    assert!(
        latest.ends_with("(email DESC NULLS LAST, deleted)") || latest.ends_with("(email DESC NULLS LAST, deleted NULLS FIRST)"),
        "{latest}"
    );
}

#[test]
fn mode_30_indexes_on_expressions_are_made_and_never_stop_another() {
    let m = migrated(
        "30",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT, j TEXT); INSERT INTO t VALUES(1,'A','{\"k\":1}');
         CREATE INDEX a_none ON t(quote(email)); CREATE INDEX by_lower ON t(lower(email)); CREATE INDEX zed ON t(email);",
    );
    let names: Vec<String> = m.rows("SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1");
    assert_eq!(names, ["by_lower", "t_pkey", "zed"]);
    m.warning("loss index_missing t.a_none");
    assert!(m.todo().contains("quote(email)"));
}

#[test]
fn mode_31_nocase_and_rtrim_stay_unique() {
    let m = migrated(
        "31",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE, r TEXT COLLATE RTRIM UNIQUE);
         INSERT INTO t VALUES(1,'A@x.com','p'),(2,'b@x.com','q '),(3,'É','r');",
    );
    assert!(!m.accepts("INSERT INTO t VALUES (4, 'a@X.COM', 's')"));
    assert!(!m.accepts("INSERT INTO t VALUES (5, 'c@x.com', 'q   ')"));
    assert!(m.accepts("INSERT INTO t VALUES (6, 'é', 't')"), "NOCASE folds ASCII only");
}

#[test]
fn mode_32_foreign_keys_of_every_shape() {
    let m = migrated(
        "32",
        1,
        "CREATE TABLE owner(id INTEGER PRIMARY KEY); INSERT INTO owner VALUES(1);
         CREATE TABLE p(b TEXT, a INTEGER, code TEXT, PRIMARY KEY(a,b)); INSERT INTO p VALUES('x',1,'c');
         CREATE TABLE c(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, x INTEGER REFERENCES missing(id), i REFERENCES owner,
           FOREIGN KEY(a,b) REFERENCES p ON DELETE CASCADE ON UPDATE SET NULL);
         INSERT INTO c VALUES(1,1,'x',NULL,1);
         CREATE TABLE n(id INTEGER PRIMARY KEY, code TEXT REFERENCES p(code)); INSERT INTO n VALUES(1,'c');
         CREATE TABLE words(id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE widened(id INTEGER PRIMARY KEY, w TEXT REFERENCES words(id));
         INSERT INTO words VALUES(7,1); INSERT INTO widened VALUES(1,'7');",
    );
    let keys = |table: &str| {
        m.rows(&format!(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'f' ORDER BY 1"
        ))
    };
    assert_eq!(
        keys("c"),
        ["FOREIGN KEY (a, b) REFERENCES p(a, b) ON UPDATE SET NULL ON DELETE CASCADE", "FOREIGN KEY (i) REFERENCES owner(id)"]
    );
    assert_eq!(keys("n"), ["FOREIGN KEY (code) REFERENCES p(code)"]);
    assert_eq!(keys("widened"), ["FOREIGN KEY (w) REFERENCES words(id)"]);
    let losses: Vec<_> = m.warnings().into_iter().filter(|(head, _)| head.starts_with("loss ")).collect();
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert!(losses.iter().any(|(head, message)| head.contains("foreign_key_missing c.x") && message.contains("missing")), "{losses:?}");
    assert!(losses.iter().any(|(head, _)| head.contains("sequence_missing words.id")), "{losses:?}");
}

#[test]
fn mode_33_cyclic_and_deferred_keys_stay_deferrable() {
    let m = migrated(
        "33",
        0,
        "CREATE TABLE a(id INTEGER PRIMARY KEY, bid INTEGER REFERENCES b(id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE b(id INTEGER PRIMARY KEY, aid INTEGER REFERENCES a(id) DEFERRABLE INITIALLY DEFERRED, self INTEGER REFERENCES b(id) ON DELETE SET NULL);
         INSERT INTO a VALUES(1,1); INSERT INTO b VALUES(1,1,1);",
    );
    assert!(m.accepts("INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (2, 2, NULL)"), "in the application's old order");
    assert!(!m.accepts("INSERT INTO a VALUES (3, 99)"));
    assert_eq!(
        m.rows("SELECT confdeltype FROM pg_constraint WHERE conrelid = 'b'::regclass AND contype = 'f' ORDER BY conname"),
        ["a", "n"]
    );
}

#[test]
fn mode_34_orphans_leave_the_key_not_valid_and_are_listed() {
    let m = migrated(
        "34",
        0,
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, pid INTEGER REFERENCES p(id));
         INSERT INTO p VALUES(1); INSERT INTO c VALUES(1,1),(2,99),(3,NULL),(4,77),(5,99);",
    );
    assert_eq!(m.rows("SELECT * FROM c ORDER BY id"), ["1|1", "2|99", "3|", "4|77", "5|99"]);
    assert_eq!(
        m.rows("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'c'::regclass"),
        ["FOREIGN KEY (pid) REFERENCES p(id) NOT VALID"]
    );
    let warnings = m.warnings();
    let (head, message) = warnings.iter().find(|(head, _)| head.starts_with("weaker foreign_key_not_valid c.pid")).unwrap();
    assert!(message.contains("3 rows have no parent (id 2 → 99; id 4 → 77; id 5 → 99)"), "{head}: {message}");
    assert!(!m.accepts("INSERT INTO c VALUES (9, 55)"), "new orphans are refused");
}

#[test]
fn mode_35_names_are_exact_and_never_meet() {
    let m = migrated(
        "35",
        0,
        "CREATE TABLE \"Order\"(\"Id\" INTEGER PRIMARY KEY, \"group\" TEXT, \"my col\" TEXT, \"a\"\"b\" TEXT, [select] TEXT, ctid TEXT, xmin TEXT);
         INSERT INTO \"Order\" VALUES(1,'g','m','q','s','system','too');
         CREATE TABLE \"a.b\"(id INTEGER PRIMARY KEY, \"c.d\" TEXT, \"naïve\" TEXT, \"NAÏVE\" TEXT); INSERT INTO \"a.b\" VALUES(1,'x','l','u');
         CREATE TABLE \"it's\"(id INTEGER PRIMARY KEY, \"%s\" TEXT); INSERT INTO \"it's\" VALUES(1,'p');
         CREATE TABLE \"pg_class\"(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO \"pg_class\" VALUES(1,'mine');
         CREATE TABLE f35(id INTEGER PRIMARY KEY, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax INTEGER,
           aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaay INTEGER, \"ééééééééééééééééééééééééééééééé1\" TEXT, \"ééééééééééééééééééééééééééééééé12\" TEXT);
         INSERT INTO f35 VALUES(1,1,2,'p','q');",
    );
    assert_eq!(m.rows("SELECT \"Id\", \"group\", \"my col\", \"a\"\"b\", \"select\" FROM \"Order\""), ["1|g|m|q|s"]);
    assert_eq!(m.rows("SELECT * FROM \"Order\""), ["1|g|m|q|s|system|too"]);
    assert_eq!(m.rows("SELECT \"c.d\", \"naïve\", \"NAÏVE\" FROM \"a.b\""), ["x|l|u"]);
    assert_eq!(m.rows("SELECT \"%s\" FROM \"it's\""), ["p"]);
    assert_eq!(m.rows("SELECT v FROM public.pg_class"), ["mine"]);
    assert_eq!(m.rows("SELECT * FROM f35"), ["1|1|2|p|q"]);
    let renamed = m.warnings().iter().filter(|(head, _)| head.starts_with("note column_renamed f35.")).count();
    assert_eq!(renamed, 3, "{:?}", m.warnings());
}

#[test]
fn mode_36_rows_of_virtual_tables_arrive_and_their_shadows_do_not() {
    let m = migrated(
        "36",
        0,
        "CREATE VIRTUAL TABLE words USING fts5(body, title); INSERT INTO words VALUES('hello world','greeting'),('second','x');
         CREATE VIRTUAL TABLE boxes USING rtree(id,minx,maxx); INSERT INTO boxes VALUES(1,0,1.5); CREATE TABLE t(a); INSERT INTO t VALUES(1); ANALYZE;",
    );
    assert_eq!(m.rows("SELECT body, title FROM words ORDER BY body"), ["hello world|greeting", "second|x"]);
    assert_eq!(m.rows("SELECT id, minx, maxx FROM boxes"), ["1|0|1.5"]);
    let tables = m.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1");
    assert_eq!(tables, ["boxes", "t", "words"]);
    m.warning("note shadow_tables words");
    assert!(m.indexes("words")[1].contains("USING gin (to_tsvector("), "{:?}", m.indexes("words"));
    assert!(m.indexes("boxes")[1].contains("USING gist (box("), "{:?}", m.indexes("boxes"));
    assert!(m.warning("note virtual_table words").contains("websearch_to_tsquery"));
}

#[test]
fn mode_37_rows_that_no_page_holds_are_refused_before_anything_is_made() {
    let columns = |count: usize, sql_type: &str| (0..count).map(|n| format!("c{n} {sql_type}")).collect::<Vec<_>>().join(", ");
    let values = |count: usize, value: &str| vec![value; count].join(", ");
    let too_many = format!(
        "CREATE TABLE fine(id INTEGER PRIMARY KEY); CREATE TABLE t({}); INSERT INTO t VALUES({});",
        columns(1700, "INTEGER"),
        values(1700, "1")
    );
    let too_wide = format!(
        "CREATE TABLE fine(id INTEGER PRIMARY KEY); CREATE TABLE t({}); INSERT INTO t VALUES({});",
        columns(1000, "TEXT"),
        values(1000, "'0123456789012345678901234567890123456789'")
    );
    for (sql, code, words) in [(too_many, "too_many_columns", "1700 columns"), (too_wide, "row_too_wide", "rowid 1")] {
        let database = Database::fresh();
        let before = database.rows(super::operation::EVERYTHING);
        let case = Case::new("37").source_sql(&sql).database(&database);
        let error = case.run("migrate {source} --to {url} --json").exit(2).json();
        assert_eq!(error["error"]["code"], code);
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{error}");
        assert!(error["error"]["hint"].as_str().unwrap().contains("--exclude"), "{error}");
        assert_eq!(database.rows(super::operation::EVERYTHING), before);
        case.run("migrate {source} --to {url} --exclude t").exit(0);
    }
    // 1,600 columns of NULL are a row like any other.
    let m = migrated("37, just so", 0, &format!("CREATE TABLE t({}); INSERT INTO t(c0, c1599) VALUES(1,2);", columns(1600, "INTEGER")));
    assert_eq!(m.rows("SELECT c0, c1599 FROM t"), ["1|2"]);
    assert_eq!(planned(&m, "t", "c1").0, "bigint");
}
