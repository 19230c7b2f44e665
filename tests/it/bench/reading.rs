//! In a database of somebody else's a script may do what it likes: nothing of it remains.

use super::case;
use crate::support::Database;

/// Each tries to write in another way; and what is said, by us, by PostgreSQL or by the data layer. Nothing: it runs, and is rolled back.
const SCRIPTS: [(&str, &str, &str); 14] = [
    ("begin.sql", "BEGIN READ WRITE;\nSELECT sly();\nEND;\n", "asks for a transaction that writes"),
    ("block.sql", "BEGIN;\nSELECT sly();\nEND;\n", "read-only transaction"),
    ("set.sql", "BEGIN;\nSET TRANSACTION READ WRITE;\nSELECT sly();\nEND;\n", "may allow what follows to write"),
    ("session.sql", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;\nSELECT sly();\n", "may allow what follows to write"),
    ("quoted.sql", "SET \"transaction_read_only\" TO off;\nSELECT sly();\n", "may allow what follows to write"),
    ("chain.sql", "BEGIN;\nCOMMIT AND NO CHAIN;\nSELECT sly();\n", "leaves open what follows"),
    (
        "config.sql",
        "SELECT set_config('transaction_read_only', 'off', false), sly();\n",
        "read-write mode must be set before any query|SET_CONFIG",
    ),
    ("hidden.sql", "SELECT open_up();\nSELECT sly();\n", "read-only transaction"),
    ("both.sql", "BEGIN;\nSELECT open_up();\nEND;\nSELECT sly();\n", "read-only transaction"),
    ("explain.sql", "EXPLAIN ANALYZE INSERT INTO t VALUES (1);\n", "read-only transaction|INSERT"),
    ("next.sql", "SELECT nextval('s');\n", "read-only transaction|NEXTVAL"),
    ("large.sql", "SELECT make_large();\n", ""),
    ("ended.sql", "SELECT 1 AS a \\gset\nBEGIN;\nSELECT make_large();\nCOMMIT;\n", ""),
    ("kill.sql", "SELECT pg_terminate_backend(pg_backend_pid());\n", "no transaction takes back"),
];

#[test]
fn whatever_a_script_hides_nothing_of_it_remains_where_only_reading_is_allowed() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t (a int); CREATE SEQUENCE s;
         CREATE FUNCTION sly() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a';
         CREATE FUNCTION open_up() RETURNS text LANGUAGE sql AS $$ SELECT set_config('default_transaction_read_only', 'off', false) $$;
         CREATE FUNCTION make_large() RETURNS oid LANGUAGE sql AS 'SELECT lo_create(0)'",
    );
    let scripts: Vec<(&str, &str)> = SCRIPTS.iter().map(|(name, text, _)| (*name, *text)).collect();
    let case = case("only reading", &database, &scripts);
    for way in ["--layer direct", "--layer direct -M simple", "--layer pooled", "--layer pooled --pooler {pooler}"] {
        for (name, _, said) in &SCRIPTS {
            // PgBouncer lets no setting of one client reach another, and knows nothing of functions that set one.
            let output = case.run(&format!("bench --to {{url}} {way} -f {{dir}}/{name} -t 2 -c 1 --warmup 0"));
            assert_eq!(output.code, Some(if said.is_empty() { 0 } else { 2 }), "{way} {name}: {}", output.stderr);
            assert!(said.split('|').any(|said| output.stderr.contains(said)), "{way} {name}: {}", output.stderr);
        }
        assert_eq!(database.value("SELECT count(*) FROM t"), "0", "{way}");
        assert_eq!(database.value("SELECT count(*) FROM pg_largeobject_metadata"), "0", "{way}");
    }
}

#[test]
fn several_statements_in_one_do_not_pass_for_one_where_only_reading_is_allowed() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int)");
    let scripts = [
        ("joined.sql", "SELECT 1 \\; COMMIT \\; TRUNCATE t;\n"),
        ("value.sql", "SELECT :v;\n"),
        ("name.sql", "BEGIN;\nSET :v = off;\nINSERT INTO t SELECT 1;\nEND;\n"),
        (
            "setting.sql",
            "SET application_name = 'my reads';\nSELECT 1 / (current_setting('application_name') = 'my reads')::int AS n \\gset\nSELECT :n;\n",
        ),
    ];
    let case = case("several in one", &database, &scripts);
    let line = |words: &str| {
        let mut all: Vec<String> =
            ["bench", "--to", &database.url(), "--layer", "direct", "-t", "1", "-c", "1", "--warmup", "0"].map(str::to_string).to_vec();
        all.extend(words.split(' ').map(|word| word.replace("{dir}", &case.dir().display().to_string()).replace('_', " ")));
        case.run_args(all)
    };
    line("-M simple -f {dir}/joined.sql").exit(2).stderr_has("cannot insert multiple commands");
    line("-M simple -f {dir}/value.sql -D v=1;COMMIT;INSERT_INTO_t_VALUES_(1)").exit(2).stderr_has("cannot insert multiple commands");
    line("-M simple -f {dir}/value.sql -D v=7").exit(0);
    line("-M simple -f {dir}/name.sql").exit(2);
    // What a session is set to stays for its next statement.
    for protocol in ["simple", "prepared"] {
        line(&format!("-M {protocol} -f {{dir}}/setting.sql")).exit(0);
    }
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
}
