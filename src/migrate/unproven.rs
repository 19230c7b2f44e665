//! Foreign keys and checks that migrations have left NOT VALID: the rows that break them are listed, as those of a run's own constraints are.

use anyhow::{Context as _, Result};

use crate::migrate::finish::{self, Built};
use crate::migrate::rehearse;
use crate::migrate::run::Run;
use crate::migrate::standing::NOT_VALID_STEP;
use crate::plan::{ObjectKind, Warning};
use crate::postgres::{
    Client, ConstraintNotValid, Journal, constraints_not_valid, foreign_key_sides, is_about_object, sql_failure, statement,
};

/// To be called when the last migration has run. What the run has made or put back itself has been said.
pub async fn left_not_valid(run: &Run, client: &Client) -> Result<Built> {
    if let Some(built) = run.standing.step(NOT_VALID_STEP) {
        return Ok(built.clone());
    }
    let mut built = Built::default();
    let tables: Vec<String> = run.plan.tables.iter().map(|table| table.target.to_string()).collect();
    for constraint in constraints_not_valid(client, &tables).await? {
        let Some(place) = run.plan.tables.iter().position(|table| table.target == constraint.table) else { continue };
        let is_put_back = run.plan.tables[place].rebuild.iter().any(|object| object.name == constraint.name);
        let is_ours = |object: &crate::plan::ObjectPlan| object.table == Some(place) && object.name == constraint.name;
        if !is_put_back && !run.plan.objects.iter().any(is_ours) {
            let label = format!("{}.{}", run.plan.tables[place].source, constraint.name.as_str());
            built.warnings.push(said(client, &constraint, &label).await.with_context(|| format!("look for rows that break {label}"))?);
        }
    }
    Journal::steps_done(client, &run.id, &[(NOT_VALID_STEP.to_string(), built.said()?)]).await?;
    Ok(built)
}

async fn said(client: &Client, constraint: &ConstraintNotValid, label: &str) -> Result<Warning> {
    let Some(condition) = &constraint.condition else {
        let sides = foreign_key_sides(client, &constraint.table, &constraint.name).await?;
        let broken = finish::broken_key(client, &sides, label).await?;
        return Ok(broken.unwrap_or_else(|| holds("foreign_key_not_valid", label, "every row has its parent")));
    };
    let code = "constraint_not_valid";
    let message = match client.query(&statement::broken(&constraint.table, condition, &constraint.key), &[]).await {
        Ok(rows) if rows.is_empty() => return Ok(holds(code, label, "no row breaks it")),
        Ok(rows) => {
            let texts = rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect();
            rehearse::breaks(rows[0].get::<_, i64>(1) as u64, texts)
        }
        // A condition may fail at a row instead of being false for it, as a cast does.
        Err(error) if is_about_object(&error) => format!("is NOT VALID: {}", sql_failure(error.into())),
        Err(error) => return Err(sql_failure(error.into())),
    };
    Ok(Warning { class: ObjectKind::Check.allow_class().into(), ..Warning::weaker(code, label, message) })
}

/// It was left so without need.
fn holds(code: &str, label: &str, why: &str) -> Warning {
    Warning::note(code, label, format!("is NOT VALID, though {why}: ALTER TABLE … VALIDATE CONSTRAINT makes it whole"))
}
