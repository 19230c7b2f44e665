//! The course of a run: from where the journal says it stands to its end. A connection that breaks begins the same again from a new one, so that a cut
//! within a run and a run that was killed are healed alike.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Notify;

use crate::migrate::Copied;
use crate::migrate::copy::{self, LANDED_ALREADY, TableCount};
use crate::migrate::finish::Built;
use crate::migrate::proof::Proofs;
use crate::migrate::rejects::{self, Rejects};
use crate::migrate::report::PhaseClock;
use crate::migrate::run::Run;
use crate::migrate::section::{RunSection, RunSections};
use crate::migrate::standing::Standing;
use crate::migrate::target::Redo;
use crate::migrate::{Job, copy_and_index, last, process, readable, resume, target, unproven};
use crate::model::{Event, Events, Failure, Name, Phase, Schema, Section};
use crate::plan::Plan;
use crate::postgres::{
    Address, Client, Journal, connect, end_run_sessions, is_passing, patience_with_silence, run_session, session, sql_failure,
};

/// How long one incident may last, from the first error to the next success.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a run tells that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(2);

/// What is the same from the run's first minute to its last, whatever breaks meanwhile.
pub struct Work<'a> {
    pub job: &'a Job,
    pub plan: Arc<Plan>,
    pub schema: Arc<Schema>,
    /// The run has only now begun.
    pub fresh: bool,
}

pub struct Done {
    pub run: Arc<Run>,
    pub counts: Vec<TableCount>,
    pub built: Built,
    pub keeper: Keeper,
    /// Sections that are for another process.
    pub left: RunSections,
    /// The digest of every table that was proved, by its place in the plan.
    pub proved: HashMap<usize, String>,
}

/// Carries the run to its end. `keeper` holds the lock on the target schema.
pub async fn carry_through(work: &Work<'_>, mut keeper: Client, clock: &mut PhaseClock) -> Result<Done> {
    let mut incident = Incident::new();
    let mut first = work.fresh;
    loop {
        let advanced = Arc::new(AtomicU64::new(0));
        let part = async {
            let run = Arc::new(part_of(work, &keeper, first).await?);
            let done = tokio::select! {
                done = part_to_the_end(&run, work.job, clock) => done,
                broken = beat(&keeper, &run) => broken.map(|never| match never {}),
            };
            advanced.store(run.advanced.load(Ordering::Relaxed), Ordering::Relaxed);
            done
        };
        let ended = part.await;
        first = false;
        let error = match ended {
            Ok((run, mut copied, mut built)) => {
                if work.fresh {
                    // What landed before a connection broke was this process's too.
                    copied.counts.iter_mut().for_each(|count| count.rows_before = 0);
                }
                let left = RunSections::ALL.without(RunSections::done(&run.standing)).without(work.job.sections);
                if left.is_empty() && !work.fresh {
                    // Other processes have built too.
                    built = Standing::read(&keeper, &work.job.run_id).await?.built();
                }
                let keeper = Keeper { client: keeper, run_id: work.job.run_id.clone() };
                return Ok(Done { run, counts: copied.counts, built, proved: copied.proved, keeper, left });
            }
            Err(error) => error,
        };
        if advanced.load(Ordering::Relaxed) > 0 {
            incident = Incident::new();
        }
        // The old session's lock must not outlive the session that takes its place.
        drop(keeper);
        keeper = reconnect(work.job, error, &mut incident).await?;
    }
}

/// Puts the run and its plan into the journal, once, however often the connection breaks meanwhile; returns a session that holds the lock on the schema.
pub async fn begin(job: &Job, plan: &Plan, redo: &Redo, mut control: Client) -> Result<Client> {
    let mut incident = Incident::new();
    while let Err(error) = resume::begin(job, plan, redo, &mut control).await {
        drop(control);
        control = reconnect(job, error, &mut incident).await?;
        // The commit may have come through, and only the word of it not.
        if resume::has_begun(&control, &job.run_id).await? {
            break;
        }
    }
    Ok(control)
}

/// A new session after this error; the error itself when it does not pass, or has not passed for too long.
pub(super) async fn reconnect(job: &Job, mut error: anyhow::Error, incident: &mut Incident) -> Result<Client> {
    loop {
        if !passes(&error) {
            return Err(error);
        }
        let Some(pause) = incident.next_pause() else { return Err(error) };
        (job.events)(trying_again(error, pause));
        tokio::time::sleep(pause).await;
        match take_up_again(job).await {
            Ok(session) => return Ok(session),
            Err(again) => error = again,
        }
    }
}

fn passes(error: &anyhow::Error) -> bool {
    is_passing(error) || error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == LANDED_ALREADY)
}

/// A new session for a run of this process, when all its old ones have ended and the target schema is its own again.
async fn take_up_again(job: &Job) -> Result<Client> {
    let client = session(&job.address, job.role.as_deref()).await?;
    if !is_ours(&client, &job.run_id).await? {
        bail!(
            Failure::new("run_in_progress", format!("another process has taken run {} over", job.run_id))
                .hint("`candlefish runs --watch` follows it.")
        );
    }
    take_over(job).await
}

/// False when another process carries the run out by now: this one was given up for dead while it was cut off.
pub async fn is_ours(client: &Client, run_id: &str) -> Result<bool> {
    if !Journal::exists(client).await? {
        return Ok(true);
    }
    Ok(Journal::last_beat(client, run_id).await?.is_none_or(|(process, _)| process == process::this()))
}

/// A new session for the run, when all its old ones have ended and the target schema is its own again.
pub async fn take_over(job: &Job) -> Result<Client> {
    let client = run_session(&job.address, job.role.as_deref(), &job.run_id).await?;
    end_run_sessions(&client, &job.run_id).await?;
    target::lock_schema(&client, &job.options.schema).await?;
    Ok(client)
}

/// The run as it stands, with what a part that was cut off wrote beside the database set right.
async fn part_of(work: &Work<'_>, keeper: &Client, first: bool) -> Result<Run> {
    let job = work.job;
    let standing = Standing::read(keeper, &job.run_id).await?;
    if !first {
        rejects::forget_unlanded(&job.rejects_dir, &job.rejects_dir, &job.run_id, |table, chunk| standing.chunk(table, chunk).is_some())?;
    }
    Ok(Run {
        id: job.run_id.clone(),
        plan: Arc::clone(&work.plan),
        schema: Arc::clone(&work.schema),
        proofs: Proofs::new(&work.plan, job.prove && job.sections.has(RunSection::Verify), |table| {
            standing.chunks_of(&table.source).next().is_some()
        }),
        rejected: AtomicU64::new(standing.chunks().map(|chunk| chunk.rows_rejected).sum()),
        standing,
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        role: job.role.clone(),
        rejects: Rejects::new(job.rejects_dir.clone(), &job.run_id),
        on_misfit: job.on_misfit,
        max_rejects: job.max_rejects,
        events: Arc::clone(&job.events),
        advanced: AtomicU64::new(0),
        phase: AtomicUsize::new(0),
        phase_began: Notify::new(),
    })
}

/// Everything that is asked of this process and that the run still lacks, in order.
async fn part_to_the_end(run: &Arc<Run>, job: &Job, clock: &mut PhaseClock) -> Result<(Arc<Run>, Copied, Built)> {
    let todo = job.sections.without(RunSections::done(&run.standing));
    let mut control = run.connect().await?;
    let mut built = Built::default();
    if todo.has(RunSection::PreData) {
        let schema_started = Instant::now();
        run.send(Event::PhaseStarted(Phase::Schema));
        target::make_schema(&mut control, run, job.migrations.as_ref()).await?;
        built.merge(target::make_tables(&mut control, run).await?);
        run.section_done(&control, RunSection::PreData).await?;
        clock.note(Phase::Schema, schema_started);
        run.phase_ended(Phase::Schema, schema_started);
    }
    let mut copied = Copied { counts: copy::left(run).1, built: Built::default(), proved: HashMap::new() };
    if todo.has(RunSection::Data) {
        target::ready_tables(&mut control, run).await?;
    }
    if todo.has(RunSection::Data) || todo.has(RunSection::PostData) {
        copied = copy_and_index(run, &control, job.jobs, todo.has(RunSection::PostData), clock).await?;
        built.merge(std::mem::take(&mut copied.built));
    }
    if todo.has(RunSection::PostData) {
        // Statistics of expressions are those of the indexes over them, and migrations may make some.
        let analyze = job.migrations.is_none();
        built.merge(last::constraints_and_views(run, &control, job.jobs, analyze, clock).await?);
        if let Some(migrations) = &job.migrations {
            let indexes_started = Instant::now();
            let mut notes = |event| run.send(event);
            let schema = Name::new(run.plan.schema.as_str());
            migrations.apply(&mut control, &schema, Section::Indexes, None, &mut notes).await?;
            built.merge(unproven::left_not_valid(run, &control).await?);
            clock.note(Phase::Indexes, indexes_started);
            last::analyze(run, &control, job.jobs, clock).await?;
        }
        built.merge(readable::read_views(run, job, &control, clock).await?);
        target::grant(&control, &run.plan, &job.grants).await?;
        run.section_done(&control, RunSection::PostData).await?;
    }
    // The last commit waits for the disk, and with it every one before.
    control.batch_execute("SET synchronous_commit = on").await.map_err(|error| sql_failure(error.into()))?;
    let journal = Journal::open(&control).await?;
    journal.tables_done(&run.id).await?;
    let whole = [RunSection::Data, RunSection::PostData];
    if RunSections::of(whole).without(job.sections).without(RunSections::done(&run.standing)).is_empty() {
        journal.finish(&run.id, "copied").await?;
    }
    Ok((Arc::clone(run), copied, built))
}

/// Tells the journal every two seconds that the run lives; ends only when that fails, and the lock on the schema may be gone.
pub(super) async fn beat(keeper: &Client, run: &Run) -> Result<Infallible> {
    let process = process::this();
    let patience = patience_with_silence(&run.address);
    loop {
        let told = Journal::beat(keeper, &run.id, &process, run.phase().as_str());
        tokio::time::timeout(patience, told).await.map_err(|_| {
            Failure::new("connection_lost", format!("the target has not answered for {} s", patience.as_secs_f64().round()))
        })??;
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = run.phase_began.notified() => {}
        }
    }
}

/// The session that holds the lock on the target schema when the copy is done, so that nobody else goes on with the run while it is proved.
pub struct Keeper {
    client: Client,
    run_id: String,
}

impl Keeper {
    /// Tells the journal that the run lives while this work is done. That it cannot is no harm to work that changes nothing.
    pub async fn beside<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let beats = async {
            while Journal::beat(&self.client, &self.run_id, &process::this(), phase.as_str()).await.is_ok() {
                tokio::time::sleep(BEAT).await;
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = beats => match never {},
        }
    }
}

/// Ends what a failed run still has open, and says in the failure what stands.
pub async fn give_up(job: &Job, error: anyhow::Error) -> anyhow::Error {
    let said = format!("{error:#}");
    // The failure is what matters; that its leftovers could not be ended shows when the run is resumed.
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        let client = run_session(&job.address, job.role.as_deref(), &job.run_id).await?;
        if !is_ours(&client, &job.run_id).await? {
            return Ok(());
        }
        end_run_sessions(&client, &job.run_id).await?;
        Journal::open(&client).await?;
        Journal::note(&client, &job.run_id, &serde_json::json!({"error": said})).await
    })
    .await;
    interrupted(error)
}

/// Whatever fails once the run has begun has left something in the target, and can be gone on with.
pub fn interrupted(error: anyhow::Error) -> anyhow::Error {
    let mut error = sql_failure(error);
    if error.downcast_ref::<Failure>().is_none() {
        error = Failure::new("interrupted", format!("{error:#}")).into();
    }
    if let Some(failure) = error.downcast_mut::<Failure>() {
        failure.target_changed = true;
        // Another run has taken this one's place; there is nothing to go on with.
        failure.resumable = failure.code != "run_in_progress";
    }
    error
}

/// Waits until the target can be connected to, for at most `patience`; what waiting does not heal is left to whoever connects next.
pub async fn wait_for(address: &Address, patience: Duration) -> Result<()> {
    if !patience.is_zero() {
        // A proxy before a server that is still to come takes the connection and hangs up.
        address.is_postgresql();
    }
    let mut incident = Incident::lasting(patience);
    loop {
        let Err(error) = connect(address).await else { return Ok(()) };
        match incident.next_pause().filter(|_| is_passing(&error)) {
            Some(pause) => tokio::time::sleep(pause).await,
            None if is_passing(&error) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// Does what changes nothing twice, again and again while connections break, for up to a minute; each time it is said.
pub async fn through_cuts<T>(events: &Events, mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut incident = Incident::new();
    loop {
        let began = Instant::now();
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if began.elapsed() > PATIENCE {
            // It had a connection for so long that this is another incident.
            incident = Incident::new();
        }
        if !is_passing(&error) {
            return Err(error);
        }
        let Some(pause) = incident.next_pause() else { return Err(error) };
        events(trying_again(error, pause));
        tokio::time::sleep(pause).await;
    }
}

fn trying_again(error: anyhow::Error, pause: Duration) -> Event {
    Event::Warning(format!("{:#}; trying again in {:.1} s", sql_failure(error), pause.as_secs_f64()))
}

/// From the first error to the next success: pauses that grow, each with a part left to chance, until the patience is at its end.
pub struct Incident {
    began: Option<Instant>,
    tries: u32,
    patience: Duration,
}

impl Incident {
    pub fn new() -> Self {
        Incident::lasting(PATIENCE)
    }

    pub fn lasting(patience: Duration) -> Self {
        Incident { began: None, tries: 0, patience }
    }

    /// How long to wait before the next try; none when the incident has lasted long enough.
    pub fn next_pause(&mut self) -> Option<Duration> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let left = self.patience.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
        let full = LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.saturating_pow(self.tries.min(10)));
        self.tries += 1;
        let chance = std::collections::hash_map::RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        Some(full.mul_f64(0.5 + chance / 2.0).min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_patience() {
        let mut incident = Incident::new();
        let pauses: Vec<f64> = (0..12).filter_map(|_| incident.next_pause()).map(|pause| pause.as_secs_f64()).collect();
        assert!((0.05..=0.1).contains(&pauses[0]) && (0.1..=0.2).contains(&pauses[1]), "{pauses:?}");
        assert!(pauses[8..].iter().all(|pause| (2.5..=5.0).contains(pause)), "{pauses:?}");
        assert_eq!(Incident::lasting(Duration::ZERO).next_pause(), None);
    }

    #[test]
    fn a_failure_keeps_its_context_and_says_what_stands() {
        let error = anyhow::Error::new(Failure::new("disk_full", "no room")).context("copy table \"t\"");
        let error = interrupted(error);
        assert_eq!(format!("{error:#}"), "copy table \"t\": no room");
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.target_changed && failure.resumable);
        let plain = interrupted(anyhow::anyhow!("inner").context("outer"));
        assert_eq!(format!("{plain:#}"), "outer: inner");
        assert!(plain.downcast_ref::<Failure>().unwrap().resumable);
    }
}
