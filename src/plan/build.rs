//! From what was read to what will be done: pure, and complete before anything is touched.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{Name, Schema, Table, TableKind, TypeKind};
use crate::plan::decision::{ColumnInterner, ObjectKind, Plan, Problem, TablePlan, Todo, Warning};
use crate::plan::filters::Filters;
use crate::plan::mapping::Mapping;
use crate::plan::names::{self, NameStyle, Namespace};
use crate::plan::profile::TableProfile;
use crate::plan::source_tz::SourceTz;
use crate::plan::table::TableBuilder;
use crate::plan::target::{Lookup, TargetSchema};
use crate::plan::unify::unify_foreign_keys;
use crate::plan::{given, limits, objects, views};

/// What a person asked for, as far as the plan goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The schema of PostgreSQL that everything goes into.
    pub schema: String,
    pub create_schema: bool,
    pub names: NameStyle,
    /// Derived text columns are `COLLATE "C"`, SQLite's own order.
    pub collate_c: bool,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub exclude_data: Vec<String>,
    /// What to do with rows that are in target tables already: the last glob that matches wins.
    pub existing: Vec<(String, Existing)>,
    /// Columns and tables without a place in a given schema: add them, or fail.
    pub on_extra: OnExtra,
    /// Where times without an offset were written, unless a mapping says otherwise of a column.
    pub source_tz: SourceTz,
    /// Tables that are there already were made by migrations for this source, and are filled.
    pub given_schema: bool,
    /// A derived column is widened until it holds every value; else it is what it was declared, and values that do not fit are set aside.
    pub widen: bool,
    /// Nothing is made: every table has its place already, with its own keys and types.
    pub data_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            schema: "public".into(),
            create_schema: false,
            names: NameStyle::Exact,
            collate_c: true,
            include: Vec::new(),
            exclude: Vec::new(),
            exclude_data: Vec::new(),
            existing: Vec::new(),
            on_extra: OnExtra::Add,
            source_tz: SourceTz::Utc,
            given_schema: false,
            widen: true,
            data_only: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Truncate,
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExtra {
    Add,
    Fail,
}

/// Everything that a plan is made from.
pub struct Input<'a> {
    pub source: &'a Schema,
    /// One a table of `source`, in its order.
    pub profiles: &'a [TableProfile],
    pub mapping: &'a Mapping,
    pub target: &'a TargetSchema,
    pub options: &'a Options,
}

impl Input<'_> {
    /// What a table is to be called in the target.
    pub fn name_in_target(&self, table: &Table) -> String {
        let mapped = self.mapping.table(&table.name).and_then(|mapping| mapping.target.clone());
        mapped.unwrap_or_else(|| self.options.names.apply(&table.name))
    }

    /// What each table is called where nothing else is there, by its place in the source; whether it is wanted or not, so that a run for some of them
    /// and a run for the others, or for what migrations have made, mean the same by a name.
    pub fn names_in_target(&self) -> Vec<Name> {
        let tables = self.source.tables.iter().enumerate().filter(|(_, table)| table.has_data());
        let mut wishes: Vec<(usize, String)> = tables.map(|(place, table)| (place, self.name_in_target(table))).collect();
        // A name that was asked for, or that stays as it is, goes before one that becomes the same.
        wishes.sort_by_key(|(place, wanted)| (!self.is_mapped(*place), names::is_changed(&self.source.tables[*place].name, wanted)));
        let mut names = vec![Name::new(""); self.source.tables.len()];
        let mut taken = Namespace::default();
        wishes.iter().for_each(|(place, wanted)| names[*place] = taken.take(wanted));
        names
    }

    /// A mapping gives the table its name.
    pub(super) fn is_mapped(&self, place: usize) -> bool {
        self.mapping.table(&self.source.tables[place].name).is_some_and(|mapping| mapping.target.is_some())
    }
}

/// Builds the plan; what is impossible stands in `Plan::problems`, all of it.
pub fn build(input: &Input<'_>) -> Plan {
    let mut plan = Plan { schema: input.options.schema.clone(), create_schema: !input.target.exists, ..Plan::default() };
    if plan.create_schema && !input.options.create_schema {
        plan.problems.push(Problem {
            code: "schema_not_found",
            message: format!("schema {:?} does not exist", plan.schema),
            hint: "Create it, or let candlefish do so with --create-schema.".into(),
        });
    }
    let filters = match Filters::new(input.source, input.options) {
        Ok(filters) => filters,
        Err(problem) => {
            plan.problems.push(problem);
            return plan;
        }
    };
    check_mapping(input, &mut plan);
    let mut relations = Namespace::default();
    input.target.tables.iter().for_each(|table| relations.reserve(&table.name.name));
    input.target.other_relations.iter().for_each(|name| relations.reserve(name));

    plan_tables(input, &filters, &mut plan, &mut relations);
    given::refuse_referenced(input.target, &mut plan);
    note_shadow_tables(input.source, &mut plan);
    for (object, reason) in &input.source.unreadable {
        plan.warnings.push(Warning::loss(ObjectKind::Table, object, format!("cannot be read: {reason}")));
    }
    unify_foreign_keys(input, &mut plan);
    drop_sequences_of_text(&mut plan);
    if input.options.data_only {
        views::say_lacking_triggers(input, &mut plan);
    } else {
        objects::plan_objects(input, &mut plan, &mut relations);
        name_sequences(&mut plan, &mut relations);
    }
    // What was decided since, of defaults and for foreign keys, is alike again.
    let mut interner = ColumnInterner::default();
    plan.tables.iter_mut().for_each(|table| interner.take_in(table));
    note_ids(&mut plan);
    limits::check(input, &mut plan);
    note_idle_zone(input.options, &mut plan);
    plan
}

/// Every wanted table, without its objects.
fn plan_tables(input: &Input<'_>, filters: &Filters, plan: &mut Plan, relations: &mut Namespace) {
    let there = Lookup::of(input.target.tables.iter().map(|table| table.name.name.as_str()));
    let named = input.source.tables.iter().filter(|table| table.has_data()).map(|table| input.name_in_target(table)).collect();
    let names = input.names_in_target();
    let (mut taken, mut interner) = (HashSet::new(), ColumnInterner::default());
    for (index, table) in input.source.tables.iter().enumerate() {
        if !table.has_data() {
            continue;
        }
        if !filters.wants(&table.name) || input.mapping.table(&table.name).is_some_and(|mapping| mapping.skip) {
            plan.left_out.push(table.name.clone());
            continue;
        }
        let (profile, name) = (&input.profiles[index], &names[index]);
        let built = TableBuilder { input, index, table, profile, filters, there: &there, named: &named, name };
        let before = plan.tables.len();
        built.build(plan, relations, &mut taken);
        plan.tables[before..].iter_mut().for_each(|table| interner.take_in(table));
    }
}

/// SQLite asks the table for its next id, and takes NULL for that; an identity column counts by itself.
fn note_ids(plan: &mut Plan) {
    let numbers = |table: &TablePlan| table.create.iter().flat_map(|create| &create.columns).any(|column| column.identity);
    if plan.tables.iter().any(numbers) {
        let message = "counts ids by itself: a NULL in an INSERT is not the next one as in SQLite (leave the column out, or write DEFAULT), and an id that is \
                       written there does not move the count (setval() does)";
        plan.warnings.push(Warning::note("ids_counted", plan.schema.clone(), message));
    }
    let at_end = |table: &&TablePlan| table.sequence.as_ref().is_some_and(|sequence| sequence.last == Some(i64::MAX));
    let notes: Vec<Warning> = plan.tables.iter().filter(at_end).map(|table| {
        let message = "has the largest id that there is: SQLite looks for a free one then, and PostgreSQL refuses an INSERT without an id until its sequence is \
                       restarted at a free number";
        Warning::note("ids_at_end", &table.source, message)
    }).collect();
    plan.warnings.extend(notes);
}

/// `--source-tz` is for columns of `timestamptz`: where there is none, times stay as they were written.
fn note_idle_zone(options: &Options, plan: &mut Plan) {
    let asks = |table: &TablePlan| table.columns.iter().any(|column| column.column_type.kind == TypeKind::TimestampTz);
    if options.source_tz.is_utc() || plan.tables.iter().any(asks) {
        return;
    }
    let message = format!(
        "--source-tz {} decides nothing: no column is timestamptz, and times without an offset stay as they are",
        options.source_tz
    );
    plan.warnings.push(Warning::note("source_tz_idle", plan.schema.clone(), message));
}

/// PostgreSQL names an identity's sequence `table_column_seq`. Where a table, index or view is called so, the sequence gives way: nobody asks for it by name.
fn name_sequences(plan: &mut Plan, relations: &mut Namespace) {
    for table in &mut plan.tables {
        for column in table.create.iter_mut().flat_map(|create| &mut create.columns).filter(|column| column.identity) {
            let wanted = names::of_sequence(&table.target.name, &column.name);
            if relations.has(&wanted) {
                Arc::make_mut(column).sequence = Some(relations.take(wanted.as_str()));
            }
            relations.reserve(&wanted);
        }
    }
}

/// One note for each virtual table, not one for each table that it keeps its data in.
fn note_shadow_tables(source: &Schema, plan: &mut Plan) {
    let all: Vec<_> = source.tables.iter().filter(|table| matches!(table.kind, TableKind::Shadow { .. })).collect();
    for table in source.tables.iter().filter(|_| !all.is_empty()) {
        let of_it = |other: &&&Table| matches!(&other.kind, TableKind::Shadow { of } if *of == table.name);
        let shadows: Vec<&str> = all.iter().filter(of_it).map(|shadow| shadow.name.as_str()).collect();
        if !shadows.is_empty() {
            let message = format!("keeps its data in {}, which are not copied: its rows are", shadows.join(", "));
            plan.warnings.push(Warning::note("shadow_tables", &table.name, message));
        }
    }
}

/// A mapping that names what is not there is a mistake, not a wish.
fn check_mapping(input: &Input<'_>, plan: &mut Plan) {
    // The built-in mapping speaks of tables that an old registry need not have.
    if input.options.given_schema {
        return;
    }
    let mut missing = |message: String, wanted: &str, names: Vec<&str>| {
        let meant = crate::plan::mapping::closest(wanted, names.into_iter());
        let hint = meant.map_or("Names are those of the SQLite file.".to_string(), |meant| format!("Did you mean {meant:?}?"));
        plan.problems.push(Problem { code: "bad_mapping", message, hint });
    };
    for (name, mapping) in &input.mapping.tables {
        let Some(table) = input.source.table(name) else {
            let names = input.source.tables.iter().map(|table| table.name.as_str()).collect();
            missing(format!("the mapping names the table {name:?}, which the source does not have"), name, names);
            continue;
        };
        let columns = || table.columns.iter().map(|column| column.name.as_str()).collect();
        let named = mapping.columns.keys().chain(mapping.add.values().map(|added| &added.from));
        for column in named.filter(|column| table.column_index(column).is_none()) {
            missing(format!("the mapping names the column {name:?}.{column:?}, which the source does not have"), column, columns());
        }
    }
}

/// A key that a foreign key made text no longer counts by itself.
fn drop_sequences_of_text(plan: &mut Plan) {
    for table in &mut plan.tables {
        let Some(sequence) = &table.sequence else { continue };
        let column = table.columns.iter().find(|column| column.target == sequence.column);
        if column.is_some_and(|column| !objects::is_integer(&column.column_type.kind)) {
            let object = format!("{}.{}", table.source, sequence.column.as_str());
            plan.warnings.push(Warning::loss(
                ObjectKind::Sequence,
                object,
                "no longer gives out ids: its foreign keys made it another type than an integer",
            ));
            table.sequence = None;
        }
    }
}

/// Adds an object that has no exact form to the todo list and the warnings.
pub(super) fn cannot(plan: &mut Plan, kind: ObjectKind, object: impl Into<String>, reason: impl Into<String>, original: impl Into<String>) {
    let (object, reason) = (object.into(), reason.into());
    plan.warnings.push(Warning::loss(kind, &object, &reason));
    plan.todo.push(Todo { kind, object, reason, original: original.into() });
}
