//! How much was found in shared buffers.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "cache-hit",
    about: "how many blocks were found in shared buffers: tables, indexes, TOAST, the database",
    columns: &["what", "hits", "reads", "hit_ratio"],
    growth: Growth { key: &["what"], counters: &["hits", "reads"], ratios: &[("hit_ratio", "hits", &["hits", "reads"])], whole_life: &[] },
    read: |look| {
        async move {
            let counting = look.counting().await?;
            let answer = look.ask(include_str!("queries/cache_hit.sql"), &[(&counting.is_on, Type::BOOL)]).await?;
            Ok(counting.of(Reading::of(answer)))
        }
        .boxed()
    },
};
