//! One run after the other into the same target: what the earlier ones have said of it holds, but for what the last one has made.

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{Case, Database, Output};

const TABLES: &str = "CREATE TABLE a(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO a VALUES (1, 'x'); CREATE INDEX ia ON a(v);
    CREATE TABLE b(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO b VALUES (1, 5), (2, 6); CREATE INDEX ib ON b(n);
    CREATE VIEW OfBoth AS SELECT a.id, n FROM a JOIN b USING (id);
    CREATE TRIGGER tb AFTER INSERT ON b BEGIN UPDATE a SET v = v || '!'; END;";

fn change(case: &Case, sql: &str) {
    Connection::open(case.source_path()).unwrap().execute_batch(sql).unwrap();
}

/// What is said of objects, by the first words of it.
fn said(output: &Output) -> Vec<String> {
    let report = output.json();
    let warnings = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] != "ids_counted_otherwise");
    let head = |warning: &Json| {
        let text = |key: &str| warning[key].as_str().unwrap().to_string();
        format!("{} {}", text("object"), text("message").split(" in the source").next().unwrap())
    };
    warnings.map(head).collect()
}

#[test]
fn a_run_of_one_table_does_not_hide_what_has_changed_in_another() {
    let database = Database::fresh();
    let case = Case::new("earlier declared").source_sql(TABLES).database(&database);
    case.run("migrate {source} {url}").exit(0);
    change(
        &case,
        "DROP INDEX ib; CREATE INDEX ib2 ON b(n DESC); DROP INDEX ia; CREATE INDEX ia2 ON a(v DESC); ALTER TABLE b ADD CHECK (n > 0)",
    );
    database.execute("DROP VIEW \"OfBoth\"; DROP TABLE a");
    case.run("migrate {source} {url} --include a --allow views").exit(0);
    // The table that the second run has made is of the definitions of now, the other of those that it was made of.
    let refresh = case.run("migrate {source} {url} --refresh --yes --json").exit(0);
    assert_eq!(said(&refresh), ["index ib2 is new", "table b is declared otherwise", "index ib is gone"]);
    // Into a table that is there rows alone come.
    case.run("migrate {source} {url} --include b --existing truncate --allow indexes,checks,views").exit(0);
    let refresh = case.run("migrate {source} {url} --refresh --yes --json").exit(0);
    assert_eq!(said(&refresh), ["index ib2 is new", "table b is declared otherwise", "index ib is gone"]);
    database.execute("DROP TABLE b");
    case.run("migrate {source} {url} --include b --allow views,triggers").exit(0);
    assert_eq!(said(&case.run("migrate {source} {url} --refresh --yes --json").exit(0)), [""; 0]);
}

#[test]
fn a_file_under_another_name_is_held_against_what_it_was() {
    let database = Database::fresh();
    let first = Case::new("earlier name").source_sql(TABLES).database(&database);
    let run = first.run("migrate {source} {url} --json").exit(0).json()["run_id"].clone();
    let other = Case::new("earlier other").source_sql("CREATE TABLE other(id INTEGER PRIMARY KEY);").database(&database);
    other.run("migrate {source} {url}").exit(0);
    let renamed = Case::new("earlier renamed").source_sql(TABLES).database(&database);
    change(&renamed, "DROP INDEX ib");
    for follow in [format!("={}", run.as_str().unwrap()), String::new()] {
        let refresh = renamed.run(&format!("migrate {{source}} {{url}} --refresh{follow} --yes --json")).exit(0);
        assert_eq!(said(&refresh), ["index ib is gone"]);
    }
}

#[test]
fn what_an_earlier_run_has_brought_was_not_left_out() {
    let database = Database::fresh();
    let case = Case::new("earlier left out").source_sql(TABLES).database(&database);
    case.run("migrate {source} {url}").exit(0);
    let again = case.run("migrate {source} {url} --include a --existing truncate --json").exit(0);
    assert_eq!(said(&again), ["OfBoth is left out: the target has one of that name"], "its triggers stay out with the table");
    database.execute("DROP TABLE b CASCADE");
    case.run("verify {source} {url}").exit(1).stdout_has("table \"public\".\"b\" is not in PostgreSQL");
    // Who leaves out what is gone means it.
    case.run("migrate {source} {url} --include a --existing truncate --allow views").exit(0);
    case.run("verify {source} {url}").exit(0).stdout_has("left out, as the last run was told: table b");
}

#[test]
fn what_an_earlier_run_has_lost_is_lost_still() {
    let database = Database::fresh();
    let case = Case::new("earlier lost")
        .source_sql(
            "CREATE TABLE a(id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1);
            CREATE TABLE b(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO b VALUES (1, 9223372036854775807);
            CREATE VIEW Far AS SELECT n + n AS twice FROM b;",
        )
        .database(&database);
    case.run("migrate {source} {url}").exit(1).stdout_has("LOSS    Far is made, but reading it ends in an error");
    case.run("migrate {source} {url} --include a --existing truncate").exit(0);
    let found = case.run("verify {source} {url} --schema-objects --json").exit(0).json();
    let missing = &found["schema_objects"]["missing"];
    assert!(
        missing.as_array().unwrap().iter().any(|missing| missing["object"] == "Far" && missing["declared"] == json!(true)),
        "{found:#}"
    );
    assert!(missing.to_string().contains("reading it ends in an error"), "{found:#}");
    database.execute("DROP VIEW \"Far\"; DROP TABLE b");
    change(&case, "UPDATE b SET n = 1");
    case.run("migrate {source} {url} --include b").exit(0);
    case.run("verify {source} {url} --schema-objects").exit(0).stdout_has("0 missing");
}

/// A journal outlives the build that has written it.
#[test]
fn a_journal_in_the_words_of_an_earlier_build_is_read_or_its_version_named() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY, v money)");
    let case = Case::new("earlier words")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v NUMERIC); INSERT INTO t VALUES (1, 1.5), (2, 1.999)")
        .database(&database);
    let run = case.run("migrate {source} {url} --json").exit(1).json()["run_id"].clone();
    let rewrite = |from: &str, to: &str| database.execute(&format!("UPDATE candlefish.run_table SET map = replace(map, '{from}', '{to}')"));
    rewrite("{\"decimals\":2}", "\"money\"");
    assert_eq!(database.value("SELECT map LIKE '%\"rounding\":\"money\"%' FROM candlefish.run_table"), "t");
    case.run("verify {source} {url}").exit(0);
    rewrite("\"money\"", "\"nonsense\"");
    database.execute("UPDATE candlefish.run SET version = '9.8.7'");
    let refused = case.run("verify {source} {url} --json").exit(2).json();
    assert_eq!(refused["error"]["code"], "journal_unreadable", "{refused}");
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(said.ends_with(&format!("; run {} of candlefish 9.8.7 wrote them", run.as_str().unwrap())), "{said}");
}
