//! Why a statistic cannot be had, and what would help: one sentence each for what servers, extensions and privileges say no to.

use std::fmt;

use anyhow::Error;

use crate::postgres::database_error;
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
            "Add pg_stat_statements to shared_preload_libraries and restart the server (docker: -c shared_preload_libraries=pg_stat_statements)."
                .to_string()
        }
        "42501" => format!("{GRANT}."),
        "55P03" => "A lock is held on what was looked at: `candlefish stats locks` says by whom. Ask again.".to_string(),
        "57014" => "It took longer than 5 s; the server is busy, or the catalog is very large. Ask again.".to_string(),
        _ => return None,
    };
    Some(Lack { notes: vec![said, remedy], passing: matches!(code, "55P03" | "57014") })
}

pub fn is_lock_timeout(error: &Error) -> bool {
    database_error(error).is_some_and(|refusal| refusal.code().code() == "55P03")
}
