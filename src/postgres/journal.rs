//! What runs did, kept in the target itself: schema `candlefish`. A chunk's row is written in the chunk's own transaction.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_postgres::{Client, GenericClient, Row};

use crate::model::{Failure, QualifiedName, in_pieces};
use crate::plan::CopyMap;
use crate::plan::target::{RebuildKind, Rebuildable};
use crate::postgres::CopySink;

/// One run of `migrate`, as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub run_id: String,
    /// The source's path, as the user named it.
    pub source: String,
    pub target_schema: String,
    /// `running`, or the outcome of the report.
    pub status: String,
    /// What the run was told, as far as it changes what is copied, and what `--resume` must know.
    pub settings: Json,
}

/// Statuses of runs that `--resume` continues.
pub const UNFINISHED: [&str; 4] = ["running", "stopped", "copied", PARTIAL];
/// The status of a run of which one section after the other is done by processes of their own, between two of them.
pub const PARTIAL: &str = "partial";

/// A chunk of a table that is in PostgreSQL for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandedChunk {
    /// The source table.
    pub source: String,
    pub number: usize,
    pub rows_written: u64,
    pub rows_rejected: u64,
    /// Bytes of COPY data.
    pub bytes: u64,
}

/// A run as the journal shows it to others. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct RunState {
    pub record: RunRecord,
    /// The candlefish that began it.
    pub version: String,
    pub started_at: f64,
    pub finished_at: Option<f64>,
    /// Sessions of the run that are connected now.
    pub sessions: u64,
    /// What its process last told.
    pub phase: Option<String>,
    /// Since when this process carries the run out, and when it last said so.
    pub since: Option<f64>,
    pub beat_at: Option<f64>,
    pub now: f64,
    /// Rows that have landed or were set aside; of those, since `since`.
    pub rows_done: u64,
    pub rows_rejected: u64,
    pub rows_done_since: u64,
    pub bytes: u64,
    pub tables: u64,
    pub steps_done: u64,
    /// By their names.
    pub sections_done: Vec<String>,
}

impl RunState {
    fn read(row: &Row) -> Result<Self> {
        let count = |column: &str| row.get::<_, i64>(column) as u64;
        Ok(RunState {
            record: RunRecord {
                run_id: row.get("run_id"),
                source: row.get("source"),
                target_schema: row.get("target_schema"),
                status: row.get("status"),
                settings: serde_json::from_str(row.get("settings")).context("read a run's settings from the journal")?,
            },
            version: row.get("version"),
            started_at: row.get("started_at"),
            finished_at: row.get("finished_at"),
            sessions: count("sessions"),
            phase: row.get("phase"),
            since: row.get("since"),
            beat_at: row.get("beat_at"),
            now: row.get("now"),
            rows_done: count("rows_done"),
            rows_rejected: count("rows_rejected"),
            rows_done_since: count("rows_done_since"),
            bytes: count("bytes"),
            tables: count("tables"),
            steps_done: count("steps_done"),
            sections_done: row.get("sections_done"),
        })
    }

    pub fn is_unfinished(&self) -> bool {
        UNFINISHED.contains(&self.record.status.as_str())
    }
}

/// A table that has the name of one that a run made.
pub struct MadeTable {
    pub name: QualifiedName,
    pub oid: u32,
    /// The file of that run.
    pub source_path: Option<String>,
    /// It is the very table that the run made.
    pub is_the_same: bool,
    /// What the run brought; none when it did not end, or when others came after it.
    pub rows_brought: Option<i64>,
}

/// Rows of a table of the source that runs have set aside.
pub struct SetAside {
    pub table: String,
    /// None where the journal does not tell.
    pub rows: Option<u64>,
    pub folder: Option<PathBuf>,
}

/// The journal's tables, on one connection.
pub struct Journal<'a> {
    client: &'a Client,
}

impl<'a> Journal<'a> {
    /// Makes the journal's tables where they are missing.
    pub async fn open(client: &'a Client) -> Result<Self> {
        client.batch_execute(include_str!("queries/journal.sql")).await.context("make the journal (schema candlefish)")?;
        Ok(Journal { client })
    }

    /// True when the journal is there; asking changes nothing.
    pub async fn exists(client: &impl GenericClient) -> Result<bool> {
        let row = client.query_one(include_str!("queries/journal_exists.sql"), &[]).await.context("look for the journal")?;
        Ok(row.get(0))
    }

    /// Writes a run into the journal with its plan (`()` for a run without one) and tables (each with whether the run makes it), and gives up the unfinished runs whose tables it takes. In one transaction
    /// with what the caller does besides, and on a runtime of several threads.
    pub async fn start(
        transaction: &impl GenericClient,
        run: &RunRecord,
        plan: &impl Serialize,
        maps: impl IntoIterator<Item = (CopyMap, bool)>,
    ) -> Result<()> {
        transaction
            .execute(
                include_str!("queries/journal_start.sql"),
                &[&run.run_id, &run.source, &run.target_schema, &run.status, &run.settings.to_string(), &env!("CARGO_PKG_VERSION")],
            )
            .await
            .context("write the run into the journal")?;
        write_plan(transaction.client(), &run.run_id, plan).await.context("write the plan into the journal")?;
        let mut maps = maps.into_iter();
        let mut before = 0i64;
        loop {
            let some: Vec<(CopyMap, bool)> = maps.by_ref().take(TABLES_TOGETHER).collect();
            if some.is_empty() {
                break;
            }
            write_tables(transaction, &run.run_id, &some, before).await.context("write the tables into the journal")?;
            before += some.len() as i64;
        }
        transaction
            .execute(include_str!("queries/journal_give_up.sql"), &[&run.run_id, &run.target_schema])
            .await
            .context("give up earlier runs in the journal")?;
        Ok(())
    }

    /// Writes a run into the journal before it has anything that `start` writes; once.
    pub async fn announce(client: &impl GenericClient, run: &RunRecord) -> Result<()> {
        client
            .execute(
                include_str!("queries/journal_announce.sql"),
                &[&run.run_id, &run.source, &run.target_schema, &run.status, &run.settings.to_string(), &env!("CARGO_PKG_VERSION")],
            )
            .await
            .context("write the run into the journal")?;
        Ok(())
    }

    pub async fn finish(&self, run_id: &str, status: &str) -> Result<()> {
        self.client
            .execute(include_str!("queries/journal_finish.sql"), &[&run_id, &status])
            .await
            .context("write the end of the run into the journal")?;
        Ok(())
    }

    /// Writes that the run was stopped, unless it came to its end before.
    pub async fn stopped(&self, run_id: &str) -> Result<()> {
        let sql = include_str!("queries/journal_stopped.sql");
        self.client.execute(sql, &[&run_id, &&UNFINISHED[..]]).await.context("write into the journal that the run was stopped")?;
        Ok(())
    }

    /// Writes that the run goes on.
    pub async fn resumed(&self, run_id: &str) -> Result<()> {
        let sql = include_str!("queries/journal_resumed.sql");
        self.client.execute(sql, &[&run_id]).await.context("write into the journal that the run goes on")?;
        Ok(())
    }

    /// Adds to what the run was told what it said in the end.
    pub async fn note(client: &impl GenericClient, run_id: &str, said: &impl Serialize) -> Result<()> {
        client
            .execute(include_str!("queries/journal_note.sql"), &[&run_id, &serde_json::to_string(said)?])
            .await
            .context("write what the run said into the journal")?;
        Ok(())
    }

    /// Writes how many rows each table has come to: what its chunks say.
    pub async fn tables_done(&self, run_id: &str) -> Result<()> {
        self.client
            .execute(include_str!("queries/journal_tables_done.sql"), &[&run_id])
            .await
            .context("write the tables' ends into the journal")?;
        Ok(())
    }

    /// The same for a run without chunks of its tables: source table, rows written, rows set aside.
    pub async fn tables_came_to(&self, run_id: &str, tables: &[(String, u64, u64)]) -> Result<()> {
        for (source, written, rejected) in tables {
            self.client
                .execute(include_str!("queries/journal_table_came_to.sql"), &[&run_id, source, &(*written as i64), &(*rejected as i64)])
                .await
                .context("write a table's end into the journal")?;
        }
        Ok(())
    }

    /// Writes how many rows of each source table a refresh has set aside, in its transaction.
    pub async fn aside(client: &impl GenericClient, run_id: &str, tables: impl Iterator<Item = (&str, u64)>) -> Result<()> {
        for (source, rows) in tables {
            let set_aside = client.execute(include_str!("queries/journal_aside.sql"), &[&run_id, &source, &(rows as i64)]).await;
            set_aside.context("write into the journal what was set aside")?;
        }
        Ok(())
    }

    /// Writes that steps are done, with what they said; in the transaction that did them.
    pub async fn steps_done(client: &impl GenericClient, run_id: &str, steps: &[(String, String)]) -> Result<()> {
        let (names, said): (Vec<&str>, Vec<&str>) = steps.iter().map(|(step, said)| (step.as_str(), said.as_str())).unzip();
        client
            .execute(include_str!("queries/journal_steps_done.sql"), &[&run_id, &names, &said])
            .await
            .context("write steps into the journal")?;
        Ok(())
    }

    /// The steps of a run that are done, with what each said.
    pub async fn steps(client: &impl GenericClient, run_id: &str) -> Result<Vec<(String, String)>> {
        let rows = client.query(include_str!("queries/journal_steps.sql"), &[&run_id]).await;
        Ok(rows.context("read the run's steps from the journal")?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The chunks of a run that have landed.
    pub async fn landed_chunks(client: &impl GenericClient, run_id: &str) -> Result<Vec<LandedChunk>> {
        let sql = include_str!("queries/journal_chunks.sql");
        let rows = client.query(sql, &[&run_id]).await.context("read the run's chunks from the journal")?;
        Ok(rows
            .iter()
            .map(|row| LandedChunk {
                source: row.get(0),
                number: row.get::<_, i32>(1) as usize,
                rows_written: row.get::<_, i64>(2) as u64,
                rows_rejected: row.get::<_, i64>(3) as u64,
                bytes: row.get::<_, i64>(4) as u64,
            })
            .collect())
    }

    /// Tells where the run is, and that its process lives.
    pub async fn beat(client: &Client, run_id: &str, process: &str, phase: &str) -> Result<()> {
        client
            .execute(include_str!("queries/journal_beat.sql"), &[&run_id, &process, &phase])
            .await
            .context("tell the journal of the run")?;
        Ok(())
    }

    /// The process that carries out a run, and how many seconds ago it last told so.
    pub async fn last_beat(client: &Client, run_id: &str) -> Result<Option<(String, f64)>> {
        let sql = include_str!("queries/journal_last_beat.sql");
        let row = client.query_opt(sql, &[&run_id]).await.context("ask the journal who carries out the run")?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    /// The plan of a run, as it was written.
    pub async fn plan(client: &Client, run_id: &str) -> Result<Option<String>> {
        let row = client.query_opt(include_str!("queries/journal_plan.sql"), &[&run_id]).await;
        Ok(row.context("read the run's plan from the journal")?.map(|row| row.get(0)))
    }

    /// Keeps the answer of a run.
    pub async fn keep_report(&self, run_id: &str, report: &impl Serialize) -> Result<()> {
        let sql = include_str!("queries/journal_keep_report.sql");
        let mut is_first = true;
        let mut keep = async |piece: &str| {
            let is_new = std::mem::take(&mut is_first);
            self.client.execute(sql, &[&run_id, &piece, &is_new]).await
        };
        let send = |piece: &str| -> Result<()> { Ok(Handle::current().block_on(keep(piece)).map(drop)?) };
        let kept = block_in_place(|| in_pieces(PIECE_BYTES, send, |into| Ok(serde_json::to_writer(into, report)?)));
        kept.context("write the run's answer into the journal")
    }

    /// The answer of a run that came to its end.
    pub async fn report(client: &Client, run_id: &str) -> Result<Option<String>> {
        let row = client.query_opt(include_str!("queries/journal_report.sql"), &[&run_id]).await;
        Ok(row.context("read the run's answer from the journal")?.and_then(|row| row.get(0)))
    }

    /// Every run of the database, the newest first; none where there is no journal.
    pub async fn runs(client: &Client) -> Result<Vec<RunState>> {
        if !Journal::exists(client).await? {
            return Ok(Vec::new());
        }
        let rows = client.query(include_str!("queries/journal_runs.sql"), &[]).await.context("read the runs from the journal")?;
        rows.iter().map(RunState::read).collect()
    }

    /// Takes a run out of the journal; the journal itself goes with its last run, unless migrations have their histories beside it.
    pub async fn drop_run(client: &mut Client, run_id: &str) -> Result<()> {
        let transaction = client.transaction().await?;
        transaction.execute(include_str!("queries/journal_forget.sql"), &[&run_id]).await.context("take the run out of the journal")?;
        if transaction.query_one(include_str!("queries/journal_is_empty.sql"), &[]).await?.get(0) {
            transaction.batch_execute(include_str!("queries/journal_drop.sql")).await.context("drop the journal")?;
        }
        transaction.commit().await.context("take the run out of the journal")?;
        Ok(())
    }

    /// Keeps what builds a dropped index or constraint again; in the transaction that drops it.
    pub async fn keep(client: &impl GenericClient, run_id: &str, table: &QualifiedName, object: &Rebuildable) -> Result<()> {
        let kind = object.kind.as_str();
        client
            .execute(
                include_str!("queries/journal_keep.sql"),
                &[
                    &run_id,
                    &table.schema.as_str(),
                    &table.name.as_str(),
                    &kind,
                    &object.name.as_str(),
                    &object.definition,
                    &object.valid,
                    &object.comment,
                    &object.switched,
                ],
            )
            .await
            .context("keep a definition in the journal")?;
        Ok(())
    }

    /// The definitions that runs took away and have not built again, with their table.
    pub async fn kept(client: &impl GenericClient, target_schema: &str) -> Result<Vec<(QualifiedName, Rebuildable)>> {
        let rows = client
            .query(include_str!("queries/journal_kept.sql"), &[&target_schema])
            .await
            .context("read kept definitions from the journal")?;
        Ok(rows
            .iter()
            .map(|row| {
                let kind = RebuildKind::of(row.get(1));
                let object = Rebuildable {
                    kind,
                    name: row.get::<_, &str>(2).into(),
                    definition: row.get(3),
                    valid: row.get(4),
                    comment: row.get(5),
                    partition: None,
                    // It is away already, and refuses nothing.
                    long: Some(Vec::new()),
                    switched: row.get(7),
                };
                (QualifiedName::new(row.get::<_, &str>(6), row.get::<_, &str>(0)), object)
            })
            .collect())
    }

    /// Writes into the transaction that one part of the run's work is done in it.
    pub async fn land(client: &impl GenericClient, run_id: &str, source: &str, chunk: usize, rows_written: u64) -> Result<()> {
        let sql = include_str!("queries/journal_land.sql");
        client.execute(sql, &[&run_id, &source, &(chunk as i32), &(rows_written as i64)]).await.context("write into the journal")?;
        Ok(())
    }

    /// True when that part was committed.
    pub async fn landed(client: &impl GenericClient, run_id: &str, source: &str, chunk: i32) -> Result<bool> {
        let sql = include_str!("queries/journal_landed.sql");
        Ok(client.query_one(sql, &[&run_id, &source, &chunk]).await.context("read the journal")?.get(0))
    }

    /// The copy maps of the last run of this source (its absolute path) into the schema, else of the last run into it; none when there was no run.
    pub async fn last_maps(client: &Client, target_schema: &str, source: &str) -> Result<Option<Vec<CopyMap>>> {
        let run = client
            .query_opt(include_str!("queries/journal_last_run.sql"), &[&target_schema, &source])
            .await
            .context("read the last run from the journal")?;
        let Some(run) = run else { return Ok(None) };
        let rows = client
            .query(include_str!("queries/journal_maps.sql"), &[&run.get::<_, &str>(0)])
            .await
            .context("read the last run's tables from the journal")?;
        rows.iter().map(map).collect::<Result<_>>().map(Some)
    }

    /// For each table that runs have copied from this source (its absolute path) into the schema: how the newest of them did.
    pub async fn newest_maps(client: &impl GenericClient, target_schema: &str, source: &str) -> Result<Vec<CopyMap>> {
        let sql = include_str!("queries/journal_newest_maps.sql");
        let rows = client.query(sql, &[&target_schema, &source]).await.context("read from the journal how tables were copied")?;
        rows.iter().map(map).collect()
    }

    /// Of each table that runs have copied from this source into the schema (as `last_maps` finds them): how many rows stand aside still, and where.
    pub async fn set_aside(client: &impl GenericClient, target_schema: &str, source: &str) -> Result<Vec<SetAside>> {
        let sql = include_str!("queries/journal_set_aside.sql");
        let rows = client.query(sql, &[&target_schema, &source]).await.context("read from the journal what was set aside")?;
        let set_aside = |row: &Row| SetAside {
            table: row.get(0),
            rows: row.get::<_, Option<i64>>(1).map(|rows| rows.max(0) as u64),
            folder: row.get::<_, Option<String>>(2).map(PathBuf::from),
        };
        Ok(rows.iter().map(set_aside).collect())
    }

    /// The source of a run into the schema, by its absolute path; of the newest that brought anything where none is named. None when there is no such run.
    pub async fn source_of(client: &impl GenericClient, target_schema: &str, run_id: Option<&str>) -> Result<Option<(String, String)>> {
        let sql = include_str!("queries/journal_source_of.sql");
        let row = client.query_opt(sql, &[&target_schema, &run_id]).await.context("read from the journal what a run has brought")?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    /// The last run into the schema and its status, when it did not come to its end.
    pub async fn interrupted(client: &impl GenericClient, target_schema: &str) -> Result<Option<(String, String)>> {
        let sql = include_str!("queries/journal_newest_run.sql");
        let row = client.query_opt(sql, &[&target_schema]).await.context("read the last run from the journal")?;
        Ok(row.filter(|row| UNFINISHED.contains(&row.get::<_, &str>(1))).map(|row| (row.get(0), row.get(1))))
    }

    /// The tables of the schema that runs filled without making them themselves: those of migrations.
    pub async fn filled(client: &impl GenericClient, target_schema: &str) -> Result<Vec<QualifiedName>> {
        let sql = include_str!("queries/journal_filled.sql");
        let rows = client.query(sql, &[&target_schema]).await.context("read from the journal what runs have filled")?;
        Ok(rows.iter().map(|row| QualifiedName::new(target_schema, row.get::<_, &str>(0))).collect())
    }

    /// The settings of the run that `last_maps` takes, and what it said in the end.
    pub async fn last_settings(client: &impl GenericClient, target_schema: &str, source: &str) -> Result<Json> {
        let row = client
            .query_opt(include_str!("queries/journal_last_run.sql"), &[&target_schema, &source])
            .await
            .context("read the last run's settings from the journal")?;
        row.map_or(Ok(Json::Null), |row| serde_json::from_str(row.get(1)).context("read the last run's settings from the journal"))
    }

    /// One of a run's settings; none where the run was told nothing of it.
    pub fn setting<T: DeserializeOwned>(settings: &Json, key: &str) -> Result<Option<T>> {
        let value = settings.get(key).filter(|value| !value.is_null());
        value
            .cloned()
            .map(serde_json::from_value)
            .transpose()
            .with_context(|| format!("read {key:?} among a run's settings in the journal"))
    }

    /// Remembers the tables that a run has made now, out of these source tables; in the transaction that makes them.
    pub async fn made_now(client: &impl GenericClient, run_id: &str, sources: &[&str]) -> Result<()> {
        let sql = include_str!("queries/journal_made_now.sql");
        client.execute(sql, &[&run_id, &sources]).await.context("write into the journal what was made")?;
        Ok(())
    }

    /// What stands under the names of tables that runs made, out of source tables of these names.
    pub async fn made_tables(client: &impl GenericClient, target_schema: &str, sources: &[String]) -> Result<Vec<MadeTable>> {
        let sql = include_str!("queries/journal_made_tables.sql");
        let rows = client.query(sql, &[&target_schema, &sources]).await.context("read from the journal what runs have made")?;
        let made = |row: &Row| MadeTable {
            name: QualifiedName::new(target_schema, row.get::<_, &str>(0)),
            oid: row.get(1),
            source_path: row.get(2),
            is_the_same: row.get(3),
            rows_brought: row.get(4),
        };
        Ok(rows.iter().map(made).collect())
    }

    /// The tables of the schema that runs made, out of source tables of these names.
    pub async fn made(client: &impl GenericClient, target_schema: &str, sources: &[String]) -> Result<Vec<QualifiedName>> {
        let sql = include_str!("queries/journal_made.sql");
        let rows = client.query(sql, &[&target_schema, &sources]).await.context("read from the journal what runs have made")?;
        Ok(rows.iter().map(|row| QualifiedName::new(target_schema, row.get::<_, &str>(0))).collect())
    }
}

/// How many tables' maps are in memory as text at the same time.
const TABLES_TOGETHER: usize = 100;

async fn write_tables(transaction: &impl GenericClient, run_id: &str, maps: &[(CopyMap, bool)], before: i64) -> Result<()> {
    let of = |column: fn(&CopyMap) -> &str| -> Vec<&str> { maps.iter().map(|(map, _)| column(map)).collect() };
    let (sources, schemas, targets) = (of(|map| &map.source), of(|map| &map.schema), of(|map| &map.target));
    let created: Vec<bool> = maps.iter().map(|(_, created)| *created).collect();
    let texts = maps.iter().map(|(map, _)| serde_json::to_string(map)).collect::<Result<Vec<_>, _>>()?;
    let sql = include_str!("queries/journal_tables.sql");
    transaction.execute(sql, &[&run_id, &sources, &schemas, &targets, &created, &texts, &before]).await?;
    Ok(())
}

/// The plan of thousands of tables is megabytes, and so is its answer: they go in pieces, as they are made.
/// Each piece of an answer makes the text in the journal anew, so that small ones would be dear.
const PIECE_BYTES: usize = 256 * 1024;

async fn write_plan(client: &Client, run_id: &str, plan: &impl Serialize) -> Result<()> {
    let mut sink = CopySink::open(client, "COPY candlefish.plan (run_id, plan) FROM STDIN").await?;
    // Of all that COPY takes for something else, JSON has nothing but this sign.
    let escaped = |text: &str| text.replace('\\', r"\\");
    let send = |piece: &str| -> Result<()> { Ok(Handle::current().block_on(sink.send(Bytes::from(escaped(piece))))?) };
    block_in_place(|| {
        in_pieces(PIECE_BYTES, send, |into| {
            write!(into, "{run_id}\t")?;
            serde_json::to_writer(&mut *into, plan)?;
            Ok(into.write_all(b"\n")?)
        })
    })?;
    sink.finish().await?;
    Ok(())
}

/// How a table was copied: what a run has written, the run, and the version that wrote it.
fn map(row: &Row) -> Result<CopyMap> {
    written(row.get(0), "how a table was copied", row.get(1), row.get(2))
}

/// What a run has written into the journal. Another version may have written it otherwise.
pub fn written<T: DeserializeOwned>(text: &str, what: &str, run_id: &str, version: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let ours = env!("CARGO_PKG_VERSION");
        let message = format!("the journal says {what} in words that candlefish {ours} does not know ({error}); run {run_id} of candlefish {version} wrote them");
        let hint = "Do it with the build that wrote them, or copy anew: migrate --replace --yes for tables that runs have made, --existing truncate for others.";
        Failure::new("journal_unreadable", message).hint(hint).into()
    })
}
