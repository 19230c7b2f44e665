//! Rules for Prometheus, from what `monitor --serve` gives it under `/metrics`.

use crate::model::Unit;
use crate::monitor::Rules;
use crate::monitor::export::quoted;
use crate::monitor::rule::{Rule, Sign, span_text};
use crate::monitor::template::with_labels;

/// How often Prometheus evaluates them: less than the shortest duration.
const INTERVAL: &str = "15s";

/// Where the two are not the same.
const DIFFERENCE: &str = "\
    # At every tick they come to what the monitor comes to, but for two things. An alert of the monitor keeps the source by which it began for five\n\
    # minutes in which that one says nothing; here the first that says something judges at once. And while a source cannot be read, and until it was\n\
    # read twice again, the monitor leaves an alert as it is; here what pends waits for as long as its condition would have to hold, and then begins\n\
    # anew, the first sample of a source that is back may end an alert, and of keep_firing_for no time passes meanwhile.\n";

/// A file of rules: the alerts, and one for each KPI that is missed.
pub fn prometheus_rules(rules: &Rules) -> String {
    let mut text = format!(
        "# Made by `candlefish monitor export prometheus-rules` {}. The series come from `candlefish monitor --serve`: scrape its /metrics every 15 s.\n\
         {DIFFERENCE}\
         groups:\n  - name: candlefish\n    interval: {}\n    rules:\n",
        env!("CARGO_PKG_VERSION"),
        rules.interval_ms.map_or(INTERVAL.to_string(), span_text),
    );
    // No data is not health: without the monitor no other rule can fire.
    text.push_str(
        "      - alert: candlefish_monitor_absent\n        expr: absent(candlefish_build_info)\n        for: 1m\n        labels:\n          severity: \"critical\"\n        \
         annotations:\n          summary: \"candlefish monitor is not scraped: its other alerts cannot fire\"\n",
    );
    for rule in &rules.rules {
        text.push_str(&one(rule));
    }
    text.push_str("  - name: candlefish-kpis\n    interval: 15s\n    rules:\n");
    for rule in Rule::of_kpis() {
        text.push_str(&one(&rule));
    }
    text
}

fn one(rule: &Rule) -> String {
    let mut text = format!("      - alert: {}\n        expr: {}\n", quoted(&rule.name), quoted(&rule.promql()));
    if rule.for_ms > 0 {
        text.push_str(&format!("        for: {}\n", span_text(rule.for_ms)));
    }
    if rule.keep_firing_ms > 0 {
        text.push_str(&format!("        keep_firing_for: {}\n", span_text(rule.keep_firing_ms)));
    }
    text.push_str(&format!("        labels:\n          severity: {}\n", quoted(&rule.severity)));
    for (name, value) in &rule.labels {
        text.push_str(&format!("          {name}: {}\n", quoted(value)));
    }
    text.push_str("        annotations:\n");
    if !rule.annotations.contains_key("summary") {
        text.push_str(&format!("          summary: {}\n", quoted(&summary(rule))));
    }
    let own = rule.all_labels();
    for (name, value) in &rule.annotations {
        text.push_str(&format!("          {}: {}\n", quoted(name), quoted(&with_labels(value, &own))));
    }
    text
}

fn summary(rule: &Rule) -> String {
    let format = match rule.condition.metric.unit {
        Unit::Milliseconds => " | humanizeDuration",
        Unit::Ratio => " | humanizePercentage",
        Unit::Bytes => " | humanize1024",
        Unit::Count => "",
    };
    let limit = rule.condition.text.split(Sign::text(rule.condition.sign)).nth(1).unwrap_or_default().trim();
    let sign = rule.condition.sign.text();
    format!("{} is {{{{ $value{format} }}}} ({sign} {limit})", rule.condition.metric.name)
}
