//! Reads and writes by who did them.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "io",
    about: "reads and writes by who did them, on what and how (pg_stat_io, from PostgreSQL 16)",
    columns: &[
        "backend",
        "object",
        "context",
        "reads",
        "read_bytes",
        "read_ms",
        "writes",
        "write_bytes",
        "write_ms",
        "extends",
        "extend_bytes",
        "hits",
        "hit_ratio",
        "evictions",
        "fsyncs",
    ],
    growth: Growth {
        key: &["backend", "object", "context"],
        counters: &[
            "reads",
            "read_bytes",
            "read_ms",
            "writes",
            "write_bytes",
            "write_ms",
            "extends",
            "extend_bytes",
            "hits",
            "evictions",
            "fsyncs",
        ],
        ratios: &[("hit_ratio", "hits", &["hits", "reads"])],
        whole_life: &[],
    },
    read: |look| {
        async move {
            if look.observer.knows("pg_catalog.pg_stat_io").await? {
                return Ok(Reading::of(look.ask(include_str!("queries/io.sql"), &[]).await?));
            }
            let counting = look.counting().await?;
            let answer = look.ask(include_str!("queries/io_before_16.sql"), &[(&counting.is_on, Type::BOOL)]).await?;
            let mut reading = counting.of(Reading::of(answer));
            reading.notes.push(format!(
                "PostgreSQL {} has no pg_stat_io: these are the sums that it keeps; backend by backend is counted from 16 on",
                look.observer.server.version
            ));
            Ok(reading)
        }
        .boxed()
    },
};
