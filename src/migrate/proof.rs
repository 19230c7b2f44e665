//! The proof in a move: digests of the rows as SQLite gave them, taken before they are encoded, against what PostgreSQL gives back.
//!
//! Says yes or nothing: where the sums differ, or rows landed whose digests this process has not taken, `verify` reads both sides.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};

use crate::digest::{AsIs, Layout, SourceDigester, Sums, TargetDigester};
use crate::migrate::copy::scanned_columns;
use crate::migrate::run::Run;
use crate::model::{Event, Name, Phase, Schema, Table};
use crate::plan::{CopyColumn, CopyMap, Plan, TablePlan};
use crate::postgres::{Client, CopyRows, Fields, sql_failure, statement};
use crate::sides::{items, layout};
use crate::sqlite::Row;

/// After so many rows a reader says how far it is.
const SAY_EVERY: u64 = 16_384;

/// What landed of each table, by its digest.
#[derive(Default)]
pub struct Proofs {
    tables: Mutex<HashMap<usize, Sums>>,
}

/// The digests of one chunk's rows.
pub struct ChunkProof {
    digester: SourceDigester,
    sums: Sums,
    /// The encoder took a row that the digester calls a misfit: somebody else has to look.
    sound: bool,
}

impl Proofs {
    /// Takes digests of the tables whose rows all are to come from this process.
    pub fn new(plan: &Plan, wanted: bool, landed: impl Fn(&TablePlan) -> bool) -> Self {
        let provable = |table: &TablePlan| wanted && !landed(table) && !table.without_data && alone(table);
        let tables = plan.tables.iter().enumerate().filter(|(_, table)| provable(table));
        Proofs { tables: Mutex::new(tables.map(|(place, _)| (place, Sums::new(1))).collect()) }
    }

    /// Begins a chunk of the table; none when nobody will ask for it.
    pub fn begin(&self, place: usize, plan: &TablePlan, schema: &Schema) -> Result<Option<ChunkProof>> {
        if !self.lock()?.contains_key(&place) {
            return Ok(None);
        }
        let table = &schema.tables[plan.source_index];
        let scanned: Vec<&str> = scanned_columns(plan).iter().map(|column| table.columns[*column].name.as_str()).collect();
        let (map, layout) = shape(plan, table);
        let digester = SourceDigester::new(&map, &layout, &scanned).map_err(|name| anyhow!("column {name:?} is not read"))?;
        Ok(Some(ChunkProof { digester, sums: Sums::new(1), sound: true }))
    }

    /// A chunk has landed with these rows; without its digests the table is left to `verify`.
    pub fn landed(&self, place: usize, chunk: Option<(Sums, bool)>) -> Result<()> {
        let mut tables = self.lock()?;
        match (chunk, tables.get_mut(&place)) {
            (Some((sums, true)), Some(table)) => table.merge(&sums),
            _ => {
                tables.remove(&place);
            }
        }
        Ok(())
    }

    /// The tables that will be read back, and their rows; `None` when there are none.
    pub fn total(&self, plan: &Plan) -> Result<Option<Event>> {
        let tables = self.lock()?;
        let rows = tables.keys().map(|place| plan.tables[*place].rows).sum();
        Ok((!tables.is_empty()).then_some(Event::Total { phase: Phase::Verify, tables: tables.len() as u64, rows, rows_done: 0 }))
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, HashMap<usize, Sums>>> {
        self.tables.lock().map_err(|_| anyhow!("a copy worker panicked"))
    }
}

impl ChunkProof {
    /// The digest of a row that has been encoded, from SQLite's own values.
    pub fn add(&mut self, row: &Row<'_>) {
        match self.digester.row(|place| row.value(place), &mut AsIs) {
            Ok(digest) => self.sums.add(digest),
            Err(_) => self.sound = false,
        }
    }

    pub fn end(self) -> (Sums, bool) {
        (self.sums, self.sound)
    }
}

/// The table holds nothing but what comes from the source, in columns that are copied.
fn alone(table: &TablePlan) -> bool {
    let emptied = table.create.is_some() || table.truncate || !table.had_rows;
    emptied && !table.columns.iter().any(|column| column.computed)
}

fn shape(plan: &TablePlan, table: &Table) -> (CopyMap, Layout) {
    let map = plan.copy_map();
    // A table has one sum here, and no digests of keys beside it.
    let layout = Layout { key: 0, ..layout(&map, table) };
    (map, layout)
}

/// The statement that gives the rows back, columns in the layout's order.
fn copy_out(plan: &TablePlan, map: &CopyMap, layout: &Layout) -> String {
    let columns: Vec<&CopyColumn> = layout.columns.iter().map(|index| &map.columns[*index]).collect();
    let plain = plan.create.is_some() && columns.iter().all(|column| column.conversion.kind.has_binary_form());
    if !plain {
        return statement::copy_out(&plan.target, &items(map, layout));
    }
    let names: Vec<Name> = columns.iter().map(|column| Name::new(column.target.as_str())).collect();
    statement::copy_out_columns(&plan.target, &names)
}

/// Reads the table back; its digest when it holds exactly the rows that were sent, as many as the profile counted less those set aside.
pub async fn read_back(run: &Run, client: &Client, place: usize, rows_rejected: u64) -> Result<Option<String>> {
    let Some(sent) = run.proofs.lock()?.get(&place).cloned() else { return Ok(None) };
    let plan = &run.plan.tables[place];
    if sent.rows + rows_rejected != plan.rows {
        return Ok(None);
    }
    let (map, layout) = shape(plan, &run.schema.tables[plan.source_index]);
    let mut digester = TargetDigester::new(&map, &layout);
    let mut there = Sums::new(1);
    let context = || format!("read {} back", plan.target);
    let opened = CopyRows::open(client, &copy_out(plan, &map, &layout)).await;
    let advanced = |rows| Event::TableAdvanced { phase: Phase::Verify, table: plan.source.clone(), rows, bytes: 0 };
    let mut rows = opened.map_err(sql_failure).with_context(context)?;
    while let Some(row) = rows.next().await.map_err(sql_failure).with_context(context)? {
        there.add(digester.row(Fields::of(&row)).with_context(context)?);
        if there.rows.is_multiple_of(SAY_EVERY) {
            run.send(advanced(SAY_EVERY));
        }
    }
    run.send(advanced(there.rows % SAY_EVERY));
    run.send(Event::TableEnded { phase: Phase::Verify, table: plan.source.clone(), rows_written: there.rows, rows_rejected });
    Ok((there == sent).then(|| there.to_string()))
}
