//! Keys that only PostgreSQL would have, since a foreign key references them, and that rows of the source break: SQLite has let them be. Neither they nor
//! those foreign keys have a place in migrations, which would set such rows aside.

use anyhow::Result;

use crate::model::{Name, Schema};
use crate::plan::{ObjectKind, ObjectPlan, Plan, Todo, Warning};
use crate::sqlite::Reader;

/// Takes them out of the plan, and says so.
pub fn leave_out_broken(reader: &Reader<'_>, schema: &Schema, plan: &mut Plan) -> Result<()> {
    let mut lost: Vec<(usize, String)> = Vec::new();
    for (place, object) in plan.objects.iter().enumerate() {
        let Some((key, columns)) = added_key(plan, object) else { continue };
        let parent = &plan.tables[object.parent.unwrap_or_default()];
        if parent.without_data {
            continue;
        }
        let Some((values, rows)) = reader.twice(&schema.tables[parent.source_index], &columns)? else { continue };
        if lost.iter().all(|(known, _)| *known != key) {
            lost.push((key, format!("cannot be UNIQUE, as a foreign key would have it: {rows} rows hold ({values})")));
        }
        let columns = columns.join(", ");
        lost.push((place, format!("no key of {} is over ({columns}), and none can be: {rows} rows hold ({values})", parent.source)));
    }
    lost.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
    let mut said: Vec<(Warning, Todo)> = Vec::new();
    for (place, reason) in lost {
        if plan.objects[place].kind == ObjectKind::Unique {
            plan.forget_added_key(place);
        }
        let object = plan.objects.remove(place);
        let original = format!("{}\n\n-- to be run when no two rows hold the same:\n{};", object.original, object.statements.join(";\n"));
        said.push((Warning::loss(object.kind, &object.label, &reason), Todo { original, ..object.todo(reason) }));
    }
    for (warning, todo) in said.into_iter().rev() {
        plan.warnings.push(warning);
        plan.todo.push(todo);
    }
    Ok(())
}

/// The place of the key that was added for this foreign key, and its columns by their names in SQLite.
fn added_key(plan: &Plan, object: &ObjectPlan) -> Option<(usize, Vec<String>)> {
    let parent = object.parent?;
    let table = &plan.tables[parent];
    let source = |name: &Name| table.columns.iter().find(|column| column.target == *name).map(|column| column.source.clone());
    let columns: Vec<String> = object.joins.as_ref()?.columns.iter().map(|(_, name)| source(name)).collect::<Option<_>>()?;
    let label = format!("{}.{}", table.source, columns.join("_"));
    let is_it = |key: &ObjectPlan| key.table == Some(parent) && key.label == label && plan.is_added_key(key);
    Some((plan.objects.iter().position(is_it)?, columns))
}
