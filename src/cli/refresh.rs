//! `candlefish migrate --refresh`: what differs is said first, deletes are agreed to, then the target is made equal.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::cli::Exit;
use crate::migrate::{self, Job, MigrateReport, Purpose};
use crate::model::Failure;
use crate::postgres::{is_passing, sql_failure};
use crate::render::{self, Progress, Ui};

/// What the person said besides.
pub struct Wishes<'a> {
    /// The run that is followed, where the source is not the file that it brought.
    pub of: Option<&'a str>,
    pub dry_run: bool,
    pub yes: bool,
    pub allow: &'a [String],
    pub strict: bool,
}

pub async fn run(job: Arc<Job>, wishes: &Wishes<'_>, progress: &Progress, started_at: &str, ui: &Ui) -> Result<Exit> {
    let report = refreshed(job, wishes, progress, started_at, ui).await;
    progress.finish();
    let report = report?;
    render::migrate::report(&report, started_at, ui)?;
    Ok(if report.exit_reasons.is_empty() { Exit::Good } else { Exit::Bad })
}

/// All of it is one transaction: when its connection breaks, nothing was changed, and it begins anew.
async fn refreshed(job: Arc<Job>, wishes: &Wishes<'_>, progress: &Progress, started_at: &str, ui: &Ui) -> Result<MigrateReport> {
    let mut agreed = Deletes::new();
    let done = migrate::through_cuts(&job.events, async || attempt(&job, wishes, &mut agreed, progress, ui).await).await;
    let report = match done.map_err(nothing_changed) {
        Ok(report) => report,
        // A dry run has told nothing before, and changes nothing, not even the journal's form.
        Err(error) if wishes.dry_run => return Err(error),
        Err(error) => {
            migrate::refresh::failed(&job, &error).await;
            return Err(error);
        }
    };
    if !wishes.dry_run {
        migrate::close(&job.address, &report, &render::migrate::document(&report, started_at), &job.events).await?;
    }
    Ok(report)
}

/// A refresh that its connection has left for good is said to have changed nothing.
fn nothing_changed(error: anyhow::Error) -> anyhow::Error {
    let mut error = sql_failure(error);
    if is_passing(&error)
        && let Some(failure) = error.downcast_mut::<Failure>()
    {
        let hint = failure.hint.take().map_or(String::new(), |hint| format!("{} ", hint.trim_end()));
        failure.hint = Some(format!("{hint}Nothing was changed; the same command does it all."));
    }
    error
}

async fn attempt(job: &Arc<Job>, wishes: &Wishes<'_>, agreed: &mut Deletes, progress: &Progress, ui: &Ui) -> Result<MigrateReport> {
    let purpose = if wishes.dry_run { Purpose::Look } else { Purpose::Run };
    let mut compared = migrate::refresh::compare(Arc::clone(job), wishes.of, purpose, wishes.yes && !wishes.dry_run).await?;
    if wishes.dry_run {
        return compared.rehearse(wishes.allow, wishes.strict).await;
    }
    loop {
        let changes = compared.changes();
        let counts = render::migrate::what_differs(&changes);
        progress.pause(|| ui.say(&counts));
        let deletes: Deletes = changes.into_iter().map(|(table, changes)| (table, changes.deleted)).filter(|(_, rows)| *rows > 0).collect();
        if wishes.yes || deletes.iter().all(|(table, rows)| agreed.get(table).is_some_and(|agreed| rows <= agreed)) {
            break;
        }
        // The bars would write over the question, and a person who thinks is not to keep others from writing: what was found is found once more.
        progress.finish();
        compared.let_go();
        agree(&deletes, ui).await?;
        *agreed = deletes;
        compared = migrate::refresh::compare(Arc::clone(job), wishes.of, purpose, true).await?;
    }
    compared.apply(wishes.allow, wishes.strict).await
}

/// Rows to be deleted, by table.
type Deletes = BTreeMap<String, u64>;

/// Rows of the target that the source does not have may be somebody's work.
async fn agree(deletes: &Deletes, ui: &Ui) -> Result<()> {
    let deleted: u64 = deletes.values().sum();
    let rows = if deleted == 1 { "1 row".to_string() } else { format!("{deleted} rows") };
    let tables: Vec<&str> = deletes.keys().map(String::as_str).collect();
    if ui.ask(&format!("Delete {rows} of the target that the source does not have?")).await? {
        return Ok(());
    }
    bail!(
        Failure::new(
            "needs_yes",
            format!("{rows} of {} would be deleted, and nobody has agreed to it; nothing was changed", tables.join(", "))
        )
        .hint("Say --yes to go ahead, or --dry-run to see the counts alone.")
    );
}
