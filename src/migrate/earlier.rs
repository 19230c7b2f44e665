//! What earlier runs of this source into the same target have left there, and what of it still holds once another run has begun: the journal's last run
//! speaks for all of them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use serde_json::Value as Json;

use crate::migrate::Job;
use crate::migrate::target::Redo;
use crate::model::QualifiedName;
use crate::plan::{ObjectKind, Plan, TablePlan, Warning};
use crate::postgres::{Client, Journal};
use crate::sqlite::{Declarations, Declared};

/// Under which of a run's settings the definitions are that the target was made of.
pub const DECLARATIONS: &str = "declarations";
/// And the objects that it lost, or that the target's own schema lacks.
pub const LOSSES: &str = "losses";

/// What is true of the target, whichever run made it so.
pub struct Earlier {
    /// The definitions that each thing in the target was made of; none where that is not known.
    pub declarations: Option<Declarations>,
    /// Tables of the source that are not in the target on purpose.
    pub left_out: Vec<String>,
    /// What earlier runs have lost and this one says nothing of.
    pub losses: Vec<Warning>,
}

impl Earlier {
    /// As it will be with this run, of a source that declares `now`. `redo` is what goes first.
    pub async fn beside(control: &Client, job: &Job, plan: &Plan, redo: &Redo, now: Declarations) -> Result<Self> {
        let (schema, source) = (&job.options.schema, &job.call.source_path);
        let settings = Journal::last_settings(control, schema, source).await?;
        let settings = if settings["source_path"] == source.as_str() { settings } else { Json::Null };
        let made = Owners::made_by(plan);
        // Of a table that was there before, a run says itself what it lacks.
        let said = Owners::of(plan, |_| true);
        let stands = standing_tables(control, job, redo).await?;
        let declarations = match Journal::setting::<Declarations>(&settings, DECLARATIONS)? {
            Some(before) => Some(made.merge(before, now)),
            // What another run has made is of definitions that nobody knows.
            None => stands.iter().all(|table| made.owns(table)).then_some(now),
        };
        let losses: Vec<Warning> = Journal::setting(&settings, LOSSES)?.unwrap_or_default();
        Ok(Earlier {
            declarations,
            left_out: plan.left_out.iter().filter(|table| !stands.contains(*table)).cloned().collect(),
            losses: losses.into_iter().filter(|loss| !said.owns_part(&loss.object)).collect(),
        })
    }
}

/// The tables of the source that earlier runs have brought, and that are there still.
async fn standing_tables(control: &Client, job: &Job, redo: &Redo) -> Result<HashSet<String>> {
    let maps = Journal::newest_maps(control, &job.options.schema, &job.call.source_path).await?;
    let name = |schema: &str, target: &str| QualifiedName::new(schema, target).to_string();
    let mut sources: HashMap<String, String> = maps.into_iter().map(|map| (name(&map.schema, &map.target), map.source)).collect();
    redo.tables.iter().for_each(|table| drop(sources.remove(&table.name.to_string())));
    let names: Vec<&String> = sources.keys().collect();
    let there =
        control.query(include_str!("queries/tables_there.sql"), &[&names]).await.context("look for what earlier runs have brought")?;
    Ok(there.iter().filter_map(|row| sources.get(row.get::<_, &str>(0)).cloned()).collect())
}

/// Tables and views of the source, which own what is defined on them.
struct Owners(HashSet<String>);

impl Owners {
    /// Those that a run makes, or says of why it cannot.
    fn made_by(plan: &Plan) -> Self {
        Self::of(plan, |table| table.create.is_some())
    }

    fn of(plan: &Plan, wanted: impl Fn(&TablePlan) -> bool) -> Self {
        let tables = plan.tables.iter().filter(|table| wanted(table)).map(|table| &table.source);
        let views = plan.objects.iter().filter(|object| object.kind == ObjectKind::View).map(|object| &object.label);
        let lost = plan.todo.iter().filter(|todo| todo.kind == ObjectKind::View).map(|todo| &todo.object);
        Owners(tables.chain(views).chain(lost).map(|name| name.to_ascii_lowercase()).collect())
    }

    fn owns(&self, name: &str) -> bool {
        self.0.contains(&name.to_ascii_lowercase())
    }

    /// True of `table` and of `table.column`; a dot may be in either's name.
    fn owns_part(&self, label: &str) -> bool {
        self.owns(label) || label.match_indices('.').any(|(at, _)| self.owns(&label[..at]))
    }

    /// What is made is of the definitions of now, with all that belongs to it; so is what was not there before. The rest is of what it was.
    fn merge(&self, before: Declarations, now: Declarations) -> Declarations {
        let known: HashSet<String> = before.values().map(|declared| declared.of.to_ascii_lowercase()).collect();
        let is_new = |declared: &Declared| self.owns(&declared.of) || !known.contains(&declared.of.to_ascii_lowercase());
        let kept = before.into_iter().filter(|(_, declared)| !self.owns(&declared.of));
        kept.chain(now.into_iter().filter(|(_, declared)| is_new(declared))).collect()
    }
}
