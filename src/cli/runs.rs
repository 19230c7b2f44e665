//! `candlefish runs`: the runs that the target's journal knows, and the line that goes on with each.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cli::Exit;
use crate::cli::settings::{Settings, TargetArgs};
use crate::cli::signals::{or_stopped, until_left};
use crate::migrate::{self, RunSummary, State};
use crate::model::Failure;
use crate::postgres::Address;
use crate::render::{self, Format, Ui};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this run
    #[arg(value_name = "RUN_ID")]
    run_id: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// Show it again every second; with RUN_ID until that run has ended
    #[arg(long)]
    watch: bool,
}

/// How often a watched answer is given.
const TICK: Duration = Duration::from_secs(1);

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    let shown = async { show(&args, &address, ui).await.context("list the runs").map(|()| Exit::Good) };
    if args.watch { until_left(ui, shown).await } else { or_stopped(shown).await }
}

async fn show(args: &Args, address: &Address, ui: &Ui) -> Result<()> {
    let folder = std::env::current_dir().context("find the current folder")?.display().to_string();
    loop {
        let runs = wanted(args, address).await?;
        ui.whole(|| -> Result<()> {
            if args.watch && ui.format == Format::Table {
                ui.clear()?;
            }
            render::runs(ui, &runs, &folder, args.watch)
        })?;
        let ended = args.run_id.is_some() && runs.iter().all(|run| run.state != State::Running);
        if !args.watch || ended {
            return Ok(());
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn wanted(args: &Args, address: &Address) -> Result<Vec<RunSummary>> {
    let mut runs = migrate::runs(address).await?;
    if let Some(wanted) = &args.run_id {
        if wanted.contains("://") {
            let failure = Failure::new("run_not_found", "the argument is an address, and no run's name");
            bail!(failure.hint("`candlefish runs --to URL` lists the runs that a database knows."));
        }
        runs.retain(|run| run.run_id == *wanted);
        if runs.is_empty() {
            bail!(
                Failure::new("run_not_found", format!("the target's journal knows no run {wanted}"))
                    .hint("`candlefish runs` without a name lists those that it knows.")
            );
        }
    }
    Ok(runs)
}
