//! Reads and writes by who did them.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Looking, Reading, Stat};

/// Of a server as it is built everywhere.
const BLOCK_BYTES: f64 = 8192.0;

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
                let mut reading = Reading::of(look.ask(include_str!("queries/io.sql"), &[]).await?);
                if let Some(looking) = look.looking {
                    take_away(&mut reading, "client backend", looking, looking.blocks());
                }
                return Ok(reading);
            }
            let counting = look.counting().await?;
            let answer = look.ask(include_str!("queries/io_before_16.sql"), &[(&counting.is_on, Type::BOOL)]).await?;
            let mut reading = counting.of(Reading::of(answer));
            if let Some(looking) = look.looking {
                take_away(&mut reading, "this database's backends", looking, looking.blocks_of_database());
            }
            reading.notes.push(format!(
                "PostgreSQL {} has no pg_stat_io: these are the sums that it keeps; backend by backend is counted from 16 on",
                look.observer.server.version
            ));
            Ok(reading)
        }
        .boxed()
    },
};

/// Our own looks read relations as every client does.
fn take_away(reading: &mut Reading, backend: &str, looking: &Looking, (hits, reads): (f64, f64)) {
    let own = [Some(backend), Some("relation"), Some("normal")];
    let Some(row) = reading.rows.iter_mut().find(|row| [row[0].text(), row[1].text(), row[2].text()] == own) else { return };
    looking.take_away(&STAT, row, "hits", hits);
    looking.take_away(&STAT, row, "reads", reads);
    looking.take_away(&STAT, row, "read_bytes", reads * BLOCK_BYTES);
}
