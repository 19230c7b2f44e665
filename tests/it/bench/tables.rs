//! `bench init` and `bench clean`: what is theirs, and what is not.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::case;
use crate::support::{Database, addresses};

#[test]
fn what_depends_on_the_tables_is_never_dropped_with_them() {
    let database = Database::fresh();
    let case = case("dependents", &database, &[]);
    assert_eq!(case.run("bench init --to {url} --json").exit(0).json()["scale"], 1);
    database.execute(
        "CREATE VIEW v AS SELECT name FROM candlefish_bench.services; \
         CREATE FUNCTION f(candlefish_bench.services) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE TABLE child (id bigint REFERENCES candlefish_bench.dashboards)",
    );
    for command in ["init", "clean --yes"] {
        let said = case.run(&format!("bench {command} --to {{url}}")).exit(2).stderr;
        for name in ["view v depends on", "function f(candlefish_bench.services) depends on", "child_id_fkey"] {
            assert!(said.contains(name) && said.contains("drops only what it made"), "{said}");
        }
    }
    assert_eq!(database.value("SELECT count(*) > 0 FROM v, child RIGHT JOIN candlefish_bench.dashboards USING (id)"), "t");
    database.execute("DROP VIEW v; DROP FUNCTION f; DROP TABLE child; CREATE TABLE candlefish_bench.mine (a int)");
    case.run("bench init --to {url}").exit(0);
    case.run("bench clean --yes --to {url}").exit(2).stderr_has("table candlefish_bench.mine depends on schema candlefish_bench");
    assert_eq!(database.value("SELECT count(*) > 0 FROM candlefish_bench.services"), "t");
    database.execute("DROP TABLE candlefish_bench.mine");
    let done = case.run("bench clean --yes --to {url} --json").exit(0).stderr_has("dropped").json();
    assert_eq!((&done["schema_dropped"], &done["outbox"]), (&true.into(), &"not_there".into()), "{done:#}");
    case.run("bench clean --yes --to {url} --format csv").exit(0).stdout_has("candlefish_bench,false,not_there,\n");
    assert_eq!(database.value("SELECT to_regnamespace('candlefish_bench') IS NULL"), "t");
}

#[test]
fn the_tables_stay_while_a_run_uses_them_and_are_filled_by_one_at_a_time() {
    let database = Database::fresh();
    let case = case("in turn", &database, &[]);
    let url = database.url();
    let start = |words: &[&str]| {
        let mut command = case.command();
        command.arg("bench").args(words).args(["--to", &url]).spawn().unwrap()
    };
    let filling = [(); 3].map(|()| start(&["init"]));
    for init in filling {
        let output = init.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut running = start(&["-S", "--layer", "direct", "-c", "1", "-T", "60", "--warmup", "0"]);
    database.until(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'candlefish bench%' AND datname = current_database()",
    );
    for command in ["init", "clean --yes"] {
        case.run(&format!("bench {command} --to {{url}}")).exit(2).stderr_has("a load test runs on this database: candlefish bench");
    }
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    case.run("bench clean --yes --to {url}").exit(0);
}

#[test]
fn what_a_killed_run_kept_in_redis_is_cleaned_away_and_nothing_else() {
    let database = Database::fresh();
    let case = case("killed", &database, &[]);
    fs::write(case.dir().join("candlefish.toml"), format!("[cache]\nprefix = \"{}\"\n", database.name)).unwrap();
    case.run("bench init --to {url}").exit(0);
    let mut redis = redis::Client::open(addresses().redis_url()).unwrap().get_connection().unwrap();
    let keys = |redis: &mut redis::Connection, glob: String| redis::cmd("KEYS").arg(glob).query::<Vec<String>>(redis).unwrap();
    let (url, redis_url) = (database.url(), addresses().redis_url());
    let words = ["bench", "-S", "--layer", "l2", "-c", "1", "-T", "60", "--warmup", "0", "--to", &url, "--redis", &redis_url];
    let mut child = case.command().args(words).spawn().unwrap();
    let began = Instant::now();
    // The list of instances comes after what one of them says.
    while keys(&mut redis, format!("{}_bench_{}_*", database.name, child.id())).is_empty()
        || keys(&mut redis, format!("{}:i", database.name)).is_empty()
    {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was kept");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    database.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'candlefish bench%' AND datname = current_database()",
    );
    case.run("bench clean --yes --to {url} --redis {redis}").exit(0).stderr_has("left: what runs keep in Redis");
    // As when its time is over.
    for key in keys(&mut redis, format!("{}:*", database.name)) {
        redis::cmd("DEL").arg(key).query::<()>(&mut redis).unwrap();
    }
    let others = format!("{}_bench_app:v", database.name);
    redis::cmd("SET").arg(&others).arg(1).arg("EX").arg(60).query::<()>(&mut redis).unwrap();
    let done = case.run("bench clean --yes --to {url} --redis {redis} --json").exit(0).stderr_has("removed from Redis").json();
    assert!(done["redis_keys_removed"].as_u64().unwrap() > 0, "{done:#}");
    let left = redis::cmd("KEYS").arg(format!("{}_bench_*", database.name)).query::<Vec<String>>(&mut redis).unwrap();
    assert_eq!(left, std::slice::from_ref(&others));
    redis::cmd("DEL").arg(others).query::<()>(&mut redis).unwrap();
}
