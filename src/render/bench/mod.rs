//! What `candlefish bench` answers: a line a layer, its operations, caches and errors, the server's side, the verdicts.

mod html;
mod progress;
mod verdict;

use anyhow::Result;

use crate::bench::{BenchReport, Improvement, LatencyReport, LayerReport, ServerReport};
use crate::render::{Format, Table, Ui, csv, units, visible};

pub use html::{BENCH_PAGE_HEAD, bench_html, is_bench_page};
pub use progress::BenchProgress;
pub use verdict::{bench_comparison, bench_find_max};

/// Prints the report.
pub fn bench(ui: &Ui, report: &BenchReport, error: Option<&anyhow::Error>) -> Result<()> {
    match error.filter(|_| ui.format == Format::Json) {
        Some(error) => {
            let mut document = serde_json::to_value(report)?;
            document["error"] = Ui::error_document(error);
            ui.print_json(&document)?;
        }
        None => shown(ui, report)?,
    }
    warnings(report).iter().for_each(|warning| ui.warn(warning));
    Ok(())
}

fn shown(ui: &Ui, report: &BenchReport) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(report),
        Format::Csv => ui.print(&layers_csv(report)),
        Format::Table => {
            ui.print(&headline(report))?;
            layers(report).print(ui)?;
            if let Some(last) = report.layers.last() {
                if last.operations.len() > 1 {
                    ui.print(&format!("\nlayer {}, by operation", last.layer))?;
                    operations(last).print(ui)?;
                }
                if !last.statements.is_empty() {
                    ui.print("")?;
                    statements(last).print(ui)?;
                }
            }
            let stored: Vec<&LayerReport> = report.layers.iter().filter(|layer| layer.answered.is_some()).collect();
            if !stored.is_empty() {
                let caches = caches(&stored);
                if !caches.is_empty() {
                    ui.print("\nlookups, and misses by cause")?;
                    caches.print(ui)?;
                }
                ui.print("\nthe pool of an instance")?;
                pools(&stored).print(ui)?;
                for (layer, pending) in stored.iter().filter_map(|layer| Some((layer, layer.pending_writes.filter(|count| *count > 0)?))) {
                    let why = if layer.redis.is_some() { "Redis could not be told at once" } else { "there is no Redis in this layer" };
                    ui.print(&format!("{}: news of {} went by the outbox: {why}", layer.layer, units::counted(pending, "write")))?;
                }
            }
            if let Some(server) = report.layers.last().and_then(|layer| layer.server.as_ref()) {
                of_server(ui, server)?;
            }
            for layer in &report.layers {
                errors(ui, report, layer)?;
            }
            improvements(ui, report)?;
            assertions(ui, report)?;
            report.notes.iter().for_each(|note| ui.say(&format!("note: {note}")));
            Ok(())
        }
    }
}

/// `registry, 10 clients on 2 threads, 30 s after 5 s of warm-up, closed model`
fn headline(report: &BenchReport) -> String {
    let config = &report.config;
    let length = match (config.seconds, config.transactions_per_client) {
        (Some(seconds), _) if report.interrupted => {
            let ran = report.layers.last().map_or(0.0, |layer| layer.seconds);
            format!("{} of {}", units::seconds(ran), units::seconds(seconds))
        }
        (Some(seconds), _) => units::seconds(seconds),
        (None, Some(count)) => format!("{} of each client", units::counted(count, "transaction")),
        (None, None) => "no length".to_string(),
    };
    let model = config.rate.map_or("closed model".to_string(), |rate| format!("open model at {rate} transactions/s"));
    let server = config
        .server
        .as_ref()
        .and_then(|server| server.get("server_version"))
        .map_or(String::new(), |version| format!(", PostgreSQL {version}"));
    let instances = if config.instances > 1 { format!(", {} instances", config.instances) } else { String::new() };
    format!(
        "{}: {} on {}{instances}, {length} after {} of warm-up, {model}{}{server}\n{}",
        visible(&config.workload.join(" + ")),
        units::counted(config.clients as u64, "client"),
        units::counted(config.threads as u64, "thread"),
        units::seconds(config.warmup_seconds),
        if report.layers.iter().any(|layer| layer.layer == "direct") { format!(", {} protocol", config.protocol) } else { String::new() },
        answered(report),
    )
}

/// `cached: L1 answered 92.1 %, L2 5.0 %, the database 2.9 %`: a line each layer of the data layer.
fn answered(report: &BenchReport) -> String {
    let mut text = String::new();
    for layer in &report.layers {
        let Some(answered) = layer.answered.as_ref().filter(|answered| answered.reads > 0) else { continue };
        let share = |of: Option<f64>| of.map_or("–".to_string(), units::percent);
        // Who waited for somebody else's load waited for the database or Redis as well.
        let mut line = format!(
            "{}: L1 answered {}, L2 {}, the database {}",
            layer.layer,
            share(answered.l1),
            share(answered.l2),
            share(answered.database)
        );
        if answered.coalesced.is_some_and(|share| share > 0.0) {
            line += &format!(", another's load {}", share(answered.coalesced));
        }
        if answered.stale.is_some_and(|share| share > 0.0) {
            line += &format!(", stale {}", share(answered.stale));
        }
        text += &format!("{line}\n");
    }
    text
}

fn layers(report: &BenchReport) -> Table {
    let repeated = report.config.repeat > 1;
    let mut table = Table::new(&["layer", "transactions", "tps", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors", "CPU µs/tx", "memory"]);
    for column in 1..10 {
        table = table.right(column);
    }
    for layer in &report.layers {
        let name = if repeated { format!("{} {}", layer.layer, layer.run) } else { layer.layer.clone() };
        table.push([
            name,
            units::count(layer.transactions),
            units::count(layer.tps.round() as u64),
            ms(layer.latency_ms.p50),
            ms(layer.latency_ms.p95),
            ms(layer.latency_ms.p99),
            ms(layer.latency_ms.max),
            units::count(layer.errors),
            layer.client_cpu_us_per_transaction.map_or("–".to_string(), |cpu| format!("{cpu:.1}")),
            layer.rss_bytes.map_or("–".to_string(), units::bytes),
        ]);
    }
    table
}

fn operations(layer: &LayerReport) -> Table {
    let mut table = Table::new(&["operation", "share", "transactions", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"]);
    for column in 1..8 {
        table = table.right(column);
    }
    let mut line = |name: &str, transactions: u64, errors: u64, latency: &LatencyReport| {
        let share =
            if layer.transactions == 0 { "–".to_string() } else { units::percent(transactions as f64 / layer.transactions as f64) };
        table.push([
            name.to_string(),
            share,
            units::count(transactions),
            ms(latency.p50),
            ms(latency.p95),
            ms(latency.p99),
            ms(latency.max),
            units::count(errors),
        ]);
    };
    for operation in &layer.operations {
        line(&operation.operation, operation.transactions, operation.errors, &operation.latency_ms);
    }
    for (name, part) in [("all reads", &layer.reads), ("all writes", &layer.writes)] {
        if part.transactions + part.errors > 0 {
            line(name, part.transactions, part.errors, &part.latency_ms);
        }
    }
    table
}

fn statements(layer: &LayerReport) -> Table {
    let mut table = Table::new(&["executions", "mean ms", "p95 ms", "p99 ms", "errors", "statement"]);
    for column in 0..5 {
        table = table.right(column);
    }
    for statement in &layer.statements {
        table.push([
            units::count(statement.executions),
            ms(statement.latency_ms.mean),
            ms(statement.latency_ms.p95),
            ms(statement.latency_ms.p99),
            units::count(statement.errors),
            statement.statement.clone(),
        ]);
    }
    table
}

/// A line each layer and cache.
fn caches(layers: &[&LayerReport]) -> Table {
    let mut table = Table::new(&["layer", "cache", "lookups", "hits", "without writes", "cold", "expired", "invalidated", "other"]);
    for column in 2..9 {
        table = table.right(column);
    }
    for layer in layers {
        for (name, cache) in [("L1", &layer.l1), ("L2", &layer.l2)] {
            let Some(cache) = cache else { continue };
            let ratio = |ratio: Option<f64>| ratio.map_or("–".to_string(), units::percent);
            let named = ["cold", "expired", "invalidated"];
            let cause = |name: &str| units::count(cache.misses_by_cause.get(name).copied().unwrap_or_default());
            let others = cache.misses_by_cause.iter().filter(|(name, _)| !named.contains(&name.as_str()));
            table.push([
                layer.layer.clone(),
                name.to_string(),
                units::count(cache.lookups),
                ratio(cache.hit_ratio),
                ratio(cache.hit_ratio_undisturbed),
                cause("cold"),
                cause("expired"),
                cause("invalidated"),
                units::count(others.map(|(_, count)| count).sum()),
            ]);
        }
    }
    table
}

/// A line each layer that has a pool.
fn pools(layers: &[&LayerReport]) -> Table {
    let mut table = Table::new(&["layer", "pool", "in use", "peak", "asked", "wait p50 ms", "wait p99 ms", "wait max ms", "refused"]);
    for column in 1..9 {
        table = table.right(column);
    }
    for layer in layers {
        let Some(pool) = &layer.pool else { continue };
        table.push([
            layer.layer.clone(),
            pool.max.to_string(),
            pool.utilization.map_or("–".to_string(), units::percent),
            pool.peak_in_use.to_string(),
            units::count(pool.waits),
            ms(pool.wait_ms_p50),
            ms(pool.wait_ms_p99),
            ms(pool.wait_ms_max),
            units::count(pool.refused),
        ]);
    }
    table
}

/// The server's own account of the last layer.
fn of_server(ui: &Ui, server: &ServerReport) -> Result<()> {
    let count = |name: &str| server.counts.get(name).copied().flatten();
    let mut facts = Vec::new();
    for (name, words) in [("commits", "commits"), ("blocks_hit", "blocks from its buffers"), ("blocks_read", "blocks from the system")] {
        facts.extend(count(name).map(|count| format!("{} {words}", units::count(count as u64))));
    }
    facts.extend(count("wal_bytes").map(|bytes| format!("{} of WAL", units::bytes(bytes as u64))));
    facts.extend(count("deadlocks").filter(|count| *count > 0.0).map(|count| format!("{} deadlocks", units::count(count as u64))));
    if !facts.is_empty() {
        ui.print(&format!("\nthe server meanwhile: {}", facts.join(", ")))?;
    }
    let waits: Vec<String> =
        server.waits.iter().take(4).map(|wait| format!("{} {}", wait.waiting_for, units::percent(wait.share))).collect();
    if !waits.is_empty() {
        ui.print(&format!("its active sessions: {}", waits.join(", ")))?;
    }
    if let Some(statements) = server.statements.as_ref().filter(|statements| !statements.is_empty()) {
        let mut table = Table::new(&["time", "calls", "mean ms", "rows", "blocks read", "WAL", "statement"]);
        for column in 0..6 {
            table = table.right(column);
        }
        for statement in statements.iter().take(5) {
            let words: Vec<&str> = statement.query.split_whitespace().collect();
            let text = words.join(" ");
            let cut: String = text.chars().take(100).collect();
            table.push([
                units::percent(statement.share),
                units::count(statement.calls),
                ms(Some(statement.mean_ms)),
                units::count(statement.rows),
                units::count(statement.blocks_read),
                units::bytes(statement.wal_bytes),
                if cut.len() < text.len() { format!("{cut}…") } else { cut },
            ]);
        }
        table.print(ui)?;
    }
    server.notes.iter().for_each(|note| ui.say(&format!("note: {note}")));
    Ok(())
}

/// The strategy's table with what was measured.
fn improvements(ui: &Ui, report: &BenchReport) -> Result<()> {
    if report.improvements.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["metric", "file: expected", "measured", "target: expected", "measured", "improvement"]);
    for column in 1..6 {
        table = table.right(column);
    }
    for line in &report.improvements {
        table.push([
            line.metric.clone(),
            line.expected_current.clone(),
            quantity(line, line.current),
            line.expected_target.clone(),
            quantity(line, line.target),
            change(line),
        ]);
    }
    ui.print("\nwhat the strategy expected, and what was measured")?;
    table.print(ui)
}

fn quantity(line: &Improvement, value: Option<f64>) -> String {
    match (line.unit.as_deref(), value) {
        (_, None) => "unknown".to_string(),
        (Some("ms"), value) => format!("{} ms", ms(value)),
        (Some("ratio"), Some(ratio)) => units::percent(ratio),
        (Some("bytes"), Some(bytes)) => units::bytes(bytes as u64),
        (_, Some(count)) => units::count(count.round() as u64),
    }
}

fn change(line: &Improvement) -> String {
    match (line.unit.as_deref(), line.factor()) {
        (_, None) => "–".to_string(),
        (Some("ms"), Some(factor)) if factor < 1.0 => format!("{} faster", units::percent(1.0 - factor)),
        (_, Some(factor)) if factor >= 10.0 => format!("{} ×", units::count(factor.round() as u64)),
        (_, Some(factor)) => format!("{factor:.1} ×"),
    }
}

fn errors(ui: &Ui, report: &BenchReport, layer: &LayerReport) -> Result<()> {
    if layer.errors_by_code.is_empty() && layer.retries == 0 {
        return Ok(());
    }
    let of = if report.layers.len() > 1 { format!(" of layer {}", layer.layer) } else { String::new() };
    let mut text = format!("\nerrors{of}: {} of transactions", layer.error_rate.map_or("–".to_string(), units::percent));
    if layer.retries > 0 {
        text.push_str(&format!("; {}", units::counted(layer.retries, "retry").replace("retrys", "retries")));
    }
    ui.print(&text)?;
    for error in &layer.errors_by_code {
        ui.print(&format!("  {} × {}  {}", units::count(error.count), visible(&error.code), visible(&error.message)))?;
    }
    Ok(())
}

fn assertions(ui: &Ui, report: &BenchReport) -> Result<()> {
    if report.assertions.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["assertion", "actual", "verdict", "about"]).right(1);
    for assertion in &report.assertions {
        table.push([
            assertion.expr.clone(),
            assertion
                .actual
                .map_or("unknown".to_string(), |actual| format!("{actual:.4}").trim_end_matches('0').trim_end_matches('.').to_string()),
            match assertion.passed {
                Some(true) => "passed",
                Some(false) => "MISSED",
                None => "not judged",
            }
            .to_string(),
            assertion.about.clone().unwrap_or_default(),
        ]);
    }
    ui.print("")?;
    table.print(ui)
}

/// An instance that a busy machine keeps from hearing Redis for a moment has not lost it.
const LONG_AWAY: f64 = 0.01;

/// What nobody may overlook, whoever reads the numbers.
fn warnings(report: &BenchReport) -> Vec<String> {
    let mut warnings = Vec::new();
    for layer in &report.layers {
        if let Some(open) = &layer.open
            && open.not_sent > 0
        {
            warnings.push(format!(
                "layer {}: {} of {} were due and never sent: the rate was not reached; more clients (-c), or a lower rate",
                layer.layer,
                units::count(open.not_sent),
                units::counted(layer.transactions + layer.errors, "transaction")
            ));
        }
        // A healthy system has a few of them under way at any moment.
        if let Some(open) = layer.open.as_ref().filter(|open| open.dropped_with_warmup > layer.clients as u64) {
            warnings.push(format!(
                "layer {}: {} that were due in the warm-up were not begun when it ended, and were dropped: the rate was not reached there either",
                layer.layer,
                units::counted(open.dropped_with_warmup, "transaction")
            ));
        }
        if let Some(connections) = layer.connections.as_ref().filter(|connections| connections.lost + connections.failed_attempts > 0) {
            warnings.push(format!(
                "layer {}: {} broke, {} found none; the clients were without for {} of their time, and {} of {} had none at the end",
                layer.layer,
                units::counted(connections.lost, "connection"),
                units::counted(connections.failed_attempts, "attempt"),
                units::percent(connections.away_ratio),
                connections.away_at_end,
                units::counted(layer.clients as u64, "client")
            ));
        }
        if let Some(redis) = layer.redis.as_ref().filter(|redis| redis.lost > 0 || redis.away_ratio.is_some_and(|away| away > LONG_AWAY)) {
            warnings.push(format!(
                "layer {}: Redis was lost {}; {}{} the instances went on without it, and so much of these numbers is not of a layer with Redis",
                layer.layer,
                if redis.lost == 1 { "once".to_string() } else { units::counted(redis.lost, "time") },
                redis.away_ratio.map_or("for a time that nobody measured".to_string(), |away| format!("for {} of the time", units::percent(away))),
                if redis.away_at_end > 0 { ", and at the end," } else { "" },
            ));
        }
        if let Some(why) = layer.incomplete() {
            warnings.push(format!("layer {}: this is not the load that was asked for, and no assertion passes on it: {why}", layer.layer));
        }
    }
    if let Some(why) = &report.ended_early {
        warnings.push(format!("the run ended early: {why}"));
    }
    if report.interrupted {
        warnings.push("the run was interrupted: these are the results until then".to_string());
    }
    warnings
}

fn layers_csv(report: &BenchReport) -> String {
    let header = [
        "layer",
        "run",
        "clients",
        "threads",
        "seconds",
        "transactions",
        "tps",
        "errors",
        "error_rate",
        "min_ms",
        "mean_ms",
        "p50_ms",
        "p90_ms",
        "p95_ms",
        "p99_ms",
        "p999_ms",
        "max_ms",
        "rss_bytes",
        "client_cpu_us_per_transaction",
    ];
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    csv(
        &header,
        report.layers.iter().map(|layer| {
            let latency = &layer.latency_ms;
            [
                layer.layer.clone(),
                layer.run.to_string(),
                layer.clients.to_string(),
                layer.threads.to_string(),
                layer.seconds.to_string(),
                layer.transactions.to_string(),
                layer.tps.to_string(),
                layer.errors.to_string(),
                number(layer.error_rate),
                number(latency.min),
                number(latency.mean),
                number(latency.p50),
                number(latency.p90),
                number(latency.p95),
                number(latency.p99),
                number(latency.p999),
                number(latency.max),
                layer.rss_bytes.map_or(String::new(), |bytes| bytes.to_string()),
                number(layer.client_cpu_us_per_transaction),
            ]
        }),
    )
}

/// Three digits are enough, and more would lie.
pub(super) fn ms(value: Option<f64>) -> String {
    match value {
        None => "–".to_string(),
        Some(value) if value < 0.995 => format!("{value:.3}"),
        Some(value) if value < 9.95 => format!("{value:.2}"),
        Some(value) if value < 99.5 => format!("{value:.1}"),
        Some(value) => units::count(value.round() as u64),
    }
}
