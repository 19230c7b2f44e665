//! What came out: a table for people, one JSON document, and the promises with met or not met.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value as Json, json};

use super::Contestant;
use super::measure::{Sample, median};

pub struct Report {
    task: String,
    rounds: u32,
    machine: Json,
    pub rows: Vec<Row>,
    /// Instead of rows, where it is no rows that are moved.
    pub body: Option<Body>,
    pub claims: Vec<Claim>,
    pub notes: Vec<String>,
}

/// Results of another shape: for people, and for the document.
pub struct Body {
    pub text: String,
    pub json: Vec<Json>,
}

/// What the runs of one contestant came to.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    about: String,
    rows: u64,
    /// The median of its runs.
    pub seconds: f64,
    all_seconds: Vec<f64>,
    /// The most of any run.
    peak_bytes: u64,
}

impl Row {
    pub fn new(contestant: &Contestant<'_>, samples: &[Sample]) -> Self {
        Row {
            name: contestant.name.clone(),
            about: contestant.about.clone(),
            rows: contestant.rows,
            seconds: median(samples.iter().map(|sample| sample.seconds)).unwrap_or(f64::NAN),
            all_seconds: samples.iter().map(|sample| sample.seconds).collect(),
            peak_bytes: samples.iter().map(|sample| sample.peak_bytes).max().unwrap_or_default(),
        }
    }

    pub fn peak_mib(&self) -> f64 {
        self.peak_bytes as f64 / f64::from(1 << 20)
    }

    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

/// A promise of the project, and what was measured; `None` when a part of it did not run.
pub struct Claim {
    text: String,
    limit: f64,
    is_most: bool,
    actual: Option<f64>,
}

impl Claim {
    pub fn at_most(text: &str, limit: f64, actual: Option<f64>) -> Self {
        Claim { text: text.to_string(), limit, is_most: true, actual }
    }

    pub fn at_least(text: &str, limit: f64, actual: Option<f64>) -> Self {
        Claim { text: text.to_string(), limit, is_most: false, actual }
    }

    pub fn json(&self) -> Json {
        json!({
            "claim": self.text, "at": if self.is_most { "most" } else { "least" }, "limit": self.limit, "actual": self.actual,
            "met": self.met(),
        })
    }

    fn met(&self) -> Option<bool> {
        self.actual.map(|actual| if self.is_most { actual <= self.limit } else { actual >= self.limit })
    }
}

/// A line a promise: what was said, what came out, met or not.
pub fn claims_text(claims: &[Claim]) -> String {
    let width = claims.iter().map(|claim| claim.text.chars().count()).max().unwrap_or_default();
    let line = |claim: &Claim| {
        let actual = claim.actual.map_or("-".into(), |actual| format!("{actual:.2}"));
        let verdict = match claim.met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        };
        format!("{:<width$}  {} {:<5} {actual:>8}  {verdict}\n", claim.text, if claim.is_most { "≤" } else { "≥" }, claim.limit)
    };
    claims.iter().map(line).collect()
}

impl Report {
    pub fn new(task: String, rounds: u32, machine: Json) -> Self {
        Report { task, rounds, machine, rows: Vec::new(), body: None, claims: Vec::new(), notes: Vec::new() }
    }

    pub fn add_fact(&mut self, name: &str, fact: Option<String>) {
        self.machine[name] = json!(fact);
    }

    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Prints the table, and writes the document where one was asked for.
    pub fn finish(&self, file: Option<&Path>) -> Result<()> {
        println!("{}", self.text());
        if let Some(file) = file {
            let text = serde_json::to_string_pretty(&self.json())?;
            fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let fact = |name: &str| self.machine[name].as_str().unwrap_or("unknown").to_string();
        let memory =
            self.machine["memory_bytes"].as_u64().map_or("unknown".into(), |bytes| format!("{:.0} GiB", bytes as f64 / 1_073_741_824.0));
        let mut text = format!(
            "\n{}: medians of {} interleaved rounds\n{} × {}, {memory}, {}; {} ({}), PostgreSQL {}, SQLite {}, DuckDB {}, pgloader {}\n\n",
            self.task,
            self.rounds,
            self.machine["cores"],
            fact("cpu"),
            fact("system"),
            fact("candlefish"),
            fact("commit"),
            self.machine["postgresql"]["server_version"].as_str().unwrap_or("unknown"),
            fact("sqlite"),
            fact("duckdb"),
            fact("pgloader"),
        );
        if let Some(body) = &self.body {
            text += &body.text;
        } else {
            text += &self.rows_text();
        }
        text += "\n";
        text += &claims_text(&self.claims);
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }

    fn rows_text(&self) -> String {
        let mut text = String::new();
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(4);
        text += &format!("{:<width$}  {:>9}  {:>15}  {:>11}  {:>8}  what\n", "name", "median s", "from … to", "rows/s", "peak MiB");
        for row in &self.rows {
            let (least, most) = row.all_seconds.iter().fold((f64::MAX, 0.0f64), |(least, most), s| (least.min(*s), most.max(*s)));
            text += &format!(
                "{:<width$}  {:>9.2}  {:>15}  {:>11.0}  {:>8.0}  {}\n",
                row.name,
                row.seconds,
                format!("{least:.2} … {most:.2}"),
                row.rows_per_second(),
                row.peak_mib(),
                row.about
            );
        }
        text
    }

    fn json(&self) -> Json {
        let row = |row: &Row| {
            json!({
                "name": row.name, "about": row.about, "rows": row.rows, "seconds": row.seconds, "all_seconds": row.all_seconds,
                "rows_per_second": row.rows_per_second(), "peak_rss_bytes": row.peak_bytes,
            })
        };
        json!({
            "task": self.task, "rounds": self.rounds, "machine": self.machine,
            "results": self.body.as_ref().map_or_else(|| self.rows.iter().map(row).collect(), |body| body.json.clone()),
            "claims": self.claims.iter().map(Claim::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}
