//! `schema generate`: what migrate would make, as migrations that a person can review, change and keep.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::migrate::prepare::{CHUNK_BYTES, read_source};
use crate::migrate::{added_keys, refuse_problems, rehearse, todo};
use crate::model::{Event, Events, Phase};
use crate::plan::mapping::Mapping;
use crate::plan::target::TargetSchema;
use crate::plan::{Case, Input, ObjectKind, ObjectPlan, Options, Otherwise, Plan, TablePlan, Todo, Warning, build, unasked};
use crate::postgres::statement;
use crate::sqlite::Snapshot;

/// Files by their path under the folder of migrations, and what has no place in them.
#[derive(Clone, Debug)]
pub struct Generated {
    pub files: Vec<(&'static str, String)>,
    /// Of the plan, and of constraints that rows break.
    pub warnings: Vec<Warning>,
}

/// Reads the source and writes what its schema becomes in an empty one.
pub async fn generate(
    snapshot: &Arc<Snapshot>,
    mapping: &Mapping,
    options: &Options,
    readers: usize,
    events: &Events,
) -> Result<Generated> {
    events(Event::PhaseStarted(Phase::Inspect));
    let reading = Arc::clone(snapshot);
    let (filters, decided) = (options.clone(), mapping.clone());
    let inspected = tokio::task::spawn_blocking(move || read_source(&reading, readers, CHUNK_BYTES, &filters, &decided)).await;
    let inspected = inspected.context("a reader of the source panicked")??;
    let target = TargetSchema { exists: true, ..TargetSchema::default() };
    let input = Input { source: &inspected.schema, profiles: &inspected.profiles, mapping, target: &target, options };
    let mut plan = build(&input);
    refuse_problems(&plan)?;
    let reader = snapshot.reader()?;
    added_keys::leave_out_broken(&reader, &inspected.schema, &mut plan)?;
    leave_open(&mut plan);
    unasked::say(&mut plan);
    let broken = rehearse::broken(&reader, &inspected.schema, &plan)?;
    let source = snapshot.path().display().to_string().replace(char::is_control, " ");
    let mut warnings = inspected.damage;
    let mut files = files(&plan, &broken, &source);
    if !plan.todo.is_empty() {
        files.push(("todo.sql", todo::text(&plan.todo)));
    }
    warnings.extend(plan.warnings);
    warnings.extend(broken);
    Ok(Generated { files, warnings })
}

/// Triggers whose keys are seen to be ones that they can name only when those are made: a person will know then.
fn leave_open(plan: &mut Plan) {
    let is_open = |object: &ObjectPlan| matches!(object.otherwise.as_deref(), Some(Otherwise { case: Case::Keys(_), .. }));
    for object in plan.objects.extract_if(.., |object| is_open(object)) {
        let Some(otherwise) = &object.otherwise else { continue };
        let reason = format!("{}, if one of its values has no room in a B-tree", otherwise.warning.message);
        let original = format!("{}\n\n-- to be run when the key is a B-tree:\n{};", object.original, object.statements.join(";\n"));
        plan.todo.push(Todo { original, ..object.todo(reason.clone()) });
        plan.warnings.push(Warning { message: reason, ..otherwise.warning.clone() });
    }
}

/// Tables with their keys, then views and triggers, come before the rows; indexes and what checks the rows come after them.
fn files(plan: &Plan, broken: &[Warning], source: &str) -> Vec<(&'static str, String)> {
    let is_key = |object: &&ObjectPlan| {
        let is_constraint = object.statements.first().is_some_and(|sql| sql.starts_with("ALTER TABLE"));
        // What may be too long for a key is seen when the rows are there.
        matches!(object.kind, ObjectKind::PrimaryKey | ObjectKind::Unique) && is_constraint && object.otherwise.is_none()
    };
    let is_index =
        |object: &&ObjectPlan| matches!(object.kind, ObjectKind::PrimaryKey | ObjectKind::Unique | ObjectKind::Index) && !is_key(object);
    let of_kind = |kinds: &'static [ObjectKind]| move |object: &&ObjectPlan| kinds.contains(&object.kind);
    let text = |objects: Vec<&ObjectPlan>| objects.into_iter().map(|object| statements(object, broken)).collect::<String>();
    let objects = &plan.objects;
    let mut tables: String = plan.tables.iter().map(table).collect();
    tables.push_str(&text(objects.iter().filter(is_key).collect()));
    let parts = [
        ("schema/V1__tables.sql", "The tables and their keys", tables),
        ("schema/V2__views.sql", "The views", text(objects.iter().filter(of_kind(&[ObjectKind::View])).collect())),
        ("schema/V3__triggers.sql", "The triggers", text(objects.iter().filter(of_kind(&[ObjectKind::Trigger])).collect())),
        ("indexes/V1__indexes.sql", "The indexes", text(objects.iter().filter(is_index).collect())),
        (
            "indexes/V2__constraints.sql",
            "The checks and foreign keys",
            text(objects.iter().filter(of_kind(&[ObjectKind::Check, ObjectKind::ForeignKey])).collect()),
        ),
    ];
    let head = |what: &str| {
        format!("-- {what} of {source}, for schema {:?}; candlefish migrate --migrations runs them around the rows.\n\n", plan.schema)
    };
    parts.into_iter().filter(|(_, _, text)| !text.is_empty()).map(|(name, what, text)| (name, head(what) + &text)).collect()
}

fn table(plan: &TablePlan) -> String {
    let Some(create) = &plan.create else { return String::new() };
    let mut text = String::new();
    for (column, why) in plan.columns.iter().filter_map(|column| Some((column, column.why.as_ref()?))) {
        text.push_str(&format!("-- {} is {}: {}\n", column.target, column.column_type.sql, one_line(&why.reason)));
        if let Some(hint) = &why.hint {
            text.push_str(&format!("--   {}\n", one_line(hint)));
        }
    }
    text + &statement::create_table(&plan.target, create, false) + ";\n\n"
}

/// The object's statements; the mark that a run leaves on its own is not on what a migration makes.
fn statements(object: &ObjectPlan, broken: &[Warning]) -> String {
    if let Some(otherwise) = &object.otherwise {
        return in_either_form(object, otherwise);
    }
    let broken = broken.iter().find(|warning| warning.object == object.label);
    let mut text = String::new();
    let validates = |sql: &str| sql.contains(" VALIDATE CONSTRAINT ");
    for sql in object.statements.iter().filter(|sql| !sql.starts_with("COMMENT ON ")) {
        match broken {
            Some(warning) if validates(sql) => text.push_str(&format!("-- {}\n-- {};\n", one_line(&warning.message), one_line(sql))),
            _ if validates(sql) => text.push_str(&unless_rows_break_it(object, sql)),
            _ => text.push_str(&format!("{sql};\n")),
        }
    }
    text + "\n"
}

/// A constraint that rows may break which are not yet seen: those whose parent is set aside, or whose key is spelled otherwise than its parent's.
/// Left as a run would leave it, it stops no migration.
fn unless_rows_break_it(object: &ObjectPlan, validate: &str) -> String {
    let breaks = if object.kind == ObjectKind::ForeignKey { "foreign_key_violation" } else { "check_violation OR data_exception" };
    let quote = statement::dollar_quote(validate);
    format!(
        "DO {quote} BEGIN\n    {validate};\nEXCEPTION WHEN {breaks} THEN\n    NULL; -- It stays NOT VALID: migrate lists the rows that break it.\nEND {quote};\n"
    )
}

/// A key or an index whose form PostgreSQL decides, as a run would let it.
fn in_either_form(object: &ObjectPlan, otherwise: &Otherwise) -> String {
    let lines = |statements: &[String]| statements.iter().map(|sql| format!("    {sql};\n")).collect::<String>();
    let (first, other) = (lines(&object.statements), lines(&otherwise.statements));
    let quote = statement::dollar_quote(&format!("{first}{other}"));
    format!(
        "DO {quote} BEGIN\n{first}EXCEPTION WHEN program_limit_exceeded THEN\n    -- {} {}\n{other}END {quote};\n\n",
        one_line(&object.label),
        one_line(&otherwise.warning.message)
    )
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
