//! Materialized views, brought up to date while people read them.

use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use crate::model::{Name, QualifiedName, RefreshedView};
use crate::postgres::statement;

/// Refreshes every materialized view of a schema, concurrently wherever PostgreSQL can; where it cannot, the report says why.
pub async fn refresh_materialized_views(client: &Client, schema: &Name) -> Result<Vec<RefreshedView>> {
    let rows = client
        .query(include_str!("queries/materialized_views.sql"), &[&schema.as_str()])
        .await
        .with_context(|| format!("list the materialized views of schema {schema}"))?;
    let mut refreshed = Vec::with_capacity(rows.len());
    for row in rows {
        let view = QualifiedName::new(schema.clone(), row.try_get::<_, String>("name")?);
        let reason = if !row.try_get::<_, bool>("populated")? {
            Some("it was empty".to_string())
        } else if !row.try_get::<_, bool>("has_unique_index")? {
            Some("it has no unique index on plain columns".to_string())
        } else {
            None
        };
        let started = Instant::now();
        client
            .batch_execute(&statement::refresh_materialized_view(&view, reason.is_none()))
            .await
            .with_context(|| format!("refresh materialized view {view}"))?;
        refreshed.push(RefreshedView {
            view: view.to_string(),
            concurrently: reason.is_none(),
            seconds: started.elapsed().as_secs_f64(),
            reason,
        });
    }
    Ok(refreshed)
}
