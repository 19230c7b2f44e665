//! `candlefish stats`: the sins of indexes, trees of locks, tables that are locked, rates and resets, pools.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::monitor::top::{drawn, terminal};
use crate::server::{Server, machine, versions};
use crate::support::{Case, Database, Output, addresses, execute_at, fixture};

/// A session of its own, which can hold a lock.
pub async fn session(database: &Database) -> Client {
    session_at(&database.url()).await
}

pub async fn session_at(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Until `sql` answers true.
pub async fn until(client: &Client, sql: &str) {
    let started = Instant::now();
    while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(started.elapsed() < Duration::from_secs(20), "never true: {sql}");
        tokio::task::yield_now().await;
    }
}

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().unwrap_or_else(|| panic!("no rows in {document:#}"))
}

#[test]
fn each_sin_of_indexes_is_found_and_no_other() {
    let database = Database::fresh();
    database.execute(&std::fs::read_to_string(fixture("index-sins/postgres.sql")).unwrap());
    database.try_execute("CREATE UNIQUE INDEX CONCURRENTLY sin_invalid ON twice (id)").unwrap_err();
    let document = Case::new("sins").database(&database).run("stats indexes --min-age 0 --json -d {url}").exit(0).json();
    let found: Vec<String> = rows(&document)
        .iter()
        .map(|row| {
            [&row["finding"], &row["table"], &row["index"], &row["ddl"]].map(|cell| cell.as_str().unwrap_or("-").to_string()).join(" | ")
        })
        .collect();
    assert_eq!(
        found,
        [
            "invalid | public.twice | public.sin_invalid | REINDEX INDEX CONCURRENTLY public.sin_invalid",
            "duplicate | public.customers | public.sin_duplicate | DROP INDEX CONCURRENTLY public.sin_duplicate",
            "duplicate | public.\"the \"\"T\nnew\" | public.sin_gin | DROP INDEX CONCURRENTLY public.sin_gin",
            "duplicate | public.\"the \"\"T\nnew\" | public.\"sin \"\"i\n2\" | DROP INDEX CONCURRENTLY public.\"sin \"\"i\n2\"",
            "redundant | public.orders | public.sin_redundant | DROP INDEX CONCURRENTLY public.sin_redundant",
            "redundant | public.visits | public.sin_narrower | DROP INDEX CONCURRENTLY public.sin_narrower",
            "redundant | public.visits | public.sin_used | DROP INDEX CONCURRENTLY public.sin_used",
            // As large as its two parts.
            "redundant | public.parted | public.sin_parted | DROP INDEX public.sin_parted",
            "redundant | public.carried | public.sin_carried | DROP INDEX CONCURRENTLY public.sin_carried",
            "redundant | public.carried | public.sin_carried_by_unique | DROP INDEX CONCURRENTLY public.sin_carried_by_unique",
            "redundant | public.covered | public.sin_covered_by_keys | DROP INDEX CONCURRENTLY public.sin_covered_by_keys",
            "redundant | public.covered | public.sin_covers_again | DROP INDEX CONCURRENTLY public.sin_covers_again",
            "redundant | public.covered | public.sin_covers_less | DROP INDEX CONCURRENTLY public.sin_covers_less",
            "redundant | public.parted_1 | public.sin_in_one | DROP INDEX CONCURRENTLY public.sin_in_one",
            "redundant | public.spelled | public.sin_lower | DROP INDEX CONCURRENTLY public.sin_lower",
            "redundant | public.spelled | public.sin_upper | DROP INDEX CONCURRENTLY public.sin_upper",
            "unused | public.customers | public.sin_unused | DROP INDEX CONCURRENTLY public.sin_unused",
            "unused | public.visits | public.sin_second_of_two | DROP INDEX CONCURRENTLY public.sin_second_of_two",
            "missing | public.orders | - | CREATE INDEX CONCURRENTLY ON public.orders (customer_id)",
        ]
    );
    // What is proposed works as it is printed, whatever is in the names, and then there is nothing left to find.
    database.execute(
        "DELETE FROM twice; CREATE TABLE named (id int); CREATE INDEX fine_named ON named (id); \
         CREATE INDEX U&\"\\202E\\0009\\\\ 'n\" ON named (id); CREATE INDEX \"\r-- \" ON named (id)",
    );
    let case = Case::new("mended").database(&database);
    let printed = case.run("stats indexes --min-age 0 --limit 50 -d {url}").exit(0).stdout;
    let ddl = |line: &str| {
        let start = ["DROP INDEX", "CREATE INDEX", "REINDEX INDEX"].iter().find_map(|verb| line.find(verb));
        line[start.unwrap_or_else(|| panic!("no statement: {line}"))..].to_string()
    };
    let printed: Vec<String> = printed.lines().skip(1).map(ddl).collect();
    assert_eq!(printed.len(), rows(&document).len() + 2);
    printed.iter().for_each(|ddl| database.execute(ddl));
    // What has taken over is used from then on.
    database.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT of FROM visits WHERE of = 3");
    case.run("stats indexes --min-age 0 -d {url}").exit(0).stderr_has("indexes: nothing to show");
    // Two of a partitioned table; and what a table is clustered by stays, whatever begins with its columns.
    database.execute(
        "CREATE TABLE parts (a int, b int) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9); \
         CREATE INDEX parts_x ON parts (b); CREATE INDEX parts_y ON parts (b); CREATE TABLE kept (a int, b int); \
         CREATE INDEX kept_a ON kept (a); CREATE UNIQUE INDEX kept_ab ON kept (a, b); ALTER TABLE kept CLUSTER ON kept_a; \
         CREATE INDEX \"parts\n\" ON parts (b)",
    );
    let document = case.run("stats indexes --json -d {url}").exit(0).json();
    let ddl: Vec<&str> = rows(&document).iter().map(|row| row["ddl"].as_str().unwrap()).collect();
    assert_eq!(ddl, ["DROP INDEX public.\"parts\n\"", "DROP INDEX public.parts_y"]);
    // `doctor` says the first, and a line is a line of it.
    let printed = case.run("doctor -d {url}").exit(0).stdout;
    let remedy = printed.lines().find(|line| line.contains("DROP INDEX")).unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(remedy, "    DROP INDEX public.U&\"parts\\000A\";");
    database.execute(remedy);
    // An index that not every partition has is mended by several statements: what is printed is none, and does nothing.
    database.execute("DROP INDEX parts_y; CREATE INDEX parts_z ON ONLY parts (a)");
    let document = case.run("stats indexes --json -d {url}").exit(0).json();
    assert_eq!((rows(&document).len(), &rows(&document)[0]["finding"]), (1, &"invalid".into()));
    database.execute(rows(&document)[0]["ddl"].as_str().unwrap());
}

/// What the catalog says of an index, and how expressions are written, is each version's own.
#[test]
fn each_sin_of_indexes_is_found_on_every_version() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        execute_at(&server.url(), &std::fs::read_to_string(fixture("index-sins/postgres.sql")).unwrap());
        let document = Case::new("sins").run_args(["stats", "indexes", "--min-age", "0", "--json", "-d", &server.url()]).exit(0).json();
        let mut found: Vec<&str> = rows(&document).iter().filter_map(|row| row["index"].as_str()).collect();
        found.sort_unstable();
        let sins = "SELECT oid::regclass FROM pg_class WHERE relname LIKE 'sin%' AND relname NOT LIKE '%1' AND relkind IN ('i', 'I') ORDER BY oid::regclass::text COLLATE \"C\"";
        let sins: Vec<String> = server.rows(sins).iter().map(|name| format!("public.{name}")).collect();
        assert_eq!(found, sins, "PostgreSQL {version}");
    }
}

/// PostgreSQL looks for the rows of a key by its own operator and collation, and is served by an index that begins with any column of it.
#[test]
fn an_index_serves_a_foreign_key_that_begins_with_a_column_as_the_key_is_compared() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        server.rows(
            "CREATE COLLATION loose (provider = icu, locale = 'und', deterministic = false); \
             CREATE TABLE p (id text PRIMARY KEY); CREATE TABLE p_c (id text COLLATE \"C\" PRIMARY KEY); \
             CREATE TABLE p_loose (id text COLLATE loose PRIMARY KEY); CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b))",
        );
        server.rows(
            "CREATE TABLE sin_collation (p text REFERENCES p, x int); CREATE INDEX ON sin_collation (p COLLATE \"C\"); \
             CREATE TABLE fine_collation (p text COLLATE \"C\" REFERENCES p); CREATE INDEX ON fine_collation (p); \
             CREATE TABLE fine_own (p text REFERENCES p_c); CREATE INDEX ON fine_own (p); \
             CREATE TABLE fine_pattern (p text REFERENCES p); CREATE INDEX ON fine_pattern (p text_pattern_ops); \
             CREATE TABLE fine_loose (p text COLLATE loose REFERENCES p_loose); CREATE INDEX ON fine_loose (p); \
             CREATE TABLE fine_second (a int, b int, x int, FOREIGN KEY (a, b) REFERENCES pair); CREATE INDEX ON fine_second (b, x); \
             CREATE TABLE sin_behind (a int, b int, x int, FOREIGN KEY (a, b) REFERENCES pair); CREATE INDEX ON sin_behind (x, a, b)",
        );
        if version.parse::<u32>().unwrap() >= 18 {
            server.rows("CREATE TABLE fine_not_enforced (p text REFERENCES p NOT ENFORCED)");
        } else {
            // Later ones refuse two collations where one holds different texts for equal; earlier ones go by the other one.
            server.rows(
                "CREATE TABLE sin_loose (p text REFERENCES p_loose); CREATE INDEX ON sin_loose (p); \
                 CREATE TABLE fine_looser (p text REFERENCES p_loose); CREATE INDEX ON fine_looser (p COLLATE loose)",
            );
        }
        let document = Case::new("served").run_args(["stats", "indexes", "--json", "-d", &server.url()]).exit(0).json();
        let mut found: Vec<&str> = rows(&document).iter().filter_map(|row| row["table"].as_str()).collect();
        found.sort_unstable();
        let sins = server.rows("SELECT 'public.' || relname FROM pg_class WHERE relname LIKE 'sin%' AND relkind = 'r' ORDER BY 1");
        assert_eq!(found, sins, "PostgreSQL {version}: {document:#}");
    }
}

/// Of one method and the same columns, options make several indexes, except those of how full they are and how they are written.
#[test]
fn indexes_with_other_options_are_no_duplicates_where_that_is_another_index() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        server.rows("CREATE TABLE t (a int, words tsvector, list int[])");
        server.rows(
            "CREATE INDEX fine_brin ON t USING brin (a); CREATE INDEX fine_ranges ON t USING brin (a) WITH (pages_per_range = 8); \
             CREATE INDEX sin_ranges ON t USING brin (a) WITH (pages_per_range = 8); \
             CREATE INDEX fine_sums ON t USING brin (a) WITH (autosummarize); \
             CREATE INDEX fine_gist ON t USING gist (words); CREATE INDEX fine_signature ON t USING gist (words tsvector_ops (siglen = 64)); \
             CREATE INDEX sin_buffering ON t USING gist (words) WITH (buffering = on); \
             CREATE INDEX fine_gin ON t USING gin (list); CREATE INDEX sin_gin ON t USING gin (list) WITH (fastupdate = off); \
             CREATE INDEX fine_tree ON t (a); CREATE INDEX sin_tree ON t (a) WITH (fillfactor = 70, deduplicate_items = off)",
        );
        let document = Case::new("options").run_args(["stats", "indexes", "--json", "-d", &server.url()]).exit(0).json();
        let mut found: Vec<&str> = rows(&document).iter().filter_map(|row| row["index"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["public.sin_buffering", "public.sin_gin", "public.sin_ranges", "public.sin_tree"], "{version}: {document:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_locks_is_a_tree_with_its_root() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)");
    let (root, middle, leaf, tuple, watcher) =
        (session(&database).await, session(&database).await, session(&database).await, session(&database).await, session(&database).await);
    root.batch_execute("SET application_name = 'root'; BEGIN; UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    middle.batch_execute("SET application_name = 'middle'; BEGIN; UPDATE t SET v = 2 WHERE id = 2").await.unwrap();
    let waiting = |count: u32| {
        format!("SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    };
    let middle = tokio::spawn(async move { middle.batch_execute("UPDATE t SET v = 2 WHERE id = 1 /* 'private' */").await });
    until(&watcher, &waiting(1)).await;
    let leaf = tokio::spawn(async move { leaf.batch_execute("SET application_name = 'leaf'; UPDATE t SET v = 3 WHERE id = 2").await });
    until(&watcher, &waiting(2)).await;
    // Waits behind `middle` for the row itself, which shows as a tuple lock.
    let tuple = tokio::spawn(async move { tuple.batch_execute("SET application_name = 'tuple'; UPDATE t SET v = 4 WHERE id = 1").await });
    until(&watcher, &waiting(3)).await;

    let case = Case::new("chain").database(&database);
    let document = case.run("stats locks --json -d {url}").exit(0).json();
    let tree: Vec<(i64, &str, i64)> = rows(&document)
        .iter()
        .filter(|row| ["root", "middle", "leaf", "tuple"].contains(&row["application"].as_str().unwrap_or_default()))
        .map(|row| (row["depth"].as_i64().unwrap(), row["application"].as_str().unwrap(), row["blocks"].as_i64().unwrap()))
        .collect();
    assert_eq!(tree[0], (0, "root", 3), "{document:#}");
    assert!(tree.contains(&(1, "middle", 2)), "{tree:?}");
    assert!(tree.contains(&(2, "leaf", 0)) && tree.iter().any(|(depth, name, _)| *depth == 2 && *name == "tuple"), "{tree:?}");
    let of = |name: &str| rows(&document).iter().find(|row| row["application"] == name).unwrap();
    assert_eq!(of("root")["remedy"], format!("SELECT pg_terminate_backend({})", of("root")["pid"]));
    // Who may see it may not always do it, and is told who may.
    let role = format!("{}_sees", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sees' IN ROLE pg_monitor"));
    let rest = database.url().split_once('@').unwrap().1.to_string();
    let seen = case.run(&format!("stats locks --json -d postgresql://{role}:sees@{rest}"));
    database.execute(&format!("DROP ROLE {role}"));
    let remedy = rows(&seen.exit(0).json())[0]["remedy"].as_str().unwrap().to_string();
    assert_eq!(remedy, format!("SELECT pg_terminate_backend({}) -- as a superuser", of("root")["pid"]));
    assert!(of("middle")["wait"].as_str().unwrap().contains("ShareLock on a row of transaction"), "{}", of("middle"));
    assert_eq!(of("tuple")["wait"], "ExclusiveLock on a row of public.t");
    assert!(!document.to_string().contains("private") && of("leaf")["query"].as_str().unwrap().contains("v = ? WHERE"));
    case.run("stats locks --show-literals -d {url}").exit(0).stdout_has("v = 3 WHERE id = 2");

    // A terminal without room for columns is shown a tree all the same.
    let tree = on_terminal(&case, 80, &["stats", "locks", "-d", &database.url()]);
    let lines: Vec<&str> = tree.lines().collect();
    assert!(lines.iter().all(|line| line.trim_end().chars().count() <= 80), "{tree}");
    let ends = format!("  end it: SELECT pg_terminate_backend({})", of("root")["pid"]);
    let waits = format!("  {}  middle  waits for ShareLock on a row of transaction ", of("middle")["pid"]);
    assert!(lines.contains(&ends.as_str()) && lines.iter().any(|line| line.starts_with(&waits)), "{tree}");
    assert!(lines.iter().any(|line| line.starts_with(&format!("    {}  leaf  waits for ", of("leaf")["pid"]))), "{tree}");

    // What the remedy says to run ends it.
    watcher.execute(of("root")["remedy"].as_str().unwrap(), &[]).await.unwrap();
    drop(root);
    let _ = middle.await.unwrap();
    let _ = tokio::join!(leaf, tuple);
    case.run("stats activity -d {url}").exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_is_skipped_and_said_within_a_second() {
    let database = Database::fresh();
    database.execute(
        "CREATE EXTENSION pg_stat_statements; CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE wanted (id int PRIMARY KEY); CREATE TABLE free (id int PRIMARY KEY, v int); \
         CREATE INDEX ON free (v); INSERT INTO free SELECT i, i FROM generate_series(1, 1000) i; ANALYZE",
    );
    let (holder, reader, waiter, watcher) =
        (session(&database).await, session(&database).await, session(&database).await, session(&database).await);
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // One that only waits for its lock keeps everybody who comes later waiting, too.
    reader.batch_execute("BEGIN; SELECT * FROM wanted").await.unwrap();
    let waiter = tokio::spawn(async move { waiter.batch_execute("BEGIN; LOCK TABLE wanted IN ACCESS EXCLUSIVE MODE").await });
    until(&watcher, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'wanted'::regclass)").await;

    let case = Case::new("locked").database(&database);
    for name in ["tables", "indexes", "all", ""] {
        let line = format!("stats {name} --json -d {{url}}");
        // All of them together have no limit but the sum of theirs.
        let output = if name == "all" { case.run(&line).exit(0) } else { within_a_second(&case, &line) };
        if name == "tables" {
            let document = output.json();
            let of = |name: &str| rows(&document).iter().find(|row| row["table"] == name).unwrap();
            assert!(of("public.held")["size_bytes"].is_null() && of("public.wanted")["size_bytes"].is_null());
            assert!(of("public.free")["size_bytes"].as_i64().unwrap() > 0);
            assert!(of("public.held")["locked_by"].is_number());
            let notes = document["notes"].to_string();
            assert!(notes.contains("skipped public.held") && notes.contains("skipped public.wanted"), "{notes}");
        }
    }
    drop((holder, reader));
    let _ = waiter.await.unwrap();
}

/// What it answers, which comes in time; not at the first try for certain, because other tests want the machine too.
#[track_caller]
fn within_a_second(case: &Case, line: &str) -> Output {
    let mut took = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let output = case.run(line).exit(0);
        took.push(began.elapsed());
        if began.elapsed() < Duration::from_secs(1) {
            return output;
        }
    }
    panic!("{line} took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_who_wait_for_one_row_are_one_tree_within_a_second() {
    const WAITERS: usize = 200;
    let server = Server::start(&machine(), &["max_connections = 230"]);
    server.rows("CREATE TABLE t AS SELECT 1 AS id, 0 AS v");
    let (root, watcher) = (session_at(&server.url()).await, session_at(&server.url()).await);
    root.batch_execute("SET application_name = 'root'; BEGIN; UPDATE t SET v = 1").await.unwrap();
    let waiting: Vec<_> = (0..WAITERS)
        .map(|_| {
            let url = server.url();
            tokio::spawn(async move { session_at(&url).await.batch_execute("UPDATE t SET v = 2").await })
        })
        .collect();
    until(&watcher, &format!("SELECT count(DISTINCT pid) = {WAITERS} FROM pg_locks WHERE NOT granted")).await;

    let case = Case::new("queue");
    let document = within_a_second(&case, &format!("stats locks --json -d {}", server.url())).json();
    let rows = rows(&document);
    assert_eq!((rows.len(), &rows[0]["application"], &rows[0]["blocks"]), (WAITERS + 1, &"root".into(), &WAITERS.into()));
    let at_depth = |depth: usize| rows.iter().filter(|row| row["depth"] == depth).count();
    // The next in turn holds the row's own lock, for which the others wait.
    assert_eq!((at_depth(1), at_depth(2), &rows[1]["blocks"]), (1, WAITERS - 1, &(WAITERS - 1).into()));
    let processes: std::collections::BTreeSet<i64> = rows.iter().map(|row| row["pid"].as_i64().unwrap()).collect();
    assert_eq!(processes.len(), WAITERS + 1, "everybody once");
    root.batch_execute("ROLLBACK").await.unwrap();
    for waiter in waiting {
        waiter.await.unwrap().unwrap();
    }
}

/// Of a user who may see little, of times that nobody measures, and of a standby that has lost its primary.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_neither_0_nor_a_finding() {
    let settings = ["shared_preload_libraries = 'pg_stat_statements'", "track_io_timing = off", "track_commit_timestamp = on"];
    let server = Server::start(&machine(), &settings);
    let standby = server.standby();
    server.rows(
        "CREATE EXTENSION pg_stat_statements; CREATE ROLE nobody LOGIN; CREATE TABLE t (id int, v int); SELECT pg_sleep(0.15);          SELECT 'most of it', pg_sleep(0.05); SELECT 'most of it', pg_sleep(0.05); SELECT 'most of it', pg_sleep(0.05)",
    );
    let case = Case::new("unknown");
    let read = |line: &str, url: &str| case.run(&format!("stats {line} --json -d {url}")).exit(0).json();
    let slow = read("slow-queries", &server.url());
    let sleep = rows(&slow).iter().find(|row| row["query"] == "SELECT pg_sleep($1)").unwrap_or_else(|| panic!("{slow:#}"));
    assert!(sleep["io_ms"].is_null() && sleep["share_ratio"].as_f64().unwrap() < 0.6, "{sleep:#}");
    let io = read("io", &server.url());
    assert!(rows(&io).iter().all(|row| row["read_ms"].is_null() && row["write_ms"].is_null()), "{io:#}");

    // What was filled since the planner's statistics is no bloat.
    server.rows(
        "CREATE TABLE filled (i int) WITH (autovacuum_enabled = off); INSERT INTO filled VALUES (1); ANALYZE filled; INSERT INTO filled SELECT generate_series(1, 50000)",
    );
    let filled = || rows(&read("tables", &server.url())).iter().find(|row| row["table"] == "public.filled").unwrap().clone();
    assert!(filled()["bloat_est_bytes"].is_null(), "{:#}", filled());
    server.rows("ANALYZE filled");
    assert!(filled()["bloat_est_bytes"].as_f64().unwrap() < 0.2 * filled()["size_bytes"].as_f64().unwrap(), "{:#}", filled());
    server.rows("CREATE MATERIALIZED VIEW seen AS SELECT 1 AS a");
    let notes = read("tables", &server.url())["notes"].to_string();
    assert!(notes.contains("a refresh, or a GRANT"), "{notes}");

    // A build that goes on has not failed, whoever asks.
    let (holder, builder) = (session_at(&server.url()).await, session_at(&server.url()).await);
    let watcher = session_at(&server.url()).await;
    holder.batch_execute("BEGIN; INSERT INTO t VALUES (1, 1)").await.unwrap();
    let build = tokio::spawn(async move { builder.batch_execute("CREATE INDEX CONCURRENTLY under_way ON t (v)").await });
    until(&watcher, "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('under_way') AND NOT indisvalid)").await;
    for user in ["candlefish", "nobody"] {
        let indexes = read("indexes", &server.url_as(user));
        assert!(!indexes.to_string().contains("under_way"), "{indexes:#}");
    }
    holder.batch_execute("COMMIT").await.unwrap();
    build.await.unwrap().unwrap();

    // What shows their texts can be pasted.
    let verdicts = case.run(&format!("doctor --json -d {}", server.url_as("nobody"))).json();
    let found = verdicts["checks"].as_array().unwrap().iter().find(|check| check["name"] == "pg-stat-statements").unwrap();
    assert!(found["verdict"] == "warning" && found["remedy"] == "GRANT pg_monitor TO nobody; -- as a superuser", "{found:#}");

    // Hidden statements are one, and grow by what was called.
    let mut command = case.command();
    command.args(["stats", "slow-queries", "--watch", "200ms", "--count", "500", "--min-ms", "0", "--limit", "10000", "--json", "-d"]);
    let mut child = command.arg(server.url_as("nobody")).spawn().unwrap();
    let mut hidden = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let sheet: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(!sheet["notes"].to_string().contains("were reset"), "{sheet:#}");
        hidden = rows(&sheet).iter().filter(|row| row["query_id"].is_null()).cloned().collect();
        if !hidden.is_empty() {
            break;
        }
        server.rows("SELECT count(*) FROM t; SELECT 1");
    }
    terminate(child.id());
    child.wait().unwrap();
    assert_eq!(hidden.len(), 1, "{hidden:#?}");

    let tables = read("tables", &standby.url());
    let filled = rows(&tables).iter().find(|row| row["table"] == "public.filled").unwrap();
    assert!(filled["inserts"].is_null() && filled["dead_est"].is_null() && filled["seq_scans"].is_number(), "{filled:#}");
    assert!(tables["notes"].to_string().contains("its primary counts"), "{tables:#}");
    let of_standby = || rows(&read("replication", &standby.url())).iter().find(|row| row["kind"] == "this standby").unwrap().clone();
    until(&session_at(&standby.url()).await, "SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'").await;
    assert!(of_standby()["lag_bytes"].is_number() && of_standby()["lag_seconds"].is_number(), "{:#}", of_standby());
    server.stop();
    until(&session_at(&standby.url()).await, "SELECT count(*) FILTER (WHERE status = 'streaming') = 0 FROM pg_stat_wal_receiver").await;
    assert!(of_standby()["lag_bytes"].is_null() && of_standby()["lag_seconds"].is_null(), "{:#}", of_standby());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_row_hides_no_table() {
    let database = Database::fresh();
    database.execute("CREATE TABLE hot (id int PRIMARY KEY); INSERT INTO hot SELECT generate_series(1, 9)");
    let (holder, waiter, watcher) = (session(&database).await, session(&database).await, session(&database).await);
    holder.batch_execute("BEGIN; SELECT FROM hot WHERE id = 1 FOR UPDATE").await.unwrap();
    let waiter = tokio::spawn(async move { waiter.batch_execute("DELETE FROM hot WHERE id = 1").await });
    until(
        &watcher,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'tuple' AND mode = 'AccessExclusiveLock' AND relation = 'hot'::regclass)",
    )
    .await;
    let case = Case::new("a hot row").database(&database);
    for name in ["tables", "indexes"] {
        let document = case.run(&format!("stats {name} --json -d {{url}}")).exit(0).json();
        assert!(!document["notes"].to_string().contains("skipped"), "{document:#}");
        if name == "tables" {
            assert!(rows(&document)[0]["size_bytes"].is_number() && rows(&document)[0]["locked_by"].is_null(), "{document:#}");
        }
    }
    drop(holder);
    waiter.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_not_see_is_unknown_and_not_zero() {
    let database = Database::fresh();
    let _other = session(&database).await;
    database.execute("CREATE MATERIALIZED VIEW empty AS SELECT 1 AS i WITH NO DATA");
    database.execute("CREATE TABLE wide (id int, note text); INSERT INTO wide SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i; DELETE FROM wide WHERE id % 2 = 0; ANALYZE");
    let role = format!("nothing_{}", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'nothing'"));
    let case = Case::new("bloat").database(&database);
    let rest = database.url().split_once('@').unwrap().1.to_string();
    let seen = case.run("stats tables --json -d {url}").exit(0).json();
    let hidden = case.run(&format!("stats tables --json -d postgresql://{role}:nothing@{rest}"));
    let clients = case.run(&format!("stats connections --json -d postgresql://{role}:nothing@{rest}"));
    database.execute(&format!("DROP ROLE {role}"));
    assert!(rows(&seen)[0]["bloat_est_bytes"].as_i64().unwrap() > 500_000, "{seen:#}");
    let hidden = hidden.exit(0).json();
    assert!(rows(&hidden)[0]["bloat_est_bytes"].is_null() && rows(&hidden)[0]["size_bytes"].is_number(), "{hidden:#}");
    assert!(hidden["notes"].to_string().contains("bloat is not known of 1 of the tables"), "{hidden:#}");
    let empty = rows(&seen).iter().find(|row| row["kind"] == "materialized view").unwrap_or_else(|| panic!("{seen:#}"));
    assert!(empty["refreshed_seconds"].is_null(), "it holds nothing: {empty:#}");
    // Neither by TCP nor by a socket.
    let clients = clients.exit(0).json();
    let names = rows(&clients).iter().filter(|row| row["scope"] == "client").map(|row| row["name"].as_str().unwrap());
    let ours: Vec<&str> = names.filter(|name| name.contains(&format!("@{}", database.name))).collect();
    assert!(!ours.is_empty() && ours.iter().all(|name| !name.contains(" from ")), "{clients:#}");
}

#[test]
fn an_extension_that_is_closed_to_a_user_takes_nothing_else_away() {
    let database = Database::fresh();
    database.execute("CREATE SCHEMA \"Ext\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Ext\"");
    let role = format!("monitor_{}", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sees' IN ROLE pg_monitor"));
    let case = Case::new("closed").database(&database);
    let url = format!("postgresql://{role}:sees@{}", database.url().rsplit_once('@').unwrap().1);
    let reach = case.run(&format!("stats slow-queries tables --json -d {url}"));
    let doctor = case.run(&format!("doctor --json -d {url}"));
    let monitor = case.run(&format!("monitor --once --json -d {url}"));
    database.execute(&format!("GRANT USAGE ON SCHEMA \"Ext\" TO {role}; REVOKE ALL ON \"Ext\".pg_stat_statements FROM PUBLIC"));
    let read = case.run(&format!("stats slow-queries --json -d {url}"));
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    let reach = reach.exit(1).stdout;
    assert!(reach.contains(&format!("GRANT USAGE ON SCHEMA \\\"Ext\\\" TO {role};")) && reach.contains("tables"), "{reach}");
    assert!(doctor.stdout.contains("GRANT USAGE ON SCHEMA"), "{}", doctor.stdout);
    assert!(!monitor.stdout.contains("pg_stat_statements_info"), "{}", monitor.stdout);
    let read = read.exit(1).stdout;
    assert!(read.contains(&format!("GRANT SELECT ON \\\"Ext\\\".pg_stat_statements TO {role};")), "{read}");
}

#[test]
fn watching_outlives_its_connection() {
    let database = Database::fresh();
    let case = Case::new("outlives").database(&database);
    let mut command = case.command();
    let role = format!("{}_watcher", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'first'"));
    let url = format!("postgresql://{role}:first@{}", database.url().rsplit_once('@').unwrap().1);
    command.args(["stats", "connections", "--watch", "200ms", "--json", "-d"]).arg(&url);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let mut hears = |words: &str| {
        while !said.contains(words) {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{words} never came: {said}");
        }
    };
    let end = || {
        database.rows(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
    };
    lines.next().unwrap().unwrap();
    end();
    hears("connecting again");
    hears("connected again");
    lines.next().unwrap().unwrap();
    // No waiting brings the old password back.
    database.execute(&format!("ALTER ROLE {role} PASSWORD 'second'"));
    end();
    lines.by_ref().for_each(drop);
    hears("refuses the password");
    assert_eq!(child.wait().unwrap().code(), Some(2));
    database.execute(&format!("DROP ROLE {role}"));
}

#[test]
fn watching_shows_rates_and_notices_a_reset() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i");
    let case = Case::new("watch").database(&database);
    let mut command = case.command();
    let words =
        ["stats", "slow-queries", "tables", "--watch", "300ms", "--count", "500", "--min-ms", "0", "--limit", "10000", "--json", "-d"];
    let mut child = command.args(words).arg(database.url()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let (mut scans_seen, mut reset_seen) = (false, false);
    for document in lines {
        assert_eq!((&document["schema_version"], document["at"].is_string()), (&Value::from(1), true));
        let slow = &document["stats"][0];
        for row in rows(slow) {
            assert!(row["calls_per_s"].as_f64().is_none_or(|rate| (0.0..1e6).contains(&rate)), "{row:#}");
            scans_seen |= row["query"].as_str().unwrap_or_default().contains("count(*) FROM t") && row["mean_ms"].as_f64().is_some();
        }
        if slow["notes"].to_string().contains("were reset") {
            reset_seen = true;
        }
        if scans_seen && reset_seen {
            break;
        }
        if scans_seen {
            database.execute(&format!(
                "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = '{}'), 0); SELECT 1",
                database.name
            ));
        }
        database.rows("SELECT count(*) FROM t");
    }
    assert!(scans_seen && reset_seen);
    // SIGTERM is the normal end.
    terminate(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    case.run("stats tables --watch 200ms --count 2 -d {url}").exit(0).stdout_has("seq scans/s");
    case.run("stats slow-queries --over 200ms --min-ms 0 -d {url}").exit(0);
    case.run("stats tables --watch --format csv -d {url}").exit(2).stderr_has("--watch has no csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_into_the_list_has_no_made_up_rate() {
    let database = Database::fresh();
    database.execute("CREATE TABLE large AS SELECT i FROM generate_series(1, 10000) i; CREATE TABLE small (i int)");
    database.execute(&"SELECT count(*) FROM small; ".repeat(500));
    let watcher = session(&database).await;
    until(&watcher, "SELECT seq_scan >= 500 FROM pg_stat_user_tables WHERE relname = 'small'").await;
    let case = Case::new("list").database(&database);
    let mut command = case.command();
    command.args(["stats", "tables", "--watch", "200ms", "--count", "500", "--limit", "1", "--json", "-d"]);
    let mut child = command.arg(database.url()).spawn().unwrap();
    let mut first = true;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let sheet: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(rows(&sheet).len(), 1);
        if rows(&sheet)[0]["table"] == "public.small" {
            assert_eq!(rows(&sheet)[0]["seq_scans_per_s"], 0.0, "{sheet:#}");
            break;
        }
        if std::mem::take(&mut first) {
            watcher.batch_execute("INSERT INTO small SELECT i FROM generate_series(1, 20000) i").await.unwrap();
        }
    }
    terminate(child.id());
    child.wait().unwrap();
}

fn terminate(pid: u32) {
    let pid = pid.to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_pgbouncers_own_numbers_and_the_servers_sessions() {
    let database = Database::fresh();
    let (pooled, connection) = tokio_postgres::connect(&database.pooler_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    pooled.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let case = Case::new("pools").database(&database).env("POOLER_URL", &addresses().pooler_url());
    let document = case.run("stats pools --json -d {url}").exit(0).json();
    let pool = rows(&document).iter().find(|row| row["pool"] == database.name.as_str()).unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!((&pool["servers_in_use"], &pool["sessions_seen"], &pool["most"]), (&1.into(), &1.into(), &20.into()), "{pool:#}");
    assert_eq!((&pool["mode"], pool["used_ratio"].as_f64()), (&"transaction".into(), Some(0.05)));
    // Statistics themselves go through a pooler in transaction mode as well, and leave nothing on its servers.
    case.run("stats all --json -d {pooler}").exit(1);
    database.execute("CREATE EXTENSION pg_stat_statements");
    case.run("stats all --json -d {pooler}").exit(0);
    pooled.batch_execute("COMMIT; CREATE TABLE still_writable (a int)").await.unwrap();
    let timeout = pooled.simple_query("SHOW lock_timeout").await.unwrap();
    assert!(format!("{timeout:?}").contains("\"0\"") || !format!("{timeout:?}").contains("100ms"), "{timeout:?}");

    let case = Case::new("no pooler").database(&database);
    case.run("stats pools -d {url}").exit(0).stderr_has("no pooler is named");
    // Each cause has its own remedy.
    case.run("stats pools --pooler {url} -d {url}").exit(1).stderr_has("answers PostgreSQL itself");
    case.run("stats pools --pooler postgresql://x@127.0.0.1:1/ -d {url}")
        .exit(1)
        .stderr_has("PgBouncer cannot be reached at 127.0.0.1:1: nothing listens there")
        .stderr_has("The address came from --pooler");
}

#[test]
fn statistics_are_tables_json_and_csv() {
    let database = Database::fresh();
    database.execute("CREATE TABLE \"Or der's\" (id int PRIMARY KEY)");
    let case = Case::new("formats").database(&database);
    // A name moves no cursor, in tables, notes or remedies.
    database.execute("CREATE TABLE \"e\x1b[2Jvil\" (id int) WITH (autovacuum_enabled = off)");
    for line in ["stats tables", "doctor", "stats locks activity indexes"] {
        let output = case.run(&format!("{line} -d {{url}}"));
        assert!(!format!("{}{}", output.stdout, output.stderr).contains('\x1b'), "{output:?}");
        assert!(line != "doctor" || output.stdout.contains("ALTER TABLE public.U&\"e\\001B[2Jvil\" RESET"), "{}", output.stdout);
    }
    database.execute("DROP TABLE \"e\x1b[2Jvil\"");
    case.run("stats -d {url}").exit(0).stdout_has("cache hit");
    case.run("stats list").exit(0).stdout_has("slow-queries  the statements that cost the most");
    let names = case.run("stats list --json").exit(0).json();
    assert_eq!(names["stats"].as_array().unwrap().len(), 12);
    case.run("stats tables --format csv -d {url}")
        .exit(0)
        .stdout_has("\"public.\"\"Or der's\"\"\",table,8192")
        .stdout_has("table,kind,size_bytes");
    // Nothing was read: unknown, and neither 0 nor 100 %.
    let document = case.run("stats cache-hit --json -d {url}").exit(0).json();
    assert!(rows(&document)[0]["hit_ratio"].is_null(), "{document:#}");
    case.run("stats nonsense -d {url}").exit(2).stderr_has("invalid value 'nonsense'");
    case.run("stats --to postgresql://x@127.0.0.1:1/x").exit(2).stderr_has("read the statistics: PostgreSQL cannot be reached");
    // It is preloaded there: this is all, and it pastes.
    case.run("stats slow-queries -d {url}").exit(1).stderr_has(
        "slow-queries: CREATE EXTENSION pg_stat_statements; -- as a superuser
",
    );
    database.execute("CREATE EXTENSION pg_stat_statements");
    database.rows("SELECT 1 AS quick");
    case.run("stats slow-queries -d {url}").exit(0).stderr_has("--min-ms 0 shows all");
    case.run("stats slow-queries --min-ms 0 -d {url}").exit(0).stdout_has(" µs");
}

/// What a terminal of so many columns is shown.
fn on_terminal(case: &Case, columns: u16, words: &[&str]) -> String {
    let (ours, theirs) = terminal(columns, 50);
    let mut command = case.command();
    command.args(words).stdout(Stdio::from(theirs));
    let screen = drawn(&ours);
    assert_eq!(command.spawn().unwrap().wait().unwrap().code(), Some(0));
    drop(command);
    screen.iter().collect::<String>()
}

/// A name stays one, and so does what is to be pasted; nothing is left out where each cell has a line of its own.
#[test]
fn narrow_terminals_break_no_name() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE a_table_with_quite_a_name (id int PRIMARY KEY, note text); \
         CREATE INDEX an_index_that_nobody_has_ever_used ON a_table_with_quite_a_name (note)",
    );
    let case = Case::new("narrow").database(&database);
    let url = database.url();
    let shown = |columns: u16, words: &[&str]| on_terminal(&case, columns, &[words, &["-d", &url]].concat());
    let indexes = shown(80, &["stats", "indexes", "--min-size", "1", "--min-age", "0"]);
    assert!(indexes.contains("DROP INDEX CONCURRENTLY public.an_index_that_nobody_has_ever_used\r\n"), "{indexes}");
    let tables = shown(54, &["stats", "tables"]);
    assert!(tables.contains("public.a_table_with_quite_a_name ") && !tables.contains("seq scans"), "{tables}");
    let tables = shown(36, &["stats", "tables"]);
    assert!(tables.contains("public.a_table") && tables.contains("seq scans"), "{tables}");
}

/// Whatever somebody calls himself, a table of who is connected stays one.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_users_and_applications_break_no_table() {
    let server = Server::start(&machine(), &[]);
    let (long, hostile) = ("a_role_with_a_very_long_name_indeed_up_to_the_limit_of_63_bytes", "e\nv\u{1b}[2Jil");
    server.rows(&format!("CREATE DATABASE \"{long}\""));
    server.rows(&format!("CREATE DATABASE \"{hostile}\""));
    for role in [long, hostile] {
        server.rows(&format!("CREATE ROLE \"{role}\" LOGIN"));
    }
    let address = server.url().parse::<tokio_postgres::Config>().unwrap();
    let mut sessions = Vec::new();
    for (user, application) in [(long, "a report of last month with quite a long name for any application"), (hostile, "x\ty")] {
        let (client, connection) = address.clone().user(user).dbname(user).application_name(application).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        sessions.push(client);
    }
    let case = Case::new("names").env("NO_COLOR", "1");
    for stat in ["connections", "activity"] {
        let shown = on_terminal(&case, 80, &["stats", stat, "-d", &server.url()]);
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80 && !line.contains('\u{1b}')), "{stat}: {shown}");
        // A heading once, and not one for each cell.
        let headings = lines.iter().filter(|line| line.starts_with("scope") || line.starts_with("pid")).count();
        assert_eq!(headings, usize::from(stat == "connections"), "{stat}: {shown}");
        assert!(shown.contains("a_role_with_a_") && shown.contains('…') && shown.contains("e\\nv\\u{1b}[2Jil"), "{stat}: {shown}");
    }
    let whole = case.run(&format!("stats activity --json -d {}", server.url())).exit(0).json();
    assert!(rows(&whole).iter().any(|row| row["user"] == long && row["database"] == long), "{whole:#}");
}

/// What candlefish adds to the queries: loosely here; measured, it is some milliseconds.
#[test]
fn all_statistics_of_an_idle_database_come_within_half_a_second() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY)");
    let case = Case::new("quick").database(&database).env("POOLER_URL", &database.pooler_url()).env("REDIS_URL", &addresses().redis_url());
    // One of some: other tests want the machine too.
    let mut took = Vec::new();
    let is_quick = (0..8).any(|_| {
        let began = Instant::now();
        case.run("stats all --json -d {url}").exit(0);
        took.push(began.elapsed());
        took.last().is_some_and(|last| *last < Duration::from_millis(500))
    });
    assert!(is_quick, "{took:?}");
}
