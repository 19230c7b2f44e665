//! The rules and the KPI table for others: Prometheus's rules with their test, and a dashboard for Grafana.

mod grafana;
mod prometheus_rules;
mod promtool_test;

pub use grafana::dashboard;
pub use prometheus_rules::prometheus_rules;
pub use promtool_test::{promtool_test, promtool_test_of};

/// A text as YAML has it between double quotes: JSON's way is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}
