//! SIGINT, SIGTERM and SIGHUP: the command is dropped where it stands, its connections with it, and PostgreSQL rolls back what was open.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Exit;

/// Runs a command until it ends or a signal stops it.
pub async fn or_stopped(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::select! {
        result = command => result,
        signal = received() => Ok(Exit::Signal(signal?)),
    }
}

/// Waits for the first of the three; returns its number.
async fn received() -> Result<u8> {
    let listen = |kind: SignalKind| signal(kind).context("listen for signals");
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
    })
}
