//! From what was read to what will be done: pure, and complete before anything is touched.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::model::{Column, ColumnType, Name, QualifiedName, Schema, Table, TableKind};
use crate::plan::convert::Conversion;
use crate::plan::decision::{ColumnPlan, CreateColumn, CreateTable, ObjectKind, Plan, Problem, SequencePlan, TablePlan, Todo, Warning};
use crate::plan::derive::{Decision, derive};
use crate::plan::mapping::{AddedColumn, ColumnMapping, Mapping, TableMapping, type_from_sql};
use crate::plan::names::{NameStyle, Namespace};
use crate::plan::profile::{TableProfile, Trait};
use crate::plan::source_tz::SourceTz;
use crate::plan::target::{TargetColumn, TargetSchema, TargetTable};
use crate::plan::transform::{BadText, Transform};
use crate::plan::unify::unify_foreign_keys;
use crate::plan::{limits, objects};

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

    for (index, table) in input.source.tables.iter().enumerate() {
        if table.has_data() && filters.wants(&table.name) && !input.mapping.table(&table.name).is_some_and(|mapping| mapping.skip) {
            let built = TableBuilder { input, index, table, profile: &input.profiles[index], filters: &filters };
            built.build(&mut plan, &mut relations);
        }
    }
    note_shadow_tables(input.source, &mut plan);
    for (object, reason) in &input.source.unreadable {
        plan.warnings.push(Warning::loss(ObjectKind::Table, object, format!("cannot be read: {reason}")));
    }
    unify_foreign_keys(input, &mut plan);
    drop_sequences_of_text(&mut plan);
    if !input.options.data_only {
        objects::plan_objects(input, &mut plan, &mut relations);
    }
    limits::check(input, &mut plan);
    plan
}

/// One note for each virtual table, not one for each table that it keeps its data in.
fn note_shadow_tables(source: &Schema, plan: &mut Plan) {
    for table in &source.tables {
        let shadow = |other: &&Table| matches!(&other.kind, TableKind::Shadow { of } if *of == table.name);
        let shadows: Vec<&str> = source.tables.iter().filter(shadow).map(|shadow| shadow.name.as_str()).collect();
        if !shadows.is_empty() {
            let message = format!("keeps its data in {}, which are not copied: its rows are", shadows.join(", "));
            plan.warnings.push(Warning::note("shadow_tables", &table.name, message));
        }
    }
}

/// `--include`, `--exclude`, `--exclude-data`, `--existing`.
struct Filters {
    include: Option<GlobSet>,
    exclude: GlobSet,
    exclude_data: GlobSet,
    existing: Vec<(GlobSet, Existing)>,
}

impl Filters {
    /// Refuses a glob that is none, or that matches no table.
    fn new(source: &Schema, options: &Options) -> Result<Self, Problem> {
        let set = |globs: &[String], flag: &str| -> Result<GlobSet, Problem> {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                let bad = |message: String, hint: &str| Problem { code: "bad_glob", message, hint: hint.into() };
                let compiled =
                    Glob::new(glob).map_err(|error| bad(format!("{flag} {glob:?}: {error}"), "A glob has *, ?, [abc] and {a,b}."))?;
                let matcher = compiled.compile_matcher();
                if !source.tables.iter().any(|table| matcher.is_match(&table.name)) {
                    return Err(bad(
                        format!("{flag} {glob:?} matches no table of the source"),
                        "Names are matched exactly as SQLite has them.",
                    ));
                }
                builder.add(compiled);
            }
            builder.build().map_err(|error| Problem { code: "bad_glob", message: format!("{flag}: {error}"), hint: String::new() })
        };
        let mut existing = Vec::new();
        for (glob, what) in &options.existing {
            // A bare `--existing truncate` is `*`, which an empty database may well not match.
            let globs = if glob == "*" { Vec::new() } else { vec![glob.clone()] };
            existing.push((set(&globs, "--existing")?, *what));
        }
        Ok(Filters {
            include: if options.include.is_empty() { None } else { Some(set(&options.include, "--include")?) },
            exclude: set(&options.exclude, "--exclude")?,
            exclude_data: set(&options.exclude_data, "--exclude-data")?,
            existing,
        })
    }

    fn wants(&self, table: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(table)) && !self.exclude.is_match(table)
    }

    fn existing(&self, table: &str) -> Existing {
        let matching = self.existing.iter().rev().find(|(globs, _)| globs.is_empty() || globs.is_match(table));
        matching.map_or(Existing::Refuse, |(_, what)| *what)
    }
}

/// Says of each table of the source whether `--include` and `--exclude` want it.
pub fn wanted(source: &Schema, options: &Options) -> Result<impl Fn(&str) -> bool + use<>, Problem> {
    let filters = Filters::new(source, options)?;
    Ok(move |table: &str| filters.wants(table))
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

/// What of a mapping concerns one column of PostgreSQL.
#[derive(Default)]
struct Wish<'a> {
    target: Option<&'a str>,
    sql_type: Option<&'a str>,
    transform: Transform,
    bad_text: BadText,
    source_tz: Option<&'a SourceTz>,
}

impl<'a> Wish<'a> {
    fn of(mapping: Option<&'a ColumnMapping>) -> Self {
        mapping.map_or(Wish::default(), |mapping| Wish {
            target: mapping.target.as_deref(),
            sql_type: mapping.sql_type.as_deref().or((mapping.bad_text == BadText::Bytea).then_some("bytea")),
            transform: mapping.transform.clone(),
            bad_text: mapping.bad_text,
            source_tz: mapping.source_tz.as_ref(),
        })
    }

    fn added(name: &'a str, added: &'a AddedColumn) -> Self {
        Wish {
            target: Some(name),
            sql_type: added.sql_type.as_deref(),
            transform: added.transform.clone(),
            bad_text: added.bad_text,
            source_tz: added.source_tz.as_ref(),
        }
    }
}

struct TableBuilder<'a> {
    input: &'a Input<'a>,
    index: usize,
    table: &'a Table,
    profile: &'a TableProfile,
    filters: &'a Filters,
}

impl TableBuilder<'_> {
    fn build(&self, plan: &mut Plan, relations: &mut Namespace) {
        let mapping = self.input.mapping.table(&self.table.name);
        let wanted = mapping.and_then(|mapping| mapping.target.clone()).unwrap_or_else(|| self.input.options.names.apply(&self.table.name));
        let existing = self.input.target.find(&wanted).or_else(|| self.input.target.find(Name::fit(&wanted).as_str()));
        let target = match existing {
            Some(existing) => existing.name.clone(),
            None => {
                let name = relations.take(&wanted);
                self.note_new_name(plan, "table_renamed", &self.table.name, &wanted, &name);
                QualifiedName::new(self.input.options.schema.as_str(), name)
            }
        };
        if plan.tables.iter().any(|other| other.target == target) {
            plan.problems.push(Problem {
                code: "name_collision",
                message: format!("two tables of the source would go into {target}; one of them is {:?}", self.table.name),
                hint: "Rename one with a mapping: [tables.NAME] target = \"…\".".into(),
            });
            return;
        }
        let mut built = TablePlan {
            source_index: self.index,
            source: self.table.name.clone(),
            target,
            create: None,
            added_columns: Vec::new(),
            columns: Vec::new(),
            rows: self.profile.rows,
            bytes: self.profile.bytes,
            ranges: self.profile.ranges.clone(),
            sequence: None,
            had_rows: existing.is_some_and(|existing| existing.has_rows),
            truncate: false,
            rebuild: Vec::new(),
            without_data: self.filters.exclude_data.is_match(&self.table.name),
        };
        if existing.is_none() && self.input.options.data_only {
            plan.problems.push(Problem {
                code: "target_table_missing",
                message: format!("table {:?} has no place in the target: there is no {}", built.source, built.target),
                hint: "Make it first (--section pre-data makes the derived ones), map it with [tables.NAME] target, or leave it out with --exclude.".into(),
            });
            return;
        }
        match existing {
            Some(existing) => self.fill_existing(plan, &mut built, mapping, existing),
            None => self.derived(plan, &mut built, mapping),
        }
        if !(built.without_data && existing.is_some()) {
            built.sequence = self.sequence(&built, existing);
        }
        plan.tables.push(built);
    }

    fn note_new_name(&self, plan: &mut Plan, code: &str, source: &str, wanted: &str, name: &Name) {
        if name.as_str() != wanted {
            let why = if wanted.len() > 63 { "names end at 63 bytes there" } else { "the name is taken there" };
            plan.warnings.push(Warning::note(code, source, format!("is {name} in PostgreSQL: {why}")));
        }
    }

    /// A table that candlefish makes.
    fn derived(&self, plan: &mut Plan, built: &mut TablePlan, mapping: Option<&TableMapping>) {
        let mut names = Namespace::columns();
        let mut create = CreateTable { columns: Vec::new() };
        for (index, column) in self.table.columns.iter().enumerate() {
            let wish = mapping.and_then(|mapping| mapping.column(&column.name));
            if wish.is_some_and(|wish| wish.skip) {
                plan.warnings.push(Warning::note("column_skipped", self.label(column), "is left out, as the mapping says"));
                continue;
            }
            let wish = Wish::of(wish);
            let wanted = wish.target.map_or_else(|| self.input.options.names.apply(&column.name), str::to_string);
            let name = names.take(&wanted);
            self.note_new_name(plan, "column_renamed", &self.label(column), &wanted, &name);
            self.derived_column(plan, built, &mut create, index, name, &wish);
        }
        for (name, added) in mapping.into_iter().flat_map(|mapping| &mapping.add) {
            if let Some(index) = self.table.column_index(&added.from) {
                let name = names.take(name);
                self.derived_column(plan, built, &mut create, index, name, &Wish::added(&added.from, added));
            }
        }
        built.create = Some(create);
    }

    fn derived_column(&self, plan: &mut Plan, built: &mut TablePlan, create: &mut CreateTable, index: usize, name: Name, wish: &Wish<'_>) {
        let column = &self.table.columns[index];
        let seen = &self.profile.columns[index];
        let decision = match wish.sql_type {
            Some(sql) => {
                Decision { column_type: type_from_sql(sql), reason: "as the mapping says".into(), examples: Vec::new(), hint: None }
            }
            None => derive(column, seen),
        };
        // Rows that show it are there only when a value, not the declaration, decided.
        if wish.sql_type.is_none() && !decision.examples.is_empty() {
            let rows = decision.examples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let hint = decision.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
            let message = format!("is {}: {} (rows {rows}){hint}", decision.column_type.sql, decision.reason);
            plan.warnings.push(Warning::note("column_widened", self.label(column), message));
        }
        let is_alias = self.table.rowid_alias == Some(index) && wish.transform.is_none();
        let identity = is_alias && objects::is_integer(&decision.column_type.kind);
        let in_key = self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&index));
        let not_null = (column.not_null || in_key) && !seen.has(Trait::Null);
        if column.not_null && seen.has(Trait::Null) {
            let message = format!("{} rows hold NULL in a column declared NOT NULL", seen.count(Trait::Null));
            plan.warnings.push(Warning::loss(ObjectKind::NotNull, self.label(column), message));
        }
        create.columns.push(CreateColumn {
            name: name.clone(),
            source_index: index,
            collate_c: self.input.options.collate_c && decision.column_type.kind.is_text(),
            column_type: decision.column_type.clone(),
            not_null: not_null || identity,
            identity,
            default: None,
            generated: None,
        });
        let conversion = self.conversion(index, &decision.column_type, wish);
        built.columns.push(self.column_plan(index, name, decision, conversion));
    }

    fn conversion(&self, index: usize, column_type: &ColumnType, wish: &Wish<'_>) -> Conversion {
        Conversion {
            kind: column_type.kind.clone(),
            transform: wish.transform.clone(),
            bad_text: wish.bad_text,
            source_tz: wish.source_tz.unwrap_or(&self.input.options.source_tz).clone(),
            text_is_clean: !self.profile.columns[index].has_bad_text(),
        }
    }

    fn column_plan(&self, index: usize, target: Name, decision: Decision, conversion: Conversion) -> ColumnPlan {
        let column = &self.table.columns[index];
        ColumnPlan {
            source_index: index,
            source: column.name.clone(),
            declared: column.declared.clone(),
            target,
            column_type: decision.column_type,
            conversion,
            computed: false,
            reason: decision.reason,
            examples: decision.examples,
            hint: decision.hint,
        }
    }

    /// A table that was there before: its names, types and keys are obeyed.
    fn fill_existing(&self, plan: &mut Plan, built: &mut TablePlan, mapping: Option<&TableMapping>, existing: &TargetTable) {
        if existing.name.name.as_str() != built_name(&built.source, mapping) {
            let message = format!("goes into {}, which is there under a name that differs in case or punctuation", built.target);
            plan.warnings.push(Warning::note("matched_by_name", &self.table.name, message));
        }
        // Without its rows a table that is there is left as it is.
        if !built.without_data {
            self.decide_about_rows(plan, built, existing);
            built.rebuild = existing.rebuildable.clone();
        }
        let mut filled: Vec<&Name> = Vec::new();
        let mut names = Namespace::columns();
        for (index, column) in self.table.columns.iter().enumerate() {
            let wish = mapping.and_then(|mapping| mapping.column(&column.name));
            if wish.is_some_and(|wish| wish.skip) {
                continue;
            }
            let wish = Wish::of(wish);
            let wanted = wish.target.map_or_else(|| self.input.options.names.apply(&column.name), str::to_string);
            // What a table of ours would call it: names end at 63 bytes, and no two are the same.
            let fitted = names.take(&wanted);
            let of_that_name = || existing.columns.iter().find(|target| target.name == fitted);
            match existing.find(&wanted).or_else(|| existing.find(&column.name)).or_else(of_that_name) {
                Some(target) if filled.contains(&&target.name) => plan.problems.push(Problem {
                    code: "name_collision",
                    message: format!("two columns of {:?} would go into {}.{}", self.table.name, built.target, target.name),
                    hint: "Say which with a mapping.".into(),
                }),
                Some(target) => {
                    filled.push(&target.name);
                    self.note_other_type(plan, column, target, &wish);
                    self.existing_column(built, index, target, &wish);
                }
                None => self.extra_column(plan, built, index, &wanted, &wish, existing),
            }
        }
        for (name, added) in mapping.into_iter().flat_map(|mapping| &mapping.add) {
            let (Some(index), Some(target)) = (self.table.column_index(&added.from), existing.find(name)) else { continue };
            filled.push(&target.name);
            self.existing_column(built, index, target, &Wish::added(name, added));
        }
        for column in &existing.columns {
            if column.not_null && !column.has_default && !column.sequence && !column.generated && !filled.contains(&&column.name) {
                plan.problems.push(Problem {
                    code: "column_without_source",
                    message: format!("{}.{} is NOT NULL without a default, and nothing in the source fills it", built.target, column.name),
                    hint: "Give it a default, or a source with a mapping.".into(),
                });
            }
        }
    }

    fn decide_about_rows(&self, plan: &mut Plan, built: &mut TablePlan, existing: &TargetTable) {
        if !existing.has_rows {
            return;
        }
        match self.filters.existing(&self.table.name) {
            Existing::Truncate => built.truncate = true,
            Existing::Keep => {}
            Existing::Refuse if existing.replaceable => built.truncate = true,
            Existing::Refuse => plan.problems.push(Problem {
                code: "target_not_empty",
                message: format!("table {} already has rows", built.target),
                hint: "Empty it, or say what to do with --existing truncate, --existing keep, or --replace for what an earlier run made."
                    .into(),
            }),
        }
    }

    /// The target's type is obeyed, also against a mapping.
    fn note_other_type(&self, plan: &mut Plan, column: &Column, target: &TargetColumn, wish: &Wish<'_>) {
        let wanted = wish.sql_type.map(type_from_sql).filter(|wanted| wanted.sql != target.column_type.sql);
        if let Some(wanted) = wanted.filter(|_| !self.input.options.given_schema) {
            let message = format!("is {} in the target, which is obeyed; the mapping says {}", target.column_type.sql, wanted.sql);
            plan.warnings.push(Warning::note("type_of_target", self.label(column), message));
        }
    }

    fn existing_column(&self, built: &mut TablePlan, index: usize, target: &TargetColumn, wish: &Wish<'_>) {
        let decision =
            Decision { column_type: target.column_type.clone(), reason: "the target's type".into(), examples: Vec::new(), hint: None };
        let conversion = self.conversion(index, &target.column_type, wish);
        let mut column = self.column_plan(index, target.name.clone(), decision, conversion);
        column.computed = target.generated;
        built.columns.push(column);
    }

    fn extra_column(&self, plan: &mut Plan, built: &mut TablePlan, index: usize, wanted: &str, wish: &Wish<'_>, existing: &TargetTable) {
        let column = &self.table.columns[index];
        if self.input.options.on_extra == OnExtra::Fail {
            plan.problems.push(Problem {
                code: "column_without_place",
                message: format!("the source's column {} has no place in {}", self.label(column), built.target),
                hint: match self.input.options.data_only {
                    true => "Add the column, or map or skip it.".into(),
                    false => "Add the column, map or skip it, or let candlefish add it with --on-extra add.".into(),
                },
            });
            return;
        }
        let mut names = Namespace::columns();
        existing.columns.iter().for_each(|column| names.reserve(&column.name));
        built.added_columns.iter().for_each(|(name, _)| names.reserve(name));
        let name = names.take(wanted);
        let decision = match wish.sql_type {
            Some(sql) => {
                Decision { column_type: type_from_sql(sql), reason: "as the mapping says".into(), examples: Vec::new(), hint: None }
            }
            None => derive(column, &self.profile.columns[index]),
        };
        let message = format!("has no place in {}: added as {name} {}", built.target, decision.column_type.sql);
        plan.warnings.push(Warning::note("column_added", self.label(column), message));
        built.added_columns.push((name.clone(), decision.column_type.clone()));
        let conversion = self.conversion(index, &decision.column_type, wish);
        built.columns.push(self.column_plan(index, name, decision, conversion));
    }

    /// Where the identity or serial column must go on: after every id that was ever given out.
    fn sequence(&self, built: &TablePlan, existing: Option<&TargetTable>) -> Option<SequencePlan> {
        let alias = self.table.rowid_alias;
        let has_sequence = |column: &ColumnPlan| match (existing, &built.create) {
            (Some(existing), _) => existing.find(column.target.as_str()).is_some_and(|target| target.sequence),
            (None, Some(create)) => create.columns.iter().any(|created| created.name == column.target && created.identity),
            (None, None) => false,
        };
        let column = built
            .columns
            .iter()
            .filter(|column| objects::is_integer(&column.column_type.kind) && has_sequence(column))
            .min_by_key(|column| alias != Some(column.source_index))?;
        let seen = &self.profile.columns[column.source_index];
        let largest = seen.has(Trait::Integer).then_some(seen.integer_max);
        let counted = self.table.sequence.filter(|_| alias == Some(column.source_index));
        Some(SequencePlan { column: column.target.clone(), last: largest.max(counted) })
    }

    fn label(&self, column: &Column) -> String {
        format!("{}.{}", self.table.name, column.name)
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

/// The name that a table's source or mapping asks for.
fn built_name<'a>(source: &'a str, mapping: Option<&'a TableMapping>) -> &'a str {
    mapping.and_then(|mapping| mapping.target.as_deref()).unwrap_or(source)
}

/// Adds an object that has no exact form to the todo list and the warnings.
pub(super) fn cannot(plan: &mut Plan, kind: ObjectKind, object: impl Into<String>, reason: impl Into<String>, original: impl Into<String>) {
    let (object, reason) = (object.into(), reason.into());
    plan.warnings.push(Warning::loss(kind, &object, &reason));
    plan.todo.push(Todo { kind, object, reason, original: original.into() });
}
