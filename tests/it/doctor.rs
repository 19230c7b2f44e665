//! `candlefish doctor`: what is wrong is found with its remedy, what is right is not, and CI gets its exit code.

use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Server, machine, versions};
use crate::stats::{session, session_at, until};
use crate::support::{Case, Database, addresses, query};

pub fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap_or_else(|| panic!("no checks in {document:#}"));
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

#[test]
fn a_stack_of_ours_is_in_order() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY)");
    let case =
        Case::new("in order").database(&database).env("POOLER_URL", &database.pooler_url()).env("REDIS_URL", &addresses().redis_url());
    let document = case.run("doctor --json -d {url}").exit(0).json();
    assert_eq!(document["checks"].as_array().unwrap().len(), 24);
    for name in
        ["server-version", "tls", "pool-sums", "pgbouncer-mode", "invalid-indexes", "indexes", "autovacuum", "wraparound", "redis-policy"]
    {
        assert_eq!(check(&document, name)["verdict"], "ok", "{:#}", check(&document, name));
    }
    // The other tests share the server, and may have crowded out each other's statements.
    let statements = check(&document, "pg-stat-statements");
    assert!(["ok", "warning"].contains(&statements["verdict"].as_str().unwrap()));
    assert!(
        !statements["why"].as_str().unwrap().contains("on average"),
        "a server without slow statements is not at fault: {statements:#}"
    );
    case.run("doctor --ignore tls -d {url}").exit(0).stdout_has("server-version").stderr_has("23 checks");
    // Settings as they are written in the files of those who have them.
    let memory = check(&document, "memory-settings")["value"].as_str().unwrap().to_string();
    assert!(memory.starts_with("shared_buffers = ") && memory.contains("MB, work_mem = "), "{memory}");
    assert!(check(&document, "redis-policy")["value"].as_str().unwrap().contains(", maxmemory = "));
    case.run("doctor --ignore nonsense -d {url}").exit(2);
    case.run("doctor -d postgresql://x@127.0.0.1:1/x").exit(2).stderr_has("cannot be reached");
    case.run("doctor --redis redis://127.0.0.1:1 -d {url}").exit(1).stdout_has("unreachable");
    // What nobody named was not looked at.
    let alone = Case::new("alone").database(&database).run("doctor --json -d {url}").exit(0).json();
    for name in ["pool-sums", "pgbouncer-mode", "pgbouncer-version", "pgbouncer-waiting", "redis-policy"] {
        assert!(check(&alone, name)["verdict"] == "unknown" && check(&alone, name)["remedy"].is_null(), "{alone:#}");
    }
    // What goes with another server is no part of this one.
    let other = Case::new("other").database(&database).env("DATABASE_URL", "postgresql://x@127.0.0.1:1/x");
    let other = other.env("POOLER_URL", "postgresql://x@127.0.0.1:2/x").env("REDIS_URL", "redis://127.0.0.1:3");
    let elsewhere = other.run("doctor --json -d {url}").exit(0);
    for (name, flag) in [("POOLER_URL", "--pooler"), ("REDIS_URL", "--redis")] {
        let said =
            format!("{name} is not looked at: it goes with the server of DATABASE_URL, and --to names another ({flag} names its own)");
        assert!(elsewhere.stderr.contains(&said), "{elsewhere}");
    }
    for (name, flag) in [("pool-sums", "--pooler"), ("pgbouncer-mode", "--pooler"), ("redis-policy", "--redis")] {
        let found = check(&elsewhere.json(), name).clone();
        assert!(found["verdict"] == "unknown" && found["why"].as_str().unwrap().contains(flag), "{found:#}");
    }
    other.run("stats pools cache -d {url}").exit(0).stderr_has("REDIS_URL is not looked at").stderr_has("no pooler is named");
    other.run("doctor --pooler {pooler} --redis {redis} -d {url}").exit(0).stdout_has("maxmemory");
    // A pooler that was named and is dead is no pass, and no matter of privileges.
    let dead = case.run("doctor --pooler postgresql://x@127.0.0.1:1/x --json -d {url}").exit(1).json();
    for name in ["pgbouncer-mode", "pgbouncer-version", "pgbouncer-waiting", "pool-sums"] {
        let found = check(&dead, name);
        assert!(found["verdict"] == "error" && found["remedy"].as_str().unwrap().contains("is the server running"), "{found:#}");
        assert!(found["why"].as_str().unwrap().contains("PgBouncer cannot be reached"), "{found:#}");
    }
}

/// A statistic that had no time is no empty one, and neither are tables that it had to leave alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_looked_at_is_unknown_and_never_ok() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE held (id int PRIMARY KEY)");
    let case = Case::new("no time").database(&database);
    // Looking is next to no traffic: a run is a transaction, not one a question.
    let commits = || {
        let counted = database.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()");
        counted[0].parse::<i64>().unwrap()
    };
    let before = commits();
    for line in ["doctor -d {url}", "stats all -d {url}", "doctor -d {url}", "stats all -d {url}"] {
        case.run(line).exit(0);
    }
    let cost = commits() - before;
    assert!(cost < 40, "{cost} transactions");
    let verdicts = |document: Value| ["invalid-indexes", "indexes", "pg-stat-statements"].map(|name| check(&document, name).clone());
    let holder = session(&database).await;
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let [invalid, indexes, _] = verdicts(case.run("doctor --json -d {url}").exit(0).json());
    for found in [invalid, indexes] {
        assert!(found["verdict"] == "unknown" && found["why"].as_str().unwrap().contains("public.held is locked"), "{found:#}");
    }
    // What is found beside it is no whole count either, and of what may be without statistics nobody knows whether it is.
    database.execute(
        "CREATE TABLE twice (a int); CREATE INDEX twice_a ON twice (a); CREATE INDEX twice_b ON twice (a); \
         CREATE TABLE filled WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 30000) AS i",
    );
    let found = |name: &str| check(&case.run("doctor --json -d {url}").exit(0).json(), name).clone();
    let partly = found("indexes");
    assert_eq!(
        (&partly["verdict"], &partly["value"]),
        (&"warning".into(), &"1 duplicate, 0 redundant, 0 missing; 1 table not looked at".into())
    );
    assert!(partly["why"].as_str().unwrap().ends_with("; public.held is locked exclusively, and not looked at"), "{partly:#}");
    assert_eq!(found("planner-statistics")["value"], "public.filled; 1 table not looked at");
    database.execute("ANALYZE filled");
    assert_eq!(found("planner-statistics")["verdict"], "unknown");
    // What every question about indexes, or about statements, has to read.
    holder.batch_execute("COMMIT; BEGIN; LOCK TABLE pg_constraint, pg_stat_statements IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for found in verdicts(case.run("doctor --json -d {url}").exit(0).json()) {
        assert!(found["verdict"] == "unknown" && found["why"].as_str().unwrap().contains("lock timeout"), "{found:#}");
    }
}

#[test]
fn each_sin_is_found_with_its_remedy() {
    let server = Server::start(
        &machine(),
        &[
            "max_prepared_transactions = 1",
            "fsync = on",
            "autovacuum = off",
            "password_encryption = 'md5'",
            "synchronous_commit = off",
            "track_io_timing = off",
            "shared_buffers = '1MB'",
        ],
    );
    server.rows(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id smallserial PRIMARY KEY, parent_id int REFERENCES parent, note text); \
         CREATE INDEX twice_a ON child (note); CREATE INDEX twice_b ON child (note); SELECT setval('child_id_seq', 32760); \
         INSERT INTO parent SELECT i FROM generate_series(1, 5000) i; CREATE ROLE old LOGIN PASSWORD 'x'; CREATE ROLE nobody LOGIN; \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'twice_b'::regclass",
    );
    let case = Case::new("sins");
    let url = server.url();
    // A prepared transaction locks like any other, though it is no process.
    server.rows("BEGIN; LOCK TABLE child IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'left behind'");
    let document = case.run_args(["doctor", "--json", "-d", &url]).json();
    assert!(check(&document, "indexes")["why"].as_str().unwrap().contains("public.child is locked"), "{:#}", check(&document, "indexes"));
    let tables = case.run_args(["stats", "tables", "indexes", "--json", "-d", &url]).exit(0).stdout;
    assert_eq!(tables.matches("skipped public.child: a prepared transaction locks it exclusively").count(), 2, "{tables}");
    server.rows("ROLLBACK PREPARED 'left behind'");
    let document = case.run_args(["doctor", "--json", "-d", &url]).exit(1).json();
    for (name, verdict, word) in [
        ("durability", "warning", "synchronous_commit"),
        ("autovacuum", "error", "ALTER SYSTEM SET autovacuum"),
        ("invalid-indexes", "error", "REINDEX INDEX CONCURRENTLY public.twice_b"),
        ("indexes", "warning", "CREATE INDEX CONCURRENTLY ON public.child (parent_id)"),
        ("sequences", "error", "bigint"),
        ("passwords", "warning", "scram-sha-256"),
        ("pg-stat-statements", "warning", "CREATE EXTENSION"),
        ("idle-in-transaction-timeout", "warning", "5min"),
        ("io-timing", "warning", "track_io_timing"),
        ("planner-statistics", "warning", "ANALYZE"),
    ] {
        let found = check(&document, name);
        assert!(found["verdict"] == verdict && found["remedy"].as_str().unwrap().contains(word), "{found:#}");
    }
    let memory = check(&document, "memory-settings");
    let why = "shared_buffers is below its default of 128MB, and the database is several times as large";
    assert_eq!((&memory["verdict"], &memory["why"]), (&"warning".into(), &why.into()), "{memory:#}");
    // There are numbers yet.
    assert_eq!(check(&document, "sequences")["value"], "public.child_id_seq: 99.9 % used");
    // Most of the remedies are statements, and work.
    server.rows("REINDEX INDEX twice_b");
    server.rows("DROP INDEX twice_b; CREATE INDEX ON child (parent_id); ANALYZE");
    server.rows(check(&document, "sequences")["remedy"].as_str().unwrap());
    // One that ends before its type does, and one that no type takes further.
    server.rows("CREATE SEQUENCE \"e nd\" MAXVALUE 100; SELECT setval('\"e nd\"', 95); CREATE SEQUENCE last; SELECT setval('last', 9000000000000000000)");
    let found = || check(&case.run_args(["doctor", "--json", "-d", &url]).json(), "sequences").clone();
    // Each of them is named, and each has its line.
    let both = found();
    assert_eq!((&both["verdict"], &both["value"]), (&"error".into(), &"public.last: 97.6 % used, public.\"e nd\": 95.0 % used".into()));
    let remedies: Vec<String> = both["remedy"].as_str().unwrap().lines().map(str::to_string).collect();
    assert!(remedies.len() == 2 && remedies[0].starts_with("ALTER SEQUENCE public.last RESTART; -- "), "{remedies:?}");
    assert_eq!(remedies[1], "ALTER SEQUENCE public.\"e nd\" AS bigint NO MAXVALUE;");
    for remedy in &remedies {
        server.rows(remedy);
    }
    assert_eq!(found()["verdict"], "ok", "{:#}", found());
    server.restart(&["fsync = on", "idle_in_transaction_session_timeout = '5min'", "track_io_timing = on"]);
    let document = case.run_args(["doctor", "--json", "--ignore", "passwords", "-d", &url]).exit(0).json();
    for name in [
        "durability",
        "autovacuum",
        "invalid-indexes",
        "indexes",
        "sequences",
        "idle-in-transaction-timeout",
        "io-timing",
        "planner-statistics",
    ] {
        assert_eq!(check(&document, name)["verdict"], "ok", "{:#}", check(&document, name));
    }
    // The extension is still missing: no error, but a warning.
    case.run_args(["doctor", "--fail-on", "warning", "-d", &url]).exit(1).stdout_has("CREATE EXTENSION pg_stat_statements");
    // A user who sees little is told so, and no check falls over.
    let document = case.run_args(["doctor", "--json", "-d", &server.url_as("nobody")]).json();
    assert_eq!(document["checks"].as_array().unwrap().len(), 24, "{document:#}");
    for (name, remedy) in [
        ("sequences", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO nobody;"),
        ("pending-restart", "GRANT pg_monitor TO nobody"),
        ("passwords", "pg_authid"),
    ] {
        let found = check(&document, name);
        assert!(found["verdict"] == "unknown" && found["remedy"].as_str().unwrap().contains(remedy), "{found:#}");
    }
}

/// A right to a sequence is enough to see how far it is; a right to its schema is none that would be missed.
#[test]
fn sequences_in_schemas_of_others_hide_none_of_the_rest() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        server.rows(
            "CREATE ROLE sees LOGIN; CREATE SCHEMA closed; CREATE TABLE closed.t (id serial, n serial); CREATE TABLE t (id smallserial)",
        );
        server.rows("SELECT nextval('closed.t_id_seq'), setval('t_id_seq', 31000)");
        server.rows("GRANT SELECT ON SEQUENCE closed.t_id_seq, t_id_seq TO sees");
        let sequences = || {
            let document = Case::new("sequences").run_args(["doctor", "--json", "-d", &server.url_as("sees")]).json();
            check(&document, "sequences").clone()
        };
        let found = sequences();
        assert_eq!((&found["verdict"], &found["value"]), (&"error".into(), &"public.t_id_seq: 94.6 % used".into()), "{version}: {found:#}");
        assert!(found["why"].as_str().unwrap().ends_with("hidden from this user: closed.t_n_seq"), "{version}: {found:#}");
        // What is proposed is what is missing.
        server.rows("ALTER SEQUENCE t_id_seq RESTART; SELECT nextval('t_id_seq')");
        let remedy = sequences()["remedy"].as_str().unwrap().to_string();
        server.rows(&remedy);
        assert_eq!(sequences()["verdict"], "ok", "{version}: {remedy}");
    }
}

/// What is kept for somebody who does not come back, and what postgresql.conf itself says.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_nobody_is_found_and_let_go() {
    let server = Server::start(&machine(), &["max_prepared_transactions = 4", "full_page_writes = off", "max_replication_slots = 4"]);
    let case = Case::new("kept");
    let url = server.url();
    server.rows("SELECT pg_create_physical_replication_slot('idle', true)");
    // Some segments of WAL, which is no longer little.
    for _ in 0..5 {
        server.rows("SELECT pg_logical_emit_message(false, 'some', 'WAL'); SELECT pg_switch_wal()");
    }
    server.rows("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    for (gid, row) in [("it''s\\r1", 1), ("second", 2), ("reads", 0)] {
        server.rows(&format!("BEGIN; SELECT FROM t WHERE false; UPDATE t SET id = id WHERE id = {row}; PREPARE TRANSACTION E'{gid}'"));
    }
    let document = case.run_args(["doctor", "--json", "-d", &url]).exit(1).json();
    let durability = check(&document, "durability");
    let remedy = durability["remedy"].as_str().unwrap();
    assert_eq!(remedy, "ALTER SYSTEM SET fsync = on;\nALTER SYSTEM SET full_page_writes = on;\nSELECT pg_reload_conf();");
    let slots = check(&document, "replication-slots");
    assert!(slots["verdict"] == "warning" && slots["value"].as_str().unwrap().starts_with("idle: the first keeps "), "{slots:#}");
    assert!(slots["remedy"].as_str().unwrap().contains("\nSELECT pg_drop_replication_slot('idle');\n"), "{slots:#}");
    let prepared = check(&document, "prepared-transactions");
    assert!(prepared["verdict"] == "ok" && prepared["value"] == "3", "{prepared:#}");
    for statement in remedy.lines() {
        server.rows(statement);
    }

    // Each that somebody waits for is a root of its own.
    let mut waiters = Vec::new();
    for row in [1, 2] {
        let waiter = session_at(&url).await;
        waiters.push(tokio::spawn(async move { waiter.batch_execute(&format!("DELETE FROM t WHERE id = {row}")).await }));
    }
    let watcher = session_at(&url).await;
    until(&watcher, "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted").await;
    let locks = case.run_args(["stats", "locks", "--json", "-d", &url]).exit(0).json();
    let rows = locks["rows"].as_array().unwrap();
    let mut roots: Vec<_> =
        rows.iter().filter(|row| row["depth"] == 0).map(|row| (row["gid"].as_str().unwrap(), row["blocks"].as_i64().unwrap())).collect();
    roots.sort_unstable();
    assert_eq!((rows.len(), roots), (4, vec![("it's\r1", 1), ("second", 1)]), "{locks:#}");
    let root = rows.iter().find(|row| row["gid"] == "it's\r1").unwrap();
    assert!(root["user"] == "candlefish" && root["state_seconds"].is_number() && root["state"] == "prepared transaction", "{root:#}");
    let remedy = "COMMIT PREPARED E'it''s\\u000D1' or ROLLBACK PREPARED E'it''s\\u000D1' -- ask the coordinator first; in database postgres as candlefish or a superuser";
    assert_eq!(root["remedy"], remedy);
    for gid in ["it''s\\u000D1", "second", "reads"] {
        server.rows(&format!("ROLLBACK PREPARED E'{gid}'"));
    }
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    server.rows("SELECT pg_drop_replication_slot('idle')");
    let document = case.run_args(["doctor", "--json", "-d", &url]).json();
    for name in ["replication-slots", "prepared-transactions", "durability"] {
        assert_eq!(check(&document, name)["verdict"], "ok", "{document:#}");
    }
}

/// An index that not every partition has waits for them: no build of it has failed, and none is missing beside it.
#[test]
fn indexes_of_partitioned_tables_are_told_as_what_they_are() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE parts (a int REFERENCES one) PARTITION BY RANGE (a); \
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
    );
    let case = Case::new("partitioned").database(&database);
    let found = |name: &str| check(&case.run("doctor --json -d {url}").json(), name).clone();
    let missing = case.run("stats indexes --json -d {url}").exit(0).json()["rows"].clone();
    assert!(
        missing[0]["ddl"] == "CREATE INDEX ON public.parts (a)" && missing[0]["reason"].as_str().unwrap().contains("blocks writes"),
        "{missing:#}"
    );
    assert!(found("indexes")["remedy"].as_str().unwrap().starts_with("-- it blocks writes until it is done\nCREATE INDEX ON public.parts"));
    database.execute("CREATE INDEX parts_a ON ONLY parts (a)");
    let waits = found("invalid-indexes");
    assert!(waits["verdict"] == "warning" && waits["why"].as_str().unwrap().contains("ATTACH"), "{waits:#}");
    assert_eq!(found("indexes")["verdict"], "ok");
    database.execute("CREATE TABLE twice AS SELECT 1 AS id FROM generate_series(1, 2)");
    database.try_execute("CREATE UNIQUE INDEX CONCURRENTLY twice_id ON twice (id)").unwrap_err();
    let failed = found("invalid-indexes");
    assert!(
        failed["verdict"] == "error" && failed["remedy"].as_str().unwrap().starts_with("-- it is UNIQUE: there may be duplicates"),
        "{failed:#}"
    );
}

/// What serves a foreign key finds the rows of one key; and an index whose build has failed is one finding, not two.
#[test]
fn only_what_finds_the_rows_of_a_key_serves_it() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE words (word text PRIMARY KEY); \
         CREATE TABLE ranges (a int REFERENCES one); CREATE INDEX ON ranges USING brin (a); \
         CREATE TABLE hashed (a int REFERENCES one); CREATE INDEX ON hashed USING hash (a); \
         CREATE TABLE wider (a bigint REFERENCES one); CREATE INDEX ON wider (a); \
         CREATE TABLE patterns (a varchar(9) REFERENCES words); CREATE INDEX ON patterns (a varchar_pattern_ops); \
         CREATE TABLE failed (a int REFERENCES one); CREATE INDEX failed_a ON failed (a); \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'failed_a'::regclass",
    );
    let case = Case::new("serves").database(&database);
    let found = case.run("stats indexes --json -d {url}").exit(0).json()["rows"].clone();
    let shown: Vec<_> = found.as_array().unwrap().iter().map(|row| ["finding", "table", "cause"].map(|name| &row[name])).collect();
    let (invalid, missing) = (["invalid", "public.failed", "build_failed"], ["missing", "public.ranges", "foreign_key"]);
    assert_eq!(shown, [invalid, missing], "{found:#}");
    assert_eq!(found[0]["ddl"], "REINDEX INDEX CONCURRENTLY public.failed_a");
    case.run("stats indexes -d {url}").exit(0).stdout_has("public.failed_a");
}

/// A period is not found by equality: an index on the rest of a temporal key serves it.
#[test]
fn a_temporal_key_is_served_by_what_is_no_period() {
    for (version, bin) in versions().iter().filter(|(version, _)| version.parse::<u32>().unwrap() >= 18) {
        let server = Server::start(bin, &[]);
        server.rows(
            "CREATE TABLE one (id int4range, during daterange, PRIMARY KEY (id, during WITHOUT OVERLAPS)); \
             CREATE TABLE many (id int4range, during daterange, FOREIGN KEY (id, PERIOD during) REFERENCES one (id, PERIOD during))",
        );
        let case = Case::new("temporal");
        let found = || case.run_args(["stats", "indexes", "--json", "-d", &server.url()]).exit(0).json()["rows"].clone();
        assert_eq!(found()[0]["ddl"], "CREATE INDEX CONCURRENTLY ON public.many (id)", "{version}");
        server.rows(found()[0]["ddl"].as_str().unwrap());
        assert_eq!(found(), serde_json::json!([]), "{version}");
    }
}

/// Of tables that were just made the planner knows next to nothing, and is not to compare each index with each for that.
#[test]
fn indexes_are_compared_with_those_of_their_table() {
    let database = Database::fresh();
    for part in 0..3 {
        let tables: String =
            (0..100).map(|at| format!("CREATE TABLE t{part}_{at} (a int PRIMARY KEY, b int); CREATE INDEX ON t{part}_{at} (b);")).collect();
        database.execute(&tables);
    }
    let question = include_str!("../../src/stats/queries/indexes.sql").replace("$1", "1").replace("$2", "true");
    let plan = database.rows(&format!("EXPLAIN {question}"));
    let of_redundant: Vec<&String> = plan
        .iter()
        .skip_while(|line| !line.contains("CTE redundant"))
        .take_while(|line| !line.contains("CTE foreign_keys") && !line.contains("CTE served"))
        .collect();
    assert!(of_redundant.len() > 5 && !of_redundant.iter().any(|line| line.contains("Nested Loop")), "{of_redundant:#?}");
}

/// Who ends in order takes its pid file with it, and is missed like one that has died; who was never brought up, or was taken down with the stack, is not.
#[test]
fn what_was_stopped_in_order_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("stopped").home(folder.path().join("home"));
    let is_not_named = || {
        let document = case.run("doctor --json").exit(0).json();
        for name in ["redis-policy", "pgbouncer-mode"] {
            let found = check(&document, name);
            assert!(found["verdict"] == "unknown" && found["why"].as_str().unwrap().contains(" is named ("), "{found:#}");
        }
        case.run("stats pools").exit(0).stderr_has("no pooler is named");
        let watch = case.run("monitor --once --ignore-for --json").json();
        for name in ["instances", "pgbouncer"] {
            let source = watch["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap();
            assert!(source["state"] == "absent" && source["reason"].as_str().unwrap().ends_with(" is named"), "{source:#}");
        }
    };
    case.run("stack up --only postgres").exit(0);
    is_not_named();
    case.run("stack up").exit(0);
    let status = case.run("stack status --json").exit(0).json();
    for server in status["servers"].as_array().unwrap().iter().filter(|server| server["name"] != "postgres") {
        assert!(Command::new("kill").args(["-TERM", &server["pid"].to_string()]).status().unwrap().success());
    }
    let is_up = |name: &str| {
        let status = case.run("stack status --json").exit(1).json();
        status["servers"].as_array().unwrap().iter().any(|server| server["name"] == name && !server["pid"].is_null())
    };
    while is_up("redis") || is_up("pgbouncer") {}
    let document = case.run("doctor --json").exit(1).json();
    for name in ["redis-policy", "pgbouncer-mode", "pgbouncer-version", "pgbouncer-waiting", "pool-sums"] {
        let found = check(&document, name);
        assert!(found["verdict"] == "error" && found["value"] == "unreachable", "{found:#}");
        assert!(found["remedy"].as_str().unwrap().contains("`candlefish stack up`"), "{found:#}");
    }
    case.run("stats pools").exit(1).stderr_has("PgBouncer cannot be reached").stderr_has("`candlefish stack up`");
    case.run("stats cache").exit(1).stderr_has("Connection refused").stderr_has("`candlefish stack up`");
    let watch = case.run("monitor --once --ignore-for --json").exit(1).json();
    for name in ["instances", "pgbouncer"] {
        let source = watch["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap();
        assert!(source["state"] == "failed" && source["reason"].as_str().unwrap().contains("`candlefish stack up`"), "{source:#}");
    }
    case.run("monitor --once --ignore-for --nagios").exit(2).stdout_has("CRITICAL - source_unreadable");
    // The address of another server is not this stack's, whoever names it.
    let url = case.run("stack env").exit(0).stdout.lines().find_map(|line| line.strip_prefix("export DATABASE_URL=").map(str::to_string));
    let line = format!("stats pools -d {}", url.unwrap().trim_matches('\''));
    case.run(&line).exit(0).stderr_has("no pooler is named");
    case.run("--quiet stack down").exit(0);
    case.run("--quiet stack up --only postgres").exit(0);
    is_not_named();
    case.run("--quiet stack down --destroy --yes").exit(0);
}

/// A server of the stack that has died is missed.
#[test]
fn what_has_died_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("died").home(folder.path().join("home"));
    case.run("stack up").exit(0);
    let status = case.run("stack status --json").exit(0).json();
    let signal = |signal: &str, pid: &str| assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    let send = |sent: &str, names: &[&str]| {
        for name in names {
            let server = status["servers"].as_array().unwrap().iter().find(|server| server["name"] == *name).unwrap();
            signal(sent, &server["pid"].to_string());
        }
    };
    // Who hangs is waited for, and not for long, and said.
    let run_in = |seconds: u64, line: &str, code: i32, words: &[&str]| {
        let began = Instant::now();
        let output = case.run(line).exit(code);
        assert!(began.elapsed().as_secs() < seconds, "{:?}: {output}", began.elapsed());
        words.iter().for_each(|word| assert!(format!("{}{}", output.stdout, output.stderr).contains(word), "no {word}: {output}"));
    };
    let environment = case.run("stack env").exit(0).stdout;
    let of = |name: &str| {
        let export = format!("export {name}=");
        environment.lines().find_map(|line| line.strip_prefix(&export)).unwrap().trim_matches('\'')
    };
    let url = of("DATABASE_URL");
    // Its session hangs, then its server: a watch goes on when both are back.
    let mut watch = case.command().args(["stats", "io", "--watch", "200ms", "--json"]).spawn().unwrap();
    let mut samples = BufReader::new(watch.stdout.take().unwrap()).lines();
    samples.next().unwrap().unwrap();
    let session = query(url, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'candlefish stats%'").unwrap().remove(0);
    signal("-STOP", &session);
    send("-STOP", &["postgres"]);
    std::thread::scope(|scope| {
        scope.spawn(|| run_in(8, "stats", 2, &["that of the local stack in", "does not answer"]));
        scope.spawn(|| run_in(8, "doctor", 2, &["does not answer"]));
        scope.spawn(|| run_in(10, &format!("stats all -d {url}"), 2, &["PostgreSQL cannot be reached", "no answer within 5s"]));
        scope.spawn(|| run_in(10, &format!("doctor -d {url}"), 2, &["no answer within 5s"]));
        let failed = ["source pg_stat_database is failed: PostgreSQL cannot be reached", "no answer within 5s"];
        scope.spawn(move || run_in(12, &format!("monitor --once --interval 1s --ignore-for -d {url}"), 1, &failed));
    });
    send("-CONT", &["postgres"]);
    let mut said = BufReader::new(watch.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("PostgreSQL has not answered within 8 s; connecting again")));
    assert!(said.any(|line| line.contains("connected again")) && samples.nth(8).is_some());
    watch.kill().and_then(|()| watch.wait()).unwrap();
    signal("-CONT", &session);
    send("-STOP", &["redis", "pgbouncer"]);
    std::thread::scope(|scope| {
        // Nobody keeps a transaction open meanwhile.
        let (mut seen, until) = (0, Instant::now() + Duration::from_secs(4));
        scope.spawn(move || {
            while Instant::now() < until {
                let of_ours = "FROM pg_stat_activity WHERE application_name ~ '^candlefish (doctor|stats), '";
                let waits = "count(*) FILTER (WHERE state ~ '^idle in' AND state_change < clock_timestamp() - interval '1 second')";
                let found = query(url, &format!("SELECT count(*), {waits} {of_ours}")).unwrap();
                let (sessions, waiting) = found[0].split_once('|').unwrap();
                assert_eq!(waiting, "0", "{found:?}");
                seen = seen.max(sessions.parse::<u32>().unwrap());
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(seen > 0, "none of them was seen");
        });
        let failed = ["source pgbouncer is failed: PgBouncer did not answer within", "source instances is failed"];
        scope.spawn(move || run_in(8, "monitor --once --ignore-for", 1, &failed));
        scope.spawn(|| run_in(8, "doctor", 1, &["PgBouncer cannot be reached", "no answer within 5s", "connect to Redis: timed out"]));
        scope.spawn(|| run_in(8, "stats pools", 1, &["pools is unavailable", "no answer within 5s"]));
        scope.spawn(|| run_in(10, "stats all", 1, &["pools is unavailable", "no answer within 5s", "cache is unavailable"]));
    });
    // And who does answer is heard while PostgreSQL does not: its pools and caches are what one asks for then.
    send("-CONT", &["redis", "pgbouncer"]);
    send("-STOP", &["postgres"]);
    let seen = case.run(&format!("stats all --json -d {url} --pooler {} --redis {}", of("POOLER_URL"), of("REDIS_URL"))).exit(1).json();
    for sheet in seen["stats"].as_array().unwrap() {
        let is_around = ["pools", "cache"].contains(&sheet["stat"].as_str().unwrap());
        assert!(sheet["available"] == is_around && sheet["server_version"].is_null(), "{sheet:#}");
        assert!(sheet["notes"].to_string().contains("PostgreSQL cannot be reached"), "{sheet:#}");
    }
    let pools = case.run(&format!("stats pools cache -d {url} --pooler {} --redis {}", of("POOLER_URL"), of("REDIS_URL"))).exit(0);
    assert!(pools.stderr.contains("PostgreSQL does not answer, and this is what others say"), "{pools}");
    let over = case.run(&format!("stats cache --over 100ms --json -d {url} --redis {}", of("REDIS_URL"))).exit(0).json();
    assert!(over["available"] == true && over["server_version"].is_null(), "{over:#}");
    // A watch as well, from the start on.
    let line = format!("stats pools activity --watch 200ms --count 1 --json -d {url} --pooler {}", of("POOLER_URL"));
    let watched = case.run(&line).exit(1);
    let sheets = watched.json()["stats"].as_array().unwrap().iter().map(|sheet| sheet["available"].clone()).collect::<Vec<_>>();
    assert!(sheets.contains(&true.into()) && sheets.contains(&false.into()) && watched.stderr.contains("connecting again"), "{watched}");
    send("-CONT", &["postgres"]);
    send("-KILL", &["redis", "pgbouncer"]);
    let document = case.run("doctor --json").exit(1).json();
    for name in ["redis-policy", "pgbouncer-mode"] {
        let found = check(&document, name);
        assert!(found["verdict"] == "error" && found["remedy"].as_str().unwrap().contains("`candlefish stack up`"), "{found:#}");
    }
    case.run("stats cache").exit(1).stderr_has("Connection refused").stderr_has("`candlefish stack up`");
    case.run("stats pools").exit(1).stderr_has("PgBouncer cannot be reached").stderr_has("`candlefish stack up`");
    let watch = case.run("monitor --once --ignore-for --json").exit(1).json();
    let sources = watch["sources"].as_array().unwrap();
    for name in ["instances", "pgbouncer"] {
        let source = sources.iter().find(|source| source["name"] == name).unwrap();
        assert!(source["state"] == "failed" && source["reason"].as_str().unwrap().contains("`candlefish stack up`"), "{source:#}");
    }
    // Nobody who counts something else answers for them, in the alert or in the KPI.
    assert_eq!(watch["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "unknown").count(), 4, "{watch:#}");
    assert!(watch["kpis"].as_array().unwrap().iter().all(|kpi| kpi["met"].is_null()), "{watch:#}");
    // PostgreSQL itself: that the stack's has died is what a watch is there to tell.
    send("-KILL", &["postgres"]);
    let watch = case.run("monitor --once --ignore-for --json").exit(1).json();
    let is_it = |alert: &&Value| alert["name"] == "source_unreadable" && alert["source"] == "pg_stat_database";
    let told = watch["alerts"].as_array().unwrap().iter().find(is_it).unwrap();
    assert!(told["state"] == "firing" && told["reason"].as_str().unwrap().contains("`candlefish stack up`"), "{told:#}");
    case.run("--quiet stack up").exit(0);
    case.run("--quiet stack down").exit(0);
    case.run("doctor").exit(2).stderr_has("the local stack in").stderr_has("is not up");
    case.run("--quiet stack down --destroy --yes").exit(0);
}
