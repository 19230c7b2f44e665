//! Sessions that only read, all of them one state of the database.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::{Client, Statement};

use crate::model::QualifiedName;
use crate::plan::target::{TargetSchema, TargetTable};
use crate::postgres::session::{MONEY, TEXTS};
use crate::postgres::{Address, CopyRows, connect, is_about_object, is_about_value, read_schema, session, sql_failure, statement};

/// What a reading session sets for its one transaction: values come in one form whatever the server's defaults, and no row is hidden.
const SETTINGS: &str = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'iso_8601'; \
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off";

/// Some pages of a table, from the first to before the last; without a last to the table's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    pub first: u32,
    pub end: Option<u32>,
}

/// One connection in a read-only transaction, which ends with it.
pub struct ReadSession {
    client: Client,
}

/// `count` sessions that see the same state of the database.
pub async fn read_sessions(address: &Address, count: usize) -> Result<Vec<ReadSession>> {
    let first = begin(address).await?;
    let exported = first.query_one("SELECT pg_export_snapshot()", &[]).await.context("share one state of the target between sessions")?;
    let snapshot = format!("SET TRANSACTION SNAPSHOT '{}'", exported.get::<_, &str>(0).replace('\'', "''"));
    let settings = format!("{SETTINGS}; {TEXTS}; {MONEY}");
    first.batch_execute(&settings).await?;
    let mut sessions = vec![ReadSession { client: first }];
    while sessions.len() < count {
        let client = begin(address).await?;
        // Only a transaction that has read nothing yet can take it.
        client.batch_execute(&snapshot).await.context("read the state that the first session reads")?;
        client.batch_execute(&settings).await?;
        sessions.push(ReadSession { client });
    }
    Ok(sessions)
}

async fn begin(address: &Address) -> Result<Client> {
    let client = connect(address).await?;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.context("begin to read")?;
    Ok(client)
}

/// Notes of these tables' columns that are computed when they are read which of them cannot be now; in the transaction that is open.
pub async fn note_unreadable(client: &Client, tables: impl Iterator<Item = &mut TargetTable>) -> Result<()> {
    for table in tables {
        for column in table.columns.iter_mut().filter(|column| column.is_virtual) {
            client.batch_execute("SAVEPOINT computed").await?;
            let Err(error) = client.batch_execute(&statement::compute(&table.name, &column.name)).await else {
                client.batch_execute("RELEASE SAVEPOINT computed").await?;
                column.unreadable = None;
                continue;
            };
            if !is_about_object(&error) {
                return Err(sql_failure(error.into())).with_context(|| format!("read {}.{}", table.name, column.name));
            }
            column.unreadable = Some(sql_failure(error.into()).to_string());
            client.batch_execute("ROLLBACK TO SAVEPOINT computed; RELEASE SAVEPOINT computed").await?;
        }
    }
    Ok(())
}

impl ReadSession {
    /// What is in a schema, and which of the columns that are computed when they are read cannot be.
    pub async fn schema(&self, schema: &str) -> Result<TargetSchema> {
        let mut target = read_schema(&self.client, schema).await?;
        note_unreadable(&self.client, target.tables.iter_mut()).await?;
        Ok(target)
    }

    /// How many pages each table has that can be read by pages; else 0.
    pub async fn pages(&self, tables: &[String]) -> Result<Vec<u64>> {
        let rows = self.client.query(include_str!("queries/table_pages.sql"), &[&tables]).await.context("ask how big the tables are")?;
        Ok(rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect())
    }

    /// The rows of a table, or of some of its pages: each item is a column or an expression over one.
    pub async fn rows(&self, table: &QualifiedName, items: &[String], pages: Option<&Pages>) -> Result<CopyRows> {
        let opened = CopyRows::open(&self.client, &statement::copy_out_pages(table, items, pages)).await;
        opened.map_err(sql_failure).with_context(|| format!("read {table}"))
    }
}

/// Asks PostgreSQL how it would write a text of some type, on a connection of its own: a text that it refuses ends no transaction.
pub struct TypeReader {
    client: Client,
    /// The questions, by type.
    questions: Mutex<HashMap<String, Statement>>,
}

impl TypeReader {
    pub async fn connect(address: &Address) -> Result<Self> {
        Ok(TypeReader { client: session(address, None).await?, questions: Mutex::default() })
    }

    /// The text as the type's output function writes it; none when its input function refuses it.
    pub async fn normalise(&self, text: &str, sql_type: &str) -> Result<Option<String>> {
        let context = || format!("ask PostgreSQL how type {sql_type} writes a value");
        let known = self.questions.lock().map_err(|_| anyhow!("a reader of the source panicked"))?.get(sql_type).cloned();
        let question = match known {
            Some(question) => question,
            None => {
                // The type's name is `format_type`'s, quoted where it must be.
                let question = self.client.prepare(&statement::taken_in(sql_type)).await.with_context(context)?;
                self.questions
                    .lock()
                    .map_err(|_| anyhow!("a reader of the source panicked"))?
                    .insert(sql_type.to_string(), question.clone());
                question
            }
        };
        match self.client.query_one(&question, &[&text]).await {
            Ok(row) => Ok(row.get(0)),
            // The type is known by now: it is the value.
            Err(error) if is_about_value(&error) => Ok(None),
            Err(error) => bail!(anyhow::Error::from(error).context(context())),
        }
    }
}
