//! Local times that a zone skipped or showed twice: what they were taken for is no guess that may go unsaid.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::migrate::counted_rows::CountedRows;
use crate::model::{Schema, TypeKind, Value};
use crate::plan::time::Moment;
use crate::plan::{ColumnPlan, Odd, Plan, TablePlan, Warning};
use crate::sqlite::{Reader, Scan, Snapshot};

/// A note for each column whose zone did not have some of its times exactly once; blocking. Columns without a zone are not read.
pub fn notes(snapshot: &Snapshot, schema: &Schema, plan: &Plan) -> Result<Vec<Warning>> {
    let asks = |column: &&Arc<ColumnPlan>| column.column_type.kind == TypeKind::TimestampTz && column.conversion.source_tz.zone().is_some();
    let mut notes = Vec::new();
    for table in plan.tables.iter().filter(|table| !table.without_data) {
        for column in table.columns.iter().filter(asks) {
            let reader = snapshot.reader()?;
            let (twice, never) = odd_times(&reader, schema, table, column).with_context(|| format!("read table {:?}", table.source))?;
            let (object, tz) = (format!("{}.{}", table.source, column.source), &column.conversion.source_tz);
            for (code, found, what) in [
                ("time_twice", twice, "were there twice: the first is taken, before the clocks were put back"),
                ("time_skipped", never, "never were: they are read with the offset before the clocks were put forward"),
            ] {
                if found.count > 0 {
                    let times = if found.count == 1 { "1 time".to_string() } else { format!("{} times", found.count) };
                    let message = format!("{times} in {tz} {what} ({})", found.named());
                    notes.push(Warning::note(code, &object, message));
                }
            }
        }
    }
    Ok(notes)
}

fn odd_times(reader: &Reader<'_>, schema: &Schema, table: &TablePlan, column: &ColumnPlan) -> Result<(CountedRows, CountedRows)> {
    let (mut twice, mut never) = (CountedRows::default(), CountedRows::default());
    let columns = [column.source_index];
    reader.scan(&Scan::table(&schema.tables[table.source_index], &columns), |row| {
        let Value::Text(text) = row.value(0) else { return Ok(()) };
        let Some(moment) = Moment::parse(text).filter(|moment| moment.offset.is_none()) else { return Ok(()) };
        match moment.local_micros().and_then(|local| column.conversion.source_tz.odd(local)) {
            Some(Odd::Twice) => twice.add(row.key),
            Some(Odd::Never) => never.add(row.key),
            None => {}
        }
        Ok(())
    })?;
    Ok((twice, never))
}
