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
            let mut reading = counting.of(Reading::of(answer));
            // What tables and indexes count are those of users, which no look reads.
            let of_database = reading.rows.iter_mut().find(|row| row[0].text() == Some("database"));
            if let (Some(looking), Some(row)) = (look.looking, of_database) {
                let (hits, reads) = looking.blocks_of_database();
                looking.take_away(&STAT, row, "hits", hits);
                looking.take_away(&STAT, row, "reads", reads);
            }
            Ok(reading)
        }
        .boxed()
    },
};
