//! `candlefish doctor`: what is wrong is found with its remedy, what is right is not, and CI gets its exit code.

use serde_json::Value;

use crate::server::{Server, machine};
use crate::stats::session;
use crate::support::{Case, Database, addresses};

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
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
    assert_eq!(document["checks"].as_array().unwrap().len(), 21);
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
    case.run("doctor --ignore tls -d {url}").exit(0).stdout_has("server-version").stderr_has("20 checks");
    case.run("doctor --ignore nonsense -d {url}").exit(2);
    case.run("doctor -d postgresql://x@127.0.0.1:1/x").exit(2).stderr_has("cannot be reached");
    case.run("doctor --redis redis://127.0.0.1:1 -d {url}").exit(1).stdout_has("unreachable");
    // What nobody named was not looked at.
    let alone = Case::new("alone").database(&database).run("doctor --json -d {url}").exit(0).json();
    for name in ["pool-sums", "pgbouncer-mode", "pgbouncer-version", "pgbouncer-waiting", "redis-policy"] {
        assert!(check(&alone, name)["verdict"] == "unknown" && check(&alone, name)["remedy"].is_null(), "{alone:#}");
    }
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
    let verdicts = |document: Value| ["invalid-indexes", "indexes", "pg-stat-statements"].map(|name| check(&document, name).clone());
    let holder = session(&database).await;
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let [invalid, indexes, _] = verdicts(case.run("doctor --json -d {url}").exit(0).json());
    for found in [invalid, indexes] {
        assert!(found["verdict"] == "unknown" && found["why"].as_str().unwrap().contains("public.held is locked"), "{found:#}");
    }
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
        &["fsync = on", "autovacuum = off", "password_encryption = 'md5'", "synchronous_commit = off", "track_io_timing = off"],
    );
    server.rows(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id smallserial PRIMARY KEY, parent_id int REFERENCES parent, note text); \
         CREATE INDEX twice_a ON child (note); CREATE INDEX twice_b ON child (note); SELECT setval('child_id_seq', 32000); \
         INSERT INTO parent SELECT i FROM generate_series(1, 5000) i; CREATE ROLE old LOGIN PASSWORD 'x'; CREATE ROLE nobody LOGIN; \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'twice_b'::regclass",
    );
    let case = Case::new("sins");
    let url = server.url();
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
    // Most of the remedies are statements, and work.
    server.rows("REINDEX INDEX twice_b");
    server.rows("DROP INDEX twice_b; CREATE INDEX ON child (parent_id); ANALYZE");
    server.rows(check(&document, "sequences")["remedy"].as_str().unwrap());
    // One that ends before its type does, and one that no type takes further.
    server.rows("CREATE SEQUENCE \"e nd\" MAXVALUE 100; SELECT setval('\"e nd\"', 95); CREATE SEQUENCE last; SELECT setval('last', 9000000000000000000)");
    let mut counted = Vec::new();
    while let [found] = [check(&case.run_args(["doctor", "--json", "-d", &url]).json(), "sequences").clone()]
        && found["verdict"] != "ok"
    {
        let remedy = found["remedy"].as_str().unwrap().to_string();
        server.rows(&remedy);
        assert!(!counted.contains(&remedy), "it mends nothing: {remedy}");
        counted.push(remedy);
    }
    assert!(
        counted.len() == 2 && counted.iter().any(|remedy| remedy == "ALTER SEQUENCE public.\"e nd\" AS bigint NO MAXVALUE"),
        "{counted:?}"
    );
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
    assert_eq!(document["checks"].as_array().unwrap().len(), 21, "{document:#}");
    for (name, remedy) in
        [("sequences", "GRANT pg_read_all_data TO nobody"), ("pending-restart", "GRANT pg_monitor TO nobody"), ("passwords", "pg_authid")]
    {
        let found = check(&document, name);
        assert!(found["verdict"] == "unknown" && found["remedy"].as_str().unwrap().contains(remedy), "{found:#}");
    }
}

/// A server of the stack that has died is missed; one that was stopped is no part of it.
#[test]
fn what_has_died_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("died").home(folder.path().join("home"));
    case.run("stack up").exit(0);
    let status = case.run("stack status --json").exit(0).json();
    let send = |signal: &str| {
        for name in ["redis", "pgbouncer"] {
            let pid = status["servers"].as_array().unwrap().iter().find(|server| server["name"] == name).unwrap()["pid"].to_string();
            assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        }
    };
    // Who hangs is waited for once, and not for long.
    send("-STOP");
    let began = std::time::Instant::now();
    let hung = case.run("monitor --once --ignore-for").exit(2).stderr_has("source pgbouncer is failed: PgBouncer did not answer within");
    assert!(began.elapsed().as_secs() < 8 && hung.stderr.contains("source instances is failed"), "{:?}: {hung}", began.elapsed());
    send("-KILL");
    let document = case.run("doctor --json").exit(1).json();
    for name in ["redis-policy", "pgbouncer-mode"] {
        let found = check(&document, name);
        assert!(found["verdict"] == "error" && found["remedy"].as_str().unwrap().contains("`candlefish stack up`"), "{found:#}");
    }
    case.run("stats cache").exit(1).stderr_has("Connection refused").stderr_has("`candlefish stack up`");
    case.run("stats pools").exit(1).stderr_has("PgBouncer cannot be reached").stderr_has("`candlefish stack up`");
    let watch = case.run("monitor --once --ignore-for --json").exit(2).json();
    let sources = watch["sources"].as_array().unwrap();
    for name in ["instances", "pgbouncer"] {
        let source = sources.iter().find(|source| source["name"] == name).unwrap();
        assert!(source["state"] == "failed" && source["reason"].as_str().unwrap().contains("`candlefish stack up`"), "{source:#}");
    }
    // Nobody who counts something else answers for them, in the alert or in the KPI.
    assert_eq!(watch["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "unknown").count(), 4, "{watch:#}");
    assert!(watch["kpis"].as_array().unwrap().iter().all(|kpi| kpi["met"].is_null()), "{watch:#}");
    case.run("--quiet stack down").exit(0);
    case.run("doctor").exit(2).stderr_has("the local stack in").stderr_has("is not up");
    case.run("--quiet stack down --destroy --yes").exit(0);
}
