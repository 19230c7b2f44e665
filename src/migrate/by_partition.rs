//! The foreign key of a table that is made of partitions, where rows break it: before version 18 PostgreSQL has none there that is NOT VALID, but each
//! partition can have one.

use anyhow::Result;

use crate::migrate::finish;
use crate::model::{Name, QualifiedName};
use crate::plan::Warning;
use crate::plan::target::Rebuildable;
use crate::postgres::{Client, foreign_key_sides, partitions, statement};

/// One key for each partition that has rows.
pub struct Keys {
    /// What makes them all, NOT VALID.
    pub make: String,
    whole: QualifiedName,
    first: QualifiedName,
    name: Name,
}

/// The keys that stand for this one of `table`; none where no partition has rows.
pub async fn keys(client: &Client, table: &QualifiedName, object: &Rebuildable) -> Result<Option<Keys>> {
    let whole = object.on(table).clone();
    let with_rows: Vec<QualifiedName> =
        partitions(client, &whole).await?.into_iter().filter(|part| part.by.is_none()).map(|part| part.name).collect();
    let Some(first) = with_rows.first().cloned() else { return Ok(None) };
    let one = Rebuildable { partition: None, ..object.clone() };
    let each = with_rows.iter().filter_map(|part| statement::rebuild_object(part, &one, false).into_iter().next());
    Ok(Some(Keys { make: each.collect::<Vec<_>>().join(";\n"), whole, first, name: object.name.clone() }))
}

impl Keys {
    /// What is said of them once they are there.
    pub async fn not_valid(&self, client: &Client, label: &str) -> Result<Vec<Warning>> {
        let mut sides = foreign_key_sides(client, &self.first, &self.name).await?;
        sides.child = self.whole.to_string();
        let (count, texts) = sides.orphans(client).await?;
        Ok(vec![finish::not_valid_key(count, texts, label), note(label)])
    }
}

/// That a key is on the partitions.
pub fn note(label: &str) -> Warning {
    let message = "stands on each partition by itself, and not on one that is added: no row is to lack its parent when the whole gets it";
    Warning::note("foreign_key_by_partition", label, message)
}
