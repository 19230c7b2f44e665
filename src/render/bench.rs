//! What `candlefish bench` answers: a line a layer, its operations, its errors; and the lines of progress.

use std::io::Write as _;
use std::sync::Mutex;

use anyhow::Result;
use serde::Serialize;

use crate::bench::{BenchReport, Comparison, FindMax, LatencyReport, LayerReport, Length, SCHEMA_VERSION, Step, Tick, Verdict};
use crate::render::{Format, Table, Ui, csv, units};

/// Prints the report.
pub fn bench(ui: &Ui, report: &BenchReport) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(report),
        Format::Csv => ui.print(&layers_csv(report)),
        Format::Table => {
            ui.print(&headline(report))?;
            layers(report).print(ui)?;
            if let Some(last) = report.layers.last() {
                if last.operations.len() > 1 {
                    ui.print("")?;
                    operations(last).print(ui)?;
                }
                if !last.statements.is_empty() {
                    ui.print("")?;
                    statements(last).print(ui)?;
                }
            }
            for layer in &report.layers {
                errors(ui, report, layer)?;
            }
            assertions(ui, report)?;
            notes(ui, report);
            Ok(())
        }
    }
}

/// `registry, 10 clients on 2 threads, 30 s after 5 s of warm-up, closed model`
fn headline(report: &BenchReport) -> String {
    let config = &report.config;
    let length = match (config.seconds, config.transactions_per_client) {
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
    format!(
        "{}: {} on {}, {length} after {} of warm-up, {model}, {} protocol{server}\n",
        config.workload.join(" + "),
        units::counted(config.clients as u64, "client"),
        units::counted(config.threads as u64, "thread"),
        units::seconds(config.warmup_seconds),
        config.protocol,
    )
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
        ui.print(&format!("  {} × {}  {}", units::count(error.count), error.code, error.message))?;
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
            if assertion.passed { "passed" } else { "MISSED" }.to_string(),
            assertion.about.clone().unwrap_or_default(),
        ]);
    }
    ui.print("")?;
    table.print(ui)
}

fn notes(ui: &Ui, report: &BenchReport) {
    for layer in &report.layers {
        if let Some(open) = &layer.open
            && open.not_sent > 0
        {
            ui.warn(&format!(
                "layer {}: {} due and never sent: the rate was not reached; more clients (-c), or a lower rate",
                layer.layer,
                units::counted(open.not_sent, "transaction")
            ));
        }
    }
    for note in &report.notes {
        ui.say(&format!("note: {note}"));
    }
    if report.interrupted {
        ui.warn("the run was interrupted: these are the results until then");
    }
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
fn ms(value: Option<f64>) -> String {
    match value {
        None => "–".to_string(),
        Some(value) if value < 0.995 => format!("{value:.3}"),
        Some(value) if value < 9.95 => format!("{value:.2}"),
        Some(value) if value < 99.5 => format!("{value:.1}"),
        Some(value) => units::count(value.round() as u64),
    }
}

/// Prints `bench compare`.
pub fn bench_comparison(ui: &Ui, comparison: &Comparison) -> Result<()> {
    let change = |ratio: Option<f64>| ratio.map_or("–".to_string(), |ratio| format!("{:+.1} %", ratio * 100.0));
    match ui.format {
        Format::Json => ui.print_json(&Document::new(ui, comparison)),
        Format::Csv => {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let header = ["layer", "metric", "runs_a", "runs_b", "a", "b", "change", "change_low", "change_high", "verdict"];
            ui.print(&csv(
                &header,
                comparison.metrics.iter().map(|metric| {
                    [
                        metric.layer.clone(),
                        metric.metric.to_string(),
                        metric.runs_a.to_string(),
                        metric.runs_b.to_string(),
                        number(metric.a),
                        number(metric.b),
                        number(metric.change),
                        number(metric.change_low),
                        number(metric.change_high),
                        metric.verdict.as_str().to_string(),
                    ]
                }),
            ))
        }
        Format::Table => {
            let mut table = Table::new(&["layer", "metric", "runs", "A", "B", "change", "from", "to", "verdict"]);
            for column in 2..8 {
                table = table.right(column);
            }
            for metric in &comparison.metrics {
                let value = |value: Option<f64>| match value {
                    Some(value) if metric.metric == "tps" => units::count(value.round() as u64),
                    value => ms(value),
                };
                table.push([
                    metric.layer.clone(),
                    metric.metric.replace("_ms", " ms"),
                    format!("{} + {}", metric.runs_a, metric.runs_b),
                    value(metric.a),
                    value(metric.b),
                    change(metric.change),
                    change(metric.change_low),
                    change(metric.change_high),
                    metric.verdict.as_str().to_string(),
                ]);
            }
            table.print(ui)?;
            let sentence = match comparison.verdict {
                Verdict::Better => "B is better than A",
                Verdict::Worse => "B is worse than A",
                Verdict::Inconclusive => "inconclusive: B is not to be told from A by these runs",
            };
            ui.print(&format!("\n{sentence} ({:.0} % sure of all intervals together)", comparison.confidence * 100.0))?;
            comparison.notes.iter().for_each(|note| ui.say(&format!("note: {note}")));
            Ok(())
        }
    }
}

/// Prints `bench find-max`.
pub fn bench_find_max(ui: &Ui, found: &FindMax) -> Result<()> {
    let missed = |step: &Step| {
        let misses: Vec<String> = step
            .assertions
            .iter()
            .filter(|assertion| !assertion.passed)
            .map(|assertion| {
                assertion.actual.map_or(format!("{}: unknown", assertion.expr), |actual| format!("{}: {actual:.3}", assertion.expr))
            })
            .collect();
        match (step.passed, misses.is_empty()) {
            (true, _) => "holds".to_string(),
            (false, true) => "the rate was not reached".to_string(),
            (false, false) => misses.join(", "),
        }
    };
    match ui.format {
        Format::Json => return ui.print_json(&Document::new(ui, found)),
        Format::Csv => {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let header = ["rate", "tps", "p50_ms", "p95_ms", "p99_ms", "not_sent", "passed"];
            return ui.print(&csv(
                &header,
                found.steps.iter().map(|step| {
                    let latency = &step.latency_ms;
                    [
                        step.rate.to_string(),
                        step.tps.to_string(),
                        number(latency.p50),
                        number(latency.p95),
                        number(latency.p99),
                        step.not_sent.to_string(),
                        step.passed.to_string(),
                    ]
                }),
            ));
        }
        Format::Table => {}
    }
    let mut table = Table::new(&["rate", "tps", "p50 ms", "p95 ms", "p99 ms", "verdict"]);
    for column in 0..5 {
        table = table.right(column);
    }
    for step in &found.steps {
        let latency = &step.latency_ms;
        table.push([
            units::count(step.rate.round() as u64),
            units::count(step.tps.round() as u64),
            ms(latency.p50),
            ms(latency.p95),
            ms(latency.p99),
            missed(step),
        ]);
    }
    table.print(ui)?;
    let sentence = match found.max_rate {
        Some(rate) => format!("{} transactions/s hold {} (twice)", units::count(rate.round() as u64), found.claims.join(", ")),
        None if found.interrupted => "interrupted before the end of the search".to_string(),
        None => format!("no rate holds {}", found.claims.join(", ")),
    };
    ui.print(&format!("\n{sentence}"))
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    candlefish_version: &'static str,
    started_at: &'a str,
    #[serde(flatten)]
    answer: &'a T,
}

impl<'a, T> Document<'a, T> {
    fn new(ui: &'a Ui, answer: &'a T) -> Self {
        Document { schema_version: SCHEMA_VERSION, candlefish_version: env!("CARGO_PKG_VERSION"), started_at: &ui.started_at, answer }
    }
}

/// Lines of progress: one each so many seconds, or one that is rewritten each second on a terminal.
pub struct BenchProgress {
    ui: Ui,
    every: u64,
    /// One line that is rewritten.
    rewritten: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    drawn: bool,
    layer: Option<String>,
}

impl BenchProgress {
    pub fn new(ui: &Ui, every: Option<u64>) -> Self {
        let rewritten = ui.live && !ui.quiet && every.is_none();
        let every = every.unwrap_or(if rewritten { 1 } else { 10 });
        BenchProgress { ui: ui.clone(), every, rewritten, state: Mutex::new(State::default()) }
    }

    pub fn show(&self, tick: &Tick) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let layer = tick.layer.as_str();
        let Some(seconds) = tick.seconds else {
            if state.layer.as_deref() != Some(layer) {
                state.layer = Some(layer.to_string());
                self.line(&mut state, &format!("{layer}: warming up"));
            }
            return;
        };
        let whole = seconds as u64;
        if whole == 0 || !whole.is_multiple_of(self.every) {
            return;
        }
        let of = match tick.length {
            Length::Time(time) => format!(" of {}", units::duration(time)),
            Length::Transactions(_) => String::new(),
        };
        let second = &tick.second;
        self.line(
            &mut state,
            &format!(
                "{layer}: {whole} s{of}, {} tps, p50 {} ms, p95 {} ms, p99 {} ms, {}",
                units::count(second.transactions),
                ms(second.p50_ms),
                ms(second.p95_ms),
                ms(second.p99_ms),
                units::counted(second.errors, "error"),
            ),
        );
    }

    fn line(&self, state: &mut State, text: &str) {
        if self.rewritten {
            state.drawn = true;
            // A terminal that is gone is told of by the next real line.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        } else {
            self.ui.say(text);
        }
    }

    /// Takes the rewritten line away.
    pub fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
