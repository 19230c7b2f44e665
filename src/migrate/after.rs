//! What comes after a table's last row: its keys and indexes, and the reading back of its rows, side by side, while other tables are copied.
//!
//! Two tasks of one table never wait for each other's locks: what locks a table whole comes when nothing else of it is at work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use anyhow::{Result, anyhow};
use tokio::sync::Notify;

use crate::migrate::finish::{self, Built, Early};
use crate::migrate::proof;
use crate::migrate::report::PhaseClock;
use crate::migrate::run::Run;
use crate::model::Phase;

/// Tables with fewer rows are done with by one task: dividing them costs more than it saves.
pub(super) const DIVIDE_ROWS: u64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// An index, or the index under a key: stops no reader.
    Index { table: usize, object: usize },
    /// Rows back: stops nobody.
    Proof { table: usize },
    /// Everything else of a table, which may lock it whole.
    Rest { table: usize },
    /// Rows back, then everything, of a small table.
    Whole { table: usize },
}

/// What the tasks came to.
#[derive(Default)]
pub struct After {
    pub built: Built,
    pub clock: PhaseClock,
    /// The digest of every table that was proved, by its place in the plan.
    pub proved: HashMap<usize, String>,
}

#[derive(Default)]
struct State {
    /// The next one last.
    ready: Vec<Task>,
    tables_left: usize,
    tasks_left: HashMap<usize, usize>,
    early: HashMap<usize, Early>,
    rejected: HashMap<usize, u64>,
    after: After,
}

/// The tasks of all tables, for any number of workers.
pub struct Queue {
    run: Arc<Run>,
    /// Keys and indexes are made; else rows are read back only.
    finishing: bool,
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    pub fn new(run: &Arc<Run>, finishing: bool) -> Self {
        let state = State { tables_left: run.plan.tables.len(), ..State::default() };
        Queue { run: Arc::clone(run), finishing, state: Mutex::new(state), changed: Notify::new() }
    }

    /// The last row of the table has landed.
    pub fn landed(&self, table: usize, rows_rejected: u64) -> Result<()> {
        let plan = &self.run.plan.tables[table];
        let mut state = self.lock()?;
        state.rejected.insert(table, rows_rejected);
        let mut tasks = Vec::new();
        if plan.rows >= DIVIDE_ROWS {
            tasks.push(Task::Proof { table });
            let early = |(object, _): &(usize, _)| finish::is_early(&self.run.plan, *object, table);
            tasks.extend(
                self.run
                    .plan
                    .objects
                    .iter()
                    .enumerate()
                    .filter(|object| self.finishing && early(object))
                    .map(|(object, _)| Task::Index { table, object }),
            );
            state.tasks_left.insert(table, tasks.len());
        } else {
            tasks.push(Task::Whole { table });
        }
        state.ready.extend(tasks);
        // The biggest tables first, and of one table what the rest of it waits for.
        state.ready.sort_by_key(|task| match task {
            Task::Whole { table } | Task::Rest { table } => (self.run.plan.tables[*table].rows, 2),
            Task::Index { table, .. } => (self.run.plan.tables[*table].rows, 1),
            Task::Proof { table } => (self.run.plan.tables[*table].rows, 0),
        });
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Works until every table is done with.
    pub async fn work(&self) -> Result<()> {
        let client = self.run.connect().await?;
        finish::set_memory(&client).await?;
        loop {
            // Before the look at the queue, so that what comes in between wakes this worker.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = {
                let mut state = self.lock()?;
                match state.ready.pop() {
                    Some(task) => Some(task),
                    None if state.tables_left == 0 => return Ok(()),
                    None => None,
                }
            };
            match next {
                Some(task) => self.carry_out(&client, task).await?,
                None => changed.await,
            }
        }
    }

    /// What it all came to; to be called when all workers have ended.
    pub fn end(&self) -> Result<After> {
        Ok(std::mem::take(&mut self.lock()?.after))
    }

    async fn carry_out(&self, client: &crate::postgres::Client, task: Task) -> Result<()> {
        match task {
            Task::Index { table, object } => {
                let started = Instant::now();
                let early = finish::build_early(&self.run, client, object).await?;
                let mut state = self.lock()?;
                state.after.clock.note(Phase::Indexes, started);
                state.early.insert(object, early);
                drop(state);
                self.ended(table)
            }
            Task::Proof { table } => {
                self.prove(client, table).await?;
                self.ended(table)
            }
            Task::Rest { table } => self.build(client, table).await,
            Task::Whole { table } => {
                self.prove(client, table).await?;
                self.build(client, table).await
            }
        }
    }

    async fn prove(&self, client: &crate::postgres::Client, table: usize) -> Result<()> {
        let (started, rejected) = (Instant::now(), self.lock()?.rejected.get(&table).copied().unwrap_or(0));
        if let Some(digest) = proof::read_back(&self.run, client, table, rejected).await? {
            let mut state = self.lock()?;
            state.after.proved.insert(table, digest);
            state.after.clock.note(Phase::Verify, started);
        }
        Ok(())
    }

    async fn build(&self, client: &crate::postgres::Client, table: usize) -> Result<()> {
        let early = std::mem::take(&mut self.lock()?.early);
        let (mine, others) = early.into_iter().partition(|(object, _)| self.run.plan.objects[*object].table == Some(table));
        self.lock()?.early.extend::<HashMap<usize, Early>>(others);
        let (built, spans) = match self.finishing {
            true => finish::build_table(&self.run, client, table, mine).await?,
            false => Default::default(),
        };
        let mut state = self.lock()?;
        state.after.built.merge(built);
        spans.into_iter().for_each(|(phase, started, ended)| state.after.clock.span(phase, started, ended));
        state.tables_left -= 1;
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// One of a table's first tasks has ended; after the last of them comes the rest.
    fn ended(&self, table: usize) -> Result<()> {
        let mut state = self.lock()?;
        let left = state.tasks_left.entry(table).or_insert(1);
        *left -= 1;
        if *left == 0 {
            state.ready.push(Task::Rest { table });
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| anyhow!("a worker panicked"))
    }
}
