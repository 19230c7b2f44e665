//! What others do is told apart from what candlefish itself does to see it.

use serde_json::Value;

use crate::server::{Server, versions};
use crate::support::Case;

/// COMMIT in whatever words has its own count on each server: what one has counted is no reset of another.
#[test]
fn what_others_have_committed_long_ago_has_no_rate() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &["shared_preload_libraries = 'pg_stat_statements'", "autovacuum = off"]);
        server.rows("CREATE EXTENSION pg_stat_statements");
        for (words, times) in [("BEGIN; COMMIT; ", 300), ("begin; commit; ", 200), ("begin; END; ", 100)] {
            server.rows(&words.repeat(times));
        }
        let case = Case::new("commits");
        let url = server.url();
        let words = ["stats", "slow-queries", "--watch", "300ms", "--count", "3", "--min-ms", "0", "--limit", "1000", "--json", "-d", &url];
        let watched = case.run_args(words).exit(0);
        let mut notes = String::new();
        for line in watched.stdout.lines() {
            let sheet: Value = serde_json::from_str(line).unwrap();
            for row in sheet["rows"].as_array().unwrap() {
                let rate = row["calls_per_s"].as_f64().unwrap_or_default();
                assert!(rate < 30.0, "{version}: {row:#}");
            }
            assert!(!sheet["notes"].to_string().contains("were reset"), "{version}: {sheet:#}");
            notes = sheet["notes"].to_string();
        }
        // Their time is not told apart, and that is said.
        assert_eq!(notes.contains("the time that they took"), version.parse::<u32>().unwrap() >= 16, "{version}: {notes}");
    }
}
