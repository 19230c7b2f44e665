//! Values of which their types keep less, and which a mapping lets be rounded: how many there are is said before the run.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;

use crate::migrate::asked;
use crate::migrate::careful::BATCH_ROWS;
use crate::migrate::counted_rows::CountedRows;
use crate::model::{Schema, Table};
use crate::plan::convert::{Conversion, Datum, Scratch};
use crate::plan::rounding::Order;
use crate::plan::transform::Inexact;
use crate::plan::{ColumnPlan, Plan, TablePlan, Warning, spelling};
use crate::postgres::{Client, database_error};
use crate::sqlite::{Scan, Snapshot};

/// Texts of a type that only the server knows, with their rows.
type Texts = Vec<(i64, String)>;

/// A note for each column with values that are rounded; one for each whose type the server does not have yet, and so cannot tell. Other columns are not
/// read.
pub async fn notes(client: &Client, snapshot: &Arc<Snapshot>, schema: &Schema, plan: &Plan) -> Result<Vec<Warning>> {
    let mut notes = Vec::new();
    for table in plan.tables.iter().filter(|table| !table.without_data) {
        for column in table.columns.iter().filter(|column| !column.computed && !column.conversion.inexact.is_reject()) {
            let object = format!("{}.{}", table.source, column.source);
            let sql = &column.column_type.sql;
            let found = find(client, snapshot, schema, table, column).await.with_context(|| format!("read {object}"))?;
            let message = match found {
                Some(found) if found.count == 0 => continue,
                Some(found) => {
                    let values = if found.count == 1 { "1 value is".to_string() } else { format!("{} values are", found.count) };
                    format!("{values} rounded to what {sql} keeps, as the mapping lets them ({})", found.named())
                }
                None => format!("its values are taken as {sql} gives them back, as the mapping lets them"),
            };
            notes.push(Warning::note("values_rounded", object, message));
        }
    }
    Ok(notes)
}

async fn find(
    client: &Client,
    snapshot: &Arc<Snapshot>,
    schema: &Schema,
    table: &TablePlan,
    column: &ColumnPlan,
) -> Result<Option<CountedRows>> {
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = {
        let (snapshot, source, column) = (Arc::clone(snapshot), schema.tables[table.source_index].clone(), column.clone());
        tokio::task::spawn_blocking(move || read(&snapshot, &source, &column, &sender))
    };
    let exact = Conversion { inexact: Inexact::Reject, ..column.conversion.clone() };
    client.batch_execute("BEGIN").await?;
    let mut of_server = Ok(CountedRows::default());
    while let Some(texts) = receiver.recv().await {
        of_server = match of_server {
            Ok(found) => ask(client, &column.column_type.sql, exact.asked().unwrap_or(Order::Told), &texts, found).await,
            Err(error) => Err(error),
        };
    }
    client.batch_execute("ROLLBACK").await?;
    let mut found = reading.await.map_err(|_| anyhow!("a reader of the source panicked"))??;
    match of_server {
        Ok(more) => {
            found.merge(more);
            Ok(Some(found))
        }
        // What only the run's migrations make is not there yet.
        Err(error) if database_error(&error).is_some_and(|refusal| refusal.code().code().starts_with("42")) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn ask(client: &Client, sql_type: &str, order: Order, texts: &Texts, mut found: CountedRows) -> Result<CountedRows> {
    let known: Vec<(usize, &str)> = texts.iter().enumerate().map(|(place, (_, text))| (place, text.as_str())).collect();
    for (place, back) in asked::ask(client, sql_type, &known).await? {
        if !back.is_some_and(|back| spelling::is_same(&texts[place].1, &back, order)) {
            found.add(texts[place].0);
        }
    }
    Ok(found)
}

/// Finds the values that are rounded here, and sends those of which only the server can tell; blocking.
fn read(snapshot: &Snapshot, table: &Table, column: &ColumnPlan, sender: &mpsc::Sender<Texts>) -> Result<CountedRows> {
    let loose = &column.conversion;
    let exact = Conversion { inexact: Inexact::Reject, ..loose.clone() };
    let (mut found, mut texts, mut scratch) = (CountedRows::default(), Texts::new(), Scratch::default());
    snapshot.reader()?.scan(&Scan::table(table, &[column.source_index]), |row| {
        match exact.convert(row.value(0), &mut scratch) {
            Ok(Datum::Text(text)) if exact.asked().is_some() => {
                texts.push((row.key, String::from_utf8_lossy(text).into_owned()));
                if texts.len() >= BATCH_ROWS {
                    sender.blocking_send(std::mem::take(&mut texts)).map_err(|_| anyhow!("nobody asks the server"))?;
                }
            }
            Ok(_) => {}
            Err(_) => {
                if loose.convert(row.value(0), &mut scratch).is_ok() {
                    found.add(row.key);
                }
            }
        }
        Ok(())
    })?;
    if !texts.is_empty() {
        sender.blocking_send(texts).map_err(|_| anyhow!("nobody asks the server"))?;
    }
    Ok(found)
}
