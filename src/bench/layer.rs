//! The way from a client to its data: `direct` is one connection a client, `sqlite` the one connection that an application on a file has.

use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::bench::script::{Keep, Statement, Value};
use crate::model;
use crate::postgres::{Address, Argument, Driver, Protocol, Refusal, TextRows};
use crate::sqlite;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Sqlite,
    Direct,
}

impl Layer {
    pub const ALL: [Layer; 2] = [Layer::Sqlite, Layer::Direct];

    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Sqlite => "sqlite",
            Layer::Direct => "direct",
        }
    }
}

/// Where the clients of one layer find their data.
#[derive(Clone)]
pub enum Entrance {
    Direct { address: Box<Address>, protocol: Protocol },
    Sqlite(Arc<Mutex<sqlite::Session>>),
}

/// One client's way in.
pub enum Connection {
    Direct(Box<Driver>),
    Sqlite { file: Arc<Mutex<sqlite::Session>>, held: Option<OwnedMutexGuard<sqlite::Session>> },
}

impl Entrance {
    pub async fn connect(&self) -> Result<Connection> {
        Ok(match self {
            Entrance::Direct { address, protocol } => Connection::Direct(Box::new(Driver::connect(address, *protocol).await?)),
            Entrance::Sqlite(file) => Connection::Sqlite { file: Arc::clone(file), held: None },
        })
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            Entrance::Direct { protocol, .. } => *protocol,
            Entrance::Sqlite(_) => Protocol::Prepared,
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

    /// Runs a statement and reads its answer; what it keeps, when it keeps anything.
    pub async fn execute(&mut self, statement: &Statement, variables: &[Value], protocol: Protocol) -> Result<Vec<TextRows>, Refusal> {
        match self {
            Connection::Direct(driver) => match (&statement.keep, protocol) {
                (Keep::Nothing, Protocol::Simple) => driver.execute_simple(&statement.simple(variables)).await.map(|()| Vec::new()),
                (Keep::Nothing, _) => {
                    let parameters = parameters(statement, variables);
                    driver.execute(statement.index, &statement.sql, parameters.as_slice(statement)).await.map(|_| Vec::new())
                }
                (Keep::Variables { .. }, Protocol::Simple) => driver.fetch_simple(&statement.simple(variables)).await,
                // The extended protocol brings values in binary; kept ones are wanted as text.
                (Keep::Variables { .. }, _) => driver.fetch_simple(&statement.quoted(variables)).await,
            },
            Connection::Sqlite { held, .. } => {
                let Some(session) = held else { unreachable!("a statement runs within a transaction") };
                let (sql, slots) = statement.sqlite.as_ref().map_or((&statement.sql, &statement.parameters), |(sql, slots)| (sql, slots));
                let values = slots.iter().map(|slot| sqlite_value(&variables[slot.index()]));
                session.execute(sql, values).map_err(|message| Refusal { code: "sqlite".to_string(), message, broken: false })?;
                Ok(Vec::new())
            }
        }
    }

    /// Ends a transaction that failed midway; whether the connection can go on.
    pub async fn recover(&mut self) -> bool {
        match self {
            Connection::Direct(driver) => driver.execute_simple("ROLLBACK").await.is_ok() && !driver.is_closed(),
            Connection::Sqlite { held, .. } => {
                if let Some(session) = held {
                    session.rollback();
                }
                true
            }
        }
    }
}

enum Parameters<'a> {
    Few([Argument<'a>; FEW]),
    Many(Vec<Argument<'a>>),
}

impl<'a> Parameters<'a> {
    fn as_slice(&self, statement: &Statement) -> &[Argument<'a>] {
        match self {
            Parameters::Few(few) => &few[..statement.parameters.len()],
            Parameters::Many(many) => many,
        }
    }
}

fn parameters<'a>(statement: &Statement, variables: &'a [Value]) -> Parameters<'a> {
    let values = statement.parameters.iter().map(|slot| parameter(&variables[slot.index()]));
    if statement.parameters.len() > FEW {
        return Parameters::Many(values.collect());
    }
    let mut few = [Argument::Null; FEW];
    few.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    Parameters::Few(few)
}

fn parameter(value: &Value) -> Argument<'_> {
    match value {
        Value::Null => Argument::Null,
        Value::Bool(truth) => Argument::Bool(*truth),
        Value::Int(int) => Argument::Int(*int),
        Value::Double(double) => Argument::Double(*double),
        Value::Text(text) => Argument::Text(text),
    }
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
