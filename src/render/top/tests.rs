//! What is drawn, whole, on terminals of several sizes.

use super::*;
use crate::monitor::{Connections, KpiReport, METRICS, Sign, SlowQuery, SourceReport};
use crate::render::{ColorChoice, Format};

/// As a terminal shows it.
fn drawn(view: &View, columns: usize, rows: usize) -> String {
    let ui = Ui::new(Format::Table, ColorChoice::Never, false, 0);
    let text = view.frame(&ui, (columns, rows), Duration::ZERO);
    text.replace("\x1b[K\r\n", "\n").replace("\x1b[K\x1b[J", "\n")
}

fn alert(name: &str, severity: &str, state: Shown, value: Option<f64>) -> AlertReport {
    AlertReport {
        labels: BTreeMap::new(),
        name: name.to_string(),
        severity: severity.to_string(),
        state,
        condition: "pool_usage > 90%".to_string(),
        metric: "pool_usage",
        sign: Sign::More,
        value,
        value_at: value.map(|_| 0),
        threshold: 0.9,
        unit: "ratio",
        for_seconds: 0.0,
        since: Some(0),
        active_since: Some(0),
        source: Some("pgbouncer"),
        held_until: None,
        reason: value.is_none().then(|| "nothing happened in the window".to_string()),
        about: None,
        is_judged: value.is_some(),
    }
}

fn kpi(name: &'static str, value: Option<f64>, met: Option<bool>) -> KpiReport {
    KpiReport { name, about: "", value, target: 0.8, comparison: ">", unit: "ratio", met, source: None, reason: None }
}

fn source(name: &'static str, state: &'static str, reason: Option<&str>) -> SourceReport {
    SourceReport { name, state, reason: reason.map(str::to_string) }
}

/// A busy server: so many alerts fire, the most severe first; two do not.
fn busy(firing: usize) -> Status {
    let names = ["pool_of_the_shop_in_europe_is_exhausted", "failures", "p95", "cache", "memory", "connections"];
    let severity = |number: usize| if number < 2 { "critical" } else { "warning" };
    let mut alerts: Vec<AlertReport> =
        (0..firing).map(|number| alert(names[number], severity(number), Shown::Firing, Some(0.95))).collect();
    alerts.push(alert("idle", "warning", Shown::Unknown, None));
    alerts.push(alert("quiet", "info", Shown::Inactive, Some(0.1)));
    let mut status = Status {
        at: 1_764_489_600_000,
        target: "postgresql://shop@db.example:5432/shop".to_string(),
        interval_seconds: 2.0,
        sources: vec![
            source("pgbouncer", "there", None),
            source("pg_stat_statements", "there", None),
            source("pg_stat_database", "there", None),
        ],
        metrics: Default::default(),
        alerts,
        kpis: vec![kpi("l1_hit_ratio", Some(0.688), Some(false)), kpi("p95", None, None), kpi("error_rate", Some(0.9), Some(true))],
        facts: Default::default(),
    };
    status.facts.server_version = Some("15.18".to_string());
    status.facts.connections = Some(Connections {
        used: Some(12.0),
        most: Some(97.0),
        active: Some(3.0),
        idle_in_transaction: Some(0.0),
        waiting_for_locks: Some(2.0),
        longest_transaction_seconds: None,
    });
    status.facts.slow_queries = ["SELECT *\nFROM orders WHERE customer_id = ? ORDER BY placed_at DESC LIMIT ?", "UPDATE 表 SET n = n + ?"]
        .map(|query| SlowQuery {
            query_id: None,
            user: None,
            calls_per_s: Some(40.0),
            mean_ms: Some(2.5),
            total_ms_per_s: Some(100.0),
            query: Some(query.to_string()),
        })
        .to_vec();
    status
}

/// No source answers.
fn dead(status: &Status) -> Status {
    let why = "PostgreSQL cannot be reached at db.example:5432: nothing listens there";
    let mut dead = status.clone();
    dead.at += 60_000;
    dead.sources[1..].iter_mut().for_each(|there| *there = source(there.name, "failed", Some(why)));
    dead.facts = Default::default();
    dead
}

fn history() -> Vec<HistoryPoint> {
    let value = |name: &str, step: f64| match name {
        "avg_query_time" | "p95" => Some(step),
        "pool_usage" | "cache_hit_ratio" => Some(step / 10.0),
        _ => None,
    };
    let point = |step: i64| HistoryPoint {
        at: step,
        values: METRICS.iter().map(|metric| (metric.name, value(metric.name, step as f64))).collect(),
        calls_per_s: Some(step as f64),
        connections: Some(12.0),
        active: None,
        slow_ms_per_s: None,
    };
    (1..=8).map(point).collect()
}

fn view(status: &Status) -> View {
    let mut view = View::new("x");
    view.take(status.clone(), history().iter());
    view
}

/// The first time it is dead, and a minute later.
fn died() -> View {
    let mut view = view(&busy(0));
    let (first, mut second) = (dead(&busy(0)), dead(&busy(0)));
    view.take(first, history().iter());
    second.at += 65_000;
    let gone = |mut point: HistoryPoint| {
        point.values.values_mut().for_each(|value| *value = None);
        HistoryPoint { calls_per_s: None, connections: None, ..point }
    };
    view.take(second, history()[..6].iter().cloned().chain(history()[6..].iter().cloned().map(gone)).collect::<Vec<_>>().iter());
    view
}

/// What fires is said first, in the smallest of terminals too; there is something of everything where there is room, and what cannot be read is said.
#[test]
fn the_screens_of_small_and_large_terminals() {
    let mut screens = String::new();
    for (columns, rows) in [(40, 10), (80, 24), (200, 60)] {
        for (what, view) in
            [("0 alerts", view(&busy(0))), ("1 alert", view(&busy(1))), ("6 alerts", view(&busy(6))), ("a dead server", died())]
        {
            screens.push_str(&format!("── {columns}x{rows}, {what}\n{}", drawn(&view, columns, rows)));
        }
    }
    let expected = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/render/top/screens.txt")).unwrap();
    assert_eq!(screens, expected);
}

#[test]
fn a_server_that_is_back_and_gone_again_is_gone_since_then() {
    let mut view = died();
    assert!(drawn(&view, 80, 24).contains("cannot be read since 08:01:00Z (1m 05s)"), "{}", drawn(&view, 80, 24));
    view.take(busy(0), history().iter());
    assert!(!drawn(&view, 80, 24).contains("cannot be read"));
    let mut again = dead(&busy(0));
    again.at += 600_000;
    view.take(again, history().iter());
    assert!(drawn(&view, 80, 24).contains("cannot be read since 08:11:00Z (0 ms)"), "{}", drawn(&view, 80, 24));
}

#[test]
fn no_line_is_wider_and_no_frame_higher_than_any_terminal() {
    let views = [view(&busy(0)), view(&busy(6)), view(&dead(&busy(6)))];
    for (columns, rows) in (11..210).step_by(3).flat_map(|columns| (2..70).step_by(5).map(move |rows| (columns, rows))) {
        for view in &views {
            let shown = drawn(view, columns, rows);
            assert!(shown.lines().count() <= rows && shown.lines().all(|line| columns_of(line) < columns), "{columns}x{rows}:\n{shown}");
            assert!(shown.ends_with("q quits\n") && shown.lines().count() > 1, "{columns}x{rows}:\n{shown}");
        }
    }
}

#[test]
fn a_sample_that_is_waited_for_is_said() {
    let ui = Ui::new(Format::Table, ColorChoice::Never, false, 0);
    assert!(View::new("a server").frame(&ui, (80, 24), Duration::ZERO).starts_with("a server: not read yet"));
    assert!(view(&busy(0)).frame(&ui, (80, 24), Duration::from_secs(4)).contains("for 4.0 s no answer"));
}

#[test]
fn gaps_stay_gaps() {
    assert_eq!(spark(&[Some(0.0), None, Some(1.0)], "ratio", 5), "  ▁ █");
    assert_eq!(spark(&[Some(5.0), Some(10.0)], "ms", 2), "▅█");
}

#[test]
fn rows_are_shared_fairly_and_what_fires_has_most_if_it_wants() {
    assert_eq!(shares(&[4, 8, 3, 0, 11], 20), [4, 7, 3, 0, 6]);
    assert_eq!(shares(&[200, 8, 3, 4, 11], 20), [14, 2, 2, 1, 1]);
    assert_eq!(shares(&[1, 8, 3, 4, 11], 1), [1, 0, 0, 0, 0]);
    assert_eq!(shares(&[1, 2], 9), [1, 2]);
}
