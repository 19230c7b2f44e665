//! What no table of PostgreSQL can hold: too many columns, a row that no page has room for.

use crate::plan::build::Input;
use crate::plan::decision::{Plan, Problem};

/// PostgreSQL's own limits, found before the first byte moves.
pub fn check(input: &Input<'_>, plan: &mut Plan) {
    const MOST_COLUMNS: usize = 1600;
    // A heap page less its header, the tuple's header and its line pointer.
    const MOST_TUPLE_BYTES: u64 = 8160;
    for table in &plan.tables {
        let columns = table.create.as_ref().map_or(0, |create| create.columns.len());
        if columns > MOST_COLUMNS {
            plan.problems.push(Problem {
                code: "too_many_columns",
                message: format!("table {:?} has {columns} columns; PostgreSQL's tables end at {MOST_COLUMNS}", table.source),
                hint: "Leave columns out with a mapping (skip = true), or the table with --exclude.".into(),
            });
            continue;
        }
        let profile = &input.profiles[table.source_index];
        let header = 24 + columns as u64 / 8;
        if table.create.is_some() && profile.min_tuple_bytes + header > MOST_TUPLE_BYTES {
            plan.problems.push(Problem {
                code: "row_too_wide",
                message: format!(
                    "table {:?}: the row with rowid {} needs at least {} bytes in a page that holds {MOST_TUPLE_BYTES}",
                    table.source,
                    profile.widest_row,
                    profile.min_tuple_bytes + header
                ),
                hint: "Leave columns out with a mapping (skip = true), or the table with --exclude.".into(),
            });
        }
    }
}
