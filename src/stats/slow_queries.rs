//! The statements that cost the most.

use anyhow::bail;
use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Observer, Type};
use crate::stats::{GRANT, Growth, Looking, Reading, Stat, Statements, Unavailable, Whom, counted};

pub const STAT: Stat = Stat {
    name: "slow-queries",
    about: "the statements that cost the most, by pg_stat_statements",
    columns: &[
        "query_id",
        "user",
        "calls",
        "total_ms",
        "mean_ms",
        "max_ms",
        "share_ratio",
        "rows",
        "hits",
        "reads",
        "hit_ratio",
        "io_ms",
        "temp_bytes",
        "wal_bytes",
        "query",
    ],
    growth: Growth {
        key: &["query_id", "user"],
        counters: &["calls", "total_ms", "rows", "hits", "reads", "io_ms", "temp_bytes", "wal_bytes"],
        ratios: &[("mean_ms", "total_ms", &["calls"]), ("hit_ratio", "hits", &["hits", "reads"])],
        whole_life: &["max_ms", "share_ratio"],
    },
    read: |look| {
        async move {
            let statements = Statements::find(look.observer).await?;
            let options = look.options;
            // Two samples are subtracted first and chosen from afterwards.
            let (least, most) = if options.for_rates { (0.0, None) } else { (options.min_ms, Some(options.limit)) };
            let answer = look
                .observer
                .ask_in(
                    &statements.schema,
                    include_str!("queries/slow_queries.sql"),
                    &[(&least, Type::FLOAT8), (&options.sort.as_str(), Type::TEXT), (&most, Type::INT8)],
                )
                .await?;
            let mut reading = Reading { since: statements.since, ..Reading::of_limited(answer) };
            if let Some(looking) = look.looking {
                take_away(&mut reading, looking, look.observer);
            }
            for gap in look.gaps("compute_query_id pg_stat_statements.track").await? {
                match &gap.whom {
                    // Whoever watches keeps out of the list.
                    Whom::Role(role) if *role == look.observer.server.user => {}
                    Whom::Role(_) => reading.notes.push(gap.note("this role's statements are not counted")),
                    Whom::Everybody if reading.rows.is_empty() => {
                        bail!(Unavailable::new(format!("{}: no statement is counted", gap.reason()), gap.remedy))
                    }
                    Whom::Everybody => reading.notes.push(gap.note("no statement is counted any more")),
                    Whom::Hidden if reading.rows.is_empty() => reading.notes.push(gap.note("perhaps no statement is counted")),
                    // Somebody's are.
                    Whom::Hidden => {}
                }
            }
            let hidden = reading.rows.iter().filter(|row| row[0].is_null()).count();
            if hidden > 0 {
                let statements = counted(hidden as u64, "statement");
                reading.notes.push(format!("the text of {statements} of other users is hidden from this one: {GRANT}"));
                reading.rows.iter_mut().filter(|row| row[0].is_null()).for_each(|row| row[14] = Cell::Null);
            }
            if reading.rows.is_empty() && least > 0.0 {
                reading.notes.push(format!("no statement takes {least} ms or more on average: --min-ms 0 shows all"));
            }
            if let Some(evictions) = statements.evictions.filter(|evictions| *evictions > 0) {
                reading.notes.push(format!(
                    "statements were thrown out {} for want of room, so rare ones are missing: raise pg_stat_statements.max",
                    counted(evictions as u64, "time")
                ));
            }
            Ok(reading)
        }
        .boxed()
    },
};

/// What our own looks say of transactions is counted with what others of this user say; their questions are not in the list. Where the server tells such
/// statements apart by their texts, ours are marked, and none of these rows has any.
fn take_away(reading: &mut Reading, looking: &Looking, observer: &Observer) {
    if !observer.counts_control_with_others() {
        return;
    }
    let (control, me) = (looking.control(observer), observer.server.user.replace('"', ""));
    let mut is_taken = false;
    for row in reading.rows.iter_mut().filter(|row| row[1].text().is_some_and(|user| user.replace('"', "") == me)) {
        let own = match row[14].text().and_then(about_transactions) {
            Some("begin") => control.begins,
            Some("commit") => control.commits,
            Some("rollback") => control.rollbacks,
            Some("savepoint") => control.savepoints,
            Some("release") => control.savepoints,
            _ => continue,
        };
        // Each statement of its own: what one has counted is no reset of another.
        if let (Some(all), Some(id)) = (row[2].number(), row[0].text().map(str::to_string)) {
            row[2] = Cell::Real(looking.without(STAT.name, &id, all, own as f64));
            is_taken = true;
        }
    }
    if is_taken {
        let note = "of BEGIN, COMMIT and the like the calls of this watch are taken away; the time that they took, which nobody tells apart, is not";
        reading.notes.push(note.to_string());
    }
}

/// Which statement of ours this is, as whoever said it first has written it.
fn about_transactions(query: &str) -> Option<&'static str> {
    let query = query.to_ascii_lowercase();
    let words: Vec<&str> = query.trim_end_matches(';').split_whitespace().filter(|word| !matches!(*word, "transaction" | "work")).collect();
    match words[..] {
        ["begin", "read", "only"] => Some("begin"),
        ["commit" | "end"] => Some("commit"),
        ["rollback" | "abort"] => Some("rollback"),
        // The name is a parameter from PostgreSQL 17 on.
        ["savepoint", "look" | "$1"] => Some("savepoint"),
        ["release", "look" | "$1"] | ["release", "savepoint", "look" | "$1"] => Some("release"),
        _ => None,
    }
}

/// By what the list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Total,
    Mean,
    Calls,
    Io,
    Wal,
}

impl Sort {
    pub const ALL: [Sort; 5] = [Sort::Total, Sort::Mean, Sort::Calls, Sort::Io, Sort::Wal];

    pub fn as_str(self) -> &'static str {
        match self {
            Sort::Total => "total",
            Sort::Mean => "mean",
            Sort::Calls => "calls",
            Sort::Io => "io",
            Sort::Wal => "wal",
        }
    }

    /// The column of a sheet of rates.
    pub fn rate_column(self) -> &'static str {
        match self {
            Sort::Total => "total_ms_per_s",
            Sort::Mean => "mean_ms",
            Sort::Calls => "calls_per_s",
            Sort::Io => "io_ms_per_s",
            Sort::Wal => "wal_bytes_per_s",
        }
    }
}
