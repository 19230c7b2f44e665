//! The server's version and settings.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, as_set, few};
use crate::stats::GRANT;

pub const VERSION: Check = Check {
    name: "server-version",
    about: "PostgreSQL is one that is still mended",
    run: |patient| {
        async move {
            let server = &patient.observer.server;
            let value = server.version.clone();
            Ok(match server.major {
                ..13 => Found::error(value, "candlefish knows PostgreSQL from 13 on", "Upgrade the server."),
                13 => Found::warning(value, "PostgreSQL 13 has had no fixes since November 2025", "Plan the upgrade to a current version."),
                _ => Found::ok(value, "this version is known here"),
            })
        }
        .boxed()
    },
};

pub const DURABILITY: Check = Check {
    name: "durability",
    about: "what is committed stays committed, and damage is noticed",
    run: |patient| {
        async move {
            let is = |name: &str, value: &str| patient.setting(name) == Some(value);
            // RESET takes away only what ALTER SYSTEM has said: what postgresql.conf says would come back.
            let set = |names: &[&str], bad: &str, good: &str| -> String {
                let each: Vec<String> = names.iter().filter(|name| is(name, bad)).map(|name| patient.remedy(name, good)).collect();
                // One reload takes them all in.
                let (reload, lines) = ("SELECT pg_reload_conf();", each.join("\n"));
                let statements: Vec<&str> = lines.lines().filter(|line| *line != reload).collect();
                if lines.contains(reload) { format!("{}\n{reload}", statements.join("\n")) } else { lines }
            };
            if is("fsync", "off") || is("full_page_writes", "off") {
                return Ok(Found::error(
                    format!(
                        "fsync {}, full_page_writes {}",
                        patient.setting("fsync").unwrap_or("?"),
                        patient.setting("full_page_writes").unwrap_or("?")
                    ),
                    "a crash of the machine can damage the whole cluster",
                    set(&["fsync", "full_page_writes"], "off", "on"),
                ));
            }
            if is("zero_damaged_pages", "on") || is("ignore_checksum_failure", "on") {
                return Ok(Found::error(
                    "damage is passed over",
                    "zero_damaged_pages or ignore_checksum_failure is on: damaged rows vanish without a word",
                    set(&["zero_damaged_pages", "ignore_checksum_failure"], "on", "off"),
                ));
            }
            if patient.setting("synchronous_commit").is_none() {
                return Ok(patient.unseen("synchronous_commit"));
            }
            if ["off", "false", "no", "0"].iter().any(|off| is("synchronous_commit", off)) {
                return Ok(Found::warning(
                    "synchronous_commit off",
                    "a crash loses what was committed in the last moments",
                    patient.remedy("synchronous_commit", "on"),
                ));
            }
            if is("data_checksums", "off") {
                return Ok(Found::ok(
                    "fsync on, no checksums",
                    "what is committed stays; damaged files would not be noticed (pg_checksums --enable, stopped)",
                ));
            }
            Ok(Found::ok("fsync on, checksums on", "what is committed stays, and damaged files are noticed"))
        }
        .boxed()
    },
};

pub const MEMORY: Check = Check {
    name: "memory-settings",
    about: "the server was told what memory it has",
    run: |patient| {
        async move {
            let (Some(buffers), Some(work)) = (patient.bytes("shared_buffers"), patient.bytes("work_mem")) else {
                return Ok(patient.unseen("work_mem"));
            };
            let value = format!("shared_buffers = {}, work_mem = {}", as_set(buffers), as_set(work));
            let database = patient.observer.ask("SELECT pg_database_size(current_database())", &[]).await?;
            let size = database.rows.first().and_then(|row| row[0].number()).unwrap_or(0.0);
            const DEFAULT: f64 = 134_217_728.0;
            Ok(if buffers <= DEFAULT && size > 4.0 * buffers {
                let set = if buffers < DEFAULT { "below its default of 128MB" } else { "at its default" };
                Found::warning(
                    value,
                    format!("shared_buffers is {set}, and the database is several times as large"),
                    "Set shared_buffers to a quarter of the memory, and restart.",
                )
            } else {
                Found::ok(value, "shared buffers and the database's size go together")
            })
        }
        .boxed()
    },
};

pub const RESTART: Check = Check {
    name: "pending-restart",
    about: "what the files of settings say is in force",
    run: |patient| {
        async move {
            let pending: Vec<&str> =
                patient.settings.iter().filter(|(_, setting)| setting.pending_restart).map(|(name, _)| name.as_str()).collect();
            Ok(if pending.is_empty() && patient.setting("shared_preload_libraries").is_none() {
                Found::unknown("of the settings that this user may see none waits for a restart; the others are hidden", GRANT)
            } else if pending.is_empty() {
                Found::ok("", "no setting waits for a restart")
            } else {
                Found::warning(few(&pending), "these were changed, and wait for a restart", "Restart the server when it suits.")
            })
        }
        .boxed()
    },
};

pub const TIMEOUTS: Check = Check {
    name: "idle-in-transaction-timeout",
    about: "a forgotten transaction does not stay for ever",
    run: |patient| {
        async move {
            Ok(match patient.number("idle_in_transaction_session_timeout") {
                None => patient.unseen("idle_in_transaction_session_timeout"),
                Some(0.0) => Found::warning(
                    "off",
                    "a client that forgets its transaction keeps its locks, and keeps vacuum from cleaning up, until it ends",
                    patient.remedy("idle_in_transaction_session_timeout", "'5min'"),
                ),
                Some(ms) => Found::ok(format!("{} s", ms / 1000.0), "idle transactions are ended"),
            })
        }
        .boxed()
    },
};

pub const IO_TIMING: Check = Check {
    name: "io-timing",
    about: "statistics say how long reads and writes take",
    run: |patient| {
        async move {
            Ok(match patient.setting("track_io_timing") {
                Some("on") => Found::ok("on", "reads and writes are timed"),
                Some(_) => Found::warning(
                    "off",
                    "statistics cannot say whether a slow statement waits for the disk",
                    format!("{}\n-- pg_test_timing says what it costs", patient.remedy("track_io_timing", "on")),
                ),
                None => patient.unseen("track_io_timing"),
            })
        }
        .boxed()
    },
};
