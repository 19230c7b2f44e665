//! What every part of a run shares: the plan, the source, and what happens to a row that does not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use tokio::sync::Notify;

use crate::migrate::counted_rows::unfit;
use crate::migrate::finish::Built;
use crate::migrate::proof::Proofs;
use crate::migrate::rejects::Rejects;
use crate::migrate::section::RunSection;
use crate::migrate::standing::Standing;
use crate::model::{Event, Events, Failure, Phase, Schema};
use crate::plan::{Plan, TablePlan};
use crate::postgres::{Address, Client, Journal, run_session};
use crate::sqlite::Snapshot;

/// What to do with a value that has no exact form in its column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMisfit {
    /// Set the row aside; a derived column has been widened before it comes to that.
    #[default]
    Reject,
    /// Stop.
    Fail,
}

/// How many rows may be set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    Rows(u64),
    /// Per cent of all rows.
    Percent(f64),
}

impl MaxRejects {
    /// As a number of rows, of so many.
    pub fn of(self, rows: u64) -> u64 {
        match self {
            MaxRejects::Rows(most) => most,
            MaxRejects::Percent(percent) => (rows as f64 * percent / 100.0) as u64,
        }
    }
}

/// One run of `migrate`, from where it stands to its end or to the next cut connection.
pub struct Run {
    pub id: String,
    pub plan: Arc<Plan>,
    pub schema: Arc<Schema>,
    /// What was done before.
    pub standing: Standing,
    pub snapshot: Arc<Snapshot>,
    pub address: Address,
    pub role: Option<String>,
    pub rejects: Rejects,
    pub on_misfit: OnMisfit,
    pub max_rejects: Option<MaxRejects>,
    pub rejected: AtomicU64,
    /// Digests of the rows that have landed.
    pub proofs: Proofs,
    pub events: Events,
    /// Chunks and steps that this part of the run has added to the journal.
    pub advanced: AtomicU64,
    /// The place in `Phase::ALL` of the phase that began last.
    pub phase: AtomicUsize,
    /// Told when that is another.
    pub phase_began: Notify,
}

impl Run {
    pub fn send(&self, event: Event) {
        if let Event::PhaseStarted(phase) = event {
            self.phase.store(Phase::ALL.iter().position(|other| *other == phase).unwrap_or(0), Ordering::Relaxed);
            self.phase_began.notify_one();
        }
        (self.events)(event);
    }

    pub fn phase_ended(&self, phase: Phase, started: Instant) {
        self.send(Event::PhaseEnded { phase, seconds: started.elapsed().as_secs_f64() });
    }

    /// Something new is in the journal.
    pub fn advance(&self) {
        self.advanced.fetch_add(1, Ordering::Relaxed);
    }

    pub fn phase(&self) -> Phase {
        Phase::ALL[self.phase.load(Ordering::Relaxed)]
    }

    /// Counts a row that is set aside; an error when that is not wanted, or no longer.
    pub fn reject(&self, table: &TablePlan, column: Option<&str>, reason: &str, rowid: i64) -> Result<()> {
        if self.on_misfit == OnMisfit::Fail {
            let place = column.map_or(String::new(), |column| format!("column {column:?}, "));
            bail!(
                Failure::new("misfit", format!("table {:?}: {place}rowid {rowid}: {reason}", table.source))
                    .hint("Widen the column (the default), or set such rows aside with --on-misfit reject.")
                    .target_changed()
            );
        }
        let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        let total: u64 = self.plan.tables.iter().map(|table| table.rows).sum();
        let Some(most) = self.max_rejects.map(|most| most.of(total)) else { return Ok(()) };
        if rejected > most {
            bail!(
                Failure::new("too_many_rejects", format!("more than {}; the last: table {:?}, {reason}", unfit(most), table.source))
                    .hint("Look at the rejects, change the mapping, or raise --max-rejects.")
                    .target_changed()
            );
        }
        Ok(())
    }

    /// Writes into the journal that a section is done, unless that stands there.
    pub async fn section_done(&self, client: &Client, section: RunSection) -> Result<()> {
        if self.standing.step(&section.step()).is_some() {
            return Ok(());
        }
        self.advance();
        Journal::steps_done(client, &self.id, &[(section.step(), Built::default().said()?)]).await
    }

    /// A connection that is set up for moving data.
    pub async fn connect(&self) -> Result<Client> {
        run_session(&self.address, self.role.as_deref(), &self.id).await
    }
}
