//! SIGINT, SIGTERM and SIGHUP. Most commands are dropped where they stand, their connections with them, and PostgreSQL rolls back what was open.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Exit;
use crate::render::{Ui, go_on, told_to_end};

/// A command that has not ended so long after it was told to may stand in a write to a terminal that was stopped.
const TO_END: Duration = Duration::from_millis(300);

/// The three signals that stop a command; from here on they no longer end the process by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let mut signals = Signals::new()?;
        // In a task of its own: whoever waits for a reader, or for the terminal, hears no signal.
        tokio::spawn(async move {
            loop {
                told_to_end(signals.next().await);
                tokio::select! {
                    again = signals.next() => told_to_end(again),
                    () = tokio::time::sleep(TO_END) => {}
                }
                go_on();
            }
        });
        Signals::new()
    }

    fn new() -> Result<Self> {
        let listen = |kind: SignalKind| signal(kind).context("listen for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of the three; returns its number.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}

/// Runs a command until it ends or a signal stops it. One whose state is large comes in a box: here it is moved about.
pub async fn or_stopped(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        result = command => result,
        signal = signals.next() => Ok(Exit::Signal(signal)),
    }
}

/// Runs a command that goes on until it is told: there a signal is the normal end.
pub async fn until_told(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    match or_stopped(command).await? {
        Exit::Signal(_) => Ok(Exit::Good),
        exit => Ok(exit),
    }
}

/// The same for one that prints as it goes on: it waits for no reader, and ends when there is none any more.
pub async fn until_left(ui: &Ui, command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    ui.wait_for_nobody()?;
    let printed = async {
        let exit = command.await?;
        ui.all_read().await;
        Ok(exit)
    };
    until_told(async {
        tokio::select! {
            exit = printed => exit,
            left = ui.left() => left.map(|()| Exit::Good),
        }
    })
    .await
}
