//! Tables and materialized views: size, rows, dead rows, bloat, and how they are read.

use anyhow::Result;
use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Parameter, Type};
use crate::stats::{Growth, Look, Reading, Skipped, Stat};

pub const STAT: Stat = Stat {
    name: "tables",
    about: "size, rows, dead rows, bloat (estimated) and scans of tables; the age of materialized views; where autovacuum is off",
    columns: &[
        "table",
        "kind",
        "size_bytes",
        "rows_est",
        "dead_est",
        "dead_ratio",
        "bloat_est_bytes",
        "index_bytes",
        "toast_bytes",
        "seq_scans",
        "seq_rows",
        "index_scans",
        "inserts",
        "updates",
        "deletes",
        "vacuumed_seconds",
        "analyzed_seconds",
        "refreshed_seconds",
        "autovacuum",
        "locked_by",
    ],
    growth: Growth {
        key: &["table"],
        counters: &["seq_scans", "seq_rows", "index_scans", "inserts", "updates", "deletes"],
        ratios: &[],
        whole_life: &[],
    },
    read: |look| {
        async move {
            // Two samples are subtracted first and chosen from afterwards: one that was not listed before has not begun to count.
            let most = (!look.options.for_rates).then_some(look.options.limit);
            let counting = look.counting().await?;
            let parameters: [Parameter<'_>; 3] = [(&most, Type::INT8), (&counting.is_on, Type::BOOL), (&counting.of_writes, Type::BOOL)];
            let mut reading = counting.of(Reading::of_limited(look.ask(include_str!("queries/tables.sql"), &parameters).await?));
            counting.note_writes(&mut reading);
            note_unread(look, &mut reading).await?;
            date_views(look, &mut reading).await?;
            let locked = |row: &Vec<Cell>| Some(Skipped { table: row[0].text()?.to_string(), pid: row.last()?.number()? as i64 });
            reading.skipped = reading.rows.iter().filter_map(locked).collect();
            Ok(reading)
        }
        .boxed()
    },
};

const MAY_STAT_FILES: &str = "SELECT has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', 'EXECUTE')";

/// When materialized views were refreshed: where the server keeps no commit timestamps, by their files, when this user may look at those.
async fn date_views(look: &Look<'_>, reading: &mut Reading) -> Result<()> {
    let is_view = |row: &[Cell]| row[1].text() == Some("materialized view");
    let undated = |row: &[Cell]| is_view(row) && row[17].is_null();
    if reading.rows.iter().any(|row| is_view(row) && !undated(row)) {
        let note = "materialized views are dated by the last change of their entry in the catalog: a refresh, or a GRANT or ALTER after it";
        reading.notes.push(note.to_string());
    }
    if !reading.rows.iter().any(|row| undated(row)) {
        return Ok(());
    }
    if look.ask(MAY_STAT_FILES, &[]).await?.rows == [[Cell::Bool(true)]] {
        let files = look.ask(include_str!("queries/view_files.sql"), &[]).await?;
        for row in reading.rows.iter_mut().filter(|row| undated(row)) {
            if let Some(file) = files.rows.iter().find(|file| file[0] == row[0]) {
                row[17] = file[1].clone();
            }
        }
        reading.notes.push(
            "materialized views are dated by their files, up to a checkpoint late; exactly with track_commit_timestamp = on".to_string(),
        );
    } else {
        reading
            .notes
            .push("when materialized views were refreshed is not known: set track_commit_timestamp = on (it needs a restart)".to_string());
    }
    Ok(())
}

/// Says why there is no estimate of bloat: the planner's statistics of a table are shown to those who may read it.
async fn note_unread(look: &Look<'_>, reading: &mut Reading) -> Result<()> {
    let answer = look.ask(include_str!("queries/unread_tables.sql"), &[]).await?;
    let unread = answer.value(0, "tables").and_then(Cell::number).unwrap_or_default();
    if unread > 0.0 {
        reading.notes.push(format!(
            "bloat is not known of {unread} of the tables: this user may not read them (GRANT SELECT ON them, or GRANT pg_read_all_data)"
        ));
    }
    Ok(())
}
