//! The way from a client to its data: `direct` is one connection a client, `sqlite` the one connection that an application on a file has; the others
//! are the data layer, with more and more of it.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::bench::instances::{Instance, Instances};
use crate::bench::open_transaction::OpenTransaction;
use crate::bench::reading::Reading;
use crate::bench::recorder::Answered;
use crate::bench::script::{Keep, Slot, Statement, Value};
use crate::model;
use crate::postgres::{Address, Argument, Driver, Protocol, Refusal, TextRows};
use crate::sqlite;
use crate::store::Layers;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Sqlite,
    Direct,
    /// Through the pool, and the pooler when there is one.
    Pooled,
    /// Redis in front of that.
    L2,
    /// And memory in front of it all.
    Cached,
}

impl Layer {
    pub const ALL: [Layer; 5] = [Layer::Sqlite, Layer::Direct, Layer::Pooled, Layer::L2, Layer::Cached];

    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Sqlite => "sqlite",
            Layer::Direct => "direct",
            Layer::Pooled => "pooled",
            Layer::L2 => "l2",
            Layer::Cached => "cached",
        }
    }

    /// What of the data layer answers; none where it is not in the way.
    pub fn of_store(self) -> Option<Layers> {
        match self {
            Layer::Sqlite | Layer::Direct => None,
            Layer::Pooled => Some(Layers::Pooled),
            Layer::L2 => Some(Layers::L2),
            Layer::Cached => Some(Layers::Cached),
        }
    }

    /// Keeps answers: measured when it is full of them.
    pub fn caches(self) -> bool {
        matches!(self, Layer::L2 | Layer::Cached)
    }
}

/// Where the clients of one layer find their data.
#[derive(Clone)]
pub enum Entrance {
    /// `reads_only`: nothing says that the database may be written to.
    Direct {
        address: Box<Address>,
        protocol: Protocol,
        reads_only: bool,
    },
    Sqlite(Arc<Mutex<sqlite::Session>>),
    Store(Arc<Instances>),
}

/// One client's way in.
pub enum Connection {
    Direct(Box<Driver>),
    Reading(Box<Reading>),
    Sqlite { file: Arc<Mutex<sqlite::Session>>, held: Option<OwnedMutexGuard<sqlite::Session>> },
    Store { instance: Arc<Instance>, open: Option<OpenTransaction> },
}

/// What a statement gave, as far as anybody wants to know.
#[derive(Debug, Default)]
pub struct Answer {
    /// Only of statements that keep something.
    pub sets: Vec<TextRows>,
    /// Where a read's answer came from, in the data layer.
    pub from: Option<Answered>,
}

impl From<Vec<TextRows>> for Answer {
    fn from(sets: Vec<TextRows>) -> Self {
        Answer { sets, from: None }
    }
}

impl Entrance {
    /// The way in of the client of this number.
    /// `alone`: its thread has no other.
    pub async fn connect(&self, client: usize, alone: bool) -> Result<Connection> {
        Ok(match self {
            Entrance::Direct { address, protocol, reads_only } => {
                let driver = Driver::connect(address, *protocol, alone).await?;
                if *reads_only { Connection::Reading(Box::new(Reading::new(driver))) } else { Connection::Direct(Box::new(driver)) }
            }
            Entrance::Sqlite(file) => Connection::Sqlite { file: Arc::clone(file), held: None },
            Entrance::Store(instances) => Connection::Store { instance: instances.of(client).await?, open: None },
        })
    }

    /// How many connections a thread opens side by side. On this machine each in turn: the kernel then leaves every backend near the thread
    /// that it serves, which at 10 and 50 clients is worth 5 to 20 % of their throughput; across a network the round trips overlap.
    pub fn opens_at_once(&self) -> usize {
        match self {
            Entrance::Direct { address, .. } if address.is_local() => 1,
            _ => 64,
        }
    }

    pub fn instances(&self) -> Option<&Instances> {
        match self {
            Entrance::Store(instances) => Some(instances),
            _ => None,
        }
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            Entrance::Direct { protocol, .. } => *protocol,
            Entrance::Sqlite(_) | Entrance::Store(_) => Protocol::Prepared,
        }
    }
}

/// Parameters beyond this many need a list of their own.
const FEW: usize = 8;

impl Connection {
    /// A transaction begins: on the file it waits until the others' have ended.
    pub async fn begin(&mut self) {
        if let Connection::Sqlite { file, held } = self {
            *held = Some(Arc::clone(file).lock_owned().await);
        }
    }

    pub fn end(&mut self) {
        if let Connection::Sqlite { held, .. } = self {
            *held = None;
        }
    }

    /// Runs a statement and reads all of its answer.
    pub async fn execute(&mut self, statement: &Statement, variables: &[Value], protocol: Protocol) -> Result<Answer, Refusal> {
        match self {
            Connection::Direct(driver) => match (&statement.keep, protocol) {
                (Keep::Nothing, Protocol::Simple) => driver.execute_simple(&statement.simple(variables)).await.map(|()| Answer::default()),
                (Keep::Nothing, _) => {
                    let parameters = parameters(statement, variables);
                    let parameters = parameters.as_slice(statement);
                    driver.execute(statement.index, &statement.sql, parameters).await.map(|_| Answer::default())
                }
                (Keep::Variables { .. }, Protocol::Simple) => driver.fetch_simple(&statement.simple(variables)).await.map(Answer::from),
                // The extended protocol brings values in binary; kept ones are wanted as text.
                (Keep::Variables { .. }, _) => driver.fetch_simple(&statement.quoted(variables)).await.map(Answer::from),
            },
            Connection::Reading(reading) => reading.execute(statement, variables, protocol).await,
            Connection::Sqlite { held, .. } => {
                let Some(session) = held else { unreachable!("a statement runs within a transaction") };
                let run = |sql: &str, slots: &[Slot]| {
                    let values = slots.iter().map(|slot| sqlite_value(&variables[slot.index()]));
                    session.execute(sql, values).map_err(|message| Refusal { code: "sqlite".to_string(), message, broken: false })
                };
                if statement.sqlite.is_empty() {
                    run(&statement.sql, &statement.parameters)?;
                }
                for (sql, slots) in &statement.sqlite {
                    run(sql, slots)?;
                }
                Ok(Answer::default())
            }
            Connection::Store { instance, open } => instance.execute(open, statement, variables).await,
        }
    }

    /// What ends the statement that runs here, after the client has been dropped in the middle of it. The data layer does that by itself.
    pub fn leaving(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match self {
            Connection::Direct(driver) => Some(Box::pin(driver.leaving())),
            Connection::Reading(reading) => Some(Box::pin(reading.leaving())),
            Connection::Sqlite { .. } | Connection::Store { .. } => None,
        }
    }

    /// Ends a transaction that failed midway; whether the connection can go on.
    pub async fn recover(&mut self) -> bool {
        match self {
            Connection::Direct(driver) => driver.execute_simple("ROLLBACK").await.is_ok() && !driver.is_closed(),
            Connection::Reading(reading) => reading.recover().await,
            Connection::Sqlite { held, .. } => {
                if let Some(session) = held {
                    session.rollback();
                }
                true
            }
            Connection::Store { open, .. } => {
                if let Some(open) = open.take() {
                    open.roll_back().await;
                }
                true
            }
        }
    }
}

pub enum Parameters<'a> {
    Few([Argument<'a>; FEW]),
    Many(Vec<Argument<'a>>),
}

impl<'a> Parameters<'a> {
    pub fn as_slice(&self, statement: &Statement) -> &[Argument<'a>] {
        match self {
            Parameters::Few(few) => &few[..statement.parameters.len()],
            Parameters::Many(many) => many,
        }
    }
}

pub fn parameters<'a>(statement: &Statement, variables: &'a [Value]) -> Parameters<'a> {
    let values = statement.parameters.iter().map(|slot| variables[slot.index()].argument());
    if statement.parameters.len() > FEW {
        return Parameters::Many(values.collect());
    }
    let mut few = [Argument::Null; FEW];
    few.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    Parameters::Few(few)
}

fn sqlite_value(value: &Value) -> model::Value<'_> {
    match value {
        Value::Null => model::Value::Null,
        Value::Bool(truth) => model::Value::Integer(i64::from(*truth)),
        Value::Int(int) => model::Value::Integer(*int),
        Value::Double(double) => model::Value::Real(*double),
        Value::Text(text) => model::Value::Text(text.as_bytes()),
    }
}
