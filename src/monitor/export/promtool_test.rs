//! A test for `promtool test rules`: series through good times and bad, and at every tick the states that candlefish's own evaluation comes to. That
//! promtool agrees is the proof that both mean the same.

use crate::model::LATENCY_BOUNDS;
use crate::monitor::Rules;
use crate::monitor::alert::State;
use crate::monitor::export::quoted;
use crate::monitor::rule::{Rule, span_text};
use crate::monitor::script::{Scripted, alerts};
use crate::monitor::series::Key;

const INTERVAL_MS: i64 = 15_000;

/// Ten ticks good, a quarter of an hour bad, and a quarter good again.
const GOOD: usize = 10;
const BAD: usize = 60;
const TICKS: usize = GOOD + BAD + 60;

/// The test for the rules as `prometheus_rules` writes them, which lie in `rules_file` beside it.
pub fn promtool_test(rules: &Rules, rules_file: &str) -> String {
    promtool_test_of(rules, rules_file, &series(), TICKS)
}

/// The same over any series.
pub fn promtool_test_of(rules: &Rules, rules_file: &str, series: &[Scripted], ticks: usize) -> String {
    let mut all = rules.each();
    all.rules.extend(Rule::of_kpis());
    let alerts = alerts(&all, series, INTERVAL_MS, ticks);
    let mut text = format!(
        "# Made by `candlefish monitor export promtool-test` {}: run it with `promtool test rules`, beside {rules_file}.\n\
         rule_files:\n  - {}\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n",
        env!("CARGO_PKG_VERSION"),
        quoted(rules_file)
    );
    let up = (Key::new("candlefish_build_info", &[]), vec![Some(1.0); ticks]);
    for (key, values) in series.iter().chain([&up]) {
        text.push_str(&format!("      - series: {}\n        values: {}\n", quoted(&name(key)), quoted(&written(values))));
    }
    text.push_str("    promql_expr_test:\n");
    for (tick, at_tick) in alerts.iter().enumerate() {
        let at = span_text(tick as i64 * INTERVAL_MS);
        text.push_str(&format!("      - expr: ALERTS\n        eval_time: {at}\n        exp_samples:"));
        let active: Vec<String> = all
            .rules
            .iter()
            .zip(at_tick)
            .filter(|(_, alert)| matches!(alert.state, State::Pending | State::Firing))
            .map(|(rule, alert)| {
                let state = alert.state.name();
                let mut key = Key::new("ALERTS", &[("alertname", &rule.name), ("alertstate", state), ("severity", &rule.severity)]);
                key.labels.extend(rule.labels.clone());
                format!("\n          - labels: {}\n            value: 1", quoted(&name(&key)))
            })
            .collect();
        text.push_str(if active.is_empty() { " []" } else { "" });
        text.push_str(&active.concat());
        text.push('\n');
    }
    text
}

fn name(key: &Key) -> String {
    let labels: Vec<String> = key.labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{}{{{}}}", key.family, labels.join(", "))
}

/// Runs of equal steps as `a+bxn`.
fn written(values: &[Option<f64>]) -> String {
    let mut words = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let Some(start) = values[at] else {
            let count = values[at..].iter().take_while(|value| value.is_none()).count();
            words.push(format!("_x{count}"));
            at += count;
            continue;
        };
        if start.is_nan() {
            words.push("stale".to_string());
            at += 1;
            continue;
        }
        let step = values.get(at + 1).copied().flatten().filter(|next| !next.is_nan()).map_or(0.0, |next| next - start);
        // Added up as promtool adds up: a float's last digit depends on it.
        let mut sum = start;
        let mut count = 1;
        while values.get(at + count).is_some_and(|value| *value == Some(sum + step)) {
            sum += step;
            count += 1;
        }
        let step_text = if step < 0.0 { format!("{step}") } else { format!("+{step}") };
        words.push(if count > 1 { format!("{start}{step_text}x{}", count - 1) } else { start.to_string() });
        at += count;
    }
    words.join(" ")
}

/// What one instance counts, in good times and in bad.
fn series() -> Vec<Scripted> {
    let labels = [("app_instance", "a")];
    let is_bad = |tick: usize| (GOOD..GOOD + BAD).contains(&tick);
    let gauge = |family: &str, good: f64, bad: f64| {
        (Key::new(family, &labels), (0..TICKS).map(|tick| Some(if is_bad(tick) { bad } else { good })).collect())
    };
    let counter = |key: Key, good: f64, bad: f64| {
        let mut sum = 0.0;
        let values = (0..TICKS).map(|tick| {
            sum += if is_bad(tick) { bad } else { good };
            Some(sum)
        });
        (key, values.collect())
    };
    let layered = |family: &str, layer: &str| Key::new(family, &[("app_instance", "a"), ("layer", layer)]);
    let of = |family: &str| Key::new(family, &labels);
    // 100 calls a tick: of 10 ms, or of 200 ms.
    let mut series = vec![
        counter(of("candlefish_query_duration_seconds_count"), 100.0, 100.0),
        counter(of("candlefish_query_duration_seconds_sum"), 1.0, 20.0),
        counter(of("candlefish_query_failures_total"), 0.0, 5.0),
        counter(of("candlefish_cache_requests_total"), 100.0, 100.0),
        counter(of("candlefish_cache_answered_total"), 99.0, 50.0),
        counter(layered("candlefish_cache_lookups_total", "l1"), 100.0, 100.0),
        counter(layered("candlefish_cache_hits_total", "l1"), 97.0, 40.0),
        counter(layered("candlefish_cache_lookups_total", "l2"), 3.0, 60.0),
        counter(layered("candlefish_cache_hits_total", "l2"), 3.0, 10.0),
        gauge("candlefish_pool_in_use", 5.0, 20.0),
        gauge("candlefish_pool_max", 20.0, 20.0),
        gauge("candlefish_resident_memory_bytes", 100e6, 250e6),
        // Of who comes after the instances: those are heard nonetheless.
        (Key::new("candlefish_source_failed", &[("source", "pgbouncer")]), gauge("", 0.0, 1.0).1),
    ];
    let bounds = LATENCY_BOUNDS.iter().map(|bound| (*bound, bound.to_string())).chain([(f64::INFINITY, "+Inf".to_string())]);
    for (bound, name) in bounds {
        let key = Key::new("candlefish_query_duration_seconds_bucket", &[("app_instance", "a"), ("le", &name)]);
        let below = |seconds: f64| if seconds <= bound { 100.0 } else { 0.0 };
        series.push(counter(key, below(0.01), below(0.2)));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_short() {
        assert_eq!(written(&[Some(1.0), Some(2.0), Some(3.0), None, None, Some(7.0), Some(7.0), Some(0.0)]), "1+1x2 _x2 7+0x1 0");
    }

    #[test]
    fn in_bad_times_every_alert_fires_and_in_good_ones_all_end() {
        let mut all = Rules::strategy();
        all.rules.extend(Rule::of_kpis());
        let alerts = alerts(&all, &series(), INTERVAL_MS, TICKS);
        // Of the alerts of sources one fires.
        let at = |tick: usize| alerts[tick].iter().filter(|alert| alert.state == State::Firing).count();
        assert_eq!((at(GOOD - 1), at(GOOD + BAD - 1), at(TICKS - 1)), (0, all.rules.len(), 0));
    }
}
