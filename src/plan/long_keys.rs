//! Keys over values that no B-tree has room for. A hash index has: it is no longer whatever the value, and an exclusion constraint over one keeps
//! values unique as exactly as UNIQUE does.

use crate::model::{Name, QualifiedName, Table, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::TablePlan;

/// The most bytes of a value for which a B-tree has room, whatever else is in its row (of 2,704 in pages of 8 kB).
pub const KEY_BYTES: u64 = 2_600;

/// The longest value of these columns of a derived table, where it may be too long for a B-tree.
pub fn too_long(input: &Input<'_>, plan: &TablePlan, columns: &[usize]) -> Option<u64> {
    let profile = &input.profiles[plan.source_index];
    let of_bytes = |at: &usize| {
        let kind = plan.columns.iter().find(|column| column.source_index == *at).map(|column| &column.column_type.kind);
        kind.is_some_and(|kind| kind.is_text() || *kind == TypeKind::Bytea)
    };
    let lengths = columns.iter().filter(|at| of_bytes(at)).map(|at| profile.columns[*at].max_bytes);
    lengths.max().filter(|most| *most > KEY_BYTES)
}

/// The same, where a hash index can be the key: it has one column, and a foreign key references none but UNIQUE and primary keys.
pub fn kept_by_hash(input: &Input<'_>, plan: &TablePlan, columns: &[usize]) -> Option<u64> {
    let [only] = columns else { return None };
    let table = &input.source.tables[plan.source_index];
    let name = &table.columns[*only].name;
    let mut keys =
        input.source.tables.iter().flat_map(|table| &table.foreign_keys).filter(|key| key.parent.eq_ignore_ascii_case(&table.name));
    let is_referenced = keys.any(|key| key.parent_columns.iter().any(|column| column.eq_ignore_ascii_case(name)));
    too_long(input, plan, columns).filter(|_| !is_referenced && plan.create.is_some())
}

/// The source names of the columns whose UNIQUE is such a constraint, by whatever collation.
pub fn hashed(input: &Input<'_>, plan: &TablePlan, table: &Table) -> Vec<String> {
    let plain = |index: &crate::model::Index| index.columns.iter().map(|column| column.column).collect::<Option<Vec<usize>>>();
    let unique = table.indexes.iter().filter(|index| index.unique && index.origin != crate::model::IndexOrigin::PrimaryKey);
    let kept = unique.filter_map(plain).filter(|columns| kept_by_hash(input, plan, columns).is_some());
    kept.flatten().map(|column| table.columns[column].name.clone()).collect()
}

/// Two rows that have the same `item` exclude each other.
pub fn exclusion(table: &QualifiedName, name: &Name, item: &str, predicate: &str) -> String {
    format!("ALTER TABLE {table} ADD CONSTRAINT {name} EXCLUDE USING hash ({item} WITH =){predicate}")
}
