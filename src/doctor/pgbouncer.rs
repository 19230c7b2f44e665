//! PgBouncer: how it pools, what it can, and whether clients wait for it now.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, Verdict, few};
use crate::model::{Failure, sentence};
use crate::stats::{PoolUse, PoolerState, console_remedy};

const STATS_USERS: &str = "Put this user into stats_users of pgbouncer.ini, and reload it.";

/// What its console said; or what it means that there is none.
pub fn state<'a>(patient: &'a Patient<'_>) -> Result<&'a PoolerState, Found> {
    match &patient.surroundings.pooler {
        None => Err(Found::not_named("no pooler of this server is named (--pooler)")),
        Some((_, Ok(state))) => Ok(state),
        Some((pooler, Err(error))) => {
            let remedy = console_remedy(pooler, error);
            Err(match failure(error) {
                // It was named: that it does not answer is no gap in what this user may see.
                Some(failure) if failure.code == "target_unreachable" => Found::error("unreachable", sentence(error), remedy),
                Some(_) => Found::unknown(sentence(error), remedy),
                None => Found::error("unreachable", sentence(error), remedy),
            })
        }
    }
}

fn failure(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())
}

/// Why nothing good is said of a PgBouncer that names no database, while it has no client: an entry `*` may have sizes and a mode of its own.
pub const OF_ANY: &str = "while no client is there PgBouncer does not show what its entry * says for itself";

/// What each of the other modes costs.
const WHYS: [(&str, &str); 2] = [
    ("session", "by session each client holds a server for as long as it is connected"),
    ("statement", "by statement every transaction of more than one statement is refused"),
];

pub const MODE: Check = Check {
    name: "pgbouncer-mode",
    about: "PgBouncer pools by transaction",
    run: |patient| {
        async move {
            let state = match state(patient) {
                Ok(state) => state,
                Err(found) => return Ok(found),
            };
            let to_come = state.to_come();
            let is_open = |pool: &&PoolUse| pool.has_clients() || !state.is_disabled(&pool.database);
            let there = state.pools.iter().filter(is_open).map(|pool| (format!("{}/{}", pool.database, pool.user), pool.mode.as_deref()));
            // What has no pool yet will be pooled as it is set.
            let all =
                there.chain(to_come.iter().map(|pool| (pool.database.clone().unwrap_or("pool_mode".to_string()), pool.mode.as_deref())));
            let all: Vec<(String, Option<&str>)> = all.collect();
            let others =
                all.iter().filter_map(|(pool, mode)| mode.filter(|mode| *mode != "transaction").map(|mode| format!("{pool}: {mode}")));
            let others: Vec<String> = others.collect();
            let is_any = |wanted: &str| all.iter().any(|(_, mode)| *mode == Some(wanted));
            let whys: Vec<&str> = WHYS.iter().filter(|(mode, _)| is_any(mode)).map(|(_, why)| *why).collect();
            Ok(if others.is_empty() && all.iter().any(|(_, mode)| mode.is_none()) {
                Found::unknown("PgBouncer does not say how it pools", "")
            } else if others.is_empty() && to_come.iter().any(|pool| pool.database.is_none()) {
                Found::unknown(OF_ANY, "Look again when a client has come.")
            } else if others.is_empty() {
                Found::ok("transaction", "servers are shared between transactions")
            } else {
                let names: Vec<&str> = others.iter().map(String::as_str).collect();
                Found::warning(
                    few(&names),
                    whys.join("; "),
                    if is_any("session") {
                        "pool_mode = transaction, where clients keep nothing in their sessions."
                    } else {
                        "pool_mode = transaction"
                    },
                )
            })
        }
        .boxed()
    },
};

pub const PGBOUNCER_VERSION: Check = Check {
    name: "pgbouncer-version",
    about: "PgBouncer can carry prepared statements",
    run: |patient| {
        async move {
            let refusal = patient.surroundings.pooler.as_ref().and_then(|(_, said)| failure(said.as_ref().err()?));
            let state = match (state(patient), refusal) {
                // Of a database that is called pgbouncer only PgBouncer knows.
                (Err(_), Some(refusal)) if refusal.code == "no_database" => {
                    let why = "at the pooler's address PostgreSQL itself answers";
                    return Ok(Found::warning("no pooler", why, "Look at --pooler or POOLER_URL."));
                }
                (Err(_), Some(refusal)) if refusal.sqlstate.as_deref() == Some("08P01") => {
                    return Ok(Found::unknown("its console does not let this user in", STATS_USERS));
                }
                (Err(found), _) => return Ok(found),
                (Ok(state), _) => state,
            };
            let Some((major, minor)) = state.version else { return Ok(Found::unknown("it does not say its version", "")) };
            let value = format!("{major}.{minor}");
            let kept = state.setting("max_prepared_statements").and_then(|kept| kept.parse::<u32>().ok());
            Ok(if (major, minor) < (1, 21) {
                Found::warning(
                    value,
                    "before 1.21 prepared statements break in transaction mode",
                    "Upgrade PgBouncer; until then turn them off in clients.",
                )
            } else if kept.is_some_and(|kept| kept > 0) {
                Found::ok(value, "prepared statements are carried from server to server")
            } else {
                Found::warning(
                    value,
                    "max_prepared_statements is 0: prepared statements break in transaction mode",
                    "max_prepared_statements = 200",
                )
            })
        }
        .boxed()
    },
};

pub const LIVE: Check = Check {
    name: "pgbouncer-waiting",
    about: "no client waits for a server",
    run: |patient| {
        async move {
            let state = match state(patient) {
                Ok(state) => state,
                Err(found) => return Ok(found),
            };
            let pools = &state.pools;
            let waiting: i64 = pools.iter().filter_map(|pool| pool.clients_waiting).sum();
            let longest = pools.iter().map(|pool| pool.longest_wait_seconds).fold(0.0, f64::max);
            let value = format!("{waiting} waiting, the longest for {longest:.1} s");
            Ok(if let Some((what, resume)) = state.paused() {
                // No size of a pool helps them.
                let verdict = if waiting > 0 { Verdict::Error } else { Verdict::Warning };
                let why = format!("{what} is stopped on PgBouncer's console (PAUSE, KILL): whoever comes waits until it is resumed");
                Found::of(verdict, value, why, format!("{resume} -- on PgBouncer's console, as one of its admin_users"))
            } else if longest >= 1.0 {
                Found::error(
                    value,
                    "clients wait for more than a second",
                    "Find what holds the servers (`candlefish stats activity`), then raise default_pool_size.",
                )
            } else if waiting > 0 {
                Found::warning(value, "every server of a pool is in use", "Watch it: `candlefish stats pools --watch`.")
            } else {
                Found::ok(value, "there are servers for everybody")
            })
        }
        .boxed()
    },
};
