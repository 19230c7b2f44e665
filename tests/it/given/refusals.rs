//! What a given table refuses: a row for what is in it, and a run for what is in nobody's row.

use crate::server::{Server, machine};
use crate::support::{Case, Database};

#[test]
fn a_default_that_cannot_be_computed_is_no_rows_fault() {
    let database = Database::fresh();
    database.execute(
        "CREATE FUNCTION next_number() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(n) FROM counted); END';
         CREATE TABLE t(id int PRIMARY KEY, n int NOT NULL DEFAULT next_number()); CREATE TABLE named(id int PRIMARY KEY, class regclass)",
    );
    let case = Case::new("defaults")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3);
             CREATE TABLE named(id INTEGER PRIMARY KEY, class TEXT); INSERT INTO named VALUES (1, 'pg_class'), (2, 'pg_nothing')",
        )
        .database(&database);
    // A name within a value is.
    let report = case.run("migrate {source} --to {url} --include named --json").exit(1).json();
    assert_eq!((&report["rows_rejected"], &report["rows_written"]), (&1.into(), &1.into()), "{report:#}");
    let failed = case.run("migrate {source} --to {url} --include t --json").exit(2);
    failed.stderr_has("counted");
    assert_eq!(database.rows("SELECT count(*) FROM t"), ["0"]);
}

#[test]
fn a_row_that_is_set_aside_is_known_though_the_target_computes_a_part_of_it() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, b int CHECK (b < 10), name varchar(3), g int GENERATED ALWAYS AS (b * 2) STORED)");
    let case = Case::new("computed")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, b INTEGER, name TEXT, g INTEGER GENERATED ALWAYS AS (b * 2));
             INSERT INTO t(id, b, name) VALUES (1, 3, 'a'), (2, 30, 'b'), (3, 4, 'long')",
        )
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!((&report["rows_rejected"], &report["outcome"]), (&2.into(), &"rejected".into()), "{report:#}");
    assert_eq!(database.rows("SELECT * FROM t"), ["1|3|a|6"]);
    let verified = case.run("verify {source} --to {url} --json").exit(0).json();
    assert_eq!(verified["tables"][0]["rows_set_aside"], 2, "{verified:#}");
    // What is no longer in the files is missed.
    let folder = report["rejects_dir"].as_str().unwrap();
    let file = case.dir().join(folder).join("t.jsonl");
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.lines().next().unwrap().to_string() + "\n").unwrap();
    case.run("verify {source} --to {url}").stderr_has("2 rows of t are set aside, and the files of rejects have 1 of them");
    std::fs::write(&file, lines).unwrap();
    // The file of the rows has what is computed, and a retry needs none of it.
    database.execute("ALTER TABLE t DROP CONSTRAINT t_b_check, ALTER name TYPE text");
    case.run(&format!("migrate {{source}} --to {{url}} --retry-rejects {folder}")).exit(0);
    assert_eq!(database.rows("SELECT * FROM t ORDER BY id"), ["1|3|a|6", "2|30|b|60", "3|4|long|8"]);
    case.run("verify {source} --to {url}").exit(0);
}

#[test]
fn a_mapping_that_takes_the_offset_of_times_is_told_so() {
    let database = Database::fresh();
    let case = Case::new("mapped times")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, d TEXT, plain DATETIME);
             INSERT INTO t VALUES (1, '2024-01-02T03:04:05+05:30', '2024-01-02 03:04:05'), (2, '2024-01-02 03:04:05', NULL)",
        )
        .database(&database);
    std::fs::write(case.dir().join("map.toml"), "[tables.t.columns]\nd = { type = \"timestamp\" }\n").unwrap();
    let report = case.run("migrate {source} --to {url} --mapping map.toml --json").json();
    let warnings = report["warnings"].as_array().unwrap();
    let told: Vec<_> = warnings.iter().filter(|warning| warning["code"] == "offset_not_kept").collect();
    assert!(told.len() == 1 && told[0]["object"] == "t.d" && told[0]["severity"] == "weaker", "{report:#}");
}

#[test]
fn a_database_with_settings_of_its_own_changes_no_value() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, names text[], x xml)");
    let name = database.value("SELECT quote_ident(current_database())");
    for setting in ["array_nulls = off", "xmloption = document"] {
        database.execute(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    let case = Case::new("own settings")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, names TEXT, x TEXT); INSERT INTO t VALUES (1, '{NULL,a}', 'no document')")
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    case.run("verify {source} --to {url}").exit(0);
    assert_eq!(database.value("SELECT names[1] IS NULL FROM t"), "t");
}

#[test]
fn a_key_that_is_put_off_to_the_end_costs_its_row_alone() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    let case = Case::new("deferred")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 1), (2, 2), (3, 2), (4, 4)")
        .database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&3.into(), &1.into()), "{report:#}");
    case.run("verify {source} --to {url}").exit(0);
}

#[test]
fn what_a_type_of_an_extension_cannot_read_is_set_aside() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION hstore; CREATE TABLE t(id int PRIMARY KEY, h hstore, n regnamespace)");
    let case = Case::new("extensions")
        .source_sql(
            r#"CREATE TABLE t(id INTEGER PRIMARY KEY, h TEXT, n TEXT);
               INSERT INTO t VALUES (1, 'a=>1', NULL), (2, '{"a":1}', NULL), (3, NULL, 'nowhere'), (4, 'b=>2', 'public')"#,
        )
        .database(&database);
    case.run("migrate {source} --to {url} --dry-run").exit(1);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&2.into(), &2.into()), "{report:#}");
    case.run("verify {source} --to {url}").exit(0);
}

#[test]
fn a_table_that_is_none_of_ours_may_be_closed_to_us() {
    let server = Server::start(&machine(), &[]);
    server.rows(
        "CREATE ROLE mover LOGIN; CREATE TABLE t(id int PRIMARY KEY); CREATE TABLE closed(id int); CREATE TABLE guarded(id int);
         INSERT INTO closed VALUES (1); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON guarded USING (false);
         GRANT CREATE ON DATABASE postgres TO mover; GRANT USAGE, CREATE ON SCHEMA public TO mover; ALTER TABLE t OWNER TO mover;
         GRANT SELECT ON guarded TO mover",
    );
    let url = server.url_as("mover");
    let case = Case::new("ours").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    case.run(&format!("migrate {{source}} --to {url}")).exit(0);
    case.run(&format!("verify {{source}} --to {url}")).exit(0);
    // One that the file has is not taken for empty.
    let closed = Case::new("closed").source_sql("CREATE TABLE closed(id INTEGER); INSERT INTO closed VALUES (1)");
    closed.run(&format!("migrate {{source}} --to {url}")).exit(2);
    assert_eq!(server.rows("SELECT count(*) FROM closed"), ["1"]);
}
