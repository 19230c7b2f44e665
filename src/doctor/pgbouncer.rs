//! PgBouncer: how it pools, what it can, and whether clients wait for it now.

use anyhow::Result;
use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, Verdict, few};
use crate::model::{Failure, sentence};
use crate::postgres::{Address, Console, Route, route};
use crate::stats::{PoolUse, console_remedy};

const NO_POOLER: &str = "no pooler is named";
const STATS_USERS: &str = "Put this user into stats_users of pgbouncer.ini, and reload it.";

/// It answers, and does not let this user in.
fn is_refused(error: &anyhow::Error) -> bool {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    failure.is_none_or(|failure| failure.code != "target_unreachable")
}

/// Its console; or what it means that there is none.
pub async fn console(pooler: &Address) -> Result<Console, Found> {
    Console::connect(pooler).await.map_err(|error| match is_refused(&error) {
        true => Found::unknown(sentence(&error), console_remedy(pooler, &error)),
        // It was named: that it does not answer is no gap in what this user may see.
        false => Found::error("unreachable", sentence(&error), console_remedy(pooler, &error)),
    })
}

/// What its console says of each pool; or that it lets nobody in. Asked once: one that hangs is waited for once.
pub async fn pools<'a>(patient: &'a Patient<'_>, pooler: &Address) -> Result<Result<&'a [PoolUse], Found>> {
    let read = async {
        Ok::<_, anyhow::Error>(match console(pooler).await {
            Ok(console) => Ok(PoolUse::read(&console).await?),
            Err(found) => Err(found),
        })
    };
    Ok(patient.pools.get_or_try_init(|| read).await?.as_deref().map_err(Found::clone))
}

pub const MODE: Check = Check {
    name: "pgbouncer-mode",
    about: "PgBouncer pools by transaction",
    run: |patient| {
        async move {
            let Some(pooler) = patient.pooler else { return Ok(Found::not_named(NO_POOLER)) };
            let pools = match pools(patient, pooler).await? {
                Ok(pools) => pools,
                Err(unknown) => return Ok(unknown),
            };
            let others: Vec<String> = pools
                .iter()
                .filter(|pool| pool.mode.as_deref().is_some_and(|mode| mode != "transaction"))
                .map(|pool| format!("{}/{}: {}", pool.database, pool.user, pool.mode.as_deref().unwrap_or_default()))
                .collect();
            Ok(if others.is_empty() {
                Found::ok("transaction", "servers are shared between transactions")
            } else {
                let names: Vec<&str> = others.iter().map(String::as_str).collect();
                Found::warning(
                    few(&names),
                    "by session each client holds a server for as long as it is connected",
                    "pool_mode = transaction, where clients keep nothing in their sessions.",
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
            let Some(pooler) = patient.pooler else { return Ok(Found::not_named(NO_POOLER)) };
            if let Err(found) = pools(patient, pooler).await?
                && found.verdict == Verdict::Error
            {
                return Ok(found);
            }
            let found = match route(pooler).await {
                Ok(found) => found,
                Err(error) if is_refused(&error) => return Ok(Found::unknown(sentence(&error), console_remedy(pooler, &error))),
                Err(error) => return Ok(Found::error("unreachable", sentence(&error), console_remedy(pooler, &error))),
            };
            Ok(match found {
                Route::Direct => {
                    Found::warning("no pooler", "at the pooler's address PostgreSQL itself answers", "Look at --pooler or POOLER_URL.")
                }
                Route::Pooled { version: None, .. } => Found::unknown("its console does not let this user in", STATS_USERS),
                Route::Pooled { version: Some((major, minor)), prepared } => {
                    let value = format!("{major}.{minor}");
                    if prepared {
                        Found::ok(value, "prepared statements are carried from server to server")
                    } else if (major, minor) < (1, 21) {
                        Found::warning(
                            value,
                            "before 1.21 prepared statements break in transaction mode",
                            "Upgrade PgBouncer; until then turn them off in clients.",
                        )
                    } else {
                        Found::warning(
                            value,
                            "max_prepared_statements is 0: prepared statements break in transaction mode",
                            "max_prepared_statements = 200",
                        )
                    }
                }
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
            let Some(pooler) = patient.pooler else { return Ok(Found::not_named(NO_POOLER)) };
            let pools = match pools(patient, pooler).await? {
                Ok(pools) => pools,
                Err(unknown) => return Ok(unknown),
            };
            let waiting: i64 = pools.iter().filter_map(|pool| pool.clients_waiting).sum();
            let longest = pools.iter().map(|pool| pool.longest_wait_seconds).fold(0.0, f64::max);
            let value = format!("{waiting} waiting, the longest for {longest:.1} s");
            Ok(if longest >= 1.0 {
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
