//! What of the source is compared: all that it has, but for what the runs were told to leave out.

use std::collections::HashSet;

use anyhow::Result;
use serde::Serialize;

use crate::model::{QualifiedName, Schema, Table, TableKind};
use crate::plan::CopyMap;
use crate::plan::target::TargetSchema;
use crate::sides::{Pair, Unread, pair};
use crate::sqlite::{Reader, Scan, Snapshot};
use crate::verify::{Job, TableVerdict};

/// Something of the source that is not in the target on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// By the source's names.
    pub table: String,
    pub column: Option<String>,
    pub what: LeftOutPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutPart {
    Table,
    /// The table is there, without its rows.
    Rows,
    Column,
}

/// What is to be compared, before any row is read.
pub(super) struct Scope {
    pub schema: Schema,
    pub pairs: Vec<Pair>,
    /// Tables of which one side has none: the verdict is known.
    pub absent: Vec<TableVerdict>,
    pub left_out: Vec<LeftOut>,
}

impl Scope {
    /// Every map with its tables on both sides, and what of the source has no map.
    pub fn of(asked: &Asked, snapshot: &Snapshot, target: &TargetSchema) -> Result<Self> {
        let reader = snapshot.reader()?;
        let schema = reader.schema()?;
        let mut scope = Scope { schema, pairs: Vec::new(), absent: Vec::new(), left_out: Vec::new() };
        for map in &asked.maps {
            let left_out = |what| LeftOut { table: map.source.clone(), column: None, what };
            if map.without_data {
                scope.left_out.push(left_out(LeftOutPart::Rows));
                continue;
            }
            let name = QualifiedName::new(map.schema.as_str(), map.target.as_str());
            let is_there = target.tables.iter().any(|table| table.name == name);
            // An earlier run may have brought it; where the last one leaves it out, it need not be there.
            if !is_there && asked.told_to_leave(&map.source) {
                scope.left_out.push(left_out(LeftOutPart::Table));
                continue;
            }
            match pair(map.clone(), &scope.schema, target) {
                Ok(mut pair) => {
                    pair.problems.extend(pair.unread.iter().map(Unread::said));
                    let table = &scope.schema.tables[pair.source];
                    let bounds = reader.rowid_bounds(table);
                    pair.span = bounds.map(|(first, last)| last.abs_diff(first).saturating_add(1));
                    // A small table, of which there may be hundreds, is one bucket.
                    if pair.span.is_some_and(|span| span <= 10_000) {
                        pair.buckets = 1;
                    }
                    if asked.left_out.is_some() {
                        scope.left_out.extend(uncopied_columns(map, table, &mut pair.problems));
                    }
                    scope.pairs.push(pair);
                }
                Err(problem) => scope.absent.push(absent(&map.source, Some(name.to_string()), problem)),
            }
        }
        scope.uncopied_tables(asked, &reader);
        Ok(scope)
    }

    /// Tables of the source that no map names.
    fn uncopied_tables(&mut self, asked: &Asked, reader: &Reader<'_>) {
        if asked.left_out.is_none() {
            return;
        }
        let has_map = |table: &Table| asked.maps.iter().any(|map| map.source.eq_ignore_ascii_case(&table.name));
        for table in &mut self.schema.tables {
            if !table.has_data() || !(asked.included)(&table.name) || has_map(table) {
                continue;
            }
            if asked.told_to_leave(&table.name) {
                self.left_out.push(LeftOut { table: table.name.clone(), column: None, what: LeftOutPart::Table });
                continue;
            }
            // A module may know its table, and not give its rows; migrate has said so.
            if matches!(table.kind, TableKind::Virtual { .. })
                && let Err(error) = reader.scan(&Scan::table(table, &[]), |_| Ok(()))
            {
                table.kind = TableKind::Unreadable;
                self.schema.unreadable.push((table.name.clone(), format!("{error:#}")));
                continue;
            }
            let problem = format!("table {:?} is in the source alone: no run has copied it", table.name);
            self.absent.push(absent(&table.name, None, problem));
        }
    }
}

/// What a comparison is asked for.
pub(super) struct Asked {
    /// Of the tables that are meant.
    maps: Vec<CopyMap>,
    included: crate::verify::Included,
    left_out: Option<HashSet<String>>,
}

impl Asked {
    pub fn of(job: &Job) -> Self {
        Asked {
            maps: job.maps.iter().filter(|map| (job.included)(&map.source)).cloned().collect(),
            included: job.included.clone(),
            left_out: job.left_out.clone(),
        }
    }

    fn told_to_leave(&self, table: &str) -> bool {
        self.left_out.as_ref().is_some_and(|left_out| left_out.contains(table))
    }
}

/// Columns that were left out on purpose; any other that was not copied is a problem.
fn uncopied_columns(map: &CopyMap, table: &Table, problems: &mut Vec<String>) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let is_it = |name: &String| name.eq_ignore_ascii_case(&column.name);
        // The rowid is no column of the source, though a view may read it.
        let is_rowid = table.rowid_added && table.rowid_alias == Some(place);
        if is_rowid || map.columns.iter().any(|known| is_it(&known.source)) {
            continue;
        }
        if map.left_out.iter().any(is_it) {
            left_out.push(LeftOut { table: map.source.clone(), column: Some(column.name.clone()), what: LeftOutPart::Column });
        } else {
            problems.push(format!("column {:?} is in the source alone: no run has copied it", column.name));
        }
    }
    left_out
}

fn absent(source: &str, target: Option<String>, problem: String) -> TableVerdict {
    TableVerdict {
        source: source.to_string(),
        target,
        identical: Some(false),
        differences_total: 1,
        differences_exact: true,
        problems: vec![problem],
        told_by_problems: 1,
        ..TableVerdict::default()
    }
}
