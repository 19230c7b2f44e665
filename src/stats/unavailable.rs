//! Why a statistic cannot be had, and what would help: one sentence each for what servers, extensions and privileges say no to.

use std::fmt;

use anyhow::Error;

use crate::model::Failure;
use crate::postgres::{Address, LOCAL_STACK, database_error};
use crate::stats::GRANT;

/// A statistic that this server does not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub reason: String,
    pub remedy: String,
}

impl Unavailable {
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Unavailable { reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// What to do where no Redis answers at the address that `origin` named.
pub fn redis_remedy(origin: &str) -> String {
    match origin {
        LOCAL_STACK => "It is the local stack's: `candlefish stack up` starts what is not running.".to_string(),
        origin => format!("Is Redis up, and is the address from {origin} the one that instances use?"),
    }
}

/// What to do where PgBouncer's console does not answer as it should.
pub fn console_remedy(pooler: &Address, error: &Error) -> String {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    match failure {
        Some(failure) if failure.code == "no_database" => {
            format!(
                "At that address answers PostgreSQL itself, or another pooler: is the address from {} that of PgBouncer?",
                pooler.origin
            )
        }
        Some(Failure { code: "target_refused", sqlstate: Some(state), .. }) if state == "08P01" => {
            format!("Put {:?} into stats_users of pgbouncer.ini, and reload it.", pooler.user())
        }
        Some(Failure { hint: Some(hint), .. }) => hint.clone(),
        _ => "Is it PgBouncer, and does it answer others?".to_string(),
    }
}

/// The error, with what starts a server of the local stack again.
pub fn with_stack(origin: &str, said: String) -> String {
    if origin == LOCAL_STACK { format!("{said} (`candlefish stack up` starts it)") } else { said }
}

/// Why there is no answer.
pub struct Lack {
    /// The reason and the remedy.
    pub notes: Vec<String>,
    /// It was there, and the server had no time for it: nobody may take that for a server without it.
    pub passing: bool,
}

/// None when the error is nobody's refusal but our own mistake.
pub fn explain(error: &Error) -> Option<Lack> {
    if let Some(unavailable) = error.chain().find_map(|cause| cause.downcast_ref::<Unavailable>()) {
        return Some(Lack { notes: vec![unavailable.reason.clone(), unavailable.remedy.clone()], passing: false });
    }
    let refusal = database_error(error)?;
    let said = refusal.message().to_string();
    let code = refusal.code().code();
    let remedy = match code {
        "55000" if said.contains("shared_preload_libraries") => {
            // Of several, each has quotes of its own: one pair around all of them names a library that is not there, and no server starts.
            "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'; -- as a superuser, with what SHOW shared_preload_libraries names before \
             it ('a', 'b'); then restart the server (docker: -c shared_preload_libraries=pg_stat_statements)"
                .to_string()
        }
        "42501" => GRANT.to_string(),
        "55P03" => "A lock is held on what was looked at: `candlefish stats locks` says by whom. Ask again.".to_string(),
        "57014" => "It took longer than 5 s; the server is busy, or the catalog is very large. Ask again.".to_string(),
        _ => return None,
    };
    Some(Lack { notes: vec![said, remedy], passing: matches!(code, "55P03" | "57014") })
}

pub fn is_lock_timeout(error: &Error) -> bool {
    database_error(error).is_some_and(|refusal| refusal.code().code() == "55P03")
}
