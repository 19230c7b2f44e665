//! Keys, indexes, constraints, views and triggers of derived tables: what has an exact form is planned, what has none goes to `todo.sql`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dialect::parse::{Conflict, KeyDdl, create_table};
use crate::dialect::translate::{self, Relation};
use crate::model::{Collation, Index, IndexColumn, IndexOrigin, Name, Table, TableKind, TypeKind};
use crate::plan::build::{Input, cannot};
use crate::plan::decision::{ColumnPlan, ObjectKind, ObjectPlan, Offenders, Otherwise, Plan, Severity, TablePlan, Warning};
use crate::plan::foreign_key::ForeignKeyBuilder;
use crate::plan::full_text::full_text;
use crate::plan::long_keys::Keyed;
use crate::plan::names::Namespace;
use crate::plan::profile::Trait;
use crate::plan::table::note_new_name;
use crate::plan::unify::by_source;
use crate::plan::{columns, express, views};

/// Plans every object of every derived table. Keys come before the foreign keys that need them.
pub fn plan_objects(input: &Input<'_>, plan: &mut Plan, relations: &mut Namespace) {
    let view_names = views::names(input, plan, relations);
    let derived: Vec<usize> = (0..plan.tables.len()).filter(|table| plan.tables[*table].create.is_some()).collect();
    for index in &derived {
        columns::plan_columns(input, plan, *index);
    }
    // A table's constraints have names of their own, which other tables' may have too.
    let mut constraints: HashMap<usize, Namespace> = HashMap::new();
    for index in &derived {
        let table = &input.source.tables[plan.tables[*index].source_index];
        let relation = express::relation(input, &plan.tables[*index]);
        let mut builder =
            ObjectBuilder { input, plan, relations, index: *index, table, relation, constraints: constraints.entry(*index).or_default() };
        builder.primary_key();
        builder.rowid_key();
        builder.indexes();
        builder.virtual_index();
        builder.checks();
        builder.collations();
        builder.conflicts();
    }
    let places = by_source(plan);
    for index in &derived {
        let table = &input.source.tables[plan.tables[*index].source_index];
        for key in &table.foreign_keys {
            let planned = places.get(&key.parent.to_ascii_lowercase()).copied();
            let constraints = constraints.entry(*index).or_default();
            ForeignKeyBuilder { input, plan, relations, constraints, index: *index, table, key, planned }.build();
        }
    }
    views::plan_views(input, plan, &view_names);
}

/// Why a key or an index of a table is not made when a mapping leaves a column out.
pub(super) const NOT_COPIED: &str = "a column of it is not copied";

struct ObjectBuilder<'a> {
    input: &'a Input<'a>,
    plan: &'a mut Plan,
    relations: &'a mut Namespace,
    index: usize,
    table: &'a Table,
    relation: Relation,
    constraints: &'a mut Namespace,
}

impl ObjectBuilder<'_> {
    fn table_plan(&self) -> &TablePlan {
        &self.plan.tables[self.index]
    }

    fn label(&self, what: &str) -> String {
        format!("{}.{what}", self.table.name)
    }

    fn object(&self, kind: ObjectKind, name: Name, label: String, statement: String, original: &Arc<str>) -> ObjectPlan {
        ObjectPlan {
            kind,
            table: Some(self.index),
            parent: None,
            name,
            label,
            statements: vec![statement],
            offenders: None,
            original: Arc::clone(original),
            tried: Vec::new(),
            joins: None,
            otherwise: None,
        }
    }

    /// What becomes of a key or an index if its values are too long for a B-tree; that they may be is said.
    fn otherwise(&mut self, keyed: &Keyed<'_>) -> Option<Box<Otherwise>> {
        let (otherwise, note) = keyed.otherwise(self.input, self.table_plan())?;
        self.plan.warnings.push(note);
        otherwise.map(Box::new)
    }

    /// The target's names of these source columns; none when one of them is not copied.
    fn targets(&self, columns: &[usize]) -> Option<Vec<Name>> {
        targets(self.table_plan(), columns)
    }

    fn primary_key(&mut self) {
        let Some(key) = &self.table.primary_key else { return };
        let label = self.label(&join_names(self.table, &key.columns));
        let Some(names) = self.targets(&key.columns) else {
            return cannot(self.plan, ObjectKind::PrimaryKey, label, NOT_COPIED, self.table.sql.as_ref());
        };
        let profile = &self.input.profiles[self.table_plan().source_index];
        let nulls: u64 = key.columns.iter().map(|column| profile.columns[*column].count(Trait::Null)).max().unwrap_or(0);
        let table = self.table_plan().target.clone();
        let wanted = key.name.clone().unwrap_or_else(|| match nulls {
            0 => format!("{}_pkey", table.name.as_str()),
            _ => format!("{}_{}_key", table.name.as_str(), names.iter().map(Name::as_str).collect::<Vec<_>>().join("_")),
        });
        let name = self.relations.take(&wanted);
        self.constraints.reserve(&name);
        let list = list(&names);
        let kind = ObjectKind::PrimaryKey;
        self.otherwise(&Keyed { table: &table, name: &name, label: &label, columns: &key.columns, items: &[], predicate: None, kind });
        let object = if nulls == 0 {
            let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({list})");
            self.object(ObjectKind::PrimaryKey, name, label, sql, &self.table.sql)
        } else {
            let message = format!("is UNIQUE instead of a primary key: {} NULL in it", rows_hold(nulls));
            self.plan.warnings.push(Warning { class: "primary-keys".into(), ..Warning::weaker("primary_key_with_nulls", &label, message) });
            let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({list})");
            self.object(ObjectKind::Unique, name, label, sql, &self.table.sql)
        };
        self.plan.objects.push(object);
        // The key is exact; what SQLite's own index compares without case or blanks needs its own rule beside it.
        let Some(index) = self.table.primary_key_index() else { return };
        if index.columns.iter().any(|column| folds(&column.collation) && self.is_text(column)) {
            let items: Vec<String> = index.columns.iter().zip(&names).map(|(column, name)| self.item(column, name)).collect();
            self.unique_index(&format!("{}_folded_key", table.name.as_str()), &items, None, &[], &self.table.sql);
        }
    }

    /// A rowid that had to become a column is a key there too.
    fn rowid_key(&mut self) {
        let rowid = self.table.rowid_alias.filter(|_| self.table.rowid_added);
        let in_key = self.table.primary_key.as_ref().is_some_and(|key| rowid.is_some_and(|rowid| key.columns == [rowid]));
        let Some(names) = rowid.filter(|_| !in_key).and_then(|rowid| self.targets(&[rowid])) else { return };
        let table = self.table_plan().target.clone();
        let name = self.relations.take(&format!("{}_{}_key", table.name.as_str(), names[0].as_str()));
        let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({})", list(&names));
        let object = self.object(ObjectKind::Unique, name, self.label(names[0].as_str()), sql, &self.table.sql);
        self.constraints.reserve(&object.name);
        self.plan.objects.push(object);
    }

    fn indexes(&mut self) {
        for index in &self.table.indexes {
            match index.origin {
                IndexOrigin::PrimaryKey => {}
                IndexOrigin::Unique => self.unique(index),
                IndexOrigin::Create => self.index(index),
            }
        }
    }

    /// What a virtual table is asked for, the table in its place finds quickly too: words by GIN, boxes by GiST.
    fn virtual_index(&mut self) {
        let TableKind::Virtual { module, arguments } = &self.table.kind else { return };
        let plan = self.table_plan();
        let table = plan.target.clone();
        if arguments.to_ascii_lowercase().split_ascii_whitespace().collect::<String>().contains("content=''") {
            let message = "keeps no text (content=''): what it finds cannot be copied, and its rows are ids alone";
            return self.plan.warnings.push(Warning::loss(ObjectKind::Column, &self.table.name, message));
        }
        let index = |method: &str, item: &str| format!("USING {method} ({item})");
        let (access, asked) = match module.to_ascii_lowercase().as_str() {
            "fts3" | "fts4" | "fts5" => {
                let Some(asked) = full_text(module, arguments) else { return };
                let is_found = |column: &&Arc<ColumnPlan>| column.column_type.kind.is_text() && asked.finds_words_of(&column.source);
                let texts: Vec<String> =
                    plan.columns.iter().filter(is_found).map(|column| format!("coalesce({}, '')", column.target)).collect();
                if texts.is_empty() {
                    return;
                }
                let words = format!("to_tsvector('simple', {})", texts.join(" || ' ' || "));
                let (tokenizer, otherwise) = (asked.tokenizer(), asked.otherwise().join("; "));
                let message = format!(
                    "answers MATCH in SQLite, by the tokenizer {tokenizer}; in PostgreSQL write {words} @@ websearch_to_tsquery('simple', …), which is not the same: {otherwise}"
                );
                (index("gin", &words), message)
            }
            "rtree" | "rtree_i32" => {
                // After the id come two bounds a dimension; columns with a plus sign are no bounds.
                let bounds = arguments.split(',').filter(|argument| !argument.trim().starts_with('+')).count().saturating_sub(1);
                let names: Vec<String> =
                    plan.columns.iter().skip(1).take(bounds).map(|column| format!("{}::float8", column.target)).collect();
                let corners = match names.as_slice() {
                    [low, high] => format!("box(point({low}, 0), point({high}, 0))"),
                    [left, right, bottom, top] => format!("box(point({left}, {bottom}), point({right}, {top}))"),
                    _ => {
                        let reason = "PostgreSQL's boxes have two dimensions";
                        return cannot(self.plan, ObjectKind::Index, &self.table.name, reason, self.table.sql.as_ref());
                    }
                };
                (index("gist", &format!("({corners})")), format!("is an R-tree in SQLite; in PostgreSQL write {corners} && box '…'"))
            }
            _ => {
                let message = format!("was a virtual table of the module {module}: its rows are here, what the module did is not");
                return self.plan.warnings.push(Warning::note("virtual_table", &self.table.name, message));
            }
        };
        let name = self.relations.take(&format!("{}_search_idx", table.name.as_str()));
        let label = self.label(name.as_str());
        let object =
            self.object(ObjectKind::Index, name.clone(), label, format!("CREATE INDEX {name} ON {table} {access}"), &self.table.sql);
        self.plan.objects.push(object);
        self.plan.warnings.push(Warning::note("virtual_table", &self.table.name, asked));
    }

    /// A UNIQUE constraint: one in PostgreSQL too, unless a collation makes it an index over folded values.
    fn unique(&mut self, index: &Index) {
        let columns: Vec<usize> = index.columns.iter().filter_map(|column| column.column).collect();
        let label = self.label(&join_names(self.table, &columns));
        let Some(names) = self.targets(&columns) else {
            return cannot(self.plan, ObjectKind::Unique, label, NOT_COPIED, self.table.sql.as_ref());
        };
        let table = self.table_plan().target.clone();
        let stated = self.stated_name(&columns);
        let wanted = stated
            .clone()
            .unwrap_or_else(|| format!("{}_{}_key", table.name.as_str(), names.iter().map(Name::as_str).collect::<Vec<_>>().join("_")));
        let folded = index.columns.iter().any(|column| folds(&column.collation) && self.is_text(column));
        let items: Vec<String> = index.columns.iter().zip(&names).map(|(column, name)| self.item(column, name)).collect();
        if folded {
            self.unique_index(&wanted, &items, None, &columns, &self.table.sql);
        } else {
            let name = self.relations.take(&wanted);
            self.constraints.reserve(&name);
            let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({})", list(&names));
            note_name(self.plan, &label, stated.as_deref(), &name);
            let kind = ObjectKind::Unique;
            let keyed = Keyed { table: &table, name: &name, label: &label, columns: &columns, items: &items, predicate: None, kind };
            let otherwise = self.otherwise(&keyed);
            let object = self.object(kind, name, label, sql, &self.table.sql);
            self.plan.objects.push(ObjectPlan { otherwise, ..object });
        }
    }

    /// The name that a UNIQUE over these columns was given.
    fn stated_name(&self, columns: &[usize]) -> Option<String> {
        let ddl = create_table(&self.table.sql).ok()?;
        let is_it = |key: &&KeyDdl| {
            let of_key = key.columns.iter().map(|item| item.column.as_deref().and_then(|name| self.table.column_index(name)));
            key.name.is_some() && of_key.eq(columns.iter().map(|column| Some(*column)))
        };
        ddl.uniques.iter().find(is_it)?.name.clone()
    }

    /// `columns`: all of the index, where no item of it is an expression of SQLite's. Returns what it is called.
    fn unique_index(&mut self, wanted: &str, items: &[String], predicate: Option<&str>, columns: &[usize], original: &Arc<str>) -> Name {
        let table = self.table_plan().target.clone();
        let name = self.relations.take(wanted);
        let label = self.label(name.as_str());
        let kind = ObjectKind::Unique;
        let otherwise = self.otherwise(&Keyed { table: &table, name: &name, label: &label, columns, items, predicate, kind });
        if otherwise.is_some() {
            self.constraints.reserve(&name);
        }
        let predicate = predicate.map_or(String::new(), |predicate| format!(" WHERE {predicate}"));
        let sql = format!("CREATE UNIQUE INDEX {name} ON {table} ({}){predicate}", items.join(", "));
        let object = self.object(kind, name.clone(), label, sql, original);
        self.plan.objects.push(ObjectPlan { otherwise, ..object });
        name
    }

    fn index(&mut self, index: &Index) {
        let label = self.label(&index.name);
        let mut items = Vec::new();
        for column in &index.columns {
            let item = match (column.column, &column.expression) {
                (Some(at), _) => match self.targets(&[at]) {
                    Some(names) => Ok(self.item(column, &names[0])),
                    None => Err(NOT_COPIED.to_string()),
                },
                (None, Some(expression)) => self.expression_item(&label, column, expression, index.unique),
                (None, None) => Err("it has a column that cannot be read".to_string()),
            };
            match item {
                Ok(item) => items.push(item),
                Err(reason) => return cannot(self.plan, ObjectKind::Index, label, reason, index.sql.as_ref()),
            }
        }
        let predicate = match index.predicate.as_deref().map(|predicate| self.predicate(&label, predicate)).transpose() {
            Ok(predicate) => predicate,
            Err(reason) => return cannot(self.plan, ObjectKind::Index, label, reason, index.sql.as_ref()),
        };
        let wanted = self.input.options.names.apply(&index.name);
        let columns: Vec<usize> = index.columns.iter().map(|column| column.column).collect::<Option<_>>().unwrap_or_default();
        if index.unique {
            let name = self.unique_index(&wanted, &items, predicate.as_deref(), &columns, &index.sql);
            return note_new_name(self.plan, "index_renamed", &label, &wanted, &name);
        }
        let table = self.table_plan().target.clone();
        let name = self.relations.take(&wanted);
        note_new_name(self.plan, "index_renamed", &label, &wanted, &name);
        let kind = ObjectKind::Index;
        let keyed =
            Keyed { table: &table, name: &name, label: &label, columns: &columns, items: &items, predicate: predicate.as_deref(), kind };
        let otherwise = self.otherwise(&keyed);
        let predicate = predicate.map_or(String::new(), |predicate| format!(" WHERE {predicate}"));
        let sql = format!("CREATE INDEX {name} ON {table} ({}){predicate}", items.join(", "));
        let object = self.object(kind, name, label, sql, &index.sql);
        self.plan.objects.push(ObjectPlan { otherwise, ..object });
    }

    /// One plain column of an index, with SQLite's collation and order.
    fn item(&self, column: &IndexColumn, name: &Name) -> String {
        let collation = if self.is_text(column) { &column.collation } else { &Collation::Binary };
        let item = folded_item(name, collation, self.input.options.collate_c);
        // SQLite sorts NULL below everything.
        format!("{item}{}", if column.descending { " DESC NULLS LAST" } else { "" })
    }

    fn is_text(&self, column: &IndexColumn) -> bool {
        let place = column.column.and_then(|at| self.table_plan().columns.iter().find(|column| column.source_index == at));
        place.is_some_and(|column| column.column_type.kind.is_text())
    }

    /// An expression of an index, in the parentheses that it needs.
    fn expression_item(&mut self, label: &str, column: &IndexColumn, expression: &str, unique: bool) -> Result<String, String> {
        let item = translate::index_expression(expression, &self.relation, &column.collation, unique).map_err(|error| error.reason)?;
        views::note_differences(self.plan, "index_differs", label, &item.notes);
        Ok(format!("({}){}", item.sql, if column.descending { " DESC NULLS LAST" } else { "" }))
    }

    fn predicate(&mut self, label: &str, predicate: &str) -> Result<String, String> {
        let condition = translate::index_predicate(predicate, &self.relation).map_err(|error| error.reason)?;
        views::note_differences(self.plan, "index_differs", label, &condition.notes);
        Ok(condition.sql)
    }

    /// CHECKs come after the rows: one that old rows break is kept for new ones.
    fn checks(&mut self) {
        for (number, check) in self.table.checks.iter().enumerate() {
            let what = check.name.clone().unwrap_or_else(|| format!("check {}", number + 1));
            let label = self.label(&what);
            let original = format!("CHECK ({})", check.expression);
            let sql = match translate::check(&check.expression, &self.relation) {
                Ok(condition) => {
                    views::note_differences(self.plan, "check_differs", &label, &condition.notes);
                    condition.sql
                }
                Err(error) => {
                    cannot(self.plan, ObjectKind::Check, label, error.reason, original);
                    continue;
                }
            };
            let table = self.table_plan().target.clone();
            let wanted = check.name.clone().unwrap_or_else(|| format!("{}_check{}", table.name.as_str(), number + 1));
            let name = self.constraints.take(&wanted);
            note_name(self.plan, &label, check.name.as_deref(), &name);
            let statements = vec![
                format!("ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({sql}) NOT VALID"),
                format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}"),
            ];
            let broken = format!("FROM {table} WHERE NOT ({sql})");
            let row = express::key_text(self.table, self.table_plan());
            let list = format!("SELECT {row} {broken} ORDER BY ctid LIMIT 5");
            let offenders = Offenders::Broken { count: format!("SELECT count(*) {broken}"), list };
            self.plan.objects.push(ObjectPlan {
                kind: ObjectKind::Check,
                table: Some(self.index),
                parent: None,
                name,
                label,
                statements,
                offenders: Some(Box::new(offenders)),
                original: original.into(),
                tried: Vec::new(),
                joins: None,
                otherwise: None,
            });
        }
    }

    /// `ON CONFLICT REPLACE` of a key stands with the statement in PostgreSQL, not with the table.
    fn conflicts(&mut self) {
        let Ok(ddl) = create_table(&self.table.sql) else { return };
        let columns = |key: &KeyDdl| key.columns.iter().map(|item| item.expression.clone()).collect::<Vec<_>>().join(", ");
        let keys = ddl.primary_key.iter().chain(&ddl.uniques).map(|key| (columns(key), key.conflict, "ON CONFLICT"));
        let not_null = ddl.columns.iter().map(|column| (column.name.clone(), column.not_null_conflict, "NOT NULL ON CONFLICT"));
        for (columns, conflict, clause) in keys.chain(not_null) {
            let (word, instead) = match conflict {
                Some(Conflict::Replace) if clause == "ON CONFLICT" => ("REPLACE", "write INSERT … ON CONFLICT (…) DO UPDATE"),
                Some(Conflict::Ignore) if clause == "ON CONFLICT" => ("IGNORE", "write INSERT … ON CONFLICT DO NOTHING"),
                Some(Conflict::Replace) => ("REPLACE", "write DEFAULT, or coalesce(value, default)"),
                Some(Conflict::Ignore) => ("IGNORE", "leave such rows out"),
                _ => continue,
            };
            let message =
                format!("says {clause} {word} in SQLite; here such a row is refused, and statements say what else is meant: {instead}");
            self.plan.warnings.push(Warning::note("conflict_clause", self.label(&columns), message));
        }
    }

    /// Says what a collation means for queries: comparisons in PostgreSQL are exact.
    fn collations(&mut self) {
        for (at, column) in self.table.columns.iter().enumerate() {
            let text = self.table_plan().columns.iter().any(|plan| plan.source_index == at && plan.column_type.kind.is_text());
            let label = format!("{}.{}", self.table.name, column.name);
            match &column.collation {
                Collation::NoCase if text => self.plan.warnings.push(Warning::note(
                    "collation_nocase",
                    label,
                    "compares without regard to case in SQLite; in PostgreSQL write lower(column) = lower(value)",
                )),
                Collation::RTrim if text => self.plan.warnings.push(Warning::note(
                    "collation_rtrim",
                    label,
                    "compares without regard to blanks at the end in SQLite; in PostgreSQL write rtrim(column, ' ') = rtrim(value, ' ')",
                )),
                Collation::Custom(name) => self.plan.warnings.push(Warning {
                    severity: Severity::Loss,
                    class: ObjectKind::Collation.allow_class().into(),
                    ..Warning::note(
                        "collation_missing",
                        label,
                        format!("the application's own collation {name} is not known to PostgreSQL"),
                    )
                }),
                _ => {}
            }
        }
    }
}

/// A name that a person gave, and that is another here.
pub(super) fn note_name(plan: &mut Plan, label: &str, stated: Option<&str>, name: &Name) {
    if let Some(stated) = stated.filter(|stated| *stated != name.as_str()) {
        plan.warnings.push(Warning::note(
            "constraint_renamed",
            label,
            format!("is {name} in PostgreSQL: {stated:?} is too long or taken there"),
        ));
    }
}

pub(super) fn folds(collation: &Collation) -> bool {
    matches!(collation, Collation::NoCase | Collation::RTrim)
}

/// A column under SQLite's collation. NOCASE folds ASCII only, as lower() does under "C".
fn folded_item(name: &Name, collation: &Collation, collated_c: bool) -> String {
    match collation {
        Collation::NoCase if collated_c => format!("lower({name})"),
        Collation::NoCase => format!("lower({name} COLLATE \"C\")"),
        Collation::RTrim => format!("rtrim({name}, ' ')"),
        _ => name.to_string(),
    }
}

pub(super) fn targets(plan: &TablePlan, columns: &[usize]) -> Option<Vec<Name>> {
    let target = |at: &usize| plan.columns.iter().find(|column| column.source_index == *at).map(|column| column.target.clone());
    columns.iter().map(target).collect()
}

pub(super) fn list(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn join_names(table: &Table, columns: &[usize]) -> String {
    columns.iter().map(|column| table.columns[*column].name.as_str()).collect::<Vec<_>>().join("_")
}

/// `1 row holds`, `2 rows hold`
pub(super) fn rows_hold(count: u64) -> String {
    if count == 1 { "1 row holds".to_string() } else { format!("{count} rows hold") }
}

/// True for the types whose columns may be identity columns.
pub(super) fn is_integer(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8)
}
