//! What a long command tells while it works. Verbs send events; `render` shows them.

/// A stage of `migrate`; stages overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Inspect,
    Plan,
    Schema,
    Copy,
    Indexes,
    Constraints,
    Views,
    Analyze,
    Verify,
    /// Of a refresh: which rows differ.
    Compare,
    /// Of a refresh: they are made equal.
    Apply,
}

impl Phase {
    pub const ALL: [Phase; 11] = [
        Phase::Inspect,
        Phase::Plan,
        Phase::Schema,
        Phase::Copy,
        Phase::Indexes,
        Phase::Constraints,
        Phase::Views,
        Phase::Analyze,
        Phase::Verify,
        Phase::Compare,
        Phase::Apply,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Inspect => "inspect",
            Phase::Plan => "plan",
            Phase::Schema => "schema",
            Phase::Copy => "copy",
            Phase::Indexes => "indexes",
            Phase::Constraints => "constraints",
            Phase::Views => "views",
            Phase::Analyze => "analyze",
            Phase::Verify => "verify",
            Phase::Compare => "compare",
            Phase::Apply => "apply",
        }
    }
}

/// One thing that happened. Counts are increments since the last event of the same kind, so that events can be lost without harm to the work.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    PhaseStarted(Phase),
    PhaseEnded {
        phase: Phase,
        seconds: f64,
    },
    /// How much a phase has to do in all; `rows_done` of the rows were done by an earlier run.
    Total {
        phase: Phase,
        tables: u64,
        rows: u64,
        rows_done: u64,
    },
    TableStarted {
        phase: Phase,
        table: String,
        rows: u64,
    },
    /// `rows` more rows and `bytes` more bytes (as sent to PostgreSQL) of `table` are done.
    TableAdvanced {
        phase: Phase,
        table: String,
        rows: u64,
        bytes: u64,
    },
    TableEnded {
        phase: Phase,
        table: String,
        rows_written: u64,
        rows_rejected: u64,
    },
    /// An index, key, constraint, view, … is being made: `index orders_by_day`.
    ObjectStarted(String),
    /// It is made, or could not be.
    ObjectEnded(String),
    /// A sentence for a person.
    Note(String),
    Warning(String),
}

/// Where a verb's events go.
pub type Events = std::sync::Arc<dyn Fn(Event) + Send + Sync>;
