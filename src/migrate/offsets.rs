//! Times that come into a column of a given type with an offset that it does not keep, or without one where it asks for one: PostgreSQL takes both without a word.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::model::{Schema, TypeKind, Value};
use crate::plan::declared::Declared;
use crate::plan::profile::{TableProfile, Trait};
use crate::plan::time::Moment;
use crate::plan::{ColumnPlan, Plan, TablePlan, Warning};
use crate::sqlite::{Scan, Snapshot};

/// How many times of a column have an offset, and how many have none.
#[derive(Clone, Copy, Default)]
struct Counts {
    zoned: u64,
    naive: u64,
}

/// A note for each column, given by the target or by a mapping, that holds its times in another way than the source; blocking.
pub fn notes(snapshot: &Snapshot, schema: &Schema, profiles: &[TableProfile], plan: &Plan) -> Result<Vec<Warning>> {
    let mut notes = Vec::new();
    for table in plan.tables.iter().filter(|table| !table.without_data) {
        let holds_times = |column: &&ColumnPlan| {
            !column.computed
                && matches!(column.column_type.kind, TypeKind::Timestamp | TypeKind::TimestampTz)
                && !table.added_columns.iter().any(|(added, _)| *added == column.target)
        };
        let columns: Vec<&ColumnPlan> = table.columns.iter().map(Arc::as_ref).filter(holds_times).collect();
        let profile = &profiles[table.source_index];
        let counts = count(snapshot, schema, profile, table, &columns).with_context(|| format!("read table {:?}", table.source))?;
        notes.extend(columns.iter().zip(counts).filter_map(|(column, counts)| note(table, column, counts)));
    }
    Ok(notes)
}

/// By column. The profile has looked for times where they were declared; elsewhere the rows are read.
fn count(snapshot: &Snapshot, schema: &Schema, profile: &TableProfile, table: &TablePlan, columns: &[&ColumnPlan]) -> Result<Vec<Counts>> {
    let source = &schema.tables[table.source_index];
    let is_known = |column: &ColumnPlan| {
        let declared = Declared::parse(&source.columns[column.source_index].declared);
        matches!(declared, Declared::Date | Declared::DateTime | Declared::DateTimeTz | Declared::Time)
    };
    let of_profile = |column: &&ColumnPlan| {
        let seen = &profile.columns[column.source_index];
        Counts { zoned: seen.count(Trait::Zoned), naive: seen.count(Trait::Naive) + seen.count(Trait::Date) }
    };
    let mut counts: Vec<Counts> = columns.iter().map(of_profile).collect();
    let unknown: Vec<usize> =
        (0..columns.len()).filter(|at| !is_known(columns[*at]) && profile.columns[columns[*at].source_index].has(Trait::Text)).collect();
    if unknown.is_empty() {
        return Ok(counts);
    }
    let read: Vec<usize> = unknown.iter().map(|at| columns[*at].source_index).collect();
    snapshot.reader()?.scan(&Scan::table(source, &read), |row| {
        for (place, at) in unknown.iter().enumerate() {
            let Value::Text(text) = row.value(place) else { continue };
            match Moment::parse(text) {
                Some(moment) if moment.days.is_none() => {}
                Some(moment) if moment.offset.is_some() => counts[*at].zoned += 1,
                Some(_) => counts[*at].naive += 1,
                None => {}
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn note(table: &TablePlan, column: &ColumnPlan, Counts { zoned, naive }: Counts) -> Option<Warning> {
    let label = format!("{}.{}", table.source, column.source);
    match column.column_type.kind {
        TypeKind::Timestamp if zoned > 0 && naive > 0 => Some(Warning::weaker(
            "offset_not_kept",
            label,
            format!(
                "keeps no offset: {zoned} of its times have one, and are written as times of UTC, and {naive} beside them have none and \
                 stay as they are"
            ),
        )),
        TypeKind::Timestamp if zoned > 0 => Some(Warning::note(
            "offset_not_kept",
            label,
            format!("keeps no offset: {zoned} of its times have one, and are written as times of UTC"),
        )),
        TypeKind::TimestampTz if naive > 0 => Some(Warning::note(
            "times_without_offset",
            label,
            format!("{naive} of its times have no offset, and are read as times of {} (--source-tz)", column.conversion.source_tz),
        )),
        _ => None,
    }
}
