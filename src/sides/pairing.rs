//! Which table is compared with which, and how: the maps of a run against both schemas as they are now.

use crate::digest::Layout;
use crate::model::{Name, QualifiedName, Schema, Table, TypeKind};
use crate::plan::target::{TargetColumn, TargetSchema};
use crate::plan::{CopyColumn, CopyMap};

/// One table of the source and its place in the target.
pub struct Pair {
    pub map: CopyMap,
    pub layout: Layout,
    /// The place in `Schema::tables`.
    pub source: usize,
    pub target: QualifiedName,
    /// What PostgreSQL is asked for, in the layout's order.
    pub items: Vec<String>,
    /// The places in `Table::columns` that are read, and their names.
    pub scanned: Vec<usize>,
    pub scanned_names: Vec<String>,
    /// Columns that could not be compared, and why; each is a difference.
    pub problems: Vec<String>,
    /// Columns of the map that PostgreSQL cannot compute for some row; each is a difference too.
    pub unread: Vec<Unread>,
    /// How many buckets its keys are spread over; a power of two.
    pub buckets: usize,
    /// About how many rows there are: the span of the rowids, which gaps make larger; none in a table without them.
    pub span: Option<u64>,
    /// Rows are looked for by an integer key: who reads both sides whole wants no digests of keys.
    pub ordered: bool,
    /// A row is written whatever the source has where PostgreSQL computes.
    pub takes_computed: bool,
    /// Texts of types that only PostgreSQL can read are brought into its own form before they are compared.
    pub careful: bool,
}

/// A column that fails when it is read.
pub struct Unread {
    pub column: CopyColumn,
    pub reason: String,
}

impl Unread {
    pub fn said(&self) -> String {
        cannot_be_read(&self.column.source, &self.reason)
    }
}

/// What is said of a column of the source that PostgreSQL cannot read.
pub fn cannot_be_read(column: &str, reason: &str) -> String {
    format!("column {column:?} cannot be read in PostgreSQL: {reason}")
}

/// Buckets of a table of unknown or large size.
pub const BUCKETS: usize = 4096;

/// The pair for a map, or what is missing altogether.
pub fn pair(mut map: CopyMap, schema: &Schema, target: &TargetSchema) -> Result<Pair, String> {
    let name = QualifiedName::new(map.schema.as_str(), map.target.as_str());
    let source = schema.tables.iter().position(|table| table.name.eq_ignore_ascii_case(&map.source));
    let Some(source) = source else { return Err(format!("table {:?} is no longer in the source", map.source)) };
    let Some(relation) = target.tables.iter().find(|table| table.name == name) else {
        return Err(format!("table {name} is not in PostgreSQL"));
    };
    let table = &schema.tables[source];
    let (mut problems, mut unread) = (Vec::new(), Vec::new());
    map.columns.retain_mut(|column| {
        if table.column_index(&column.source).is_none() {
            problems.push(format!("column {:?} is no longer in the source", column.source));
            return false;
        }
        match relation.columns.iter().find(|target| target.name.as_str() == column.target) {
            Some(TargetColumn { unreadable: Some(reason), .. }) => {
                unread.push(Unread { column: column.clone(), reason: reason.clone() });
                false
            }
            Some(actual) => {
                // The type may have been changed since: what counts is what stands there now.
                column.conversion.kind = actual.column_type.kind.clone();
                column.conversion.rounding = actual.rounding.clone();
                column.sql_type = actual.column_type.sql.to_string();
                true
            }
            None => {
                problems.push(format!("column {:?} is not in PostgreSQL", column.target));
                false
            }
        }
    });
    let layout = layout(&map, table);
    let items = items(&map, &layout);
    let scanned: Vec<usize> = map.columns.iter().filter_map(|column| table.column_index(&column.source)).collect();
    let scanned_names = scanned.iter().map(|place| table.columns[*place].name.clone()).collect();
    Ok(Pair {
        layout,
        source,
        target: name,
        items,
        scanned,
        scanned_names,
        problems,
        unread,
        buckets: BUCKETS,
        span: None,
        ordered: false,
        takes_computed: false,
        careful: false,
        map,
    })
}

impl Pair {
    /// The map as it was, with what cannot be read now.
    pub fn whole_map(&self) -> CopyMap {
        let mut map = self.map.clone();
        map.columns.extend(self.unread.iter().map(|unread| unread.column.clone()));
        map
    }

    /// True when a column's type has no bytes that candlefish knows.
    pub fn has_foreign_types(&self) -> bool {
        self.map.columns.iter().any(|column| !column.conversion.kind.has_binary_form())
    }
}

/// The order in which the table's rows are digested.
pub fn layout(map: &CopyMap, table: &Table) -> Layout {
    Layout::new(map, &key_columns(table))
}

/// What PostgreSQL is asked for to have a row in the layout's order.
pub fn items(map: &CopyMap, layout: &Layout) -> Vec<String> {
    layout.columns.iter().map(|index| item(&map.columns[*index].target, &map.columns[*index].conversion.kind)).collect()
}

/// The columns of SQLite's primary key, a rowid's alias included.
fn key_columns(table: &Table) -> Vec<&str> {
    match (&table.primary_key, table.rowid_alias) {
        (Some(key), _) => key.columns.iter().map(|column| table.columns[*column].name.as_str()).collect(),
        (None, Some(alias)) => vec![table.columns[alias].name.as_str()],
        (None, None) => Vec::new(),
    }
}

/// A type whose bytes only PostgreSQL knows is asked for as text.
fn item(column: &str, kind: &TypeKind) -> String {
    let name = Name::new(column);
    if kind.has_binary_form() { name.to_string() } else { format!("{name}::text") }
}
