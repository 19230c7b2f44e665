//! One table of the source into the plan: where it goes, and as what when candlefish makes it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{Column, ColumnType, Name, QualifiedName, Table, TableKind, TypeKind};
use crate::plan::build::{Input, cannot};
use crate::plan::convert::Conversion;
use crate::plan::decision::{ColumnPlan, CreateColumn, CreateTable, ObjectKind, Plan, Problem, SequencePlan, TablePlan, Warning, Why};
use crate::plan::derive::{Decision, as_declared, derive, is_widened};
use crate::plan::filters::Filters;
use crate::plan::mapping::{AddedColumn, ColumnMapping, TableMapping, type_from_sql};
use crate::plan::names::{Namespace, fitted, is_changed};
use crate::plan::objects;
use crate::plan::profile::{ColumnProfile, TableProfile, Trait};
use crate::plan::rounding::Rounding;
use crate::plan::source_tz::SourceTz;
use crate::plan::target::{Lookup, TargetTable};
use crate::plan::transform::{BadText, Inexact, Transform};

/// What of a mapping concerns one column of PostgreSQL.
#[derive(Default)]
pub(super) struct Wish<'a> {
    pub target: Option<&'a str>,
    pub sql_type: Option<&'a str>,
    pub transform: Transform,
    pub bad_text: BadText,
    pub inexact: Inexact,
    pub source_tz: Option<&'a SourceTz>,
}

impl<'a> Wish<'a> {
    pub fn of(mapping: Option<&'a ColumnMapping>) -> Self {
        mapping.map_or(Wish::default(), |mapping| Wish {
            target: mapping.target.as_deref(),
            sql_type: mapping.sql_type.as_deref().or((mapping.bad_text == BadText::Bytea).then_some("bytea")),
            transform: mapping.transform.clone(),
            bad_text: mapping.bad_text,
            inexact: mapping.inexact,
            source_tz: mapping.source_tz.as_ref(),
        })
    }

    pub fn added(name: &'a str, added: &'a AddedColumn) -> Self {
        Wish {
            target: Some(name),
            sql_type: added.sql_type.as_deref(),
            transform: added.transform.clone(),
            bad_text: added.bad_text,
            inexact: added.inexact,
            source_tz: added.source_tz.as_ref(),
        }
    }
}

pub(super) struct TableBuilder<'a> {
    pub input: &'a Input<'a>,
    pub index: usize,
    pub table: &'a Table,
    pub profile: &'a TableProfile,
    pub filters: &'a Filters,
    /// The target's tables by name.
    pub there: &'a Lookup,
    /// What all tables of the source are called in the target, whether they are wanted or not.
    pub named: &'a HashSet<String>,
    /// What this one is called where nothing else is there: of tables that would be called the same, one alone is.
    pub name: &'a Name,
}

impl TableBuilder<'_> {
    /// `taken` are the targets of the tables before it.
    pub fn build(&self, plan: &mut Plan, relations: &mut Namespace, taken: &mut HashSet<QualifiedName>) {
        let mapping = self.input.mapping.table(&self.table.name);
        let wanted = self.input.name_in_target(self.table);
        let there = self.there.find(&wanted).or_else(|| self.there.find(fitted(&wanted).as_str()));
        // What is another table's by its very name is not this one's by a likeness.
        let is_anothers = |place: &usize| {
            let name = self.input.target.tables[*place].name.name.as_str();
            name != wanted && name != fitted(&wanted).as_str() && self.named.contains(name)
        };
        let alike = || there.filter(|place| !is_anothers(place));
        // Another table of the source has the name that this one's becomes.
        let gives_way = *self.name != fitted(&wanted) && !self.input.is_mapped(self.index) && is_changed(&self.table.name, &wanted);
        let there = if gives_way { self.there.exactly(self.name.as_str()) } else { alike() };
        let existing = there.map(|place| &self.input.target.tables[place]);
        let target = match existing {
            Some(existing) => existing.name.clone(),
            None => {
                let own = if gives_way { self.name.as_str() } else { wanted.as_str() };
                self.refuse_taken_name(plan, own);
                let name = relations.take(own);
                note_new_name(plan, "table_renamed", &self.table.name, &wanted, &name);
                QualifiedName::new(self.input.options.schema.as_str(), name)
            }
        };
        if !taken.insert(target.clone()) {
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
            kept_rows: None,
            truncate: false,
            rebuild: Vec::new(),
            without_data: self.filters.without_data(&self.table.name),
            left_out: Vec::new(),
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
        let columns = self.table.columns.iter().enumerate();
        let left_out = columns.filter(|(index, _)| !built.columns.iter().any(|column| column.source_index == *index));
        built.left_out = left_out.map(|(_, column)| column.name.clone()).collect();
        if !(built.without_data && existing.is_some()) {
            built.sequence = self.sequence(&built, existing);
        }
        built.columns.shrink_to_fit();
        built.create.iter_mut().for_each(|create| create.columns.shrink_to_fit());
        plan.tables.push(built);
    }

    /// What an application asks for by this name would not be the rows: they would be under another, and the view or whatever has it would answer.
    fn refuse_taken_name(&self, plan: &mut Plan, wanted: &str) {
        let name = fitted(wanted);
        if !self.input.target.other_relations.contains(&name) {
            return;
        }
        let what = if self.input.target.views.contains(&name) { "a view" } else { "no table" };
        let there = QualifiedName::new(self.input.options.schema.as_str(), name);
        plan.problems.push(Problem {
            code: "name_taken",
            message: format!("table {:?} has no place in the target: {there} is there, and is {what}", self.table.name),
            hint: "Rename or drop what is there, or give the table another name with a mapping: [tables.NAME] target = \"…\".".into(),
        });
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
            if self.is_unreadable(plan, column) {
                continue;
            }
            let wish = Wish::of(wish);
            let wanted = wish.target.map_or_else(|| self.input.options.names.apply(&column.name), str::to_string);
            let name = names.take(&wanted);
            note_new_name(plan, "column_renamed", &self.label(column), &wanted, &name);
            self.derived_column(plan, built, &mut create, index, name, &wish);
        }
        for (name, added) in mapping.into_iter().flat_map(|mapping| &mapping.add) {
            if let Some(index) = self.readable_index(&added.from) {
                let name = names.take(name);
                self.derived_column(plan, built, &mut create, index, name, &Wish::added(&added.from, added));
            }
        }
        built.create = Some(create);
    }

    /// A virtual column of a function that is not here: it is lost, and nothing else of its table.
    pub(super) fn is_unreadable(&self, plan: &mut Plan, column: &Column) -> bool {
        let Some(reason) = column.unreadable() else { return false };
        let expression = column.generated.as_ref().map_or("", |generated| generated.expression.as_str());
        let message = format!("is left out: it is computed when it is read, and SQLite cannot do that here ({reason})");
        cannot(plan, ObjectKind::Generated, self.label(column), message, format!("GENERATED ALWAYS AS ({expression}) VIRTUAL"));
        true
    }

    /// The place of a column that can be read.
    pub(super) fn readable_index(&self, name: &str) -> Option<usize> {
        self.table.column_index(name).filter(|index| self.table.columns[*index].unreadable().is_none())
    }

    fn derived_column(&self, plan: &mut Plan, built: &mut TablePlan, create: &mut CreateTable, index: usize, name: Name, wish: &Wish<'_>) {
        let column = &self.table.columns[index];
        let seen = &self.profile.columns[index];
        let (decision, widened) = match wish.sql_type {
            Some(sql) => {
                let reason = "as the mapping says".into();
                (Decision { column_type: self.input.target.type_named(sql), reason, examples: Vec::new(), hint: None }, false)
            }
            None if !self.input.options.widen => (as_declared(column, seen), false),
            None => match derive(column, seen) {
                decision if self.is_in_key(index) && merges(&decision.column_type.kind, seen) => {
                    let reason = format!("a key tells apart what would be one value of {}", decision.column_type.sql);
                    (Decision { column_type: ColumnType::new(TypeKind::TEXT), reason, ..decision }, true)
                }
                decision => (decision, is_widened(column, seen)),
            },
        };
        self.refuse_idle_zone(plan, column, &decision.column_type, wish, false);
        // Rows that show it are there only when a value, not the declaration, decided; of a length or of digits no row is known.
        if wish.sql_type.is_none() && (widened || !decision.examples.is_empty()) {
            let rows = decision.examples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let rows = if rows.is_empty() { rows } else { format!(" (rows {rows})") };
            let hint = decision.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
            let message = format!("is {}: {}{rows}{hint}", decision.column_type.sql, decision.reason);
            plan.warnings.push(Warning::note("column_widened", self.label(column), message));
        }
        if self.is_added_rowid(index) {
            let message = "is a column, the last one: views or triggers read it (a mapping leaves it out with skip = true)";
            plan.warnings.push(Warning::note("rowid_kept", self.label(column), message));
        }
        let is_alias = self.table.rowid_alias == Some(index) && wish.transform.is_none();
        // A domain over an integer has no identity, and citext an order of its own.
        let is_builtin = type_from_sql(&decision.column_type.sql).kind != TypeKind::Other;
        let identity = is_alias && is_builtin && objects::is_integer(&decision.column_type.kind);
        let in_key = self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&index));
        let not_null = (column.not_null || in_key) && !seen.has(Trait::Null);
        if column.not_null && seen.has(Trait::Null) {
            let message = format!("{} NULL in a column declared NOT NULL", objects::rows_hold(seen.count(Trait::Null)));
            plan.warnings.push(Warning::loss(ObjectKind::NotNull, self.label(column), message));
        }
        create.columns.push(Arc::new(CreateColumn {
            name: name.clone(),
            source_index: index,
            collate_c: self.input.options.collate_c && is_builtin && decision.column_type.kind.is_text(),
            column_type: decision.column_type.clone(),
            not_null: not_null || identity,
            identity,
            sequence: None,
            default: None,
            generated: None,
        }));
        let conversion = self.conversion(index, &decision.column_type, wish);
        self.refuse_idle_rounding(plan, column, &conversion, &decision.column_type.sql);
        built.columns.push(Arc::new(self.column_plan(index, name, decision, conversion)));
    }

    /// A zone of its own that would decide nothing: its times would stay as they are, against what the mapping says.
    pub(super) fn refuse_idle_zone(&self, plan: &mut Plan, column: &Column, column_type: &ColumnType, wish: &Wish<'_>, is_given: bool) {
        let Some(zone) = wish.source_tz.filter(|zone| !zone.is_utc() && column_type.kind != TypeKind::TimestampTz) else { return };
        plan.problems.push(Problem {
            code: "bad_mapping",
            message: format!(
                "the mapping reads the times of {} in {zone}, and the column is {}, which has no zone",
                self.label(column),
                column_type.sql
            ),
            hint: match is_given {
                // A mapping's type would not be obeyed.
                true => "Make the column timestamptz in PostgreSQL, or take source_tz away.".into(),
                false => "Give it type = \"timestamptz\" too, or take source_tz away.".into(),
            },
        });
    }

    /// A type that keeps every value as it is, or refuses it, rounds none.
    pub(super) fn refuse_idle_rounding(&self, plan: &mut Plan, column: &Column, conversion: &Conversion, sql: &str) {
        let rounds = match &conversion.kind {
            TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric { limits: Some(_) } | TypeKind::Other => true,
            TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz => conversion.rounding.is_some(),
            _ => false,
        };
        if !rounds && !conversion.inexact.is_reject() {
            plan.problems.push(Problem {
                code: "bad_mapping",
                message: format!(
                    "the mapping lets the values of {} be rounded, and the column is {sql}, which rounds none",
                    self.label(column)
                ),
                hint: "Give it a type that keeps less, such as real, numeric(10,2) or timestamp(0), or take inexact away.".into(),
            });
        }
    }

    /// A primary key or a UNIQUE has the column.
    fn is_in_key(&self, index: usize) -> bool {
        let uniques = self.table.indexes.iter().filter(|known| known.unique);
        let in_unique = uniques.flat_map(|known| &known.columns).any(|column| column.column == Some(index));
        in_unique || self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&index))
    }

    /// The rowid of a table that has no column for it in SQLite.
    pub(super) fn is_added_rowid(&self, index: usize) -> bool {
        self.table.kind == TableKind::Ordinary && self.table.rowid_added && self.table.rowid_alias == Some(index)
    }

    pub(super) fn conversion(&self, index: usize, column_type: &ColumnType, wish: &Wish<'_>) -> Conversion {
        Conversion {
            kind: column_type.kind.clone(),
            transform: wish.transform.clone(),
            bad_text: wish.bad_text,
            inexact: wish.inexact,
            rounding: match wish.sql_type.and_then(|sql| self.input.target.named.get(sql)) {
                Some(named) => named.rounding.clone(),
                None => Rounding::of(&column_type.sql),
            },
            source_tz: wish.source_tz.unwrap_or(&self.input.options.source_tz).clone(),
            text_is_clean: !self.profile.unseen && !self.profile.columns[index].has_bad_text(),
        }
    }

    pub(super) fn column_plan(&self, index: usize, target: Name, decision: Decision, conversion: Conversion) -> ColumnPlan {
        let column = &self.table.columns[index];
        ColumnPlan {
            source_index: index,
            source: column.name.clone(),
            declared: column.declared.clone(),
            target,
            column_type: decision.column_type,
            conversion,
            computed: false,
            why: Why::new(decision.reason, decision.examples, decision.hint),
        }
    }

    /// Where the identity or serial column must go on: after every id that was ever given out.
    fn sequence(&self, built: &TablePlan, existing: Option<&TargetTable>) -> Option<SequencePlan> {
        let alias = self.table.rowid_alias;
        let has_sequence = |column: &ColumnPlan| match (existing, &built.create) {
            (Some(existing), _) => existing.columns.iter().any(|target| target.name == column.target && target.sequence),
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

    pub(super) fn label(&self, column: &Column) -> String {
        format!("{}.{}", self.table.name, column.name)
    }
}

/// True when texts that SQLite tells apart may be one value of the type: times that are spelled in several ways, JSON with other blanks. An index
/// cannot have json at all.
fn merges(kind: &TypeKind, seen: &ColumnProfile) -> bool {
    match kind {
        TypeKind::Date | TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz => !seen.spelled_alike(),
        TypeKind::Json | TypeKind::Jsonb => true,
        _ => false,
    }
}

/// A name that is not the one that was wished for.
pub(super) fn note_new_name(plan: &mut Plan, code: &str, source: &str, wanted: &str, name: &Name) {
    if name.as_str() != wanted {
        let why = match wanted.len() {
            0 => "names are not empty there",
            64.. => "names end at 63 bytes there",
            _ => "the name is taken there",
        };
        plan.warnings.push(Warning::note(code, source, format!("is {name} in PostgreSQL: {why}")));
    }
}
