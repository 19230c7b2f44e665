//! PostgreSQL itself: pg_stat_database always, pg_stat_statements where it is. One connection, which is made again when it breaks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::model::sentence;
use crate::monitor::metric::Source;
use crate::monitor::sample::clients::{Autovacuum, Clients};
use crate::monitor::sample::statements::{Counted, is_transaction_control};
use crate::monitor::sample::{Connections, LIMIT, Part, Presence, SlowQuery};
use crate::postgres::{Address, Looker, Observer};
use crate::stats::{Around, Cell, Look, OVERVIEW, Options, Rates, Sheet, find, with_stack};

/// How often the database's size is asked for: it grows slowly, and of many tables it takes seconds.
const SIZE_EVERY: Duration = Duration::from_secs(600);

/// Its statement may take 5 s, of the 10 s that a sample may.
const SIZE_BEFORE: Duration = Duration::from_secs(4);

/// How many statements are shown.
const SHOWN: usize = 10;
/// A statement is shown up to here.
const SHOWN_CHARACTERS: usize = 300;

/// What the server sees of it.
const NAME: &str = "candlefish monitor";

pub(super) struct Database {
    address: Address,
    observer: Option<Observer>,
    /// Who connects again when it breaks.
    looker: Looker,
    seen: Seen,
}

/// What of earlier samples the next one needs.
#[derive(Default)]
struct Seen {
    rates: Rates,
    counts: Carried,
    /// When the database's size was last asked for, and what it was; none when that was not to be had.
    size: Option<(Instant, Option<f64>)>,
}

/// What goes on from sample to sample, and with `--once` from run to run.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    statements: Counted,
    clients: Clients,
    /// Transactions of our connections that are gone: committed, and rolled back.
    looked: (u64, u64),
}

impl Database {
    pub fn new(address: Address) -> Self {
        Database { address, observer: None, looker: Looker::new(NAME), seen: Seen::default() }
    }

    pub fn carried(&self) -> Carried {
        let mut carried = self.seen.counts.clone();
        carried.looked = self.looked();
        carried
    }

    pub fn carry(&mut self, carried: Carried) {
        self.seen.counts = carried;
    }

    /// Our own transactions, of this connection, should it end now, and of those before.
    fn looked(&self) -> (u64, u64) {
        let (commits, rollbacks) = self.observer.as_ref().map_or((0, 0), Observer::transactions_in_all);
        (self.seen.counts.looked.0 + commits, self.seen.counts.looked.1 + rollbacks)
    }

    pub async fn sample(&mut self, seconds: Option<f64>) -> Part {
        if self.observer.as_ref().is_some_and(Observer::is_closed) {
            self.disconnect();
        }
        let read = match tokio::time::timeout(LIMIT, self.read(seconds)).await {
            Ok(read) => read,
            Err(_) => Err(anyhow::anyhow!("PostgreSQL did not answer within {} s", LIMIT.as_secs())),
        };
        read.unwrap_or_else(|error| {
            self.disconnect();
            let why = with_stack(&self.address.origin, sentence(&error));
            let presence = [Source::Statements, Source::Database].map(|source| (source, Presence::Failed(why.clone())));
            Part { presence: presence.to_vec(), ..Part::default() }
        })
    }

    fn disconnect(&mut self) {
        self.seen.counts.looked = self.looked();
        if let Some(observer) = self.observer.take() {
            self.looker = observer.looker();
        }
    }

    async fn read(&mut self, seconds: Option<f64>) -> Result<Part> {
        let observer = match &mut self.observer {
            Some(observer) => observer,
            none => none.insert(Observer::connect_again(&self.address, NAME, self.looker.clone()).await?),
        };
        // One transaction, however much is asked: a watch is itself among what the server counts.
        observer.together(self.seen.read(observer, seconds)).await
    }
}

impl Seen {
    async fn read(&mut self, observer: &Observer, seconds: Option<f64>) -> Result<Part> {
        let began = Instant::now();
        let options = Options { for_rates: true, with_size: false, ..Options::default() };
        let look = Look { observer, options: &options, around: &Around::default(), looking: None };
        let overview = OVERVIEW.sheet(&look).await.context("read pg_stat_database")?;
        let presence = if overview.is_available() { Presence::There } else { Presence::Failed(overview.notes.join(". ")) };
        let mut part = Part::of(Source::Database, presence);
        part.facts.server_version = Some(observer.server.version.clone());
        let number = |name: &str| overview.value(name).and_then(Cell::number);
        let autovacuum = autovacuum(observer).await?;
        let others = others(observer).await?;
        let counts = &mut self.counts;
        let (committed, rolled_back) = observer.transactions();
        let own = (counts.looked.0 + committed, counts.looked.1 + rolled_back);
        let commits = |all| counts.clients.commits(all, own.0 as f64, &others, autovacuum, seconds.unwrap_or_default());
        part.add("candlefish_pg_commits_total", &[], number("commits").map(commits));
        part.add("candlefish_pg_rollbacks_total", &[], number("rollbacks").map(|all| counts.clients.rollbacks(all, own.1 as f64)));
        part.add("candlefish_pg_deadlocks_total", &[], number("deadlocks"));
        part.add("candlefish_pg_temp_bytes_total", &[], number("temp_bytes"));
        part.add("candlefish_pg_connections", &[], number("connections"));
        part.add("candlefish_pg_connections_max", &[], number("connections_most"));
        for state in ["active", "idle_in_transaction"] {
            part.add("candlefish_pg_sessions", &[("state", state)], number(state));
        }
        part.add("candlefish_pg_lock_waiters", &[], number("waiting_for_locks"));
        part.add("candlefish_pg_longest_transaction_seconds", &[], number("longest_transaction_seconds"));
        part.facts.connections = Some(Connections {
            used: number("connections"),
            most: number("connections_most"),
            active: number("active"),
            idle_in_transaction: number("idle_in_transaction"),
            waiting_for_locks: number("waiting_for_locks"),
            longest_transaction_seconds: number("longest_transaction_seconds"),
        });
        let blocks = observer.ask(include_str!("queries/blocks.sql"), &[]).await.context("read what was found in shared buffers")?;
        let block = |name: &str| blocks.value(0, name).and_then(Cell::number);
        let hits = block("hits").zip(block("catalog_hits")).map(|(all, catalogs)| counts.clients.hits(all, catalogs));
        let reads = block("reads").zip(block("catalog_reads")).map(|(all, catalogs)| counts.clients.reads(all, catalogs));
        part.add("candlefish_pg_blocks_hit_total", &[], hits);
        part.add("candlefish_pg_blocks_read_total", &[], reads);
        if let Some(stat) = find("slow-queries") {
            let mut sheet = stat.sheet(&look).await.context("read pg_stat_statements")?;
            if sheet.is_available() {
                shorten(&mut sheet);
                counts.statements.count(&sheet);
                part.add("candlefish_statements_total", &[], counts.statements.calls);
                part.add("candlefish_statement_seconds_total", &[], counts.statements.seconds);
                part.presence.push((Source::Statements, Presence::There));
                let elapsed = Duration::from_secs_f64(seconds.unwrap_or_default().max(0.0));
                if let Some(rates) = self.rates.since_last(stat, sheet, elapsed) {
                    (part.facts.slow_queries, part.facts.slow_queries_left_out) = slowest(&rates);
                }
            } else {
                let why = sheet.notes.join(". ");
                // A server that is too busy to tell is the last that one may take for one without the extension.
                part.presence.push((Source::Statements, if sheet.passing { Presence::Failed(why) } else { Presence::Absent(why) }));
            }
        }
        // The last, and only where there is time for it: where it takes too long, the rest is there, now and at the next sample.
        if self.size.is_none_or(|(asked, _)| asked.elapsed() >= SIZE_EVERY) && began.elapsed() < SIZE_BEFORE {
            let before = self.size.and_then(|(_, bytes)| bytes);
            self.size = Some((Instant::now(), before));
            let answer = observer.ask(include_str!("queries/database_size.sql"), &[]).await;
            if observer.is_closed() {
                answer.as_ref().map_err(|error| anyhow::anyhow!("read the database's size: {}", sentence(error)))?;
            }
            let bytes = answer.ok().and_then(|answer| answer.value(0, "bytes").and_then(Cell::number));
            self.size = Some((Instant::now(), bytes));
        }
        part.add("candlefish_pg_database_bytes", &[], self.size.and_then(|(_, bytes)| bytes));
        Ok(part)
    }
}

async fn autovacuum(observer: &Observer) -> Result<Autovacuum> {
    let answer = observer.ask(include_str!("queries/autovacuum.sql"), &[]).await;
    match answer {
        Ok(answer) => {
            let number = |name: &str| answer.value(0, name).and_then(Cell::number);
            Ok(Autovacuum { tables: number("tables"), every_seconds: number("every_seconds") })
        }
        Err(error) if observer.is_closed() => Err(error.context("read what autovacuum did")),
        // A server that is too busy to tell: what it did is counted with the others.
        Err(_) => Ok(Autovacuum::default()),
    }
}

/// How often others have looked; a server that is too busy to tell tells it later.
async fn others(observer: &Observer) -> Result<Vec<(String, f64)>> {
    match observer.others().await {
        Err(error) if observer.is_closed() => Err(error.context("read who else looks")),
        others => Ok(others.unwrap_or_default()),
    }
}

/// Two samples of all statements are kept: what nobody will see of their text need not be.
fn shorten(sheet: &mut Sheet) {
    let Some(at) = sheet.position("query") else { return };
    for row in sheet.rows.iter_mut().flatten() {
        if let Cell::Text(text) = &row[at] {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            row[at] = Cell::Text(line.chars().take(SHOWN_CHARACTERS).collect());
        }
    }
}

/// Those that took the most time, and how many more there are.
fn slowest(rates: &Sheet) -> (Vec<SlowQuery>, u64) {
    let column = |name: &str| rates.position(name);
    let number = |row: &[Cell], name: &str| column(name).and_then(|at| row[at].number());
    let text = |row: &[Cell], name: &str| column(name).and_then(|at| row[at].text()).map(str::to_string);
    let mut found: Vec<SlowQuery> = rates
        .rows
        .iter()
        .flatten()
        .filter(|row| number(row, "calls_per_s").is_some_and(|rate| rate > 0.0))
        .filter(|row| !text(row, "query").is_some_and(|query| is_transaction_control(&query)))
        .map(|row| SlowQuery {
            query_id: text(row, "query_id"),
            user: text(row, "user"),
            calls_per_s: number(row, "calls_per_s"),
            mean_ms: number(row, "mean_ms"),
            total_ms_per_s: number(row, "total_ms_per_s"),
            query: text(row, "query"),
        })
        .collect();
    let by = |query: &SlowQuery| query.total_ms_per_s.unwrap_or(0.0);
    found.sort_by(|a, b| by(b).total_cmp(&by(a)));
    let more = found.len().saturating_sub(SHOWN) as u64;
    found.truncate(SHOWN);
    (found, more)
}
