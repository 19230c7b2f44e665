//! What migrations that come after the rows will leave NOT VALID: they are tried over the tables as they are now, and what they make is held against the
//! rows that were filled for a try.

use std::collections::HashSet;

use anyhow::Result;

use super::orphans::StandIns;
use super::{Try, keys};
use crate::migrate::{Job, unproven};
use crate::model::{Failure, Name, QualifiedName, Section};
use crate::plan::target::TargetSchema;
use crate::plan::{Plan, Warning};
use crate::postgres::{
    ForeignKeySides, Migrations, RowConstraint, Transaction, database_error, foreign_key_sides, regclasses, row_constraints, statement,
};

/// The target's tables, as they are when its migrations before the rows have run.
pub struct Tables<'a> {
    pub target: &'a TargetSchema,
    /// Places in the plan of those that were there before.
    pub there: HashSet<usize>,
}

impl Tables<'_> {
    /// The places of the plan's tables that are there; to be asked before anything is made.
    pub async fn there(transaction: &Transaction<'_>, plan: &Plan) -> Result<HashSet<usize>> {
        let names: Vec<String> = plan.tables.iter().map(|table| table.target.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let classes = regclasses(transaction, &names).await?;
        Ok((0..classes.len()).filter(|place| classes[*place].is_some()).collect())
    }
}

/// A constraint that migrations make, or leave NOT VALID, and where its rows are.
struct Held {
    constraint: RowConstraint,
    label: String,
    rows: QualifiedName,
    /// Of a foreign key.
    sides: Option<ForeignKeySides>,
}

/// What the run will say when the last migration has run. A migration that can be seen not to run is a failure, as it will be then.
pub async fn left_not_valid(
    transaction: &Transaction<'_>,
    job: &Job,
    plan: &Plan,
    tries: &[Try],
    tables: &Tables<'_>,
) -> Result<Vec<Warning>> {
    let Some(migrations) = &job.migrations else { return Ok(Vec::new()) };
    transaction.batch_execute("SAVEPOINT migrations").await?;
    let held = held(transaction, migrations, plan, tries).await;
    // The locks that the migrations took go with it.
    transaction.batch_execute("ROLLBACK TO SAVEPOINT migrations").await?;
    let held = match held {
        Ok(held) => held,
        Err(error) if database_error(&error).is_some() || error.is::<Failure>() && !is_certain(&error, migrations, plan) => {
            let message = format!("what migrations after the rows leave NOT VALID is not foretold: {error:#}");
            return Ok(vec![Warning::note("not_foretold", plan.schema.as_str(), message)]);
        }
        Err(error) => return Err(error),
    };
    let (mut said, mut is_open) = (Vec::new(), false);
    for Held { constraint, label, rows, sides } in held {
        transaction.batch_execute("SAVEPOINT constraint_of").await?;
        let broken = unproven::broken(transaction.client(), &constraint, &rows, sides.as_ref(), &label).await?;
        transaction.batch_execute("ROLLBACK TO SAVEPOINT constraint_of; RELEASE SAVEPOINT constraint_of").await?;
        is_open |= constraint.validated && broken.is_some();
        said.extend(broken.or_else(|| (!constraint.validated).then(|| unproven::holds(&constraint, &label))));
    }
    // A file may let a constraint be that rows break, as a generated one does, or fail for it.
    if is_open && is_all_there(plan) {
        transaction.batch_execute("SAVEPOINT migrations").await?;
        let applied = over_rows(transaction, migrations, plan, tries, tables).await;
        transaction.batch_execute("ROLLBACK TO SAVEPOINT migrations").await?;
        let is_of_rows =
            |failure: &Failure| failure.sqlstate.as_ref().is_some_and(|state| state.starts_with("22") || state.starts_with("23"));
        if let Err(error) = applied
            && (error.downcast_ref().is_some_and(is_of_rows) || database_error(&error).is_none() && !error.is::<Failure>())
        {
            return Err(error);
        }
    }
    Ok(said)
}

/// The same migrations over the rows themselves, where nobody else can see them.
async fn over_rows(transaction: &Transaction<'_>, migrations: &Migrations, plan: &Plan, tries: &[Try], tables: &Tables<'_>) -> Result<()> {
    for one in tries {
        let table = &plan.tables[one.place];
        let known = tables.target.tables.iter().find(|known| known.name == table.target && !tables.there.contains(&one.place));
        let Some(known) = known else { return Ok(()) };
        for object in &table.rebuild {
            transaction.batch_execute(&statement::drop_object(&table.target, object)).await?;
        }
        let columns: Vec<&Name> = known.columns.iter().filter(|column| !column.generated).map(|column| &column.name).collect();
        transaction.batch_execute(&statement::insert_all(&table.target, &one.plan.target, &columns)).await?;
    }
    migrations.rehearse(transaction, &Name::new(plan.schema.as_str()), Section::Indexes).await
}

async fn held(transaction: &Transaction<'_>, migrations: &Migrations, plan: &Plan, tries: &[Try]) -> Result<Vec<Held>> {
    for (place, table) in plan.tables.iter().enumerate() {
        let Some(create) = &table.create else { continue };
        transaction.batch_execute(&statement::create_table(&table.target, create, false)).await?;
        for sql in keys(plan, place).flat_map(|(_, object)| &object.statements) {
            transaction.batch_execute(sql).await?;
        }
    }
    let tables: Vec<String> = plan.tables.iter().map(|table| table.target.to_string()).collect();
    let known = row_constraints(transaction, &tables, true).await?;
    let known: HashSet<(String, &str)> = known.iter().map(|constraint| (constraint.table.to_string(), constraint.name.as_str())).collect();
    transaction.batch_execute("SET LOCAL lock_timeout = '10s'").await?;
    migrations.rehearse(transaction, &Name::new(plan.schema.as_str()), Section::Indexes).await?;
    let stand_ins = StandIns::read(transaction, &plan.tables, tries).await?;
    let mut held = Vec::new();
    for constraint in row_constraints(transaction, &tables, true).await? {
        let is_known = known.contains(&(constraint.table.to_string(), constraint.name.as_str()));
        let Some(label) = unproven::label(plan, &constraint).filter(|_| !constraint.validated || !is_known) else { continue };
        let sides = match constraint.condition {
            None => Some(stand_ins.sides(&constraint.table, foreign_key_sides(transaction, &constraint.table, &constraint.name).await?)),
            Some(_) => None,
        };
        held.push(Held { rows: stand_ins.of(&constraint.table).clone(), constraint, label, sides });
    }
    Ok(held)
}

/// What fails here fails in the run: no rows, and nothing that only the run makes, can be what is missing.
fn is_certain(error: &anyhow::Error, migrations: &Migrations, plan: &Plan) -> bool {
    let Some(failure) = error.downcast_ref::<Failure>() else { return false };
    let is_of_the_statement = failure.sqlstate.as_ref().is_none_or(|state| state.starts_with("42"));
    is_of_the_statement && is_all_there(plan) && !Section::ALL.iter().any(|section| migrations.has_files_outside_transactions(*section))
}

/// The run makes nothing but what the migrations make.
fn is_all_there(plan: &Plan) -> bool {
    plan.objects.is_empty() && plan.tables.iter().all(|table| table.create.is_none())
}
