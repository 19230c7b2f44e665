//! One foreign key of a derived table, and the key of its parent that PostgreSQL wants.

use crate::model::{ForeignKey, ForeignKeyAction, Name, QualifiedName, Table};
use crate::plan::build::{Input, cannot};
use crate::plan::decision::{Joins, ObjectKind, ObjectPlan, Offenders, Plan, TablePlan, Warning};
use crate::plan::names::Namespace;
use crate::plan::objects::{NOT_COPIED, folds, join_names, list, note_name, targets};
use crate::plan::profile::Trait;
use crate::plan::unify::can_reference;

/// The code of a key that a table has in PostgreSQL alone, since a foreign key references it.
const UNIQUE_ADDED: &str = "unique_added";

pub struct ForeignKeyBuilder<'a> {
    pub input: &'a Input<'a>,
    pub plan: &'a mut Plan,
    pub relations: &'a mut Namespace,
    pub constraints: &'a mut Namespace,
    pub index: usize,
    pub table: &'a Table,
    pub key: &'a ForeignKey,
    /// The table plan of the parent.
    pub planned: Option<usize>,
}

impl ForeignKeyBuilder<'_> {
    pub fn build(mut self) {
        let label = format!("{}.{} → {}", self.table.name, self.key.columns.join(", "), self.key.parent);
        match self.try_build(&label) {
            Ok(object) => self.plan.objects.push(object),
            Err(reason) => {
                cannot(self.plan, ObjectKind::ForeignKey, label, reason, self.table.sql.as_ref());
            }
        }
    }

    fn try_build(&mut self, label: &str) -> Result<ObjectPlan, String> {
        let planned = self.planned;
        let parent = match planned {
            Some(place) => Some(&self.input.source.tables[self.plan.tables[place].source_index]),
            None => self.input.source.table(&self.key.parent),
        };
        let parent = parent.ok_or_else(|| format!("the table {:?} that it references is not there", self.key.parent))?;
        let parent_columns: Vec<usize> = if self.key.parent_columns.is_empty() {
            parent.primary_key.as_ref().map(|key| key.columns.clone()).ok_or("the table that it references has no primary key")?
        } else {
            let found: Option<Vec<usize>> = self.key.parent_columns.iter().map(|name| parent.column_index(name)).collect();
            found.ok_or_else(|| format!("{:?} has no column {}", self.key.parent, self.key.parent_columns.join(", ")))?
        };
        if parent_columns.len() != self.key.columns.len() {
            return Err("it has not as many columns as the key that it references".into());
        }
        let child_columns: Option<Vec<usize>> = self.key.columns.iter().map(|name| self.table.column_index(name)).collect();
        let child_columns = child_columns.ok_or("it names a column that its table does not have")?;
        let child = &self.plan.tables[self.index];
        let (parent_target, parent_names) = match planned {
            Some(planned) => (self.plan.tables[planned].target.clone(), targets(&self.plan.tables[planned], &parent_columns)),
            None => self.left_out_parent(parent, &parent_columns)?,
        };
        let (Some(child_names), Some(parent_names)) = (targets(child, &child_columns), parent_names) else {
            return Err(NOT_COPIED.into());
        };
        if let Some(planned) = planned {
            apart(child, &child_columns, &self.plan.tables[planned], &parent_columns).map_or(Ok(()), Err)?;
        }
        let child_target = child.target.clone();
        let constraint = self.key.name.clone().unwrap_or_else(|| {
            format!("{}_{}_fkey", child_target.name.as_str(), child_names.iter().map(Name::as_str).collect::<Vec<_>>().join("_"))
        });
        let name = self.constraints.take(&constraint);
        note_name(self.plan, label, self.key.name.as_deref(), &name);
        if let Some(planned) = planned {
            self.make_parent_unique(planned, parent, &parent_columns, &parent_names);
        }
        if let Some(folded) = parent_columns.iter().map(|column| &parent.columns[*column]).find(|column| folds(&column.collation)) {
            let message = format!(
                "joins by the collation of {}.{} in SQLite, and exactly here: rows that differ in case or in blanks at the end have no parent",
                parent.name, folded.name
            );
            self.plan.warnings.push(Warning::note("foreign_key_exact", label, message));
        }
        let mut definition = format!("FOREIGN KEY ({}) REFERENCES {parent_target} ({})", list(&child_names), list(&parent_names));
        for (word, action) in self.actions(label, &child_names) {
            if action != ForeignKeyAction::NoAction {
                definition.push_str(&format!(" ON {word} {}", action.as_sql()));
            }
        }
        if self.key.deferrable {
            definition.push_str(if self.key.initially_deferred { " DEFERRABLE INITIALLY DEFERRED" } else { " DEFERRABLE" });
        }
        Ok(ObjectPlan {
            kind: ObjectKind::ForeignKey,
            table: Some(self.index),
            parent: planned,
            name: name.clone(),
            label: label.to_string(),
            statements: vec![
                format!("ALTER TABLE {child_target} ADD CONSTRAINT {name} {definition} NOT VALID"),
                format!("ALTER TABLE {child_target} VALIDATE CONSTRAINT {name}"),
            ],
            offenders: Some(Box::new(Offenders::Orphans)),
            original: self.table.sql.clone(),
            tried: Vec::new(),
            joins: Some(Box::new(Joins { parent: parent_target, columns: child_names.into_iter().zip(parent_names).collect() })),
            otherwise: None,
        })
    }

    /// What becomes of children. Neither side writes into a generated column: SQLite refuses the parent's change then, PostgreSQL such a key.
    fn actions(&mut self, label: &str, columns: &[Name]) -> [(&'static str, ForeignKeyAction); 2] {
        use ForeignKeyAction::{Cascade, Restrict, SetDefault, SetNull};
        let create = self.plan.tables[self.index].create.iter().flat_map(|create| &create.columns);
        let generated = create.filter(|column| column.generated.is_some()).find(|column| columns.contains(&column.name));
        let generated = generated.map(|column| self.table.columns[column.source_index].name.clone());
        [("UPDATE", self.key.on_update), ("DELETE", self.key.on_delete)].map(|(word, action)| {
            let writes = matches!(action, SetNull | SetDefault) || action == Cascade && word == "UPDATE";
            let Some(generated) = generated.as_ref().filter(|_| writes) else { return (word, action) };
            let message = format!(
                "is ON {word} RESTRICT for ON {word} {}: {generated} is generated and nothing writes into it, so that SQLite refuses such a change of the parent too",
                action.as_sql()
            );
            self.plan.warnings.push(Warning::note("foreign_key_action", label, message));
            (word, Restrict)
        })
    }

    /// The parent is not of this run (`--exclude`); an earlier one, or the application, may have put it into the target.
    fn left_out_parent(&self, parent: &Table, columns: &[usize]) -> Result<(QualifiedName, Option<Vec<Name>>), String> {
        let target = self.input.target;
        let wanted = self.input.name_in_target(parent);
        let place = self.input.source.tables.iter().position(|table| table.name == parent.name);
        let own = place.map(|place| self.input.names_in_target().swap_remove(place)).filter(|own| own.as_str() != wanted);
        let there = match own {
            // Its name is cut, or another table has it.
            Some(own) => target.tables.iter().find(|table| table.name.name == own),
            None => target.find(&wanted),
        };
        let there = there.ok_or_else(|| format!("the table {:?} that it references is left out, and is not in the target", parent.name))?;
        let name = |at: &usize| there.find(&self.input.options.names.apply(&parent.columns[*at].name)).map(|column| column.name.clone());
        Ok((there.name.clone(), columns.iter().map(name).collect()))
    }

    /// PostgreSQL wants a unique key to reference. SQLite does too, but finds out only when rows change.
    fn make_parent_unique(&mut self, parent_index: usize, parent: &Table, columns: &[usize], names: &[Name]) {
        let same = |other: &[usize]| other.len() == columns.len() && columns.iter().all(|column| other.contains(column));
        let profile = &self.input.profiles[self.plan.tables[parent_index].source_index];
        let is_key = parent
            .primary_key
            .as_ref()
            .is_some_and(|key| same(&key.columns) && key.columns.iter().all(|column| !profile.columns[*column].has(Trait::Null)));
        let is_unique = parent.indexes.iter().any(|index| {
            let plain: Option<Vec<usize>> = index.columns.iter().map(|column| column.column).collect();
            index.unique
                && index.predicate.is_none()
                && index.columns.iter().all(|column| !folds(&column.collation))
                && plain.is_some_and(|plain| same(&plain))
        });
        let table = &self.plan.tables[parent_index];
        // A table that was there before has the keys that it has.
        if is_key || is_unique || table.create.is_none() {
            return;
        }
        let wanted = format!("{}_{}_key", table.target.name.as_str(), names.iter().map(Name::as_str).collect::<Vec<_>>().join("_"));
        let target = table.target.clone();
        let label = format!("{}.{}", parent.name, join_names(parent, columns));
        if self.plan.objects.iter().any(|object| object.kind == ObjectKind::Unique && object.label == label) {
            return;
        }
        let name = self.relations.take(&wanted);
        let message = format!("is made UNIQUE, because {} references it", self.table.name);
        self.plan.warnings.push(Warning::note(UNIQUE_ADDED, &label, message));
        self.plan.objects.push(ObjectPlan {
            kind: ObjectKind::Unique,
            table: Some(parent_index),
            parent: None,
            name: name.clone(),
            label,
            statements: vec![format!("ALTER TABLE {target} ADD CONSTRAINT {name} UNIQUE ({})", list(names))],
            offenders: None,
            original: parent.sql.clone(),
            tried: Vec::new(),
            joins: None,
            otherwise: None,
        });
    }
}

impl Plan {
    /// True of a key that SQLite does not have.
    pub fn is_added_key(&self, object: &ObjectPlan) -> bool {
        object.kind == ObjectKind::Unique && self.warnings.iter().any(|said| said.code == UNIQUE_ADDED && said.object == object.label)
    }

    /// Such a key is not made after all.
    pub fn forget_added_key(&mut self, place: usize) {
        let label = &self.objects[place].label;
        self.warnings.retain(|said| said.code != UNIQUE_ADDED || said.object != *label);
    }
}

/// Why PostgreSQL cannot check a key over these columns, where no exact type was found for both sides.
fn apart(child: &TablePlan, child_columns: &[usize], parent: &TablePlan, parent_columns: &[usize]) -> Option<String> {
    let column = |table: &TablePlan, at: usize| table.columns.iter().find(|column| column.source_index == at).cloned();
    child_columns.iter().zip(parent_columns).find_map(|(child_column, parent_column)| {
        let (from, to) = (column(child, *child_column)?, column(parent, *parent_column)?);
        (!can_reference(&from.column_type.kind, &to.column_type.kind)).then(|| {
            format!(
                "{} is {} and {}.{} is {}, which PostgreSQL does not compare; one type for both would not hold every value, or give out no more ids",
                from.source, from.column_type.sql, parent.source, to.source, to.column_type.sql
            )
        })
    })
}
