//! What comes after the rows: keys, indexes, constraints, sequences, views and triggers. One object that fails never stops another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::migrate::run::Run;
use crate::migrate::standing::{SEQUENCES_STEP, begun, object_step, rebuild_step};
use crate::migrate::{by_partition, rehearse};
use crate::model::{Event, Name, Phase, QualifiedName};
use crate::plan::target::{RebuildKind, Rebuildable};
use crate::plan::{Case, ObjectKind, ObjectPlan, Offenders, Otherwise, Plan, SequencePlan, Todo, Warning};
use crate::postgres::{
    Client, ColumnSequence, ForeignKeyNotValid, ForeignKeySides, GenericClient, Journal, SqlError, checks_keys_at_once, column_sequence,
    foreign_key_sides, foreign_keys_not_valid, is_about_object, is_beyond_limit, is_hash_index, is_superuser, sql_failure, statement,
};

/// What became of the objects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Built {
    pub created: u64,
    pub warnings: Vec<Warning>,
    pub todo: Vec<Todo>,
}

impl Built {
    pub fn merge(&mut self, other: Built) {
        self.created += other.created;
        self.warnings.extend(other.warnings);
        self.todo.extend(other.todo);
    }

    pub fn one() -> Self {
        Built { created: 1, ..Built::default() }
    }

    /// As the journal keeps it.
    pub fn said(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// The phase that an object of this kind belongs to.
pub fn phase(kind: ObjectKind) -> Phase {
    match kind {
        ObjectKind::Check | ObjectKind::ForeignKey | ObjectKind::NotNull => Phase::Constraints,
        ObjectKind::View | ObjectKind::Trigger => Phase::Views,
        _ => Phase::Indexes,
    }
}

/// Makes one object, unless it is made; a failure of PostgreSQL's is kept in the warnings and the todo list, one that time or room heals is an error.
pub async fn build(run: &Run, client: &Client, place: usize) -> Result<Built> {
    let (object, step) = (&run.plan.objects[place], object_step(place));
    if let Some(built) = run.standing.step(&step) {
        return Ok(built.clone());
    }
    let name = name(run, place);
    run.send(Event::ObjectStarted(name.clone()));
    let built = match (&object.offenders, &object.otherwise) {
        (Some(_), _) => build_and_validate(run, client, place).await,
        (None, Some(otherwise)) if stands_on_other_form(run, client, otherwise).await? => {
            make_otherwise(run, client, object, otherwise, &step).await
        }
        (None, _) => make(run, client, object, &step).await,
    };
    let built = built.with_context(|| format!("make {name}"));
    run.send(Event::ObjectEnded(name));
    run.advance();
    built
}

async fn make(run: &Run, client: &Client, object: &ObjectPlan, step: &str) -> Result<Built> {
    // Without rows that could break it, an object is made whole or not at all: statements sent together are one transaction.
    let together = format!("{};\n{}", object.statements.join(";\n"), statement::journal_step(&run.id, step, &Built::one().said()?));
    match client.batch_execute(&together).await {
        Ok(()) => Ok(Built::one()),
        Err(error) => match &object.otherwise {
            Some(otherwise) if is_out_of_room(object, &error) => make_otherwise(run, client, object, otherwise, step).await,
            _ => lost(run, client, object, step, error).await,
        },
    }
}

/// PostgreSQL has refused a key or an index for the length of a value.
pub(super) fn is_out_of_room(object: &ObjectPlan, error: &SqlError) -> bool {
    object.no_room().is_some() && is_beyond_limit(error)
}

/// One of the keys that the object stands on has its other form.
async fn stands_on_other_form(run: &Run, client: &Client, otherwise: &Otherwise) -> Result<bool> {
    let Case::Keys(keys) = &otherwise.case else { return Ok(false) };
    for key in keys {
        let index = QualifiedName::new(run.plan.schema.as_str(), run.plan.objects[*key].name.clone());
        if is_hash_index(client, &index).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes an object's other form, or leaves it out where it has none.
async fn make_otherwise(run: &Run, client: &Client, object: &ObjectPlan, otherwise: &Otherwise, step: &str) -> Result<Built> {
    let mut built = Built { warnings: vec![otherwise.warning.clone()], ..Built::one() };
    if otherwise.statements.is_empty() {
        built.created = 0;
        built.todo.push(object.todo(otherwise.warning.message.clone()));
    }
    let done = statement::journal_step(&run.id, step, &built.said()?);
    let together: String = otherwise.statements.iter().map(|sql| format!("{sql};\n")).chain([done]).collect();
    match client.batch_execute(&together).await {
        Ok(()) => Ok(built),
        Err(error) => lost(run, client, object, step, error).await,
    }
}

/// A constraint that old rows may break: it stands for new ones first, and is validated then.
async fn build_and_validate(run: &Run, client: &Client, place: usize) -> Result<Built> {
    match begin_constraint(run, client, place).await? {
        Some(built) => Ok(built),
        None => validate_constraint(run, client, place).await,
    }
}

/// The first half of such a constraint, which takes a moment; the answer is what it has come to where that is its end.
pub async fn begin(run: &Run, client: &Client, place: usize) -> Result<Option<Built>> {
    begin_constraint(run, client, place).await.with_context(|| format!("make {}", name(run, place)))
}

async fn begin_constraint(run: &Run, client: &Client, place: usize) -> Result<Option<Built>> {
    let (object, step) = (&run.plan.objects[place], object_step(place));
    if let Some(built) = run.standing.step(&step) {
        return Ok(Some(built.clone()));
    }
    if run.standing.step(&begun(&step)).is_some() {
        return Ok(None);
    }
    let make = object.statements.first().context("a constraint has a statement")?;
    let together = format!("{make};\n{}", statement::journal_step(&run.id, &begun(&step), &Built::default().said()?));
    match client.batch_execute(&together).await {
        Ok(()) => Ok(None),
        Err(error) => lost(run, client, object, &step, error).await.map(Some),
    }
}

/// The second half, which reads the rows.
pub async fn validate(run: &Run, client: &Client, place: usize) -> Result<Built> {
    run.send(Event::ObjectStarted(name(run, place)));
    let built = validate_constraint(run, client, place).await.with_context(|| format!("make {}", name(run, place)));
    run.send(Event::ObjectEnded(name(run, place)));
    run.advance();
    built
}

async fn validate_constraint(run: &Run, client: &Client, place: usize) -> Result<Built> {
    let object = &run.plan.objects[place];
    let mut built = Built::one();
    for sql in object.statements.iter().skip(1) {
        let Err(error) = client.batch_execute(sql).await else { continue };
        if !is_about_object(&error) {
            return Err(sql_failure(error.into()));
        }
        built.warnings.push(not_valid(run, client, object, error).await?);
    }
    Journal::steps_done(client, &run.id, &[(object_step(place), built.said()?)]).await?;
    Ok(built)
}

/// Makes objects in one transaction; when PostgreSQL refuses any of them, each by itself.
pub async fn build_together(run: &Run, client: &Client, places: &[usize]) -> Result<Built> {
    let mut built = Built::default();
    let untouched = |place: &usize| {
        let step = object_step(*place);
        run.standing.step(&step).is_none() && run.standing.step(&begun(&step)).is_none()
    };
    let (new, others): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(untouched);
    for place in others {
        built.merge(build(run, client, place).await?);
    }
    let mut together = String::new();
    for place in &new {
        let done = statement::journal_step(&run.id, &object_step(*place), &Built::one().said()?);
        together += &format!("{};\n{done};\n", run.plan.objects[*place].statements.join(";\n"));
    }
    match client.batch_execute(&together).await {
        Ok(()) => {
            for place in new {
                run.send(Event::ObjectStarted(name(run, place)));
                run.send(Event::ObjectEnded(name(run, place)));
                built.merge(Built::one());
            }
            run.advance();
        }
        Err(error) if !is_about_object(&error) => return Err(sql_failure(error.into())).context("make foreign keys"),
        Err(_) => {
            for place in new {
                built.merge(build(run, client, place).await?);
            }
        }
    }
    Ok(built)
}

/// What a person calls the object.
fn name(run: &Run, place: usize) -> String {
    let object = &run.plan.objects[place];
    format!("{} {}", object.kind.as_str(), object.label)
}

/// An object that PostgreSQL refuses.
async fn lost(run: &Run, client: &Client, object: &ObjectPlan, step: &str, error: SqlError) -> Result<Built> {
    if !is_about_object(&error) {
        return Err(sql_failure(error.into()));
    }
    let reason = sql_failure(error.into()).to_string();
    let built = Built {
        created: 0,
        warnings: vec![Warning::loss(object.kind, &object.label, &reason)],
        todo: vec![Todo { original: object_text(object), ..object.todo(reason) }],
    };
    Journal::steps_done(client, &run.id, &[(step.to_string(), built.said()?)]).await?;
    Ok(built)
}

/// The statements that were tried, under what SQLite said.
fn object_text(object: &ObjectPlan) -> String {
    format!("{}\n\n-- tried:\n{};", object.original, object.statements.join(";\n"))
}

/// A constraint that old rows break: it is left NOT VALID, and the rows are listed.
async fn not_valid(run: &Run, client: &Client, object: &ObjectPlan, refusal: SqlError) -> Result<Warning> {
    let place = object.table.context("a constraint has a table")?;
    let plan = &run.plan.tables[place];
    let message = match object.offenders.as_deref() {
        Some(Offenders::Orphans) => return foreign_key_not_valid(client, &plan.target, &object.name, &object.label).await,
        Some(Offenders::Broken { count, list }) => match broken_rows(client, count, list).await {
            Ok((number, texts)) => {
                // Without a key, a person finds them by SQLite's rowid.
                let has_key = run.schema.tables[plan.source_index].primary_key.is_some();
                let told = if has_key { None } else { by_sqlite(run, plan.source_index, object).await? };
                let told = told.filter(|(count, _)| *count == number as u64).map(|(_, texts)| texts);
                Some(rehearse::breaks(number as u64, told.unwrap_or(texts)))
            }
            // A condition may fail at a row instead of being false for it, as a cast does: SQLite can tell which.
            Err(error) if is_about_object(&error) => {
                by_sqlite(run, plan.source_index, object).await?.map(|(count, texts)| rehearse::breaks(count, texts))
            }
            Err(error) => return Err(sql_failure(error.into())),
        },
        None => None,
    };
    let message = message.unwrap_or_else(|| {
        let state = refusal.code().map(|code| format!(" (SQLSTATE {})", code.code())).unwrap_or_default();
        format!("is NOT VALID: {}{state}", sql_failure(refusal.into()))
    });
    Ok(Warning { class: object.kind.allow_class().into(), ..Warning::weaker("constraint_not_valid", &object.label, message) })
}

/// The rows of the source that break a CHECK, as SQLite sees it.
async fn by_sqlite(run: &Run, table: usize, object: &ObjectPlan) -> Result<Option<(u64, Vec<String>)>> {
    let (snapshot, schema, object) = (Arc::clone(&run.snapshot), Arc::clone(&run.schema), object.clone());
    let asked = tokio::task::spawn_blocking(move || rehearse::breaking_rows(&snapshot.reader()?, &schema.tables[table], &object));
    asked.await.context("a reader of the source panicked")?
}

async fn broken_rows(client: &Client, count: &str, list: &str) -> Result<(i64, Vec<String>), SqlError> {
    let number = client.query_one(count, &[]).await?.get(0);
    let rows = client.query(list, &[]).await?;
    Ok((number, rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()))
}

/// A foreign key that stands for new rows only, with the old ones that have no parent.
pub async fn foreign_key_not_valid(client: &Client, table: &QualifiedName, constraint: &Name, label: &str) -> Result<Warning> {
    let (count, texts) = foreign_key_sides(client, table, constraint).await?.orphans(client).await?;
    Ok(not_valid_key(count, texts, label))
}

/// The same before there is such a key: what the run would say of it, unless every row has its parent.
pub async fn broken_key(client: &Client, sides: &ForeignKeySides, label: &str) -> Result<Option<Warning>> {
    let (count, texts) = sides.orphans(client).await?;
    Ok((count > 0).then(|| not_valid_key(count, texts, label)))
}

pub(super) fn not_valid_key(count: i64, texts: Vec<String>, label: &str) -> Warning {
    let message = format!("is NOT VALID: {} ({})", counted(count, "has no parent", "have no parent"), listed(texts));
    Warning { class: ObjectKind::ForeignKey.allow_class().into(), ..Warning::weaker("foreign_key_not_valid", label, message) }
}

/// `1 row has no parent`, `800 rows have no parent`
fn counted(count: i64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 row {one}") } else { format!("{count} rows {many}") }
}

/// Up to five texts; more are an ellipsis.
fn listed(mut texts: Vec<String>) -> String {
    if texts.len() == 5 {
        texts.push("…".into());
    }
    texts.join("; ")
}

/// What was made of an object before the rest of its table.
#[derive(Clone, Debug)]
pub enum Early {
    Made(Built),
    /// A key's index is there, the key itself is not.
    Begun,
    /// A value has no room in the key's index: it gets its other form, which locks the table.
    NoRoom,
}

/// True for an index, or a key that can be made over one: while it is built the table can be read.
pub fn is_early(plan: &Plan, place: usize, table: usize) -> bool {
    let object = &plan.objects[place];
    object.table == Some(table) && (object.kind == ObjectKind::Index || key_by_index(plan, object).is_some())
}

/// The statements that make a key's index, and the key over it.
fn key_by_index(plan: &Plan, object: &ObjectPlan) -> Option<(String, String)> {
    let [sql] = &object.statements[..] else { return None };
    statement::key_by_index(&plan.tables[object.table?].target, &object.name, sql)
}

/// Makes an index, or a key's index.
pub async fn build_early(run: &Run, client: &Client, place: usize) -> Result<Early> {
    let (object, step) = (&run.plan.objects[place], object_step(place));
    let Some((index, _)) = key_by_index(&run.plan, object) else { return Ok(Early::Made(build(run, client, place).await?)) };
    if let Some(built) = run.standing.step(&step) {
        return Ok(Early::Made(built.clone()));
    }
    if run.standing.step(&begun(&step)).is_some() {
        return Ok(Early::Begun);
    }
    let name = name(run, place);
    run.send(Event::ObjectStarted(name.clone()));
    let together = format!("{index};\n{}", statement::journal_step(&run.id, &begun(&step), &Built::default().said()?));
    let early = match client.batch_execute(&together).await {
        Ok(()) => Ok(Early::Begun),
        Err(error) if is_out_of_room(object, &error) => Ok(Early::NoRoom),
        Err(error) => lost(run, client, object, &step, error).await.map(Early::Made),
    };
    run.send(Event::ObjectEnded(name.clone()));
    run.advance();
    early.with_context(|| format!("make {name}"))
}

/// Session memory for building indexes. More than this only makes sorts slower, because they no longer stay in the processor's caches
/// (4 million rows of two columns: 2.9 s with 2 to 32 MB, 4.5 s with 256 MB); a server that has less keeps what it has.
pub async fn set_memory(client: &Client) -> Result<()> {
    let sql = "SELECT set_config('maintenance_work_mem', least(setting::bigint, 8192)::text || 'kB', false) FROM pg_settings \
               WHERE name = 'maintenance_work_mem'";
    client.execute(sql, &[]).await.map_err(|error| sql_failure(error.into())).context("set the memory for index builds")?;
    Ok(())
}

/// Everything of a table that its own rows suffice for, and that is not made `early`: keys, indexes, checks.
pub async fn build_table(
    run: &Arc<Run>,
    client: &Client,
    table: usize,
    mut early: HashMap<usize, Early>,
) -> Result<(Built, Vec<(Phase, Instant, Instant)>)> {
    let mut built = Built::default();
    let mut spans = Vec::new();
    for (place, object) in run.plan.objects.iter().enumerate() {
        if object.table != Some(table) || matches!(object.kind, ObjectKind::ForeignKey | ObjectKind::Trigger | ObjectKind::View) {
            continue;
        }
        let started = Instant::now();
        let step = object_step(place);
        let begun = matches!(early.get(&place), Some(Early::Begun)) || run.standing.step(&begun(&step)).is_some();
        built.merge(match (early.remove(&place), key_by_index(&run.plan, object)) {
            (Some(Early::Made(built)), _) => built,
            (Some(Early::NoRoom), _) => {
                let otherwise = object.otherwise.as_ref().context("a key without room has another form")?;
                make_otherwise(run, client, object, otherwise, &step).await?
            }
            (_, Some((_, key))) if begun && run.standing.step(&step).is_none() => {
                let together = format!("{key};\n{}", statement::journal_step(&run.id, &step, &Built::one().said()?));
                match client.batch_execute(&together).await {
                    Ok(()) => Built::one(),
                    Err(error) => lost(run, client, object, &step, error).await?,
                }
            }
            _ => build(run, client, place).await?,
        });
        spans.push((phase(object.kind), started, Instant::now()));
    }
    for object in run.plan.tables[table].rebuild.iter().filter(|object| object.kind == RebuildKind::Index) {
        let started = Instant::now();
        built.merge(put_back(run, client, table, object).await?);
        spans.push((Phase::Indexes, started, Instant::now()));
    }
    Ok((built, spans))
}

/// Foreign keys and triggers that were taken away from tables that existed, back again; a foreign key that the rows break is NOT VALID.
pub async fn put_back_the_rest(run: &Run, client: &Client) -> Result<Built> {
    let mut built = Built::default();
    // Triggers last: what they do may need any of the keys.
    let mut failed = None;
    for kind in [RebuildKind::ForeignKey, RebuildKind::Trigger] {
        for (table, plan) in run.plan.tables.iter().enumerate() {
            for object in plan.rebuild.iter().filter(|object| object.kind == kind) {
                match put_back(run, client, table, object).await {
                    Ok(back) => built.merge(back),
                    // One that cannot be put back now leaves no other away.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
    }
    failed.map_or(Ok(built), Err)
}

/// Puts back what was taken away from a table that existed, unless that is done.
async fn put_back(run: &Run, client: &Client, table: usize, object: &Rebuildable) -> Result<Built> {
    let step = rebuild_step(table, object);
    if let Some(built) = run.standing.step(&step) {
        return Ok(built.clone());
    }
    let name = format!("{} {}", object.kind.as_str(), object.name.as_str());
    run.send(Event::ObjectStarted(name.clone()));
    let built = rebuild(run, client, table, object, &step).await.with_context(|| format!("put back {name}"));
    run.send(Event::ObjectEnded(name));
    run.advance();
    built
}

async fn rebuild(run: &Run, client: &Client, table: usize, object: &Rebuildable, step: &str) -> Result<Built> {
    let plan = &run.plan.tables[table];
    let mut built = Built { created: u64::from(object.kind != RebuildKind::Trigger), ..Built::default() };
    let on = object.on(&plan.target);
    let checks_at_once = object.kind == RebuildKind::ForeignKey && checks_keys_at_once(client, on).await?;
    let statements = statement::rebuild_object(&plan.target, object, checks_at_once);
    let (make, validate) = statements.split_first().context("an object has a statement")?;
    built.warnings.extend(fires_again(client, object, &format!("{}.{}", plan.source, object.name.as_str())).await?);
    let half = begun(step);
    if run.standing.step(&half).is_none() {
        let done = statement::journal_step(&run.id, if validate.is_empty() { step } else { &half }, &built.said()?);
        let together = format!("{make};\n{};\n{done}", statement::journal_rebuilt(&plan.target, object));
        if let Err(error) = client.batch_execute(&together).await {
            let kind = match object.kind {
                RebuildKind::ForeignKey => ObjectKind::ForeignKey,
                // An expression may fail at a row that has come.
                RebuildKind::Index => ObjectKind::Index,
                RebuildKind::Trigger => return Err(sql_failure(error.into())),
            };
            if !is_about_object(&error) {
                return Err(sql_failure(error.into()));
            }
            if checks_at_once && let Some(back) = put_back_by_partition(run, client, table, object, step).await? {
                return Ok(back);
            }
            let (reason, object) = (sql_failure(error.into()).to_string(), format!("{}.{}", plan.source, object.name.as_str()));
            built.created = 0;
            built.warnings = vec![Warning::loss(kind, &object, format!("could not be put back: {reason}"))];
            built.todo.push(Todo { kind, object, reason, original: format!("{};", statements.join(";\n")) });
            Journal::steps_done(client, &run.id, &[(step.to_string(), built.said()?)]).await?;
            return Ok(built);
        }
    }
    for sql in validate {
        let Err(error) = client.batch_execute(sql).await else { continue };
        if !is_about_object(&error) {
            return Err(sql_failure(error.into()));
        }
        let label = format!("{}.{}", plan.source, object.name.as_str());
        built.warnings.push(foreign_key_not_valid(client, on, &object.name, &label).await?);
    }
    if !validate.is_empty() {
        Journal::steps_done(client, &run.id, &[(step.to_string(), built.said()?)]).await?;
    }
    Ok(built)
}

/// A foreign key of which somebody has switched the triggers off, or on for replicas, and that checks rows like any other once it is put back.
pub async fn fires_again(client: &impl GenericClient, object: &Rebuildable, label: &str) -> Result<Option<Warning>> {
    if object.switched.is_none() || is_superuser(client).await? {
        return Ok(None);
    }
    let message = "checks rows again: its triggers were switched (ALTER TABLE … DISABLE TRIGGER), which only a superuser may do";
    Ok(Some(Warning { class: ObjectKind::ForeignKey.allow_class().into(), ..Warning::weaker("foreign_key_enabled", label, message) }))
}

/// Puts the foreign key of a table that is made of partitions on each of them, when rows break it. None where that is refused too.
async fn put_back_by_partition(run: &Run, client: &Client, table: usize, object: &Rebuildable, step: &str) -> Result<Option<Built>> {
    let plan = &run.plan.tables[table];
    let Some(keys) = by_partition::keys(client, &plan.target, object).await? else { return Ok(None) };
    client.batch_execute("BEGIN").await.map_err(|error| sql_failure(error.into()))?;
    let together = format!("{};\n{}", keys.make, statement::journal_rebuilt(&plan.target, object));
    if let Err(error) = client.batch_execute(&together).await {
        if !is_about_object(&error) {
            return Err(sql_failure(error.into()));
        }
        client.batch_execute("ROLLBACK").await.map_err(|error| sql_failure(error.into()))?;
        return Ok(None);
    }
    let label = format!("{}.{}", plan.source, object.name.as_str());
    let mut warnings = keys.not_valid(client, &label).await?;
    warnings.extend(fires_again(client, object, &label).await?);
    let built = Built { warnings, ..Built::one() };
    Journal::steps_done(client, &run.id, &[(step.to_string(), built.said()?)]).await?;
    client.batch_execute("COMMIT").await.map_err(|error| sql_failure(error.into()))?;
    Ok(Some(built))
}

/// Foreign keys of this run's tables that old rows kept NOT VALID: those that nothing breaks any more become whole. Returns how many.
pub async fn validate_foreign_keys(run: &Run, client: &Client) -> Result<u64> {
    let tables: Vec<String> = run.plan.tables.iter().filter(|table| table.create.is_none()).map(|table| table.target.to_string()).collect();
    let mut validated = 0;
    for ForeignKeyNotValid { table, name, .. } in foreign_keys_not_valid(client, &tables).await? {
        match client.batch_execute(&statement::validate_constraint(&table, &name)).await {
            Ok(()) => validated += 1,
            Err(error) if is_about_object(&error) => {}
            Err(error) => return Err(sql_failure(error.into())).with_context(|| format!("validate foreign key {name}")),
        }
    }
    Ok(validated)
}

/// What lets a column's ids go on: the sequence of a table that a run has made is set, one that was there, or that others may draw from too, is raised.
pub fn statements_of(table: &QualifiedName, plan: &SequencePlan, only_ours: bool, there: Option<&ColumnSequence>) -> Vec<String> {
    match there {
        Some(there) => vec![statement::raise_sequence(table, plan, &there.name)],
        None => statement::set_sequence(table, plan, only_ours),
    }
}

/// A default may name its sequence as text, which PostgreSQL reads only when it draws.
pub fn untold_sequence(source: &str, column: &Name) -> Warning {
    let message = "the sequence that its default draws from cannot be told, and was not set: ids that are there may be given out again";
    Warning::loss(ObjectKind::Sequence, format!("{source}.{}", column.as_str()), message)
}

/// Identity and serial columns go on where SQLite would.
pub async fn set_sequences(run: &Run, client: &Client) -> Result<Built> {
    if let Some(built) = run.standing.step(SEQUENCES_STEP) {
        return Ok(built.clone());
    }
    let mut built = Built::default();
    for plan in &run.plan.tables {
        let Some(sequence) = &plan.sequence else { continue };
        let is_ours = plan.create.is_some();
        let drawn = if is_ours { None } else { column_sequence(client, &plan.target, &sequence.column).await? };
        if !is_ours && drawn.is_none() {
            built.warnings.push(untold_sequence(&plan.source, &sequence.column));
            continue;
        }
        for sql in statements_of(&plan.target, sequence, is_ours, drawn.as_ref()) {
            if let Err(error) = client.batch_execute(&sql).await {
                if !is_about_object(&error) {
                    return Err(sql_failure(error.into()))
                        .with_context(|| format!("set the sequence of {}.{}", plan.target, sequence.column));
                }
                let reason = sql_failure(error.into()).to_string();
                built.warnings.push(Warning::loss(ObjectKind::Sequence, format!("{}.{}", plan.source, sequence.column.as_str()), reason));
                // SQLite's last id may be that of a row that did not fit; what did must not be given out again.
                let of_rows = SequencePlan { column: sequence.column.clone(), last: None };
                for sql in statements_of(&plan.target, &of_rows, false, drawn.as_ref()) {
                    match client.batch_execute(&sql).await {
                        Err(error) if !is_about_object(&error) => {
                            return Err(sql_failure(error.into()))
                                .with_context(|| format!("set the sequence of {}.{}", plan.target, sequence.column));
                        }
                        // What refuses this too has been said.
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
    }
    Journal::steps_done(client, &run.id, &[(SEQUENCES_STEP.to_string(), built.said()?)]).await?;
    Ok(built)
}
