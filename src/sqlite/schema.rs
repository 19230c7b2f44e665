//! The schema of the file: PRAGMAs for what SQLite made of it, the stored statements for what PRAGMAs do not tell.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::dialect::parse::{self, TableDdl};
use crate::dialect::translate;
use crate::model::{
    Affinity, Collation, Column, ForeignKey, ForeignKeyAction, Generated, Index, IndexColumn, IndexOrigin, Interner, PrimaryKey, Schema,
    Table, TableKind, Trigger, View,
};
use crate::sqlite::rows::quote;
use crate::sqlite::shadow;
use crate::sqlite::snapshot::{Reader, explain};

impl Reader<'_> {
    /// Everything that `sqlite_schema` names. An object that cannot be read is listed in `Schema::unreadable` and stops nothing.
    pub fn schema(&self) -> Result<Schema> {
        let connection = self.connection();
        let encoding = connection.query_row("PRAGMA encoding", [], |row| row.get(0)).context("read the schema")?;
        let mut schema = Schema { encoding, ..Schema::default() };
        let objects = objects(connection)?;
        let indexes = objects.iter().filter(|object| object.kind == "index").map(|object| (object.name.as_str(), object.sql.as_str()));
        let (kinds, indexes) = (table_kinds(connection)?, indexes.collect());
        let known = Known {
            kinds: &kinds,
            indexes: &indexes,
            types: RefCell::default(),
            columns: RefCell::default(),
            salvage: self.salvage().is_some(),
        };
        for object in &objects {
            match object.kind.as_str() {
                "table" => match table(connection, object, &known) {
                    Ok((table, note)) => {
                        schema.unreadable.extend(note.map(|note| (object.name.clone(), note)));
                        schema.tables.push(table);
                    }
                    // Damage is found before anything is done, and read around only when asked to.
                    Err(error) if self.salvage().is_none() && is_damage(&error) => return Err(explain(error)),
                    Err(error) => schema.unreadable.push((object.name.clone(), format!("{error:#}"))),
                },
                "view" => schema.views.push(View { name: object.name.clone(), sql: object.sql.clone() }),
                "trigger" => {
                    schema.triggers.push(Trigger { name: object.name.clone(), table: object.table.clone(), sql: object.sql.clone() })
                }
                "index" if self.salvage().is_some() && index_columns(connection, &object.name, None)?.is_empty() => {
                    schema.unreadable.push((object.name.clone(), "the index's definition is damaged".into()));
                }
                "index" => {}
                // SQLite itself passes over what it cannot tell: then all that there is may be missing.
                kind => schema
                    .unreadable
                    .push(("sqlite_schema".into(), format!("an entry of the database's schema is damaged: it is of no kind ({kind:?})"))),
            }
        }
        shadow::mark(&mut schema);
        keep_rowids(&mut schema);
        mark_watched(&mut schema);
        Ok(schema)
    }
}

struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

fn objects(connection: &Connection) -> Result<Vec<Object>> {
    let mut statement = connection
        .prepare(r"SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema WHERE coalesce(name, '') NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid")
        .context("read the schema")?;
    let rows =
        statement.query_map([], |row| Ok(Object { kind: text(row, 0)?, name: text(row, 1)?, table: text(row, 2)?, sql: text(row, 3)? }))?;
    rows.collect::<Result<_, _>>().context("read the schema")
}

/// Text that need not be valid UTF-8: a name or a statement in a damaged or foreign file.
fn text(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(index)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    })
}

/// `PRAGMA table_list`: WITHOUT ROWID, STRICT.
struct ListedTable {
    without_rowid: bool,
    strict: bool,
}

fn table_kinds(connection: &Connection) -> Result<HashMap<String, ListedTable>> {
    let mut statement = connection.prepare("SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main'")?;
    let rows = statement.query_map([], |row| Ok((text(row, 0)?, ListedTable { without_rowid: row.get(1)?, strict: row.get(2)? })))?;
    rows.collect::<Result<_, _>>().context("list the tables")
}

/// What the file says once of all its objects: asked for table by table, thousands of tables would be read through thousands of times.
struct Known<'a> {
    /// By table.
    kinds: &'a HashMap<String, ListedTable>,
    /// CREATE INDEX statements, by index.
    indexes: &'a HashMap<&'a str, &'a str>,
    types: RefCell<Interner<str>>,
    columns: RefCell<Interner<Column>>,
    salvage: bool,
}

/// Reads one table; the note says what of it could not be read.
fn table(connection: &Connection, object: &Object, known: &Known<'_>) -> Result<(Table, Option<String>)> {
    let (ddl, note) = match parse::create_table(&object.sql) {
        Ok(ddl) => (ddl, None),
        Err(error) => (
            TableDdl::default(),
            Some(format!("its CREATE statement was not understood {error}: checks and names of constraints are lost")),
        ),
    };
    let listed = known.kinds.get(&object.name);
    let kind = match &ddl.module {
        Some(module) => TableKind::Virtual { module: module.name.clone(), arguments: module.arguments.clone() },
        // Which tables are a virtual table's own is found out when all are known: SQLite's word `shadow` goes by the name alone.
        None => TableKind::Ordinary,
    };
    let without_rowid = listed.map_or(ddl.without_rowid, |listed| listed.without_rowid);
    let (mut columns, key, unread) = columns(connection, &object.name, &ddl, &known.types)?;
    mark_unknown(connection, &object.name, &mut columns)?;
    let strict = listed.is_some_and(|listed| listed.strict);
    // Elsewhere the word ANY makes numbers of texts that look like them.
    for column in columns.iter_mut().filter(|column| strict && column.declared.eq_ignore_ascii_case("ANY")) {
        column.affinity = Affinity::Blob;
    }
    let note = note.or_else(|| {
        let each = (!unread.is_empty()).then(|| unread.join(", "))?;
        Some(format!("the defaults of {each} are not UTF-8, and are lost"))
    });
    let understood = ddl.module.is_some() || !ddl.columns.is_empty();
    if columns.is_empty() && ddl.module.is_none() {
        bail!("SQLite itself makes nothing of its definition");
    }
    let mut table = Table {
        name: object.name.clone(),
        kind,
        primary_key: (!key.is_empty())
            .then(|| PrimaryKey { name: ddl.primary_key.as_ref().and_then(|key| key.name.clone()), columns: key }),
        rowid_alias: None,
        rowid_added: false,
        autoincrement: ddl.autoincrement,
        without_rowid,
        watched: false,
        strict,
        sequence: None,
        checks: ddl.checks.clone(),
        foreign_keys: if understood { ddl.foreign_keys.clone() } else { foreign_keys(connection, &object.name)? },
        indexes: Vec::new(),
        sql: object.sql.as_str().into(),
        columns: Vec::with_capacity(columns.len()),
    };
    table.columns.extend(columns.into_iter().map(|column| known.columns.borrow_mut().intern(Arc::new(column))));
    table.indexes = indexes(connection, &table, known.indexes)?;
    table.rowid_alias = rowid_alias(&table);
    know_rows_by_rowid(&mut table);
    if table.autoincrement {
        // The table exists as soon as one table has AUTOINCREMENT; a row of it, once that table had one.
        let sql = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?1";
        match connection.query_row(sql, [&table.name], |row| row.get::<_, Option<i64>>(0)) {
            Ok(sequence) => table.sequence = sequence,
            Err(error) if known.salvage => {
                return Ok((table, Some(format!("sqlite_sequence cannot be read ({error}): ids go on after the largest"))));
            }
            Err(error) => return Err(error).context("read sqlite_sequence"),
        }
    }
    Ok((table, note))
}

fn is_damage(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, SystemIoFailure};
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    code.is_some_and(|code| matches!(code, DatabaseCorrupt | SystemIoFailure))
}

/// The columns in order, the primary key's columns in key order, and columns whose default cannot be read.
fn columns(
    connection: &Connection,
    table: &str,
    ddl: &TableDdl,
    types: &RefCell<Interner<str>>,
) -> Result<(Vec<Column>, Vec<usize>, Vec<String>)> {
    let mut statement = connection
        .prepare_cached("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")
        .context("read the columns")?;
    let mut rows = statement.query([table]).context("read the columns")?;
    let mut columns = Vec::new();
    let mut key: Vec<(i64, usize)> = Vec::new();
    let mut unread = Vec::new();
    while let Some(row) = rows.next().context("read the columns")? {
        let hidden: i64 = row.get(5)?;
        if hidden == 1 {
            continue;
        }
        let name = text(row, 0)?;
        let stated = ddl.columns.iter().find(|column| column.name.eq_ignore_ascii_case(&name));
        let mut declared = text(row, 1)?;
        let generated = (hidden != 0).then(|| {
            // SQLite leaves these words on the type of a generated column.
            for word in ["GENERATED ALWAYS", "GENERATED"] {
                let keep = declared.len().saturating_sub(word.len());
                if declared.get(keep..).is_some_and(|tail| tail.eq_ignore_ascii_case(word)) {
                    declared.truncate(keep);
                }
            }
            declared.truncate(declared.trim_end().len());
            let expression =
                stated.and_then(|column| column.generated.as_ref()).map_or(String::new(), |generated| generated.expression.clone());
            Box::new(Generated { expression, stored: hidden == 3, unknown: None })
        });
        let position: i64 = row.get(4)?;
        if position > 0 {
            key.push((position, columns.len()));
        }
        let default = match row.get_ref(3)? {
            ValueRef::Text(bytes) => Some(bytes),
            _ => None,
        };
        let default = default.and_then(|bytes| {
            let text = std::str::from_utf8(bytes).ok();
            if text.is_none() {
                unread.push(name.clone());
            }
            text.map(str::to_string)
        });
        columns.push(Column {
            affinity: Affinity::of(&declared),
            declared: types.borrow_mut().intern(declared.into()),
            not_null: row.get(2)?,
            default,
            generated,
            collation: collation(stated.and_then(|column| column.collation.as_deref()).unwrap_or("BINARY")),
            name,
        });
    }
    key.sort_unstable();
    Ok((columns, key.into_iter().map(|(_, column)| column).collect(), unread))
}

/// True where SQLite lacks what an expression needs, a function or a collation of the application's, and will another time too; no lock is in the way.
fn is_missing(error: &rusqlite::Error) -> bool {
    let (text, said) = (error.to_string(), ["unknown function", "no such ", "wrong number of arguments to function"]);
    // One with a place in the statement is always the plain SQLITE_ERROR.
    let is_plain =
        matches!(error, rusqlite::Error::SqlInputError { .. }) || error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
    is_plain && said.iter().any(|said| text.contains(said))
}

/// Virtual columns are computed when they are read, stored ones are not. Where a function of the application's is missing, the rows are read without them.
fn mark_unknown(connection: &Connection, table: &str, columns: &mut [Column]) -> Result<()> {
    for column in columns {
        let Some(generated) = column.generated.as_mut().filter(|generated| !generated.stored) else { continue };
        let Err(error) = connection.prepare(&format!("SELECT {} FROM main.{}", quote(&column.name), quote(table))) else { continue };
        if !is_missing(&error) {
            return Err(error).context("read the columns");
        }
        let text = error.to_string();
        generated.unknown = Some(text.split_once(" in SELECT").map_or(text.as_str(), |(said, _)| said).to_string());
    }
    Ok(())
}

fn collation(name: &str) -> Collation {
    match name.to_ascii_uppercase().as_str() {
        "BINARY" => Collation::Binary,
        "NOCASE" => Collation::NoCase,
        "RTRIM" => Collation::RTrim,
        _ => Collation::Custom(name.to_string()),
    }
}

/// `INTEGER PRIMARY KEY`, exactly that type, makes the column another name of the rowid; an index behind the key shows that it does not.
fn rowid_alias(table: &Table) -> Option<usize> {
    let key = table.primary_key.as_ref()?;
    let [column] = key.columns[..] else { return None };
    let has_own_index = table.indexes.iter().any(|index| index.origin == IndexOrigin::PrimaryKey);
    let integer = table.columns[column].declared.eq_ignore_ascii_case("INTEGER");
    (integer && !has_own_index && !table.without_rowid && table.kind == TableKind::Ordinary).then_some(column)
}

/// The rowid of a full-text table is what other tables know its rows by: it is a column, and the key, though no one declared it.
/// That of an R-tree is its first column.
fn know_rows_by_rowid(table: &mut Table) {
    let TableKind::Virtual { module, .. } = &table.kind else { return };
    if ["rtree", "rtree_i32"].iter().any(|name| module.eq_ignore_ascii_case(name)) && !table.columns.is_empty() {
        table.primary_key = Some(PrimaryKey { name: None, columns: vec![0] });
        table.rowid_alias = Some(0);
        return;
    }
    let full_text = ["fts3", "fts4", "fts5"].iter().any(|name| module.eq_ignore_ascii_case(name));
    if !full_text || table.column_index("rowid").is_some() {
        return;
    }
    table.primary_key = Some(PrimaryKey { name: None, columns: vec![table.columns.len()] });
    add_rowid(table);
}

/// The rowid as the last column.
fn add_rowid(table: &mut Table) {
    table.rowid_alias = Some(table.columns.len());
    table.rowid_added = true;
    table.columns.push(Arc::new(Column {
        name: "rowid".into(),
        declared: "INTEGER".into(),
        affinity: Affinity::Integer,
        not_null: false,
        default: None,
        generated: None,
        collation: Collation::Binary,
    }));
}

/// Where a view or a trigger reads the rowid of a table and no column is another name of it, it is a column.
fn keep_rowids(schema: &mut Schema) {
    let statements = schema.views.iter().map(|view| &view.sql).chain(schema.triggers.iter().map(|trigger| &trigger.sql));
    let mentions = |sql: &&String| ["rowid", "oid"].iter().any(|name| sql.to_ascii_lowercase().contains(name));
    let uses: Vec<(String, String)> = statements.filter(mentions).flat_map(|sql| translate::rowids(sql)).collect();
    for (name, rowid) in uses {
        let Some(table) = schema.tables.iter_mut().find(|table| table.name.eq_ignore_ascii_case(&name)) else { continue };
        let is_plain = table.kind == TableKind::Ordinary && !table.without_rowid && table.rowid_alias.is_none();
        // A column of the rowid's name is what the name means.
        if is_plain && table.column_index(&rowid).is_none() && table.column_index("rowid").is_none() {
            add_rowid(table);
        }
    }
}

/// Which tables foreign keys reference, and triggers fire for.
fn mark_watched(schema: &mut Schema) {
    let parents = schema.tables.iter().flat_map(|table| &table.foreign_keys).map(|key| &key.parent);
    let fired_for = schema.triggers.iter().map(|trigger| &trigger.table);
    let watched: HashSet<String> = parents.chain(fired_for).map(|name| name.to_ascii_lowercase()).collect();
    for table in &mut schema.tables {
        table.watched = watched.contains(&table.name.to_ascii_lowercase());
    }
}

fn indexes(connection: &Connection, table: &Table, stored: &HashMap<&str, &str>) -> Result<Vec<Index>> {
    let sql = "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1) ORDER BY seq DESC";
    let mut statement = connection.prepare_cached(sql).context("list the indexes")?;
    let mut rows = statement.query([&table.name]).context("list the indexes")?;
    let mut indexes = Vec::new();
    while let Some(row) = rows.next().context("list the indexes")? {
        let name = text(row, 0)?;
        let sql = stored.get(name.as_str()).copied().unwrap_or_default();
        let ddl = parse::create_index(sql).ok();
        indexes.push(Index {
            unique: row.get(1)?,
            origin: match text(row, 2)?.as_str() {
                "u" => IndexOrigin::Unique,
                "pk" => IndexOrigin::PrimaryKey,
                _ => IndexOrigin::Create,
            },
            columns: index_columns(connection, &name, ddl.as_ref())?,
            // A predicate that cannot be read is one that cannot be said: without it the index would be another.
            predicate: ddl.and_then(|ddl| ddl.predicate).or(row.get::<_, bool>(3)?.then(String::new)),
            name,
            sql: sql.into(),
        });
    }
    // There may be thousands of tables: what is kept of each takes no more room than it needs, here and below.
    indexes.shrink_to_fit();
    Ok(indexes)
}

fn index_columns(connection: &Connection, index: &str, ddl: Option<&parse::IndexDdl>) -> Result<Vec<IndexColumn>> {
    let mut statement =
        connection.prepare_cached("SELECT seqno, cid, desc, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
    let mut rows = statement.query([index])?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let (position, column): (i64, i64) = (row.get(0)?, row.get(1)?);
        let expression = ddl.and_then(|ddl| ddl.items.get(position as usize)).map(|item| item.expression.clone());
        columns.push(IndexColumn {
            column: usize::try_from(column).ok(),
            expression: if column < 0 { Some(expression.unwrap_or_else(|| "rowid".into())) } else { None },
            descending: row.get(2)?,
            collation: collation(&text(row, 3)?),
        });
    }
    columns.shrink_to_fit();
    Ok(columns)
}

/// The foreign keys as the PRAGMA groups them: without names and deferrability, for statements that could not be read.
fn foreign_keys(connection: &Connection, table: &str) -> Result<Vec<ForeignKey>> {
    let sql = "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut keys: Vec<(i64, ForeignKey)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if keys.last().is_none_or(|(last, _)| *last != id) {
            let key = ForeignKey {
                name: None,
                columns: Vec::new(),
                parent: text(row, 1)?,
                parent_columns: Vec::new(),
                on_update: action(&text(row, 4)?),
                on_delete: action(&text(row, 5)?),
                deferrable: false,
                initially_deferred: false,
            };
            keys.push((id, key));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.columns.push(text(row, 2)?);
            let to = text(row, 3)?;
            if !to.is_empty() {
                key.parent_columns.push(to);
            }
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

fn action(text: &str) -> ForeignKeyAction {
    match text {
        "RESTRICT" => ForeignKeyAction::Restrict,
        "SET NULL" => ForeignKeyAction::SetNull,
        "SET DEFAULT" => ForeignKeyAction::SetDefault,
        "CASCADE" => ForeignKeyAction::Cascade,
        _ => ForeignKeyAction::NoAction,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Error, ffi};

    use super::*;

    #[test]
    fn what_an_expression_lacks_is_told_from_what_is_in_the_way() {
        let connection = Connection::open_in_memory().unwrap();
        let of = |sql: &str| connection.prepare(sql).err().unwrap();
        assert!(is_missing(&of("SELECT tax(1)")) && is_missing(&of("SELECT 'a' = 'b' COLLATE locale")) && is_missing(&of("SELECT abs()")));
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM, ffi::SQLITE_ERROR] {
            assert!(!is_missing(&Error::SqliteFailure(ffi::Error::new(code), Some("database is locked".into()))), "{code}");
        }
    }
}
