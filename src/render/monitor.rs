//! The watch in words: tables, a line for Nagios, a line for each change.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::model::Unit;
use crate::monitor::{AlertReport, KpiReport, Shown, Sign, Status};
use crate::render::table::visible;
use crate::render::{Format, Table, Ui, csv, units};

/// One sample, whole.
pub fn monitor(ui: &Ui, status: &Status) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&document(ui, status)),
        Format::Csv => ui.print(&csv(
            &["name", "severity", "state", "condition", "value", "threshold", "unit", "since", "source"],
            status.alerts.iter().map(|alert| {
                let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
                [
                    alert.name.clone(),
                    alert.severity.clone(),
                    alert.state.name().to_string(),
                    alert.condition.clone(),
                    number(alert.value),
                    alert.threshold.to_string(),
                    alert.unit.to_string(),
                    alert.since.map_or(String::new(), at),
                    alert.source.unwrap_or_default().to_string(),
                ]
            }),
        )),
        Format::Table => {
            ui.print(&tables(ui, status))?;
            sources(status).iter().for_each(|line| ui.say(line));
            Ok(())
        }
    }
}

/// One sample of a loop: on a terminal in the place of the one before; as JSON a line; else only what changed. False once nobody reads any more.
pub fn monitor_tick(ui: &Ui, status: &Status, before: Option<&Status>) -> Result<bool> {
    match ui.format {
        Format::Json => ui.print_line(&serde_json::to_string(&document(ui, status))?),
        _ if ui.terminal => {
            ui.clear()?;
            let alive = ui.print_line(&format!("{}  {}\n\n{}", clock(status.at), visible(&status.target), tables(ui, status)))?;
            sources(status).iter().for_each(|line| ui.say(line));
            Ok(alive)
        }
        _ => {
            let mut alive = true;
            for line in changes(status, before) {
                alive = ui.print_line(&visible(&line))?;
            }
            Ok(alive)
        }
    }
}

/// What is different from the sample before, a line each; of the first sample everything that is not quiet.
fn changes(status: &Status, before: Option<&Status>) -> Vec<String> {
    let mut lines = Vec::new();
    let now = clock(status.at);
    for alert in &status.alerts {
        let old = before.and_then(|before| before.alerts.iter().find(|old| old.is_of(alert)));
        let quiet = matches!(alert.state, Shown::Inactive | Shown::NotApplicable);
        // That an alert waits for its source, and that it no longer does, is news as well.
        if old.map_or(!quiet, |old| old.state != alert.state || old.held_until.is_some() != alert.held_until.is_some()) {
            lines.push(format!("{now}  {}  {}  {}{}", alert.state.name(), alert.title(), value_of(alert), reason(alert)));
        }
    }
    for source in &status.sources {
        let old = before.and_then(|before| before.sources.iter().find(|old| old.name == source.name)).map(|old| old.state);
        if old.map_or(source.state == "failed", |old| old != source.state) {
            let why = source.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            lines.push(format!("{now}  source {} is {}{why}", source.name, source.state));
        }
    }
    if before.is_none() {
        let count = |state: Shown| status.alerts.iter().filter(|alert| alert.state == state).count();
        lines.push(format!(
            "{now}  watching {}: {}, {} firing, {} pending, {} unknown",
            status.target,
            units::counted(status.judging().count() as u64, "rule"),
            count(Shown::Firing),
            count(Shown::Pending),
            count(Shown::Unknown)
        ));
    }
    lines
}

/// The one line that Nagios reads, and its code.
pub fn nagios(status: &Status) -> (String, u8) {
    let perfdata: Vec<String> = status
        .alerts
        .iter()
        .filter_map(|alert| {
            let unit = if alert.unit == "ms" { "ms" } else { "" };
            let (warning, critical) =
                if alert.severity == "critical" { (None, Some(alert.threshold)) } else { (Some(alert.threshold), None) };
            let limit = |limit: Option<f64>| limit.map_or(String::new(), |limit| nagios_range(alert.sign, limit));
            let value = alert.value.filter(|_| alert.value_at == Some(status.at))?;
            Some(format!("{}={value}{unit};{};{}", alert.title().replace(' ', "_"), limit(warning), limit(critical)))
        })
        .collect();
    let perfdata = if perfdata.is_empty() { String::new() } else { format!(" | {}", perfdata.join(" ")) };
    let (firing, causes) = (status.firing(), causes(status));
    // Why a source cannot be read is said once, and not by each who wanted to hear from it.
    let own_reason = |alert: &AlertReport| {
        let of_source = |why: &String| causes.iter().any(|(_, cause)| why.contains(cause));
        alert.reason.clone().filter(|why| !of_source(why))
    };
    let said = |alert: &&AlertReport| {
        let since = alert.active_since.map_or(String::new(), |since| format!(" for {:.0} s", (status.at - since) as f64 / 1000.0));
        let unseen = own_reason(alert).filter(|_| !alert.is_judged).map_or(String::new(), |why| format!(": {why}"));
        match alert.is_of_source() {
            true => format!("{}{since}", alert.title()),
            false => {
                let old = alert.value_at.filter(|seen| *seen < status.at).map_or(String::new(), |seen| format!(" at {}", clock(seen)));
                let about = alert.about.map_or(String::new(), |about| format!("; {about}"));
                format!("{} {}{old} ({}{since}{about}){unseen}", alert.name, value_of(alert), alert.condition)
            }
        }
    };
    let unknown = status.unknown();
    let (word, code, mut what) = match firing.first() {
        Some(worst) if worst.severity == "critical" => ("CRITICAL", 2, firing.iter().map(said).collect::<Vec<_>>().join(", ")),
        Some(worst) if worst.severity == "warning" => ("WARNING", 1, firing.iter().map(said).collect::<Vec<_>>().join(", ")),
        _ if !unknown.is_empty() => {
            let mut reasons: Vec<(Option<String>, Vec<String>)> = Vec::new();
            for alert in &unknown {
                let why = own_reason(alert);
                match reasons.iter_mut().find(|(there, _)| *there == why) {
                    Some((_, alerts)) => alerts.push(alert.title()),
                    None => reasons.push((why, vec![alert.title()])),
                }
            }
            let said = |(why, alerts): &(Option<String>, Vec<String>)| {
                format!("{}: {}", alerts.join(", "), why.as_deref().unwrap_or("a source cannot be read"))
            };
            ("UNKNOWN", 3, reasons.iter().map(said).collect::<Vec<_>>().join("; "))
        }
        None if !status.is_judged() => {
            let said = |alert: &AlertReport| format!("{}{}", alert.name, reason(alert));
            let each = status.judging().map(said).collect::<Vec<_>>().join(", ");
            ("UNKNOWN", 3, format!("nothing that is there can judge any of {} rules: {each}", status.judging().count()))
        }
        _ => {
            let applicable = status.judging().filter(|alert| alert.state != Shown::NotApplicable).count();
            let idle = status.judging().filter(|alert| alert.state == Shown::Inactive && alert.value.is_none()).count();
            let idle = if idle > 0 { format!("; for {idle} of them nothing has happened to judge") } else { String::new() };
            let rules = status.judging().count();
            ("OK", 0, format!("{applicable} of {rules} rules were evaluated, none fires at warning or above{idle}"))
        }
    };
    for (sources, why) in &causes {
        what.push_str(&format!("; {sources} cannot be read: {why}"));
    }
    // A bar would end the text for whoever reads it.
    (format!("{word} - {}{perfdata}", visible(&what.replace('|', "/").replace('\n', " "))), code)
}

/// Where Nagios is to see an alarm: it takes a range for the good one, and a bare number for the end of one that begins at 0.
fn nagios_range(sign: Sign, limit: f64) -> String {
    match sign {
        Sign::More | Sign::AtLeast => limit.to_string(),
        Sign::Less | Sign::AtMost => format!("{limit}:"),
        Sign::Equal => format!("@{limit}:{limit}"),
        Sign::Different => format!("{limit}:{limit}"),
    }
}

/// Which sources cannot be read, and why: those of one reason together.
fn causes(status: &Status) -> Vec<(String, &str)> {
    let mut causes: Vec<(String, &str)> = Vec::new();
    for source in status.sources.iter().filter(|source| source.state == "failed") {
        let why = source.reason.as_deref().unwrap_or_default();
        match causes.iter_mut().find(|(_, there)| *there == why) {
            Some((names, _)) => *names = format!("{names}, {}", source.name),
            None => causes.push((source.name.to_string(), why)),
        }
    }
    causes
}

fn tables(ui: &Ui, status: &Status) -> String {
    let mut kpis = Table::new(&["kpi", "value", "target", "verdict", "from"]).right(1).right(2);
    for kpi in &status.kpis {
        let value = kpi.value.map_or(String::new(), |value| shown(value, kpi.unit));
        let from = kpi.source.map_or(String::new(), str::to_string);
        kpis.push([
            kpi.name.to_string(),
            value,
            format!("{} {}", kpi.comparison, shown(kpi.target, kpi.unit)),
            verdict(kpi).to_string(),
            from,
        ]);
    }
    let mut alerts = Table::new(&["alert", "severity", "state", "value", "condition", "since", "from", "note"]).right(3);
    for alert in &status.alerts {
        alerts.push([
            alert.name.clone(),
            alert.severity.clone(),
            alert.state.name().replace('_', " "),
            alert.value.map_or(String::new(), |value| shown(value, alert.unit)),
            alert.condition.clone(),
            alert.since.map_or(String::new(), clock),
            alert.source.unwrap_or_default().to_string(),
            [alert.reason.as_deref(), alert.about].into_iter().flatten().collect::<Vec<_>>().join("; "),
        ]);
    }
    format!("{}\n{}", kpis.shown(ui), alerts.shown(ui))
}

/// What was asked, and what was not there.
fn sources(status: &Status) -> Vec<String> {
    let line = |source: &crate::monitor::SourceReport| {
        let why = source.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        format!("source {} is {}{why}", source.name, source.state)
    };
    status.sources.iter().filter(|source| source.state != "there").map(line).collect()
}

pub(super) fn verdict(kpi: &KpiReport) -> &'static str {
    match kpi.met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "unknown",
    }
}

pub(super) fn value_of(alert: &AlertReport) -> String {
    alert.value.map_or("-".to_string(), |value| shown(value, alert.unit))
}

pub(super) fn reason(alert: &AlertReport) -> String {
    alert.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"))
}

pub(super) fn shown(value: f64, unit: &str) -> String {
    match unit {
        "ms" => units::seconds(value / 1000.0),
        "ratio" => units::percent(value),
        "bytes" => units::bytes(value.max(0.0) as u64),
        "count" => value.to_string(),
        _ if value >= 100.0 => units::count(value.round() as u64),
        _ => format!("{value:.1}"),
    }
}

fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

pub fn clock(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn document(ui: &Ui, status: &Status) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schema_version".to_string(), json!(1));
    document.insert("candlefish_version".to_string(), json!(env!("CARGO_PKG_VERSION")));
    document.insert("started_at".to_string(), json!(ui.started_at));
    if let Ok(Value::Object(body)) = serde_json::to_value(status) {
        document.extend(body);
    }
    document
}

/// What a file of rules says, read.
pub fn rules_checked(ui: &Ui, file: &str, rules: &[crate::monitor::Rule]) -> Result<()> {
    use crate::monitor::span_text;
    match ui.format {
        Format::Json => {
            let rules: Vec<Value> = rules
                .iter()
                .map(|rule| {
                    let (threshold, unit) = rule.threshold();
                    json!({
                        "name": rule.name, "condition": rule.condition.text, "metric": rule.condition.metric.name, "severity": rule.severity,
                        "for_seconds": rule.for_ms as f64 / 1000.0, "window_seconds": rule.condition.window_ms as f64 / 1000.0,
                        "threshold": threshold, "unit": unit, "keep_firing_seconds": rule.keep_firing_ms as f64 / 1000.0,
                        "min_samples": rule.min_samples, "built_in": rule.is_built_in, "on_no_data": rule.on_no_data.name(),
                        "always_holds": rule.condition.holds_in_reach() == Some(true), "promql": rule.promql(), "not_filled_in": rule.not_filled_in(),
                    })
                })
                .collect();
            ui.print_json(&json!({
                "schema_version": 1, "candlefish_version": env!("CARGO_PKG_VERSION"), "started_at": ui.started_at, "file": file, "rules": rules
            }))
        }
        _ => {
            let header = ["alert", "severity", "condition", "holds", "window", "for", "keeps firing", "events", "no data"];
            let mut table = Table::new(&header).right(7);
            for rule in rules {
                let span = |ms: i64| if ms > 0 { span_text(ms) } else { String::new() };
                let (threshold, unit) = rule.threshold();
                table.push([
                    &rule.name,
                    &rule.severity,
                    &rule.condition.text,
                    // What is meant by it, with the unit that is not written.
                    &format!("{} {}", rule.condition.sign.text(), shown(threshold, unit)),
                    &span(rule.condition.window_ms),
                    &span(rule.for_ms),
                    &span(rule.keep_firing_ms),
                    &if rule.condition.window_ms > 0 { rule.min_samples.to_string() } else { String::new() },
                    rule.on_no_data.name(),
                ]);
            }
            table.print(ui)?;
            for rule in rules.iter().filter(|rule| rule.is_built_in) {
                ui.say(&format!("{} is built in; an alert of that name takes its place", rule.name));
            }
            for rule in rules.iter().filter(|rule| rule.condition.text.ends_with(|end: char| end.is_ascii_digit())) {
                let (threshold, unit) = rule.threshold();
                if unit == Unit::Count.short() {
                    continue;
                }
                ui.say(&format!("{}: no unit is written, and its limit is taken as {}", rule.name, shown(threshold, unit)));
            }
            for rule in rules.iter().filter(|rule| rule.condition.holds_in_reach() == Some(true)) {
                let metric = rule.condition.metric;
                ui.say(&format!("{}: it holds whatever happens: {} is {}", rule.name, metric.name, metric.reach_text()));
            }
            for rule in rules {
                for template in rule.not_filled_in() {
                    ui.say(&format!(
                        "{}: {template} is told as it is written: only $value and $labels.NAME of annotations are filled in",
                        rule.name
                    ));
                }
            }
            Ok(())
        }
    }
}

/// What tests of rules came to.
pub fn rules_tested(ui: &Ui, report: &crate::monitor::ScriptReport) -> Result<()> {
    if ui.format == Format::Json {
        let transitions: Vec<Value> = report
            .transitions
            .iter()
            .map(|(test, at, alert, state)| json!({ "test": test, "at_seconds": *at as f64 / 1000.0, "alert": alert, "state": state }))
            .collect();
        return ui.print_json(&json!({
            "schema_version": 1, "candlefish_version": env!("CARGO_PKG_VERSION"), "started_at": ui.started_at,
            "tests": report.tests, "expectations": report.expectations, "not_tried": report.not_tried, "failures": report.failures, "transitions": transitions,
        }));
    }
    let mut table = Table::new(&["test", "at", "alert", "state"]);
    for (test, at, alert, state) in &report.transitions {
        table.push([test.as_str(), &crate::monitor::span_text(*at), alert, state.name()]);
    }
    if !table.is_empty() {
        table.print(ui)?;
    }
    report.failures.iter().for_each(|failure| ui.say(&format!("failed: {failure}")));
    let (tests, expectations) = (units::counted(report.tests as u64, "test"), units::counted(report.expectations as u64, "expectation"));
    ui.say(&format!("{tests}, {expectations}, {} failed", report.failures.len()));
    if report.not_tried > 0 {
        ui.say(&format!("{} of promql_expr_test were not tried: they are PromQL, which `promtool test rules` reads", report.not_tried));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nagios_alarms_where_we_do() {
        let ranges = [Sign::More, Sign::Less, Sign::Equal, Sign::Different].map(|sign| nagios_range(sign, 0.9));
        assert_eq!(ranges, ["0.9", "0.9:", "@0.9:0.9", "0.9:0.9"]);
    }

    #[test]
    fn that_an_alert_waits_for_its_source_is_said_once_and_to_nagios() {
        let alert = |held_until: Option<i64>| AlertReport {
            name: "a".to_string(),
            severity: "critical".to_string(),
            labels: Default::default(),
            state: Shown::Firing,
            condition: "error_rate > 1%".to_string(),
            metric: "error_rate",
            sign: Sign::More,
            value: None,
            value_at: None,
            threshold: 0.01,
            unit: "ratio",
            for_seconds: 0.0,
            since: Some(0),
            active_since: Some(0),
            source: Some("instances"),
            held_until,
            reason: held_until.map(|_| "no instance is alive".to_string()),
            about: None,
            is_judged: held_until.is_none(),
        };
        let status = |held_until| Status {
            at: 60_000,
            target: "x".to_string(),
            interval_seconds: 15.0,
            sources: Vec::new(),
            metrics: Default::default(),
            alerts: vec![alert(held_until)],
            kpis: Vec::new(),
            facts: Default::default(),
        };
        let (seen, held) = (status(None), status(Some(90_000)));
        let line = "1970-01-01T00:01:00Z  firing  a  -";
        assert_eq!(changes(&held, Some(&seen)), [format!("{line}: no instance is alive")]);
        assert_eq!(changes(&held, Some(&held)), Vec::<String>::new());
        assert_eq!(changes(&seen, Some(&held)), [line]);
        assert_eq!(nagios(&held), ("CRITICAL - a - (error_rate > 1% for 60 s): no instance is alive".to_string(), 2));
    }
}
