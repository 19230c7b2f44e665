//! Whether the views will be read to their end: they are made over the tables that were filled for a try, and read as the run will read them.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Try;
use crate::migrate::Job;
use crate::migrate::readable::{self, ALL, ONE, View};
use crate::model::Schema;
use crate::plan::{ObjectKind, Plan, Warning, read_by_view};
use crate::postgres::{Transaction, is_about_object, sql_failure, statement};

/// Rows and bytes of all the tables that views read, beyond which they are not filled for a try.
const MOST_ROWS: u64 = 200_000;
const MOST_BYTES: u64 = 64 << 20;

/// The tables, by their places in the plan, that the views read which the run makes; none where they are too large to be filled for a try.
pub fn tables_read(plan: &Plan) -> HashSet<usize> {
    let mut names: HashSet<String> = HashSet::new();
    for view in readable::made(plan) {
        names.extend(read_by_view(&view.original).iter().map(|name| name.to_ascii_lowercase()));
    }
    let is_read = |place: &usize| names.contains(&plan.tables[*place].source.to_ascii_lowercase());
    let places: HashSet<usize> = (0..plan.tables.len()).filter(is_read).collect();
    let tables = || places.iter().map(|place| &plan.tables[*place]).filter(|table| !table.without_data);
    let (rows, bytes): (u64, u64) = (tables().map(|table| table.rows).sum(), tables().map(|table| table.bytes).sum());
    if rows > MOST_ROWS || bytes > MOST_BYTES { HashSet::new() } else { places }
}

/// The views of which it is to be said whether they can be read.
pub fn any(job: &Job, schema: &Schema, plan: &Plan) -> bool {
    readable::made(plan).next().is_some() || readable::of_migrations(job, schema, plan).next().is_some()
}

/// Says of each view that PostgreSQL will not be able to make or to read that it is lost; and which could not be tried. `filled` are the tables that were
/// filled for that.
pub async fn read(
    transaction: &Transaction<'_>,
    job: &Job,
    (schema, plan): (&Schema, &Plan),
    tries: &[Try],
    filled: &HashSet<usize>,
) -> Result<Vec<Warning>> {
    let began = Instant::now();
    let mut said = Vec::new();
    let mut untried: Vec<String> = readable::of_migrations(job, schema, plan).map(|view| view.label).collect();
    // A view calls its tables by their names, which are those of no other temporary table.
    for one in tries.iter().filter(|one| filled.contains(&one.place)) {
        let known = &plan.tables[one.place].target;
        transaction.batch_execute(&statement::rename_table(&one.plan.target, &known.name)).await?;
    }
    let statements = plan.objects.iter().filter(|object| object.kind == ObjectKind::View).map(|object| object.tried.join(";\n"));
    for (view, statements) in readable::made(plan).zip(statements) {
        let left = ONE.min(ALL.saturating_sub(began.elapsed()));
        if left.is_zero() || statements.is_empty() || reads_other(plan, filled, &untried, &view) {
            untried.push(view.label);
            continue;
        }
        transaction.batch_execute("SAVEPOINT view").await?;
        match transaction.batch_execute(&statements).await {
            Ok(()) => {}
            Err(error) if is_about_object(&error) => {
                transaction.batch_execute("ROLLBACK TO SAVEPOINT view").await?;
                let reason = sql_failure(error.into()).to_string().replace("pg_temp.", &format!("{}.", plan.schema));
                said.push(Warning::loss(ObjectKind::View, &view.label, reason));
                continue;
            }
            Err(error) => return Err(sql_failure(error.into())),
        }
        // A time limit goes with its savepoint.
        transaction.batch_execute("SAVEPOINT reading").await?;
        match transaction.batch_execute(&statement::read_to_the_end("pg_temp", &view.name, left)).await {
            Ok(()) => {}
            Err(error) if is_about_object(&error) => said.push(readable::unreadable(&job.snapshot, &view, error).await?),
            Err(error) if error.as_db_error().is_some() => untried.push(view.label),
            Err(error) => return Err(sql_failure(error.into())),
        }
        transaction.batch_execute("ROLLBACK TO SAVEPOINT reading").await.context("go on after a view")?;
    }
    if !untried.is_empty() {
        let number = if untried.len() == 1 { "1 view that is".to_string() } else { format!("{} views that are", untried.len()) };
        let message = format!(
            "has {number} read only when the rows have come; one that PostgreSQL cannot read then, as for an integer that outgrows bigint, is a loss: {}",
            untried.join(", ")
        );
        said.push(Warning::note("views_not_foretold", plan.schema.as_str(), message));
    }
    Ok(said)
}

/// True where the view reads a table that was not filled, or a view of which nothing is known.
fn reads_other(plan: &Plan, filled: &HashSet<usize>, untried: &[String], view: &View) -> bool {
    read_by_view(&view.original).iter().any(|name| {
        let table = plan.tables.iter().position(|table| table.source.eq_ignore_ascii_case(name));
        table.is_some_and(|place| !filled.contains(&place)) || untried.iter().any(|view| view.eq_ignore_ascii_case(name))
    })
}
