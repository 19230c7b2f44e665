//! What comes after the rows: keys, indexes, constraints, sequences, views and triggers. One object that fails never stops another.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::migrate::run::Run;
use crate::model::{Event, Name, Phase, QualifiedName};
use crate::plan::{ObjectKind, ObjectPlan, Offenders, Todo, Warning};
use crate::postgres::{Client, Journal, foreign_keys_not_valid, is_transient, orphans, sql_failure, statement};

/// What became of the objects.
#[derive(Clone, Debug, Default)]
pub struct Built {
    pub created: u64,
    pub warnings: Vec<Warning>,
    pub todo: Vec<Todo>,
}

impl Built {
    pub fn merge(&mut self, other: Built) {
        self.created += other.created;
        self.warnings.extend(other.warnings);
        self.todo.extend(other.todo);
    }
}

/// The phase that an object of this kind belongs to.
pub fn phase(kind: ObjectKind) -> Phase {
    match kind {
        ObjectKind::Check | ObjectKind::ForeignKey | ObjectKind::NotNull => Phase::Constraints,
        ObjectKind::View | ObjectKind::Trigger => Phase::Views,
        _ => Phase::Indexes,
    }
}

/// Makes one object; a failure of PostgreSQL's is kept in the warnings and the todo list, a broken connection is an error.
pub async fn build(run: &Run, client: &Client, object: &ObjectPlan) -> Result<Built> {
    let name = format!("{} {}", object.kind.as_str(), object.label);
    run.send(Event::ObjectStarted(name.clone()));
    let built = make(run, client, object).await;
    run.send(Event::ObjectEnded(name));
    built
}

async fn make(run: &Run, client: &Client, object: &ObjectPlan) -> Result<Built> {
    let mut built = Built::default();
    // Without rows that could break it, an object is made whole or not at all: statements sent together are one transaction.
    let together = [object.statements.join(";\n")];
    let steps = if object.offenders.is_some() { &object.statements[..] } else { &together[..] };
    for (step, sql) in steps.iter().enumerate() {
        let Err(error) = client.batch_execute(sql).await else { continue };
        if error.as_db_error().is_none() || is_transient(&error) {
            return Err(sql_failure(error.into())).with_context(|| format!("make {} {}", object.kind.as_str(), object.label));
        }
        let reason = sql_failure(error.into()).to_string();
        match (&object.offenders, step) {
            // The constraint stands, for new rows; old ones break it.
            (Some(_), step) if step > 0 => {
                let table = object.table.map(|table| &run.plan.tables[table].target).context("a constraint has a table")?;
                built.warnings.push(not_valid(client, object, table, &reason).await?);
            }
            _ => {
                built.warnings.push(Warning::loss(object.kind, &object.label, &reason));
                built.todo.push(Todo { kind: object.kind, object: object.label.clone(), reason, original: object_text(object) });
                return Ok(built);
            }
        }
    }
    built.created = 1;
    Ok(built)
}

/// The statements that were tried, under what SQLite said.
fn object_text(object: &ObjectPlan) -> String {
    format!("{}\n\n-- tried:\n{};", object.original, object.statements.join(";\n"))
}

/// A constraint that old rows break: it is left NOT VALID, and the rows are listed.
async fn not_valid(client: &Client, object: &ObjectPlan, table: &QualifiedName, reason: &str) -> Result<Warning> {
    match &object.offenders {
        Some(Offenders::Orphans) => foreign_key_not_valid(client, table, &object.name, &object.label).await,
        Some(Offenders::Broken { count, list }) => {
            let message =
                format!("is NOT VALID: {} (at {})", counted(client, count, "breaks it", "break it").await?, listed(client, list).await?);
            Ok(Warning { class: object.kind.allow_class(), ..Warning::weaker("constraint_not_valid", &object.label, message) })
        }
        None => Ok(Warning::weaker("constraint_not_valid", &object.label, format!("is NOT VALID: {reason}"))),
    }
}

/// A foreign key that stands for new rows only, with the old ones that have no parent.
async fn foreign_key_not_valid(client: &Client, table: &QualifiedName, constraint: &Name, label: &str) -> Result<Warning> {
    let (count, list) = orphans(client, table, constraint).await?;
    let count = counted(client, &count, "has no parent", "have no parent").await?;
    let message = format!("is NOT VALID: {count} ({})", listed(client, &list).await?);
    Ok(Warning { class: ObjectKind::ForeignKey.allow_class(), ..Warning::weaker("foreign_key_not_valid", label, message) })
}

/// `1 row has no parent`, `800 rows have no parent`
async fn counted(client: &Client, sql: &str, one: &str, many: &str) -> Result<String> {
    let count: i64 = client.query_one(sql, &[]).await.map_err(|error| sql_failure(error.into()))?.get(0);
    Ok(if count == 1 { format!("1 row {one}") } else { format!("{count} rows {many}") })
}

/// Up to five texts; more are an ellipsis.
async fn listed(client: &Client, sql: &str) -> Result<String> {
    let rows = client.query(sql, &[]).await.map_err(|error| sql_failure(error.into()))?;
    let mut texts: Vec<String> = rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect();
    if texts.len() == 5 {
        texts.push("…".into());
    }
    Ok(texts.join("; "))
}

/// Everything of a table that its own rows suffice for: keys, indexes, checks.
pub async fn build_table(run: &Arc<Run>, client: &Client, table: usize) -> Result<(Built, Vec<(Phase, Instant)>)> {
    let mut built = Built::default();
    let mut spans = Vec::new();
    for object in &run.plan.objects {
        if object.table != Some(table) || matches!(object.kind, ObjectKind::ForeignKey | ObjectKind::Trigger | ObjectKind::View) {
            continue;
        }
        let started = Instant::now();
        built.merge(build(run, client, object).await?);
        spans.push((phase(object.kind), started));
    }
    let plan = &run.plan.tables[table];
    for object in plan.rebuild.iter().filter(|object| object.kind == crate::plan::target::RebuildKind::Index) {
        let started = Instant::now();
        let name = format!("index {}", object.name.as_str());
        run.send(Event::ObjectStarted(name.clone()));
        for sql in statement::rebuild_object(&plan.target, object) {
            client
                .batch_execute(&sql)
                .await
                .map_err(|error| sql_failure(error.into()))
                .with_context(|| format!("rebuild index {}", object.name))?;
        }
        Journal::rebuilt(client, &plan.target, object).await?;
        run.send(Event::ObjectEnded(name));
        built.created += 1;
        spans.push((Phase::Indexes, started));
    }
    Ok((built, spans))
}

/// Foreign keys that were taken away from tables that existed, back again; what the rows break is NOT VALID.
pub async fn rebuild_foreign_keys(run: &Run, client: &Client) -> Result<Built> {
    let mut built = Built::default();
    for plan in &run.plan.tables {
        for object in plan.rebuild.iter().filter(|object| object.kind == crate::plan::target::RebuildKind::ForeignKey) {
            let statements = statement::rebuild_object(&plan.target, object);
            let name = format!("foreign key {}", object.name.as_str());
            run.send(Event::ObjectStarted(name.clone()));
            let (add, validate) = statements.split_first().context("a foreign key has a statement")?;
            client
                .batch_execute(add)
                .await
                .map_err(|error| sql_failure(error.into()))
                .with_context(|| format!("rebuild foreign key {}", object.name))?;
            for sql in validate {
                let Err(error) = client.batch_execute(sql).await else { continue };
                if error.as_db_error().is_none() || is_transient(&error) {
                    return Err(sql_failure(error.into())).with_context(|| format!("validate foreign key {}", object.name));
                }
                let label = format!("{}.{}", plan.source, object.name.as_str());
                built.warnings.push(foreign_key_not_valid(client, &plan.target, &object.name, &label).await?);
            }
            built.created += 1;
            Journal::rebuilt(client, &plan.target, object).await?;
            run.send(Event::ObjectEnded(name));
        }
        if plan.disable_triggers {
            client.batch_execute(&statement::triggers(&plan.target, true)).await.map_err(|error| sql_failure(error.into()))?;
        }
    }
    Ok(built)
}

/// Foreign keys of this run's tables that old rows kept NOT VALID: those that nothing breaks any more become whole. Returns how many.
pub async fn validate_foreign_keys(run: &Run, client: &Client) -> Result<u64> {
    let tables: Vec<String> = run.plan.tables.iter().filter(|table| table.create.is_none()).map(|table| table.target.to_string()).collect();
    let mut validated = 0;
    for (table, name) in foreign_keys_not_valid(client, &tables).await? {
        match client.batch_execute(&statement::validate_constraint(&table, &name)).await {
            Ok(()) => validated += 1,
            Err(error) if error.as_db_error().is_some() && !is_transient(&error) => {}
            Err(error) => return Err(sql_failure(error.into())).with_context(|| format!("validate foreign key {name}")),
        }
    }
    Ok(validated)
}

/// Identity and serial columns go on where SQLite would.
pub async fn set_sequences(run: &Run, client: &Client) -> Result<Built> {
    let mut built = Built::default();
    for plan in &run.plan.tables {
        let Some(sequence) = &plan.sequence else { continue };
        for sql in statement::set_sequence(&plan.target, sequence) {
            if let Err(error) = client.batch_execute(&sql).await {
                let reason = sql_failure(error.into()).to_string();
                built.warnings.push(Warning::loss(ObjectKind::Sequence, format!("{}.{}", plan.source, sequence.column.as_str()), reason));
            }
        }
    }
    Ok(built)
}
