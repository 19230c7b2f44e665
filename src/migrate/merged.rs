//! Values that SQLite tells apart by their storage class alone, and that one PostgreSQL type makes equal: 1, '1' and x'31' in a column without a type.
//! Both sides read the same then, so nothing but this says that an application can no longer tell them apart.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Context as _, Result};

use crate::model::{Affinity, Schema, TypeKind, Value};
use crate::plan::convert::{Datum, Scratch};
use crate::plan::profile::{ColumnProfile, TableProfile, Trait};
use crate::plan::{ColumnPlan, ObjectKind, Plan, TablePlan, Warning};
use crate::sqlite::{Reader, Scan, Snapshot};

/// Forms of values that are held together; a column with more of them is read once more.
const FORMS: u64 = 100_000;
/// Readings of one column, after which the number is a lower bound.
const READINGS: u64 = 16;
/// Rows that are named of each column.
const EXAMPLES: usize = 5;

const CLASSES: [Trait; 4] = [Trait::Integer, Trait::Real, Trait::Text, Trait::Blob];

/// A loss for each column in which values have become equal; blocking. Columns of one storage class are not read.
pub fn losses(snapshot: &Snapshot, schema: &Schema, profiles: &[TableProfile], plan: &Plan) -> Result<Vec<Warning>> {
    let mut losses = Vec::new();
    for table in plan.tables.iter().filter(|table| !table.without_data) {
        let affinities = &schema.tables[table.source_index].columns;
        for column in &table.columns {
            let seen = &profiles[table.source_index].columns[column.source_index];
            if !may_merge(column, affinities[column.source_index].affinity, seen) {
                continue;
            }
            let reader = snapshot.reader()?;
            let found = merged(&reader, schema, table, column, seen).with_context(|| format!("read table {:?}", table.source))?;
            losses.extend(found.loss(table, column));
        }
    }
    Ok(losses)
}

/// Where a column has an affinity for numbers, no text that is one stays text.
fn may_merge(column: &ColumnPlan, affinity: Affinity, seen: &ColumnProfile) -> bool {
    let as_text = matches!(
        column.column_type.kind,
        TypeKind::Text { .. } | TypeKind::Char { .. } | TypeKind::Bytea | TypeKind::Json | TypeKind::Jsonb | TypeKind::Other
    );
    let classes = CLASSES.iter().filter(|class| seen.has(**class)).count();
    as_text && !column.computed && classes > 1 && (affinity == Affinity::Blob || seen.has(Trait::Blob))
}

#[derive(Default)]
struct Merged {
    forms: u64,
    rows: Vec<i64>,
    is_whole: bool,
}

impl Merged {
    fn loss(self, table: &TablePlan, column: &ColumnPlan) -> Option<Warning> {
        let (rows, least) =
            (self.rows.iter().map(i64::to_string).collect::<Vec<_>>().join(", "), if self.is_whole { "" } else { "at least " });
        let more = if self.forms > self.rows.len() as u64 { ", …" } else { "" };
        let values = if self.forms == 1 { "1 value".to_string() } else { format!("{} values", self.forms) };
        let message = format!(
            "{least}{values} of {} stand each for several in SQLite, which differ by their storage class alone, as 1, '1' and x'31' do (rows {rows}{more})",
            column.column_type.sql
        );
        let object = format!("{}.{}", table.source, column.source);
        let class = ObjectKind::Column.allow_class().into();
        (self.forms > 0).then(|| Warning { code: "values_merged".into(), class, ..Warning::loss(ObjectKind::Column, object, message) })
    }
}

/// Holds the forms of all but the commonest class, a part of them at a time, and looks the others up among them.
fn merged(reader: &Reader<'_>, schema: &Schema, table: &TablePlan, column: &ColumnPlan, seen: &ColumnProfile) -> Result<Merged> {
    let commonest = CLASSES.into_iter().max_by_key(|class| seen.count(*class)).unwrap_or(Trait::Text);
    let parts = (seen.values() - seen.count(commonest)).div_ceil(FORMS).max(1);
    let hasher = RandomState::new();
    let mut found = Merged { is_whole: parts <= READINGS, ..Merged::default() };
    for part in 0..parts.min(READINGS) {
        let mut forms: HashMap<u64, (u8, i64)> = HashMap::new();
        for of_commonest in [false, true] {
            forms_of(reader, schema, table, column, |class, form, row| {
                let hash = hasher.hash_one(form);
                if (class == commonest) != of_commonest || hash % parts != part {
                    return;
                }
                let bit = 1 << (class as u8 - Trait::Integer as u8);
                match forms.get_mut(&hash) {
                    Some((classes, _)) => *classes |= bit,
                    None if of_commonest => {}
                    None => drop(forms.insert(hash, (bit, row))),
                }
            })?;
        }
        let merged = forms.values().filter(|(classes, _)| classes.count_ones() > 1);
        for (_, row) in merged {
            found.forms += 1;
            found.rows.push(*row);
        }
        found.rows.sort_unstable();
        found.rows.truncate(EXAMPLES);
    }
    Ok(found)
}

/// Every value in the form that PostgreSQL gets; those that have none are set aside, and equal nothing.
fn forms_of(
    reader: &Reader<'_>,
    schema: &Schema,
    table: &TablePlan,
    column: &ColumnPlan,
    mut each: impl FnMut(Trait, &[u8], i64),
) -> Result<()> {
    let mut scratch = Scratch::default();
    reader.scan(&Scan::table(&schema.tables[table.source_index], &[column.source_index]), |row| {
        let class = match row.value(0) {
            Value::Null => return Ok(()),
            Value::Integer(_) => Trait::Integer,
            Value::Real(_) => Trait::Real,
            Value::Text(_) => Trait::Text,
            Value::Blob(_) => Trait::Blob,
        };
        if let Ok(Datum::Text(form) | Datum::Bytes(form)) = column.conversion.convert(row.value(0), &mut scratch) {
            each(class, form, row.key);
        }
        Ok(())
    })?;
    Ok(())
}
