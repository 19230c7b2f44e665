//! What has to be done now and then, and is: vacuum, statistics, transaction ids, sequences.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Unseen, few};
use crate::model::Cell;
use crate::postgres::Type;
use crate::stats::{Gap, Whom};

pub const AUTOVACUUM: Check = Check {
    name: "autovacuum",
    about: "autovacuum cleans up after updates and deletes",
    run: |patient| {
        async move {
            let gaps = patient.look().gaps("autovacuum track_counts").await?;
            let of = |is: fn(&Whom) -> bool| gaps.iter().filter(|gap| is(&gap.whom)).collect::<Vec<&Gap>>();
            let said = |gaps: &[&Gap]| gaps.iter().map(|gap| gap.reason()).collect::<Vec<_>>().join(", ");
            let mend = |gaps: &[&Gap]| gaps.iter().map(|gap| gap.remedy.clone()).collect::<Vec<_>>().join("\n");
            let of_all = of(|whom| *whom == Whom::Everybody);
            if !of_all.is_empty() {
                let why = "dead rows stay, tables grow, and the planner's statistics grow old";
                return Ok(Found::error(said(&of_all), why, mend(&of_all)));
            }
            // Its launcher is in no database: what ALTER DATABASE or ALTER ROLE ALL say is nothing to it.
            match patient.look().own_setting("track_counts").await? {
                Some(own) if own == "on" => {}
                Some(_) => {
                    let why = "the server's own track_counts is off, and autovacuum does not run, whatever this database says";
                    return Ok(Found::error("track_counts is off", why, "ALTER SYSTEM SET track_counts = on;\nSELECT pg_reload_conf();"));
                }
                None => {
                    let why = "whether the server's own track_counts is on, by which autovacuum goes, is hidden by another setting";
                    return Ok(Found::unknown(
                        why,
                        "Ask as a superuser, where neither the role nor the database has a setting of its own.",
                    ));
                }
            }
            let of_some = of(|whom| matches!(whom, Whom::Role(_)));
            if !of_some.is_empty() {
                let why = "what this role writes autovacuum does not hear of, and no statistic either";
                return Ok(Found::warning(said(&of_some), why, mend(&of_some)));
            }
            let hidden = of(|whom| *whom == Whom::Hidden);
            if !hidden.is_empty() {
                return Ok(Found::unknown(said(&hidden), mend(&hidden)));
            }
            let answer = patient.observer.ask(include_str!("queries/no_autovacuum.sql"), &[]).await?;
            let names: Vec<&str> = answer.rows.iter().filter_map(|row| row[0].text()).collect();
            Ok(if names.is_empty() {
                Found::ok("on", "it is on, for every table")
            } else {
                let each: Vec<String> =
                    names.iter().take(4).map(|name| format!("ALTER TABLE {name} RESET (autovacuum_enabled);")).collect();
                Found::warning(few(&names), "for these tables it is turned off: vacuum them yourself, or", each.join("\n"))
            })
        }
        .boxed()
    },
};

pub const STATISTICS: Check = Check {
    name: "planner-statistics",
    about: "the planner knows what is in the tables",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/never_analyzed.sql"), &[]).await?;
            let (locked, seen): (Vec<_>, Vec<_>) = answer.rows.iter().partition(|row| row[1] == Cell::Bool(true));
            let names = |rows: &[&Vec<Cell>]| -> Vec<String> { rows.iter().filter_map(|row| row[0].text().map(str::to_string)).collect() };
            let seen = names(&seen);
            let found = if seen.is_empty() {
                Found::ok("", "every table with rows has been analyzed")
            } else {
                let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
                Found::warning(few(&seen), "these were never analyzed: the planner guesses", "ANALYZE")
            };
            Ok(Unseen(names(&locked)).judge(found))
        }
        .boxed()
    },
};

pub const WRAPAROUND: Check = Check {
    name: "wraparound",
    about: "transaction ids do not run out",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/wraparound.sql"), &[]).await?;
            let used = answer.value(0, "used").and_then(Cell::number).unwrap_or(0.0);
            let value = format!("{}: {:.1} % used", answer.value(0, "database").and_then(Cell::text).unwrap_or_default(), used * 100.0);
            let remedy = "End the sessions, prepared transactions, replication slots and queries of standbys that hold old rows back (`candlefish stats vacuum` \
                          in each database names them, and the tables to freeze), then VACUUM (FREEZE).";
            Ok(match used {
                0.7.. => Found::error(value, "the server will refuse to write", remedy),
                0.3.. => Found::warning(value, "something keeps autovacuum from freezing", remedy),
                _ => Found::ok(value, "there is far to go"),
            })
        }
        .boxed()
    },
};

pub const SEQUENCES: Check = Check {
    name: "sequences",
    about: "no sequence comes to the end of its column",
    run: |patient| {
        async move {
            let answer = patient.observer.ask(include_str!("queries/sequences.sql"), &[(&NEAR, Type::FLOAT8)]).await?;
            let hidden_ones = patient.observer.ask(include_str!("queries/hidden_sequences.sql"), &[]).await?;
            let texts = |at: usize| hidden_ones.rows.iter().filter_map(move |row| row[at].text());
            let (hidden, names) = (hidden_ones.rows.len(), few(&texts(0).collect::<Vec<_>>()));
            let unseen = || {
                let why = format!("how far these are is hidden from this user: {names}");
                // No right to read tables is needed for it.
                let schemas: BTreeSet<&str> = texts(1).collect();
                let schemas = schemas.into_iter().collect::<Vec<_>>().join(", ");
                let user = &patient.observer.server.user;
                Found::unknown(
                    why,
                    format!("GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schemas} TO {user}; -- as their owner or a superuser"),
                )
            };
            let Some(fullest) = answer.rows.first() else {
                return Ok(if hidden > 0 { unseen() } else { Found::ok("", "no sequence has been used") });
            };
            let used = |row: &[Cell]| row[1].number().unwrap_or(0.0);
            let said = |row: &Vec<Cell>| {
                // It is not full before its last number is taken.
                let percent = if used(row) < 1.0 { (used(row) * 100.0).min(99.9) } else { used(row) * 100.0 };
                format!("{}: {percent:.1} % used", row[0].text().unwrap_or_default())
            };
            let value = answer.rows.iter().map(said).collect::<Vec<_>>().join(", ");
            let others = if hidden > 0 { format!("; how far these are is hidden from this user: {names}") } else { String::new() };
            let remedies = || answer.rows.iter().map(|row| more_numbers(row)).collect::<Vec<_>>().join("\n");
            Ok(match used(fullest) {
                SOON.. => Found::error(value, format!("soon no row can be added{others}"), remedies()),
                NEAR.. => Found::warning(value, format!("the end of their columns can be seen{others}"), remedies()),
                _ if hidden > 0 => unseen(),
                _ => Found::ok(said(fullest), "of the fullest; there is room"),
            })
        }
        .boxed()
    },
};

/// From which part of its numbers on a sequence is near its end, and soon at it.
const NEAR: f64 = 0.7;
const SOON: f64 = 0.9;

/// What lets a sequence count on, on one line: name, part, table and column where a larger type would help, and whether it ends before its type does.
fn more_numbers(row: &[Cell]) -> String {
    let name = row[0].text().unwrap_or_default();
    match (row[2].text(), row[3].text()) {
        (Some(table), Some(column)) => {
            format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint; ALTER SEQUENCE {name} AS bigint NO MAXVALUE; \
                 -- it rewrites the table; foreign keys have to follow"
            )
        }
        _ if row[4] == Cell::Bool(true) => format!("ALTER SEQUENCE {name} AS bigint NO MAXVALUE;"),
        _ => format!("ALTER SEQUENCE {name} RESTART; -- no type counts further: only where the numbers from its start on are free again"),
    }
}
