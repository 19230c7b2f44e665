//! Instances of an application on the data layer: each its own pool and caches, its clients divided among them.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;

use crate::bench::recorder::Answered;
use crate::bench::script::{Statement, Value};
use crate::bench::workload::Workload;
use crate::model::{Failure, Query, QueryKind};
use crate::postgres::{Argument, Refusal};
use crate::store::{Declared, Source, Store, StoreConfig, StoreError, ToSql};

/// All instances of one run. Each is opened by the worker whose client needs it first, and lives in that worker's runtime.
pub struct Instances {
    config: StoreConfig,
    /// By the statements' numbers.
    queries: Vec<Option<Query>>,
    opened: Vec<OnceCell<Arc<Instance>>>,
    clients: usize,
}

pub struct Instance {
    store: Store,
    declared: Vec<Option<Declared>>,
}

impl Instances {
    pub fn new(config: StoreConfig, count: usize, clients: usize, workload: &Workload) -> Self {
        let mut queries = vec![None; workload.statements];
        workload.each_statement(|statement| queries[statement.index] = statement.query);
        Instances { config, queries, opened: (0..count).map(|_| OnceCell::new()).collect(), clients }
    }

    /// The instance of this client. Neighbours share one, so that a worker's clients and their instances are mostly its own.
    pub async fn of(&self, client: usize) -> Result<Arc<Instance>> {
        let number = client * self.opened.len() / self.clients.max(1);
        let instance = self.opened[number].get_or_try_init(|| self.open());
        instance.await.cloned().with_context(|| format!("open instance {}", number + 1))
    }

    async fn open(&self) -> Result<Arc<Instance>> {
        let store = Store::open(self.config.clone()).await?;
        let declare = |query: &Option<Query>| query.map(|query| store.declare(query)).transpose();
        let declared = self.queries.iter().map(declare).collect::<Result<Vec<_>, StoreError>>().map_err(Failure::from)?;
        Ok(Arc::new(Instance { store, declared }))
    }

    /// Those that a client has needed.
    pub fn stores(&self) -> Vec<Store> {
        self.opened.iter().filter_map(|opened| opened.get().map(|instance| instance.store.clone())).collect()
    }
}

/// Parameters of a statement at most; no built-in workload has more.
const MOST: usize = 8;

impl Instance {
    /// Runs a statement through the layer; where its answer came from, when it is a read.
    pub async fn execute(&self, statement: &Statement, variables: &[Value]) -> Result<Option<Answered>, Refusal> {
        let Some(declared) = &self.declared[statement.index] else { unreachable!("a run begins when every statement has its query") };
        let mut arguments = [Argument::Null; MOST];
        for (argument, slot) in arguments.iter_mut().zip(&statement.parameters) {
            *argument = variables[slot.index()].argument();
        }
        let parameters: [&(dyn ToSql + Sync); MOST] = std::array::from_fn(|at| &arguments[at] as _);
        let parameters = &parameters[..statement.parameters.len()];
        if declared.query().kind == QueryKind::Write {
            return self.store.write(declared, parameters).await.map(|_| None).map_err(refusal);
        }
        let fetched = self.store.fetch(declared, parameters).await.map_err(refusal)?;
        Ok(Some(match fetched.source {
            Source::L1 => Answered::L1,
            Source::L2 => Answered::L2,
            Source::Database => Answered::Database,
            Source::Coalesced => Answered::Coalesced,
            Source::Stale { .. } => Answered::Stale,
        }))
    }
}

/// The store has brought its connections in order itself.
fn refusal(error: StoreError) -> Refusal {
    let failure = Failure::from(error);
    let code = failure.sqlstate.clone().unwrap_or_else(|| failure.code.to_string());
    Refusal { code, message: failure.to_string(), broken: false }
}
