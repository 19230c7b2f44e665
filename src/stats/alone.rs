//! What is known while PostgreSQL does not answer: PgBouncer and the instances of the data layer speak for themselves, and then they are asked most.

use anyhow::{Error, Result};

use crate::model::{Failure, sentence};
use crate::postgres::ServerFacts;
use crate::stats::pools::Sessions;
use crate::stats::unavailable::Lack;
use crate::stats::{Around, Reading, Sheet, Stat, cache, explain, pools};

impl Stat {
    /// It has something to say of what stands around the server, and that answers.
    pub fn is_known_without_server(&self, around: &Around) -> bool {
        let (pooler, instances) = (matches!(around.pooler, Some(Ok(_))), matches!(around.instances, Some(Ok(_))));
        match self.name {
            "pools" => pooler || (around.pooler.is_none() && instances),
            "cache" => instances,
            _ => false,
        }
    }

    /// The sheet without the server, which `error` kept from answering: unavailable, unless it is about what stands around it.
    pub fn sheet_without_server(&'static self, around: &Around, error: &Error) -> Sheet {
        let server = ServerFacts::default();
        match self.read_around(around) {
            None => Sheet::unavailable(self, &server, lack(error)),
            Some(Ok(mut reading)) => {
                reading.notes.push(format!("PostgreSQL does not answer, and this is what others say: {}", sentence(error)));
                Sheet::of(self, &server, reading)
            }
            Some(Err(own)) => Sheet::unavailable(self, &server, explain(&own).unwrap_or_else(|| lack(error))),
        }
    }

    fn read_around(&self, around: &Around) -> Option<Result<Reading>> {
        match self.name {
            "pools" => Some(pools::of(around, &Sessions::new())),
            "cache" => Some(cache::of(around)),
            _ => None,
        }
    }
}

/// The reason, and what to do: as of every statistic that cannot be had. It comes back with the server.
fn lack(error: &Error) -> Lack {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let hint = failure.and_then(|failure| failure.hint.clone());
    Lack { notes: [sentence(error)].into_iter().chain(hint).collect(), passing: true }
}
