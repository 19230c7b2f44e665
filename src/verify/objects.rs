//! `--schema-objects`: what the source's schema promises, and the target does not keep.
//!
//! What should be there is planned as migrate would, and made without rows as temporary tables in a transaction that is rolled back: so both
//! sides are in PostgreSQL's own words, and are compared by what they are, not by their names.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::model::{Failure, Name, QualifiedName, Schema};
use crate::plan::mapping::Mapping;
use crate::plan::profile::TableProfile;
use crate::plan::target::TargetSchema;
use crate::plan::{CreateTable, Input, ObjectKind, ObjectPlan, Options, Plan, Severity, TablePlan, Warning, build};
use crate::postgres::{
    ColumnPromises, IndexShape, Journal, NextValue, Place, SchemaObjects, Shape, Transaction, TriggerShape, column_sequence,
    has_names_of_catalog, is_superuser, next_value, read_objects, session, sql_failure, statement,
};
use crate::sqlite::{self, Promised, Snapshot};
use crate::verify::defaults::{given_default, same_defaults};
use crate::verify::given::{self, given_promises};
use crate::verify::own_tables::{odd_table, promises};
use crate::verify::report::{Lack, MissingObject, ObjectsReport, WrongNextValue};
use crate::verify::{Job, added, promised};

/// Chunks do not matter here.
const ONE_CHUNK: u64 = u64::MAX;

/// Compares the schemas behind the job's maps; leaves nothing behind in the target.
pub async fn schema_objects(job: &Job) -> Result<ObjectsReport> {
    let (snapshot, jobs) = (Arc::clone(&job.snapshot), job.jobs);
    let (source, profiles, promised) =
        tokio::task::spawn_blocking(move || inspect(&snapshot, jobs)).await.context("a reader of the source panicked")??;
    compare(job, &source, &profiles, Whose::All(&promised), async |_| Ok(())).await
}

/// What the source promises of these of its tables, which were in the target before, and the target's own schema does not; and views that
/// say something else there. What its expressions say, and its triggers, are its application's matter.
///
/// `ready` may change the target for the comparison alone: what it does is rolled back.
pub async fn missing_from_given(
    job: &Job,
    (source, profiles): (&Schema, &[TableProfile]),
    given: HashSet<String>,
    ready: impl AsyncFnOnce(&Transaction<'_>) -> Result<()>,
) -> Result<Vec<MissingObject>> {
    Ok(compare(job, source, profiles, Whose::Given(given), ready).await?.missing)
}

/// Which tables are compared.
enum Whose<'a> {
    /// All; with what SQLite itself says of each table of the source, in its order.
    All(&'a [Vec<Promised>]),
    /// These alone, though the target had them before.
    Given(HashSet<String>),
}

async fn compare(
    job: &Job,
    source: &Schema,
    profiles: &[TableProfile],
    whose: Whose<'_>,
    ready: impl AsyncFnOnce(&Transaction<'_>) -> Result<()>,
) -> Result<ObjectsReport> {
    let (promised, only) = match whose {
        Whose::All(promised) => (promised, None),
        Whose::Given(given) => (&[][..], Some(given)),
    };
    let schema = Name::new(job.schema.as_str());
    let mut client = session(&job.address, None).await?;
    let transaction = client.build_transaction().read_only(false).start().await.map_err(|error| sql_failure(error.into()))?;
    ready(&transaction).await?;
    let history = History::read(&transaction, job).await?;
    // What the path does not find, PostgreSQL writes with its schema: each side is read when its own names are found first. Anything else goes by the
    // catalog's, of which every path that does not say otherwise makes the beginning.
    let catalog = if has_names_of_catalog(&transaction, &schema).await? { ", pg_catalog" } else { "" };
    let search = async |path: &str| transaction.batch_execute(&format!("SET LOCAL search_path = {path}")).await;
    search(&format!("{schema}{catalog}")).await?;
    let mut actual = read_objects(&transaction, Place::Schema(&schema)).await?;
    search(&schema.to_string()).await?;
    // Only a superuser's run puts a key back that checks no row.
    if only.is_some() && !is_superuser(&transaction).await? {
        let enabled = |shape: &mut Shape| shape.shape.truncate(shape.shape.trim_end_matches(" DISABLED").len());
        actual.constraints.iter_mut().for_each(enabled);
    }
    let mut plan = plan(source, profiles, job, &actual);
    plan.settle(&forms(&plan, &actual));
    let mut report = ObjectsReport::default();
    if only.is_none() {
        report.missing.clone_from(&history.taken_away);
        next_values(&transaction, &plan, job, &history, &mut report).await?;
    }

    search(&format!("pg_temp, {schema}")).await?;
    let refused = rehearse(&transaction, &plan).await?;
    search(&format!("pg_temp, {schema}{catalog}")).await?;
    let expected = read_objects(&transaction, Place::Temporary).await?;
    search(&format!("pg_temp, {schema}")).await?;
    let same_defaults = same_defaults(&transaction, &expected, &actual).await?;
    transaction.rollback().await?;

    let comparison = Comparison {
        job,
        source,
        plan: &plan,
        schema: &schema,
        expected: &expected,
        actual: &actual,
        history: &history,
        same_defaults,
        only: only.as_ref(),
    };
    comparison.columns(&mut report);
    comparison.objects(&refused, &mut report);
    comparison.inexact(&mut report);
    if only.is_some() {
        return Ok(report);
    }
    let planned = plan.warnings.iter().chain(&refused).filter(|warning| comparison.given_table(&warning.object).is_none());
    let said = planned.chain(&history.losses);
    report.declare(said.filter(|warning| !comparison.is_of_table_left_out(&warning.object)));
    comparison.promised(promised, &mut report);
    comparison.added(&mut report);
    report.not_compared = comparison.of_standing(Standing::Apart).map(|table| table.source.clone()).collect();
    Ok(report)
}

fn inspect(snapshot: &Arc<Snapshot>, jobs: usize) -> Result<(Schema, Vec<TableProfile>, Vec<Vec<Promised>>)> {
    let reader = snapshot.reader()?;
    let schema = reader.schema()?;
    let promised = schema.tables.iter().map(|table| reader.promised(&table.name)).collect::<Result<_>>()?;
    // There may be no other for those that read the rows.
    drop(reader);
    let profiles = sqlite::profile(snapshot, &schema, jobs, ONE_CHUNK, |_| true)?;
    Ok((schema, profiles, promised))
}

/// The plan of an empty target with the names and types that the copy has.
fn plan(source: &Schema, profiles: &[TableProfile], job: &Job, actual: &SchemaObjects) -> Plan {
    let options = Options {
        schema: TEMPORARY.into(),
        names: job.names,
        // As the copy was made: derived text is under "C" everywhere or nowhere.
        collate_c: actual.columns.values().any(|column| column.collated_c),
        ..Options::default()
    };
    let target = TargetSchema { exists: true, ..TargetSchema::default() };
    build(&Input { source, profiles, mapping: &Mapping::of(source, &job.maps), target: &target, options: &options })
}

/// Of keys and indexes that may be made in two forms: whether the one that is there has the first.
fn forms(plan: &Plan, actual: &SchemaObjects) -> Vec<(usize, bool)> {
    let is_hash = |object: &ObjectPlan| {
        let table = object.table.map(|table| plan.tables[table].target.name.as_str());
        let mut there = actual.indexes.iter().filter(|index| Some(index.table.as_str()) == table && index.name == object.name.as_str());
        there.any(|index| index.shape.contains(" USING hash ("))
    };
    let two_forms = plan.objects.iter().enumerate().filter(|(_, object)| object.no_room().is_some());
    two_forms.map(|(place, object)| (place, !is_hash(object))).collect()
}

/// The session's own schema, by the name that every session may call it.
const TEMPORARY: &str = "pg_temp";

/// The mapping whose tables have another schema than the source's.
const REGISTRY: &str = "registry";

/// What the journal knows of the tables.
struct History {
    /// Tables of the target that runs made; none when no run has been here, and everything is as if it were ours.
    made: Option<HashSet<QualifiedName>>,
    /// Tables that no run made are a registry's.
    is_registry: bool,
    /// What the last run said that it lost, or that a table's own schema lacks.
    losses: Vec<Warning>,
    /// What an interrupted run took away and has not built again.
    taken_away: Vec<MissingObject>,
}

impl History {
    async fn read(client: &Transaction<'_>, job: &Job) -> Result<Self> {
        if !Journal::exists(client).await? {
            return Ok(History { made: None, is_registry: false, losses: Vec::new(), taken_away: Vec::new() });
        }
        let source = std::path::absolute(job.snapshot.path())?.display().to_string();
        let settings = Journal::last_settings(client, &job.schema, &source).await?;
        let losses: Option<Vec<Warning>> = Journal::setting(&settings, "losses")?;
        // A run that brings rows alone says how the one before it made the tables.
        let mapping: Option<String> = Journal::setting(&settings, "made_by")?.or(Journal::setting(&settings, "mapping")?);
        // Without a run into this schema there is no telling whose the tables are: all of them are compared.
        let sources: Vec<String> = job.maps.iter().map(|map| map.source.clone()).collect();
        let made = if settings.is_null() { None } else { Some(Journal::made(client, &job.schema, &sources).await?.into_iter().collect()) };
        let taken_away = |(table, object): (QualifiedName, crate::plan::target::Rebuildable)| MissingObject {
            kind: object.kind.as_str().into(),
            object: format!("{}.{}", table.name.as_str(), object.name.as_str()),
            reason: "a run that was interrupted took it away, and none has built it again".into(),
            declared: false,
            differs: false,
        };
        let kept = Journal::kept(client, &job.schema).await?;
        let is_registry = mapping.is_some_and(|mapping| mapping == REGISTRY);
        Ok(History { made, is_registry, losses: losses.unwrap_or_default(), taken_away: kept.into_iter().map(taken_away).collect() })
    }
}

impl History {
    fn is_ours(&self, table: &QualifiedName) -> bool {
        self.made.as_ref().is_none_or(|made| made.contains(table))
    }
}

/// Every sequence goes on where SQLite would.
async fn next_values(client: &Transaction<'_>, plan: &Plan, job: &Job, history: &History, report: &mut ObjectsReport) -> Result<()> {
    for table in plan.tables.iter().filter(|table| (job.included)(&table.source)) {
        let Some(sequence) = &table.sequence else { continue };
        let target = QualifiedName::new(job.schema.as_str(), table.target.name.clone());
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&target.to_string()]).await?;
        if !there.get::<_, bool>(0) {
            continue;
        }
        report.compared += 1;
        // A column that nothing fills is a missing identity, which is said as such.
        let Some(drawn) = column_sequence(client, &target, &sequence.column).await? else { continue };
        let (NextValue { next: actual, last: most, last_of_type }, expected) = (next_value(client, &drawn).await?, sequence.next());
        // One that is not the column's own, or was there before, may have given out others, be farther, and end where its owner says.
        let is_ours = drawn.is_own && history.is_ours(&target);
        let label = format!("{}.{}", table.source, sequence.column.as_str());
        if actual > most {
            report.miss(ObjectKind::Sequence.as_str(), label, format!("it ends at {most}, and the next id is {actual}"));
        } else if is_ours && most < last_of_type {
            report.differ(ObjectKind::Sequence.as_str(), label, format!("it ends at {most}, and should at {last_of_type}"));
        }
        if actual < expected || is_ours && actual != expected {
            let column = sequence.column.as_str().to_string();
            report.wrong_next_values.push(WrongNextValue { table: table.source.clone(), column, expected, actual });
        }
    }
    Ok(())
}

/// Makes everything that is planned, without rows; answers what PostgreSQL refuses, which it refuses migrate too.
async fn rehearse(transaction: &Transaction<'_>, plan: &Plan) -> Result<Vec<Warning>> {
    let mut refused = Vec::new();
    for table in &plan.tables {
        let Some(create) = &table.create else { continue };
        make_table(transaction, table, create).await?;
    }
    for object in &plan.objects {
        if let Err(error) = attempt(transaction, &object.statements.join(";\n")).await? {
            refused.push(Warning::loss(object.kind, &object.label, error.to_string()));
        }
    }
    Ok(refused)
}

async fn make_table(transaction: &Transaction<'_>, table: &TablePlan, create: &CreateTable) -> Result<()> {
    if attempt(transaction, &statement::create_table(&table.target, create, false)).await?.is_ok() {
        return Ok(());
    }
    // As migrate does: without defaults, then each default alone.
    if let Err(error) = attempt(transaction, &statement::create_table(&table.target, create, true)).await? {
        return Err(error).with_context(|| format!("rehearse table {:?}", table.source));
    }
    for column in &create.columns {
        if let Some(default) = &column.default {
            // One that is refused is not expected either.
            let _refused = attempt(transaction, &statement::set_default(&table.target, &column.name, default)).await?;
        }
    }
    Ok(())
}

/// Runs statements whole or not at all; the inner error is PostgreSQL's refusal of them.
async fn attempt(transaction: &Transaction<'_>, sql: &str) -> Result<Result<()>> {
    transaction.batch_execute("SAVEPOINT attempt").await?;
    let Err(error) = transaction.batch_execute(sql).await else {
        transaction.batch_execute("RELEASE SAVEPOINT attempt").await?;
        return Ok(Ok(()));
    };
    match error.as_db_error().map(|error| error.code().code().to_string()) {
        // No right to temporary tables, no memory for locks: nothing can be said of the object.
        Some(code) if code == "42501" || code.starts_with("53") || code.starts_with("25") => {
            let why = sql_failure(error.into());
            bail!(
                Failure::new("no_rehearsal", format!("the schema cannot be rehearsed in temporary tables: {why}"))
                    .hint("--schema-objects needs the right to temporary tables (GRANT TEMPORARY ON DATABASE …) and room for its locks.")
                    .sqlstate(&code)
            )
        }
        Some(_) => {
            transaction.batch_execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt").await?;
            Ok(Err(sql_failure(error.into())))
        }
        None => Err(error.into()),
    }
}

/// What should be there against what is.
struct Comparison<'a> {
    job: &'a Job,
    source: &'a Schema,
    plan: &'a Plan,
    schema: &'a Name,
    expected: &'a SchemaObjects,
    actual: &'a SchemaObjects,
    history: &'a History,
    /// Columns whose defaults are written differently on both sides, and give the same.
    same_defaults: HashSet<(String, String)>,
    /// These tables of the source alone, though the target had them before.
    only: Option<&'a HashSet<String>>,
}

/// Whose schema a table of the target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A run's: everything is as it would be made.
    Ours,
    /// Its application's: of what the source promises it lacks nothing.
    Given,
    /// It is not compared.
    Apart,
}

impl Comparison<'_> {
    fn standing(&self, table: &TablePlan) -> Standing {
        if let Some(only) = self.only {
            return if only.contains(&table.source) { Standing::Given } else { Standing::Apart };
        }
        let target = QualifiedName { schema: self.schema.clone(), name: table.target.name.clone() };
        match self.history.is_ours(&target) {
            true => Standing::Ours,
            false if self.history.is_registry => Standing::Apart,
            false => Standing::Given,
        }
    }

    fn of_standing(&self, standing: Standing) -> impl Iterator<Item = &TablePlan> {
        self.plan.tables.iter().filter(move |table| self.is_included(table) && self.standing(table) == standing)
    }

    fn is_included(&self, table: &TablePlan) -> bool {
        (self.job.included)(&table.source)
    }

    /// A label begins with its table.
    fn is_of_table_left_out(&self, label: &str) -> bool {
        self.plan.tables.iter().filter(|table| !self.is_included(table)).any(|table| is_of(label, table))
    }

    fn columns(&self, report: &mut ObjectsReport) {
        for table in self.of_standing(Standing::Ours).chain(self.of_standing(Standing::Given)) {
            let (name, is_given) = (table.target.name.as_str(), self.standing(table) == Standing::Given);
            if !self.is_there(name) {
                report.miss("table", &table.source, "the target has no such table");
                continue;
            }
            for odd in self.actual.odd_tables.iter().filter(|odd| !is_given && odd.table == name) {
                odd_table(report, &table.source, odd);
            }
            let is_numbered = self.source.tables[table.source_index].autoincrement;
            for column in &table.columns {
                let place = (name.to_string(), column.target.as_str().to_string());
                let label = format!("{}.{}", table.source, column.source);
                let Some(expected) = self.expected.columns.get(&place) else { continue };
                match self.actual.columns.get(&place) {
                    Some(actual) if is_given => {
                        // A column of SQLite may have gone into two, of which one keeps the promise.
                        let twice = table.columns.iter().filter(|other| other.source_index == column.source_index).count() > 1;
                        if !twice {
                            given_promises(report, (&label, is_numbered), expected, actual);
                            if !self.same_defaults.contains(&place) {
                                given_default(report, &label, expected, actual);
                            }
                        }
                    }
                    // A dry run looks before the column is added.
                    None if is_given => given_promises(report, (&label, is_numbered), expected, &ColumnPromises::default()),
                    Some(actual) => promises(report, &label, expected, actual),
                    None => report.miss("column", &label, "the table has no such column"),
                }
            }
        }
    }

    fn is_there(&self, table: &str) -> bool {
        self.actual.columns.keys().any(|(known, _)| known == table)
    }

    fn objects(&self, refused: &[Warning], report: &mut ObjectsReport) {
        for object in &self.plan.objects {
            let is_foretold = self.only.is_some() && object.kind == ObjectKind::Trigger;
            if is_foretold || self.is_left_out(object) || refused.iter().any(|warning| warning.object == object.label) {
                continue;
            }
            if self.has_other_triggers(object) {
                report.triggers_not_compared.push(object.label.clone());
                continue;
            }
            report.compared += 1;
            let lack = match object.kind {
                ObjectKind::PrimaryKey | ObjectKind::Unique | ObjectKind::Index => self.index(object),
                ObjectKind::View => self.shape(&self.expected.views, &self.actual.views, object.name.as_str(), None),
                ObjectKind::Trigger => self.trigger(object),
                _ => {
                    let table = object.table.map(|table| self.plan.tables[table].target.name.as_str());
                    let lack = self.shape(&self.expected.constraints, &self.actual.constraints, object.name.as_str(), table);
                    match lack.as_ref().and_then(|_| self.other_key(object)) {
                        Some(other) => Some((other, true)),
                        None => lack.filter(|_| !self.expected_constraint(object).is_some_and(given::holds_always)),
                    }
                }
            };
            match lack {
                Some(lack) => report.lack(object.kind.as_str(), &object.label, lack),
                None if self.is_not_valid(object) => report.not_valid.push(object.label.clone()),
                None => {}
            }
        }
    }

    /// The same as [`shape`]. To a run that fills given tables, what has nothing but the name is none.
    fn shape(&self, expected: &[Shape], actual: &[Shape], name: &str, relation: Option<&str>) -> Option<Lack> {
        shape(expected, actual, name, relation).map(|(reason, differs)| (reason, differs && self.only.is_none()))
    }

    /// Keys, indexes, checks and generated columns of given tables that have no exact form, and so cannot be looked for by what they say: one of the same name may be
    /// its own application's form of it.
    fn inexact(&self, report: &mut ObjectsReport) {
        let kinds = [
            ObjectKind::PrimaryKey,
            ObjectKind::Unique,
            ObjectKind::Index,
            ObjectKind::Check,
            ObjectKind::ForeignKey,
            ObjectKind::Collation,
            ObjectKind::Generated,
            ObjectKind::Default,
        ];
        for warning in self.plan.warnings.iter().filter(|warning| warning.severity == Severity::Loss) {
            let kind = kinds.into_iter().find(|kind| *warning == Warning::loss(*kind, &warning.object, &warning.message));
            let table = self.given_table(&warning.object);
            let Some((kind, table)) = kind.zip(table) else { continue };
            let (relation, name) = (table.target.name.as_str(), warning.object[table.source.len()..].trim_start_matches('.'));
            if matches!(kind, ObjectKind::Generated | ObjectKind::Default) {
                let column = table.columns.iter().find(|column| column.source == name);
                let place = column.map(|column| (relation.to_string(), column.target.as_str().to_string()));
                let fills = |promises: &ColumnPromises| promises.default.is_some() || promises.generated.is_some();
                if !place.and_then(|place| self.actual.columns.get(&place)).is_some_and(fills) {
                    report.miss(kind.as_str(), &warning.object, warning.message.as_str());
                }
                continue;
            }
            let has_name = self.actual.indexes.iter().any(|index| index.table == relation && index.name == name)
                || self.actual.constraints.iter().any(|constraint| constraint.relation == relation && constraint.name == name);
            if !has_name {
                report.miss(kind.as_str(), &warning.object, warning.message.as_str());
            }
        }
    }

    /// The given table that is compared and that a label begins with.
    fn given_table(&self, label: &str) -> Option<&TablePlan> {
        self.of_standing(Standing::Given).filter(|table| is_of(label, table)).max_by_key(|table| table.source.len())
    }

    /// What the plan may have forgotten.
    fn promised(&self, promised: &[Vec<Promised>], report: &mut ObjectsReport) {
        for table in self.of_standing(Standing::Ours) {
            let map = self.job.maps.iter().find(|map| map.source == table.source);
            if let Some(map) = map.filter(|map| self.is_there(&map.target)) {
                promised::compare(map, &promised[table.source_index], self.actual, &mut report.missing);
            }
        }
    }

    /// Objects of tables that are not there, which is said once, and of tables that are not compared.
    fn is_left_out(&self, object: &ObjectPlan) -> bool {
        let is_there = |table: &TablePlan| self.is_there(table.target.name.as_str());
        let left_out = |table: &TablePlan| !self.is_included(table) || self.standing(table) == Standing::Apart || !is_there(table);
        self.table_of(object).is_some_and(left_out)
    }

    /// The table that an object stands on; a trigger may stand on a view.
    fn table_of(&self, object: &ObjectPlan) -> Option<&TablePlan> {
        if object.kind != ObjectKind::Trigger {
            return object.table.map(|table| &self.plan.tables[table]);
        }
        let trigger = self.source.triggers.iter().find(|trigger| object.label == format!("{}.{}", trigger.table, trigger.name))?;
        self.plan.tables.iter().find(|table| table.source.eq_ignore_ascii_case(&trigger.table))
    }

    fn index(&self, object: &ObjectPlan) -> Option<Lack> {
        let expected = self.expected.indexes.iter().find(|index| index.name == object.name.as_str())?;
        let alike: Vec<&IndexShape> = self.actual.indexes.iter().filter(|index| index.shape == expected.shape).collect();
        let serves = |index: &&&IndexShape| (index.primary || !expected.primary) && (index.unique || !expected.unique);
        let is_ours = self.table_of(object).is_some_and(|table| self.standing(table) == Standing::Ours);
        match alike.iter().find(serves) {
            Some(index) if index.valid && expected.unique && index.deferrable && is_ours => {
                Some((format!("{:?} is DEFERRABLE, so that no foreign key and no ON CONFLICT can use it", index.name), true))
            }
            Some(index) if index.valid => None,
            Some(index) => Some((format!("the index {:?} is there and invalid: its building failed", index.name), false)),
            None if alike.is_empty() => Some((format!("none is on {}", expected.shape), false)),
            None if expected.primary => Some((format!("{:?} is on {}, and no primary key", alike[0].name, expected.shape), false)),
            None => Some((format!("{:?} is on {}, and not unique", alike[0].name, expected.shape), false)),
        }
    }

    fn expected_constraint(&self, object: &ObjectPlan) -> Option<&Shape> {
        let table = self.table_of(object)?.target.name.as_str();
        self.expected.constraints.iter().find(|shape| shape.relation == table && shape.name == object.name.as_str())
    }

    /// True for a foreign key or a check of which the target has none that all rows are known to obey.
    fn is_not_valid(&self, object: &ObjectPlan) -> bool {
        let is_constraint = matches!(object.kind, ObjectKind::ForeignKey | ObjectKind::Check);
        let Some(expected) = self.expected_constraint(object).filter(|_| is_constraint) else { return false };
        let alike = |shape: &&Shape| (&shape.relation, &shape.shape) == (&expected.relation, &expected.shape);
        let mut alike = self.actual.constraints.iter().filter(alike).peekable();
        alike.peek().is_some() && alike.all(|shape| shape.not_valid)
    }

    /// The foreign key that a given table has over the same columns to the same parent, with other actions.
    fn other_key(&self, object: &ObjectPlan) -> Option<String> {
        self.table_of(object).filter(|table| self.standing(table) == Standing::Given)?;
        given::other_key(self.expected_constraint(object)?, &self.actual.constraints)
    }

    /// The triggers that a given table has, for a trigger of the source that stands on it.
    fn own_triggers(&self, object: &ObjectPlan) -> Option<Vec<&TriggerShape>> {
        let is_given = |table: &&TablePlan| object.kind == ObjectKind::Trigger && self.standing(table) == Standing::Given;
        let table = self.table_of(object).filter(is_given)?.target.name.as_str();
        Some(self.actual.triggers.iter().filter(|trigger| trigger.shape.relation == table).collect())
    }

    /// A given table's application may have another trigger for this one's work; one that fires at other moments does other work, or does this in another way.
    fn has_other_triggers(&self, object: &ObjectPlan) -> bool {
        let Some(own) = self.own_triggers(object) else { return false };
        let expected = self.expected.triggers.iter().find(|trigger| trigger.shape.name == object.name.as_str());
        !own.is_empty() && !expected.is_some_and(|expected| own.iter().any(|trigger| trigger.fires_with(expected)))
    }

    /// A function's text says its schema; the rehearsed one was in another.
    fn trigger(&self, object: &ObjectPlan) -> Option<Lack> {
        if let Some(own) = self.own_triggers(object) {
            return own.is_empty().then(|| ("the table has no trigger".into(), false));
        }
        let actual: Vec<Shape> = self.actual.triggers.iter().map(|trigger| trigger.shape.clone()).collect();
        shape(&self.expected_triggers(), &actual, object.name.as_str(), None)
    }

    fn expected_triggers(&self) -> Vec<Shape> {
        let rehearsed = format!("{}.", Name::new(TEMPORARY));
        let own = |TriggerShape { shape, .. }: &TriggerShape| Shape {
            shape: shape.shape.replace(&rehearsed, &format!("{}.", self.schema)),
            ..shape.clone()
        };
        self.expected.triggers.iter().map(own).collect()
    }

    /// What runs have not made of their own tables.
    fn added(&self, report: &mut ObjectsReport) {
        let sides = added::Sides { expected: self.expected, actual: self.actual, triggers: &self.expected_triggers() };
        for table in self.of_standing(Standing::Ours) {
            added::note(report, &table.source, table.target.name.as_str(), &sides);
        }
    }
}

/// True for the label of the table or of something of it.
fn is_of(label: &str, table: &TablePlan) -> bool {
    label.strip_prefix(&table.source).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// None where the object that was rehearsed under `name` is in the target too, under whatever name; else why it is not.
fn shape(expected: &[Shape], actual: &[Shape], name: &str, relation: Option<&str>) -> Option<Lack> {
    let expected = expected.iter().find(|shape| shape.name == name && relation.is_none_or(|relation| shape.relation == relation))?;
    let on_it = |shape: &&Shape| shape.relation == expected.relation;
    if actual.iter().filter(on_it).any(|shape| shape.shape == expected.shape) {
        return None;
    }
    match actual.iter().filter(on_it).any(|shape| shape.name == expected.name) {
        true => Some((format!("the one of the name {name:?} says something else"), true)),
        false => Some(("the target has none that says the same".into(), false)),
    }
}
