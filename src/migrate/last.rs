//! What comes when every table stands: foreign keys, views, triggers, statistics.
//!
//! A foreign key is added for new rows first: that takes a moment, and locks both tables. Then each large table's keys are held against its rows and
//! its statistics are taken, tables side by side: what that locks of a table, only the same of that table waits for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use tokio::task::JoinSet;

use crate::migrate::after::DIVIDE_ROWS;
use crate::migrate::finish::{self, Built};
use crate::migrate::report::PhaseClock;
use crate::migrate::run::Run;
use crate::migrate::standing::ANALYZE_STEP;
use crate::model::{Event, Phase, QualifiedName};
use crate::plan::ObjectKind;
use crate::postgres::{Client, Journal, sql_failure, statement};

/// Small tables whose keys are made, or whose statistics are taken, in one transaction: each takes locks in it.
const TABLES_A_TRANSACTION: usize = 50;

/// Foreign keys, and the statistics beside them where `analyze` says so; then views and triggers.
pub async fn constraints_and_views(run: &Arc<Run>, control: &Client, jobs: usize, analyze: bool, clock: &mut PhaseClock) -> Result<Built> {
    let started = Instant::now();
    run.send(Event::PhaseStarted(Phase::Constraints));
    let mut built = Built::default();
    let rows_of = |object: usize| run.plan.objects[object].table.map_or(0, |table| run.plan.tables[table].rows);
    let keys = (0..run.plan.objects.len()).filter(|object| run.plan.objects[*object].kind == ObjectKind::ForeignKey);
    let (large, small): (Vec<usize>, Vec<usize>) = keys.partition(|object| rows_of(*object) >= DIVIDE_ROWS);
    for batch in small.chunks(TABLES_A_TRANSACTION) {
        built.merge(finish::build_together(run, control, batch).await?);
    }
    let mut begun: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for object in large {
        match (finish::begin(run, control, object).await?, run.plan.objects[object].table) {
            (None, Some(table)) => begun.entry(table).or_default().push(object),
            (Some(made), _) => built.merge(made),
            (None, None) => built.merge(finish::validate(run, control, object).await?),
        }
    }
    built.merge(validate_and_analyze(run, control, jobs, begun, analyze, clock).await?);
    built.merge(finish::put_back_the_rest(run, control).await?);
    clock.span(Phase::Constraints, started, Instant::now());
    run.phase_ended(Phase::Constraints, started);
    let views_started = Instant::now();
    let late = |kind: ObjectKind| matches!(kind, ObjectKind::View | ObjectKind::Trigger);
    if run.plan.objects.iter().any(|object| late(object.kind)) {
        run.send(Event::PhaseStarted(Phase::Views));
        for (place, _) in run.plan.objects.iter().enumerate().filter(|(_, object)| late(object.kind)) {
            built.merge(finish::build(run, control, place).await?);
        }
        clock.note(Phase::Views, views_started);
        run.phase_ended(Phase::Views, views_started);
    }
    Ok(built)
}

/// Statistics, so that the first query is planned well; nothing where they have been taken.
pub async fn analyze(run: &Arc<Run>, control: &Client, jobs: usize, clock: &mut PhaseClock) -> Result<()> {
    validate_and_analyze(run, control, jobs, BTreeMap::new(), true, clock).await.map(|_| ())
}

/// One worker's next work.
enum Item {
    /// A table's foreign keys against its rows, then its statistics.
    Table {
        table: usize,
        keys: Vec<usize>,
    },
    Statistics {
        tables: Vec<usize>,
    },
}

/// What all workers share.
struct Items {
    run: Arc<Run>,
    left: Mutex<VecDeque<Item>>,
    keys_left: AtomicUsize,
    analyze: bool,
    /// By the object's place, so that what is said stands in the plan's order.
    built: Mutex<BTreeMap<usize, Built>>,
    spans: Mutex<Vec<(Phase, Instant, Instant)>>,
}

async fn validate_and_analyze(
    run: &Arc<Run>,
    control: &Client,
    jobs: usize,
    mut begun: BTreeMap<usize, Vec<usize>>,
    analyze: bool,
    clock: &mut PhaseClock,
) -> Result<Built> {
    let analyze = analyze && run.standing.step(ANALYZE_STEP).is_none();
    let keys_left = AtomicUsize::new(begun.values().map(Vec::len).sum());
    let mut tables: Vec<usize> = (0..run.plan.tables.len()).filter(|table| analyze || begun.contains_key(table)).collect();
    // The biggest first: it is what the others wait for in the end.
    tables.sort_by_key(|table| std::cmp::Reverse(run.plan.tables[*table].rows));
    let (large, small): (Vec<usize>, Vec<usize>) =
        tables.into_iter().partition(|table| begun.contains_key(table) || run.plan.tables[*table].rows >= DIVIDE_ROWS);
    let mut items: VecDeque<Item> =
        large.into_iter().map(|table| Item::Table { table, keys: begun.remove(&table).unwrap_or_default() }).collect();
    items.extend(small.chunks(TABLES_A_TRANSACTION).map(|tables| Item::Statistics { tables: tables.to_vec() }));
    let workers = items.len().min(jobs.max(1));
    let items = Arc::new(Items {
        run: Arc::clone(run),
        left: Mutex::new(items),
        keys_left,
        analyze,
        built: Mutex::default(),
        spans: Mutex::default(),
    });
    if items.keys_left.load(Ordering::Relaxed) == 0 && analyze {
        run.send(Event::PhaseStarted(Phase::Analyze));
    }
    let mut working = JoinSet::new();
    for _ in 0..workers {
        let (items, client) = (Arc::clone(&items), run.connect().await?);
        working.spawn(async move { items.work(&client).await });
    }
    while let Some(worker) = working.join_next().await {
        worker.context("a worker panicked")??;
    }
    if analyze {
        let began = lock(&items.spans)?.iter().filter(|(phase, ..)| *phase == Phase::Analyze).map(|(_, started, _)| *started).min();
        run.phase_ended(Phase::Analyze, began.unwrap_or_else(Instant::now));
        Journal::steps_done(control, &run.id, &[(ANALYZE_STEP.to_string(), Built::default().said()?)]).await?;
    }
    for (phase, started, ended) in std::mem::take(&mut *lock(&items.spans)?) {
        clock.span(phase, started, ended);
    }
    let mut all = Built::default();
    std::mem::take(&mut *lock(&items.built)?).into_values().for_each(|built| all.merge(built));
    Ok(all)
}

impl Items {
    async fn work(&self, client: &Client) -> Result<()> {
        loop {
            let next = lock(&self.left)?.pop_front();
            let Some(item) = next else { return Ok(()) };
            let (keys, tables) = match item {
                Item::Table { table, keys } => (keys, vec![table]),
                Item::Statistics { tables } => (Vec::new(), tables),
            };
            for object in keys {
                let started = Instant::now();
                let built = finish::validate(&self.run, client, object).await?;
                lock(&self.built)?.insert(object, built);
                lock(&self.spans)?.push((Phase::Constraints, started, Instant::now()));
                if self.keys_left.fetch_sub(1, Ordering::Relaxed) == 1 && self.analyze {
                    self.run.send(Event::PhaseStarted(Phase::Analyze));
                }
            }
            if self.analyze {
                let started = Instant::now();
                let names: Vec<&QualifiedName> = tables.iter().map(|table| &self.run.plan.tables[*table].target).collect();
                let analyzed = client.batch_execute(&statement::analyze(&names)).await;
                analyzed.map_err(|error| sql_failure(error.into())).context("analyze the tables")?;
                lock(&self.spans)?.push((Phase::Analyze, started, Instant::now()));
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    shared.lock().map_err(|_| anyhow!("a worker panicked"))
}
