//! What is kept for somebody who may never come back: WAL for replication slots, locks and old rows for prepared transactions.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, few};
use crate::model::{Cell, visible};
use crate::stats::{of_prepared, span};

pub const SLOTS: Check = Check {
    name: "replication-slots",
    about: "no replication slot keeps WAL for nobody",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/slots.sql"), &[]).await?;
            let is_unlimited = patient.number("max_slot_wal_keep_size").map(|megabytes| megabytes < 0.0);
            Ok(match is_unlimited {
                None => patient.unseen("max_slot_wal_keep_size"),
                Some(is_unlimited) => judge_slots(&answer.rows, is_unlimited),
            })
        }
        .boxed()
    },
};

/// A consumer that is away for a moment is no fault, nor is one that is a little behind.
const IDLE_BYTES: f64 = 64e6;
const ACTIVE_BYTES: f64 = 1e9;

/// Those that are lost come first: name, literal, lost, bytes retained, why it was invalidated, and whether somebody uses it.
fn judge_slots(rows: &[Vec<Cell>], is_unlimited: bool) -> Found {
    let names = |rows: &[&Vec<Cell>]| few(&rows.iter().filter_map(|row| row[0].text()).collect::<Vec<_>>());
    let drop = |row: &[Cell]| format!("SELECT pg_drop_replication_slot({});", row[1].text().unwrap_or_default());
    let bytes = |row: &[Cell]| row[3].number().unwrap_or_default();
    let keeps = |row: &[Cell]| row[3].number().map_or(String::new(), |bytes| format!(": the first keeps {:.0} MB", bytes / 1e6));
    let (lost, there): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[2] == Cell::Bool(true));
    let (active, idle): (Vec<&Vec<Cell>>, Vec<&Vec<Cell>>) = there.into_iter().partition(|row| row[5] == Cell::Bool(true));
    let stuck: Vec<&Vec<Cell>> = active.into_iter().filter(|row| bytes(row) >= ACTIVE_BYTES).collect();
    let large: Vec<&Vec<Cell>> = idle.iter().filter(|row| bytes(row) >= IDLE_BYTES).copied().collect();
    if let Some(first) = lost.first() {
        let why = match first[4].text() {
            None | Some("wal_removed") => "these are lost: the WAL from which their consumers would go on is gone".to_string(),
            Some(reason) => format!("these were invalidated ({reason}): their consumers cannot go on"),
        };
        let remedy = format!(
            "-- its consumer (a standby, a subscription) has to be made anew; once nobody uses the slot any more:\n{}",
            drop(first)
        );
        return Found::error(names(&lost), why, remedy);
    }
    match (large.first(), stuck.first()) {
        (Some(first), _) if is_unlimited => Found::warning(
            format!("{}{}", names(&large), keeps(first)),
            "nobody uses these, and max_slot_wal_keep_size is -1: the WAL that they keep grows until the disk is full",
            format!(
                "-- connect its consumer again; only where it never comes back (it could not go on without the slot):\n{}\n\
                 -- or let no slot keep more than the disk bears: ALTER SYSTEM SET max_slot_wal_keep_size",
                drop(first)
            ),
        ),
        (_, Some(first)) => Found::warning(
            format!("{}{}", names(&stuck), keeps(first)),
            "somebody uses these, and is far behind: the WAL that they keep grows for as long as that lasts",
            "Look at the consumer (its log, a conflict, a long transaction there); `candlefish stats replication --watch` shows whether it comes nearer.",
        ),
        (Some(_), None) => Found::ok(names(&large), "nobody uses these; max_slot_wal_keep_size limits the WAL that they keep"),
        (None, None) => Found::ok(names(&idle), "no slot keeps much WAL for nobody"),
    }
}

/// Two-phase commits take seconds; who leaves one for so long has forgotten it, or has died.
const LONG_SECONDS: f64 = 3600.0;

pub const PREPARED: Check = Check {
    name: "prepared-transactions",
    about: "no prepared transaction is left behind",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/prepared.sql"), &[]).await?;
            Ok(judge_prepared(&answer.rows))
        }
        .boxed()
    },
};

/// gid, owner, database and age of each, the oldest first.
fn judge_prepared(rows: &[Vec<Cell>]) -> Found {
    let age = |row: &[Cell]| row[3].number().unwrap_or_default();
    let old: Vec<&Vec<Cell>> = rows.iter().filter(|row| age(row) >= LONG_SECONDS).collect();
    if old.is_empty() {
        return Found::ok(rows.len().to_string(), "no prepared transaction is older than an hour");
    }
    let text = |row: &[Cell], at: usize| row[at].text().unwrap_or_default().to_string();
    let said = |row: &&Vec<Cell>| format!("{} of {} for {}", visible(&text(row, 0)), visible(&text(row, 1)), span(age(row)));
    let said: Vec<String> = old.iter().map(said).collect();
    let ends = old.iter().map(|row| format!("-- {}", of_prepared(&text(row, 0), &text(row, 2), &text(row, 1))));
    Found::warning(
        few(&said.iter().map(String::as_str).collect::<Vec<_>>()),
        "each keeps its locks, and keeps vacuum from cleaning up, until somebody ends it",
        ends.collect::<Vec<_>>().join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn slots_that_keep_wal_for_nobody() {
        let row = |name: &str, is_lost: bool, megabytes: i64, reason: Option<&str>, is_active: bool| {
            let texts = [Cell::from(name), Cell::Text(format!("'{name}'"))];
            let rest = [Cell::Bool(is_lost), Cell::Int(megabytes * 1_000_000), reason.map(str::to_string).into(), Cell::Bool(is_active)];
            texts.into_iter().chain(rest).collect::<Vec<Cell>>()
        };
        let both = judge_slots(&[row("gone", true, 300, None, false), row("idle", false, 300, None, false)], true);
        assert_eq!((both.verdict, both.value.as_str()), (Verdict::Error, "gone"));
        let timed_out = judge_slots(&[row("gone", true, 0, Some("idle_timeout"), false)], true);
        assert!(timed_out.verdict == Verdict::Error && timed_out.why.contains("invalidated (idle_timeout)"));
        let idle = judge_slots(&[row("idle", false, 300, None, false)], true);
        assert_eq!((idle.verdict, idle.value.as_str()), (Verdict::Warning, "idle: the first keeps 300 MB"));
        assert!(idle.remedy.unwrap().contains("\nSELECT pg_drop_replication_slot('idle');\n"));
        assert_eq!(judge_slots(&[row("idle", false, 300, None, false)], false).verdict, Verdict::Ok);
        // Away for a moment.
        assert_eq!(judge_slots(&[row("idle", false, 3, None, false)], true).verdict, Verdict::Ok);
        // Used, and far behind, or not.
        let stuck = judge_slots(&[row("stuck", false, 5000, None, true)], false);
        assert_eq!((stuck.verdict, stuck.value.as_str()), (Verdict::Warning, "stuck: the first keeps 5000 MB"));
        assert_eq!(judge_slots(&[row("near", false, 300, None, true)], true).verdict, Verdict::Ok);
        assert_eq!(judge_slots(&[], true).verdict, Verdict::Ok);
    }

    #[test]
    fn a_prepared_transaction_is_left_behind_after_an_hour() {
        let row = |gid: &str, age: f64| vec![gid.into(), "app".into(), "shop".into(), Cell::Real(age)];
        assert_eq!(judge_prepared(&[row("young", 3599.0)]).verdict, Verdict::Ok);
        let old = judge_prepared(&[row("o\nld", 9000.0), row("older", 3600.0), row("young", 1.0)]);
        assert_eq!((old.verdict, old.value.as_str()), (Verdict::Warning, "o\\nld of app for 2.5 hours, older of app for 1 hour"));
        let remedies = "-- COMMIT PREPARED E'o\\u000Ald' or ROLLBACK PREPARED E'o\\u000Ald' -- ask the coordinator first; in database shop as app or a superuser\n\
                        -- COMMIT PREPARED 'older' or ROLLBACK PREPARED 'older' -- ask the coordinator first; in database shop as app or a superuser";
        assert_eq!(old.remedy.unwrap(), remedies);
    }
}
