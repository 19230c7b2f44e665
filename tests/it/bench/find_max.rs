//! `bench find-max`: a capacity that is known is found, what never holds is exit 1, and what cannot be asked is exit 2.

use super::case;
use crate::support::Database;

#[test]
fn the_highest_rate_that_holds_is_found() {
    let database = Database::fresh();
    // One client, 20 ms each: 50 a second at most.
    let case = case("find-max", &database, &[("sleep.sql", "SELECT pg_sleep(0.02);\n")]);
    let words = "--to {url} -f {dir}/sleep.sql -c 1 -T 1 --warmup 0";
    let found = case.run(&format!("bench find-max p95<300ms --start 12 {words} --json")).exit(0).json();
    let rate = found["max_rate"].as_f64().unwrap();
    assert!((15.0..60.0).contains(&rate), "{found:#}");
    let steps = found["steps"].as_array().unwrap();
    // It held twice, and something above it did not.
    assert!(steps.iter().filter(|step| step["rate"] == rate && step["passed"] == true).count() >= 2, "{found:#}");
    assert!(steps.iter().any(|step| step["rate"].as_f64().unwrap() > rate && step["passed"] == false), "{found:#}");

    // Not even one in ten seconds is answered in a millisecond.
    let none = case.run(&format!("bench find-max p95<1ms --start 0.15 {words} --json")).exit(1).json();
    assert_eq!((&none["max_rate"], none["steps"].as_array().unwrap().len()), (&serde_json::Value::Null, 1), "{none:#}");

    case.run(&format!("bench find-max p95<<1ms {words}")).exit(2).stderr_has("character 5: a number is missing");
    case.run(&format!("bench find-max p59<1ms --start 20 {words}")).exit(2).stderr_has("did you mean p50");
}
