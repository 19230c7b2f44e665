//! Whether the views can be read with the rows that have come: an integer that SQLite lets grow into a REAL ends PostgreSQL's answer with an error.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::migrate::finish::Built;
use crate::migrate::run::Run;
use crate::migrate::standing::VIEWS_READ_STEP;
use crate::model::Event;
use crate::plan::{ObjectKind, ObjectPlan, Severity, Warning};
use crate::postgres::{Client, Journal, is_about_object, sql_failure, statement};

/// How long one view is read at most.
const ONE: Duration = Duration::from_secs(5);
/// And all of them together.
const ALL: Duration = Duration::from_secs(60);

/// Reads each of these views to its end. One that PostgreSQL cannot read stays, and is a loss; those that take too long are named.
pub async fn read_views(run: &Run, client: &Client, places: &[usize]) -> Result<Built> {
    if let Some(built) = run.standing.step(VIEWS_READ_STEP) {
        return Ok(built.clone());
    }
    let began = Instant::now();
    let (mut built, mut unread) = (Built::default(), Vec::new());
    for object in places.iter().map(|place| &run.plan.objects[*place]) {
        let left = ONE.min(ALL.saturating_sub(began.elapsed()));
        if left.is_zero() {
            unread.push(object.label.as_str());
            continue;
        }
        let reading = format!("the rows of view {}", object.label);
        run.send(Event::ObjectStarted(reading.clone()));
        let read = client.batch_execute(&statement::read_to_the_end(&run.plan.schema, &object.name, left)).await;
        run.send(Event::ObjectEnded(reading));
        match read {
            Ok(()) => {}
            Err(error) if is_about_object(&error) => {
                let state = error.code().map(|code| format!(" (SQLSTATE {})", code.code())).unwrap_or_default();
                let reason = format!("is made, but reading it ends in an error: {}{state}", sql_failure(error.into()));
                built.warnings.push(unreadable(object, &reason));
                built.todo.push(object.todo(reason));
            }
            // Too slow, or too large for this server: whether it can be read is not known.
            Err(error) if error.as_db_error().is_some() => unread.push(&object.label),
            Err(error) => return Err(sql_failure(error.into())),
        }
    }
    if !unread.is_empty() {
        let message = format!(
            "has {} not read to the end, within {} s each and {} s for all; whether all their rows can be computed is not known: {}",
            if unread.len() == 1 { "1 view that was".to_string() } else { format!("{} views that were", unread.len()) },
            ONE.as_secs(),
            ALL.as_secs(),
            unread.join(", ")
        );
        built.warnings.push(Warning::note("views_not_read", run.plan.schema.as_str(), message));
    }
    Journal::steps_done(client, &run.id, &[(VIEWS_READ_STEP.to_string(), built.said()?)]).await?;
    Ok(built)
}

fn unreadable(object: &ObjectPlan, reason: &str) -> Warning {
    let class = ObjectKind::View.allow_class().into();
    Warning { severity: Severity::Loss, class, ..Warning::note("view_unreadable", &object.label, reason) }
}
