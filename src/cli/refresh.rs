//! `candlefish migrate --refresh`: what differs is said first, deletes are agreed to, then the target is made equal.

use anyhow::{Context as _, Result, bail};

use crate::cli::Exit;
use crate::migrate::{self, Job, MigrateReport, RowChanges};
use crate::model::Failure;
use crate::render::{self, Progress, Ui};

/// What the person said besides.
pub struct Wishes<'a> {
    pub dry_run: bool,
    pub yes: bool,
    pub allow: &'a [String],
    pub strict: bool,
}

pub async fn run(job: Job, wishes: &Wishes<'_>, progress: &Progress, started_at: &str, ui: &Ui) -> Result<Exit> {
    let report = refreshed(job, wishes, progress, started_at, ui).await;
    progress.finish();
    let report = report?;
    render::migrate::report(&report, started_at, ui)?;
    Ok(if report.exit_reasons.is_empty() { Exit::Good } else { Exit::Bad })
}

async fn refreshed(job: Job, wishes: &Wishes<'_>, progress: &Progress, started_at: &str, ui: &Ui) -> Result<MigrateReport> {
    let address = job.address.clone();
    let compared = migrate::refresh::compare(job).await?;
    if wishes.dry_run {
        return Ok(compared.into_planned());
    }
    let changes = compared.changes();
    let counts = render::migrate::what_differs(&changes);
    let deleted: u64 = changes.iter().map(|(_, changes)| changes.deleted).sum();
    progress.pause(|| ui.say(&counts));
    if deleted > 0 && !wishes.yes {
        // The bars would write over the question.
        progress.finish();
        agree(deleted, &changes, ui).await?;
    }
    let report = compared.apply(wishes.allow, wishes.strict).await?;
    migrate::close(&address, &report, &render::migrate::document(&report, started_at)).await?;
    Ok(report)
}

/// Rows of the target that the source does not have may be somebody's work.
async fn agree(deleted: u64, changes: &[(String, RowChanges)], ui: &Ui) -> Result<()> {
    let rows = if deleted == 1 { "1 row".to_string() } else { format!("{deleted} rows") };
    let tables: Vec<&str> = changes.iter().filter(|(_, changes)| changes.deleted > 0).map(|(table, _)| table.as_str()).collect();
    // In a thread of its own, which nobody waits for when a signal comes instead of an answer.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let (asker, question) = (ui.clone(), format!("Delete {rows} of the target that the source does not have?"));
    std::thread::spawn(move || answer.send(asker.ask(&question)));
    if answered.await.context("ask")?? {
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
