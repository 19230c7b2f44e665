//! A load that was not answered: servers that go, requests that were never sent. No assertion passes over it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{ChildStderr, Stdio};
use std::{fs, thread};

use serde_json::Value as Json;

use super::case;
use crate::store::checker::Redis;
use crate::store::outage::Bouncer;
use crate::support::{Case, Database, Output};

fn number(of: &Json, path: &str) -> f64 {
    of.pointer(path).and_then(Json::as_f64).unwrap_or_else(|| panic!("no {path} in {of:#}"))
}

/// Runs this while the database lets nobody in any more, from when clients are at work, and for so many seconds.
fn with_a_server_that_goes(case: &Case, database: &Database, line: &str, seconds: Option<f64>) -> Output {
    thread::scope(|scope| {
        let gone = scope.spawn(|| {
            database.until("SELECT count(*) > 2 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%of_the_bench%' AND pid <> pg_backend_pid()");
            let name = &database.name;
            Database::maintain(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
            Database::maintain(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
            if let Some(seconds) = seconds {
                Database::maintain(&format!("SELECT pg_sleep({seconds})"));
                Database::maintain(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
            }
        });
        let output = case.run(line);
        gone.join().unwrap();
        Database::maintain(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name));
        output
    })
}

/// A load of short statements on a database of its own, whose server goes under it.
fn short_ones(name: &str) -> (Case, Database) {
    let database = Database::fresh();
    let case = case(name, &database, &[("one.sql", "SELECT pg_sleep(0.01) AS of_the_bench;\n")]);
    (case, database)
}

#[test]
fn a_server_that_dies_under_a_run_is_no_good_answer() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (case, database) = short_ones("a server dies");
            let line = "bench --to {url} -f {dir}/one.sql -c 3 -T 3 --warmup 0 --assert error_rate<99% --assert p95<10s --save {dir}/died.json --json";
            let output = with_a_server_that_goes(&case, &database, line, None).exit(1);
            let output = output.stderr_has("3 of 3 clients had none at the end").stderr_has("no assertion passes on it");
            let report = output.json();
            let layer = &report["layers"][0];
            assert_eq!((&layer["connections"]["lost"], &layer["connections"]["away_at_end"]), (&3.into(), &3.into()), "{layer:#}");
            // A client that finds no connection has failed, and the seconds in which nothing was answered are there.
            let series = layer["series"].as_array().unwrap();
            assert!(series.len() >= 3 && series[2]["tps"] == 0 && number(&series[2], "/errors") > 0.0, "{series:#?}");
            assert!(number(layer, "/errors") >= 3.0 + number(layer, "/connections/failed_attempts"), "{layer:#}");
            for assertion in report["assertions"].as_array().unwrap() {
                assert!(assertion["passed"] == false && assertion["actual"].is_number(), "{assertion:#}");
            }
        });
        // With a number of transactions and no end, a client gives up in the end, and what it had left has failed.
        let (case, database) = short_ones("a server dies, and there is no end");
        let line = "bench --to {url} -f {dir}/one.sql -c 3 -t 4000 --warmup 0 --assert error_rate<1% --json";
        let report = with_a_server_that_goes(&case, &database, line, None).exit(1).json();
        let layer = &report["layers"][0];
        assert_eq!(number(layer, "/transactions") + number(layer, "/errors"), 12_000.0, "{layer:#}");
        assert!(layer["errors_by_code"].to_string().contains("their client had lost its connection"), "{layer:#}");
    });
}

#[test]
fn a_server_that_comes_back_is_found_again_and_what_was_due_meanwhile_is_answered() {
    let line = |words: &str| format!("bench --to {{url}} -f {{dir}}/one.sql -c 4 -T 4 --warmup 0 --assert error_rate<50% --json {words}");
    thread::scope(|scope| {
        scope.spawn(|| {
            let (case, database) = short_ones("a server restarts");
            let report = with_a_server_that_goes(&case, &database, &line("-R 100"), Some(1.0)).exit(0).json();
            let layer = &report["layers"][0];
            let connections = &layer["connections"];
            assert!(
                number(connections, "/lost") >= 4.0 && number(connections, "/failed_attempts") > 0.0 && connections["away_at_end"] == 0,
                "{layer:#}"
            );
            assert!(layer["open"]["not_sent"] == 0 && number(layer, "/latency_ms/max") > 900.0, "{layer:#}");
        });
        // In the closed model nobody asked meanwhile, so it is not the load that was asked for.
        let (case, database) = short_ones("a server restarts, and nobody asked");
        let output = with_a_server_that_goes(&case, &database, &line(""), Some(1.0)).exit(1);
        let output = output.stderr_has("clients were without a connection for");
        assert_eq!(output.json()["assertions"][0]["passed"], false);
    });
}

#[test]
fn what_was_due_and_never_sent_has_failed_and_took_its_time() {
    let database = Database::fresh();
    let case = case("never sent", &database, &[("slow.sql", "SELECT pg_sleep(0.05);\n")]);
    let line = "bench --to {url} -f {dir}/slow.sql -c 1 -R 500 -T 1 --warmup 0 --assert p95<500ms --assert error_rate<1% --assert not_sent<1 --json";
    let output = case.run(line).exit(1).stderr_has("were due and never sent");
    let report = output.json();
    assert!(report["assertions"].as_array().unwrap().iter().all(|assertion| assertion["passed"] == false), "{:#}", report["assertions"]);
    let layer = &report["layers"][0];
    let (answered, failed, not_sent) = (number(layer, "/transactions"), number(layer, "/errors"), number(layer, "/open/not_sent"));
    assert!((400.0..600.0).contains(&(answered + failed)) && answered < 60.0 && not_sent == failed, "{layer:#}");
    assert_eq!((&layer["errors_by_code"][0]["code"], number(layer, "/errors_by_code/0/count")), (&"not_sent".into(), not_sent));
    // The last to be begun was so a second after the end: all others waited longer than that.
    assert!(number(layer, "/latency_ms/p50") > 1000.0 && number(layer, "/reads/latency_ms/p95") > 1500.0, "{layer:#}");
    let in_series: f64 = layer["series"].as_array().unwrap().iter().map(|second| number(second, "/errors")).sum();
    assert_eq!(in_series, failed);
}

#[test]
fn clients_that_never_come_out_of_the_warm_up_are_counted_and_nothing_measured_is_no_verdict() {
    let database = Database::fresh();
    let scripts = [("never.sql", "SELECT pg_sleep(60 * (:client_id = 0)::int + 0.01);\n"), ("long.sql", "SELECT pg_sleep(2);\n")];
    let case = case("never out of the warm-up", &database, &scripts);
    let line = |script: &str| {
        format!(
            "bench --to {{url}} -f {{dir}}/{script} --layer direct -c 2 -T 500ms --warmup 300ms --assert error_rate<99% --assert p95<100s --json"
        )
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let output = case.run(&line("never.sql")).exit(1).stderr_has("1 of 2 clients had no answer");
            let report = output.json();
            let layer = &report["layers"][0];
            assert_eq!(
                (&layer["errors_by_code"][0]["code"], number(layer, "/errors_by_code/0/count")),
                (&"unfinished".into(), 1.0),
                "{layer:#}"
            );
            assert!(number(layer, "/transactions") > 5.0, "{layer:#}");
            assert!(report["assertions"].as_array().unwrap().iter().all(|one| one["passed"] == false), "{:#}", report["assertions"]);
        });
        // They begin before the measured time and end after it.
        case.run(&line("long.sql")).exit(2).stderr_has("not one transaction began and ended within the measured time");
    });
}

/// Runs this until it says so on stderr, does something to it, and waits for the end: its exit code, what it said, its report.
fn once_it_says(case: &Case, line: &str, words: &str, then: impl FnOnce()) -> (Option<i32>, String, Json) {
    let mut command = case.command();
    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said: BufReader<ChildStderr> = BufReader::new(child.stderr.take().unwrap());
    let mut all = String::new();
    while !all.contains(words) {
        assert!(said.read_line(&mut all).unwrap() > 0, "it never said {words:?}: {all}");
    }
    then();
    let rest = thread::spawn(move || {
        let mut rest = String::new();
        said.read_to_string(&mut rest).map(|_| rest)
    });
    let output = child.wait_with_output().unwrap();
    all += &rest.join().unwrap().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {all}"));
    (output.status.code(), all, report)
}

#[test]
fn a_pooler_that_dies_takes_its_layers_with_it_and_nothing_of_the_others() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let case = case("a pooler dies", &database, &[("read.sql", "SELECT a FROM t;\n")]);
    rusqlite::Connection::open(case.dir().join("file.db")).unwrap().execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    fs::write(case.dir().join("candlefish.toml"), "[pool]\nreconnect_timeout = \"200ms\"\n").unwrap();
    let mut bouncer = Bouncer::of_the_stack();
    let (dir, url, pooler) = (case.dir().display(), database.url(), bouncer.url_of(&database.name));
    let line = format!(
        "bench --to {url} --pooler {pooler} --redis {} --layer all -f {dir}/read.sql --source {dir}/file.db -c 2 -T 1 --warmup 0 --allow-writes {} \
         --assert pooled:error_rate<100% --json",
        crate::support::addresses().redis_url(),
        database.name
    );
    let (code, said, report) = once_it_says(&case, &line, "pooled: warming up", || bouncer.stop());
    assert_eq!(code, Some(1), "{said}");
    let layers = report["layers"].as_array().unwrap();
    let came_to: Vec<_> = layers.iter().map(|layer| (layer["layer"].as_str().unwrap(), number(layer, "/errors") > 0.0)).collect();
    assert_eq!(came_to, [("sqlite", false), ("direct", false), ("pooled", true)], "{said}");
    assert!(layers[..2].iter().all(|layer| number(layer, "/transactions") > 0.0), "{report:#}");
    assert!(number(&layers[2], "/connections/failed_attempts") > 0.0, "{:#}", layers[2]);
    // What could not be run is said, and what was not measured has not passed.
    assert!(said.contains("the run ended early: layer l2") && report["ended_early"].is_string(), "{said}");
    assert_eq!(report["assertions"][0]["passed"], false, "{:#}", report["assertions"]);
}

#[test]
fn a_redis_that_lets_nobody_in_is_refused_and_one_that_goes_is_said() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let case = case("without Redis", &database, &[("read.sql", "SELECT a FROM t;\n")]);
    let mut redis = Redis::start();
    let port = redis.port;
    let mut admin = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for command in ["ACL SETUSER poor on >poor ~* &* +info +get", "CONFIG SET requirepass secret"] {
        let mut words = command.split(' ');
        redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).query::<()>(&mut admin).unwrap();
    }
    let line = |user: &str| {
        format!(
            "bench --to {} --redis redis://{user}127.0.0.1:{port} --layer l2 -f {}/read.sql -c 2 -T 2 --warmup 0 -P 1 --allow-writes {} --assert redis.away_ratio<1% --json",
            database.url(),
            case.dir().display(),
            database.name
        )
    };
    thread::scope(|scope| {
        // It lets this user in, and do nothing of what the data layer does.
        let poor = scope.spawn(|| case.run(&line("poor:poor@")));
        for (user, said) in [
            (":wrong@", "Redis refuses the user or the password"),
            ("nobody:secret@", "Redis refuses the user or the password"),
            ("", "Redis wants a password, and its address has none"),
        ] {
            let output = case.run(&line(user)).exit(2).stderr_has(said);
            assert!(!output.stderr.contains("warming up") && output.json()["error"]["code"] == "redis_refused", "{output}");
        }
        poor.join().unwrap().exit(2).stderr_has("an instance has not heard its own messages");
    });
    let (code, said, report) = once_it_says(&case, &line(":secret@"), "tps", || redis.kill());
    // The layer goes on without it, as it is meant to; whose numbers these are is said, and may be asked for.
    assert!(code == Some(1) && report["assertions"][0]["passed"] == false && said.contains("layer l2: Redis was lost once; for"), "{said}");
    let layer = &report["layers"][0];
    assert!(layer["redis"]["lost"] == 1 && layer["redis"]["away_at_end"] == 1 && layer["errors"] == 0, "{layer:#}");
    assert!((0.05..0.95).contains(&number(layer, "/redis/away_ratio")), "{layer:#}");
}
