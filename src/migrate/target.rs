//! The target made ready: rights checked, schema and tables made, what would slow or stop the copy taken away.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::migrate::finish::Built;
use crate::migrate::run::Run;
use crate::migrate::standing::{columns_step, table_step};
use crate::migrate::{Grant, Job};
use crate::model::{Event, Failure, Name, QualifiedName, Schema, Section};
use crate::plan::{ObjectKind, Plan, TablePlan, Todo, Warning, names};
use crate::postgres::{
    Address, Client, Journal, Migrations, Transaction, is_about_object, is_partitioned, is_pooled, sql_failure, statement,
};

/// Tables that are made in one transaction: some dozens, so that thousands never fill the lock table.
const TABLES_A_TRANSACTION: usize = 50;

/// A pooler in transaction mode loses the session that a migration needs; a standby takes no rows.
pub async fn refuse_pooler_and_standby(client: &Client, address: &Address) -> Result<()> {
    if is_pooled(client, address).await? {
        bail!(
            Failure::new("target_is_pooler", "the target is a pooler in transaction mode, and a migration needs a session of its own")
                .hint("Name PostgreSQL itself: its own host and port, not the pooler's.")
        );
    }
    let row = client.query_one(include_str!("queries/target_facts.sql"), &[]).await.map_err(|error| sql_failure(error.into()))?;
    if row.get(0) {
        bail!(Failure::new("target_is_standby", "the target is a standby, which takes no changes").hint("Name the primary."));
    }
    if row.get::<_, &str>(1) == "on" {
        bail!(
            Failure::new("target_read_only", "the target's sessions are read-only (default_transaction_read_only)")
                .hint("Connect as a user who may write.")
        );
    }
    let encoding: &str = row.get(2);
    if encoding != "UTF8" {
        bail!(
            Failure::new("target_encoding", format!("the target database is in {encoding}, which cannot hold every text of SQLite"))
                .hint("Make one that can: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0; --create-db does so.")
        );
    }
    Ok(())
}

/// How long a session may take to end whose candlefish has gone already: it rolls back first.
const LAST_ONES_END: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// One run at a time into a schema. The lock ends with its session, so a killed run never leaves it behind for long.
pub async fn lock_schema(client: &Client, schema: &str) -> Result<()> {
    let deadline = Instant::now() + LAST_ONES_END;
    loop {
        let row =
            client.query_one(include_str!("queries/lock_schema.sql"), &[&schema]).await.context("take the lock of the target schema")?;
        if row.get(0) {
            return Ok(());
        }
        if Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
            continue;
        }
        bail!(
            Failure::new("run_in_progress", format!("another candlefish is migrating into schema {schema:?} right now"))
                .hint("Wait until it has ended; pg_stat_activity shows it as application candlefish.")
        );
    }
}

/// The rights that the plan needs, asked for before anything is changed.
pub async fn check_rights(client: &Client, plan: &Plan) -> Result<()> {
    let row = client.query_one(include_str!("queries/rights.sql"), &[&plan.schema]).await?;
    let (user, database): (&str, &str) = (row.get(0), row.get(1));
    let (in_database, in_schema, in_journal): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
    if !in_schema && plan.tables.iter().any(|table| table.create.is_some()) {
        bail!(
            Failure::new("no_create_right", format!("user {user:?} may not create tables in schema {:?}", plan.schema))
                .hint(format!("GRANT CREATE ON SCHEMA {} TO {};", Name::new(plan.schema.as_str()), Name::new(user)))
                .sqlstate("42501")
        );
    }
    if !in_database && (!in_journal || plan.create_schema) {
        bail!(
            Failure::new(
                "no_create_right",
                format!("user {user:?} may not create schemas in database {database:?}, and the journal needs one")
            )
            .hint(format!(
                "GRANT CREATE ON DATABASE {} TO {user}; or CREATE SCHEMA candlefish AUTHORIZATION {user};",
                Name::new(database),
                user = Name::new(user)
            ))
            .sqlstate("42501")
        );
    }
    Ok(())
}

/// Roles that are to be granted something must be there: to learn otherwise when all is copied would be late.
pub async fn check_roles(client: &Client, grants: &[Grant]) -> Result<()> {
    for Grant { role, .. } in grants {
        let known = client.query_one(include_str!("queries/role_exists.sql"), &[role]).await?;
        if !known.get::<_, bool>(0) {
            bail!(
                Failure::new("no_such_role", format!("role {role:?} of --grant does not exist"))
                    .hint(format!("CREATE ROLE {}; or name another.", Name::new(role.as_str())))
                    .sqlstate("42704")
            );
        }
    }
    Ok(())
}

/// What `--replace` takes away: tables that runs of this source made, and its views.
#[derive(Clone, Debug, Default)]
pub struct Redo {
    pub tables: Vec<Redone>,
    /// What the source's views were to be called.
    views: Vec<String>,
    /// Tables of those names that stay, each with the reason.
    pub kept: Vec<(QualifiedName, String)>,
}

/// A table that goes, and what goes with it.
#[derive(Clone, Debug)]
pub struct Redone {
    pub name: QualifiedName,
    oid: u32,
    pub rows: u64,
    /// What the run that made it brought, if no run came after it.
    pub rows_brought: Option<u64>,
}

/// What earlier runs have made of this source, and what is still there of it. A table is known by more than its name: the application may have put
/// its own in the place of ours.
pub async fn made_by_runs(client: &Client, job: &Job, source: &Schema) -> Result<Redo> {
    let names = job.options.names;
    let mut redo = Redo { views: source.views.iter().map(|view| names.apply(&view.name)).collect(), ..Redo::default() };
    if !Journal::exists(client).await? {
        return Ok(redo);
    }
    let sources: Vec<String> = source.tables.iter().map(|table| table.name.clone()).collect();
    for made in Journal::made_tables(client, &job.options.schema, &sources).await? {
        if !made.is_the_same {
            redo.kept.push((made.name, "is not the table that an earlier run made".into()));
        } else if let Some(other) = made.source_path.filter(|path| *path != job.call.source_path) {
            redo.kept.push((made.name, format!("was made from {other}")));
        } else {
            let counted = client.query_one(&statement::count_rows(&made.name), &[]).await;
            let rows: i64 =
                counted.map_err(|error| sql_failure(error.into())).with_context(|| format!("count the rows of {}", made.name))?.get(0);
            let rows_brought = made.rows_brought.map(|rows| rows as u64);
            redo.tables.push(Redone { name: made.name, oid: made.oid, rows: rows as u64, rows_brought });
        }
    }
    Ok(redo)
}

/// Drops tables that depend on each other, and the views that candlefish made over them.
pub async fn drop_tables(transaction: &Transaction<'_>, schema: &str, redo: &Redo) -> Result<()> {
    if redo.tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = redo.tables.iter().map(|table| table.name.to_string()).collect();
    let names = names.join(", ");
    let locked = transaction.batch_execute(&format!("LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")).await;
    locked.map_err(|error| sql_failure(error.into()).context("lock what earlier runs have made"))?;
    let oids: Vec<u32> = redo.tables.iter().map(|table| table.oid).collect();
    let texts: Vec<String> = redo.tables.iter().map(|table| table.name.to_string()).collect();
    let same = include_str!("queries/same_tables.sql");
    if transaction.query_one(same, &[&texts, &oids]).await?.get::<_, i64>(0) != oids.len() as i64 {
        bail!(
            Failure::new("target_changed", "a table that --replace would drop has been replaced by another meanwhile").hint("Try again.")
        );
    }
    for view in
        own_views(transaction, schema).await?.iter().filter(|view| redo.views.iter().any(|wanted| names::may_become(wanted, &view.name)))
    {
        transaction.batch_execute(&format!("DROP VIEW {view}")).await.map_err(|error| sql_failure(error.into()))?;
    }
    transaction
        .batch_execute(&format!("DROP TABLE {names}"))
        .await
        .map_err(|error| sql_failure(error.into()).context("drop what earlier runs have made"))?;
    // Functions last: triggers that went with their tables were what used them.
    let sql = include_str!("queries/own_functions.sql");
    for row in transaction.query(sql, &[&schema]).await.context("look for functions that candlefish made")? {
        let drop = format!("DROP FUNCTION {}", row.get::<_, &str>(0));
        transaction.batch_execute(&drop).await.map_err(|error| sql_failure(error.into()))?;
    }
    Ok(())
}

/// Views that runs made, the newest first.
async fn own_views(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<QualifiedName>> {
    let sql = include_str!("queries/own_views.sql");
    let rows = transaction.query(sql, &[&schema]).await.context("look for views that candlefish made")?;
    Ok(rows.iter().map(|row| QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}

/// The schema itself, and what migrations make in it.
pub async fn make_schema(client: &mut Client, run: &Run, migrations: Option<&Migrations>) -> Result<()> {
    if run.plan.create_schema {
        client.batch_execute(&statement::create_schema(&run.plan.schema)).await.context("create the target schema")?;
    }
    if let Some(migrations) = migrations {
        let mut notes = |event: Event| run.send(event);
        migrations.apply(client, &Name::new(run.plan.schema.as_str()), Section::Schema, None, &mut notes).await?;
    }
    Ok(())
}

/// Makes derived tables, and adds to those that exist the columns that they lack; what is done already is left alone.
pub async fn make_tables(client: &mut Client, run: &Run) -> Result<Built> {
    let mut built = Built::default();
    let tables = || run.plan.tables.iter().enumerate();
    for (table, _) in tables() {
        if let Some(made) = run.standing.step(&table_step(table)) {
            built.merge(made.clone());
        }
    }
    let derived = |(table, plan): &(usize, &TablePlan)| plan.create.is_some() && run.standing.step(&table_step(*table)).is_none();
    for batch in tables().filter(derived).collect::<Vec<_>>().chunks(TABLES_A_TRANSACTION) {
        let transaction = client.transaction().await.map_err(|error| sql_failure(error.into()))?;
        let mut steps = Vec::with_capacity(batch.len());
        let together = make_together(&transaction, batch).await?;
        for (table, plan) in batch {
            let made = if together { Built::default() } else { make_table(&transaction, plan).await? };
            steps.push((table_step(*table), made.said()?));
            built.merge(made);
        }
        let sources: Vec<&str> = batch.iter().map(|(_, plan)| plan.source.as_str()).collect();
        Journal::made_now(&transaction, &run.id, &sources).await?;
        Journal::steps_done(&transaction, &run.id, &steps).await?;
        transaction.commit().await.map_err(|error| sql_failure(error.into())).context("commit the tables")?;
        run.advance();
    }
    let lacking =
        |(table, plan): &(usize, &TablePlan)| !plan.added_columns.is_empty() && run.standing.step(&columns_step(*table)).is_none();
    for (table, plan) in tables().filter(lacking) {
        let transaction = client.transaction().await.map_err(|error| sql_failure(error.into()))?;
        for (name, column_type) in &plan.added_columns {
            let added = transaction.batch_execute(&statement::add_column(&plan.target, name, &column_type.sql)).await;
            added.map_err(|error| sql_failure(error.into())).with_context(|| format!("add column {name} to {}", plan.target))?;
        }
        Journal::steps_done(&transaction, &run.id, &[(columns_step(table), Built::default().said()?)]).await?;
        transaction.commit().await.map_err(|error| sql_failure(error.into())).context("commit the columns")?;
        run.advance();
    }
    Ok(built)
}

/// Readies tables that exist for their rows: what would slow or stop the copy is taken away, and what is to go first is emptied.
pub async fn ready_tables(client: &mut Client, run: &Run) -> Result<()> {
    let waiting = |(table, plan): &(usize, &TablePlan)| plan.create.is_none() && run.standing.step(&table_step(*table)).is_none();
    let existing: Vec<(usize, &TablePlan)> = run.plan.tables.iter().enumerate().filter(waiting).collect();
    if existing.is_empty() {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(|error| sql_failure(error.into()))?;
    let mut steps = Vec::with_capacity(existing.len());
    for (table, plan) in &existing {
        ready_table(&transaction, &run.id, plan).await.with_context(|| format!("make table {} ready", plan.target))?;
        steps.push((table_step(*table), Built::default().said()?));
    }
    let mut truncated = Vec::new();
    for (_, plan) in existing.iter().filter(|(_, plan)| plan.truncate) {
        truncated.push((&plan.target, is_partitioned(&transaction, &plan.target).await?));
    }
    if !truncated.is_empty() {
        transaction
            .batch_execute(&statement::truncate(&truncated))
            .await
            .map_err(|error| sql_failure(error.into()))
            .context("empty the tables")?;
    }
    Journal::steps_done(&transaction, &run.id, &steps).await?;
    transaction.commit().await.map_err(|error| sql_failure(error.into())).context("commit the tables")?;
    run.advance();
    Ok(())
}

/// CREATE TABLE of them all at once; false, and nothing is made, when PostgreSQL refuses one.
async fn make_together(transaction: &Transaction<'_>, batch: &[(usize, &TablePlan)]) -> Result<bool> {
    let created = batch.iter().filter_map(|(_, table)| Some(statement::create_table(&table.target, table.create.as_ref()?, false)));
    let statements = created.collect::<Vec<_>>().join(";\n");
    transaction.batch_execute("SAVEPOINT together").await?;
    match transaction.batch_execute(&statements).await {
        Ok(()) => Ok(true),
        Err(error) if is_about_object(&error) => {
            transaction.batch_execute("ROLLBACK TO SAVEPOINT together").await?;
            Ok(false)
        }
        Err(error) => Err(sql_failure(error.into())).context("create tables"),
    }
}

/// One CREATE TABLE; when PostgreSQL refuses it with its defaults and generated columns, it is made without, and each is tried alone.
async fn make_table(transaction: &Transaction<'_>, table: &TablePlan) -> Result<Built> {
    let mut built = Built::default();
    let Some(create) = &table.create else { return Ok(built) };
    transaction.batch_execute("SAVEPOINT one_table").await?;
    let Err(error) = transaction.batch_execute(&statement::create_table(&table.target, create, false)).await else { return Ok(built) };
    if !is_about_object(&error) {
        return Err(sql_failure(error.into())).with_context(|| format!("create table {}", table.target));
    }
    let has_extras = create.columns.iter().any(|column| column.default.is_some());
    if !has_extras || create.columns.iter().any(|column| column.generated.is_some()) {
        return Err(sql_failure(error.into())).with_context(|| format!("create table {}", table.target));
    }
    transaction.batch_execute("ROLLBACK TO SAVEPOINT one_table").await?;
    let plain = statement::create_table(&table.target, create, true);
    transaction
        .batch_execute(&plain)
        .await
        .map_err(|error| sql_failure(error.into()))
        .with_context(|| format!("create table {}", table.target))?;
    for column in &create.columns {
        let Some(default) = &column.default else { continue };
        transaction.batch_execute("SAVEPOINT one_default").await?;
        if let Err(error) = transaction.batch_execute(&statement::set_default(&table.target, &column.name, default)).await {
            transaction.batch_execute("ROLLBACK TO SAVEPOINT one_default").await?;
            let object = format!("{}.{}", table.source, column.name.as_str());
            let reason = sql_failure(error.into()).to_string();
            built.warnings.push(Warning::loss(ObjectKind::Default, &object, &reason));
            built.todo.push(Todo { kind: ObjectKind::Default, object, reason, original: default.clone() });
        }
    }
    Ok(built)
}

/// Indexes and foreign keys taken away (their definitions kept first), triggers silenced.
async fn ready_table(transaction: &Transaction<'_>, run_id: &str, table: &TablePlan) -> Result<()> {
    let execute = async |sql: String| transaction.batch_execute(&sql).await.map_err(|error| sql_failure(error.into()));
    // Triggers are silenced here too: they must not fire when the table is emptied.
    for object in &table.rebuild {
        Journal::keep(transaction, run_id, object.on(&table.target), object).await?;
        execute(statement::drop_object(&table.target, object)).await?;
    }
    Ok(())
}

/// `--grant ROLE=ro|rw`
pub async fn grant(client: &Client, plan: &Plan, grants: &[Grant]) -> Result<()> {
    for grant in grants {
        let (schema, role) = (Name::new(plan.schema.as_str()), Name::new(grant.role.as_str()));
        let rights = if grant.write { "SELECT, INSERT, UPDATE, DELETE" } else { "SELECT" };
        let mut sql = format!("GRANT USAGE ON SCHEMA {schema} TO {role};");
        for table in &plan.tables {
            sql.push_str(&format!("GRANT {rights} ON TABLE {} TO {role};", table.target));
        }
        if grant.write {
            sql.push_str(&format!("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"));
        }
        client.batch_execute(&sql).await.map_err(|error| sql_failure(error.into())).with_context(|| format!("grant to {role}"))?;
    }
    Ok(())
}
