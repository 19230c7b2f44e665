//! The run that a refresh follows: which of the source's tables it has copied, and how they are copied now.

use anyhow::{Result, bail};

use crate::migrate::Job;
use crate::model::{Failure, Name, Schema};
use crate::plan::target::TargetSchema;
use crate::plan::{CopyMap, Existing, Problem, SequencePlan, existing_rows, wanted};
use crate::postgres::{Client, Journal};
use crate::sides::{Pair, pair};

/// The path of this source, or of that of the run that is followed, and how runs have copied its tables.
pub async fn known(control: &Client, job: &Job, of: Option<&str>) -> Result<(String, Vec<CopyMap>)> {
    let target_schema = &job.options.schema;
    let nothing = || {
        Failure::new("nothing_to_refresh", format!("no run of candlefish has written into schema {target_schema:?} here"))
            .hint("Run migrate without --refresh first.")
    };
    if !Journal::exists(control).await? {
        bail!(nothing());
    }
    if let Some((run_id, _)) = Journal::interrupted(control, target_schema).await? {
        bail!(
            Failure::new("interrupted_run", format!("run {run_id} has not come to its end: its tables are not whole yet"))
                .hint("Complete it first with --resume, then refresh.")
        );
    }
    let path = match of {
        None => job.call.source_path.clone(),
        Some(run_id) => match Journal::source_of(control, target_schema, Some(run_id)).await? {
            Some((_, path)) => path,
            None => bail!(
                Failure::new("nothing_to_refresh", format!("no run {run_id} has written into schema {target_schema:?} here"))
                    .hint("`candlefish runs` lists the runs.")
            ),
        },
    };
    let known = Journal::newest_maps(control, target_schema, &path).await?;
    if known.is_empty() {
        // What another file has brought would be replaced by this one's rows.
        match Journal::source_of(control, target_schema, None).await? {
            Some((run_id, other)) => bail!(
                Failure::new("other_source", format!("schema {target_schema:?} was filled from {other}, and never from {path}")).hint(
                    format!("If this is that file under another name, say so: --refresh={run_id}. Else migrate it without --refresh.")
                )
            ),
            None => bail!(nothing()),
        }
    }
    Ok((path, known))
}

/// How each wanted table was copied, and what was copied of tables that the source no longer has. What no run has copied is an error: a refresh makes
/// no tables and no columns.
pub fn maps(job: &Job, schema: &Schema, known: Vec<CopyMap>) -> Result<(Vec<CopyMap>, Vec<CopyMap>)> {
    let problem = |problem: Problem| Failure::new(problem.code, problem.message).hint(problem.hint);
    let existing = existing_rows(schema, &job.options).map_err(problem)?;
    let wanted = wanted(schema, &job.options).map_err(problem)?;
    let mut maps = Vec::new();
    let (mut new, mut mixed) = (Vec::new(), Vec::new());
    for table in schema.tables.iter().filter(|table| table.has_data() && wanted(&table.name)) {
        let mapping = job.mapping.table(&table.name);
        if mapping.is_some_and(|mapping| mapping.skip) {
            continue;
        }
        match known.iter().find(|map| map.source.eq_ignore_ascii_case(&table.name)) {
            None => new.push(format!("table {:?}", table.name)),
            // Its rows were not to come.
            Some(map) if map.without_data => {}
            Some(map) => {
                let is_new = |column: &str| {
                    !map.columns.iter().map(|known| &known.source).chain(&map.left_out).any(|known| known.eq_ignore_ascii_case(column))
                        && !mapping.is_some_and(|mapping| {
                            mapping.columns.iter().any(|(name, column_mapping)| name.eq_ignore_ascii_case(column) && column_mapping.skip)
                        })
                };
                new.extend(
                    table
                        .columns
                        .iter()
                        .filter(|column| is_new(&column.name))
                        .map(|column| format!("column {:?}.{:?}", table.name, column.name)),
                );
                let mut map = map.clone();
                // Rows that are gone from the source stay among those that are kept.
                map.kept_rows = None;
                match existing(&table.name) {
                    Some(what) => map.kept = what == Existing::Keep,
                    None if map.kept => mixed.push(table.name.clone()),
                    None => {}
                }
                maps.push(map);
            }
        }
    }
    if !new.is_empty() {
        let hint = "A new table: migrate --include it, or leave it out with --exclude. A new column: redo its table with migrate --include TABLE after dropping it.";
        bail!(Failure::new("new_in_source", format!("no run has copied {}", new.join(", "))).hint(hint));
    }
    if let Some(table) = mixed.first() {
        let which = mixed.join(", ");
        bail!(
            Failure::new(
                "kept_rows",
                format!("{which}: --existing keep left rows of the target's own here, which look like rows that the source has dropped")
            )
            .hint(format!(
                "Say --existing {table}=keep (what the target alone has stays), --existing {table}=truncate (it goes), or --exclude {table}."
            ))
        );
    }
    let is_gone = |name: &str| schema.table(name).is_none() && schema.unreadable.iter().all(|(unreadable, _)| unreadable != name);
    let is_skipped = |name: &str| job.mapping.table(name).is_some_and(|mapping| mapping.skip);
    let left = known.into_iter().filter(|map| is_gone(&map.source) && wanted(&map.source) && !is_skipped(&map.source));
    Ok((maps, left.collect()))
}

/// The maps with their tables on both sides.
pub fn pair_up(maps: Vec<CopyMap>, schema: &Schema, target: &TargetSchema) -> Result<Vec<Pair>> {
    let mut problems = Vec::new();
    let mut pairs = Vec::new();
    for mut map in maps {
        // That a text was clean was true of the rows that the earlier run has seen.
        map.columns.iter_mut().for_each(|column| column.conversion.text_is_clean = false);
        match pair(map, schema, target) {
            Ok(mut pair) => {
                problems.append(&mut pair.problems);
                pair.careful = pair.has_foreign_types();
                pair.takes_computed = true;
                pairs.push(pair);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        let hint = "A table whose columns have changed is copied anew: drop it, and migrate --include it.";
        bail!(Failure::new("shape_changed", problems.join("; ")).hint(hint));
    }
    Ok(pairs)
}

/// Identity columns go on where SQLite would.
pub fn sequences(job: &Job, schema: &Schema, target: &TargetSchema, pairs: &[Pair]) -> Result<Vec<(usize, SequencePlan)>> {
    let reader = job.snapshot.reader()?;
    let mut sequences = Vec::new();
    for (place, pair) in pairs.iter().enumerate() {
        let table = &schema.tables[pair.source];
        let Some(alias) = table.rowid_alias.map(|alias| &table.columns[alias].name) else { continue };
        let Some(column) = pair.map.columns.iter().find(|column| column.source.eq_ignore_ascii_case(alias)) else { continue };
        let relation = target.tables.iter().find(|relation| relation.name == pair.target);
        let counts = relation.is_some_and(|relation| {
            relation.columns.iter().any(|known| known.sequence && known.name.as_str() == column.target && !known.generated)
        });
        if counts && column.conversion.transform.is_none() {
            let last = reader.rowid_bounds(table).map(|(_, last)| last).max(table.sequence);
            sequences.push((place, SequencePlan { column: Name::new(column.target.as_str()), last }));
        }
    }
    Ok(sequences)
}
