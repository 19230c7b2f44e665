//! Whether what PostgreSQL computes is what the source has: the rows that were filled for a try are read back, and both sides digested as `verify`
//! digests them.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value as Json;
use tokio::runtime::Handle;

use super::Try;
use crate::digest::{Layout, RowDigest, SourceDigester, TargetDigester};
use crate::migrate::rehearse::{Differences, EXAMPLES};
use crate::migrate::{Job, careful, rejects};
use crate::model::Schema;
use crate::plan::{CopyMap, TablePlan};
use crate::postgres::{CopyRows, Fields, Transaction, TypeReader, database_error, sql_failure, statement};
use crate::sides::{Normaliser, items, layout};
use crate::sqlite::{Scan, Snapshot};

/// Rows whose digests are held at once: 32 bytes each.
const ROWS_AT_ONCE: u64 = 600_000;

/// Rows of the table that would be other than the source's, in what PostgreSQL computes; none where it computes nothing.
pub async fn differences(
    transaction: &Transaction<'_>,
    job: &Job,
    schema: &Arc<Schema>,
    plan: &TablePlan,
    one: &Try,
) -> Result<Differences> {
    let mut found = Differences::default();
    let mut map = plan.copy_map();
    for column in plan.columns.iter().filter(|column| column.computed) {
        // One that is computed when it is read may fail only then.
        transaction.batch_execute("SAVEPOINT computed").await?;
        match transaction.batch_execute(&statement::compute(&one.plan.target, &column.target)).await {
            Ok(()) => transaction.batch_execute("RELEASE SAVEPOINT computed").await?,
            Err(error) => {
                let error = anyhow::Error::from(error);
                let is_of_a_row = careful::is_about_rows(&error);
                let Some(refusal) = database_error(&error).filter(|_| is_of_a_row) else { return Err(sql_failure(error)) };
                found.unreadable.push((column.source.clone(), one.as_known(refusal.message())));
                transaction.batch_execute("ROLLBACK TO SAVEPOINT computed").await?;
                map.columns.retain(|known| known.target != column.target.as_str());
            }
        }
    }
    if !map.columns.iter().any(|column| column.computed) {
        return Ok(found);
    }
    let is_foreign = map.columns.iter().any(|column| !column.conversion.kind.has_binary_form());
    let types = if is_foreign { Some(Arc::new(TypeReader::connect(&job.address).await?)) } else { None };
    let layout = layout(&map, &schema.tables[plan.source_index]);
    let source =
        Arc::new(Source { snapshot: Arc::clone(&job.snapshot), schema: Arc::clone(schema), place: plan.source_index, map, layout, types });
    let readings = plan.rows / ROWS_AT_ONCE + 1;
    for reading in 0..u128::from(readings) {
        let is_meant = move |digest: &RowDigest| digest.key % u128::from(readings) == reading;
        let there = source.read(move |there: &mut Digests, digest, _| there.add(digest, is_meant(&digest))).await?;
        let mut odd = HashSet::new();
        let mut digester = TargetDigester::new(&source.map, &source.layout);
        let sql = statement::copy_out(&one.plan.target, &items(&source.map, &source.layout));
        let mut rows = CopyRows::open(transaction.client(), &sql).await.map_err(sql_failure)?;
        while let Some(row) = rows.next().await.map_err(sql_failure)? {
            let digest = digester.row(Fields::of(&row)).with_context(|| format!("read {} back", plan.target))?;
            // A row of the target's own, which stays, is none of the source's.
            let is_own = || source.map.kept && !there.keys.contains(&digest.key);
            if is_meant(&digest) && !there.rows.contains(&digest) && !is_own() {
                found.rows += 1;
                if odd.len() + found.keys.len() < EXAMPLES {
                    odd.insert(digest.key);
                }
            }
        }
        if !odd.is_empty() {
            let of_odd = move |keys: &mut Vec<Json>, digest: RowDigest, key: &dyn Fn() -> Json| {
                if odd.remove(&digest.key) {
                    keys.push(key());
                }
            };
            found.keys.extend(source.read(of_odd).await?);
        }
    }
    Ok(found)
}

/// The digests of a part of the source's rows, and those of their keys.
#[derive(Default)]
struct Digests {
    rows: HashSet<RowDigest>,
    keys: HashSet<u128>,
}

impl Digests {
    fn add(&mut self, digest: RowDigest, is_meant: bool) {
        if is_meant {
            self.rows.insert(digest);
            self.keys.insert(digest.key);
        }
    }
}

/// The source's rows, as they are compared.
struct Source {
    snapshot: Arc<Snapshot>,
    schema: Arc<Schema>,
    /// The table's place in the schema.
    place: usize,
    map: CopyMap,
    layout: Layout,
    types: Option<Arc<TypeReader>>,
}

impl Source {
    /// Shows every row that has a digest, with what gives its key.
    async fn read<T: Default + Send + 'static>(
        self: &Arc<Self>,
        mut visit: impl FnMut(&mut T, RowDigest, &dyn Fn() -> Json) + Send + 'static,
    ) -> Result<T> {
        let (source, runtime) = (Arc::clone(self), Handle::current());
        let read = move || -> Result<T> {
            let table = &source.schema.tables[source.place];
            let scanned: Vec<usize> = source.map.columns.iter().filter_map(|column| table.column_index(&column.source)).collect();
            let names: Vec<&str> = scanned.iter().map(|place| table.columns[*place].name.as_str()).collect();
            let digester = SourceDigester::new(&source.map, &source.layout, &names);
            let mut digester = digester.map_err(|name| anyhow!("column {name:?} is not read"))?;
            let mut normaliser = Normaliser::new(source.types.clone(), runtime);
            let mut state = T::default();
            source.snapshot.reader()?.scan(&Scan::table(table, &scanned), |row| {
                let digest = digester.row(|place| row.value(place), &mut normaliser);
                normaliser.check()?;
                if let Ok(digest) = digest {
                    visit(&mut state, digest, &|| rejects::key(table, &scanned, row));
                }
                Ok(())
            })?;
            Ok(state)
        };
        tokio::task::spawn_blocking(read).await.context("a reader of the source panicked")?
    }
}
