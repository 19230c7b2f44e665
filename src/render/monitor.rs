//! The watch in words: tables, a line for Nagios, a line for each change, the live view of `top`.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::monitor::{AlertReport, HistoryPoint, KpiReport, Shown, Sign, Status};
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
        let old = before.and_then(|before| before.alerts.iter().find(|old| old.name == alert.name)).map(|old| old.state);
        let quiet = matches!(alert.state, Shown::Inactive | Shown::NotApplicable);
        if old.map_or(!quiet, |old| old != alert.state) {
            lines.push(format!("{now}  {}  {}  {}{}", alert.state.name(), alert.name, value_of(alert), reason(alert)));
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
            "{now}  watching {}: {} rules, {} firing, {} pending, {} unknown",
            status.target,
            status.alerts.len(),
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
            Some(format!("{}={}{unit};{};{}", alert.name, alert.value?, limit(warning), limit(critical)))
        })
        .collect();
    let perfdata = if perfdata.is_empty() { String::new() } else { format!(" | {}", perfdata.join(" ")) };
    let firing = status.firing();
    let said = |alert: &&AlertReport| {
        let since = alert.active_since.map_or(String::new(), |since| format!(" for {:.0} s", (status.at - since) as f64 / 1000.0));
        format!("{} {} ({}{since})", alert.name, value_of(alert), alert.condition)
    };
    let unknown = status.unknown();
    let (word, code, what) = match firing.first() {
        Some(worst) if worst.severity == "critical" => ("CRITICAL", 2, firing.iter().map(said).collect::<Vec<_>>().join(", ")),
        Some(worst) if worst.severity == "warning" => ("WARNING", 1, firing.iter().map(said).collect::<Vec<_>>().join(", ")),
        _ if !unknown.is_empty() => {
            let said = |alert: &&AlertReport| format!("{}{}", alert.name, reason(alert));
            ("UNKNOWN", 3, unknown.iter().map(said).collect::<Vec<_>>().join(", "))
        }
        None if !status.is_judged() => {
            let said = |alert: &AlertReport| format!("{}{}", alert.name, reason(alert));
            let each = status.alerts.iter().map(said).collect::<Vec<_>>().join(", ");
            ("UNKNOWN", 3, format!("nothing that is there can judge any of {} rules: {each}", status.alerts.len()))
        }
        _ => {
            let applicable = status.alerts.iter().filter(|alert| alert.state != Shown::NotApplicable).count();
            let idle = status.alerts.iter().filter(|alert| alert.state == Shown::Inactive && alert.value.is_none()).count();
            let idle = if idle > 0 { format!("; for {idle} of them nothing has happened to judge") } else { String::new() };
            ("OK", 0, format!("{applicable} of {} rules were evaluated, none fires at warning or above{idle}", status.alerts.len()))
        }
    };
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

/// `top`: the whole in a terminal of so many columns and rows.
pub fn top(ui: &Ui, status: &Status, history: &[HistoryPoint], (width, height): (usize, usize)) -> String {
    let mut lines: Vec<String> = Vec::new();
    let is_narrow = width < 54;
    let server = status.facts.server_version.as_ref().map_or(String::new(), |version| format!("  PostgreSQL {version}"));
    lines.push(format!("{}  {}{server}", ui.bold("candlefish top"), visible(&status.target)));
    let mut state = vec![clock(status.at), format!("every {}", units::seconds(status.interval_seconds))];
    if let Some(connections) = &status.facts.connections {
        let number = |value: Option<f64>| value.map_or("?".to_string(), |value| format!("{value:.0}"));
        state.extend([
            format!("connections {}/{},", number(connections.used), number(connections.most)),
            format!("active {},", number(connections.active)),
            format!("idle in transaction {},", number(connections.idle_in_transaction)),
            format!("waiting for locks {}", number(connections.waiting_for_locks)),
        ]);
    }
    lines.extend(filled(&state, "  ", width));
    lines.extend(
        status
            .sources
            .iter()
            .filter(|source| source.state == "failed")
            .map(|source| ui.alarm(&format!("{} cannot be read: {}", source.name, visible(source.reason.as_deref().unwrap_or_default())))),
    );
    // What fires is said first: no terminal is too short for it.
    let mut alerts: Vec<&AlertReport> = status.alerts.iter().collect();
    alerts.sort_by_key(|alert| urgency(alert.state));
    let (firing, others) = alerts.split_at(alerts.partition_point(|alert| alert.state == Shown::Firing));
    let line = |alert: &&AlertReport| {
        let (state, name, said) = (alert.state.name(), visible(&alert.name), value_of(alert));
        match is_narrow {
            true => format!("{state} {name} {said}"),
            false => format!("{state:<15} {name:<28} {said}{}", visible(&reason(alert))),
        }
    };
    lines.extend(firing.iter().map(|alert| ui.alarm(&line(alert))));
    lines.push(String::new());
    // Name, value, line; the greatest where there is room for it.
    let spark_width = width.saturating_sub(if is_narrow { 26 } else { 46 }).clamp(8, 60);
    type Line = (&'static str, &'static str, fn(&HistoryPoint) -> Option<f64>);
    let rows: [Line; 8] = [
        ("mean time", "ms", |point| point.values["avg_query_time"]),
        ("p95", "ms", |point| point.values["p95"]),
        ("cache hits", "ratio", |point| point.values["cache_hit_ratio"]),
        ("pool", "ratio", |point| point.values["pool_usage"]),
        ("failures", "ratio", |point| point.values["error_rate"]),
        ("calls/s", "", |point| point.calls_per_s),
        ("connections", "", |point| point.connections),
        ("active", "", |point| point.active),
    ];
    for (name, unit, of) in rows {
        let values: Vec<Option<f64>> = history.iter().map(of).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let now = values.last().copied().flatten().map_or("unknown".to_string(), |value| shown(value, unit));
        let greatest = values.iter().flatten().copied().reduce(f64::max).map_or(String::new(), |value| shown(value, unit));
        let most = if is_narrow { String::new() } else { format!("  most {greatest}") };
        lines.push(format!("{name:<12} {now:>10}  {}{most}", spark(&values, unit, spark_width)));
    }
    lines.push(String::new());
    for word in ["met", "missed", "unknown"] {
        let names = status.kpis.iter().filter(|kpi| verdict(kpi) == word).map(|kpi| kpi.name.to_string());
        let words: Vec<String> = [format!("KPIs {word}:")].into_iter().chain(names).collect();
        lines.extend(filled(&words, " ", width).into_iter().filter(|_| words.len() > 1));
    }
    lines.push(String::new());
    lines.extend(others.iter().map(line));
    lines.push(String::new());
    if status.facts.slow_queries.is_empty() {
        lines.push("no statement was counted since the sample before".to_string());
    } else {
        lines.push(ui.bold("    time/s    calls/s       mean  query"));
        for query in &status.facts.slow_queries {
            let number = |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| shown(value, unit));
            let text = query.query.as_deref().unwrap_or("hidden from this user").split_whitespace().collect::<Vec<_>>().join(" ");
            let text = visible(&text);
            lines.push(format!(
                "{:>10} {:>10} {:>10}  {text}",
                number(query.total_ms_per_s, "ms"),
                number(query.calls_per_s, ""),
                number(query.mean_ms, "ms")
            ));
        }
    }
    lines.push(String::new());
    lines.truncate(height.saturating_sub(2));
    lines.push("q quits".to_string());
    lines.iter().map(|line| fit(line, width)).collect::<Vec<_>>().join("\x1b[K\r\n") + "\x1b[K\x1b[J"
}

/// The lower, the sooner somebody has to look.
fn urgency(state: Shown) -> u8 {
    match state {
        Shown::Firing => 0,
        Shown::Pending => 1,
        Shown::Unknown => 2,
        Shown::Resolved => 3,
        Shown::Inactive | Shown::NotApplicable => 4,
    }
}

/// Words in lines of so many columns.
fn filled(words: &[String], between: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + between.len() + word.chars().count() < width => {
                line.push_str(between);
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// A line that does not wrap; what colours it takes no place.
fn fit(line: &str, width: usize) -> String {
    let (mut fitted, mut used, mut in_escape) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\x1b' {
            in_escape = true;
        }
        if in_escape {
            in_escape = !c.is_ascii_alphabetic();
            fitted.push(c);
        } else if c.is_control() {
            continue;
        } else if used + 1 < width {
            fitted.push(c);
            used += 1;
        }
    }
    fitted
}

/// The last values as blocks of eight heights; a gap where nothing was known.
fn spark(values: &[Option<f64>], unit: &str, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &values[values.len().saturating_sub(width)..];
    let most = if unit == "ratio" { 1.0 } else { last.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max) };
    let block = |value: &Option<f64>| value.map_or(' ', |value| BLOCKS[((value / most * 7.0).round().clamp(0.0, 7.0)) as usize]);
    let drawn: String = last.iter().map(block).collect();
    format!("{drawn:>width$}")
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
            alert.reason.clone().unwrap_or_default(),
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

fn verdict(kpi: &KpiReport) -> &'static str {
    match kpi.met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "unknown",
    }
}

fn value_of(alert: &AlertReport) -> String {
    alert.value.map_or("-".to_string(), |value| shown(value, alert.unit))
}

fn reason(alert: &AlertReport) -> String {
    alert.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"))
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "ms" => units::seconds(value / 1000.0),
        "ratio" => units::percent(value),
        "bytes" => units::bytes(value.max(0.0) as u64),
        _ if value >= 100.0 => units::count(value.round() as u64),
        _ => format!("{value:.1}"),
    }
}

fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

fn clock(ms: i64) -> String {
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
                        "min_samples": rule.min_samples, "on_no_data": rule.on_no_data.name(),
                        "promql": rule.promql(), "not_filled_in": rule.not_filled_in(),
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
            for rule in rules.iter().filter(|rule| rule.condition.text.ends_with(|end: char| end.is_ascii_digit())) {
                let (threshold, unit) = rule.threshold();
                ui.say(&format!("{}: no unit is written, and its limit is taken as {}", rule.name, shown(threshold, unit)));
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
    ui.say(&format!("{} tests, {} expectations, {} failed", report.tests, report.expectations, report.failures.len()));
    if report.not_tried > 0 {
        ui.say(&format!("{} of promql_expr_test were not tried: they are PromQL, which `promtool test rules` reads", report.not_tried));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_colours_take_no_place() {
        assert_eq!(fit("abcdef", 4), "abc");
        assert_eq!(fit("\x1b[1mabcdef\x1b[0m", 4), "\x1b[1mabc\x1b[0m");
        assert_eq!(filled(&["KPIs met:", "p50", "p95", "memory"].map(str::to_string), " ", 15), ["KPIs met: p50", "p95 memory"]);
    }

    #[test]
    fn nagios_alarms_where_we_do() {
        let ranges = [Sign::More, Sign::Less, Sign::Equal, Sign::Different].map(|sign| nagios_range(sign, 0.9));
        assert_eq!(ranges, ["0.9", "0.9:", "@0.9:0.9", "0.9:0.9"]);
    }

    #[test]
    fn gaps_stay_gaps() {
        assert_eq!(spark(&[Some(0.0), None, Some(1.0)], "ratio", 5), "  ▁ █");
        assert_eq!(spark(&[Some(5.0), Some(10.0)], "ms", 2), "▅█");
    }
}
