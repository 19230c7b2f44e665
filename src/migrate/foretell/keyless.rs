//! Foreign keys that the run cannot make, since the rows do not let the key be that they reference: they are made for a try, over the tables whose keys
//! were.

use anyhow::{Context as _, Result};

use super::{Try, keys, make};
use crate::migrate::rehearse::Rehearsal;
use crate::plan::target::TargetSchema;
use crate::plan::{ObjectKind, ObjectPlan, Plan, Warning};
use crate::postgres::{Transaction, is_about_object, sql_failure};

/// Says of these foreign keys what the run will say. `tried` are the keys and indexes that could be made, and whether in their first form.
pub async fn lost(
    transaction: &Transaction<'_>,
    plan: &Plan,
    target: &TargetSchema,
    tries: &[Try],
    tried: &[(usize, bool)],
    rehearsal: &mut Rehearsal,
) -> Result<()> {
    let lacks_a_key = |one: &&Try| one.with_keys && keys(plan, one.place).any(|(key, _)| !tried.contains(&(key, true)));
    for parent in tries.iter().filter(lacks_a_key) {
        let references = |object: &&ObjectPlan| object.kind == ObjectKind::ForeignKey && object.parent == Some(parent.place);
        for object in plan.objects.iter().filter(references) {
            transaction.batch_execute("SAVEPOINT foreign_key").await?;
            let refused = refusal(transaction, plan, target, tries, parent, object).await?;
            transaction.batch_execute("ROLLBACK TO SAVEPOINT foreign_key; RELEASE SAVEPOINT foreign_key").await?;
            let Some(said) = refused else { continue };
            rehearsal.broken.retain(|other| other.object != object.label);
            rehearsal.broken.push(Warning::loss(object.kind, &object.label, parent.as_known(&said)));
        }
    }
    Ok(())
}

/// What PostgreSQL says against the key over the temporary tables; no row is looked at.
async fn refusal(
    transaction: &Transaction<'_>,
    plan: &Plan,
    target: &TargetSchema,
    tries: &[Try],
    parent: &Try,
    object: &ObjectPlan,
) -> Result<Option<String>> {
    let place = object.table.context("a foreign key has a table")?;
    let child = &plan.tables[place];
    let temporary = match tries.iter().find(|one| one.place == place) {
        Some(one) => one.plan.target.clone(),
        None => make(transaction, place, child, target).await.with_context(|| format!("try table {}", child.target))?.0,
    };
    let make = object.statements.first().context("a foreign key has a statement")?;
    let references = |table: &dyn std::fmt::Display| format!(" REFERENCES {table} (");
    let make = make.replacen(&child.target.to_string(), &temporary.to_string(), 1).replacen(
        &references(&plan.tables[parent.place].target),
        &references(&parent.plan.target),
        1,
    );
    match transaction.batch_execute(&make).await {
        Ok(()) => Ok(None),
        Err(error) if is_about_object(&error) => Ok(Some(sql_failure(error.into()).to_string())),
        Err(error) => Err(sql_failure(error.into())),
    }
}
