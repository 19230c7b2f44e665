//! A load test is seen like one of the application's instances, while it runs.

use std::process::{Command, Stdio};

use super::{Running, get};
use crate::support::{Case, Database};

#[test]
fn a_running_bench_is_on_the_page_within_an_interval() {
    let database = Database::fresh();
    let case = Case::new("load").database(&database);
    // One prefix says it to both.
    std::fs::write(case.dir().join("candlefish.toml"), format!("[cache]\nprefix = \"{}\"\n", database.name)).unwrap();
    let case = case.env("REDIS_URL", &crate::support::addresses().redis_url());
    case.run("bench init --to {url}").exit(0);
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "5s", "--json", "-d", &url]);
    let page = running.page();
    let instances = |sample: &serde_json::Value| sample["instances"].as_array().unwrap().len();
    let words =
        ["bench", "--to", &url, "--workload", "registry-read", "--instances", "2", "-c", "4", "-R", "400", "-T", "60", "--warmup", "0"];
    // Begun right after a sample, it is in the very next; not at the first try for certain, because other tests want the machine too.
    let mut tries = 0;
    let (mut bench, seen) = loop {
        running.until("nobody", || {}, |sample| instances(sample) == 0);
        let mut bench = case.command().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let seen = running.next();
        if instances(&seen) == 2 {
            break (bench, seen);
        }
        bench.kill().unwrap();
        bench.wait().unwrap();
        tries += 1;
        assert!(tries < 4, "never within an interval: {seen:#}");
    };
    let l1 = &seen["metrics"]["l1_hit_ratio"];
    assert!(l1["source"] == "instances" && l1["value"].as_f64().is_some(), "{seen:#}");
    assert!(seen["kpis"].as_array().unwrap().iter().any(|kpi| kpi["name"] == "p95" && kpi["met"].is_boolean()), "{seen:#}");
    assert!(seen["instances"][0]["instance"].as_str().unwrap().starts_with("bench-"), "{seen:#}");
    let drawn: serde_json::Value = serde_json::from_str(&get(&format!("{page}/api/v1/history"), &[]).1).unwrap();
    let last = drawn["points"].as_array().unwrap().last().unwrap().clone();
    assert!(last["calls_per_s"].as_f64().unwrap() > 5.0 && last["l1_hit_ratio"].is_number(), "{last:#}");
    assert!(Command::new("kill").args(["-INT", &bench.id().to_string()]).status().unwrap().success());
    bench.wait().unwrap();
    running.stop();
}
