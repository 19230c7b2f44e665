//! A table that is there before the run: its names, types and keys are obeyed, and what does not go together is a problem of the plan.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{Column, Name, QualifiedName};
use crate::plan::build::{Existing, OnExtra};
use crate::plan::convert::Conversion;
use crate::plan::decision::{Plan, Problem, TablePlan, Warning};
use crate::plan::derive::{Decision, derive};
use crate::plan::long_keys::KEY_BYTES;
use crate::plan::mapping::TableMapping;
use crate::plan::names::{self, Namespace, is_changed};
use crate::plan::table::{TableBuilder, Wish};
use crate::plan::target::{RebuildKind, Rebuildable, TargetColumn, TargetSchema, TargetTable};

/// What is said of a column that PostgreSQL computes.
const COMPUTED: &str =
    "is computed by the target: its values are compared with the source's, not copied, and one that is another is a difference";

impl TableBuilder<'_> {
    /// A table that was there before: its names, types and keys are obeyed.
    pub(super) fn fill_existing(&self, plan: &mut Plan, built: &mut TablePlan, mapping: Option<&TableMapping>, existing: &TargetTable) {
        if existing.name.name.as_str() != built_name(&built.source, mapping) {
            let message = format!("goes into {}, which is there under a name that differs in case or punctuation", built.target);
            plan.warnings.push(Warning::note("matched_by_name", &self.table.name, message));
        }
        // Without its rows a table that is there is left as it is.
        if !built.without_data {
            self.decide_about_rows(plan, built, existing);
        }
        let columns = existing.lookup();
        let find = |name: &str| columns.find(name).map(|place| &existing.columns[place]);
        let mut filled: HashSet<&Name> = HashSet::new();
        let mut own_names = Namespace::columns();
        for (index, column) in self.table.columns.iter().enumerate() {
            let wish = mapping.and_then(|mapping| mapping.column(&column.name));
            if wish.is_some_and(|wish| wish.skip) {
                continue;
            }
            // Where the application's own table computes it, nothing is lost.
            let is_computed = || find(&self.input.options.names.apply(&column.name)).is_some_and(|target| target.generated);
            if column.unreadable().is_some() && (is_computed() || self.is_unreadable(plan, column)) {
                continue;
            }
            let wish = Wish::of(wish);
            let wanted = wish.target.map_or_else(|| self.input.options.names.apply(&column.name), str::to_string);
            // What a table of ours would call it: names end at 63 bytes, and no two are the same.
            let fitted = own_names.take(&wanted);
            let of_that_name = || existing.columns.iter().find(|target| target.name == fitted);
            // Another column has the name that this one's becomes.
            let gives_way = fitted != names::fitted(&wanted) && wish.target.is_none() && is_changed(&column.name, &wanted);
            let own = || of_that_name().filter(|_| gives_way);
            let is_free = |target: &&TargetColumn| !filled.contains(&target.name);
            let meant = own().or_else(|| find(&wanted)).or_else(|| find(&column.name)).or_else(of_that_name);
            // A column before this one has its name: that of a table of ours is numbered then.
            let numbered = || of_that_name().filter(|_| wish.target.is_none()).filter(is_free);
            match meant.filter(is_free).or_else(numbered).or(meant) {
                // The rowid is no column that the application has.
                None if self.is_added_rowid(index) => {}
                Some(target) if filled.contains(&target.name) => self.two_into_one(plan, built, target),
                Some(target) => {
                    filled.insert(&target.name);
                    self.note_other_type(plan, column, target, &wish);
                    self.refuse_idle_zone(plan, column, &target.column_type, &wish, true);
                    if target.generated {
                        plan.warnings.push(Warning::note("computed_by_target", self.label(column), COMPUTED));
                    }
                    self.existing_column(plan, built, index, target, &wish);
                }
                None => self.extra_column(plan, built, index, &wanted, &wish, existing),
            }
        }
        for (name, added) in mapping.into_iter().flat_map(|mapping| &mapping.add) {
            // What the source does not have is a problem of the mapping, which is said.
            let Some(index) = self.readable_index(&added.from) else { continue };
            let wish = Wish::added(name, added);
            match find(name) {
                Some(target) if filled.contains(&target.name) => self.two_into_one(plan, built, target),
                Some(target) => {
                    filled.insert(&target.name);
                    self.refuse_idle_zone(plan, &self.table.columns[index], &target.column_type, &wish, true);
                    self.existing_column(plan, built, index, target, &wish);
                }
                None => self.extra_column(plan, built, index, name, &wish, existing),
            }
        }
        if !built.without_data {
            let goes = |object: &&Rebuildable| object.kind != RebuildKind::Index || !self.may_refuse(built, object, existing);
            built.rebuild = existing.rebuildable.iter().filter(goes).cloned().collect();
        }
        for column in &existing.columns {
            if column.not_null && !column.has_default && !column.sequence && !column.generated && !filled.contains(&column.name) {
                plan.problems.push(Problem {
                    code: "column_without_source",
                    message: format!("{}.{} is NOT NULL without a default, and nothing in the source fills it", built.target, column.name),
                    hint: "Give it a default, or a source with a mapping.".into(),
                });
            }
        }
    }

    /// An index at which a row may fail stays: taken away, it could not be put back over that row.
    fn may_refuse(&self, built: &TablePlan, index: &Rebuildable, existing: &TargetTable) -> bool {
        let Some(long) = &index.long else { return true };
        let bytes_of = |name: &Name| {
            if existing.columns.iter().any(|column| column.name == *name && column.generated) {
                return u64::MAX;
            }
            let copied = built.columns.iter().find(|column| column.target == *name);
            copied.map_or(0, |column| self.profile.columns[column.source_index].max_bytes)
        };
        long.iter().map(bytes_of).fold(0, u64::saturating_add) > KEY_BYTES
    }

    fn two_into_one(&self, plan: &mut Plan, built: &TablePlan, target: &TargetColumn) {
        plan.problems.push(Problem {
            code: "name_collision",
            message: format!("two columns of {:?} would go into {}.{}", self.table.name, built.target, target.name),
            hint: "Say which with a mapping.".into(),
        });
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
        let wanted = wish.sql_type.map(|sql| self.input.target.type_named(sql)).filter(|wanted| wanted.sql != target.column_type.sql);
        if let Some(wanted) = wanted.filter(|_| !self.input.options.given_schema) {
            let message = format!("is {} in the target, which is obeyed; the mapping says {}", target.column_type.sql, wanted.sql);
            plan.warnings.push(Warning::note("type_of_target", self.label(column), message));
        }
    }

    fn existing_column(&self, plan: &mut Plan, built: &mut TablePlan, index: usize, target: &TargetColumn, wish: &Wish<'_>) {
        let decision =
            Decision { column_type: target.column_type.clone(), reason: "the target's type".into(), examples: Vec::new(), hint: None };
        let conversion = Conversion { rounding: target.rounding.clone(), ..self.conversion(index, &target.column_type, wish) };
        self.refuse_idle_rounding(plan, &self.table.columns[index], &conversion, &target.column_type.sql);
        let mut column = self.column_plan(index, target.name.clone(), decision, conversion);
        column.computed = target.generated;
        built.columns.push(Arc::new(column));
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
            Some(sql) => Decision {
                column_type: self.input.target.type_named(sql),
                reason: "as the mapping says".into(),
                examples: Vec::new(),
                hint: None,
            },
            None => derive(column, &self.profile.columns[index]),
        };
        self.refuse_idle_zone(plan, column, &decision.column_type, wish, false);
        let message = format!("has no place in {}: added as {name} {}", built.target, decision.column_type.sql);
        plan.warnings.push(Warning::note("column_added", self.label(column), message));
        built.added_columns.push((name.clone(), decision.column_type.clone()));
        let conversion = self.conversion(index, &decision.column_type, wish);
        self.refuse_idle_rounding(plan, column, &conversion, &decision.column_type.sql);
        built.columns.push(Arc::new(self.column_plan(index, name, decision, conversion)));
    }
}

/// A table is not emptied while another references it, unless its key is taken away for the copy.
pub(super) fn refuse_referenced(target: &TargetSchema, plan: &mut Plan) {
    let is_emptied = |name: &QualifiedName| plan.tables.iter().any(|table| table.truncate && table.target == *name);
    let mut problems = Vec::new();
    for table in target.tables.iter().filter(|table| is_emptied(&table.name)) {
        let is_taken_away = |child: &QualifiedName| plan.tables.iter().any(|table| table.target == *child && !table.without_data);
        for (child, key) in table.referenced_by.iter().filter(|(child, _)| !is_taken_away(child)) {
            problems.push(Problem {
                code: "referenced_elsewhere",
                message: format!("table {} cannot be emptied: {child}, which this run does not fill, references it by {key}", table.name),
                hint: "Drop that key and put it back after the run, or keep the rows with --existing keep.".into(),
            });
        }
    }
    plan.problems.extend(problems);
}

/// The name that a table's source or mapping asks for.
fn built_name<'a>(source: &'a str, mapping: Option<&'a TableMapping>) -> &'a str {
    mapping.and_then(|mapping| mapping.target.as_deref()).unwrap_or(source)
}
