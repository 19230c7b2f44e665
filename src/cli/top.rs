//! `candlefish top`: the watch of `monitor`, live in the terminal.

use std::time::Duration;

use anyhow::Result;

use crate::cli::Exit;
use crate::cli::duration::interval;
use crate::cli::monitor::{SourceArgs, Watch};
use crate::cli::settings::Settings;
use crate::cli::signals::until_told;
use crate::render::top::top;
use crate::render::{Screen, Ui};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// How often to sample
    #[arg(long, value_name = "SECS", value_parser = interval, default_value = "2s")]
    interval: Duration,
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let mut watch = Watch::new(&args.source, Some(args.interval), settings, ui)?;
    let screen = Screen::open()?;
    let mut keys = screen.keys();
    until_told(async {
        let mut ticks = tokio::time::interval(watch.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut resized = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
        let mut status = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => status = Some(watch.step().await.0),
                key = keys.recv() => match key {
                    // q, Q, or Ctrl-D; a stdin that has ended presses nothing more.
                    Some(b'q' | b'Q' | 4) => return Ok(Exit::Good),
                    Some(_) => continue,
                    None => std::future::pending().await,
                },
                _ = resized.recv() => {}
            }
            if let Some(status) = &status {
                let history: Vec<_> = watch.monitor.history().iter().cloned().collect();
                screen.draw(&top(ui, status, &history, screen.size()))?;
            }
        }
    })
    .await
}
