//! Types that only the server knows: what it makes of each value is asked before the value goes there, so that none is changed without a word.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::migrate::encode;
use crate::plan::rounding::Order;
use crate::plan::{ColumnPlan, TablePlan, spelling};
use crate::postgres::{Client, SqlError, Statement, is_about_value, sql_failure, statement};

/// The texts of a batch's rows in the columns whose types only the server knows, column by column; a NULL is none.
#[derive(Default)]
pub struct Texts {
    pub columns: Vec<Vec<Option<String>>>,
}

/// A value that its type would change: the column's name in SQLite, and why.
pub struct Changed {
    pub column: String,
    pub reason: String,
}

/// The columns of whose values the server is asked.
pub fn columns(table: &TablePlan) -> impl Iterator<Item = (usize, &ColumnPlan)> {
    encode::copied(table).enumerate().filter(|(_, column)| column.conversion.asked().is_some())
}

/// By their places in the batch, the rows with a value that its type would change. To be called in a transaction.
pub async fn changed(client: &Client, table: &TablePlan, texts: &Texts) -> Result<BTreeMap<usize, Vec<Changed>>> {
    let mut changed: BTreeMap<usize, Vec<Changed>> = BTreeMap::new();
    for ((_, column), texts) in columns(table).zip(&texts.columns) {
        let order = column.conversion.asked().unwrap_or(Order::Told);
        let known: Vec<(usize, &str)> = texts.iter().enumerate().filter_map(|(row, text)| Some((row, text.as_deref()?))).collect();
        let sql_type = &column.column_type.sql;
        for (row, back) in ask(client, sql_type, &known).await? {
            let text = texts[row].as_deref().unwrap_or_default();
            let said = back.as_deref().unwrap_or("NULL");
            if back.is_none() || !spelling::is_same(text, said, order) {
                let reason = format!("text '{}': {sql_type} makes '{}' of it", shown(text), shown(said));
                changed.entry(row).or_default().push(Changed { column: column.source.clone(), reason });
            }
        }
    }
    Ok(changed)
}

/// The texts that come back as another, and as what. One that the type refuses is not among them: COPY will say so.
pub(super) async fn ask(client: &Client, sql_type: &str, texts: &[(usize, &str)]) -> Result<Vec<(usize, Option<String>)>> {
    let mut changed = Vec::new();
    if texts.is_empty() {
        return Ok(changed);
    }
    let context = || format!("ask what type {sql_type} makes of a value");
    let failed = |error: SqlError| sql_failure(error.into());
    let question = client.prepare(&statement::texts_changed(sql_type)).await.map_err(failed).with_context(context)?;
    let all = 0..texts.len();
    let mut ranges = Vec::from([all]);
    client.batch_execute("SAVEPOINT asked").await?;
    while let Some(range) = ranges.pop() {
        match answer(client, &question, &texts[range.clone()]).await {
            Ok(answers) => changed.extend(answers.into_iter().map(|(number, back)| (texts[range.start + number].0, back))),
            Err(error) if is_about_value(&error) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT asked").await?;
                let middle = range.start + range.len() / 2;
                if range.len() > 1 {
                    ranges.extend([range.start..middle, middle..range.end]);
                }
            }
            Err(error) => return Err(failed(error)).with_context(context),
        }
    }
    client.batch_execute("RELEASE SAVEPOINT asked").await?;
    Ok(changed)
}

async fn answer(client: &Client, question: &Statement, texts: &[(usize, &str)]) -> Result<Vec<(usize, Option<String>)>, SqlError> {
    let texts: Vec<&str> = texts.iter().map(|(_, text)| *text).collect();
    let rows = client.query(question, &[&texts]).await?;
    Ok(rows.iter().map(|row| (row.get::<_, i64>(0) as usize - 1, row.get(1))).collect())
}

/// A text for a person, cut short.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(60).flat_map(char::escape_debug).collect();
    if chars.next().is_some() { head + "…" } else { head }
}
