//! Instances of an application on the data layer: each its own pool and caches, its clients divided among them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::OnceCell;

use crate::bench::layer;
use crate::bench::open_transaction::OpenTransaction;
use crate::bench::recorder::Answered;
use crate::bench::script::{Control, Keep, Statement, Value};
use crate::model::{Failure, Query, QueryKind};
use crate::postgres::{Argument, Refusal, TextRows, Type};
use crate::store::{Declared, Row, Rows, Source, Store, StoreConfig, StoreError, ToSql, TransactionOptions};

/// How long an instance may take to hear Redis, before a run.
const HEARS_WITHIN: Duration = Duration::from_secs(5);

/// All instances of one run. Each is opened by the worker whose client needs it first, and lives in that worker's runtime.
pub struct Instances {
    config: StoreConfig,
    /// By the statements' numbers.
    queries: Vec<Option<Query>>,
    opened: Vec<OnceCell<Arc<Instance>>>,
    clients: usize,
    read_only: bool,
}

pub struct Instance {
    store: Store,
    declared: Vec<Option<Declared>>,
    read_only: bool,
}

impl Instances {
    /// `queries`: what each statement is, by the statements' numbers. `read_only`: transactions may not write.
    pub fn new(config: StoreConfig, count: usize, clients: usize, queries: Vec<Option<Query>>, read_only: bool) -> Self {
        Instances { config, queries, opened: (0..count).map(|_| OnceCell::new()).collect(), clients, read_only }
    }

    /// The instance of this client. Neighbours share one, so that a worker's clients and their instances are mostly its own.
    pub async fn of(&self, client: usize) -> Result<Arc<Instance>> {
        let number = client * self.opened.len() / self.clients.max(1);
        let instance = self.opened[number].get_or_try_init(|| self.open());
        instance.await.cloned().with_context(|| format!("open instance {}", number + 1))
    }

    async fn open(&self) -> Result<Arc<Instance>> {
        let store = Store::open(self.config.clone()).await?;
        // A script cannot say what its statements are: where a word of one says that its answer may not be kept, the database is asked; where it
        // says that it changes something, it is a write, if anything may be written.
        let kinds = [QueryKind::Cached, QueryKind::Read, QueryKind::Write];
        let declare = |query: Query| {
            let weaker =
                kinds.iter().skip_while(|kind| **kind != query.kind).skip(1).filter(|kind| !self.read_only || **kind != QueryKind::Write);
            weaker.fold(store.declare(query), |declared, kind| declared.or_else(|_| store.declare(Query { kind: *kind, ..query })))
        };
        let declared = self.queries.iter().map(|query| query.map(declare).transpose());
        let declared = declared.collect::<Result<Vec<_>, StoreError>>().map_err(Failure::from)?;
        Ok(Arc::new(Instance { store, declared, read_only: self.read_only }))
    }

    /// Waits until each hears Redis, where there is one: it would go on without, and what is called l2 would be none.
    pub async fn hear_redis(&self) -> Result<()> {
        if !self.has_redis() {
            return Ok(());
        }
        let until = Instant::now() + HEARS_WITHIN;
        for store in self.stores() {
            while !store.has_redis() {
                if Instant::now() >= until {
                    let why =
                        format!("Redis answers, and an instance has not heard its own messages by it within {} s", HEARS_WITHIN.as_secs());
                    bail!(
                        Failure::new("redis_not_heard", why)
                            .hint("Its user may lack rights: the data layer uses EVAL, PUBLISH and SUBSCRIBE.")
                    );
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    pub fn has_redis(&self) -> bool {
        self.config.redis.is_some()
    }

    /// Those that a client has needed.
    pub fn stores(&self) -> Vec<Store> {
        self.opened.iter().filter_map(|opened| opened.get().map(|instance| instance.store.clone())).collect()
    }
}

/// Parameters beyond this many need a list of their own.
const FEW: usize = 8;

impl Instance {
    /// Runs a statement through the layer, in the transaction that is open; where its answer came from, when it is a read.
    pub async fn execute(
        &self,
        open: &mut Option<OpenTransaction>,
        statement: &Statement,
        variables: &[Value],
    ) -> Result<layer::Answer, Refusal> {
        if let Some(control) = statement.control {
            return self.control(open, control).await.map(|()| layer::Answer::default()).map_err(refusal);
        }
        let Some(declared) = &self.declared[statement.index] else { unreachable!("a run begins when every statement has its query") };
        if statement.parameters.len() > FEW {
            let arguments: Vec<Argument> = statement.parameters.iter().map(|slot| variables[slot.index()].argument()).collect();
            let parameters: Vec<&(dyn ToSql + Sync)> = arguments.iter().map(|argument| argument as _).collect();
            return self.declared(open, declared, statement, &parameters).await;
        }
        let mut arguments = [Argument::Null; FEW];
        for (argument, slot) in arguments.iter_mut().zip(&statement.parameters) {
            *argument = variables[slot.index()].argument();
        }
        let parameters: [&(dyn ToSql + Sync); FEW] = std::array::from_fn(|at| &arguments[at] as _);
        self.declared(open, declared, statement, &parameters[..statement.parameters.len()]).await
    }

    async fn declared(
        &self,
        open: &mut Option<OpenTransaction>,
        declared: &Declared,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<layer::Answer, Refusal> {
        let is_write = declared.query().kind == QueryKind::Write;
        let answer = |rows: &Rows, from: Option<Answered>| {
            let sets = if statement.keep == Keep::Nothing { Vec::new() } else { vec![text_rows(rows)?] };
            Ok(layer::Answer { sets, from })
        };
        if let Some(open) = open {
            let rows = open.transaction.run(declared, parameters).await.map_err(refusal)?;
            return answer(&rows, (!is_write).then_some(Answered::Database));
        }
        if is_write {
            let written = self.store.write(declared, parameters).await.map_err(refusal)?;
            return answer(&written.rows, None);
        }
        let fetched = self.store.fetch(declared, parameters).await.map_err(refusal)?;
        let from = match fetched.source {
            Source::L1 => Answered::L1,
            Source::L2 => Answered::L2,
            Source::Database => Answered::Database,
            Source::Coalesced => Answered::Coalesced,
            Source::Stale { .. } => Answered::Stale,
        };
        answer(fetched.rows(), Some(from))
    }

    /// As PostgreSQL has it, a second BEGIN and an end without a beginning do nothing.
    async fn control(&self, open: &mut Option<OpenTransaction>, control: Control) -> Result<(), StoreError> {
        match (control, open.take()) {
            (Control::Begin { isolation, read_only }, None) => {
                let options = TransactionOptions { isolation, read_only: read_only || self.read_only, ..TransactionOptions::default() };
                *open = Some(OpenTransaction::begin(self.store.clone(), options).await?);
            }
            (Control::Begin { .. }, there) => *open = there,
            (Control::Commit, Some(there)) => there.commit().await?,
            (Control::Rollback, Some(there)) => there.roll_back().await,
            (Control::Commit | Control::Rollback, None) => {}
        }
        Ok(())
    }
}

/// Rows as a script keeps them.
fn text_rows(rows: &Rows) -> Result<TextRows, Refusal> {
    let columns: Vec<(String, Type)> = rows.columns().map(|(name, column_type)| (name.to_string(), column_type)).collect();
    let wrong = |name: &str, column_type: &Type| Refusal {
        code: "gset".to_string(),
        message: format!(
            "column {name} is {column_type}, which a script cannot keep through the data layer: select it as text ({name}::text)"
        ),
        broken: false,
    };
    let text = |row: &Row<'_>, at: usize| -> Result<Option<String>, Refusal> {
        let (name, column_type) = &columns[at];
        macro_rules! shown {
            ($type:ty) => {
                row.get::<Option<$type>>(at).map(|value| value.map(|value| value.to_string())).map_err(refusal)
            };
        }
        match *column_type {
            Type::BOOL => {
                row.get::<Option<bool>>(at).map(|value| value.map(|truth| if truth { "t" } else { "f" }.to_string())).map_err(refusal)
            }
            Type::INT2 => shown!(i16),
            Type::INT4 => shown!(i32),
            Type::INT8 => shown!(i64),
            Type::FLOAT4 => shown!(f32),
            Type::FLOAT8 => shown!(f64),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => shown!(String),
            _ => Err(wrong(name, column_type)),
        }
    };
    let kept = rows.iter().map(|row| (0..columns.len()).map(|at| text(&row, at)).collect()).collect::<Result<_, _>>()?;
    Ok(TextRows { columns: columns.iter().map(|(name, _)| name.clone()).collect(), rows: kept })
}

/// The store has brought its connections in order itself.
fn refusal(error: StoreError) -> Refusal {
    let failure = Failure::from(error);
    let code = failure.sqlstate.clone().unwrap_or_else(|| failure.code.to_string());
    Refusal { code, message: failure.to_string(), broken: false }
}
