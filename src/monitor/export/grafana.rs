//! A dashboard for Grafana, from the same tables as the rules: KPIs with their limits, then what they are made of.

use serde_json::{Value, json};

use crate::model::{KPIS, Kpi, Limit, Unit};
use crate::monitor::Rules;
use crate::monitor::metric::{Formula, METRICS, Metric, find};
use crate::monitor::rule::span_text;

/// To be imported as it is: the data source is a variable.
pub fn dashboard(rules: &Rules) -> Value {
    let mut panels = Vec::new();
    for (position, kpi) in KPIS.iter().enumerate() {
        panels.extend(stat(kpi, position));
    }
    let charts: [(&str, &[&str]); 5] = [
        ("Latency", &["avg_query_time", "p50", "p95", "p99"]),
        ("Hit ratios", &["l1_hit_ratio", "l2_hit_ratio", "cache_hit_ratio"]),
        ("Pool", &["pool_usage"]),
        ("Failures", &["error_rate"]),
        ("Memory", &["memory"]),
    ];
    for (position, (title, names)) in charts.iter().enumerate() {
        let metrics: Vec<&Metric> = names.iter().filter_map(|name| find(name)).collect();
        let targets: Vec<Value> = metrics.iter().enumerate().map(|(at, metric)| target(at, metric.name, &first_there(metric))).collect();
        let unit = metrics.first().map_or("short", |metric| grafana_unit(metric.unit));
        let limits: Vec<f64> =
            rules.rules.iter().filter(|rule| names.contains(&rule.condition.metric.name)).map(|rule| rule.condition.limit).collect();
        panels.push(chart(title, unit, &targets, &limits, position));
    }
    let calls = "sum(rate(candlefish_query_duration_seconds_count[1m])) or sum(rate(candlefish_pgbouncer_queries_total[1m])) or sum(rate(candlefish_statements_total[1m]))";
    panels.push(chart("Calls", "ops", &[target(0, "calls/s", calls)], &[], charts.len()));
    let sessions = [
        target(0, "connections", "candlefish_pg_connections"),
        target(1, "{{state}}", "candlefish_pg_sessions"),
        target(2, "most", "candlefish_pg_connections_max"),
        target(3, "waiting for locks", "candlefish_pg_lock_waiters"),
    ];
    panels.push(chart("PostgreSQL's connections", "short", &sessions, &[], charts.len() + 1));
    let names: Vec<&str> = rules.rules.iter().map(|rule| rule.name.as_str()).collect();
    let alerts = format!("ALERTS{{alertname=~\"{}|candlefish_monitor_absent|kpi_.*\"}}", names.join("|"));
    panels.push(json!({
        "type": "table", "title": "Alerts", "datasource": datasource(),
        "gridPos": { "h": 8, "w": 24, "x": 0, "y": 36 },
        "targets": [{ "refId": "A", "expr": alerts, "instant": true, "format": "table", "datasource": datasource() }],
        "transformations": [{ "id": "organize", "options": { "excludeByName": { "Time": true, "Value": true, "__name__": true } } }],
    }));
    for (id, panel) in panels.iter_mut().enumerate() {
        panel["id"] = json!(id + 1);
    }
    json!({
        "id": null, "uid": "candlefish", "title": "candlefish", "tags": ["candlefish", "postgresql"], "schemaVersion": 39, "version": 1,
        "editable": true, "refresh": "15s", "time": { "from": "now-1h", "to": "now" }, "timezone": "browser",
        "templating": { "list": [{ "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0 }] },
        "annotations": { "list": [] }, "links": [], "panels": panels,
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn target(position: usize, legend: &str, expr: &str) -> Value {
    let id = char::from(b'A' + position as u8).to_string();
    json!({ "refId": id, "expr": expr, "legendFormat": legend, "datasource": datasource() })
}

/// The metric from the first source that is there.
fn first_there(metric: &Metric) -> String {
    let window = span_text(metric.window_ms);
    let formula = |formula: &Formula| format!("({}) >= 0", formula.promql(&[], &window));
    metric.formulas.iter().map(|(_, of)| formula(of)).collect::<Vec<_>>().join(" or ")
}

fn grafana_unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "s",
        Unit::Ratio => "percentunit",
        Unit::Bytes => "decbytes",
        Unit::Count => "short",
    }
}

fn stat(kpi: &Kpi, position: usize) -> Option<Value> {
    let metric = METRICS.iter().find(|metric| Some(metric.name) == find(kpi.name).map(|found| found.name))?;
    let (limit, below, above) = match kpi.limit {
        Limit::Below(limit) => (limit, "green", "red"),
        Limit::Above(limit) => (limit, "red", "green"),
    };
    let limit = if kpi.unit == Unit::Milliseconds { limit / 1000.0 } else { limit };
    Some(json!({
        "type": "stat", "title": kpi.expression(), "description": kpi.about, "datasource": datasource(),
        "gridPos": { "h": 4, "w": 3, "x": position * 3, "y": 0 },
        "targets": [target(0, kpi.name, &first_there(metric))],
        "fieldConfig": { "defaults": {
            "unit": grafana_unit(kpi.unit), "noValue": "unknown",
            "thresholds": { "mode": "absolute", "steps": [{ "color": below, "value": null }, { "color": above, "value": limit }] },
        }, "overrides": [] },
        "options": { "colorMode": "background", "reduceOptions": { "calcs": ["lastNotNull"] } },
    }))
}

fn chart(title: &str, unit: &str, targets: &[Value], limits: &[f64], position: usize) -> Value {
    let mut steps = vec![json!({ "color": "transparent", "value": null })];
    steps.extend(limits.iter().map(|limit| json!({ "color": "red", "value": limit })));
    json!({
        "type": "timeseries", "title": title, "datasource": datasource(),
        "gridPos": { "h": 8, "w": 12, "x": position % 2 * 12, "y": 4 + position / 2 * 8 },
        "targets": targets,
        "fieldConfig": { "defaults": {
            "unit": unit,
            "custom": { "thresholdsStyle": { "mode": if limits.is_empty() { "off" } else { "line" } } },
            "thresholds": { "mode": "absolute", "steps": steps },
        }, "overrides": [] },
    })
}
