//! Which tables a virtual table keeps its own data in. A name alone does not tell: where the module makes no table of it, a user may have one.

use crate::model::{Schema, Table, TableKind};

/// Marks the shadow tables, each with its owner.
pub(super) fn mark(schema: &mut Schema) {
    let owners: Vec<(String, String)> = schema
        .tables
        .iter()
        .filter_map(|table| match &table.kind {
            TableKind::Virtual { module, .. } => Some((table.name.clone(), module.to_ascii_lowercase())),
            _ => None,
        })
        .collect();
    let contents: Vec<String> = schema.tables.iter().filter_map(external_content).collect();
    for table in schema.tables.iter_mut().filter(|table| table.kind == TableKind::Ordinary) {
        // What an index over somebody's table is told to read is that somebody's.
        if contents.iter().any(|content| content.eq_ignore_ascii_case(&table.name)) {
            continue;
        }
        let owner = owners.iter().find(|(owner, module)| {
            let (start, tail) = table.name.split_at_checked(owner.len()).unwrap_or_default();
            start.eq_ignore_ascii_case(owner) && is_made_by(module, &tail.to_ascii_lowercase(), table)
        });
        if let Some((owner, _)) = owner {
            table.kind = TableKind::Shadow { of: owner.clone() };
        }
    }
}

/// The table that a full-text index is over, where it has no texts of its own: `content='docs'`.
fn external_content(table: &Table) -> Option<String> {
    let TableKind::Virtual { module, arguments } = &table.kind else { return None };
    if !matches!(module.to_ascii_lowercase().as_str(), "fts4" | "fts5") {
        return None;
    }
    arguments.split(',').find_map(|argument| {
        let (option, value) = argument.split_once('=')?;
        let quotes = ['\'', '"', '`', '[', ']'];
        option.trim().eq_ignore_ascii_case("content").then(|| value.trim().trim_matches(quotes).to_string())
    })
}

/// True for a table of the shape that the module gives to its table of this tail.
fn is_made_by(module: &str, tail: &str, table: &Table) -> bool {
    let columns: Vec<String> = table.columns.iter().map(|column| column.name.to_ascii_lowercase()).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let is_numbered =
        |column: &str, letters: &[char]| column.strip_prefix(letters).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match (module, tail, columns.as_slice()) {
        ("fts3" | "fts4", "_content", ["docid", rest @ ..]) => rest.iter().all(|column| is_numbered(column, &['c']) || *column == "langid"),
        ("fts3" | "fts4", "_segments", ["blockid", "block"])
        | ("fts3" | "fts4", "_segdir", ["level", "idx", "start_block", "leaves_end_block", "end_block", "root"])
        | ("fts3" | "fts4", "_docsize", ["docid", "size"])
        | ("fts3" | "fts4", "_stat", ["id", "value"])
        | ("fts5", "_data", ["id", "block"])
        | ("fts5", "_idx", ["segid", "term", "pgno"])
        | ("fts5", "_config", ["k", "v"])
        | ("fts5", "_docsize", ["id", "sz"] | ["id", "sz", "origin"])
        | ("rtree" | "rtree_i32" | "geopoly", "_node", ["nodeno", "data"])
        | ("rtree" | "rtree_i32" | "geopoly", "_parent", ["nodeno", "parentnode"]) => true,
        ("fts5", "_content", ["id", rest @ ..]) => rest.iter().all(|column| is_numbered(column, &['c', 'l'])),
        ("rtree" | "rtree_i32" | "geopoly", "_rowid", ["rowid", "nodeno", rest @ ..]) => {
            rest.iter().all(|column| is_numbered(column, &['a']))
        }
        _ => false,
    }
}
