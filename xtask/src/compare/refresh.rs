//! A refresh after one row in a thousand has changed, beside the copy of everything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use super::Contestant;
use super::bed::{Bed, read};
use super::peers::{count_rows, whole};

/// Of a thousand rows of the tables that hold nearly all of a registry, about eight tenths changed, a tenth gone, a tenth new, all over the table.
const CHANGES: &str = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN;
    UPDATE health_metrics SET cpu_usage = coalesce(cpu_usage, 0) + 1.25 WHERE id * 7919 % 1250 = 3;
    DELETE FROM health_metrics WHERE id * 7919 % 10000 = 17;
    INSERT INTO health_metrics SELECT id + (SELECT max(id) FROM health_metrics), service_id, metric_type, 1, 1, 1, 200, 1, NULL, created_at
        FROM health_metrics WHERE id * 7919 % 10000 = 29;
    UPDATE logs SET message = message || '!' WHERE id * 7919 % 1250 = 3;
    DELETE FROM logs WHERE id * 7919 % 10000 = 17;
    COMMIT";

/// The whole copy; a refresh with nothing to do; and one after the changes, whose result is verified each time.
pub fn all<'a>(bed: &'a Bed, scale: u32) -> Result<Vec<Contestant<'a>>> {
    let source = bed.registry(scale)?;
    let changed = changed(bed, &source, scale)?;
    let contestant = |name: &str, about: &str, after: PathBuf| -> Result<Contestant<'a>> {
        let (before, checked) = (source.clone(), after.clone());
        Ok(Contestant {
            name: name.into(),
            about: about.into(),
            rows: count_rows(&after)?,
            prepare: Box::new(move |url| read(bed.migrate(&before, url, &["--verify", "none"])).map(|_| ())),
            command: Box::new(move |url| {
                let mut command = bed.candlefish(&["--quiet", "migrate"]);
                command.arg(&after).args(["--to", url, "--refresh", "--yes"]);
                command
            }),
            check: Some(Box::new(move |url| {
                let mut verify = bed.candlefish(&["--quiet", "verify"]);
                verify.arg(&checked).args(["--to", url]);
                read(verify).map(|_| ()).context("the refresh left a difference")
            })),
        })
    };
    let still = contestant("refresh-still", "candlefish migrate --refresh, where nothing has changed", source.clone())?;
    let refresh = contestant("refresh", "candlefish migrate --refresh, after 0.1 % of the rows have changed", changed)?;
    Ok(vec![Contestant { name: "migrate".into(), ..whole(bed, scale)? }, refresh, still])
}

/// A copy of the registry in which one row in a thousand is another.
fn changed(bed: &Bed, source: &Path, scale: u32) -> Result<PathBuf> {
    let file = bed.file(&format!("registry-{scale}-changed.db"));
    fs::copy(source, &file).context("copy the registry")?;
    Connection::open(&file)?.execute_batch(CHANGES).context("change the registry")?;
    Ok(file)
}
