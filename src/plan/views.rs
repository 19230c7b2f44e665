//! Views in the order in which they read each other, then triggers.

use std::collections::HashMap;

use crate::dialect::translate::{self, Cascade, Catalog, Relation, Return};
use crate::model::{MAX_NAME_BYTES, Name, QualifiedName, Trigger, View};
use crate::plan::build::{Input, cannot};
use crate::plan::decision::{NOT_IN_TARGET, ObjectKind, ObjectPlan, Plan, TablePlan, Warning, lacks};
use crate::plan::express;
use crate::plan::long_keys::unnamed_key;
use crate::plan::names::Namespace;

/// What candlefish leaves on views and functions, so that `--replace` knows its own.
pub const MARK: &str = "made by candlefish";

/// The schema of what a dry run makes.
const TEMPORARY: &str = "pg_temp";

/// Plans every view and trigger that has an exact form.
pub fn plan_views(input: &Input<'_>, plan: &mut Plan, names: &HashMap<String, Name>) {
    // What they would be translated with is as large as the plan.
    if input.source.views.is_empty() && input.source.triggers.is_empty() {
        return;
    }
    let mut catalog = express::catalog(input, plan);
    let mut tried = Catalog { relations: catalog.relations.iter().map(as_temporary).collect() };
    for view in in_reading_order(&input.source.views) {
        if let Some(name) = names.get(&view.name) {
            plan_view(input, plan, (&mut catalog, &mut tried), view, name);
        }
    }
    let mut functions = Namespace::default();
    input.target.functions.iter().for_each(|name| functions.reserve(name));
    let mut stand_ins: HashMap<String, usize> = HashMap::new();
    for trigger in input.source.triggers.iter().filter(|trigger| translate::stands_in_for_update(&trigger.sql)) {
        *stand_ins.entry(trigger.table.to_ascii_lowercase()).or_default() += 1;
    }
    let mut triggers = Vec::new();
    // A table that is left out is so with its triggers, as with its indexes.
    let is_left_out = |trigger: &&Trigger| plan.left_out.iter().any(|table| table.eq_ignore_ascii_case(&trigger.table));
    let wanted: Vec<&Trigger> = input.source.triggers.iter().filter(|trigger| !is_left_out(trigger)).collect();
    for trigger in wanted {
        let label = format!("{}.{}", trigger.table, trigger.name);
        // A table that was there before has the triggers that its own application gave it.
        if let Some(warning) = left_out(input, plan, trigger) {
            plan.warnings.push(warning);
            continue;
        }
        let is_it = |view: &&View| view.name.eq_ignore_ascii_case(&trigger.table);
        if input.source.views.iter().find(is_it).is_some_and(|view| !names.contains_key(&view.name)) {
            let message = format!("is left out: the view {} was there before, and what it does is the target's own", trigger.table);
            plan.warnings.push(Warning::note("trigger_left_out", &label, message));
            continue;
        }
        let wanted = input.options.names.apply(&trigger.name);
        let name = functions.take(&wanted);
        if name.as_str() != wanted {
            let why = if wanted.len() > MAX_NAME_BYTES { "names end at 63 bytes there" } else { "a function of that name is there" };
            plan.warnings.push(Warning::note("trigger_renamed", &label, format!("is {name} in PostgreSQL: {why}")));
        }
        let alone = stand_ins.get(&trigger.table.to_ascii_lowercase()).is_none_or(|number| *number < 2);
        triggers.push((trigger, label, translate::trigger(&trigger.sql, &catalog, &name, alone), name));
    }
    // Only what is made sets anything off, and one that comes back to its own row is not made.
    let made = triggers.iter().map(|(trigger, _, made, _)| made.is_ok().then_some(trigger.sql.as_str()));
    let keys = input.source.tables.iter().flat_map(|table| table.foreign_keys.iter().map(|key| (table.name.as_str(), key)));
    let mut cascade = Cascade::of(made, keys);
    while let Some(index) = (0..triggers.len()).find(|index| cascade.comes_back(*index) == Some(Return::Before)) {
        triggers[index].2 =
            Err(translate::Untranslatable { reason: format!("{} (through other triggers or foreign keys)", translate::OWN_ROWS) });
        cascade.forget(index);
    }
    let mut firing: HashMap<(String, String), String> = HashMap::new();
    for (index, (trigger, label, made, name)) in triggers.into_iter().enumerate() {
        match made {
            Ok(mut translated) => {
                if cascade.comes_back(index) == Some(Return::After) && !translated.notes.contains(&translate::SEES_ALL) {
                    translated.notes.push(translate::SEES_ALL);
                }
                note_differences(plan, "trigger_differs", &label, &translated.notes);
                let moment = (trigger.table.to_ascii_lowercase(), translated.fires.clone());
                if let Some(other) = firing.insert(moment, label.clone()) {
                    let message = format!(
                        "fires {} as {other} does: in PostgreSQL in the order of their names, in SQLite in none that it promises",
                        translated.fires
                    );
                    plan.warnings.push(Warning::note("trigger_order", &label, message));
                }
                let mut statements = translated.statements;
                let function = QualifiedName::new(input.options.schema.as_str(), name.clone());
                statements.push(format!("COMMENT ON FUNCTION {function}() IS '{MARK}'"));
                let otherwise = unnamed_key(plan, &translated.arbiters, &label).map(Box::new);
                let trigger = object(ObjectKind::Trigger, name, label, statements, &trigger.sql);
                plan.objects.push(ObjectPlan { otherwise, ..trigger });
            }
            Err(error) => cannot(plan, ObjectKind::Trigger, label, error.reason, &trigger.sql),
        }
    }
}

/// Says which triggers the target's own tables lack, where none is to be made.
pub fn say_lacking_triggers(input: &Input<'_>, plan: &mut Plan) {
    let said: Vec<Warning> = input.source.triggers.iter().filter_map(|trigger| left_out(input, plan, trigger)).collect();
    plan.warnings.extend(said);
}

/// What is said of a trigger whose table was there before: only one that fires at the same moment can do this one's work.
fn left_out(input: &Input<'_>, plan: &Plan, trigger: &Trigger) -> Option<Warning> {
    let is_given = |table: &&TablePlan| table.create.is_none() && table.source.eq_ignore_ascii_case(&trigger.table);
    let target = &plan.tables.iter().find(is_given)?.target;
    let label = format!("{}.{}", trigger.table, trigger.name);
    let table = input.target.tables.iter().find(|table| table.name == *target);
    let moment = translate::fires(&trigger.sql);
    let has_one = moment.as_ref().is_some_and(|moment| table.is_some_and(|table| table.fires.contains(moment)));
    let at = moment.map(|moment| format!(" that fires {moment}")).unwrap_or_default();
    if has_one {
        let message = format!("is left out: {target} was there before, with a trigger of its own{at}");
        return Some(Warning::note("trigger_left_out", label, message));
    }
    // Who asked for rows alone has not asked for it, and must know.
    if input.options.data_only {
        let message = format!("{} in the target's own schema: {target} has none{at}", lacks(ObjectKind::Trigger.as_str()));
        return Some(Warning { class: ObjectKind::Trigger.allow_class().into(), ..Warning::weaker(NOT_IN_TARGET, label, message) });
    }
    Some(Warning::loss(ObjectKind::Trigger, label, format!("is not made: {target} was there before, and it has no trigger{at}")))
}

/// What each view is called in the target, by its name in SQLite. They are given out before constraints get theirs, which nobody asks for by name.
pub fn names(input: &Input<'_>, plan: &mut Plan, relations: &mut Namespace) -> HashMap<String, Name> {
    let mut names = HashMap::new();
    let mut given = Namespace::default();
    // A name that is cut may be that of a table.
    input.names_in_target().iter().for_each(|table| given.reserve(table));
    for view in &input.source.views {
        let wanted = input.options.names.apply(&view.name);
        let there = given.take(&wanted);
        if input.target.views.contains(&there) {
            plan.warnings.push(Warning::note("view_left_out", &view.name, "is left out: the target has one of that name"));
            continue;
        }
        // What an application asks for by this name is not to be found under another.
        if input.target.other_relations.contains(&there) || input.target.tables.iter().any(|table| table.name.name == there) {
            let reason = "its name is taken in PostgreSQL, and not by a view".to_string();
            cannot(plan, ObjectKind::View, &view.name, reason, &view.sql);
            continue;
        }
        let name = relations.take(&wanted);
        if name.as_str() != wanted {
            let why = if wanted.len() > MAX_NAME_BYTES { "names end at 63 bytes there" } else { "the name is taken there" };
            plan.warnings.push(Warning::note("view_renamed", &view.name, format!("is {name} in PostgreSQL: {why}")));
        }
        names.insert(view.name.clone(), name);
    }
    names
}

/// The same relation where a dry run makes it.
fn as_temporary(relation: &Relation) -> Relation {
    Relation { target: QualifiedName::new(TEMPORARY, relation.target.name.clone()), ..relation.clone() }
}

/// `tried` has the same relations as they are for a try.
fn plan_view(input: &Input<'_>, plan: &mut Plan, (catalog, tried): (&mut Catalog, &mut Catalog), view: &View, name: &Name) {
    let target = QualifiedName::new(input.options.schema.as_str(), name.clone());
    match translate::view(&view.sql, catalog, &target) {
        Ok(translated) => {
            note_differences(plan, "view_differs", &view.name, &translated.notes);
            if !translated.lacking.is_empty() {
                let message = format!("shows by its * every column but {}, which the copy leaves out", translated.lacking.join(", "));
                plan.warnings.push(Warning::note("view_differs", &view.name, message));
            }
            let statements = vec![translated.sql, format!("COMMENT ON VIEW {target} IS '{MARK}'")];
            let temporary = translate::view(&view.sql, tried, &QualifiedName::new(TEMPORARY, name.clone()));
            tried.relations.push(as_temporary(&translated.relation));
            plan.objects.push(ObjectPlan {
                tried: temporary.map(|temporary| vec![temporary.sql]).unwrap_or_default(),
                ..object(ObjectKind::View, name.clone(), view.name.clone(), statements, &view.sql)
            });
            catalog.relations.push(translated.relation);
        }
        Err(error) => cannot(plan, ObjectKind::View, &view.name, error.reason, &view.sql),
    }
}

/// What the translation promises less of than the same answer to every question.
pub(super) fn note_differences(plan: &mut Plan, code: &str, object: &str, notes: &[&str]) {
    plan.warnings.extend(notes.iter().map(|note| Warning::note(code, object, *note)));
}

fn object(kind: ObjectKind, name: Name, label: String, statements: Vec<String>, original: &str) -> ObjectPlan {
    ObjectPlan {
        kind,
        table: None,
        parent: None,
        name,
        label,
        statements,
        offenders: None,
        original: original.into(),
        tried: Vec::new(),
        joins: None,
        otherwise: None,
    }
}

/// A view comes after the views that it reads; those that read each other in a circle come last, and fail for that.
fn in_reading_order(views: &[View]) -> Vec<&View> {
    let mut left: Vec<(&View, Vec<String>)> = views.iter().map(|view| (view, translate::view_dependencies(&view.sql))).collect();
    let mut ordered = Vec::with_capacity(views.len());
    loop {
        let waiting: Vec<String> = left.iter().map(|(view, _)| view.name.to_ascii_lowercase()).collect();
        let (ready, blocked): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, reads)| !reads.iter().any(|read| waiting.contains(&read.to_ascii_lowercase())));
        if ready.is_empty() {
            ordered.extend(blocked.into_iter().map(|(view, _)| view));
            return ordered;
        }
        ordered.extend(ready.into_iter().map(|(view, _)| view));
        left = blocked;
    }
}

/// The source's names of the tables and views that a view of the source reads.
pub fn read_by_view(sql: &str) -> Vec<String> {
    translate::view_dependencies(sql)
}
