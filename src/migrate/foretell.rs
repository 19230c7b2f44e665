//! What PostgreSQL itself would refuse of the rows, found out before the run: tables that are there already are filled for a try, as temporary
//! tables with the same types, constraints and unique indexes, in a transaction that is rolled back. So are tables with columns of types that
//! only PostgreSQL knows, or that it computes, tables whose rows may be in the way of their keys, those that views read,
//! and those whose foreign keys SQLite cannot tell of.

mod computed;
mod keyless;
mod migrations;
mod orphans;
mod views;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;

use self::migrations::Tables;
use self::orphans::StandIns;
use crate::migrate::careful::{self, BATCH_ROWS, Batch};
use crate::migrate::copy::{ChunkCount, copied_columns};
use crate::migrate::encode::{self, RowEncoder};
use crate::migrate::rehearse::Rehearsal;
use crate::migrate::{Job, Prepared, finish, prepare, rejects};
use crate::model::{Name, QualifiedName, Schema, TypeKind};
use crate::plan::mapping::type_from_sql;
use crate::plan::target::TargetSchema;
use crate::plan::{ColumnPlan, KEY_BYTES, ObjectKind, ObjectPlan, Plan, TablePlan, Warning};
use crate::postgres::{SqlError, Transaction, database_error, is_about_object, partitions, read_schema, sql_failure, statement};
use crate::sqlite::{Scan, Snapshot};

/// A table that is filled for a try.
struct Try {
    /// Its place in the plan.
    place: usize,
    /// Its keys and indexes are made too: its rows may be in their way, or a view may need them.
    with_keys: bool,
    /// The plan, into the temporary table.
    plan: TablePlan,
    /// The table's partitions, and what stands for them.
    partitions: Vec<(QualifiedName, QualifiedName)>,
    /// What PostgreSQL calls the temporary tables and their indexes, and what a person knows them by.
    names: Vec<(String, String)>,
}

impl Try {
    /// PostgreSQL's words as the run would have them.
    fn as_known(&self, said: &str) -> String {
        self.names.iter().fold(said.to_string(), |said, (ours, known)| said.replace(ours, known))
    }
}

/// Only PostgreSQL can say what it takes: its own tables with their constraints, types that are known to it alone, columns that it computes.
fn is_asked(table: &TablePlan) -> bool {
    // A domain may have a check of its own.
    let unknown = |column: &ColumnPlan| type_from_sql(&column.column_type.sql).kind == TypeKind::Other;
    let computes = || table.create.iter().flat_map(|create| &create.columns).any(|column| column.generated.is_some());
    !table.without_data && table.rows > 0 && (table.create.is_none() || computes() || encode::copied(table).any(unknown))
}

/// PostgreSQL may refuse a key or an index of a derived table for what is in its rows: values that became equal, or were in SQLite, values that are long.
fn may_lose_a_key(prepared: &Prepared, place: usize) -> bool {
    let table = &prepared.plan.tables[place];
    if table.create.is_none() || !keys(&prepared.plan, place).any(|_| true) {
        return false;
    }
    let merged = |warning: &Warning| {
        warning.code == "values_merged"
            && table.columns.iter().any(|column| warning.object == format!("{}.{}", table.source, column.source))
    };
    let profile = prepared.inspected.as_ref().and_then(|inspected| inspected.profiles.get(table.source_index));
    let in_index = |column: usize| {
        let source = &prepared.schema.tables[table.source_index];
        let in_key = source.primary_key.as_ref().is_some_and(|key| key.columns.contains(&column));
        // An expression may be of any column.
        in_key || source.indexes.iter().flat_map(|index| &index.columns).any(|indexed| indexed.column.is_none_or(|known| known == column))
    };
    let is_long = |column: &ColumnPlan| {
        profile.is_some_and(|profile| profile.columns[column.source_index].max_bytes > KEY_BYTES) && in_index(column.source_index)
    };
    // What its type calls equal is the server's to say.
    let is_foreign = |column: &ColumnPlan| type_from_sql(&column.column_type.sql).kind == TypeKind::Other && in_index(column.source_index);
    // Nothing has kept its values apart in SQLite.
    let is_added = keys(&prepared.plan, place).any(|(_, key)| prepared.plan.is_added_key(key));
    is_added || prepared.plan.warnings.iter().any(merged) || table.columns.iter().any(|column| is_long(column) || is_foreign(column))
}

/// The keys and indexes that a table gets, with their places in the plan.
fn keys(plan: &Plan, place: usize) -> impl Iterator<Item = (usize, &ObjectPlan)> {
    let kinds = [ObjectKind::PrimaryKey, ObjectKind::Unique, ObjectKind::Index];
    plan.objects.iter().enumerate().filter(move |(_, object)| object.table == Some(place) && kinds.contains(&object.kind))
}

/// Adds to the rehearsal the rows that PostgreSQL refuses, and the foreign keys of tables that are there which the rows would break. When it may
/// not be asked in this way, a note says what is not foretold.
pub async fn ask(job: &Job, prepared: &mut Prepared, rehearsal: &mut Rehearsal) -> Result<()> {
    for table in &prepared.plan.tables {
        for key in table.rebuild.iter().filter(|object| object.switched.is_some()) {
            let label = format!("{}.{}", table.source, key.name.as_str());
            rehearsal.broken.extend(finish::fires_again(&prepared.control, key, &label).await?);
        }
    }
    let viewed = views::tables_read(&prepared.plan);
    let tried = |place: usize| {
        let table = &prepared.plan.tables[place];
        // A view may group by a key, and so select what depends on it.
        let with_keys = viewed.contains(&place) || !table.without_data && table.rows > 0 && may_lose_a_key(prepared, place);
        (is_asked(table) || with_keys).then_some((place, with_keys))
    };
    let mut places: Vec<(usize, bool)> = (0..prepared.plan.tables.len()).filter_map(tried).collect();
    let inspected = prepared.inspected.as_ref();
    let is_asked = !places.is_empty() || views::any(job, &prepared.schema, &prepared.plan) || job.migrations.is_some();
    if !is_asked && orphans::doubtful(&prepared.plan, inspected, rehearsal).is_empty() {
        return Ok(());
    }
    let transaction = prepared.control.transaction().await?;
    let asked = async {
        let there = Tables::there(&transaction, &prepared.plan).await?;
        prepare::make_ready(&transaction, job, &prepared.redo).await?;
        let target = read_schema(&transaction, &job.options.schema).await?;
        let mut tries: Vec<Try> = Vec::new();
        // What is refused of one table may be the parents of rows of another.
        let doubtful = loop {
            let first = tries.len();
            for (place, with_keys) in std::mem::take(&mut places) {
                let plan = &prepared.plan.tables[place];
                let (temporary, partitions) =
                    make(&transaction, place, plan, &target).await.with_context(|| format!("try table {}", plan.target))?;
                let names = known_names(&transaction, plan, &temporary, &partitions).await?;
                tries.push(Try { place, with_keys, plan: TablePlan { target: temporary, ..plan.clone() }, partitions, names });
            }
            // As in the run: a key that is put off to the end would never be checked here.
            transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
            for one in tries[first..].iter().filter(|one| !one.plan.without_data) {
                fill(&transaction, &job.snapshot, &prepared.schema, one, rehearsal)
                    .await
                    .with_context(|| format!("try table {}", prepared.plan.tables[one.place].target))?;
                let plan = &prepared.plan.tables[one.place];
                rehearsal.tables[one.place].differences = computed::differences(&transaction, job, &prepared.schema, plan, one)
                    .await
                    .with_context(|| format!("compare what {} computes", plan.target))?;
            }
            let doubtful = orphans::doubtful(&prepared.plan, inspected, rehearsal);
            let is_new = |place: &usize| tries.iter().all(|one| one.place != *place);
            places = orphans::to_be_filled(&prepared.plan, &doubtful).filter(is_new).map(|place| (place, false)).collect();
            if places.is_empty() {
                break doubtful;
            }
        };
        let mut tried = Vec::new();
        for one in tries.iter().filter(|one| one.with_keys) {
            tried.extend(keys_of(&transaction, &prepared.plan, one, rehearsal).await?);
        }
        orphans::of_plan(&transaction, (&prepared.schema, &prepared.plan), &doubtful, &tries, &tried, rehearsal).await?;
        keyless::lost(&transaction, &prepared.plan, &target, &tries, &tried, rehearsal).await?;
        let tables = Tables { target: &target, there };
        let stand_ins = StandIns::read(&transaction, &prepared.plan.tables, &tries).await?;
        for one in &tries {
            orphans::of_given(&transaction, &prepared.plan.tables[one.place], &stand_ins, rehearsal).await?;
        }
        rehearsal.broken.extend(migrations::left_not_valid(&transaction, job, &prepared.plan, &tries, &tables).await?);
        rehearsal.broken.extend(views::read(&transaction, job, (&prepared.schema, &prepared.plan), &tries, &viewed).await?);
        Ok(tried)
    };
    let asked: Result<Vec<(usize, bool)>> = asked.await;
    let error = match asked {
        Ok(tried) => {
            transaction.rollback().await.map_err(|error| sql_failure(error.into()))?;
            prepared.plan.settle(&tried);
            return Ok(());
        }
        Err(error) => error,
    };
    // Neither a right to make temporary tables nor room for them is needed by the run itself.
    let Some(refusal) = database_error(&error).map(|refusal| refusal.message().to_string()) else { return Err(error) };
    transaction.rollback().await.map_err(|error| sql_failure(error.into()))?;
    let message = format!(
        "what only PostgreSQL can tell (duplicates, checks, domains, types, some keys, views that it cannot read) is not foretold: {refusal}"
    );
    rehearsal.broken.push(Warning::note("not_foretold", job.options.schema.as_str(), message));
    Ok(())
}

/// A table or a partition, and the temporary one that stands for it.
type StandIn = (QualifiedName, QualifiedName);

/// An empty temporary table like the one of the plan, with its partitions, and with the rows that stay in that.
async fn make(
    transaction: &Transaction<'_>,
    place: usize,
    plan: &TablePlan,
    target: &TargetSchema,
) -> Result<(QualifiedName, Vec<StandIn>)> {
    let name = QualifiedName::new("pg_temp", Name::new(format!("candlefish_try_{place}")));
    if let Some(create) = &plan.create {
        transaction.batch_execute(&statement::create_table(&name, create, false)).await?;
        return Ok((name, Vec::new()));
    }
    let given = target.tables.iter().find(|table| table.name == plan.target).context("the table is there")?;
    let filled = |column: &Name| encode::copied(plan).any(|copied| copied.target == *column);
    let drawn: Vec<&Name> =
        given.columns.iter().filter(|column| column.sequence && !filled(&column.name)).map(|column| &column.name).collect();
    let parts = partitions(transaction, &plan.target).await?;
    let by = parts.first().and_then(|whole| whole.by.as_deref());
    transaction.batch_execute(&statement::create_like(&name, &plan.target, by, &drawn)).await?;
    let mut stand_ins = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let Some((of, bounds)) = &part.part else { continue };
        let temporary = QualifiedName::new("pg_temp", Name::new(format!("{}_part_{number}", name.name.as_str())));
        let whole = stand_ins.iter().find(|(known, _): &&StandIn| known == of).map_or(&name, |(_, temporary)| temporary);
        let attach = statement::attach_partition(whole, &temporary, bounds);
        let like = statement::create_like(&temporary, &part.name, part.by.as_deref(), &[]);
        transaction.batch_execute(&format!("{like}; {attach}")).await.with_context(|| format!("try partition {}", part.name))?;
        stand_ins.push((part.name.clone(), temporary));
    }
    for (column, column_type) in &plan.added_columns {
        transaction.batch_execute(&statement::add_column(&name, column, &column_type.sql)).await?;
    }
    if plan.had_rows && !plan.truncate {
        let kept: Vec<&Name> = given.columns.iter().filter(|column| !column.generated).map(|column| &column.name).collect();
        transaction.batch_execute(&statement::insert_all(&name, &plan.target, &kept)).await?;
    }
    Ok((name, stand_ins))
}

/// The names of the temporary tables and their indexes with those that they stand for; one that begins with another comes first.
async fn known_names(
    transaction: &Transaction<'_>,
    plan: &TablePlan,
    temporary: &QualifiedName,
    partitions: &[StandIn],
) -> Result<Vec<(String, String)>> {
    let mut names = Vec::new();
    for (known, ours) in partitions.iter().map(|(known, ours)| (known, ours)).chain([(&plan.target, temporary)]) {
        names.push((ours.name.as_str().to_string(), known.name.as_str().to_string()));
        if plan.create.is_none() {
            let sql = include_str!("queries/copied_indexes.sql");
            let copied = transaction.query(sql, &[&ours.to_string(), &known.to_string()]).await.context("read the copied indexes")?;
            names.extend(copied.iter().map(|row| (row.get(0), row.get(1))));
        }
    }
    names.sort_by_key(|(ours, _)| std::cmp::Reverse(ours.len()));
    Ok(names)
}

/// Makes the table's keys and indexes; those that the rows do not let be are noted as the run will say it. The answer is of those that may be made
/// in two forms: whether it was the first.
async fn keys_of(transaction: &Transaction<'_>, plan: &Plan, one: &Try, rehearsal: &mut Rehearsal) -> Result<Vec<(usize, bool)>> {
    let mut tried = Vec::new();
    for (place, object) in keys(plan, one.place) {
        let mut refused = attempt(transaction, plan, one, &object.statements).await?;
        let is_out_of_room = refused.as_ref().is_some_and(|error| finish::is_out_of_room(object, error));
        if let Some(otherwise) = object.otherwise.as_ref().filter(|_| is_out_of_room) {
            refused = attempt(transaction, plan, one, &otherwise.statements).await?;
        }
        match refused {
            Some(error) => {
                rehearsal.broken.push(Warning::loss(object.kind, &object.label, one.as_known(&sql_failure(error.into()).to_string())));
            }
            None => tried.push((place, !is_out_of_room)),
        }
    }
    Ok(tried)
}

/// Runs an object's statements on the temporary table, whole or not at all; the answer is PostgreSQL's refusal of them.
async fn attempt(transaction: &Transaction<'_>, plan: &Plan, one: &Try, statements: &[String]) -> Result<Option<SqlError>> {
    let (target, temporary) = (plan.tables[one.place].target.to_string(), one.plan.target.to_string());
    let statements: Vec<String> = statements.iter().map(|sql| sql.replacen(&target, &temporary, 1)).collect();
    transaction.batch_execute("SAVEPOINT key").await?;
    match transaction.batch_execute(&statements.join(";\n")).await {
        Ok(()) => transaction.batch_execute("RELEASE SAVEPOINT key").await?,
        Err(error) if is_about_object(&error) => {
            transaction.batch_execute("ROLLBACK TO SAVEPOINT key").await?;
            return Ok(Some(error));
        }
        Err(error) => return Err(sql_failure(error.into())),
    }
    Ok(None)
}

/// The rows of the source, as the run would bring them; what comes back is noted.
async fn fill(
    transaction: &Transaction<'_>,
    snapshot: &Arc<Snapshot>,
    schema: &Arc<Schema>,
    one: &Try,
    rehearsal: &mut Rehearsal,
) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = {
        let (snapshot, schema, plan) = (Arc::clone(snapshot), Arc::clone(schema), one.plan.clone());
        tokio::task::spawn_blocking(move || read(&snapshot, &schema, &plan, &sender))
    };
    let mut count = ChunkCount::default();
    let mut refused = Vec::new();
    let mut sent: Result<()> = Ok(());
    while let Some(batch) = receiver.recv().await {
        sent = careful::copy_batch(transaction.client(), &one.plan, &batch, &mut count, &mut refused, |_, _, _| Ok(())).await;
        for row in refused.drain(..) {
            let found = &mut rehearsal.tables[one.place];
            found.rows_rejected += 1;
            for (column, reason) in &row.also {
                found.note(column, || row.key.clone(), one.as_known(reason));
            }
            found.note(row.column.as_deref().unwrap_or_default(), || row.key, one.as_known(&row.reason));
        }
        if sent.is_err() {
            break;
        }
    }
    // A reader that waits for room in the channel must learn that nobody takes it.
    drop(receiver);
    let read = reading.await.map_err(|_| anyhow!("a reader of the source panicked"))?;
    sent.and(read)
}

/// Rows that encode, in batches; those that do not have been noted before. Blocking.
fn read(snapshot: &Snapshot, schema: &Schema, plan: &TablePlan, sender: &mpsc::Sender<Batch>) -> Result<()> {
    let table = &schema.tables[plan.source_index];
    let columns = copied_columns(plan);
    let mut encoder = RowEncoder::new(plan, &columns);
    let mut batch = Batch::default();
    let hung_up = |_| anyhow!("the COPY has ended");
    snapshot.reader()?.scan(&Scan::table(table, &columns), |row| {
        let start = batch.bytes.len();
        if encoder.encode(row, &mut batch.bytes).is_ok() {
            batch.starts.push(start);
            batch.rows.push((row.key, rejects::key(table, &columns, row), serde_json::Value::Null));
            encoder.add_texts(row, &mut batch.texts);
        }
        if batch.starts.len() >= BATCH_ROWS || batch.bytes.len() >= careful::BATCH_BYTES {
            sender.blocking_send(std::mem::take(&mut batch)).map_err(hung_up)?;
        }
        Ok(())
    })?;
    sender.blocking_send(batch).map_err(hung_up)
}
