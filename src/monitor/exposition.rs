//! What Prometheus scrapes: the last sample as it was read, and what the monitor makes of it.

use std::fmt::Write as _;

use crate::monitor::report::Status;
use crate::monitor::series::{Key, Point};
use crate::monitor::{Sample, Shown};

/// Every family that a sample can have: its type and what it says.
const FAMILIES: [(&str, &str, &str); 27] = [
    ("candlefish_query_duration_seconds", "histogram", "Time of calls of the data layer, from whatever layer."),
    ("candlefish_query_failures_total", "counter", "Calls of the data layer that failed for good."),
    ("candlefish_cache_requests_total", "counter", "Calls that a cache might have answered."),
    ("candlefish_cache_answered_total", "counter", "Calls that memory or Redis answered."),
    ("candlefish_cache_lookups_total", "counter", "Lookups in a layer."),
    ("candlefish_cache_hits_total", "counter", "Hits of a layer."),
    ("candlefish_pool_in_use", "gauge", "Connections of an instance's pool that are in use."),
    ("candlefish_pool_max", "gauge", "The most connections of an instance's pool."),
    ("candlefish_pool_waiting", "gauge", "Callers that wait for a connection."),
    ("candlefish_resident_memory_bytes", "gauge", "Resident memory of an instance."),
    ("candlefish_pgbouncer_servers_in_use", "gauge", "Server connections of a PgBouncer pool that are in use."),
    ("candlefish_pgbouncer_servers_max", "gauge", "The most server connections of a PgBouncer pool."),
    ("candlefish_pgbouncer_clients_waiting", "gauge", "Clients that wait for a server connection."),
    ("candlefish_pgbouncer_queries_total", "counter", "Queries through PgBouncer."),
    ("candlefish_pgbouncer_query_seconds_total", "counter", "Time that servers worked for PgBouncer's clients."),
    ("candlefish_pgbouncer_wait_seconds_total", "counter", "Time that PgBouncer's clients waited for a server."),
    ("candlefish_statements_total", "counter", "Statements that pg_stat_statements counted, since the monitor began."),
    ("candlefish_statement_seconds_total", "counter", "Their time."),
    (
        "candlefish_pg_commits_total",
        "counter",
        "Transactions of clients that were committed: without the monitor's own, and autovacuum's as far as it can be told.",
    ),
    ("candlefish_pg_rollbacks_total", "counter", "Transactions that were rolled back, without the monitor's own."),
    ("candlefish_pg_deadlocks_total", "counter", "Deadlocks."),
    ("candlefish_pg_temp_bytes_total", "counter", "Bytes that went to temporary files."),
    ("candlefish_pg_blocks_hit_total", "counter", "Blocks of tables and indexes, without catalogs, that were found in shared buffers."),
    ("candlefish_pg_blocks_read_total", "counter", "Blocks that were not."),
    ("candlefish_pg_connections", "gauge", "Client sessions of the server."),
    ("candlefish_pg_connections_max", "gauge", "Client sessions that the server allows."),
    ("candlefish_pg_sessions", "gauge", "Client sessions by state."),
];

const MORE: [(&str, &str, &str); 3] = [
    ("candlefish_pg_lock_waiters", "gauge", "Sessions that wait for a lock."),
    ("candlefish_pg_longest_transaction_seconds", "gauge", "Age of the oldest transaction."),
    ("candlefish_pg_database_bytes", "gauge", "Size of the database."),
];

/// The families that the monitor itself makes: what it knows of its sources, its alerts and its KPIs.
fn own(status: &Status) -> Vec<(&'static str, &'static str, Vec<Point>)> {
    let point = |family: &str, labels: &[(&str, &str)], value: f64| Point { key: Key::new(family, labels), value };
    let truth = |yes: bool| f64::from(u8::from(yes));
    let sources =
        status.sources.iter().map(|source| point("candlefish_source_up", &[("source", source.name)], truth(source.state == "there")));
    let failed =
        status.sources.iter().map(|source| point("candlefish_source_failed", &[("source", source.name)], truth(source.state == "failed")));
    let alerts = status.alerts.iter().flat_map(|alert| {
        [Shown::Inactive, Shown::Pending, Shown::Firing, Shown::Resolved, Shown::Unknown, Shown::NotApplicable].map(|state| {
            let mut labels = vec![("alert", alert.name.as_str()), ("severity", alert.severity.as_str()), ("state", state.name())];
            labels.extend(alert.source.filter(|_| alert.is_of_source()).map(|source| ("source", source)));
            point("candlefish_alert_state", &labels, truth(alert.state == state))
        })
    });
    let kpis = status.kpis.iter().filter_map(|kpi| Some(point("candlefish_kpi_met", &[("kpi", kpi.name)], truth(kpi.met?))));
    vec![
        (
            "candlefish_build_info",
            "The version that gives these.",
            vec![point("candlefish_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        ),
        (
            "candlefish_last_sample_timestamp_seconds",
            "When the last sample was taken.",
            vec![point("candlefish_last_sample_timestamp_seconds", &[], status.at as f64 / 1000.0)],
        ),
        ("candlefish_source_up", "1 where a source of metrics could be read.", sources.collect()),
        ("candlefish_source_failed", "1 where a source that is named could not be read.", failed.collect()),
        ("candlefish_alert_state", "1 for the state that an alert is in.", alerts.collect()),
        ("candlefish_kpi_met", "1 where a KPI is met; nothing where it is not known.", kpis.collect()),
    ]
}

/// In Prometheus's text format.
pub fn exposition(sample: &Sample, status: &Status) -> String {
    let mut text = String::with_capacity(16 * 1024);
    for (family, help, points) in own(status) {
        write(&mut text, family, "gauge", help, &points.iter().collect::<Vec<_>>());
    }
    for (family, kind, help) in FAMILIES.iter().chain(&MORE) {
        let is_of = |point: &&Point| match *kind {
            "histogram" => point.key.family.strip_prefix(family).is_some_and(|end| matches!(end, "_bucket" | "_sum" | "_count")),
            _ => point.key.family == *family,
        };
        let points: Vec<&Point> = sample.points.iter().filter(is_of).collect();
        write(&mut text, family, kind, help, &points);
    }
    text
}

fn write(text: &mut String, family: &str, kind: &str, help: &str, points: &[&Point]) {
    if points.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
    for Point { key, value } in points {
        let labels: Vec<String> = key.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{}{labels} {value}", key.family);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::metric::{Formula, METRICS};

    #[test]
    fn every_family_of_a_metric_is_served() {
        let names: Vec<&str> = FAMILIES.iter().chain(&MORE).map(|(name, ..)| *name).collect();
        let base = |family: &'static str| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| family.strip_suffix(end))
                .find(|base| names.contains(base))
                .unwrap_or(family)
        };
        for (_, formula) in METRICS.iter().flat_map(|metric| metric.formulas) {
            let families: Vec<&'static str> = match formula {
                Formula::Ratio { of, over } => of.iter().chain(*over).map(|term| term.family).collect(),
                Formula::Quantile(_, family) | Formula::Greatest(family) => vec![family],
                Formula::MostUsed { of, over } => vec![of, over],
            };
            families.iter().for_each(|family| assert!(names.contains(&base(family)), "{family}"));
        }
    }
}
