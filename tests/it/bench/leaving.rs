//! What a run leaves behind that was stopped.

use std::process::Command;
use std::time::{Duration, Instant};

use super::case;
use crate::support::Database;

#[test]
fn a_run_that_is_left_leaves_no_statement_behind() {
    let database = Database::fresh();
    let case = case("left", &database, &[("long.sql", "SELECT pg_sleep(300);\n")]);
    let at_work = "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)%' AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()";
    for (layer, signal) in [("direct", "-INT"), ("direct -M simple", "-TERM"), ("pooled", "-INT"), ("cached", "-TERM")] {
        let line = format!(
            "bench --to {} --layer {layer} -f {}/long.sql -c 2 -T 60 --warmup 0 --allow-writes {}",
            database.url(),
            case.dir().display(),
            database.name
        );
        let mut child = case.command().args(line.split(' ')).spawn().unwrap();
        database.until(&format!("SELECT count(*) = 2 {at_work}"));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(if signal == "-INT" { 130 } else { 143 }), "{layer}");
        let left = Instant::now();
        database.until(&format!("SELECT count(*) = 0 {at_work}"));
        assert!(left.elapsed() < Duration::from_secs(10), "{layer}");
    }
}
