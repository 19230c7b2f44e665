//! One connection that only looks: read-only, never waiting long for a lock or a statement, through a pooler as well as without one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::model::Cell;
use crate::postgres::{Address, connect};

/// How long looking may take to get in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Everything is set for one transaction: behind a pooler, what a session sets would stay with the next client of the server. One statement, so
/// that looking leaves few traces in pg_stat_statements.
const SETTINGS: [(&str, &str); 7] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "100ms"),
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("client_min_messages", "error"),
    ("search_path", "pg_catalog"),
    // To compile a question takes longer than to answer it: seconds, where the machine is busy.
    ("jit", "off"),
];

/// Ends up in pg_stat_statements with each question, so that looking can be told from what is looked at.
const MARK: &str = "/* candlefish looks */";

/// A connection for looking at a server.
pub struct Observer {
    client: Client,
    pub server: ServerFacts,
    /// Questions that were answered, and those that were refused.
    asked: [AtomicU64; 2],
}

/// What does not change while a connection lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `15.18`
    pub version: String,
    /// 15 of `15.18`.
    pub major: i32,
    pub database: String,
    /// True on a standby.
    pub in_recovery: bool,
    /// May read what other users' sessions do: superuser, or a member of pg_read_all_stats (as pg_monitor is).
    pub sees_all: bool,
    /// pg_stat_statements as installed in this database: its version and its schema, quoted.
    pub statements: Option<(String, String)>,
}

/// Transactions before the first question: the server's own to begin a session, and ours to ask what it is.
const CONNECTING: u64 = 2;

/// Rows of an answer, with the names of their columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// A parameter of a question, with its type said: nothing is prepared by name, so that a pooler in transaction mode is no obstacle.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Observer {
    /// Connects; `name` is what the server sees as the client's name.
    pub async fn connect(address: &Address, name: &str) -> Result<Self> {
        let client = connect(&address.clone().with_connect_timeout(CONNECT_LIMIT).with_application_name(name)).await?;
        let answer =
            ask(&client, "pg_catalog", include_str!("queries/server_facts.sql"), &[]).await.context("ask the server what it is")?;
        let text = |column: &str| answer.value(0, column).and_then(Cell::text).map(str::to_string);
        let statements = text("statements_version").zip(text("statements_schema"));
        let server = ServerFacts {
            version: text("version").unwrap_or_default(),
            major: answer.value(0, "version_number").and_then(Cell::number).unwrap_or_default() as i32 / 10_000,
            database: text("database").unwrap_or_default(),
            in_recovery: answer.value(0, "in_recovery") == Some(&Cell::Bool(true)),
            sees_all: answer.value(0, "sees_all") == Some(&Cell::Bool(true)),
            statements,
        };
        Ok(Observer { client, server, asked: [AtomicU64::new(CONNECTING), AtomicU64::new(0)] })
    }

    /// Asks one question in a read-only transaction of its own, where only pg_catalog is searched: names of tables come with their schema.
    pub async fn ask(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        self.counted(ask(&self.client, "pg_catalog", sql, parameters).await)
    }

    fn counted(&self, answer: Result<Answer>) -> Result<Answer> {
        self.asked[usize::from(answer.is_err())].fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// How many transactions looking has cost so far: committed, and rolled back.
    pub fn transactions(&self) -> (u64, u64) {
        let [answered, refused] = &self.asked;
        (answered.load(Ordering::Relaxed), refused.load(Ordering::Relaxed))
    }

    /// The same where pg_stat_statements is found as well, whatever its schema.
    pub async fn ask_statements(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        let schema = self.server.statements.as_ref().map_or("pg_catalog", |(_, schema)| schema);
        self.counted(ask(&self.client, schema, sql, parameters).await)
    }

    /// True when the server knows this relation: `pg_catalog.pg_stat_io`.
    pub async fn knows(&self, relation: &str) -> Result<bool> {
        let answer = self.ask("SELECT to_regclass($1) IS NOT NULL", &[(&relation, Type::TEXT)]).await?;
        Ok(answer.rows.first().and_then(|row| row.first()) == Some(&Cell::Bool(true)))
    }

    /// True once the connection is gone: nothing more can be asked.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

async fn ask(client: &Client, schema: &str, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
    client.batch_execute(&begin(schema)).await?;
    let answer = client.query_typed(&format!("{sql}\n{MARK}"), parameters).await;
    client.batch_execute(if answer.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    Answer::of(&answer?)
}

fn begin(schema: &str) -> String {
    let searched = format!("pg_catalog, {schema}");
    let settings = SETTINGS.map(|(name, value)| {
        let value = if name == "search_path" && schema != "pg_catalog" { searched.replace('\'', "''") } else { value.to_string() };
        format!("set_config('{name}', '{value}', true)")
    });
    format!("BEGIN READ ONLY; SELECT {MARK} {}", settings.join(", "))
}

impl Answer {
    fn of(rows: &[Row]) -> Result<Self> {
        let columns: Vec<String> =
            rows.first().map(|row| row.columns().iter().map(|column| column.name().to_string()).collect()).unwrap_or_default();
        let rows = rows.iter().map(|row| (0..row.len()).map(|column| cell(row, column)).collect()).collect::<Result<_>>()?;
        Ok(Answer { columns, rows })
    }

    /// The value of a row by its column's name.
    pub fn value(&self, row: usize, column: &str) -> Option<&Cell> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(at)
    }
}

fn cell(row: &Row, column: usize) -> Result<Cell> {
    let declared = row.columns()[column].type_();
    Ok(match *declared {
        Type::BOOL => row.try_get::<_, Option<bool>>(column)?.map_or(Cell::Null, Cell::Bool),
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(i64::from).into(),
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.into(),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(column)?.into(),
        Type::TEXT | Type::NAME => row.try_get::<_, Option<String>>(column)?.into(),
        _ => bail!("column {} of a statistic is {declared}, which nothing here reads", row.columns()[column].name()),
    })
}
