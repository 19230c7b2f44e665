//! Whether a standby goes on: one that has stopped looks like any other, and answers with what was.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found};
use crate::model::Cell;

pub const STANDBY: Check = Check {
    name: "standby",
    about: "a standby goes on receiving and replaying",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/standby.sql"), &[]).await?;
            let is = |column: &str| answer.value(0, column) == Some(&Cell::Bool(true));
            Ok(if !is("in_recovery") {
                Found::ok("", "this is no standby")
            } else if is("is_paused") {
                Found::warning(
                    "replay paused",
                    "what this standby answers grows older, and the WAL that it has not replayed fills its disk",
                    "SELECT pg_wal_replay_resume(); -- as a superuser; where it pauses again, the server's log says why",
                )
            } else if !is("receives") && is("restores") {
                // A command that is there is no proof that it brings anything.
                Found::unknown(
                    "no process receives WAL, and whether restore_command brings any is not seen here",
                    "Compare pg_last_xact_replay_timestamp() with the primary's last commit, and look at this server's log.",
                )
            } else if !is("receives") {
                Found::warning(
                    "receives nothing",
                    "no process receives WAL, and no restore_command fetches it: what this standby answers grows older",
                    "Look at primary_conninfo, and at the server's log: is its primary up, and does it let this standby in?",
                )
            } else {
                Found::ok("", "this standby receives and replays")
            })
        }
        .boxed()
    },
};
