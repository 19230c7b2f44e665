//! What autovacuum has to do, and how far the end of transaction ids is.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "vacuum",
    about: "distance to wraparound, dead rows against what starts autovacuum, vacuums under way",
    columns: &[
        "what",
        "name",
        "xid_age",
        "wraparound_ratio",
        "dead_est",
        "due_at",
        "due_ratio",
        "vacuumed_seconds",
        "phase",
        "progress_ratio",
    ],
    growth: Growth::NONE,
    read: |look| {
        async move { Ok(Reading::of(look.ask(include_str!("queries/vacuum.sql"), &[(&look.options.limit, Type::INT8)]).await?)) }.boxed()
    },
};
