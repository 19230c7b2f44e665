//! Events as lines of JSON. What comes thousands of times a second is summed up to once a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::say;
use crate::model::{Event, Phase};

pub struct JsonLines {
    started: Instant,
    flushed: Instant,
    /// Rows and bytes by which tables have advanced since the last line about them.
    advanced: BTreeMap<(Phase, String), (u64, u64)>,
}

const INTERVAL: Duration = Duration::from_secs(1);

impl JsonLines {
    pub fn new(now: Instant) -> Self {
        JsonLines { started: now, flushed: now, advanced: BTreeMap::new() }
    }

    pub fn write(&mut self, event: &Event, now: Instant) {
        let seconds = milliseconds(now - self.started);
        match event {
            Event::TableAdvanced { phase, table, rows, bytes } => {
                let sum = self.advanced.entry((*phase, table.clone())).or_default();
                *sum = (sum.0 + rows, sum.1 + bytes);
            }
            Event::TableEnded { phase, table, .. } => {
                if let Some(sum) = self.advanced.remove(&(*phase, table.clone())) {
                    say(&advanced(*phase, table, sum, seconds).to_string());
                }
                say(&line(event, seconds).to_string());
            }
            _ => {
                if matches!(event, Event::PhaseEnded { .. }) {
                    self.flush(now);
                }
                say(&line(event, seconds).to_string());
            }
        }
        if now - self.flushed >= INTERVAL {
            self.flush(now);
        }
    }

    pub fn flush(&mut self, now: Instant) {
        let seconds = milliseconds(now - self.started);
        for ((phase, table), sum) in std::mem::take(&mut self.advanced) {
            say(&advanced(phase, &table, sum, seconds).to_string());
        }
        self.flushed = now;
    }
}

fn advanced(phase: Phase, table: &str, (rows, bytes): (u64, u64), seconds: f64) -> Json {
    line(&Event::TableAdvanced { phase, table: table.to_string(), rows, bytes }, seconds)
}

fn line(event: &Event, seconds: f64) -> Json {
    match event {
        Event::PhaseStarted(phase) => json!({"event": "phase_started", "seconds": seconds, "phase": phase.as_str()}),
        Event::PhaseEnded { phase, seconds: took } => {
            json!({"event": "phase_ended", "seconds": seconds, "phase": phase.as_str(), "took_seconds": took})
        }
        Event::Total { phase, tables, rows, rows_done } => {
            json!({"event": "total", "seconds": seconds, "phase": phase.as_str(), "tables": tables, "rows": rows, "rows_done": rows_done})
        }
        Event::TableStarted { phase, table, rows } => {
            json!({"event": "table_started", "seconds": seconds, "phase": phase.as_str(), "table": table, "rows": rows})
        }
        Event::TableAdvanced { phase, table, rows, bytes } => json!({
            "event": "table_advanced", "seconds": seconds, "phase": phase.as_str(), "table": table, "rows": rows, "bytes": bytes
        }),
        Event::TableEnded { phase, table, rows_written, rows_rejected } => json!({
            "event": "table_ended", "seconds": seconds, "phase": phase.as_str(), "table": table, "rows_written": rows_written,
            "rows_rejected": rows_rejected
        }),
        Event::ObjectStarted(object) => json!({"event": "object_started", "seconds": seconds, "object": object}),
        Event::ObjectEnded(object) => json!({"event": "object_ended", "seconds": seconds, "object": object}),
        Event::Note(text) => json!({"event": "note", "seconds": seconds, "text": text}),
        Event::Warning(text) => json!({"event": "warning", "seconds": seconds, "text": text}),
    }
}

/// Seconds, to the millisecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
