//! One connection that only looks: read-only, never waiting long for a lock or a statement, through a pooler as well as without one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::model::{Cell, Failure};
use crate::postgres::{Address, connect};

/// How long looking may take to get in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The server ends a statement by itself after 5 s; one that has not answered by now hangs, or is no longer there.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Everything is set for one transaction: behind a pooler, what a session sets would stay with the next client of the server. One statement, so
/// that looking leaves few traces in pg_stat_statements.
const SETTINGS: [(&str, &str); 6] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "100ms"),
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("client_min_messages", "error"),
    // To compile a question takes longer than to answer it: seconds, where the machine is busy.
    ("jit", "off"),
];

/// Ends up in pg_stat_statements with each question, so that looking can be told from what is looked at.
const MARK: &str = "/* candlefish looks */";

/// A connection for looking at a server. Its name there says how often it has looked (`candlefish monitor, 17 looks (5f3a91c2)`): the server counts each
/// look among the transactions of the database, and whoever watches those can take the looks of all others away.
pub struct Observer {
    client: Client,
    pub server: ServerFacts,
    /// What it looks for: `candlefish monitor`.
    name: &'static str,
    /// Who it is, and what it had looked before.
    looker: Looker,
    looks: Looks,
    /// The questions of now are one transaction.
    together: AtomicBool,
    /// It has not answered in time: what else is asked would wait behind that.
    is_silent: AtomicBool,
}

/// Who looks, over all of its connections: the session of one that hangs is still there beside the next, and is no stranger's.
#[derive(Clone, Debug)]
pub struct Looker {
    /// Tells it from every other.
    mark: String,
    /// Looks of its connections that are gone.
    looks: u64,
}

impl Looker {
    pub fn new(name: &str) -> Self {
        Looker { mark: format!("{:08x}", RandomState::new().hash_one(name) as u32), looks: 0 }
    }
}

/// Transactions that looking has cost.
#[derive(Debug)]
struct Looks {
    committed: AtomicU64,
    rolled_back: AtomicU64,
    /// One is begun, and has not ended.
    is_open: AtomicBool,
    savepoints: AtomicU64,
}

/// What does not change while a connection lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `15.18`
    pub version: String,
    /// 15 of `15.18`.
    pub major: i32,
    pub database: String,
    /// True on a standby.
    pub in_recovery: bool,
    /// Whom we are there, quoted.
    pub user: String,
    /// May read what other users' sessions do: superuser, or a member of pg_read_all_stats (as pg_monitor is).
    pub sees_all: bool,
}

/// Statements that are about transactions: pg_stat_statements counts them as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub begins: u64,
    pub commits: u64,
    pub rollbacks: u64,
    /// And as many releases.
    pub savepoints: u64,
}

/// From this version on pg_stat_statements knows them by what they do and not by their text: a mark of ours in the first one of all that it sees would
/// be in everybody's.
const ONE_FOR_ALL: i32 = 16;

/// From this version on a session can be told to hand in what it has counted.
const WITH_HANDING_IN: i32 = 15;

const HAND_IN: &str = ", pg_catalog.pg_stat_force_next_flush(), (SELECT true FROM pg_catalog.pg_class LIMIT 1)";

/// Transactions before the first question: the server's own to begin a session.
const BEGINNING: u64 = 1;

/// Rows of an answer, with the names of their columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// A parameter of a question, with its type said: nothing is prepared by name, so that a pooler in transaction mode is no obstacle.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Observer {
    /// Connects; the server sees `name` as the client's.
    pub async fn connect(address: &Address, name: &'static str) -> Result<Self> {
        Observer::connect_again(address, name, Looker::new(name)).await
    }

    /// The same for who has looked before.
    pub async fn connect_again(address: &Address, name: &'static str, looker: Looker) -> Result<Self> {
        let said = said(name, &looker, BEGINNING);
        let address = address.clone().with_connect_timeout(CONNECT_LIMIT).with_application_name(&said);
        let looks = Looks {
            committed: AtomicU64::new(BEGINNING),
            rolled_back: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
            savepoints: AtomicU64::new(0),
        };
        let client = in_time(ANSWER_LIMIT, connect(&address)).await?;
        let server = ServerFacts::default();
        let mut observer =
            Observer { client, server, name, looker, looks, together: AtomicBool::new(false), is_silent: AtomicBool::new(false) };
        let answer = observer.ask(include_str!("queries/server_facts.sql"), &[]).await.context("ask the server what it is")?;
        let text = |column: &str| answer.value(0, column).and_then(Cell::text).map(str::to_string);
        observer.server = ServerFacts {
            version: text("version").unwrap_or_default(),
            major: answer.value(0, "version_number").and_then(Cell::number).unwrap_or_default() as i32 / 10_000,
            database: text("database").unwrap_or_default(),
            in_recovery: answer.value(0, "in_recovery") == Some(&Cell::Bool(true)),
            user: text("me").unwrap_or_default(),
            sees_all: answer.value(0, "sees_all") == Some(&Cell::Bool(true)),
        };
        Ok(observer)
    }

    /// Asks one question in a read-only transaction, where only pg_catalog is searched: names of tables come with their schema.
    pub async fn ask(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        self.ask_in("pg_catalog", sql, parameters).await
    }

    /// All that `work` asks is one transaction, and costs one. What is refused of it leaves the rest as it is.
    pub async fn together<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.answered(self.begin("pg_catalog")).await?;
        self.together.store(true, Ordering::Relaxed);
        let done = work.await;
        self.together.store(false, Ordering::Relaxed);
        let ended = self.answered(self.end(true)).await;
        let done = done?;
        ended.map(|()| done)
    }

    /// pg_stat_statements as it is installed in this database now, its version and its schema, quoted: it may come and go while a connection lasts.
    pub async fn statements(&self) -> Result<Option<(String, String)>> {
        let installed = self.ask(include_str!("queries/statements_extension.sql"), &[]).await?;
        let text = |column: &str| installed.value(0, column).and_then(Cell::text).map(str::to_string);
        Ok(text("version").zip(text("schema")))
    }

    /// The same as [`Observer::ask`] where what is in this schema, quoted, is found as well.
    pub async fn ask_in(&self, schema: &str, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        self.answered(self.ask_now(schema, sql, parameters)).await
    }

    async fn answered<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_silent.load(Ordering::Relaxed) {
            bail!(silence(ANSWER_LIMIT));
        }
        let done = in_time(ANSWER_LIMIT, work).await;
        let is_silent = done.as_ref().is_err_and(|error| error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == SILENT));
        self.is_silent.fetch_or(is_silent, Ordering::Relaxed);
        done
    }

    async fn ask_now(&self, schema: &str, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        let together = self.together.load(Ordering::Relaxed);
        if together {
            let search = setting("search_path", &search_path(schema));
            self.client.batch_execute(&format!("SAVEPOINT look{}; SELECT {MARK} {search}", self.mark())).await?;
            self.looks.savepoints.fetch_add(1, Ordering::Relaxed);
        } else {
            self.begin(schema).await?;
        }
        let answer = self.client.query_typed(&format!("{sql}\n{MARK}"), parameters).await;
        match (together, &answer) {
            (true, Ok(_)) => self.client.batch_execute(&format!("RELEASE look{}", self.mark())).await?,
            (true, Err(_)) => {
                let mark = self.mark();
                self.client.batch_execute(&format!("ROLLBACK TO look{mark}; RELEASE look{mark}")).await?;
            }
            (false, answer) => self.end(answer.is_ok()).await?,
        }
        Answer::of(&answer?)
    }

    async fn begin(&self, schema: &str) -> Result<()> {
        self.looks.is_open.store(true, Ordering::Relaxed);
        // Said before it is counted: nobody ever sees one too many.
        let looks = self.looks.committed.load(Ordering::Relaxed) + 1;
        let name = format!("set_config('application_name', '{}', false)", said(self.name, &self.looker, looks));
        let search = setting("search_path", &search_path(schema));
        let settings = SETTINGS.map(|(name, value)| setting(name, value)).join(", ");
        // What it costs is counted when it ends, and not up to a second later: whoever sees how often we have looked sees it counted. A session that
        // has read no relation hands in nothing, not even that it has committed.
        let hand_in = if self.server.major >= WITH_HANDING_IN { HAND_IN } else { "" };
        let begin = format!("BEGIN{} READ ONLY; SELECT {MARK} {name}, {search}, {settings}{hand_in}", self.mark());
        Ok(self.client.batch_execute(&begin).await?)
    }

    /// Behind a statement about transactions, where the server tells such statements apart.
    fn mark(&self) -> String {
        let is_known = self.server.major > 0;
        if is_known && self.server.major < ONE_FOR_ALL { format!(" {MARK}") } else { String::new() }
    }

    async fn end(&self, is_good: bool) -> Result<()> {
        let (sql, count) = if is_good { ("COMMIT", &self.looks.committed) } else { ("ROLLBACK", &self.looks.rolled_back) };
        self.client.batch_execute(&format!("{sql}{}", self.mark())).await?;
        self.looks.is_open.store(false, Ordering::Relaxed);
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How many transactions looking has cost so far: committed, and rolled back. Without one that has not ended.
    pub fn transactions(&self) -> (u64, u64) {
        (self.looks.committed.load(Ordering::Relaxed), self.looks.rolled_back.load(Ordering::Relaxed))
    }

    /// The same once the connection is given up: the server undoes what is open.
    pub fn transactions_in_all(&self) -> (u64, u64) {
        let (committed, rolled_back) = self.transactions();
        (committed, rolled_back + u64::from(self.looks.is_open.load(Ordering::Relaxed)))
    }

    /// The server counts what is said of transactions by what it does, and so ours with everybody's.
    pub fn counts_control_with_others(&self) -> bool {
        self.server.major >= ONE_FOR_ALL
    }

    /// The statements about transactions that the server counts together with those of everybody else.
    pub fn control(&self) -> Control {
        if !self.counts_control_with_others() {
            return Control::default();
        }
        let (committed, rollbacks) = self.transactions();
        let commits = committed - BEGINNING;
        let begins = commits + rollbacks + u64::from(self.looks.is_open.load(Ordering::Relaxed));
        Control { begins, commits, rollbacks, savepoints: self.looks.savepoints.load(Ordering::Relaxed) }
    }

    /// For its next connection.
    pub fn looker(&self) -> Looker {
        Looker { mark: self.looker.mark.clone(), looks: self.looker.looks + self.transactions().0 }
    }

    /// How often others have looked at this database, each by its mark.
    pub async fn others(&self) -> Result<Vec<(String, f64)>> {
        // A transaction sees the sessions as it first saw them: what has been counted since then would be nobody's.
        self.ask("SELECT pg_stat_clear_snapshot() IS NULL", &[]).await?;
        let answer = self.ask(include_str!("queries/looks.sql"), &[(&self.looker.mark, Type::TEXT)]).await?;
        Ok(answer.rows.iter().filter_map(|row| Some((row[0].text()?.to_string(), row[1].number()?))).collect())
    }

    /// True when the server knows this relation: `pg_catalog.pg_stat_io`.
    pub async fn knows(&self, relation: &str) -> Result<bool> {
        let answer = self.ask("SELECT to_regclass($1) IS NOT NULL", &[(&relation, Type::TEXT)]).await?;
        Ok(answer.rows.first().and_then(|row| row.first()) == Some(&Cell::Bool(true)))
    }

    /// True once the connection is gone, or hangs: nothing more can be asked.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.is_silent.load(Ordering::Relaxed)
    }
}

const SILENT: &str = "target_silent";

fn silence(limit: Duration) -> Failure {
    Failure::new(SILENT, format!("PostgreSQL has not answered within {} s", limit.as_secs()))
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(silence(limit).into()),
    }
}

/// A client's name that says how often it has looked; `looks.sql` reads it.
fn said(name: &str, looker: &Looker, looks: u64) -> String {
    format!("{name}, {} looks ({})", looker.looks + looks, looker.mark)
}

fn setting(name: &str, value: &str) -> String {
    format!("set_config('{name}', '{}', true)", value.replace('\'', "''"))
}

fn search_path(schema: &str) -> String {
    if schema == "pg_catalog" { schema.to_string() } else { format!("pg_catalog, {schema}") }
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
