//! What a database has had applied: refinery's tables, one a section and target schema, in schema `candlefish`.

use anyhow::{Context as _, Result, bail};
use refinery::Migration;
use tokio_postgres::GenericClient;

use crate::model::{Failure, MigrationState, MigrationStatus, Name, QualifiedName, Section};
use crate::postgres::migrations::files::MigrationFile;

/// One line of a history.
#[derive(Clone, Debug)]
pub struct Applied {
    version: i32,
    name: String,
    applied_on: String,
    checksum: u64,
}

impl Applied {
    /// True when it has this migration's version and name; its SQL may have changed.
    pub fn is_of(&self, migration: &Migration) -> bool {
        self.version == migration.version() && self.name == migration.name()
    }
}

/// The table that keeps the history of one section of one schema. Histories of several schemas live side by side; `public` has the plain name.
pub fn table(schema: &Name, section: Section) -> QualifiedName {
    let stem = match section {
        Section::Schema => "schema_history",
        Section::Indexes => "index_history",
    };
    let name = match schema.as_str() {
        "public" => stem.to_string(),
        other if stem.len() + 1 + other.len() <= 63 => format!("{stem}@{other}"),
        // Too long to stand there whole; its hash does not meet another's.
        other => format!("{stem}@{:032x}", xxhash_rust::xxh3::xxh3_128(other.as_bytes())),
    };
    QualifiedName::new("candlefish", name)
}

/// Reads a history, oldest version first; empty when there is none. Checks each line, because refinery panics on a damaged one.
pub async fn read(client: &impl GenericClient, schema: &Name, section: Section) -> Result<Vec<Applied>> {
    let table = table(schema, section);
    let context = || format!("read the history {table}");
    if !exists(client, &table).await.with_context(context)? {
        return Ok(Vec::new());
    }
    let rows = client
        .query(&format!("SELECT version::bigint, name::text, applied_on::text, checksum::text FROM {table} ORDER BY version"), &[])
        .await
        .with_context(context)?;
    let mut history = Vec::with_capacity(rows.len());
    for row in rows {
        let version: i64 = row.try_get(0).with_context(context)?;
        let applied = || -> Option<Applied> {
            let applied_on: String = row.try_get(2).ok()?;
            applied_on.parse::<jiff::Timestamp>().ok()?;
            let checksum: String = row.try_get(3).ok()?;
            Some(Applied { version: version.try_into().ok()?, name: row.try_get(1).ok()?, applied_on, checksum: checksum.parse().ok()? })
        };
        match applied() {
            Some(applied) => history.push(applied),
            None => bail!(
                Failure::new("damaged_history", format!("version {version} in {table} was not written by candlefish"))
                    .hint("Restore that row, or delete it if the migration was never applied.")
            ),
        }
    }
    Ok(history)
}

async fn exists(client: &impl GenericClient, table: &QualifiedName) -> Result<bool> {
    let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table.to_string()]).await?;
    Ok(row.try_get(0)?)
}

/// Lays files and history side by side, by version.
pub fn compare(section: Section, files: &[MigrationFile], history: &[Applied]) -> Vec<MigrationStatus> {
    let latest = history.last().map(|applied| applied.version);
    let mut statuses: Vec<MigrationStatus> = files
        .iter()
        .map(|file| {
            let migration = &file.migration;
            let applied = history.iter().find(|applied| applied.version == migration.version());
            let (state, reason) = match applied {
                Some(applied) => compare_one(applied, migration),
                // A file numbered below what has run would never run on a database that is ahead, only on fresh ones.
                None if latest > Some(migration.version()) => {
                    (MigrationState::Missing, latest.map(|latest| format!("the file came after V{latest} had been applied")))
                }
                None => (MigrationState::Pending, None),
            };
            MigrationStatus {
                section,
                version: migration.version(),
                name: migration.name().to_string(),
                state,
                applied_on: applied.map(|applied| applied.applied_on.clone()),
                reason,
            }
        })
        .collect();
    let without_file = history.iter().filter(|applied| !files.iter().any(|file| file.migration.version() == applied.version));
    statuses.extend(without_file.map(|applied| MigrationStatus {
        section,
        version: applied.version,
        name: applied.name.clone(),
        state: MigrationState::Missing,
        applied_on: Some(applied.applied_on.clone()),
        reason: Some("it was applied, and its file is gone".to_string()),
    }));
    statuses.sort_by_key(|status| status.version);
    statuses
}

fn compare_one(applied: &Applied, migration: &Migration) -> (MigrationState, Option<String>) {
    if applied.name != migration.name() {
        (MigrationState::Divergent, Some(format!("it was applied under the name {}", applied.name)))
    } else if applied.checksum != migration.checksum() {
        (MigrationState::Divergent, Some("the file was changed after it had been applied".to_string()))
    } else {
        (MigrationState::Applied, None)
    }
}
