//! `candlefish top`: the watch of `monitor`, live in the terminal.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Exit;
use crate::cli::duration::interval;
use crate::cli::monitor::{SourceArgs, Watch};
use crate::cli::settings::Settings;
use crate::cli::signals::until_told;
use crate::render::top::View;
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
    let mut view = View::new(&watch.target);
    until_told(async {
        let mut ticks = tokio::time::interval(watch.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut resized = signal(SignalKind::window_change())?;
        // Ctrl-Z.
        let mut stopped = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
        // That a sample is waited for is drawn while it is.
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let mut has_keys = true;
        loop {
            let status = {
                let asked = Cell::new(None::<Instant>);
                let next = async {
                    ticks.tick().await;
                    asked.set(Some(Instant::now()));
                    watch.step().await.0
                };
                let mut next = pin!(next);
                loop {
                    tokio::select! {
                        status = &mut next => break status,
                        key = keys.recv(), if has_keys => match key {
                            // q, Q, or Ctrl-D; a stdin that has ended presses nothing more.
                            Some(b'q' | b'Q' | 4) => return Ok(Exit::Good),
                            Some(_) => {}
                            None => has_keys = false,
                        },
                        _ = resized.recv() => {}
                        _ = stopped.recv() => screen.stop()?,
                        _ = seconds.tick() => {}
                    }
                    let asked = asked.get().map(|asked| asked.elapsed()).unwrap_or_default();
                    screen.draw(&view.frame(ui, screen.size(), asked))?;
                }
            };
            view.take(status, watch.monitor.history().iter());
            screen.draw(&view.frame(ui, screen.size(), Duration::ZERO))?;
        }
    })
    .await
}
