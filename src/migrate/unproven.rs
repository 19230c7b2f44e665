//! Foreign keys and checks that migrations have left NOT VALID: the rows that break them are listed, as those of a run's own constraints are.

use anyhow::{Context as _, Result};

use crate::migrate::finish::{self, Built};
use crate::migrate::rehearse;
use crate::migrate::run::Run;
use crate::migrate::standing::NOT_VALID_STEP;
use crate::model::QualifiedName;
use crate::plan::{ObjectKind, ObjectPlan, Plan, Warning};
use crate::postgres::{
    Client, ForeignKeySides, Journal, RowConstraint, foreign_key_sides, is_about_object, row_constraints, sql_failure, statement,
};

/// To be called when the last migration has run. What the run has made or put back itself has been said.
pub async fn left_not_valid(run: &Run, client: &Client) -> Result<Built> {
    if let Some(built) = run.standing.step(NOT_VALID_STEP) {
        return Ok(built.clone());
    }
    let mut built = Built::default();
    let tables: Vec<String> = run.plan.tables.iter().map(|table| table.target.to_string()).collect();
    for constraint in row_constraints(client, &tables, false).await? {
        let Some(label) = label(&run.plan, &constraint) else { continue };
        let sides = match constraint.condition {
            None => Some(foreign_key_sides(client, &constraint.table, &constraint.name).await?),
            Some(_) => None,
        };
        let broken = broken(client, &constraint, &constraint.table, sides.as_ref(), &label).await?;
        built.warnings.push(broken.unwrap_or_else(|| holds(&constraint, &label)));
    }
    Journal::steps_done(client, &run.id, &[(NOT_VALID_STEP.to_string(), built.said()?)]).await?;
    Ok(built)
}

/// What a person calls a constraint of one of the plan's tables that the run neither makes nor puts back.
pub fn label(plan: &Plan, constraint: &RowConstraint) -> Option<String> {
    let place = plan.tables.iter().position(|table| table.target == constraint.table)?;
    let is_put_back = plan.tables[place].rebuild.iter().any(|object| object.name == constraint.name);
    let is_ours = |object: &ObjectPlan| object.table == Some(place) && object.name == constraint.name;
    (!is_put_back && !plan.objects.iter().any(is_ours)).then(|| format!("{}.{}", plan.tables[place].source, constraint.name.as_str()))
}

/// What is said of a constraint that rows break; nothing where none does. `rows` is the table that holds them, `sides` are those of a foreign key.
pub async fn broken(
    client: &Client,
    constraint: &RowConstraint,
    rows: &QualifiedName,
    sides: Option<&ForeignKeySides>,
    label: &str,
) -> Result<Option<Warning>> {
    if let Some(sides) = sides {
        return finish::broken_key(client, sides, label).await.with_context(|| format!("look for rows that break {label}"));
    }
    let Some(condition) = &constraint.condition else { return Ok(None) };
    let message = match client.query(&statement::broken(rows, condition, &constraint.key), &[]).await {
        Ok(rows) if rows.is_empty() => return Ok(None),
        Ok(rows) => {
            let texts = rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect();
            rehearse::breaks(rows[0].get::<_, i64>(1) as u64, texts)
        }
        // A condition may fail at a row instead of being false for it, as a cast does.
        Err(error) if is_about_object(&error) => format!("is NOT VALID: {}", sql_failure(error.into())),
        Err(error) => return Err(sql_failure(error.into())).with_context(|| format!("look for rows that break {label}")),
    };
    Ok(Some(Warning { class: ObjectKind::Check.allow_class().into(), ..Warning::weaker(NOT_VALID, label, message) }))
}

const NOT_VALID: &str = "constraint_not_valid";

/// It was left NOT VALID without need.
pub fn holds(constraint: &RowConstraint, label: &str) -> Warning {
    let (code, why) = match constraint.condition {
        None => ("foreign_key_not_valid", "every row has its parent"),
        Some(_) => (NOT_VALID, "no row breaks it"),
    };
    Warning::note(code, label, format!("is NOT VALID, though {why}: ALTER TABLE … VALIDATE CONSTRAINT makes it whole"))
}
