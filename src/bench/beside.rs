//! What a run goes through beside PostgreSQL itself, looked at before anything is sent: whatever guards the target, and whatever a report says of it,
//! would else be of one server and the load of another.

use anyhow::{Context as _, Result, bail};

use crate::model::{Failure, sentence};
use crate::postgres::{Address, connect};
use crate::store::{REDIS_REFUSED, RedisFacts};

/// Fails unless the pooler leads to the database that is the target.
pub async fn check_pooler(target: &Address, pooler: &Address) -> Result<()> {
    if pooler.shown() == target.shown() {
        return Ok(());
    }
    // What is set of a session there, the next client would have.
    let mut bare = pooler.without_options();
    bare.session.clear();
    let (wanted, found) = (which(target).await?, which(&bare).await.context("ask the pooler")?);
    if wanted == found {
        return Ok(());
    }
    let behind = match (wanted.name == found.name, wanted.server == found.server) {
        (true, _) => format!("a database {:?} of another server", found.name),
        (false, true) => format!("database {:?}", found.name),
        (false, false) => format!("database {:?} of another server", found.name),
    };
    let failure = Failure::new(
        "other_database",
        format!("the pooler {pooler} (from {}) leads to {behind}, and the target is {target}", pooler.origin),
    );
    bail!(failure.hint("Name a pooler of the target (--pooler, POOLER_URL), or the database behind this one (-d); without a pooler the layers connect by themselves."))
}

#[derive(PartialEq)]
struct Database {
    name: String,
    oid: u32,
    /// When it was started: every role may ask that, and no other server has the same to the microsecond.
    server: String,
}

async fn which(address: &Address) -> Result<Database> {
    let client = connect(address).await?;
    // Without a name: behind a pooler it may be another client's already.
    let row = client.query_typed(include_str!("queries/which_database.sql"), &[]).await.context("ask which database this is")?;
    let row = row.first().context("a database has a name")?;
    Ok(Database { name: row.get(0), oid: row.get(1), server: row.get(2) })
}

/// Fails unless Redis answers: the data layer would go on without it, and what is called l2 would be none.
pub async fn check_redis(url: &str) -> Result<()> {
    match RedisFacts::read(url).await {
        Ok(_) => Ok(()),
        Err(error) if error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == REDIS_REFUSED) => Err(error),
        Err(error) => {
            let failure = Failure::new("redis_unreachable", format!("Redis does not answer: {}", sentence(&error)));
            bail!(failure.hint("Check --redis or REDIS_URL; without Redis: --layer pooled or direct."))
        }
    }
}
