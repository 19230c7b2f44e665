//! What a migration did, in full: the answer that a person and a program get.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::migrate::prepare::Inspected;
use crate::migrate::rehearse::Rehearsal;
use crate::migrate::section::{RunSection, RunSections};
use crate::migrate::{Job, peak_rss_bytes};
use crate::model::Phase;
use crate::plan::{NOT_IN_TARGET, NUMBERED, ObjectKind, Plan, Severity, Todo, Warning, lacks};

#[derive(Clone, Debug)]
pub struct MigrateReport {
    pub run_id: String,
    /// The source as the user named it.
    pub source: String,
    /// The target without its password.
    pub target: String,
    /// `derive`, `registry`, or the mapping file.
    pub mapping: String,
    pub plan: Arc<Plan>,
    /// Of a dry run: CREATE TABLE of each planned table, in the plan's order; of one that is there already what adds the columns that it lacks, none where it lacks none.
    pub ddl: Vec<Option<String>>,
    pub tables: Vec<TableReport>,
    pub phases: Vec<PhaseTime>,
    /// When the first table was read back; none when none was.
    pub verify_began: Option<Instant>,
    pub elapsed: Duration,
    pub objects_created: u64,
    pub warnings: Vec<Warning>,
    pub todo: Vec<Todo>,
    pub todo_file: Option<PathBuf>,
    pub rejects_dir: Option<PathBuf>,
    /// The command that goes on with the run; only of one that was stopped.
    pub resume: Option<String>,
    /// Somebody wrote to the source while it was read; the copy is of one state all the same.
    pub source_changed: bool,
    /// The peak of the process's resident memory, in bytes; none where the system does not say.
    pub peak_rss_bytes: Option<u64>,
    /// Why the exit code is 1; empty when it is 0.
    pub exit_reasons: Vec<ExitReason>,
    pub outcome: Outcome,
    /// What of the run this process was to do, and what it leaves to others.
    pub sections: RunSections,
    pub sections_left: RunSections,
    /// Of a dry run: what the rows would come to.
    pub rehearsal: Option<Rehearsal>,
    /// Of a dry run: about how long the run itself would take.
    pub estimate: Option<Duration>,
    /// The source as the run read it.
    pub inspected: Option<Arc<Inspected>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Clean,
    Rejected,
    Incomplete,
    Mismatch,
    Planned,
    /// On demand, and resumable.
    Stopped,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Clean => "clean",
            Outcome::Rejected => "rejected",
            Outcome::Incomplete => "incomplete",
            Outcome::Mismatch => "mismatch",
            Outcome::Planned => "planned",
            Outcome::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitReason {
    /// `rows_rejected`, `difference`, or a warning's code.
    pub code: String,
    pub object: String,
    pub count: u64,
}

#[derive(Clone, Debug, Default)]
pub struct TableReport {
    pub source: String,
    /// Schema-qualified and quoted, as SQL.
    pub target: String,
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_rejected: u64,
    /// Bytes of COPY data.
    pub bytes: u64,
    /// Of the rows that were written, those that other processes of the run have brought.
    pub rows_before: u64,
    /// From the table's first chunk to its last; none where that was not all in this process.
    pub seconds: Option<f64>,
    /// None when nobody asked.
    pub verified: Option<bool>,
    pub source_digest: Option<String>,
    pub target_digest: Option<String>,
    /// What a refresh changed in the target; none in a copy.
    pub changes: Option<RowChanges>,
}

/// Rows of the target that a refresh writes or removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowChanges {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseTime {
    pub phase: Phase,
    /// From its first start to its last end; phases overlap.
    pub seconds: f64,
}

/// Measures phases that may be entered by many workers.
#[derive(Debug, Default)]
pub struct PhaseClock {
    spans: BTreeMap<Phase, (Instant, Instant)>,
}

impl PhaseClock {
    pub fn note(&mut self, phase: Phase, started: Instant) {
        let now = Instant::now();
        let span = self.spans.entry(phase).or_insert((started, now));
        span.0 = span.0.min(started);
        span.1 = span.1.max(now);
    }

    pub fn began(&self, phase: Phase) -> Option<Instant> {
        self.spans.get(&phase).map(|(start, _)| *start)
    }

    /// Takes in what has ended.
    pub fn span(&mut self, phase: Phase, started: Instant, ended: Instant) {
        let span = self.spans.entry(phase).or_insert((started, ended));
        span.0 = span.0.min(started);
        span.1 = span.1.max(ended);
    }

    /// Takes in what another has measured beside this one.
    pub fn merge(&mut self, other: PhaseClock) {
        other.spans.into_iter().for_each(|(phase, (started, ended))| self.span(phase, started, ended));
    }

    pub fn times(&self) -> Vec<PhaseTime> {
        self.spans.iter().map(|(phase, (start, end))| PhaseTime { phase: *phase, seconds: (*end - *start).as_secs_f64() }).collect()
    }
}

impl MigrateReport {
    /// What stands of a run that was stopped: without a plan, nothing was begun.
    pub fn stopped(job: &Job, plan: Option<Plan>, tables: Vec<TableReport>) -> Self {
        let plan = plan.unwrap_or_default();
        let rows: u64 = plan.tables.iter().filter(|table| !table.without_data).map(|table| table.rows).sum();
        let mut report = MigrateReport {
            rehearsal: None,
            estimate: None,
            inspected: None,
            run_id: job.run_id.clone(),
            source: job.snapshot.path().display().to_string(),
            target: job.address.shown(),
            mapping: job.mapping_name.clone(),
            ddl: Vec::new(),
            tables,
            phases: Vec::new(),
            verify_began: None,
            elapsed: job.began.elapsed(),
            objects_created: 0,
            warnings: plan.warnings.clone(),
            todo: plan.todo.clone(),
            todo_file: None,
            rejects_dir: None,
            resume: None,
            source_changed: job.snapshot.source_changed(),
            peak_rss_bytes: peak_rss_bytes(),
            exit_reasons: Vec::new(),
            outcome: Outcome::Stopped,
            sections: job.sections,
            sections_left: RunSections::ALL,
            plan: Arc::new(plan),
        };
        // What was rolled back took time too, and nobody knows how much of it was which table's.
        report.tables.iter_mut().for_each(|table| table.seconds = None);
        report.rejects_dir = (report.rows_rejected() > 0).then(|| job.rejects_dir.clone());
        let left = rows.saturating_sub(report.rows_read());
        report.exit_reasons.push(ExitReason { code: "stopped".into(), object: report.run_id.clone(), count: left });
        report
    }

    /// False for a run that was stopped before it had begun.
    pub fn target_changed(&self) -> bool {
        !self.plan.schema.is_empty()
    }

    /// Weighs everything that happened: the outcome and each reason for exit 1. `allowed` are the classes of losses that were accepted.
    pub fn judge(&mut self, allowed: &[String], strict: bool) {
        let mut reasons = Vec::new();
        // Rows were set aside by the section that copies; who ends the run says it of the whole.
        let weighs_rows = self.sections_left.is_empty() || self.sections.has(RunSection::Data);
        for table in self.tables.iter().filter(|_| weighs_rows) {
            if table.rows_rejected > 0 {
                reasons.push(ExitReason { code: "rows_rejected".into(), object: table.source.clone(), count: table.rows_rejected });
            }
        }
        let rejected = !reasons.is_empty();
        for table in self.tables.iter().filter(|table| table.verified == Some(false)) {
            reasons.push(ExitReason { code: "difference".into(), object: table.source.clone(), count: 1 });
        }
        let mismatch = self.tables.iter().any(|table| table.verified == Some(false));
        // What post-data makes is judged by who makes it.
        let is_to_come = |warning: &Warning| {
            !self.sections.has(RunSection::PostData) && self.sections_left.has(RunSection::PostData) && warning.is_of_post_data()
        };
        let losses = losses(self.warnings.iter().filter(|warning| !is_to_come(warning)), allowed, strict);
        let incomplete = !losses.is_empty();
        reasons.extend(losses);
        self.exit_reasons = reasons;
        self.outcome = match (mismatch, incomplete, rejected) {
            (true, _, _) => Outcome::Mismatch,
            (_, true, _) => Outcome::Incomplete,
            (_, _, true) => Outcome::Rejected,
            _ => Outcome::Clean,
        };
    }

    /// The same of a plan: each reason for which the dry run, as the run will, ends with exit 1.
    pub fn judge_plan(&mut self, allowed: &[String], strict: bool) {
        let found = self.rehearsal.iter().flat_map(|rehearsal| &rehearsal.tables);
        for (table, found) in self.plan.tables.iter().zip(found) {
            let object = || table.source.clone();
            if found.rows_rejected > 0 {
                self.exit_reasons.push(ExitReason { code: "rows_rejected".into(), object: object(), count: found.rows_rejected });
            }
            if found.differences.any() {
                self.exit_reasons.push(ExitReason { code: "difference".into(), object: object(), count: 1 });
            }
        }
        self.exit_reasons.extend(losses(self.plan.warnings.iter(), allowed, strict));
    }

    /// Takes in what the comparison of a table found; its time belongs to the whole.
    pub fn verified(&mut self, source: &str, identical: Option<bool>, digests: (Option<String>, Option<String>)) {
        for table in self.tables.iter_mut().filter(|table| table.source == source) {
            table.verified = identical;
            (table.source_digest, table.target_digest) = digests.clone();
        }
    }

    pub fn rows_read(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_read).sum()
    }

    pub fn rows_written(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_written).sum()
    }

    /// How many rows this process has written in how long; none of a run that was stopped, where nobody knows what was still under way.
    pub fn pace(&self) -> Option<(u64, Duration)> {
        let before: u64 = self.tables.iter().map(|table| table.rows_before).sum();
        let rows = self.rows_written().saturating_sub(before);
        (self.outcome != Outcome::Stopped && (rows > 0 || before == 0)).then_some((rows, self.elapsed))
    }

    pub fn rows_rejected(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_rejected).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }
}

/// What is lost or, under `--strict`, weaker, and was not allowed.
fn losses<'a>(warnings: impl Iterator<Item = &'a Warning>, allowed: &[String], strict: bool) -> Vec<ExitReason> {
    let is_allowed = |warning: &Warning| allowed.iter().any(|class| *class == warning.class);
    let counts = warnings.filter(|warning| match warning.severity {
        Severity::Note => false,
        Severity::Weaker => strict && !is_allowed(warning),
        Severity::Loss => !is_allowed(warning),
    });
    counts.map(|warning| ExitReason { code: warning.code.clone(), object: warning.object.clone(), count: 1 }).collect()
}

/// An object of the source's that a given table does not have.
pub struct Lacking {
    pub kind: String,
    pub object: String,
    pub reason: String,
    /// There is one, which does something else.
    pub differs: bool,
}

/// What is said of objects that given tables do not have; what was said of an object already is enough. An object that is missing is a loss, wherever it was to come
/// from; who asked for rows alone (`data_only`) has not asked for it, and must know. Ids that SQLite only happens to give are their application's to give.
pub fn lacking(said: &[Warning], data_only: bool, missing: impl Iterator<Item = Lacking>) -> Vec<Warning> {
    let is_said = |object: &str| said.iter().any(|warning| warning.object == object && warning.severity != Severity::Note);
    let warning = |Lacking { kind, object, reason, differs }: Lacking| {
        // An identity is a column and the sequence that fills it.
        let wanted = if kind == "identity" { ObjectKind::Sequence.as_str() } else { &kind };
        let class = ObjectKind::ALL.into_iter().find(|known| known.as_str() == wanted).map_or("", ObjectKind::allow_class);
        let same = match differs {
            true if kind == ObjectKind::Default.as_str() => " that gives the same",
            true => " that says the same",
            false => "",
        };
        let message = format!("{}{same} in the target's own schema: {reason}", lacks(&kind));
        let gives_ids = kind == "identity" && !reason.ends_with(NUMBERED);
        let severity = if differs || gives_ids || data_only { Severity::Weaker } else { Severity::Loss };
        Warning { severity, class: class.into(), ..Warning::note(NOT_IN_TARGET, object, message) }
    };
    missing.filter(|missing| !is_said(&missing.object)).map(warning).collect()
}
