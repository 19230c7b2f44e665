//! `verify --schema-objects`: what was promised by the source's schema and is not in the target, by what it is and not by its name.

use serde_json::{Value as Json, json};

use crate::support::{Case, Database};

/// A shop with one of everything.
const SHOP: &str = "
    CREATE TABLE artist (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE);
    CREATE TABLE album (
        id INTEGER PRIMARY KEY, artist_id INTEGER NOT NULL REFERENCES artist(id) ON DELETE CASCADE, title VARCHAR(160) NOT NULL DEFAULT 'untitled',
        price NUMERIC(10,2) CHECK (price >= 0), label TEXT GENERATED ALWAYS AS (title || '!') STORED, released DATE,
        CONSTRAINT title_per_artist UNIQUE (artist_id, title));
    CREATE TABLE track (album_id INTEGER REFERENCES album, number INTEGER, title TEXT, PRIMARY KEY (album_id, number)) WITHOUT ROWID;
    CREATE INDEX album_released ON album (released DESC) WHERE price > 1;
    CREATE INDEX track_title ON track (lower(title));
    CREATE VIEW cheap AS SELECT a.title, r.name FROM album a JOIN artist r ON r.id = a.artist_id WHERE a.price < 10;
    CREATE TRIGGER no_free_album BEFORE INSERT ON album WHEN NEW.price = 0 BEGIN SELECT RAISE(ABORT, 'nothing is free'); END;
    INSERT INTO artist (name) VALUES ('Ann'), ('Bob'), ('Cy');
    DELETE FROM artist WHERE name = 'Cy';
    INSERT INTO album (id, artist_id, title, price, released) VALUES (7, 1, 'One', 9.99, '2024-01-02'), (8, 2, 'Two', 12.5, NULL);
    INSERT INTO track VALUES (7, 1, 'Intro'), (7, 2, 'Outro');";

struct Shop {
    case: Case,
    database: Database,
}

impl Shop {
    fn migrated(name: &str, flags: &str) -> Self {
        let database = Database::fresh();
        let case = Case::new(name).source_sql(SHOP).database(&database);
        case.run(&format!("migrate {{source}} {{url}} {flags}")).exit(0);
        Shop { case, database }
    }

    /// The same shop in a database of its own.
    fn again(&self) -> Self {
        let database = Database::copy_of(&self.database);
        let case = Case::new("again").source_file(self.case.source_path()).database(&database);
        Shop { case, database }
    }

    #[track_caller]
    fn verify(&self, exit: i32) -> Json {
        self.case.run("verify {source} {url} --schema-objects --json").exit(exit).json()["schema_objects"].clone()
    }

    /// `kind object` of what is missing after a change.
    #[track_caller]
    fn missing(&self, change: &str) -> Vec<String> {
        self.database.execute(change);
        missing(&self.verify(1))
    }
}

fn missing(objects: &Json) -> Vec<String> {
    let text = |object: &Json| format!("{} {}", object["kind"].as_str().unwrap(), object["object"].as_str().unwrap());
    objects["missing"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn what_migrate_made_is_all_there_and_nothing_is_left_behind() {
    let shop = Shop::migrated("clean", "");
    let relations = "SELECT count(*) FROM pg_class";
    let before = shop.database.value(relations);
    let objects = shop.verify(0);
    assert_eq!((&objects["missing"], &objects["wrong_next_values"]), (&json!([]), &json!([])));
    assert_eq!(objects["not_compared"], json!([]));
    assert!(objects["compared"].as_u64().unwrap() >= 20, "{objects}");
    assert_eq!(shop.database.value(relations), before);
    shop.case.run("verify {source} {url} --schema-objects").exit(0).stdout_has("0 missing, 0 next values wrong");
    assert_eq!(shop.case.run("verify {source} {url} --json").exit(0).json().get("schema_objects"), None);
}

#[test]
fn names_and_the_schema_do_not_matter() {
    let shop = Shop::migrated("renamed", "--schema app --create-schema --names snake --collation default");
    shop.database.execute(
        "ALTER INDEX app.album_released RENAME TO other; ALTER VIEW app.cheap RENAME TO bargains;
         ALTER TABLE app.album RENAME CONSTRAINT album_artist_id_fkey TO owner; ALTER TABLE app.album RENAME CONSTRAINT album_pkey TO key;
         ALTER TRIGGER no_free_album ON app.album RENAME TO never_free",
    );
    shop.case.run("verify {source} {url} --schema app --schema-objects").exit(0);
}

#[test]
fn each_thing_that_is_taken_away_is_named_and_nothing_else() {
    let whole = Shop::migrated("whole", "");
    // What is gone, and what is something else.
    let changes: [&[(&str, &str)]; 2] = [
        &[
            ("DROP INDEX album_released", "index album.album_released"),
            ("DROP INDEX track_title", "index track.track_title"),
            ("DROP INDEX artist_name_key", "unique artist.artist_name_key"),
            ("ALTER TABLE album DROP CONSTRAINT title_per_artist", "unique album.artist_id_title"),
            ("ALTER TABLE track DROP CONSTRAINT track_pkey", "primary key track.album_id_number"),
            ("ALTER TABLE track DROP CONSTRAINT track_album_id_fkey", "foreign key track.album_id → album"),
            ("ALTER TABLE album DROP CONSTRAINT album_check1", "check album.check 1"),
            ("DROP VIEW cheap", "view cheap"),
            ("DROP TRIGGER no_free_album ON album", "trigger album.no_free_album"),
            ("ALTER TABLE album ALTER title DROP NOT NULL", "not null album.title"),
            ("ALTER TABLE album ALTER title DROP DEFAULT", "default album.title"),
            ("ALTER TABLE album ALTER label DROP EXPRESSION", "generated column album.label"),
            ("ALTER TABLE album ALTER id DROP IDENTITY", "identity album.id"),
        ],
        &[
            ("DROP INDEX album_released; CREATE INDEX album_released ON album (released)", "index album.album_released"),
            ("ALTER TABLE track DROP CONSTRAINT track_pkey, ADD UNIQUE (album_id, number)", "primary key track.album_id_number"),
            (
                "ALTER TABLE track DROP CONSTRAINT track_album_id_fkey, ADD FOREIGN KEY (album_id) REFERENCES album ON DELETE CASCADE",
                "foreign key track.album_id → album",
            ),
            (
                "CREATE OR REPLACE VIEW public.cheap AS SELECT a.title, r.name FROM album a JOIN artist r ON r.id = a.artist_id",
                "view cheap",
            ),
            ("ALTER TABLE album DISABLE TRIGGER no_free_album", "trigger album.no_free_album"),
            ("ALTER TABLE album ALTER title SET DEFAULT 'none'", "default album.title"),
        ],
    ];
    for changes in changes {
        let mut wanted: Vec<&str> = changes.iter().map(|(_, named)| *named).collect();
        let all: Vec<&str> = changes.iter().map(|(change, _)| *change).collect();
        let mut missing = whole.again().missing(&all.join("; "));
        wanted.sort_unstable();
        missing.sort_unstable();
        assert_eq!(missing, wanted);
    }
}

#[test]
fn what_is_there_and_does_no_longer_what_it_did_is_named() {
    let shop = Shop::migrated("drift", "");
    let drift = r#"ALTER TABLE album ENABLE REPLICA TRIGGER no_free_album; ALTER TABLE track DISABLE TRIGGER ALL;
        ALTER TABLE album ALTER released TYPE timestamp; ALTER TABLE track ALTER title TYPE text COLLATE "default"; ALTER TABLE artist ALTER id SET GENERATED ALWAYS;
        DROP VIEW cheap; CREATE MATERIALIZED VIEW cheap AS SELECT a.title, r.name FROM album a JOIN artist r ON r.id = a.artist_id WHERE a.price < 10;
        ALTER TABLE track SET UNLOGGED; CREATE RULE quiet AS ON DELETE TO album DO INSTEAD NOTHING; ALTER SEQUENCE album_id_seq MAXVALUE 8;
        ALTER TABLE track DROP CONSTRAINT track_pkey, ADD PRIMARY KEY (album_id, number) DEFERRABLE;
        UPDATE pg_index SET indisready = false WHERE indexrelid = 'track_title'::regclass"#;
    let named = [
        "sequence album.id",
        "identity artist.id",
        "table album",
        "type album.released",
        "table track",
        "collation track.title",
        "primary key track.album_id_number",
        "index track.track_title",
        "foreign key track.album_id → album",
        "view cheap",
        "trigger album.no_free_album",
    ];
    assert_eq!(shop.missing(drift), named);
}

#[test]
fn what_was_added_is_listed_and_what_hides_rows_is_a_difference() {
    let shop = Shop::migrated("added", "");
    assert_eq!(shop.verify(0)["added"], json!([]));
    shop.database.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER keep_out BEFORE INSERT ON artist FOR EACH ROW EXECUTE FUNCTION f();
         ALTER TABLE album ALTER price SET NOT NULL, ALTER released SET DEFAULT '2000-01-01', ADD CONSTRAINT dear CHECK (price > 1), ADD seen boolean,
             ADD EXCLUDE USING btree (price WITH =);
         CREATE UNIQUE INDEX one_title ON album (title); CREATE INDEX by_label ON album (label);
         ALTER TABLE track ADD FOREIGN KEY (number) REFERENCES artist(id) NOT VALID",
    );
    let added = |objects: &Json| -> Vec<String> {
        let text = |added: &Json| {
            format!("{} {} {}", added["kind"].as_str().unwrap(), added["object"].as_str().unwrap(), added["restricts"].as_bool().unwrap())
        };
        objects["added"].as_array().unwrap().iter().map(text).collect()
    };
    let objects = shop.verify(0);
    let named = [
        "trigger artist.keep_out true",
        "not null album.price true",
        "default album.released true",
        "column album.seen false",
        "exclusion album.album_price_excl true",
        "check album.dear true",
        "index album.by_label false",
        "unique album.one_title true",
        "foreign key track.track_number_fkey true",
    ];
    let mut found = added(&objects);
    found.sort();
    let mut named = named.map(String::from);
    named.sort();
    assert_eq!(found, named);
    let text = shop.case.run("verify {source} {url} --schema-objects").exit(0);
    text.stdout_has("added: check album.dear: CHECK (price > 1::numeric); it may refuse or change rows that SQLite takes");
    shop.case.run("verify {source} {url} --schema-objects --strict").exit(1);

    // Rows that some do not see: none is counted away, whoever looks.
    let (shop, role) = (shop.again(), format!("reader_{}", std::process::id()));
    shop.database.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public, candlefish TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public, candlefish TO {role};
         ALTER TABLE artist ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON artist USING (id = 1)"
    ));
    assert_eq!(missing(&shop.verify(1)), ["table artist"]);
    shop.case.run(&format!("verify {{source}} {{url}} --role {role}")).exit(2).stderr_has("row-level security");
    shop.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_sequence_goes_on_where_sqlite_would() {
    let shop = Shop::migrated("sequence", "");
    shop.database.execute("SELECT setval('artist_id_seq', 2), setval('album_id_seq', 9, false)");
    let objects = shop.verify(1);
    assert_eq!(missing(&objects), [""; 0]);
    // A third artist was there once: SQLite counts it, and the largest id does not.
    assert_eq!(objects["wrong_next_values"], json!([{"table": "artist", "column": "id", "expected": 4, "actual": 3}]));
    shop.case.run("verify {source} {url} --schema-objects").exit(1).stdout_has("sequence artist.id: gives 3 next, and should give 4");
    // What counts is the sequence that the column draws from, whoever owns it.
    let other =
        "ALTER TABLE artist ALTER id DROP IDENTITY; CREATE SEQUENCE other; ALTER TABLE artist ALTER id SET DEFAULT nextval('other')";
    shop.database.execute(other);
    assert_eq!(shop.verify(1)["wrong_next_values"], json!([{"table": "artist", "column": "id", "expected": 4, "actual": 1}]));
}

#[test]
fn what_migrate_said_itself_is_listed_and_is_no_difference() {
    let database = Database::fresh();
    let source = "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT COLLATE locale, long TEXT, n INTEGER NOT NULL DEFAULT 1);
        CREATE INDEX by_long ON t (long, n);";
    let case = Case::new("declared").source_sql(&source.replace(" COLLATE locale", "")).database(&database);
    let sqlite = rusqlite::Connection::open(case.source_path()).unwrap();
    // Bytes that do not compress: PostgreSQL's B-tree takes no such entry, and only the rows show it.
    sqlite
        .execute_batch("CREATE VIEW odd AS SELECT sqlite_source_id() AS id FROM t; INSERT INTO t (long) VALUES (hex(randomblob(20000)))")
        .unwrap();
    drop(sqlite);
    let report = case.run("migrate {source} {url} --json").exit(1).json();
    let losses = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss").count();
    assert_eq!(losses, 2, "{}", report["warnings"]);
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(0).json()["schema_objects"].clone();
    assert_eq!(missing(&objects), ["index t.by_long", "view odd"]);
    assert!(objects["missing"].as_array().unwrap().iter().all(|missing| missing["declared"] == true));
}

#[test]
fn a_copy_that_another_tool_made_is_measured_too() {
    let database = Database::fresh();
    let case = Case::new("without a run").source_sql(SHOP).database(&database);
    database.execute(
        "CREATE TABLE artist (id bigint, name text); CREATE TABLE track (album_id bigint, number bigint, title text);
         CREATE TABLE album (id bigint PRIMARY KEY, artist_id bigint, title text, price numeric(10,2), label text, released date);",
    );
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
    let missing = missing(&objects);
    for named in ["primary key artist.id", "identity artist.id", "not null album.title", "check album.check 1", "view cheap"] {
        assert!(missing.iter().any(|missing| missing == named), "{named} in {missing:?}");
    }
    assert!(!missing.iter().any(|missing| missing == "primary key album.id"), "{missing:?}");
}

#[test]
fn tables_that_were_there_before_have_a_schema_of_their_own() {
    let database = Database::fresh();
    let case = Case::new("given").source_sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO t VALUES (4, 1);
         CREATE TABLE one (id INTEGER PRIMARY KEY); INSERT INTO one VALUES (7), (9);
         CREATE TABLE two (id INTEGER PRIMARY KEY); INSERT INTO two VALUES (3);
         CREATE TRIGGER no_zero BEFORE INSERT ON t WHEN NEW.n = 0 BEGIN SELECT RAISE(ABORT, 'none'); END;",
    );
    let case = case.database(&database);
    database.execute(
        "CREATE TABLE t (id bigserial, n bigint); CREATE SEQUENCE shared;
         CREATE TABLE one (id bigint PRIMARY KEY DEFAULT nextval('shared')); CREATE TABLE two (id int PRIMARY KEY DEFAULT nextval('shared'));
         CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
         CREATE TRIGGER other BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION own()",
    );
    // A trigger that fires at another moment does not do this one's work: it is lost.
    case.run("migrate {source} {url} --allow triggers").exit(1).stdout_has("LOSS    t.n has no not null in the target's own schema");
    let allowed = "--existing truncate --allow triggers,not-nulls,primary-keys";
    case.run(&format!("migrate {{source}} {{url}} {allowed}")).exit(0).stdout_has("it has no trigger that fires BEFORE INSERT");
    // A sequence that two tables share goes on after the ids of both, and never back.
    assert_eq!(database.value("SELECT nextval('shared')"), "10");
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("INSERT INTO two VALUES (5), (20)").unwrap();
    case.run("migrate {source} {url} --refresh --yes").exit(0);
    assert_eq!(database.value("SELECT nextval('shared')"), "21");
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(0).json()["schema_objects"].clone();
    // A trigger that fires at another moment does not do this one's work; one of the same moment may.
    assert_eq!(objects["triggers_not_compared"], json!(["t.no_zero"]));
    let compared = objects["compared"].as_u64().unwrap();
    database.execute("CREATE CONSTRAINT TRIGGER later AFTER INSERT ON t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION own()");
    case.run("verify {source} {url} --schema-objects").exit(0).stdout_has("triggers of their own that fire at other moments: t.no_zero");
    database.execute("DROP TRIGGER other ON t; CREATE TRIGGER zero BEFORE INSERT OR UPDATE ON t EXECUTE FUNCTION own()");
    let same = case.run("verify {source} {url} --schema-objects --json").exit(0).json()["schema_objects"].clone();
    assert_eq!((&same["triggers_not_compared"], &same["compared"]), (&json!([]), &json!(compared + 1)));
    // What it lacked before, the run has said, whatever rows have come since; what it has lost since, nobody has.
    let mut lacking = missing(&objects);
    lacking.sort();
    assert_eq!(lacking, ["not null t.n", "primary key t.id", "trigger t.no_zero"]);
    assert_eq!(objects["not_compared"], json!([]));
    assert!(objects["missing"].as_array().unwrap().iter().all(|missing| missing["declared"] == true), "{objects}");
    database.execute("ALTER TABLE t ALTER id DROP NOT NULL");
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
    assert!(missing(&objects).contains(&"not null t.id".to_string()), "{objects}");
    database.execute("ALTER TABLE t ALTER id SET NOT NULL; SELECT setval('t_id_seq', 1)");
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
    assert_eq!(objects["wrong_next_values"][0], json!({"table": "t", "column": "id", "expected": 5, "actual": 2}));
}

#[test]
fn what_migrations_made_is_compared_as_what_a_run_made() {
    let database = Database::fresh();
    let case = Case::new("migrations").source_sql(SHOP).database(&database);
    case.run("schema generate {source} --out {dir}/files").exit(0);
    case.run("migrate {source} {url} --migrations {dir}/files").exit(0);
    let shop = Shop { case, database };
    let objects = shop.verify(0);
    assert_eq!((&objects["missing"], &objects["not_compared"]), (&json!([]), &json!([])));
    let gone = "DROP INDEX album_released; ALTER TABLE track DROP CONSTRAINT track_pkey, DROP CONSTRAINT track_album_id_fkey;
        ALTER TABLE album DROP CONSTRAINT title_per_artist, DROP CONSTRAINT album_check1, ALTER label DROP EXPRESSION; DROP TRIGGER no_free_album ON album;
        ALTER TABLE album ALTER released TYPE timestamp";
    let mut missing = shop.missing(gone);
    missing.sort();
    let named = [
        "check album.check 1",
        "foreign key track.album_id → album",
        "generated column album.label",
        "index album.album_released",
        "primary key track.album_id_number",
        "trigger album.no_free_album",
        "type album.released",
        "unique album.artist_id_title",
    ];
    assert_eq!(missing, named);
}

#[test]
fn of_the_failure_modes_nothing_is_missing_unsaid() {
    let database = Database::fresh();
    let script = format!("PRAGMA foreign_keys = OFF; {}", include_str!("failure-modes.sql"));
    let case = Case::new("failure modes").source_sql(&script).database(&database);
    case.run("migrate {source} {url}").exit(1);
    let objects = case.run("verify {source} {url} --schema-objects --json").json()["schema_objects"].clone();
    let unsaid = objects["missing"].as_array().unwrap().iter().filter(|missing| missing["declared"] == false);
    assert_eq!(unsaid.collect::<Vec<_>>(), [&Json::Null; 0]);
    assert_eq!(objects["wrong_next_values"], json!([]));
}

#[test]
fn a_registry_is_compared_as_its_migrations_made_it() {
    let database = Database::fresh();
    let case = Case::new("registry").source("registry-v2").database(&database);
    case.run("migrate {source} {url} --mapping registry");
    let objects = case.run("verify {source} {url} --schema-objects --json").json()["schema_objects"].clone();
    let unsaid = objects["missing"].as_array().unwrap().iter().filter(|missing| missing["declared"] == false);
    assert_eq!(unsaid.collect::<Vec<_>>(), [&Json::Null; 0]);
    assert_eq!(objects["wrong_next_values"], json!([]));
    assert!(objects["not_compared"].as_array().unwrap().contains(&json!("services")));
}

/// The key compares by the collation of its own index, whatever the column's is.
#[test]
fn a_key_without_regard_to_case_is_unique_without_regard_to_case() {
    for rest in ["", " WITHOUT ROWID"] {
        let database = Database::fresh();
        let sql = format!(
            "CREATE TABLE t(name TEXT, v INT, PRIMARY KEY(name COLLATE NOCASE)){rest}; INSERT INTO t VALUES ('abc', 1);
             CREATE TABLE u(name TEXT COLLATE NOCASE, PRIMARY KEY(name COLLATE BINARY)){rest}; INSERT INTO u VALUES ('a'), ('A');"
        );
        let case = Case::new("folded key").source_sql(&sql).database(&database);
        case.run("migrate {source} {url}").exit(0);
        let refused = database.try_execute("INSERT INTO t VALUES ('ABC', 2)").unwrap_err();
        assert!(refused.contains("t_folded_key"), "{refused}");
        database.execute("INSERT INTO u VALUES ('b'), ('B')");
        case.run("verify {source} {url} --schema-objects --json").exit(1).stdout_has("\"missing\": []");
        // SQLite's PRAGMAs tell of it, whatever a plan would.
        database.execute("DELETE FROM u WHERE lower(name) = 'b'; DROP INDEX t_folded_key");
        let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
        assert_eq!(missing(&objects), ["unique t.t_folded_key"], "{objects}");
    }
}

/// A column that a mapping leaves out takes its keys and indexes with it, each with a word.
#[test]
fn keys_of_a_column_that_is_left_out_are_lost_and_said() {
    let database = Database::fresh();
    let case = Case::new("left out")
        .source_sql(
            "CREATE TABLE t(a INT, b INT, PRIMARY KEY(a, b), UNIQUE(b, a)); CREATE INDEX i ON t(b, a); INSERT INTO t VALUES (1, 2);",
        )
        .database(&database);
    std::fs::write(case.dir().join("m.toml"), "[tables.t.columns.a]\nskip = true\n").unwrap();
    let report = case.run("migrate {source} {url} --mapping {dir}/m.toml --json").exit(1).json();
    let lost: Vec<String> =
        report["exit_reasons"].as_array().unwrap().iter().map(|reason| format!("{} {}", reason["code"], reason["object"])).collect();
    assert_eq!(lost, ["\"primary_key_missing\" \"t.a_b\"", "\"unique_missing\" \"t.b_a\"", "\"index_missing\" \"t.i\""], "{report}");
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(0).json()["schema_objects"].clone();
    assert_eq!(objects["missing"].as_array().unwrap().len(), 3, "{objects}");
    assert!(objects["missing"].as_array().unwrap().iter().all(|missing| missing["declared"] == true), "{objects}");
}

#[test]
fn views_whose_names_meet_have_names_of_their_own() {
    let (database, stem) = (Database::fresh(), "v".repeat(63));
    let case = Case::new("names of views")
        .source_sql(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT CHECK (a > 0)); INSERT INTO t VALUES (1, 5);
             CREATE VIEW {stem}_one AS SELECT id FROM t; CREATE VIEW {stem}_two AS SELECT a FROM t;
             CREATE VIEW reads AS SELECT a + 1 AS b FROM {stem}_two; CREATE VIEW t_pkey AS SELECT 7 AS seven;"
        ))
        .database(&database);
    for flags in ["", "--replace --yes"] {
        let report = case.run(&format!("migrate {{source}} {{url}} --json {flags}")).exit(0).json();
        let renamed: Vec<_> = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "view_renamed").collect();
        assert_eq!(renamed.len(), 2, "{report}");
        assert_eq!(renamed[1]["message"], format!("is \"{}_2\" in PostgreSQL: names end at 63 bytes there", &stem[..61]));
        assert_eq!(database.value("SELECT b FROM reads"), "6");
        assert_eq!(database.value("SELECT seven FROM t_pkey"), "7", "a view keeps its name, and the key finds another");
    }
    case.run("verify {source} {url} --schema-objects").exit(0);
}

#[test]
fn names_in_another_style_are_compared_in_it() {
    let database = Database::fresh();
    let case = Case::new("snake")
        .source_sql(
            "CREATE TABLE userName(id INTEGER PRIMARY KEY, firstName TEXT); INSERT INTO userName VALUES (1, 'a');
             CREATE VIEW firstView AS SELECT firstName FROM userName; CREATE VIEW first_view AS SELECT id FROM userName;
             CREATE VIEW both_views AS SELECT a.firstName, b.id FROM firstView a, first_view b;",
        )
        .database(&database);
    case.run("migrate {source} {url} --names snake").exit(0).stdout_has("first_view is \"first_view_2\" in PostgreSQL");
    assert_eq!(database.rows("SELECT * FROM both_views"), ["a|1"]);
    let verified = case.run("verify {source} {url} --schema-objects --json").exit(0).json();
    assert_eq!(verified["schema_objects"]["missing"], serde_json::json!([]), "{verified}");
    case.run("migrate {source} {url} --refresh --yes").exit(0);
    case.run("verify {source} {url} --schema-objects").exit(0);
}

#[test]
fn what_is_there_and_does_something_else_is_told_from_what_is_not_there() {
    let database = Database::fresh();
    let case = Case::new("differs")
        .source_sql("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p); CREATE INDEX c_p ON c(p);")
        .database(&database);
    case.run("migrate {source} {url}").exit(0);
    let key = database.value("SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'c'::regclass");
    database
        .execute(&format!("ALTER TABLE c DROP CONSTRAINT \"{key}\", ADD FOREIGN KEY (p) REFERENCES p ON DELETE CASCADE; DROP INDEX c_p"));
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
    let missing: Vec<(&Json, &Json)> =
        objects["missing"].as_array().unwrap().iter().map(|missing| (&missing["kind"], &missing["differs"])).collect();
    assert_eq!(missing, [(&json!("index"), &json!(false)), (&json!("foreign key"), &json!(true))], "{objects:#}");
}

#[test]
fn one_reader_is_enough() {
    let database = Database::fresh();
    let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE); INSERT INTO t VALUES (1, 'a')";
    let case = Case::new("one reader").source_sql(sql).database(&database);
    case.run("migrate {source} --to {url} --jobs 1").exit(0);
    case.run("verify {source} --to {url} --schema-objects --jobs 1").exit(0);
}

#[test]
fn tables_that_are_called_as_the_catalog_s_own_are_as_they_should_be() {
    let source = "
        CREATE TABLE pg_class(id INTEGER PRIMARY KEY, v TEXT NOT NULL UNIQUE);
        CREATE TABLE pg_type(id INTEGER PRIMARY KEY AUTOINCREMENT, class INTEGER REFERENCES pg_class ON DELETE CASCADE, n INTEGER DEFAULT 5 CHECK (n > 0));
        CREATE TABLE pg_namespace(a INTEGER, b INTEGER REFERENCES pg_type(id), PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE pg_stats(id INTEGER PRIMARY KEY, pg_proc TEXT); CREATE INDEX pg_stats_proc ON pg_stats(pg_proc);
        CREATE VIEW pg_settings AS SELECT c.v, t.n FROM pg_class c JOIN pg_type t ON t.class = c.id;
        CREATE TRIGGER pg_rule BEFORE INSERT ON pg_class WHEN NEW.v = '' BEGIN SELECT RAISE(ABORT, 'none'); END;
        INSERT INTO pg_class VALUES (1, 'a'); INSERT INTO pg_type VALUES (1, 1, 5); INSERT INTO pg_namespace VALUES (1, 1); INSERT INTO pg_stats VALUES (1, 'x')";
    let database = Database::fresh();
    let case = Case::new("names of the catalog").source_sql(source).database(&database);
    case.run("migrate {source} {url}").exit(0);
    let objects = case.run("verify {source} {url} --schema-objects --strict --json").exit(0).json()["schema_objects"].clone();
    assert_eq!((&objects["missing"], &objects["added"]), (&json!([]), &json!([])), "{objects:#}");
    // What is not as it should be is found there too.
    database.execute("ALTER TABLE public.pg_type DROP CONSTRAINT pg_type_class_fkey; DROP INDEX public.pg_stats_proc");
    let objects = case.run("verify {source} {url} --schema-objects --json").exit(1).json()["schema_objects"].clone();
    assert_eq!(missing(&objects), ["index pg_stats.pg_stats_proc", "foreign key pg_type.class → pg_class"], "{objects:#}");
    // Of such tables that were there before, a run says no more than they lack.
    let (given, tables) = (Database::fresh(), "CREATE TABLE pg_class(id bigint PRIMARY KEY, v text NOT NULL UNIQUE);
        CREATE TABLE pg_type(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, class bigint REFERENCES public.pg_class ON DELETE CASCADE, n bigint DEFAULT 5 CHECK (n > 0))");
    given.execute(tables);
    let case = Case::new("given").source_file(case.source_path()).database(&given);
    let report = case.run("migrate {source} {url} --include pg_class --include pg_type --json").json();
    let lost: Vec<&Json> = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss").collect();
    let of: Vec<&str> = lost.iter().map(|loss| loss["object"].as_str().unwrap()).collect();
    assert_eq!(of, ["pg_class.pg_rule"], "{report:#}");
}

#[test]
fn a_key_that_checks_no_old_row_and_a_sequence_that_soon_ends_are_seen() {
    let shop = Shop::migrated("weakened", "");
    shop.case.run("verify {source} {url} --schema-objects --strict").exit(0);
    shop.database.execute(
        "ALTER TABLE album DROP CONSTRAINT album_artist_id_fkey, ADD FOREIGN KEY (artist_id) REFERENCES artist ON DELETE CASCADE NOT VALID",
    );
    // It is there, and may be what a run has left so; who is strict wants more.
    let objects = shop.verify(0);
    assert_eq!((&objects["not_valid"], &objects["missing"]), (&json!(["album.artist_id → artist"]), &json!([])), "{objects:#}");
    let text = shop.case.run("verify {source} {url} --schema-objects --strict").exit(1);
    text.stdout_has("not valid: album.artist_id → artist: it holds for new rows, and those from before it may break it");
    shop.database.execute("ALTER TABLE album VALIDATE CONSTRAINT album_artist_id_fkey");
    shop.case.run("verify {source} {url} --schema-objects --strict").exit(0);
    let missing = shop.missing("ALTER TABLE album ALTER id SET MAXVALUE 100");
    assert_eq!(missing, ["sequence album.id"]);
    shop.case.run("verify {source} {url} --schema-objects").exit(1).stdout_has("it ends at 100, and should at 9223372036854775807");
}
