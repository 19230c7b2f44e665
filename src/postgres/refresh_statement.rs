//! What `--refresh` says to PostgreSQL about tables: locks, rows found by where they lie, and the temporary tables that hold what differs.
//!
//! Rows of the target are named by table and ctid: under the lock nothing moves them, and a table needs no key for it.

use crate::model::{Name, QualifiedName};
use crate::postgres::statement::CopyFormat;

/// Names that no column of a person's table has.
const PLACE: &str = "\"candlefish.place\"";
const SOURCE_ROW: &str = "\"candlefish.source_row\"";
const TABLE: &str = "\"candlefish.table\"";
const TID: &str = "\"candlefish.tid\"";

/// One table that is refreshed: its name, its temporary tables, and the columns that are written.
pub struct RefreshStatements {
    pub table: QualifiedName,
    number: usize,
    /// Every column that is not computed.
    columns: Vec<Name>,
    /// Those of the key.
    key: Vec<Name>,
}

/// Keeps writers and other refreshes out, and lets readers in.
pub fn lock_for_refresh(tables: &[&QualifiedName]) -> String {
    let names: Vec<String> = tables.iter().map(|table| table.to_string()).collect();
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "))
}

/// The rows of a table with where each lies; `ranges` are of an integer column that an index serves, none means all.
pub fn read_with_places(table: &QualifiedName, items: &[String], ranges: Option<(&Name, &[(i64, i64)])>) -> String {
    let items: String = items.iter().map(|item| format!("{item}, ")).collect();
    let Some((key, ranges)) = ranges else {
        return format!("COPY (SELECT {items}t.tableoid, t.ctid FROM {table} t) TO STDOUT (FORMAT binary)");
    };
    // As text: PostgreSQL reads the smallest bigint as a negated number that is one too large.
    let ranges: Vec<String> = ranges.iter().map(|(first, last)| format!("('{first}'::bigint, '{last}'::bigint)")).collect();
    format!(
        "COPY (SELECT found.* FROM (VALUES {}) AS range (first, last) CROSS JOIN LATERAL \
         (SELECT {items}t.tableoid AS {TABLE}, t.ctid AS {TID} FROM {table} t WHERE t.{key} BETWEEN range.first AND range.last OFFSET 0) found) \
         TO STDOUT (FORMAT binary)",
        ranges.join(", ")
    )
}

impl RefreshStatements {
    pub fn new(table: QualifiedName, number: usize, columns: Vec<Name>, key: Vec<Name>) -> Self {
        RefreshStatements { table, number, columns, key }
    }

    fn rows(&self) -> String {
        format!("pg_temp.candlefish_rows_{}", self.number)
    }

    fn gone(&self) -> String {
        format!("pg_temp.candlefish_gone_{}", self.number)
    }

    fn written(&self) -> String {
        format!("pg_temp.candlefish_written_{}", self.number)
    }

    fn list(&self, prefix: &str) -> String {
        self.columns.iter().map(|column| format!("{prefix}{column}, ")).collect()
    }

    /// Temporary tables for the rows to be written, for the places of rows to be deleted, and for the places of rows written.
    pub fn make(&self) -> String {
        let places = format!("SELECT 0::oid AS {TABLE}, '(0,0)'::tid AS {TID} WITH NO DATA");
        format!(
            "CREATE TEMPORARY TABLE {rows} ON COMMIT DROP AS SELECT {columns}0::bigint AS {PLACE}, 0::bigint AS {SOURCE_ROW}, \
             0::oid AS {TABLE}, '(0,0)'::tid AS {TID} FROM {table} WITH NO DATA; \
             CREATE TEMPORARY TABLE {gone} ON COMMIT DROP AS {places}; CREATE TEMPORARY TABLE {written} ON COMMIT DROP AS {places}",
            rows = self.rows(),
            columns = self.list(""),
            table = self.table,
            gone = self.gone(),
            written = self.written(),
        )
    }

    /// Takes rows: the written columns, the row's number from 0, the source's own number for it, and the place of the row that it replaces.
    pub fn copy_rows(&self, format: CopyFormat) -> String {
        format!("COPY {} FROM STDIN (FORMAT {})", self.rows(), if format == CopyFormat::Binary { "binary" } else { "text" })
    }

    /// Takes places of rows that the source does not have.
    pub fn copy_gone(&self) -> String {
        format!("COPY {} FROM STDIN (FORMAT binary)", self.gone())
    }

    pub fn analyze(&self) -> String {
        format!("ANALYZE {}; ANALYZE {}", self.rows(), self.gone())
    }

    pub fn delete_gone(&self) -> String {
        format!("DELETE FROM {} t USING {} g WHERE t.ctid = g.{TID} AND t.tableoid = g.{TABLE}", self.table, self.gone())
    }

    /// The old versions of changed rows.
    pub fn delete_replaced(&self) -> String {
        format!("DELETE FROM {} t USING {} g WHERE t.ctid = g.{TID} AND t.tableoid = g.{TABLE}", self.table, self.rows())
    }

    /// Changed rows in place; none when every column belongs to the key.
    pub fn update(&self) -> Option<String> {
        let set: Vec<String> =
            self.columns.iter().filter(|column| !self.key.contains(column)).map(|column| format!("{column} = s.{column}")).collect();
        (!set.is_empty()).then(|| {
            self.noting(format!(
                "UPDATE {} t SET {} FROM {} s WHERE t.ctid = s.{TID} AND t.tableoid = s.{TABLE}",
                self.table,
                set.join(", "),
                self.rows()
            ))
        })
    }

    /// Rows numbered `$1` to `$2`: those that replace none, or all.
    pub fn insert(&self, all: bool) -> String {
        let which = if all { String::new() } else { format!(" AND s.{TID} IS NULL") };
        let columns = self.list("");
        let (columns, values) = (columns.trim_end_matches(", "), self.list("s."));
        self.noting(format!(
            "INSERT INTO {} AS t ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} s WHERE s.{PLACE} BETWEEN $1 AND $2{which} ORDER BY s.{PLACE}",
            self.table,
            values.trim_end_matches(", "),
            self.rows()
        ))
    }

    /// The statement, with the places of what it wrote kept.
    fn noting(&self, statement: String) -> String {
        format!(
            "WITH written AS ({statement} RETURNING t.tableoid, t.ctid) INSERT INTO {} SELECT tableoid, ctid FROM written",
            self.written()
        )
    }

    /// The rows that were written, as they stand in the table now.
    pub fn read_written(&self, items: &[String]) -> String {
        let items = if items.is_empty() { "NULL::int".to_string() } else { items.join(", ") };
        format!(
            "COPY (SELECT {items} FROM {} t JOIN {} w ON t.ctid = w.{TID} AND t.tableoid = w.{TABLE}) TO STDOUT (FORMAT binary)",
            self.table,
            self.written()
        )
    }

    /// The source's numbers of staged rows, by their number here ($1 bigint[]), and whether they replace one.
    pub fn source_rows(&self) -> String {
        format!("SELECT {PLACE}, {SOURCE_ROW}, {TID} IS NOT NULL FROM {} WHERE {PLACE} = ANY ($1)", self.rows())
    }
}

/// Statements that silence a trigger, and wake it as it was.
pub fn trigger(table: &str, name: &Name, always: bool) -> (String, String) {
    let enable = if always { "ENABLE ALWAYS" } else { "ENABLE" };
    (format!("ALTER TABLE {table} DISABLE TRIGGER {name}"), format!("ALTER TABLE {table} {enable} TRIGGER {name}"))
}
