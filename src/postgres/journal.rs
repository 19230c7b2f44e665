//! What runs did, kept in the target itself: schema `candlefish`. A chunk's row is written in the chunk's own transaction.

use anyhow::{Context as _, Result};
use serde_json::Value as Json;
use tokio_postgres::{Client, GenericClient};

use crate::model::QualifiedName;
use crate::plan::CopyMap;
use crate::plan::target::{RebuildKind, Rebuildable};

/// One run of `migrate`, as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub run_id: String,
    /// The source's path, as the user named it.
    pub source: String,
    pub target_schema: String,
    /// `running`, or the outcome of the report.
    pub status: String,
    /// What the run was told, as far as it changes what is copied.
    pub settings: Json,
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
        let row = client.query_one("SELECT to_regclass('candlefish.run') IS NOT NULL", &[]).await.context("look for the journal")?;
        Ok(row.get(0))
    }

    pub async fn start(&self, run: &RunRecord, maps: &[(CopyMap, bool)]) -> Result<()> {
        self.client
            .execute(
                "INSERT INTO candlefish.run (run_id, source, target_schema, status, settings, version) VALUES ($1, $2, $3, $4, $5, $6)",
                &[&run.run_id, &run.source, &run.target_schema, &run.status, &run.settings.to_string(), &env!("CARGO_PKG_VERSION")],
            )
            .await
            .context("write the run into the journal")?;
        for (position, (map, created)) in maps.iter().enumerate() {
            let text = serde_json::to_string(map)?;
            self.client
                .execute(
                    "INSERT INTO candlefish.run_table (run_id, position, source, target_schema, target, created, map) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    &[&run.run_id, &(position as i32), &map.source, &map.schema, &map.target, created, &text],
                )
                .await
                .context("write a table into the journal")?;
        }
        Ok(())
    }

    pub async fn finish(&self, run_id: &str, status: &str) -> Result<()> {
        self.client
            .execute("UPDATE candlefish.run SET status = $2, finished_at = now() WHERE run_id = $1", &[&run_id, &status])
            .await
            .context("write the end of the run into the journal")?;
        Ok(())
    }

    /// Adds to what the run was told what it said in the end.
    pub async fn note(&self, run_id: &str, said: &Json) -> Result<()> {
        self.client
            .execute(
                "UPDATE candlefish.run SET settings = (settings::jsonb || $2::text::jsonb)::text WHERE run_id = $1",
                &[&run_id, &said.to_string()],
            )
            .await
            .context("write what the run said into the journal")?;
        Ok(())
    }

    pub async fn table_done(&self, run_id: &str, source: &str, rows_written: u64, rows_rejected: u64) -> Result<()> {
        self.client
            .execute(
                "UPDATE candlefish.run_table SET rows_written = $3, rows_rejected = $4 WHERE run_id = $1 AND source = $2",
                &[&run_id, &source, &(rows_written as i64), &(rows_rejected as i64)],
            )
            .await
            .context("write a table's end into the journal")?;
        Ok(())
    }

    /// Keeps what builds a dropped index or constraint again; in the transaction that drops it.
    pub async fn keep(client: &impl GenericClient, run_id: &str, table: &QualifiedName, object: &Rebuildable) -> Result<()> {
        let kind = match object.kind {
            RebuildKind::Index => "index",
            RebuildKind::ForeignKey => "foreign key",
        };
        client
            .execute(
                "INSERT INTO candlefish.kept_definition (run_id, target_schema, target, kind, name, definition, valid) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                &[&run_id, &table.schema.as_str(), &table.name.as_str(), &kind, &object.name.as_str(), &object.definition, &object.valid],
            )
            .await
            .context("keep a definition in the journal")?;
        Ok(())
    }

    /// The definitions that runs took away and have not built again, with their table.
    pub async fn kept(client: &impl GenericClient, target_schema: &str) -> Result<Vec<(QualifiedName, Rebuildable)>> {
        let rows = client
            .query(
                "SELECT DISTINCT ON (target, kind, name) target, kind, name, definition, valid FROM candlefish.kept_definition
                 WHERE target_schema = $1 AND rebuilt_at IS NULL ORDER BY target, kind, name, kept_at DESC",
                &[&target_schema],
            )
            .await
            .context("read kept definitions from the journal")?;
        Ok(rows
            .iter()
            .map(|row| {
                let kind = if row.get::<_, &str>(1) == "index" { RebuildKind::Index } else { RebuildKind::ForeignKey };
                let object = Rebuildable { kind, name: row.get::<_, &str>(2).into(), definition: row.get(3), valid: row.get(4) };
                (QualifiedName::new(target_schema, row.get::<_, &str>(0)), object)
            })
            .collect())
    }

    pub async fn rebuilt(client: &Client, table: &QualifiedName, object: &Rebuildable) -> Result<()> {
        client
            .execute(
                "UPDATE candlefish.kept_definition SET rebuilt_at = now() WHERE target_schema = $1 AND target = $2 AND name = $3 AND rebuilt_at IS NULL",
                &[&table.schema.as_str(), &table.name.as_str(), &object.name.as_str()],
            )
            .await
            .context("write a rebuilt definition into the journal")?;
        Ok(())
    }

    /// Writes into the transaction that one part of the run's work is done in it.
    pub async fn land(client: &impl GenericClient, run_id: &str, source: &str, chunk: usize, rows_written: u64) -> Result<()> {
        let sql = "INSERT INTO candlefish.chunk (run_id, source, chunk, rows_written, rows_rejected) VALUES ($1, $2, $3, $4, 0)";
        client.execute(sql, &[&run_id, &source, &(chunk as i32), &(rows_written as i64)]).await.context("write into the journal")?;
        Ok(())
    }

    /// True when that part was committed.
    pub async fn landed(client: &impl GenericClient, run_id: &str, source: &str, chunk: i32) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM candlefish.chunk WHERE run_id = $1 AND source = $2 AND chunk = $3)";
        Ok(client.query_one(sql, &[&run_id, &source, &chunk]).await.context("read the journal")?.get(0))
    }

    /// The copy maps of the last run that wrote into the schema; none when there was no run.
    pub async fn last_maps(client: &Client, target_schema: &str) -> Result<Option<Vec<CopyMap>>> {
        let run = client
            .query_opt(
                "SELECT run_id FROM candlefish.run WHERE target_schema = $1 AND status <> 'planned' ORDER BY started_at DESC LIMIT 1",
                &[&target_schema],
            )
            .await
            .context("read the last run from the journal")?;
        let Some(run) = run else { return Ok(None) };
        let rows = client
            .query("SELECT map FROM candlefish.run_table WHERE run_id = $1 ORDER BY position", &[&run.get::<_, &str>(0)])
            .await
            .context("read the last run's tables from the journal")?;
        rows.iter()
            .map(|row| serde_json::from_str(row.get(0)).context("read a table's map from the journal"))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// The last run into the schema, when it did not come to its end.
    pub async fn interrupted(client: &impl GenericClient, target_schema: &str) -> Result<Option<String>> {
        let sql = "SELECT run_id, status FROM candlefish.run WHERE target_schema = $1 ORDER BY started_at DESC LIMIT 1";
        let row = client.query_opt(sql, &[&target_schema]).await.context("read the last run from the journal")?;
        Ok(row.filter(|row| row.get::<_, &str>(1) == "running").map(|row| row.get(0)))
    }

    /// The tables of the schema that runs filled without making them themselves: those of migrations.
    pub async fn filled(client: &impl GenericClient, target_schema: &str) -> Result<Vec<QualifiedName>> {
        let sql = "SELECT DISTINCT target FROM candlefish.run_table WHERE target_schema = $1 AND NOT created AND rows_written IS NOT NULL";
        let rows = client.query(sql, &[&target_schema]).await.context("read from the journal what runs have filled")?;
        Ok(rows.iter().map(|row| QualifiedName::new(target_schema, row.get::<_, &str>(0))).collect())
    }

    /// The settings of the last run that wrote into the schema, and what it said in the end.
    pub async fn last_settings(client: &impl GenericClient, target_schema: &str) -> Result<Json> {
        let row = client
            .query_opt(
                "SELECT settings FROM candlefish.run WHERE target_schema = $1 AND status <> 'planned' ORDER BY started_at DESC LIMIT 1",
                &[&target_schema],
            )
            .await
            .context("read the last run's settings from the journal")?;
        row.map_or(Ok(Json::Null), |row| serde_json::from_str(row.get(0)).context("read the last run's settings from the journal"))
    }

    /// The tables of the schema that runs made, out of source tables of these names.
    pub async fn made(client: &impl GenericClient, target_schema: &str, sources: &[String]) -> Result<Vec<QualifiedName>> {
        let sql = "SELECT DISTINCT target FROM candlefish.run_table WHERE target_schema = $1 AND created AND source = ANY ($2)";
        let rows = client.query(sql, &[&target_schema, &sources]).await.context("read from the journal what runs have made")?;
        Ok(rows.iter().map(|row| QualifiedName::new(target_schema, row.get::<_, &str>(0))).collect())
    }
}
