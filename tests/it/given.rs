//! Tables that are there before the run: their types, domains and keys are obeyed, their rows are treated as told, and a dry run knows what
//! PostgreSQL will refuse.

mod agreed;
mod partitions;
mod refusals;
mod rounded;
mod switched;
mod values;

use serde_json::Value as Json;

use super::failure_modes::EVERYTHING;
use crate::support::{Case, Database, long};

/// Each row that is set aside: its key and its column.
fn aside(case: &Case, report: &Json, table: &str) -> Vec<String> {
    let folder = report["rejects_dir"].as_str().unwrap_or_else(|| panic!("nothing is set aside: {report}"));
    let text = std::fs::read_to_string(case.dir().join(folder).join(format!("{table}.jsonl"))).unwrap();
    let line = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        format!("{} {} {}", row["key"], row["column"].as_str().unwrap_or("-"), row["sqlstate"].as_str().unwrap_or("-"))
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

/// (code, object, message) of what is weaker or lost.
fn losses(report: &Json) -> Vec<String> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] != "note");
    let mut said: Vec<String> = all.map(|w| format!("{} {} {}", w["code"], w["object"], w["message"])).collect();
    said.sort();
    said
}

/// Plans, runs, and compares: as many rows set aside in each table, the same losses, the same exit code; the plan has changed nothing.
#[track_caller]
fn foretold(case: &Case, database: &Database, flags: &str) -> (Json, Json) {
    let (before, sequences) = (database.rows(EVERYTHING), "SELECT schemaname || sequencename || coalesce(last_value, 0) FROM pg_sequences");
    let drawn = database.rows(sequences);
    let planned = case.run(&format!("migrate {{source}} {{url}} --dry-run --json {flags}"));
    assert_eq!(database.rows(EVERYTHING), before);
    assert_eq!(database.rows(sequences), drawn, "no sequence is drawn from");
    let run = case.run(&format!("migrate {{source}} {{url}} --json {flags}"));
    assert_eq!(planned.code, run.code, "{planned}\n{run}");
    let (plan, report) = (planned.json(), run.json());
    let rejected = |report: &Json| -> Vec<String> {
        report["tables"].as_array().unwrap().iter().map(|table| format!("{} {}", table["source"], table["rows_rejected"])).collect()
    };
    assert_eq!(rejected(&plan), rejected(&report), "{planned}\n{run}");
    assert_eq!(losses(&plan), losses(&report), "{planned}\n{run}");
    (plan, report)
}

#[test]
fn a_dry_run_knows_what_only_postgresql_refuses() {
    let database = Database::fresh();
    database.execute(
        "CREATE EXTENSION citext; CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('ok', 'sad');
         CREATE DOMAIN short AS varchar(4) NOT NULL; CREATE DOMAIN feeling AS mood CHECK (VALUE <> 'sad');
         CREATE TABLE p(id int PRIMARY KEY, name citext UNIQUE, n positive, ip inet, s short, f feeling, extra serial NOT NULL,
            twice smallint GENERATED ALWAYS AS (n * 2) STORED, at timestamptz NOT NULL DEFAULT now(), CHECK (n <> 13));
         CREATE TABLE c(id bigint PRIMARY KEY, p int CONSTRAINT c_p REFERENCES p);
         INSERT INTO p(id, name, n, s, f) VALUES (1, 'Ann', 1, 'x', 'ok'), (50, 'zoe', 1, 'x', 'ok');",
    );
    let case = Case::new("given")
        .source_sql(
            "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT, n INTEGER, ip TEXT, s TEXT, f TEXT);
             INSERT INTO p VALUES (1, 'one', 1, NULL, 'x', 'ok'), (2, 'ANN', 1, NULL, 'x', 'ok'), (3, 'Bob', 1, '10.0.0.1/8', 'x', 'ok'),
                (4, 'bOB', 1, NULL, 'x', 'ok'), (5, 'e', -5, NULL, 'x', 'ok'), (6, 'f', 13, NULL, 'x', 'ok'), (7, 'g', 1, 'nowhere', 'x', 'ok'),
                (8, 'h', 20000, NULL, 'x', 'ok'), (9, 'i', 1, NULL, NULL, 'ok'), (10, 'j', 1, NULL, 'toolong', 'ok'), (11, 'k', 1, NULL, 'x', 'sad'),
                (12, 'l', 1, NULL, 'x', 'glad'), (13, 'm', 7, '::1', 'four', NULL);
             CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER); INSERT INTO c VALUES (1, 3), (2, 50), (3, 4), (4, 999);",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "--existing keep");
    let set_aside = aside(&case, &report, "p");
    let expected = [
        "{\"id\":10} s -",
        "{\"id\":11} f 23514",
        "{\"id\":12} f -",
        "{\"id\":1} - 23505",
        "{\"id\":2} - 23505",
        "{\"id\":4} - 23505",
        "{\"id\":5} n 23514",
        "{\"id\":6} - 23514",
        "{\"id\":7} ip 22P02",
        "{\"id\":8} - 22003",
        "{\"id\":9} s 23502",
    ];
    assert_eq!(set_aside, expected);
    assert_eq!(database.rows("SELECT id, twice FROM p ORDER BY id"), ["1|2", "3|2", "13|14", "50|2"]);
    // The orphans of the row that does not come, and of the one that nobody has.
    assert!(losses(&plan)[0].contains("2 rows have no parent (id 3 → 4; id 4 → 999)"), "{plan}");
    let table = plan["tables"].as_array().unwrap().iter().find(|table| table["source"] == "p").unwrap();
    assert_eq!(table["misfits"]["count"], 5, "{table}");
    // In the run's own words: of its tables and their keys.
    let duplicate = "PostgreSQL refuses the row: duplicate key value violates unique constraint \"p_pkey\"";
    assert_eq!(table["misfits"]["examples"][0]["reason"], duplicate, "{table}");
    assert!(table.to_string().contains("p_name_key") && table.to_string().contains("relation \\\"p\\\""), "{table}");
    assert!(!plan.to_string().contains("candlefish_try"), "{plan}");
    assert_eq!(case.run("verify {source} {url} --include c --json").exit(0).json()["outcome"], "identical");
}

#[test]
fn a_view_that_has_a_table_s_name_is_no_place_for_its_rows() {
    let database = Database::fresh();
    database.execute("CREATE VIEW t AS SELECT 7 AS id; CREATE TABLE other(id bigint); CREATE INDEX u ON other(id)");
    let case = Case::new("a view there")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE u(id INTEGER PRIMARY KEY)")
        .database(&database);
    for flags in ["--dry-run", "", "--replace --yes"] {
        let error = case.run(&format!("migrate {{source}} {{url}} --json {flags}")).exit(2).json()["error"].clone();
        assert_eq!((&error["code"], &error["target_changed"]), (&"name_taken".into(), &false.into()), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("\"public\".\"t\" is there, and is a view") && message.contains("\"public\".\"u\" is there, and is no table"),
            "{message}"
        );
    }
    std::fs::write(case.dir().join("m.toml"), "[tables.t]\ntarget = \"t_rows\"\n[tables.u]\ntarget = \"u_rows\"\n").unwrap();
    case.run("migrate {source} {url} --mapping {dir}/m.toml").exit(0);
    assert_eq!(database.rows("SELECT * FROM t_rows"), ["1"]);
}

#[test]
fn a_dry_run_that_may_not_ask_says_so() {
    let database = Database::fresh();
    let role = format!("{}_poor", database.name);
    database.execute(&format!(
        "CREATE TABLE t(id bigint PRIMARY KEY); CREATE ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER; ALTER TABLE t OWNER TO {role};
         REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
        database.name
    ));
    let case =
        Case::new("no temporary tables").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").database(&database);
    let plan = case.run(&format!("migrate {{source}} {{url}} --role {role} --dry-run --json")).exit(0).json();
    let note = plan["warnings"].as_array().unwrap().iter().find(|warning| warning["code"] == "not_foretold").cloned();
    assert!(note.unwrap_or_else(|| panic!("{plan}"))["message"].as_str().unwrap().contains("permission denied"), "{plan}");
    database.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn rows_that_are_there_are_refused_kept_or_emptied_as_told_per_table() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE log(id bigint PRIMARY KEY, s text); CREATE TABLE users(id bigint PRIMARY KEY, s text); CREATE TABLE other(id bigint PRIMARY KEY, s text);
         INSERT INTO log VALUES (9, 'there'); INSERT INTO users VALUES (9, 'there'); INSERT INTO other VALUES (9, 'there')",
    );
    let table = |name: &str| format!("CREATE TABLE {name}(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO {name} VALUES (1, 'came');");
    let case = Case::new("per table").source_sql(&["log", "users", "other"].map(table).concat()).database(&database);
    let all = || {
        database
            .rows("SELECT 'log', * FROM log UNION ALL SELECT 'users', * FROM users UNION ALL SELECT 'other', * FROM other ORDER BY 1, 2")
    };
    let before = all();
    // All that is in the way is said at once; what was told of stays out of it.
    let refused = case.run("migrate {source} {url} --existing log=keep --json").exit(2).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"users\"") && message.contains("\"other\"") && !message.contains("\"log\""), "{message}");
    assert_eq!(all(), before);
    case.run("migrate {source} {url} --existing keep --existing users=truncate --existing o*=truncate").exit(0);
    assert_eq!(all(), ["log|1|came", "log|9|there", "other|1|came", "users|1|came"]);
}

#[test]
fn many_duplicates_are_set_aside_one_by_one_and_nothing_else_is() {
    let (rows, every) = if long() { (1_000_000, 100) } else { (30_000, 15) };
    let database = Database::fresh();
    database.execute(&format!(
        "CREATE TABLE t(id bigint PRIMARY KEY, s text, n int CHECK (n <> 3)); INSERT INTO t SELECT i * {every}, 'there', 0 FROM generate_series(1, {}) i",
        rows / every
    ));
    let case = Case::new("duplicates")
        .source_sql(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, n INTEGER);
             WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows}) INSERT INTO t SELECT i, 'row ' || i, i % 1000 FROM c"
        ))
        .database(&database);
    let report = case.run("migrate {source} {url} --existing keep --json").exit(1).json();
    let by_rule = |id: i64| (id % every == 0, id % 1000 == 3);
    let refused = (1..=rows).filter(|id| by_rule(*id).0 || by_rule(*id).1).count() as i64;
    assert_eq!(report["rows_rejected"], refused);
    assert_eq!(report["rows_written"], rows - refused);
    let came = format!("SELECT count(*) FROM t WHERE s = 'row ' || id AND id % {every} <> 0 AND n <> 3");
    assert_eq!(database.value(&came), (rows - refused).to_string());
    assert_eq!(database.value("SELECT count(*) FROM t"), (rows - refused + rows / every).to_string());
    assert_eq!(aside(&case, &report, "t").len(), refused as usize);
}

#[test]
fn the_time_that_is_foretold_is_about_the_time_that_it_takes() {
    // About 500,000 rows of a registry's sort: scale 100.
    let rows = if long() { 250_000 } else { 60_000 };
    let database = Database::fresh();
    let case = Case::new("time")
        .source_sql(&format!(
            "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, active BOOLEAN, at DATETIME);
             CREATE TABLE metrics(id INTEGER PRIMARY KEY, u INTEGER REFERENCES users, v REAL, note TEXT, at DATETIME); CREATE INDEX metrics_at ON metrics(at);
             WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows})
               INSERT INTO users SELECT i, 'user number ' || i, 'u' || i || '@example.org', i % 2, datetime(1700000000 + i, 'unixepoch') FROM c;
             INSERT INTO metrics SELECT id, id, id / 7.0, 'a note of some length about ' || id, at FROM users;"
        ))
        .database(&database);
    let foretold = case.run("migrate {source} {url} --dry-run --json").exit(0).json()["estimate_seconds"].as_f64().unwrap();
    let took = case.run("migrate {source} {url} --json").exit(0).json()["seconds"].as_f64().unwrap();
    // Tests beside it take the machine's time from either; a build without optimization reads slower, and the server does not.
    let factor = if cfg!(debug_assertions) { 6.0 } else { 2.0 };
    assert!(foretold < took * factor && took < foretold * factor, "foretold {foretold} s, took {took} s");
}

#[test]
fn what_a_mapping_adds_has_its_place_in_a_table_that_lacks_it() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY)");
    let case = Case::new("added").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (7);").database(&database);
    std::fs::write(case.dir().join("m.toml"), "[tables.t.add.legacy_id]\nfrom = \"id\"\n").unwrap();
    let refused = case.run("migrate {source} {url} --mapping {dir}/m.toml --on-extra fail --json").exit(2).json();
    assert_eq!(refused["error"]["code"], "column_without_place", "{refused}");
    let report = case.run("migrate {source} {url} --mapping {dir}/m.toml --json").exit(0).json();
    assert_eq!(database.rows("SELECT id, legacy_id FROM t"), ["7|7"]);
    assert_eq!(report["warnings"][0]["code"], "column_added", "{report}");
    // A column that another one fills already is not filled twice.
    std::fs::write(case.dir().join("m.toml"), "[tables.t.add.id]\nfrom = \"id\"\n").unwrap();
    let refused = case.run("migrate {source} {url} --mapping {dir}/m.toml --existing truncate --json").exit(2).json();
    assert_eq!(refused["error"]["code"], "name_collision", "{refused}");
}

#[test]
fn a_table_does_not_go_into_one_that_is_anothers_by_name() {
    let database = Database::fresh();
    let case = Case::new("alike names")
        .source_sql("CREATE TABLE ab(id INTEGER PRIMARY KEY); INSERT INTO ab VALUES (1); CREATE TABLE a_b(id INTEGER PRIMARY KEY); INSERT INTO a_b VALUES (2)")
        .database(&database);
    case.run("migrate {source} {url} --include ab").exit(0);
    case.run("migrate {source} {url} --include a_b --existing keep").exit(0);
    assert_eq!(database.rows("SELECT 'ab', id FROM ab UNION ALL SELECT 'a_b', id FROM a_b ORDER BY 2"), ["ab|1", "a_b|2"]);
}

#[test]
fn an_index_and_a_foreign_key_keep_their_comments() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id int PRIMARY KEY, v text); CREATE INDEX t_v ON t(v); COMMENT ON INDEX t_v IS 'for the search page';
         ALTER TABLE t ADD CONSTRAINT t_t FOREIGN KEY (id) REFERENCES t; COMMENT ON CONSTRAINT t_t ON t IS 'it''s its own'",
    );
    let case = Case::new("comment")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a');")
        .database(&database);
    case.run("migrate {source} {url}").exit(0);
    let comments =
        "SELECT obj_description('t_v'::regclass), v, (SELECT obj_description(oid) FROM pg_constraint WHERE conname = 't_t') FROM t";
    assert_eq!(database.rows(comments), ["for the search page|a|it's its own"]);
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("UPDATE t SET id = 2").unwrap();
    case.run("migrate {source} {url} --refresh --yes").exit(0);
    assert_eq!(database.rows(comments), ["for the search page|a|it's its own"]);
}

#[test]
fn a_type_that_compares_without_blanks_is_no_text_to_a_view() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, c bpchar)");
    let case = Case::new("bare bpchar")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, c TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'a '); CREATE VIEW v AS SELECT id FROM t WHERE c = 'a';")
        .database(&database);
    let report = case.run("migrate {source} {url} --json").exit(1).json();
    let said = losses(&report);
    assert!(
        said.iter().any(|said| said.starts_with("\"view_missing\" \"v\"") && said.contains("has a type of PostgreSQL's own")),
        "{said:#?}"
    );
    assert_eq!(database.rows("SELECT id, octet_length(c) FROM t ORDER BY id"), ["1|1", "2|2"]);
}

#[test]
fn an_index_keeps_what_its_definition_does_not_tell() {
    let database = Database::fresh();
    database.execute(
        "CREATE EXTENSION pg_trgm; CREATE TABLE t(id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a text NOT NULL, b int NOT NULL);
         CREATE INDEX t_plain ON t(b); CREATE INDEX t_stats ON t((b + 1)); ALTER INDEX t_stats ALTER COLUMN 1 SET STATISTICS 777;
         CREATE INDEX t_trgm ON t USING gin (a gin_trgm_ops); ALTER INDEX t_trgm DEPENDS ON EXTENSION pg_trgm",
    );
    let facts = "SELECT i.indexrelid::regclass::text, a.attstattarget,
                        (SELECT string_agg(d.deptype::text, '' ORDER BY d.deptype) FROM pg_depend d WHERE d.objid = i.indexrelid)
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1 WHERE i.indrelid = 't'::regclass ORDER BY 1";
    let before = database.rows(facts);
    let case = Case::new("beside")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INT NOT NULL); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2);",
        )
        .database(&database);
    case.run("migrate {source} {url}");
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
    assert_eq!(database.rows(facts), before);
}

#[test]
fn what_a_type_sees_to_and_another_word_for_text_are_not_lacking() {
    // As Django and Rails write them.
    let database = Database::fresh();
    database
        .execute("CREATE TABLE item(id bigserial PRIMARY KEY, data jsonb NOT NULL, title varchar NOT NULL, owner bigint REFERENCES item)");
    let case = Case::new("as frameworks do").database(&database).source_sql(
        "CREATE TABLE item(id integer NOT NULL PRIMARY KEY AUTOINCREMENT, data text NOT NULL CHECK ((JSON_VALID(data) OR data IS NULL)), title varchar NOT NULL,
             owner integer REFERENCES item(id) ON DELETE CASCADE);
         INSERT INTO item VALUES (5, '{\"a\": 1}', 'x', NULL), (6, '[]', 'y', 5);",
    );
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    let said: Vec<&str> =
        report["warnings"].as_array().unwrap().iter().filter(|w| w["severity"] != "note").map(|w| w["object"].as_str().unwrap()).collect();
    assert_eq!(said, ["item.owner → item"], "a key with other actions is there: {report}");
    assert_eq!(database.value("INSERT INTO item(data, title) VALUES ('{}', 'z') RETURNING id"), "7");
}

#[test]
fn a_sequence_that_is_farther_is_never_set_back() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE gone(id bigserial PRIMARY KEY, v text); INSERT INTO gone(v) SELECT 'x' FROM generate_series(1, 500); DELETE FROM gone;
         CREATE TABLE restarted(id bigint GENERATED BY DEFAULT AS IDENTITY (START 900) PRIMARY KEY, v text);
         CREATE TABLE behind(id serial PRIMARY KEY, v text);
         CREATE TABLE below(id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text)",
    );
    let tables = ["gone", "restarted", "behind", "below"];
    let sql: String = tables
        .iter()
        .map(|table| {
            format!(
                "CREATE TABLE {table}(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO {table} VALUES ({0}, 'a');",
                if *table == "below" { -7 } else { 12 }
            )
        })
        .collect();
    let case = Case::new("farther").source_sql(&sql).database(&database);
    case.run("migrate {source} {url}").exit(0);
    case.run("verify {source} {url} --schema-objects").exit(0);
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("UPDATE gone SET v = 'b'; UPDATE restarted SET v = 'b'").unwrap();
    case.run("migrate {source} {url} --refresh --yes").exit(0);
    let next = tables.map(|table| database.value(&format!("INSERT INTO {table}(v) VALUES ('new') RETURNING id")));
    assert_eq!(next, ["501", "900", "13", "1"]);
}

#[test]
fn what_a_given_schema_lacks_is_said_though_it_is_obeyed() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id bigint PRIMARY KEY, d text, e text DEFAULT 'other', g int, v text); CREATE VIEW tv AS SELECT id FROM t",
    );
    let case = Case::new("lacks")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, d TEXT DEFAULT 'x', e TEXT DEFAULT 'y', g INT AS (id * 2), v TEXT);
             CREATE INDEX exact ON t(v); CREATE INDEX inexact ON t(json_extract(v, '$.a') + 1);
             CREATE VIEW tv AS SELECT id FROM t; CREATE TRIGGER ti INSTEAD OF DELETE ON tv BEGIN DELETE FROM t WHERE id = OLD.id; END;
             INSERT INTO t(id) VALUES (1);",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    let severities: Vec<&str> = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|warning| warning["code"] == "object_not_in_target")
        .map(|warning| warning["severity"].as_str().unwrap())
        .collect();
    // What is there and gives something else is weaker, what is not there is lost.
    assert_eq!((severities.iter().filter(|severity| **severity == "loss").count(), severities.contains(&"weaker")), (5, true), "{report}");
    assert_eq!(report["outcome"], "incomplete");
    let lacking = losses(&report).join("\n").replace("\"object_not_in_target\" ", "").replace(" in the target's own schema", "");
    assert_eq!(
        lacking,
        r#""t.d" "has no default: there is none; in SQLite it is 'x'::text"
"t.e" "has no default that gives the same: it is 'other'::text, and in SQLite 'y'::text"
"t.exact" "has no index: none is on t USING btree (v)"
"t.g" "has no generated column: nothing computes it; in SQLite it is (id * 2)"
"t.id" "has no identity: no sequence fills the column, which is AUTOINCREMENT"
"t.inexact" "has no index: json_extract() may give a number here and a text there; PostgreSQL wants one type""#
    );
    case.run("migrate {source} {url} --existing truncate --strict").exit(1);
}

#[test]
fn a_given_schema_is_asked_for_every_check_default_and_trigger() {
    let database = Database::fresh();
    database.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TABLE t(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, k text, role text DEFAULT 'admin', n numeric DEFAULT 1.00,
            version text, at timestamptz DEFAULT now());
         CREATE TRIGGER tg AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();",
    );
    let case = Case::new("asked for")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT CHECK (k IS date(k)), role TEXT DEFAULT 'guest', n NUMERIC DEFAULT 1,
                version TEXT DEFAULT (sqlite_version()), at DATETIME DEFAULT CURRENT_TIMESTAMP);
             CREATE TRIGGER has AFTER INSERT ON t BEGIN SELECT 1; END; CREATE TRIGGER lacks AFTER DELETE ON t BEGIN SELECT 1; END;
             INSERT INTO t(id, k) VALUES (1, '2024-01-01');",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    let said = losses(&report);
    let of = |object: &str| said.iter().filter(|line| line.contains(&format!("\"{object}\""))).collect::<Vec<_>>();
    assert!(of("t.check 1")[0].contains("has no check in the target's own schema"), "{said:#?}");
    assert!(of("t.role")[0].contains("'admin'") && of("t.role")[0].contains("'guest'"), "{said:#?}");
    assert!(of("t.version")[0].contains("has no default"), "{said:#?}");
    assert!(of("t.lacks")[0].starts_with("\"trigger_missing\"") && of("t.lacks")[0].contains("AFTER DELETE"), "{said:#?}");
    assert_eq!(said.len(), 4, "{said:#?}");
    case.run("verify {source} {url} --schema-objects").exit(0);
    let rows_alone = case.run("migrate {source} {url} --existing truncate --data-only").exit(0);
    rows_alone.stdout_has("t.lacks has no trigger in the target's own schema");
    case.run("verify {source} {url} --schema-objects").exit(0);
}

#[test]
fn a_check_that_fails_at_a_row_is_kept_for_new_ones() {
    let database = Database::fresh();
    let case = Case::new("failing check")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT CHECK (json_valid(a)), k TEXT CHECK (k IS date(k))); PRAGMA ignore_check_constraints = 1;
             INSERT INTO t(id, a) VALUES (1, '{'), (2, '{}'); CREATE VIEW v AS SELECT a FROM t;",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "");
    let said = losses(&report).join("\n");
    assert!(said.contains("\"t.check 1\" \"is NOT VALID: 1 row breaks it"), "{said}");
    assert!(said.contains("\"check_missing\" \"t.check 2\""), "{said}");
    assert!(!plan["objects"].to_string().contains("(SELECT "), "{plan}");
    assert_eq!(database.rows("SELECT a FROM v ORDER BY 1"), ["{", "{}"]);
    assert_eq!(database.rows("SELECT convalidated FROM pg_constraint WHERE contype = 'c' AND conrelid = 't'::regclass"), ["f"]);
}

#[test]
fn generated_migrations_make_the_triggers_of_views_too() {
    let database = Database::fresh();
    let case = Case::new("generated")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE VIEW tv AS SELECT id, v FROM t; INSERT INTO t VALUES (1, 'a');
             CREATE TRIGGER ti INSTEAD OF INSERT ON tv BEGIN INSERT INTO t VALUES (NEW.id, NEW.v || '!'); END;",
        )
        .database(&database);
    case.run("schema generate {source} --out {dir}/files").exit(0);
    let (_, report) = foretold(&case, &database, "--migrations {dir}/files");
    assert_eq!(losses(&report), [""; 0], "{report}");
    database.execute("INSERT INTO tv VALUES (2, 'b')");
    assert_eq!(database.rows("SELECT v FROM t ORDER BY id"), ["a", "b!"]);
}

#[test]
fn keys_that_the_rows_will_not_let_be_are_foretold() {
    let database = Database::fresh();
    let case = Case::new("keys that fail")
        .source_sql(
            "CREATE TABLE u(a UNIQUE, b); INSERT INTO u VALUES (1, 'x'), ('1', 'y'), (x'31', 'z');
             CREATE TABLE p(k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO p VALUES (1, 'x'), ('1', 'y');
             CREATE TABLE i(x, y, z UNIQUE); INSERT INTO i VALUES (1, 1, 1), ('1', 2, 2); CREATE UNIQUE INDEX ix ON i(x, y);
             CREATE TABLE long(t TEXT, n INTEGER, UNIQUE (t, n)); INSERT INTO long VALUES (hex(randomblob(5000)), 1);
             CREATE TABLE fits(t TEXT, n INTEGER, UNIQUE (t, n)); INSERT INTO fits VALUES (hex(zeroblob(5000)), 1);",
        )
        .database(&database);
    let (plan, _) = foretold(&case, &database, "");
    let lost: Vec<&str> = plan["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|warning| warning["severity"] == "loss")
        .map(|w| w["code"].as_str().unwrap())
        .collect();
    assert_eq!(lost, ["values_merged", "values_merged", "values_merged", "unique_missing", "primary_key_missing", "unique_missing"]);
}

#[test]
fn the_foreign_key_of_a_partitioned_table_comes_back_and_its_triggers_fire_again() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE p (id bigint PRIMARY KEY);
         CREATE TABLE c (id bigint PRIMARY KEY, p_id bigint CONSTRAINT c_p REFERENCES p) PARTITION BY RANGE (id);
         CREATE TABLE c_1 PARTITION OF c FOR VALUES FROM (0) TO (100);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER p_t BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION f();",
    );
    let sql = "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1); CREATE TABLE c (id INTEGER PRIMARY KEY, p_id INTEGER);";
    let state = "SELECT (SELECT count(*) FROM pg_constraint WHERE conname = 'c_p' AND convalidated AND conparentid = 0), (SELECT tgenabled FROM pg_trigger WHERE tgname = 'p_t')";
    let case = Case::new("partitioned").source_sql(&format!("{sql} INSERT INTO c VALUES (1, 1);")).database(&database);
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    let lacking: Vec<String> = losses(&report).into_iter().filter(|loss| loss.contains("c.")).collect();
    assert_eq!(lacking, ["\"object_not_in_target\" \"c.id\" \"has no identity in the target's own schema: no sequence fills the column\""]);
    assert_eq!(database.rows(state), ["1|O"]);
    // With a row that has no parent it cannot be: then each partition has it, and new rows obey it.
    database.execute("TRUNCATE p, c");
    let case = Case::new("partitioned orphan").source_sql(&format!("{sql} INSERT INTO c VALUES (1, 7);")).database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert!(losses(&report).iter().any(|loss| loss.contains("c.c_p\" \"is NOT VALID: 1 row has no parent (id 1 → 7)")), "{report:#}");
    assert_eq!(database.rows(state), ["0|O"]);
    assert_eq!(database.rows("SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'c_p'"), ["c_1|f"]);
    database.try_execute("INSERT INTO c VALUES (2, 8)").unwrap_err();
}

#[test]
fn what_a_given_table_lacks_is_said_as_it_is_and_its_ids_go_on_after_its_rows() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text, g text)");
    let case = Case::new("no trigger")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, g TEXT GENERATED ALWAYS AS (json_extract(v, '$.a') + 1)); INSERT INTO t VALUES (3, '{}'), (5000000000, '{}');
             CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET v = '{}' WHERE id = NEW.id; END;",
        )
        .database(&database);
    let run = case.run("migrate {source} {url}").exit(1);
    run.stdout_has("LOSS    t.tr is not made: ").stdout_has("it has no trigger").stdout_has("t.g has no generated column");
    database.execute("INSERT INTO t (v) VALUES ('next')");
    assert_eq!(database.rows("SELECT id FROM t ORDER BY id"), ["3", "4"]);
}
