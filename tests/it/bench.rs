//! `candlefish bench`: what it measures is so, and what it promises holds.

mod find_max;
mod layers;
mod leaving;
mod questions;
mod reading;
mod results;
mod tables;
mod unanswered;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Case, Database, long};

/// A case with scripts in its folder.
fn case(name: &str, database: &Database, scripts: &[(&str, &str)]) -> Case {
    let case = Case::new(name).database(database);
    for (file, text) in scripts {
        fs::write(case.dir().join(file), text).unwrap();
    }
    case
}

#[test]
fn a_schema_that_is_not_ours_is_left_alone() {
    let database = Database::fresh();
    database.execute("CREATE SCHEMA candlefish_bench; CREATE TABLE candlefish_bench.mine (a int)");
    let case = case("foreign schema", &database, &[]);
    case.run("bench init --to {url}").exit(2).stderr_has("that `bench init` did not make");
    case.run("bench clean --yes --to {url}").exit(0).stderr_has("there was nothing that bench init made");
    assert_eq!(database.rows("SELECT * FROM candlefish_bench.mine"), Vec::<String>::new());
    // Nor is an application's outbox taken away.
    database.execute(include_str!("../../src/store/queries/outbox.sql"));
    case.run("bench clean --yes --to {url}")
        .exit(0)
        .stderr_has("left: the data layer's outbox in schema candlefish: nothing says that it was made here");
    assert_eq!(database.value("SELECT count(*) FROM candlefish.cache_outbox"), "0");
}

#[test]
fn pgbenchs_own_scripts_run_unchanged_from_files() {
    let database = Database::fresh();
    let made = Command::new("pgbench").args(["-i", "-q", "-s", "1"]).arg(database.url()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let case = case("pgbench's scripts", &database, &[]);
    for script in ["tpcb-like", "simple-update", "select-only"] {
        // It shows them on stderr.
        let shown = Command::new("pgbench").arg(format!("--show-script={script}")).output().unwrap();
        fs::write(case.dir().join("script.sql"), shown.stderr).unwrap();
        for protocol in ["simple", "extended", "prepared"] {
            let line = format!(
                "bench --to {{url}} -f {{dir}}/script.sql --layer direct -M {protocol} -c 3 -t 7 --warmup 0 --allow-writes {} --json",
                database.name
            );
            let report = case.run(&line).exit(0).json();
            assert_eq!(
                (&report["layers"][0]["transactions"], &report["layers"][0]["errors"]),
                (&21.into(), &0.into()),
                "{script} {protocol}"
            );
        }
    }
    assert_eq!(database.value("SELECT count(*) FROM pgbench_history"), (2 * 3 * 21).to_string());
    let sums = database.rows("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)");
    assert_eq!(sums, ["t"]);
}

#[test]
fn a_seed_draws_the_same_transactions_whatever_the_threads() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (run int, client int, x bigint, y bigint)");
    let script = "\\set x random(1, 1000000)\n\\set y random_zipfian(1, 1000000, 1.2)\nINSERT INTO t VALUES (:run, :client_id, :x, :y);\n";
    let case = case("seeds", &database, &[("draw.sql", script)]);
    for (run, words) in [(1, "--seed 7 -j 1"), (2, "--seed 7 -j 2"), (3, "--seed 8 -j 2")] {
        let line = format!(
            "bench --to {{url}} -f {{dir}}/draw.sql -D run={run} {words} --layer direct -c 3 -t 20 --warmup 0 --allow-writes {}",
            database.name
        );
        case.run(&line).exit(0);
    }
    let differences = |other: u32| {
        let drawn = |run: u32| format!("(SELECT client, x, y FROM t WHERE run = {run})");
        database.value(&format!("SELECT count(*) FROM ({} EXCEPT {}) d", drawn(1), drawn(other)))
    };
    assert_eq!((differences(2).as_str(), differences(3).as_str()), ("0", "60"));
}

#[test]
fn scripts_branch_keep_and_pause() {
    let database = Database::fresh();
    database.execute("CREATE TABLE seen (what text)");
    let script = "\\set n 3\nSELECT :n * 2 AS double, 'it''s' AS word \\gset p_\n\\if :p_double = 6\n\\sleep 20 ms\nINSERT INTO seen VALUES (:p_word);\n\
        \\else\nINSERT INTO seen VALUES ('wrong');\n\\endif\n";
    let case = case("branches", &database, &[("branch.sql", script)]);
    let report = case
        .run(&format!(
            "bench --to {{url}} -f {{dir}}/branch.sql --layer direct -c 1 -t 2 --warmup 0 --json --allow-writes {}",
            database.name
        ))
        .exit(0)
        .json();
    assert_eq!(database.rows("SELECT * FROM seen"), ["it's", "it's"]);
    assert!(report["layers"][0]["latency_ms"]["min"].as_f64().unwrap() >= 20.0, "{report:#}");
}

#[test]
fn what_is_wrong_with_a_script_is_said_with_its_place() {
    let database = Database::fresh();
    let scripts = [
        ("bad.sql", "SELECT 1;\n\\set x randm(1, 2)\n"),
        ("zero.sql", "\\set x 1 / 0\nSELECT :x;\n"),
        ("table.sql", "SELECT * FROM no_such_table;\n"),
    ];
    let case = case("bad scripts", &database, &scripts);
    fs::write(case.dir().join("latin1.sql"), b"SELECT 1;\nSELECT 'caf\xe9';\n").unwrap();
    case.run("bench --to {url} -f {dir}/latin1.sql").exit(2).stderr_has("latin1.sql:2:12: this is not UTF-8");
    case.run("bench --to {url} -f /dev/zero").exit(2).stderr_has("/dev/zero is longer than a script may be");
    for weight in ["-1", "1.5"] {
        case.run(&format!("bench -f {{dir}}/zero.sql@{weight}")).exit(2).stderr_has("a weight is a whole number");
    }
    // Deeper than a thread's stack.
    for (text, said) in [
        (format!("{}1{}", "(".repeat(500), ")".repeat(500)), "deep.sql:1:109: the expression is nested more than 100 deep"),
        ("-".repeat(100_000) + "1", "the expression is nested more than 100 deep"),
        ("not ".repeat(5000) + "true", "the expression is nested more than 100 deep"),
        ("1".to_string() + &"+1".repeat(3000), "the expression has more than 500 operators"),
    ] {
        fs::write(case.dir().join("deep.sql"), format!("\\set x {text}\nSELECT :x;\n")).unwrap();
        case.run("bench --to {url} -f {dir}/deep.sql").exit(2).stderr_has(said);
    }
    let most = format!("\\set x {}{}{}\nSELECT :x;\n", "(".repeat(98), "1".to_string() + &"+1".repeat(500), ")".repeat(98));
    fs::write(case.dir().join("most.sql"), most).unwrap();
    case.run("bench --to {url} --layer direct -f {dir}/most.sql -t 1 --warmup 0").exit(0);
    case.run("bench --to {url} -f {dir}/bad.sql").exit(2).stderr_has("bad.sql:2:8: there is no function randm(); did you mean random()?");
    case.run("bench --to {url} -f {dir}/zero.sql").exit(2).stderr_has("zero.sql:1:8: division by zero");
    case.run("bench --to {url} -f {dir}/table.sql -t 1 --warmup 0").exit(2).stderr_has("table.sql:1:1: relation");
    case.run("bench --to {url} --layer pooled -f {dir}/table.sql -t 1 --warmup 0").exit(2).stderr_has("table.sql:1:1: relation");
    case.run("bench --to {url} -f {dir}/missing.sql").exit(2).stderr_has("missing.sql cannot be read");
    case.run("bench --to {url} -f selekt-only").exit(2).stderr_has("built in are registry");
    let error = case.run("bench --to {url} -f {dir}/table.sql -T 1 --warmup 0 --json").exit(2).json();
    assert_eq!((&error["error"]["code"], &error["error"]["sqlstate"]), (&"nothing_succeeded".into(), &"42P01".into()), "{error:#}");
    case.run_args(["bench", "--assert", "p95<<50ms"]).exit(2).stderr_has("character 5: a number is missing");
    case.run_args(["bench", "--assert", "p95<50%"]).exit(2).stderr_has("p95 is counted in milliseconds, not a ratio");
    case.run_args(["bench", "find-max", "p95<1s", "-R", "5"]).exit(2).stderr_has("chooses the rates itself");
}

#[test]
fn a_rate_at_which_nothing_succeeds_is_a_step_and_no_error() {
    let database = Database::fresh();
    database.execute("CREATE SEQUENCE s");
    // The first two calls go well, and no other.
    let script = "SELECT 1 / (CASE WHEN nextval('s') > 2 THEN 0 ELSE 1 END);\n";
    let case = case("worn out", &database, &[("worn.sql", script)]);
    let line = format!(
        "bench find-max p95<10s --to {{url}} -f {{dir}}/worn.sql --layer direct --allow-writes {} -c 1 -T 300ms --warmup 0",
        database.name
    );
    let found = case.run(&format!("{line} --start 40 --json")).exit(1).json();
    assert!(found["max_rate"].is_null() && found["steps"].as_array().unwrap().len() > 3, "{found:#}");
    assert!(found["steps"][0]["tps"].as_f64().unwrap() > 0.0 && found["steps"][1]["tps"] == 0.0, "{found:#}");
    // Where nothing ever did, the statement is what is wrong.
    case.run(&format!("{line} --start 40")).exit(2).stderr_has("division by zero");
}

#[test]
fn what_never_ends_is_booked_to_its_own_script() {
    let database = Database::fresh();
    let case = case("hangs", &database, &[("quick.sql", "SELECT 1;\n"), ("hangs.sql", "SELECT pg_sleep(100);\n")]);
    // By this seed each client runs a quick one before it hangs; with both gone this is not the load that was asked for.
    let report = case.run("bench --to {url} -f {dir}/quick.sql -f {dir}/hangs.sql -c 2 -T 300ms --warmup 0 --seed 2 --json").exit(1).json();
    let errors: Vec<u64> =
        report["layers"][0]["operations"].as_array().unwrap().iter().map(|operation| operation["errors"].as_u64().unwrap()).collect();
    assert_eq!(errors, [0, 2], "{report:#}");
}

#[test]
fn nothing_is_written_where_nobody_allowed_it() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int)");
    let case = case("read-only", &database, &[("write.sql", "INSERT INTO t VALUES (1);\n"), ("read.sql", "SELECT a FROM t;\n")]);
    case.run("bench --to {url} -f {dir}/write.sql -t 1").exit(2).stderr_has("write.sql:1:1: this writes").stderr_has("--allow-writes");
    case.run("bench --to {url} -f {dir}/write.sql -t 1 --allow-writes other").exit(2);
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
    // The whole data layer is what is measured, where it can be.
    let output = case
        .run("bench --to {url} -f {dir}/read.sql -t 1 --warmup 0 --json")
        .exit(0)
        .stderr_has("layer direct: the database may only be read");
    assert_eq!(output.json()["layers"][0]["layer"], "direct");
    let line = format!("bench --to {{url}} -f {{dir}}/write.sql -t 1 -c 1 --warmup 0 --json --allow-writes {}", database.name);
    let report = case.run(&line).exit(0).json();
    assert_eq!((&report["layers"][0]["layer"], database.value("SELECT count(*) FROM t").as_str()), (&"cached".into(), "1"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_run() {
    let database = Database::fresh();
    let case = case("refused", &database, &[("one.sql", "SELECT 1;\n"), ("there.json", "")]);
    let refused = |words: &str, said: &str| {
        let line = format!("bench --to {{url}} --layer direct -f {{dir}}/one.sql -t 1 -c 1 --warmup 0 {words}");
        let output = case.run(&line).exit(2).stderr_has(said);
        assert!(!output.stderr.contains("warming up"), "{}", output.stderr);
    };
    refused("--save {dir}/nowhere/a.json", "nowhere/a.json cannot be written");
    refused("--html {dir}", "is a folder");
    refused("--save {dir}/a --html {dir}/a", "name the same file");
    refused("--assert p59<1s --save {dir}/there.json", "did you mean p50?");
    refused("--assert chached:p95<1s", "did you mean cached?");
    refused("--assert cached:p95<1s", "layer cached is not run");
    for words in ["-c 99999999999", "-c 10001", "-j 257", "--instances 65", "--repeat 1001", "-R 1000001", "-s 20001"] {
        case.run(&format!("bench {words}")).exit(2).stderr_has("invalid value");
    }
    case.run("bench -T 0").exit(2).stderr_has("nothing is measured in no time");
    case.run("bench -T 99999999999").exit(2).stderr_has("no longer than a week");
    let compare = |a: &str, b: &str| case.run_args(["bench", "compare", "--interleave", a, b]);
    let to = format!("--to {} -S", database.url());
    compare(&format!("{to} --save a.json"), &to).exit(2).stderr_has("knows no --save");
    let script = format!("--to {} -f {}/one.sql", database.url(), case.dir().display());
    compare(&format!("{script} --layer direct"), &format!("{script} --layer pooled"))
        .exit(2)
        .stderr_has("no layer in common: direct and pooled");
    // What stood there still does, and nothing else does.
    assert_eq!(fs::read_to_string(case.dir().join("there.json")).unwrap(), "");
    let mut files: Vec<_> = fs::read_dir(case.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["one.sql", "there.json"]);
    case.run("bench --to {url} -f {dir}/one.sql -t 1 -c 1 --warmup 0 --save {dir}/there.json").exit(0);
    assert!(fs::read_to_string(case.dir().join("there.json")).unwrap().starts_with("{\n"));
}

#[test]
fn errors_are_counted_by_their_code_and_the_rest_goes_on() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int PRIMARY KEY)");
    let script = "\\set a random(1, 5)\nBEGIN;\nINSERT INTO t VALUES (:a);\nEND;\n";
    let case = case("errors", &database, &[("insert.sql", script)]);
    let report = case
        .run(&format!(
            "bench --to {{url}} -f {{dir}}/insert.sql --layer direct -c 2 -t 20 --warmup 0 --json --allow-writes {}",
            database.name
        ))
        .exit(0)
        .json();
    let layer = &report["layers"][0];
    assert_eq!((&layer["transactions"], &layer["errors"], &layer["error_rate"]), (&5.into(), &35.into(), &0.875.into()), "{layer:#}");
    assert_eq!(layer["errors_by_code"][0]["code"], "23505");
    // What a server says moves no cursor.
    fs::write(case.dir().join("raise.sql"), "DO $$ BEGIN RAISE 'red \x1b[31m'; END $$;\n").unwrap();
    fs::write(case.dir().join("one.sql"), "SELECT 1;\n").unwrap();
    let line = format!(
        "bench --to {{url}} -f {{dir}}/raise.sql -f {{dir}}/one.sql --layer direct -c 1 -t 9 --warmup 0 --allow-writes {}",
        database.name
    );
    let output = case.run(&line);
    assert!(output.stdout.contains("red ") && !output.stdout.contains('\x1b'), "{}", output.stdout);
}

#[test]
fn tries_and_statements_are_counted_apart_and_the_warm_up_not_at_all() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (0); CREATE SEQUENCE s");
    let scripts = [
        ("add.sql", "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT n, pg_sleep(0.001) FROM t;\nUPDATE t SET n = n + 1;\nEND;\n"),
        ("next.sql", "SELECT nextval('s');\n"),
    ];
    let case = case("tries", &database, &scripts);
    let line = |words: &str| format!("bench --to {{url}} --layer direct {words} --json --allow-writes {}", database.name);
    let report = case.run(&line("-f {dir}/add.sql -c 4 -t 25 --warmup 0 --max-tries 1000 -r")).exit(0).json();
    let layer = &report["layers"][0];
    let retries = layer["retries"].as_u64().unwrap();
    assert!(retries > 0 && layer["transactions"] == 100 && layer["errors"] == 0, "{layer:#}");
    assert_eq!(database.value("SELECT n FROM t"), "100");
    let update = &layer["statements"][2];
    assert_eq!(update["statement"], "UPDATE t SET n = n + 1", "{layer:#}");
    assert_eq!((&update["executions"], &update["errors"]), (&100.into(), &retries.into()), "{layer:#}");
    assert!(layer["client_cpu_us_per_transaction"].as_f64().unwrap() > 0.0, "{layer:#}");
    let report = case.run(&line("-f {dir}/next.sql -c 2 -T 500ms --warmup 500ms")).exit(0).json();
    let layer = &report["layers"][0];
    let (counted, ran) = (layer["transactions"].as_f64().unwrap(), database.value("SELECT last_value FROM s").parse::<f64>().unwrap());
    // A good part of what ran did so in the warm-up.
    assert!(counted > 0.0 && ran > counted * 1.1, "{counted} of {ran}");
}

#[test]
fn the_queue_of_the_warm_up_is_not_measured() {
    let database = Database::fresh();
    let case = case("overload", &database, &[("sleep.sql", "SELECT pg_sleep(0.01);\n")]);
    // Twice what one client bears: when the warm-up ends, two seconds of work stand in its queue.
    let line = "bench --to {url} --layer direct -f {dir}/sleep.sql -c 1 -R 200 -T 500ms --warmup 4 --json";
    let output = case.run(line).exit(0).stderr_has("due in the warm-up were not begun when it ended, and were dropped");
    let layer = &output.json()["layers"][0];
    assert!(layer["open"]["dropped_with_warmup"].as_u64().unwrap() > 300, "{layer:#}");
    assert!(layer["transactions"].as_u64().unwrap() > 30 && layer["latency_ms"]["max"].as_f64().unwrap() < 1600.0, "{layer:#}");
}

#[test]
fn a_missed_assertion_is_exit_1_with_its_value() {
    let database = Database::fresh();
    let case = case("assertions", &database, &[("sleep.sql", "SELECT pg_sleep(0.06);\n")]);
    let run = |asserts: &[&str]| {
        let script = format!("{}/sleep.sql", case.dir().display());
        let mut words: Vec<String> =
            ["bench", "--to", &database.url(), "-f", &script, "-t", "3", "-c", "1", "--warmup", "0", "--json"].map(str::to_string).to_vec();
        words.extend(asserts.iter().flat_map(|assert| ["--assert".to_string(), assert.to_string()]));
        case.run_args(words)
    };
    run(&["p95<1s,error_rate<0.1%", "direct:transactions=3", "reads.latency_ms.p50>=60ms"]).exit(0);
    let missed = run(&["p95<50ms", "error_rate<0.1%"]).exit(1).json();
    let verdicts = missed["assertions"].as_array().unwrap();
    assert!(verdicts[0]["passed"] == false && verdicts[0]["actual"].as_f64().unwrap() > 59.0, "{missed:#}");
    assert_eq!(verdicts[1], serde_json::json!({"expr": "error_rate<0.1%", "actual": 0.0, "passed": true, "about": null}));
    // What is not known has not passed.
    let unknown = run(&["l1_hit_ratio>95%"]).exit(1).json();
    assert_eq!(unknown["assertions"][0]["actual"], serde_json::Value::Null);
    run(&["p59<50ms"]).exit(2).stderr_has("did you mean p50");
    let said = run(&["series.0.tps>1"]).exit(2).stderr;
    assert!(!said.contains("It has ."), "{said}");
}

#[test]
fn an_open_model_sees_what_a_closed_one_hides() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let case = case("a stall", &database, &[("read.sql", "SELECT a FROM t;\n")]);
    let with_a_stall = |words: &str| {
        let line = format!("bench --to {{url}} -f {{dir}}/read.sql -c 4 -T 4 --warmup 0 --json {words}");
        thread::scope(|scope| {
            let stall = scope.spawn(|| {
                // Begins when the load test's clients are at work.
                // Where only reading is allowed each statement stands in a transaction of its own, whose end is what is mostly seen.
                database.until(
                    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^candlefish bench [0-9]' AND query ~ 'FROM t|ROLLBACK'",
                );
                database.execute("LOCK TABLE t; SELECT pg_sleep(1)");
            });
            let report = case.run(&line).exit(0).json();
            stall.join().unwrap();
            report
        })
    };
    let open = with_a_stall("-R 200");
    let p99 = open["layers"][0]["latency_ms"]["p99"].as_f64().unwrap();
    assert!((800.0..1200.0).contains(&p99), "{p99}");
    assert_eq!(open["layers"][0]["open"]["not_sent"], 0);
    let closed = with_a_stall("");
    let p99 = closed["layers"][0]["latency_ms"]["p99"].as_f64().unwrap();
    assert!(p99 < 200.0, "{p99}");
    assert!(closed["notes"][0].as_str().unwrap().contains("closed model"), "{closed:#}");
}

/// The servers of one test, which it may stop; destroyed with it.
struct Private(Case);

impl Drop for Private {
    fn drop(&mut self) {
        self.0.run("--quiet stack down --destroy --yes").exit(0);
    }
}

/// PostgreSQL's processes: the one of this number, and its children.
fn family(postmaster: u64) -> Vec<String> {
    let parent = |pid: &str| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter(|pid| *pid == postmaster.to_string() || parent(pid) == Some(postmaster)).collect()
}

/// The figure itself: a server that stands still for 1 s of 10 s. A tenth of the requests falls due meanwhile, the last hundredth of all in the first
/// 0.1 s of it, and so waits for 0.9 s or more.
#[test]
fn a_server_that_stands_still_shows_in_the_open_models_percentiles() {
    if !long() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let private = Private(Case::new("a server that stands still").home(folder.path().join("home")));
    let case = &private.0;
    case.run("stack up").exit(0);
    case.run("bench init").exit(0);
    let status = case.run("stack status --json").json();
    let postmaster =
        status["servers"].as_array().unwrap().iter().find(|server| server["name"] == "postgres").unwrap()["pid"].as_u64().unwrap();
    let stalled = |words: &str| {
        let mut command = case.command();
        command.args(format!("bench --layer direct -S -c 20 -T 10 --warmup 0 -P 1 --json {words}").split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The clients are at work, and being measured.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("tps") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended without a line of progress");
        }
        let rest = thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let signal = |name: &str| assert!(Command::new("kill").arg(name).args(family(postmaster)).status().unwrap().success());
        // A busy machine takes its time to send them, so the stall is as long as it is.
        let began = Instant::now();
        signal("-STOP");
        thread::sleep(Duration::from_secs(1));
        signal("-CONT");
        let stall_ms = began.elapsed().as_secs_f64() * 1000.0;
        let output = child.wait_with_output().unwrap();
        rest.join().unwrap().unwrap();
        assert!(output.status.success());
        (serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), stall_ms)
    };
    let (open, stall_ms) = stalled("-R 500");
    let p99 = open["layers"][0]["latency_ms"]["p99"].as_f64().unwrap();
    // One in a hundred of ten seconds' requests were due in the first tenth of the stall.
    assert!((850.0..stall_ms).contains(&p99), "{p99} of {stall_ms}");
    let (closed, _) = stalled("");
    let p99 = closed["layers"][0]["latency_ms"]["p99"].as_f64().unwrap();
    assert!(p99 < 100.0 && closed["notes"][0].as_str().unwrap().contains("a stall keeps requests back"), "{p99} {}", closed["notes"]);
}

#[test]
fn a_signal_prints_the_results_so_far() {
    let database = Database::fresh();
    database.execute("CREATE SEQUENCE done");
    let case = case("a signal", &database, &[("read.sql", "SELECT nextval('done'), pg_sleep(0.01);\n")]);
    let mut command = case.command();
    command.args([
        "bench",
        "--to",
        &database.url(),
        "-f",
        &format!("{}/read.sql", case.dir().display()),
        "-T",
        "600",
        "--layer",
        "direct",
        "--warmup",
        "0",
        "--json",
        "--save",
        "so-far.json",
    ]);
    command.args(["--allow-writes", &database.name]);
    let child = command.spawn().unwrap();
    while database.value("SELECT last_value FROM done").parse::<u64>().unwrap() < 40 {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["interrupted"] == true && report["layers"][0]["transactions"].as_u64().unwrap() > 10, "{report:#}");
    // It is kept as well, and who compares it is told.
    let compared = case.run("bench compare {dir}/so-far.json {dir}/so-far.json").exit(0).stdout_has("inconclusive");
    compared.stderr_has("so-far.json is of a run that did not come to its end");
}

#[test]
fn a_server_with_too_few_connections_is_said() {
    let database = Database::fresh();
    let case = case("too many clients", &database, &[("one.sql", "SELECT 1;\n")]);
    // A role that may have few: the server is everybody's.
    let role = format!("few_{}", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 5"));
    let rest = database.url().split_once('@').unwrap().1.to_string();
    let line = format!("bench --to postgresql://{role}:few@{rest} -f {{dir}}/one.sql -c 20 -T 1 --warmup 0");
    let output = case.run(&line);
    database.execute(&format!("DROP ROLE {role}"));
    output.exit(2).stderr_has("has no connection free");
}

/// A run of somebody who may not see what others ask: his own is told, theirs is not, and the report says so.
#[test]
fn statements_that_the_server_hides_are_not_counted() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int)");
    // Often: with so many tests on one server, what was asked once is soon forgotten for others.
    database.execute(&"SELECT count(*) AS of_another FROM t;".repeat(200));
    let case = case("hidden statements", &database, &[("one.sql", "SELECT 1 AS of_mine;\n")]);
    let role = format!("blind_{}", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'blind'"));
    let rest = database.url().split_once('@').unwrap().1.to_string();
    let output = case.run(&format!("bench --to postgresql://{role}:blind@{rest} -f {{dir}}/one.sql -c 1 -T 1 --warmup 0 --json"));
    database.execute(&format!("DROP ROLE {role}"));
    let report = output.exit(0).json();
    let server = &report["layers"][0]["server"];
    assert!(server["notes"].to_string().contains("hidden from this one"), "{server:#}");
    let statements = server["statements"].as_array().unwrap();
    let of_mine = statements.iter().find(|statement| statement["query"].as_str().unwrap().contains("of_mine")).unwrap();
    let (calls, transactions) = (of_mine["calls"].as_f64().unwrap(), report["layers"][0]["transactions"].as_f64().unwrap());
    assert!((calls - transactions).abs() <= transactions * 0.2 + 50.0, "{calls} of {transactions}");
    assert!(!server["statements"].to_string().contains("insufficient privilege"), "{server:#}");
}

#[test]
fn the_servers_own_account_is_of_the_load_and_not_of_who_looks() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int)");
    let case = case("the server's account", &database, &[("one.sql", "SELECT count(*) FROM t;\n")]);
    // Over before any session has handed in what it counted.
    let line =
        format!("bench --to {{url}} --layer direct -f {{dir}}/one.sql -c 2 -t 50 --warmup 0 --json --allow-writes {}", database.name);
    let report = case.run(&line).exit(0).json();
    let server = &report["layers"][0]["server"];
    // Sessions begin with a transaction of their own.
    assert!((100.0..=115.0).contains(&server["counts"]["commits"].as_f64().unwrap()), "{server:#}");
    let statements = server["statements"].as_array().unwrap();
    let of = |words: &str| -> f64 {
        let found = statements.iter().find(|statement| statement["query"].as_str().unwrap().starts_with(words));
        found.map_or(0.0, |statement| statement["calls"].as_f64().unwrap())
    };
    let looking = of("BEGIN") + of("COMMIT") + of("SELECT set_config") + of("SELECT $1 FROM");
    assert_eq!((of("SELECT count(*) FROM t"), looking), (100.0, 0.0), "{server:#}");
    // As whole where the data layer opens the sessions, and where there is hardly a run.
    let pooled = case.run(&line.replace("direct", "pooled")).exit(0).json();
    let server = &pooled["layers"][0]["server"];
    assert!((100.0..=150.0).contains(&server["counts"]["commits"].as_f64().unwrap()), "{server:#}");
    let short = case.run(&line.replace("-c 2 -t 50", "-c 1 -t 1 --repeat 20")).exit(0).json();
    for layer in pooled["layers"].as_array().unwrap().iter().chain(short["layers"].as_array().unwrap()) {
        let server = &layer["server"];
        assert!(server["counts"]["commits"].as_f64().unwrap() >= 1.0 && server["notes"] == serde_json::json!([]), "{server:#}");
    }
}

#[test]
fn a_run_goes_to_the_target_and_to_nothing_else_that_somebody_names() {
    let (database, other) = (Database::fresh(), Database::fresh());
    other.execute("CREATE TABLE t (a int)");
    database.execute("CREATE TABLE t (a int)");
    let scripts = [("write.sql", "INSERT INTO t VALUES (1);\n"), ("read.sql", "SELECT 1;\n")];
    let case = case("another database", &database, &scripts).env("POOLER_URL", &other.pooler_url());
    for script in ["write", "read"] {
        let line = format!("bench --to {{url}} -f {{dir}}/{script}.sql -t 1 -c 1 --warmup 0 --allow-writes {}", database.name);
        case.run(&line).exit(2).stderr_has(&format!("leads to database \"{}\"", other.name));
        case.run(&format!("{line} --pooler {{pooler}}")).exit(0);
        case.run(&format!("{line} --pooler {{pooler}} --redis redis://127.0.0.1:1")).exit(2).stderr_has("Redis does not answer");
    }
    assert_eq!((other.value("SELECT count(*) FROM t"), database.value("SELECT count(*) FROM t")), ("0".into(), "1".into()));
    assert_eq!(other.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'candlefish%'"), "0");
}

#[test]
fn a_transaction_that_a_script_leaves_open_is_its_mistake() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int)");
    let scripts = [("open.sql", "SELECT 1;\nBEGIN;\nINSERT INTO t VALUES (1);\n"), ("joined.sql", "BEGIN\\; SELECT 1\\; COMMIT;\n")];
    let case = case("left open", &database, &scripts);
    for layer in ["direct", "direct -M simple", "pooled", "sqlite --source {dir}/file.db"] {
        if layer.starts_with("sqlite") {
            rusqlite::Connection::open(case.dir().join("file.db")).unwrap().execute_batch("CREATE TABLE t (a int)").unwrap();
        }
        let line = format!("bench --to {{url}} --layer {layer} -f {{dir}}/open.sql -t 2 -c 1 --warmup 0 --allow-writes {}", database.name);
        case.run(&line).exit(2).stderr_has("open.sql:2:1: the script ends without ending the transaction that begins here");
    }
    let line =
        format!("bench --to {{url}} --layer direct -M simple -f {{dir}}/joined.sql -t 2 -c 1 --warmup 0 --allow-writes {}", database.name);
    case.run(&line).exit(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn a_result_is_shown_where_it_cannot_be_kept_and_a_pipe_is_read_once() {
    let database = Database::fresh();
    let case = case("a full disk", &database, &[]).input("SELECT 1;\n");
    let output = case.run("bench --to {url} --layer direct -f /dev/stdin -t 2 -c 1 --warmup 0 --save /dev/full --json").exit(2);
    let document = output.stderr_has("error: save the result").json();
    assert_eq!(document["layers"][0]["transactions"], 2);
    assert!(document["error"]["message"].as_str().unwrap().contains("/dev/full"), "{document:#}");
    case.run("bench find-max p95<1us --to {url} --layer direct -f /dev/stdin --start 3 -T 1 --warmup 0 -c 1").exit(1);
}
