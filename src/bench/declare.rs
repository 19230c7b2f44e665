//! What a script's statements are to the data layer. A script says neither types nor what its answers depend on: the types are PostgreSQL's own word;
//! reads may be kept until a script of the same run writes, whatever it writes.

use anyhow::{Context as _, Result};

use crate::bench::script::{Keep, Piece, Statement};
use crate::bench::workload::Workload;
use crate::model::{Failure, ParamType, Query, QueryKind};
use crate::postgres::{Address, Client, SqlError, Type, connect};

/// What every kept answer of a run's scripts depends on.
const TAG: &[&str] = &["script"];

/// The query of every statement, by the statements' numbers; none for what begins and ends transactions.
pub async fn queries(workload: &Workload, address: &Address) -> Result<Vec<Option<Query>>> {
    let mut queries = vec![None; workload.statements];
    let mut undeclared = Vec::new();
    for statement in workload.each_statement() {
        match statement.query {
            Some(query) => queries[statement.index] = Some(query),
            None if statement.control.is_none() => undeclared.push(statement),
            None => {}
        }
    }
    if undeclared.is_empty() {
        return Ok(queries);
    }
    let client = connect(address).await?;
    for statement in &undeclared {
        queries[statement.index] = Some(query(statement, &client).await?);
    }
    let has = |kind: QueryKind| undeclared.iter().any(|statement| queries[statement.index].is_some_and(|query| query.kind == kind));
    // Answers that nothing makes old depend on nothing, and writes that make nothing old tell nobody.
    if has(QueryKind::Cached) && has(QueryKind::Write) {
        for statement in undeclared {
            if let Some(query) = queries[statement.index].as_mut().filter(|query| query.kind != QueryKind::Read) {
                *query = query.tags(TAG);
            }
        }
    }
    Ok(queries)
}

async fn query(statement: &Statement, client: &Client) -> Result<Query> {
    let failed = |error: &SqlError| {
        let said = error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_string());
        let failure = Failure::new("bad_script", format!("{}: {said}", statement.place));
        match error.code() {
            Some(code) => failure.sqlstate(code.code()),
            None => failure,
        }
    };
    let prepared = match client.prepare(&statement.sql).await {
        Ok(prepared) => Some(prepared),
        // What it speaks of may be made by the statement before it, and without parameters nothing else is to be asked.
        Err(_) if statement.parameters.is_empty() => None,
        Err(error) => return Err(failed(&error).into()),
    };
    let types = prepared.as_ref().map_or(&[][..], |prepared| prepared.params());
    let (sql, params) = typed(statement, types);
    let kept = match &prepared {
        Some(prepared) if statement.reads_only && statement.keep == Keep::Nothing && is_select(&sql) => {
            !may_change(statement, types, prepared.columns().len(), client).await?
        }
        _ => false,
    };
    // They live as long as the process: a load test has few.
    let (sql, params): (&'static str, &'static [ParamType]) = (sql.leak(), params.leak());
    let name = statement.place.to_string().leak();
    Ok(match (statement.reads_only, kept) {
        (true, true) => Query::cached(name, sql, params),
        (true, false) => Query::read(name, sql, params),
        (false, _) => Query::write(name, sql, params),
    })
}

/// The text with its parameters, and their types: those that the data layer does not send go as text, and are cast where they stand.
fn typed(statement: &Statement, types: &[Type]) -> (String, Vec<ParamType>) {
    let (mut sql, mut params) = (String::new(), Vec::new());
    for piece in &statement.pieces {
        match piece {
            Piece::Text(text) => sql.push_str(text),
            Piece::Variable(_) | Piece::Quoted(_) => {
                let wanted = &types[params.len()];
                let sent = sent_as(wanted);
                params.push(sent.unwrap_or(ParamType::Text));
                let number = params.len();
                match sent {
                    Some(_) => sql.push_str(&format!("${number}")),
                    None => sql.push_str(&format!("(${number}::text::{})", quoted(wanted))),
                }
            }
        }
    }
    (sql, params)
}

fn sent_as(wanted: &Type) -> Option<ParamType> {
    Some(match *wanted {
        Type::BOOL => ParamType::Bool,
        Type::INT2 => ParamType::Int2,
        Type::INT4 => ParamType::Int4,
        Type::INT8 => ParamType::Int8,
        Type::FLOAT4 => ParamType::Float4,
        Type::FLOAT8 => ParamType::Float8,
        Type::TEXT => ParamType::Text,
        Type::UUID => ParamType::Uuid,
        _ => return None,
    })
}

fn is_select(sql: &str) -> bool {
    let first = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// True when its answer may change though no script writes: PostgreSQL is shown it as a view, which says all that it calls and reads, by whatever name.
/// Also true of what is no view, and where nobody may make one for a moment.
async fn may_change(statement: &Statement, types: &[Type], columns: usize, client: &Client) -> Result<bool> {
    let names: Vec<String> = (1..=columns).map(|number| format!("c{number}")).collect();
    let mut sql = format!("BEGIN; CREATE TEMPORARY VIEW candlefish_asked ({}) AS ", names.join(", "));
    let mut types = types.iter();
    for piece in &statement.pieces {
        match (piece, piece.is_variable().then(|| types.next()).flatten()) {
            (Piece::Text(text), _) => sql.push_str(text),
            (_, Some(wanted)) => sql.push_str(&format!("(NULL::{})", quoted(wanted))),
            (_, None) => return Ok(true),
        }
    }
    let asked = async {
        client.batch_execute(&sql).await?;
        client.query_one(include_str!("queries/may_change.sql"), &[&"pg_temp.candlefish_asked"]).await
    };
    let asked = asked.await;
    client.batch_execute("ROLLBACK").await.context("ask which answers of a script may be kept")?;
    match asked {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.as_db_error().is_some() => Ok(true),
        Err(error) => Err(error).context("ask which answers of a script may be kept"),
    }
}

fn quoted(wanted: &Type) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(wanted.schema()), quoted(wanted.name()))
}
