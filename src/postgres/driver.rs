//! One client of a load test: statements by each of the three ways to send one, parameters as text, errors by their code.

use std::error::Error;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_postgres::types::{Kind, ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use crate::postgres::connect::{connect_lean, settings};
use crate::postgres::{Address, Argument, cancel, is_transient};

/// How statements are sent; pgbench's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Text, values within it.
    Simple,
    /// Parsed and planned each time, values as parameters; one round trip.
    Extended,
    /// Parsed once a connection.
    Prepared,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }
    }
}

/// Why a statement did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE; `08006` when the connection broke.
    pub code: String,
    pub message: String,
    /// The connection is of no more use.
    pub broken: bool,
}

impl Refusal {
    pub fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => {
                // FATAL and PANIC end the session.
                let broken = said.parsed_severity().is_some_and(|severity| {
                    matches!(severity, tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic)
                });
                Refusal { code: said.code().code().to_string(), message: said.message().to_string(), broken }
            }
            None => {
                let cause = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                let broken = error.is_closed() || is_transient(error);
                Refusal { code: if broken { "08006" } else { "08P01" }.to_string(), message: cause, broken }
            }
        }
    }

    /// Serialization failures and deadlocks, which come right when the transaction is run again.
    pub fn is_retryable(&self) -> bool {
        matches!(self.code.as_str(), "40001" | "40P01")
    }
}

/// A connection and what it has prepared.
pub struct Driver {
    client: Arc<Client>,
    address: Arc<Address>,
    protocol: Protocol,
    prepared: Vec<Option<Statement>>,
    /// The type of a parameter that PostgreSQL is to find out.
    unspecified: Type,
}

/// One result set: names of the columns, and rows of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Driver {
    /// `alone` says that the thread has nothing else to do while this connection waits for an answer.
    pub async fn connect(address: &Address, protocol: Protocol, alone: bool) -> Result<Self> {
        let client = connect_lean(address, alone).await?;
        if let Some(sql) = settings(address) {
            client.batch_execute(&sql).await.context("set up the session")?;
        }
        let (client, address) = (Arc::new(client), Arc::new(address.clone()));
        Ok(Driver {
            client,
            address,
            protocol,
            prepared: Vec::new(),
            unspecified: Type::new(String::new(), 0, Kind::Simple, String::new()),
        })
    }

    /// Runs one statement, by the extended protocol, and reads all of its answer; how many rows it returned or changed. `number` tells
    /// statements apart, so that each is prepared once.
    pub async fn execute(&mut self, number: usize, sql: &str, parameters: &[Argument<'_>]) -> Result<u64, Refusal> {
        let answer = if self.protocol == Protocol::Prepared {
            self.prepare(number, sql).await?;
            let Some(statement) = &self.prepared[number] else { unreachable!("prepared just now") };
            self.client.execute_raw(statement, parameters).await
        } else {
            let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                parameters.iter().map(|parameter| (parameter as &(dyn ToSql + Sync), self.unspecified.clone())).collect();
            self.client.execute_typed(sql, &typed).await
        };
        answer.map_err(|error| Refusal::of(&error))
    }

    #[inline]
    async fn prepare(&mut self, number: usize, sql: &str) -> Result<(), Refusal> {
        if self.prepared.len() <= number {
            self.prepared.resize(number + 1, None);
        }
        if self.prepared[number].is_none() {
            self.prepared[number] = Some(self.client.prepare(sql).await.map_err(|error| Refusal::of(&error))?);
        }
        Ok(())
    }

    /// The same in a transaction of its own that may only read and is rolled back, all in one flight.
    pub async fn execute_reading(&mut self, number: usize, sql: &str, parameters: &[Argument<'_>]) -> Result<u64, Refusal> {
        if self.protocol == Protocol::Prepared {
            self.prepare(number, sql).await?;
        }
        let typed: Vec<(&(dyn ToSql + Sync), Type)> =
            parameters.iter().map(|parameter| (parameter as &(dyn ToSql + Sync), self.unspecified.clone())).collect();
        let (client, prepared) = (&self.client, self.prepared.get(number).and_then(Option::as_ref));
        let statement = async {
            match prepared {
                Some(prepared) => client.execute_raw(prepared, parameters).await,
                None => client.execute_typed(sql, &typed).await,
            }
        };
        reading(client, statement).await.map_err(|error| Refusal::of(&error))
    }

    /// Runs one statement by the simple protocol and keeps what it returns; `by_itself`: in a transaction of its own that may only read and is rolled back.
    pub async fn fetch_reading(&mut self, sql: &str, by_itself: bool) -> Result<Vec<TextRows>, Refusal> {
        // What looks like one may be several, of which one ends the transaction: the parser of the extended protocol takes one alone.
        if sql.contains(';') {
            self.client.prepare(sql).await.map_err(|error| Refusal::of(&error))?;
        }
        if !by_itself {
            return self.fetch_simple(sql).await;
        }
        let client = &self.client;
        let messages = reading(client, client.simple_query(sql)).await;
        messages.map(text_rows).map_err(|error| Refusal::of(&error))
    }

    /// Runs one or several statements by the simple protocol, and reads all of the answer.
    pub async fn execute_simple(&mut self, sql: &str) -> Result<(), Refusal> {
        self.client.batch_execute(sql).await.map_err(|error| Refusal::of(&error))
    }

    /// Runs statements by the simple protocol and keeps what they return: one entry a result set.
    pub async fn fetch_simple(&mut self, sql: &str) -> Result<Vec<TextRows>, Refusal> {
        let messages = self.client.simple_query(sql).await;
        messages.map(text_rows).map_err(|error| Refusal::of(&error))
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends what runs here, whatever becomes of the driver: PostgreSQL does not see that a connection is closed before its statement has ended.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + use<> {
        let (client, address) = (Arc::clone(&self.client), Arc::clone(&self.address));
        async move {
            if !client.is_closed() {
                // A server that does not take it has nobody who waits for it any more.
                let _ = cancel(&client, &address).await;
            }
        }
    }
}

fn text_rows(messages: Vec<SimpleQueryMessage>) -> Vec<TextRows> {
    let mut sets: Vec<TextRows> = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                sets.push(TextRows { columns: columns.iter().map(|column| column.name().to_string()).collect(), rows: Vec::new() });
            }
            SimpleQueryMessage::Row(row) => {
                if let Some(set) = sets.last_mut() {
                    set.rows.push((0..row.len()).map(|column| row.get(column).map(str::to_string)).collect());
                }
            }
            _ => {}
        }
    }
    sets
}

/// A statement in a transaction that may only read and is rolled back. Polled in this order, each part is sent at its first poll: nothing waits.
async fn reading<T>(
    client: &Client,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let (began, answer, ended) = tokio::join!(biased; client.batch_execute("BEGIN READ ONLY"), statement, client.batch_execute("ROLLBACK"));
    began?;
    let answer = answer?;
    ended?;
    Ok(answer)
}
