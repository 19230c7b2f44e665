//! Migrations, run by refinery: the schema before the data, the indexes after it, each with a history of its own.
//!
//! refinery wraps every file in a transaction and takes no lock. So candlefish holds a lock around it, and runs the files that
//! must stand outside a transaction itself, before refinery records them.

mod files;
mod history;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use refinery::{Migration, Runner, Target};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::{Client, GenericClient, Transaction};
use xxhash_rust::xxh3::Xxh3;

use crate::model::{AppliedMigration, Event, Failure, MigrationState, MigrationStatus, Name, QualifiedName, Section};
use crate::postgres::{SessionLock, script, statement};
use files::MigrationFile;

/// How long a run waits for another to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files of both sections, read and checked; nothing has run.
#[derive(Clone, Debug)]
pub struct Migrations {
    schema: Vec<MigrationFile>,
    indexes: Vec<MigrationFile>,
}

impl Migrations {
    /// The registry's own.
    pub fn builtin() -> Result<Self> {
        Ok(Migrations { schema: files::built_in(Section::Schema)?, indexes: files::built_in(Section::Indexes)? })
    }

    /// `folder/schema/*.sql` and `folder/indexes/*.sql`; either may be absent, not both.
    pub fn from_dir(folder: &Path) -> Result<Self> {
        if !Section::ALL.iter().any(|section| folder.join(section.as_str()).is_dir()) {
            bail!(
                Failure::new("migrations_not_found", format!("{} has neither a folder schema nor a folder indexes", folder.display()))
                    .hint("Files in DIR/schema run before the data is copied, those in DIR/indexes after it.")
            );
        }
        Ok(Migrations { schema: files::in_folder(folder, Section::Schema)?, indexes: files::in_folder(folder, Section::Indexes)? })
    }

    /// True when `rehearse` passes over a file of the section.
    pub fn has_files_outside_transactions(&self, section: Section) -> bool {
        self.files(section).iter().any(|file| !file.transactional)
    }

    /// The same for the same files, whatever has become of them in a database.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Xxh3::new();
        for (section, file) in self.schema.iter().map(|file| ("schema", file)).chain(self.indexes.iter().map(|file| ("indexes", file))) {
            hasher.update(format!("{section}/{} {:x}\n", file.migration, file.migration.checksum()).as_bytes());
        }
        format!("{:016x}", hasher.digest())
    }

    fn files(&self, section: Section) -> &[MigrationFile] {
        match section {
            Section::Schema => &self.schema,
            Section::Indexes => &self.indexes,
        }
    }

    /// Every migration of both sections, as files and history see it; changes nothing, and needs no history to be there.
    pub async fn status(&self, client: &Client, schema: &Name) -> Result<Vec<MigrationStatus>> {
        let mut statuses = Vec::new();
        for section in Section::ALL {
            statuses.extend(self.status_of(client, schema, section).await?);
        }
        Ok(statuses)
    }

    async fn status_of(&self, client: &Client, schema: &Name, section: Section) -> Result<Vec<MigrationStatus>> {
        let history = history::read(client, schema, section).await?;
        Ok(history::compare(section, self.files(section), &history))
    }

    /// True when a schema's history was begun by these files, whatever has become of them since.
    pub async fn began(&self, client: &Client, schema: &Name) -> Result<bool> {
        let history = history::read(client, schema, Section::Schema).await?;
        Ok(history.first().zip(self.schema.first()).is_some_and(|(applied, file)| applied.is_of(&file.migration)))
    }

    /// The tables that what the history calls applied has made or built upon, each with the last file that did, unless a later one has taken it away.
    pub async fn applied_tables(&self, client: &impl GenericClient, schema: &Name) -> Result<Vec<(QualifiedName, String)>> {
        let mut tables: Vec<(QualifiedName, String)> = Vec::new();
        for section in Section::ALL {
            let statuses = history::compare(section, self.files(section), &history::read(client, schema, section).await?);
            let is_applied = |file: &&MigrationFile| {
                let version = file.migration.version();
                statuses.iter().any(|status| status.version == version && status.state == MigrationState::Applied)
            };
            for file in self.files(section).iter().filter(is_applied) {
                note_tables(&mut tables, section, file, schema);
            }
        }
        Ok(tables)
    }

    /// The tables that the files before the rows make or build upon, each with the last file that does, applied or not.
    pub fn tables(&self, schema: &Name) -> Vec<(QualifiedName, String)> {
        let mut tables = Vec::new();
        self.schema.iter().for_each(|file| note_tables(&mut tables, Section::Schema, file, schema));
        tables
    }

    /// Fails where the history calls migrations applied, and none of their tables is there: the schema was made again, and its history stayed.
    pub async fn refuse_undone(&self, client: &Client, schema: &Name) -> Result<()> {
        let tables = self.applied_tables(client, schema).await?;
        let (schemas, names): (Vec<&str>, Vec<&str>) = tables.iter().map(|(table, _)| (table.schema.as_str(), table.name.as_str())).unzip();
        let is_any_there = client.query_one(include_str!("../queries/any_relation.sql"), &[&schemas, &names]).await;
        let is_any_there: bool = is_any_there.context("look for the tables of the migrations")?.get(0);
        let gone: Vec<&(QualifiedName, String)> = tables.iter().collect();
        let Some(message) = Migrations::undone(schema, &gone).filter(|_| !is_any_there) else { return Ok(()) };
        bail!(Failure::new("migrations_undone", message).hint(format!(
            "If the schema was made again, let its migrations run again with {} Otherwise put its tables back.",
            Migrations::forget_history(schema)
        )))
    }

    /// What is said of tables that are gone, though the history calls what made them applied.
    pub fn undone(schema: &Name, gone: &[&(QualifiedName, String)]) -> Option<String> {
        let (table, file) = gone.first()?;
        let more = if gone.len() > 1 { format!("; {} more are gone too", gone.len() - 1) } else { String::new() };
        Some(format!("{file} was applied to schema {schema}, and its table {table} is not there any more{more}"))
    }

    /// What makes a schema's migrations run again as if none had been applied.
    pub fn forget_history(schema: &Name) -> String {
        let tables = Section::ALL.map(|section| history::table(schema, section).to_string());
        format!("DROP TABLE IF EXISTS {};", tables.join(", "))
    }

    /// Fails on the first migration that is divergent or missing, and says what changed.
    pub fn refuse_divergent(statuses: &[MigrationStatus]) -> Result<()> {
        let Some(bad) = statuses.iter().find(|status| matches!(status.state, MigrationState::Divergent | MigrationState::Missing)) else {
            return Ok(());
        };
        let place = format!("{}/V{}__{}", bad.section.as_str(), bad.version, bad.name);
        let reason = bad.reason.as_deref().unwrap_or_default();
        let hint = match (bad.state, &bad.applied_on) {
            (MigrationState::Divergent, _) => "Restore the file as it was applied, and say what should change in a new one.",
            (_, Some(_)) => "Restore the file: it is part of how this schema came to be.",
            (_, None) => "Give the file a number above the last one applied.",
        };
        let code = if bad.state == MigrationState::Divergent { "migration_divergent" } else { "migration_missing" };
        bail!(Failure::new(code, format!("{place}: {reason}")).hint(hint))
    }

    /// Runs what is pending in a section inside a transaction that the caller rolls back, so that a plan sees what the schema will be. Files
    /// that must stand outside a transaction are passed over.
    pub async fn rehearse(&self, transaction: &Transaction<'_>, schema: &Name, section: Section) -> Result<()> {
        let statuses = history::compare(section, self.files(section), &history::read(transaction, schema, section).await?);
        Self::refuse_divergent(&statuses)?;
        let files = self.files(section).iter().filter(|file| file.transactional);
        let pending = |version| statuses.iter().any(|status| status.version == version && status.state == MigrationState::Pending);
        transaction.batch_execute(&format!("SET LOCAL search_path = {schema}")).await.context("set search_path")?;
        for file in files.filter(|file| pending(file.migration.version())) {
            transaction.batch_execute(file.sql()).await.map_err(|error| explain(section, file, 1, false, error.into()))?;
        }
        Ok(())
    }

    /// Applies what is pending in a section, in order, up to and including version `up_to`. The tables land in `schema`, which must exist.
    ///
    /// Needs a session of its own (not a pooler in transaction mode), and no open transaction anywhere in the caller: an index built
    /// concurrently waits for the end of every older one. Fails when a migration is divergent or missing, when another run holds the
    /// lock for more than a minute, and when SQL fails; what was applied before stays applied, and the next run goes on from there.
    pub async fn apply(
        &self,
        client: &mut Client,
        schema: &Name,
        section: Section,
        up_to: Option<i32>,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Vec<AppliedMigration>> {
        let settings = Settings::enter(client, schema).await?;
        let lock = SessionLock::acquire(client, PATIENCE, events).await;
        let applied = match lock {
            Ok(lock) => {
                let applied = self.apply_locked(client, schema, section, up_to, events).await;
                let released = lock.release(client).await;
                applied.and_then(|applied| released.map(|()| applied))
            }
            Err(error) => Err(error),
        };
        let left = settings.leave(client).await;
        let applied = applied?;
        left?;
        Ok(applied)
    }

    async fn apply_locked(
        &self,
        client: &mut Client,
        schema: &Name,
        section: Section,
        up_to: Option<i32>,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Vec<AppliedMigration>> {
        let statuses = self.status_of(client, schema, section).await?;
        Self::refuse_divergent(&statuses)?;
        let wanted =
            |status: &&MigrationStatus| status.state == MigrationState::Pending && up_to.is_none_or(|up_to| status.version <= up_to);
        let pending: Vec<&MigrationStatus> = statuses.iter().filter(wanted).collect();
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        create_schema(client, &Name::new("candlefish")).await?;
        let files = self.files(section);
        let all: Vec<Migration> = files.iter().map(|file| file.migration.clone()).collect();
        let table = history::table(schema, section).to_string();
        let run = async |client: &mut Client, target: Target| {
            let mut runner = Runner::new(&all).set_target(target);
            runner.set_migration_table_name(&table);
            runner.run_async(client).await
        };
        let mut applied = Vec::with_capacity(pending.len());
        for file in files.iter().filter(|file| pending.iter().any(|status| status.version == file.migration.version())) {
            events(Event::Note(format!("apply {}/{}", section.as_str(), file.migration)));
            let started = Instant::now();
            let version = file.migration.version();
            let changed = !applied.is_empty();
            if file.transactional {
                run(client, Target::Version(version)).await.map_err(|error| explain(section, file, 1, changed, error.into()))?;
            } else {
                run_alone(client, schema, section, file, changed, events).await?;
                run(client, Target::FakeVersion(version)).await.map_err(|error| explain(section, file, 1, true, error.into()))?;
            }
            let seconds = started.elapsed().as_secs_f64();
            applied.push(AppliedMigration { section, version, name: file.migration.name().to_string(), seconds });
        }
        Ok(applied)
    }
}

/// The tables that a file makes or builds upon join those of the files before it; what it takes away leaves them.
fn note_tables(tables: &mut Vec<(QualifiedName, String)>, section: Section, file: &MigrationFile, schema: &Name) {
    let place = format!("{}/{}.sql", section.as_str(), file.migration);
    for used in script::statements(file.sql()).iter().flat_map(script::Statement::tables) {
        let name = QualifiedName::new(used.schema.as_deref().unwrap_or(schema.as_str()), used.table);
        tables.retain(|(known, _)| *known != name);
        if !used.ends {
            tables.push((name, place.clone()));
        }
    }
}

/// The session's settings for the time of a run; they are the caller's again afterwards.
struct Settings {
    search_path: String,
    lock_timeout: String,
    statement_timeout: String,
}

impl Settings {
    async fn enter(client: &Client, schema: &Name) -> Result<Self> {
        if !schema_exists(client, schema).await? {
            bail!(
                Failure::new("schema_not_found", format!("schema {schema} does not exist"))
                    .hint(format!("Create it with --create-schema, or by CREATE SCHEMA {schema}."))
            );
        }
        let row = client
            .query_one("SELECT current_setting('search_path'), current_setting('lock_timeout'), current_setting('statement_timeout')", &[])
            .await
            .context("read the session's settings")?;
        let before = Settings { search_path: row.try_get(0)?, lock_timeout: row.try_get(1)?, statement_timeout: row.try_get(2)? };
        // The target schema alone: with another behind it, a table that is missing here would be found and changed there.
        Settings { search_path: schema.to_string(), lock_timeout: "10s".into(), statement_timeout: "0".into() }.set(client).await?;
        Ok(before)
    }

    async fn leave(&self, client: &Client) -> Result<()> {
        self.set(client).await
    }

    async fn set(&self, client: &Client) -> Result<()> {
        client
            .execute(
                "SELECT set_config('search_path', $1, false), set_config('lock_timeout', $2, false), set_config('statement_timeout', $3, false)",
                &[&self.search_path, &self.lock_timeout, &self.statement_timeout],
            )
            .await
            .context("set the session's settings")?;
        Ok(())
    }
}

/// Makes a schema, unless it is there: CREATE … IF NOT EXISTS asks for the right to create even then.
pub async fn create_schema(client: &Client, schema: &Name) -> Result<()> {
    if schema_exists(client, schema).await? {
        return Ok(());
    }
    client.batch_execute(&statement::create_schema(schema.as_str())).await.map_err(|error| match error.as_db_error() {
        Some(database) => Failure::new("no_create_right", format!("schema {schema} cannot be made: {}", database.message()))
            .hint(format!("GRANT CREATE ON DATABASE to this user, or make it for them: CREATE SCHEMA {schema} AUTHORIZATION …"))
            .sqlstate(database.code().code())
            .into(),
        None => anyhow::Error::new(error).context(format!("make schema {schema}")),
    })
}

async fn schema_exists(client: &Client, schema: &Name) -> Result<bool> {
    let found = client.query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[&schema.as_str()]).await;
    Ok(found.with_context(|| format!("look for schema {schema}"))?.is_some())
}

/// Runs a file's statements outside a transaction. An index that an interrupted build left INVALID is dropped first: IF NOT EXISTS would
/// take it for the index.
async fn run_alone(
    client: &Client,
    schema: &Name,
    section: Section,
    file: &MigrationFile,
    mut changed: bool,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<()> {
    for statement in file.statements() {
        if let Some(name) = statement.concurrent_index().and_then(|index| index.name) {
            drop_if_invalid(client, &QualifiedName { schema: schema.clone(), name }, events).await?;
        }
        // It waits for older transactions, however long they last, and blocks no reader or writer meanwhile.
        let patience = if statement.is_concurrent() { "0" } else { "10s" };
        client.execute("SELECT set_config('lock_timeout', $1, false)", &[&patience]).await.context("set lock_timeout")?;
        let run = client.batch_execute(statement.text).await;
        run.map_err(|error| explain(section, file, statement.line, changed, error.into()))?;
        changed = true;
    }
    Ok(())
}

async fn drop_if_invalid(client: &Client, index: &QualifiedName, events: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
    let row = client
        .query_opt(include_str!("../queries/index_state.sql"), &[&index.schema.as_str(), &index.name.as_str()])
        .await
        .with_context(|| format!("look for index {index}"))?;
    let Some(row) = row else { return Ok(()) };
    if row.try_get::<_, bool>(0)? {
        return Ok(());
    }
    if let Some(builder) = row.try_get::<_, Option<i32>>(1)? {
        bail!(
            Failure::new("index_in_the_making", format!("process {builder} is building index {index} right now"))
                .hint("Wait for it to end, and run again.")
        );
    }
    events(Event::Note(format!("an interrupted run left index {index} invalid: it is dropped and built again")));
    client.execute("SELECT set_config('lock_timeout', '0', false)", &[]).await.context("set lock_timeout")?;
    client.batch_execute(&statement::drop_index_concurrently(index)).await.with_context(|| format!("drop invalid index {index}"))
}

/// Says where in which file PostgreSQL stopped, and what to do about it. `line` is that on which the failed SQL begins.
fn explain(section: Section, file: &MigrationFile, line: usize, changed: bool, error: anyhow::Error) -> anyhow::Error {
    let place = format!("{}/{}.sql", section.as_str(), file.migration);
    let database = error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).and_then(|error| error.as_db_error());
    let Some(database) = database else {
        return error.context(format!("apply {place}"));
    };
    let begins: usize = file.sql().split_inclusive('\n').take(line - 1).map(str::len).sum();
    let line = line + lines_before(&file.sql()[begins..], database);
    let mut failure =
        Failure::new("migration_failed", format!("{place}, line {line}: {}", database.message())).sqlstate(database.code().code());
    if let Some(hint) = remedy(file, database) {
        failure = failure.hint(hint);
    }
    if changed { failure.target_changed().resumable().into() } else { failure.into() }
}

/// Lines between the beginning of the SQL and the place that PostgreSQL points at.
fn lines_before(sql: &str, error: &DbError) -> usize {
    match error.position() {
        Some(ErrorPosition::Original(position)) => sql.chars().take(*position as usize).filter(|letter| *letter == '\n').count(),
        _ => 0,
    }
}

fn remedy(file: &MigrationFile, error: &DbError) -> Option<String> {
    let code = error.code();
    let again = "The index is left INVALID; the next run drops it and builds it again.";
    Some(match code {
        _ if code == &SqlState::ACTIVE_SQL_TRANSACTION => "Make `-- candlefish: no-transaction` the first line of the file.".to_string(),
        _ if code == &SqlState::LOCK_NOT_AVAILABLE => "Another session holds the table: wait for it to end, and run again.".to_string(),
        _ if code == &SqlState::UNIQUE_VIOLATION && !file.transactional => format!("Remove the duplicates and run again. {again}"),
        _ if code == &SqlState::QUERY_CANCELED && !file.transactional => format!("Run again. {again}"),
        _ if code == &SqlState::INSUFFICIENT_PRIVILEGE => "GRANT this user what the statement needs, or run as the owner.".to_string(),
        _ => return error.hint().map(str::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_histories_of_its_own() {
        let table = |schema: &str, section| history::table(&Name::new(schema), section).to_string();
        assert_eq!(table("public", Section::Schema), r#""candlefish"."schema_history""#);
        assert_eq!(table("public", Section::Indexes), r#""candlefish"."index_history""#);
        assert_eq!(table("My App", Section::Schema), r#""candlefish"."schema_history@My App""#);
        let long = |last: char| table(&format!("{}{last}", "x".repeat(62)), Section::Schema);
        assert_ne!(long('a'), long('b'));
        assert!(long('a').len() <= r#""candlefish".""#.len() + 63 + 1);
    }
}
