//! Who stands in the way when a lock is not to be had: the person who is called for it wants a name, not a place to look.

use anyhow::Result;
use tokio_postgres::Row;

use crate::model::Failure;
use crate::postgres::{Address, connect, database_error, sql_failure};

/// Holders that are named; of one more it is said that there are others.
const NAMED: usize = 5;
/// Locks that are named of each.
const LOCKS: usize = 3;

pub fn is_lock_timeout(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Failure>().and_then(|failure| failure.sqlstate.as_deref());
    code.or_else(|| database_error(error).map(|refusal| refusal.code().code())) == Some("55P03")
}

/// An error that a lock was waited for in vain, with who holds locks on the tables of the schema right now; any other error is left as it is.
pub async fn with_lock_holders(address: &Address, schema: &str, error: anyhow::Error) -> anyhow::Error {
    if !is_lock_timeout(&error) {
        return error;
    }
    let mut error = sql_failure(error);
    // That it could not be asked is no reason to say less of what happened.
    let Ok(holders) = holders(address, schema).await else { return error };
    if let Some(failure) = error.downcast_mut::<Failure>() {
        let (said, hint) = match holders.as_slice() {
            [] => ("by now nobody holds one on a table of the schema".to_string(), "Run the same command again.".to_string()),
            holders => {
                let mut said: Vec<&str> = holders.iter().take(NAMED).map(|(said, _)| said.as_str()).collect();
                said.extend((holders.len() > NAMED).then_some("and others"));
                (said.join("; "), format!("Wait until it is done, or end it: {}", holders[0].1))
            }
        };
        failure.message = format!("{}: {said}", failure.message);
        failure.hint = Some(hint);
    }
    error
}

/// What is said of each, and what ends it.
async fn holders(address: &Address, schema: &str) -> Result<Vec<(String, String)>> {
    let client = connect(address).await?;
    let rows = client.query(include_str!("queries/lock_holders.sql"), &[&schema]).await?;
    Ok(rows.iter().map(holder).collect())
}

fn holder(row: &Row) -> (String, String) {
    let (pid, gid): (Option<i32>, Option<String>) = (row.get(0), row.get(1));
    let (application, user): (String, String) = (row.get(2), row.get(3));
    let (state, begun, asked): (Option<String>, Option<String>, Option<String>) = (row.get(4), row.get(5), row.get(6));
    let locks: Vec<String> = row.get(7);
    let mut held = locks.iter().take(LOCKS).cloned().collect::<Vec<_>>().join(", ");
    if locks.len() > LOCKS {
        held.push_str(&format!(" and {} more", locks.len() - LOCKS));
    }
    let at = |what: &str, time: Option<String>| time.map_or(String::new(), |time| format!(", {what} {time} UTC"));
    match pid {
        Some(pid) => {
            let state = state.unwrap_or_else(|| "state not shown to this user".into());
            let times = at("last query of", asked) + &at("transaction of", begun);
            (
                format!("session {pid} ({application}, user {user}, {state}{times}) holds {held}"),
                format!("SELECT pg_terminate_backend({pid})"),
            )
        }
        None => {
            let gid = gid.unwrap_or_default();
            let end = format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''"));
            (format!("the prepared transaction {gid:?} (user {user}{}) holds {held}", at("prepared at", begun)), end)
        }
    }
}
