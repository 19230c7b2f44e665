//! Whether the views can be read with the rows that have come: an integer that SQLite lets grow into a REAL ends PostgreSQL's answer with an error.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::migrate::Job;
use crate::migrate::finish::Built;
use crate::migrate::report::PhaseClock;
use crate::migrate::run::Run;
use crate::migrate::standing::VIEWS_READ_STEP;
use crate::model::{Event, Name, Phase, Schema};
use crate::plan::{ObjectKind, Plan, Severity, Todo, Warning};
use crate::postgres::{Client, Journal, SqlError, is_about_object, sql_failure, statement};
use crate::sqlite::{Snapshot, ViewError};

/// How long one view is read at most.
pub const ONE: Duration = Duration::from_secs(5);
/// And all of them together.
pub const ALL: Duration = Duration::from_secs(60);

/// A view of the source, and what it is called in the target.
#[derive(Clone)]
pub struct View {
    pub label: String,
    pub name: Name,
    pub original: Arc<str>,
}

/// The views that the run makes, in the order in which they read each other.
pub fn made(plan: &Plan) -> impl Iterator<Item = View> {
    let views = plan.objects.iter().filter(|object| object.kind == ObjectKind::View);
    views.map(|object| View { label: object.label.clone(), name: object.name.clone(), original: object.original.clone() })
}

/// The views that the run's migrations may make.
pub fn of_migrations<'s>(job: &Job, schema: &'s Schema, plan: &'s Plan) -> impl Iterator<Item = View> + use<'s> {
    let names = job.options.names;
    let is_made = |name: &str| plan.objects.iter().any(|object| object.kind == ObjectKind::View && object.label == name);
    let views = schema.views.iter().filter(move |view| !is_made(&view.name)).map(move |view| View {
        label: view.name.clone(),
        name: Name::fit(&names.apply(&view.name)),
        original: view.sql.as_str().into(),
    });
    views.take(if job.migrations.is_some() { usize::MAX } else { 0 })
}

/// Reads the views to their end. One that PostgreSQL cannot read stays, and is a loss if SQLite can; those that take too long are named.
pub async fn read_views(run: &Run, job: &Job, client: &Client, clock: &mut PhaseClock) -> Result<Built> {
    if let Some(built) = run.standing.step(VIEWS_READ_STEP) {
        return Ok(built.clone());
    }
    let began = Instant::now();
    let (mut built, mut unread) = (Built::default(), Vec::new());
    let views: Vec<View> = made(&run.plan).chain(of_migrations(job, &run.schema, &run.plan)).collect();
    if views.is_empty() {
        return Ok(built);
    }
    let there = there(client, &run.plan.schema, &views).await?;
    for view in views.iter().filter(|view| there.contains(view.name.as_str())) {
        let left = ONE.min(ALL.saturating_sub(began.elapsed()));
        if left.is_zero() {
            unread.push(view.label.as_str());
            continue;
        }
        let reading = format!("the rows of view {}", view.label);
        run.send(Event::ObjectStarted(reading.clone()));
        let read = client.batch_execute(&statement::read_to_the_end(&run.plan.schema, &view.name, left)).await;
        run.send(Event::ObjectEnded(reading));
        match read {
            Ok(()) => {}
            Err(error) if is_about_object(&error) => {
                let said = unreadable(&run.snapshot, view, error).await?;
                let reason = said.message.clone();
                if said.severity == Severity::Loss {
                    built.todo.push(Todo {
                        kind: ObjectKind::View,
                        object: view.label.clone(),
                        reason,
                        original: view.original.to_string(),
                    });
                }
                built.warnings.push(said);
            }
            // Too slow, or too large for this server: whether it can be read is not known.
            Err(error) if error.as_db_error().is_some() => unread.push(&view.label),
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
    clock.note(Phase::Views, began);
    Journal::steps_done(client, &run.id, &[(VIEWS_READ_STEP.to_string(), built.said()?)]).await?;
    Ok(built)
}

async fn there(client: &Client, schema: &str, views: &[View]) -> Result<HashSet<String>> {
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let rows = client.query(include_str!("queries/views_there.sql"), &[&schema, &names]).await.context("look for the views")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What is said of a view that PostgreSQL cannot read: what SQLite cannot read either for what the view says is no loss.
pub async fn unreadable(snapshot: &Arc<Snapshot>, view: &View, error: SqlError) -> Result<Warning> {
    let state = error.code().map(|code| format!(" (SQLSTATE {})", code.code())).unwrap_or_default();
    let reason = format!("is made, but reading it ends in an error: {}{state}", sql_failure(error.into()));
    let (snapshot, name) = (Arc::clone(snapshot), view.label.clone());
    let asked = tokio::task::spawn_blocking(move || snapshot.reader()?.view_error(&name, ONE)).await;
    Ok(match asked.context("a reader of the source panicked")?? {
        Some(ViewError::OfView(there)) => {
            Warning::note("view_unreadable_in_both", &view.label, format!("{reason}; so it does in SQLite: {there}"))
        }
        Some(ViewError::Damage(there)) => Warning::damage(
            &view.label,
            format!("{reason}; whether it can be read in SQLite cannot be told, for the file is damaged: {there}"),
        ),
        None => {
            let class = ObjectKind::View.allow_class().into();
            Warning { severity: Severity::Loss, class, ..Warning::note("view_unreadable", &view.label, reason) }
        }
    })
}
