//! Every statistic on every version that `cargo xtask matrix` has fetched: with pg_stat_statements, without it, and with it hidden; for a superuser,
//! a member of pg_monitor, and a role with nothing.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::server::{Server, versions};
use crate::support::Case;

const ROLES: &str = "CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE nobody LOGIN";
const TABLES: &str = "CREATE TABLE parent (id bigint PRIMARY KEY, name text); \
    CREATE TABLE child (id bigint PRIMARY KEY, parent_id bigint REFERENCES parent, note text); \
    INSERT INTO parent SELECT i, 'n' || i FROM generate_series(1, 2000) i; INSERT INTO child SELECT i, i, repeat('x', 50) FROM generate_series(1, 2000) i; \
    DELETE FROM child WHERE id % 3 = 0; CREATE MATERIALIZED VIEW names AS SELECT name FROM parent; ANALYZE; SELECT count(*) FROM child";

/// All statistics as this user, by name; none is missing, and of those that are unavailable only the allowed.
#[track_caller]
fn all(server: &Server, user: &str, unavailable: &[&str]) -> Vec<Value> {
    let case = Case::new(user);
    let code = i32::from(!unavailable.is_empty());
    let url = server.url_as(user);
    let output = case.run_args(["stats", "all", "--min-ms", "0", "--limit", "10000", "--json", "-d", &url]);
    let stats = output.json()["stats"].as_array().unwrap_or_else(|| panic!("{}", output.stderr)).clone();
    let missing: Vec<_> = stats.iter().filter(|stat| stat["available"] != true).map(|stat| (&stat["stat"], &stat["notes"])).collect();
    assert_eq!(output.code, Some(code), "{user}: {missing:#?} {}", output.stderr);
    let names: Vec<&str> = stats.iter().map(|stat| stat["stat"].as_str().unwrap()).collect();
    let expected = [
        "slow-queries",
        "cache-hit",
        "connections",
        "pools",
        "indexes",
        "tables",
        "locks",
        "activity",
        "vacuum",
        "replication",
        "io",
        "cache",
    ];
    assert_eq!(names, expected);
    for stat in &stats {
        let name = stat["stat"].as_str().unwrap();
        let is_available = stat["available"] == true && stat["rows"].is_array();
        assert_eq!(is_available, !unavailable.contains(&name), "{stat:#}");
        for row in stat["rows"].as_array().into_iter().flatten() {
            let columns: Vec<&str> = stat["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
            assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), columns, "{name}");
        }
    }
    case.run_args(["stats", "-d", &url]).exit(0).stdout_has("PostgreSQL ");
    // Nothing that looks falls over, whatever it may not see.
    let verdicts = case.run_args(["doctor", "--json", "-d", &url]);
    assert_eq!(verdicts.json()["checks"].as_array().map(Vec::len), Some(24), "{user}: {}", verdicts.stderr);
    let watch = case.run_args(["monitor", "--once", "--ignore-for", "--json", "-d", &url]);
    let database = watch.json()["sources"].as_array().unwrap().iter().find(|source| source["name"] == "pg_stat_database").cloned().unwrap();
    assert_eq!(database["state"], "there", "{user}: {database:#} {}", watch.stderr);
    stats
}

fn stat<'a>(stats: &'a [Value], name: &str) -> &'a Value {
    stats.iter().find(|stat| stat["stat"] == name).unwrap()
}

fn row<'a>(stat: &'a Value, column: &str, value: &str) -> &'a Value {
    stat["rows"].as_array().unwrap().iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("no {column} {value} in {stat:#}"))
}

fn said(stat: &Value) -> String {
    stat["notes"].to_string()
}

#[test]
fn every_statistic_on_every_version() {
    let versions = versions();
    let none = std::env::var("CANDLEFISH_MATRIX").is_ok_and(|wanted| wanted == "none");
    assert!(none || !versions.is_empty(), "no PostgreSQL was tried: `cargo xtask matrix` fetches some");
    std::thread::scope(|scope| {
        // Two at a time: a server needs a core to start.
        for pair in versions.chunks(2) {
            let runs: Vec<_> = pair.iter().map(|(version, bin)| (version, scope.spawn(move || one_version(version, bin)))).collect();
            for (version, run) in runs {
                assert!(run.join().is_ok(), "PostgreSQL {version}: see above");
            }
        }
    });
}

fn one_version(version: &str, bin: &std::path::Path) {
    let major: u32 = version.parse().unwrap();
    // Nobody but the test does anything.
    let settings =
        ["shared_preload_libraries = 'pg_stat_statements'", "track_io_timing = on", "track_commit_timestamp = on", "autovacuum = off"];
    let server = Server::start(bin, &settings);
    server.rows(ROLES);
    server.rows(TABLES);

    // Preloaded, but not installed in this database.
    let stats = all(&server, "candlefish", &["slow-queries"]);
    assert!(said(stat(&stats, "slow-queries")).contains("CREATE EXTENSION pg_stat_statements"), "{stats:#?}");

    // Installed, in a schema that nobody searches.
    server.rows(
        "CREATE SCHEMA extensions; CREATE EXTENSION pg_stat_statements SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC",
    );
    server.rows("SELECT count(*) FROM child WHERE note = 'secret'");
    let stats = all(&server, "candlefish", &[]);
    assert_all_is_there(&stats, major);
    assert!(!stat(&stats, "slow-queries").to_string().contains("secret"));

    looking_adds_nothing(&server);

    let stats = all(&server, "watcher", &[]);
    assert_all_is_there(&stats, major);

    // Numbers without texts, sessions without states; nothing that looks like an answer and is none.
    let stats = all(&server, "nobody", &[]);
    assert!(said(stat(&stats, "slow-queries")).contains("GRANT pg_monitor"), "{}", stat(&stats, "slow-queries"));
    assert!(stat(&stats, "slow-queries")["rows"].as_array().unwrap().iter().any(|row| row["query"].is_null() && row["calls"].is_number()));
    row(stat(&stats, "tables"), "table", "public.child");

    // An extension that was never updated after the server was: each version that this server can make.
    let versions = server.rows("SELECT version FROM pg_available_extension_versions WHERE name = 'pg_stat_statements'");
    let mut versions: Vec<u32> = versions.iter().filter_map(|version| version.strip_prefix("1.")?.parse().ok()).collect();
    versions.sort_unstable();
    assert!(versions.len() >= 5, "{versions:?}");
    for minor in versions {
        server.rows(&format!("DROP EXTENSION pg_stat_statements; CREATE EXTENSION pg_stat_statements VERSION '1.{minor}'"));
        let output =
            Case::new("version").run_args(["stats", "slow-queries", "--min-ms", "0", "--limit", "1000", "--json", "-d", &server.url()]);
        let slow = output.exit(0).json();
        let rows = slow["rows"].as_array().unwrap();
        let counted = rows.iter().find(|row| row["query"].as_str().is_some_and(|query| query.contains("FROM child WHERE"))).unwrap();
        assert!(counted["calls"].as_i64().unwrap() >= 1 && counted["mean_ms"].as_f64().unwrap() > 0.0, "1.{minor}: {counted:#}");
        // WAL came with 1.8, and when it began to count with 1.9.
        assert_eq!((counted["wal_bytes"].is_number(), slow["since"].is_string()), (minor >= 8, minor >= 9), "1.{minor}: {slow:#}");
        // Its time for files is the server's, under whatever name.
        assert!(counted["io_ms"].is_number() && counted["max_ms"].is_number(), "1.{minor}: {counted:#}");
    }
    all(&server, "candlefish", &[]);

    // Where a short run's account cannot be whole, the report says so.
    let case = Case::new("the server's account");
    let (url, script) = (server.url(), case.dir().join("one.sql"));
    std::fs::write(&script, "SELECT count(*) FROM child;\n").unwrap();
    let script = script.display().to_string();
    let run = [
        "bench",
        "--layer",
        "direct",
        "--to",
        &url,
        "-f",
        &script,
        "-c",
        "2",
        "-t",
        "50",
        "--warmup",
        "0",
        "--json",
        "--allow-writes",
        "postgres",
    ];
    let account = &case.run_args(run).exit(0).json()["layers"][0]["server"];
    let is_whole = account["counts"]["commits"].as_f64().is_some_and(|commits| (100.0..=120.0).contains(&commits));
    assert_eq!(account["notes"].to_string().contains("are what sessions handed in"), major < 15, "{account:#}");
    assert!(is_whole || major < 15, "{account:#}");

    // The view is there, and the library is not.
    server.restart(&[]);
    let stats = all(&server, "candlefish", &["slow-queries"]);
    assert!(
        said(stat(&stats, "slow-queries")).contains("shared_preload_libraries = 'pg_stat_statements'; -- as a superuser"),
        "{stats:#?}"
    );
}

/// The counters that have a rate; `most` commits a second are a session's that left.
fn growth(documents: &[Value], most: f64) -> Vec<String> {
    let mut grown = Vec::new();
    for stat in documents.iter().flat_map(|document| document["stats"].as_array().cloned().unwrap_or_else(|| vec![document.clone()])) {
        for row in stat["rows"].as_array().unwrap() {
            // The server's own processes do what they do.
            let is_server =
                row["backend"].as_str().is_some_and(|backend| !matches!(backend, "client backend" | "this database's backends"));
            let rates = row.as_object().unwrap().iter().filter(|(name, _)| !is_server && name.ends_with("_per_s"));
            let own = rates.filter_map(|(name, rate)| Some((name, rate.as_f64()?)));
            let more = own.filter(|(name, rate)| *rate > if *name == "commits_per_s" { most } else { 0.0 });
            grown.extend(more.map(|(name, rate)| format!("{} {name} {rate}: {row}", stat["stat"])));
        }
    }
    grown
}

/// Where nothing happens but that somebody looks, nothing has a rate.
fn looking_adds_nothing(server: &Server) {
    let case = Case::new("idle");
    let url = server.url();
    let words = |names: &[&'static str], count: &'static str| {
        let watch = ["--watch", "1100ms", "--count", count, "--min-ms", "0", "--json", "-d"];
        [&["stats"], names, &watch].concat().into_iter().map(str::to_string).chain([url.clone()]).collect::<Vec<_>>()
    };
    let document = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let watched = |names: &[&'static str]| {
        let documents: Vec<Value> = case.run_args(words(names, "3")).exit(0).stdout.lines().map(document).collect();
        assert_eq!(documents.len(), 3);
        documents
    };
    // A session that ended just now may be counted late, once. What a watch adds by itself it adds each time.
    let assert_idle = |look: &dyn Fn() -> Vec<String>| {
        let mut grown = look();
        for _ in 0..2 {
            if !grown.is_empty() {
                grown = look();
            }
        }
        assert!(grown.is_empty(), "being looked at adds to {grown:#?}");
    };
    assert_idle(&|| growth(&watched(&["slow-queries", "cache-hit", "io", "tables"]), 0.0));
    assert_idle(&|| growth(&watched(&[]), 0.0));
    // Whoever comes sees who is there, and is seen. Who leaves takes his last look with him.
    assert_idle(&|| {
        let mut first = case.command().args(words(&[], "6")).spawn().unwrap();
        let mut lines = BufReader::new(first.stdout.take().unwrap()).lines().map(|line| document(&line.unwrap()));
        let before: Vec<Value> = lines.next().into_iter().collect();
        let grown = [growth(&before, 0.0), growth(&watched(&[]), 0.0), growth(&lines.collect::<Vec<_>>(), 1.0)].concat();
        assert_eq!(first.wait().unwrap().code(), Some(0));
        grown
    });
    // What is traffic is counted.
    let traffic = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watched(&["cache-hit"]));
        for _ in 0..30 {
            server.rows("SELECT count(*) FROM child");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        watch.join().unwrap()
    });
    let hits = traffic.iter().map(|document| row(document, "what", "database")["hits_per_s"].as_f64().unwrap_or_default());
    assert!(hits.fold(0.0, f64::max) > 100.0, "{traffic:#?}");
}

fn assert_all_is_there(stats: &[Value], major: u32) {
    let slow = stat(stats, "slow-queries");
    // Looking is not what is looked at.
    assert!(!slow["rows"].to_string().contains("pg_statio_user_tables"), "{slow:#}");
    let rows = slow["rows"].as_array().unwrap();
    let counted = rows.iter().find(|row| row["query"].as_str().is_some_and(|query| query.contains("FROM child"))).unwrap();
    assert!(
        counted["calls"].as_i64().unwrap() >= 1 && counted["mean_ms"].as_f64().unwrap() > 0.0 && counted["io_ms"].is_number(),
        "{counted}"
    );
    // Who counts when began with 1.9, which is PostgreSQL 14's.
    assert_eq!(slow["since"].is_string(), major >= 14, "{}", slow["since"]);

    let tables = stat(stats, "tables");
    let child = row(tables, "table", "public.child");
    assert!(child["size_bytes"].as_i64().unwrap() > 100_000 && child["dead_est"].is_number(), "{child}");
    let view = row(tables, "table", "public.names");
    assert_eq!(view["kind"], "materialized view");
    assert!(view["refreshed_seconds"].as_f64().unwrap() < 300.0, "{view}");

    row(stat(stats, "indexes"), "finding", "missing");
    row(stat(stats, "cache-hit"), "what", "database");
    row(stat(stats, "connections"), "scope", "limit");
    row(stat(stats, "vacuum"), "name", "postgres");
    let io = stat(stats, "io");
    let backend = if major >= 16 { "client backend" } else { "this database's backends" };
    assert!(row(io, "backend", backend)["hits"].is_number());
    assert_eq!(io["notes"].as_array().unwrap().is_empty(), major >= 16);
}
