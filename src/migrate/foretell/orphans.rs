//! Rows that the run will leave without a parent. SQLite says who they are only while its rows are those that come, and its values meet there as they
//! do in PostgreSQL; of any other foreign key the tables are filled for a try, and PostgreSQL is asked.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};

use super::Try;
use crate::migrate::prepare::Inspected;
use crate::migrate::rehearse::Rehearsal;
use crate::migrate::{by_partition, finish};
use crate::model::{Name, QualifiedName, Schema};
use crate::plan::profile::ColumnProfile;
use crate::plan::target::{RebuildKind, Rebuildable};
use crate::plan::{Alike, ColumnPlan, Joins, ObjectKind, ObjectPlan, Plan, Severity, TablePlan, alike};
use crate::postgres::{
    ForeignKeySides, Transaction, checks_keys_at_once, database_error, find_foreign_key, foreign_key_sides, regclasses, statement,
};

const CODE: &str = "foreign_key_not_valid";

/// The foreign keys of the plan, by their places, of which what SQLite has said does not tell what the run will.
pub fn doubtful(plan: &Plan, inspected: Option<&Inspected>, rehearsal: &Rehearsal) -> Vec<usize> {
    let broken: HashSet<&str> = rehearsal.broken.iter().filter(|said| said.code == CODE).map(|said| said.object.as_str()).collect();
    let is_doubtful = |place: &usize| {
        let object = &plan.objects[*place];
        let child_and_joins = object.table.zip(object.joins.as_deref());
        child_and_joins
            .is_some_and(|(child, joins)| is_doubtful(plan, inspected, rehearsal, (object, child, joins), broken.contains(&*object.label)))
    };
    (0..plan.objects.len()).filter(is_doubtful).collect()
}

fn is_doubtful(
    plan: &Plan,
    inspected: Option<&Inspected>,
    rehearsal: &Rehearsal,
    (object, child_place, joins): (&ObjectPlan, usize, &Joins),
    is_broken: bool,
) -> bool {
    let child = &plan.tables[child_place];
    if child.without_data || child.rows == 0 {
        return is_broken;
    }
    // What is in a table of the target's own, SQLite does not know.
    let Some(parent_place) = object.parent else { return true };
    let parent = &plan.tables[parent_place];
    let is_set_aside = |place: usize| rehearsal.tables[place].rows_rejected > 0;
    if parent.without_data || is_set_aside(parent_place) || is_broken && (is_set_aside(child_place) || parent.keeps_rows()) {
        return true;
    }
    let Some(inspected) = inspected else { return false };
    joins.columns.iter().any(|(of_child, of_parent)| {
        let sides = column(inspected, child, of_child).zip(column(inspected, parent, of_parent));
        sides.is_none_or(|(child, parent)| match alike(child, parent) {
            Alike::No => true,
            Alike::Kept => is_broken,
            Alike::Exactly => false,
        })
    })
}

/// A column by its name in the target, and what was seen in it.
fn column<'a>(inspected: &'a Inspected, table: &'a TablePlan, name: &Name) -> Option<(&'a ColumnPlan, &'a ColumnProfile)> {
    let column = table.columns.iter().find(|column| column.target == *name)?;
    Some((column, &inspected.profiles[table.source_index].columns[column.source_index]))
}

/// The tables that these keys join, as far as they are not there as the run will leave them.
pub fn to_be_filled(plan: &Plan, keys: &[usize]) -> impl Iterator<Item = usize> {
    let mut places: Vec<usize> = keys.iter().flat_map(|key| [plan.objects[*key].table, plan.objects[*key].parent]).flatten().collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().filter(|place| {
        let table = &plan.tables[*place];
        table.create.is_some() || table.truncate || table.rows > 0 && !table.without_data
    })
}

/// Says of these foreign keys of the plan what the run will say. `tried` are keys and indexes that may be made in two forms, and whether the first one was.
pub async fn of_plan(
    transaction: &Transaction<'_>,
    (schema, plan): (&Schema, &Plan),
    keys: &[usize],
    tries: &[Try],
    tried: &[(usize, bool)],
    rehearsal: &mut Rehearsal,
) -> Result<()> {
    let (mut asked, mut broken) = (HashSet::new(), Vec::new());
    for object in keys.iter().map(|place| &plan.objects[*place]) {
        let Some((child, joins)) = object.table.zip(object.joins.as_deref()) else { continue };
        let filled = |place: usize| tries.iter().find(|one| one.place == place).map(|one| &one.plan.target);
        let Some(rows) = filled(child) else { continue };
        let parent = object.parent.and_then(filled).unwrap_or(&joins.parent);
        let sides = ForeignKeySides::between(rows, parent, &joins.columns, &primary_key((schema, plan), child, tried, rehearsal));
        transaction.batch_execute("SAVEPOINT orphans").await?;
        match finish::broken_key(transaction.client(), &sides, &object.label).await {
            Ok(said) => {
                asked.insert(object.label.as_str());
                broken.extend(said);
            }
            // PostgreSQL compares no such types.
            Err(error) if database_error(&error).is_some() => {}
            Err(error) => return Err(error),
        }
        transaction.batch_execute("ROLLBACK TO SAVEPOINT orphans").await?;
    }
    rehearsal.broken.retain(|said| said.code != CODE || !asked.contains(said.object.as_str()));
    rehearsal.broken.extend(broken);
    Ok(())
}

/// The columns of the primary key that a derived table will have.
fn primary_key((schema, plan): (&Schema, &Plan), place: usize, tried: &[(usize, bool)], rehearsal: &Rehearsal) -> Vec<Name> {
    let is_made = |(key, object): (usize, &ObjectPlan)| {
        let is_lost = || rehearsal.broken.iter().any(|said| said.severity == Severity::Loss && said.object == object.label);
        object.kind == ObjectKind::PrimaryKey && object.table == Some(place) && !tried.contains(&(key, false)) && !is_lost()
    };
    if !plan.objects.iter().enumerate().any(is_made) {
        return Vec::new();
    }
    let table = &plan.tables[place];
    let named = |column: &usize| table.columns.iter().find(|known| known.source_index == *column).map(|known| known.target.clone());
    schema.tables[table.source_index].primary_key.iter().flat_map(|key| &key.columns).filter_map(named).collect()
}

/// What was filled for a try, by the tables that it stands for.
pub struct StandIns {
    /// As PostgreSQL writes them in this session.
    by_class: HashMap<String, String>,
    by_name: HashMap<String, QualifiedName>,
}

impl StandIns {
    pub async fn read(transaction: &Transaction<'_>, tables: &[TablePlan], tries: &[Try]) -> Result<Self> {
        let whole = |one: &Try| (tables[one.place].target.clone(), one.plan.target.clone());
        let pairs = tries.iter().flat_map(|one| one.partitions.iter().cloned().chain([whole(one)]));
        let by_name: HashMap<String, QualifiedName> = pairs.map(|(known, ours)| (known.to_string(), ours)).collect();
        let names: Vec<&str> = by_name.keys().map(String::as_str).collect();
        let classes = regclasses(transaction, &names).await?;
        let by_class = names.iter().zip(classes).filter_map(|(name, class)| Some((class?, by_name[*name].to_string()))).collect();
        Ok(StandIns { by_class, by_name })
    }

    /// What stands for the table, or that itself.
    pub fn of<'t>(&'t self, table: &'t QualifiedName) -> &'t QualifiedName {
        self.by_name.get(&table.to_string()).unwrap_or(table)
    }

    /// The sides of a foreign key of `child`, where their rows are.
    pub fn sides(&self, child: &QualifiedName, mut sides: ForeignKeySides) -> ForeignKeySides {
        sides.child = self.of(child).to_string();
        sides.parent = self.by_class.get(&sides.parent).cloned().unwrap_or(sides.parent);
        sides
    }
}

/// Foreign keys that the run takes away and puts back: rows without a parent, when all tables are as they will be.
pub async fn of_given(transaction: &Transaction<'_>, planned: &TablePlan, stand_ins: &StandIns, rehearsal: &mut Rehearsal) -> Result<()> {
    for key in planned.rebuild.iter().filter(|object| object.kind == RebuildKind::ForeignKey) {
        let child = key.on(&planned.target);
        let sides = stand_ins.sides(child, sides_of(transaction, &planned.target, key).await?);
        let label = format!("{}.{}", planned.source, key.name.as_str());
        let broken = finish::broken_key(transaction.client(), &sides, &label).await?;
        if broken.is_some() && checks_keys_at_once(transaction, child).await? {
            rehearsal.broken.push(by_partition::note(&label));
        }
        rehearsal.broken.extend(broken);
    }
    Ok(())
}

/// What a foreign key joins. One that an interrupted run took away is put back for a moment, over whatever rows there are.
async fn sides_of(transaction: &Transaction<'_>, table: &QualifiedName, key: &Rebuildable) -> Result<ForeignKeySides> {
    let child = key.on(table);
    if let Some(sides) = find_foreign_key(transaction, child, &key.name).await? {
        return Ok(sides);
    }
    let add = statement::rebuild_object(table, key, checks_keys_at_once(transaction, child).await?).into_iter().next();
    transaction.batch_execute("SAVEPOINT put_back").await?;
    transaction.batch_execute(&add.context("a foreign key has a statement")?).await?;
    let sides = foreign_key_sides(transaction, child, &key.name).await?;
    transaction.batch_execute("ROLLBACK TO SAVEPOINT put_back").await?;
    Ok(sides)
}
