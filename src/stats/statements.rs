//! pg_stat_statements of this database: is it there, since when does it count, and what is hidden.

use anyhow::{Result, bail};

use crate::model::Cell;
use crate::postgres::Observer;
use crate::stats::Unavailable;

/// What is known of the extension beside its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Statements {
    pub since: Option<String>,
    /// How often statements were thrown out because there were too many; none where the extension does not say.
    pub evictions: Option<i64>,
}

/// The first version with pg_stat_statements_info.
const WITH_INFO: (u32, u32) = (1, 9);

impl Statements {
    /// Unavailable where the extension is not installed in this database.
    pub async fn find(observer: &Observer) -> Result<Self> {
        let Some((version, _)) = &observer.server.statements else {
            bail!(Unavailable::new(
                format!("the extension pg_stat_statements is not installed in database {:?}", observer.server.database),
                "As a superuser: CREATE EXTENSION pg_stat_statements; it also has to be in shared_preload_libraries."
            ));
        };
        if parse(version) < Some(WITH_INFO) {
            return Ok(Statements { since: None, evictions: None });
        }
        let answer = observer.ask_statements(include_str!("queries/statements_info.sql"), &[]).await?;
        Ok(Statements {
            since: answer.value(0, "since").and_then(Cell::text).map(str::to_string),
            evictions: answer.value(0, "evictions").and_then(Cell::number).map(|number| number as i64),
        })
    }
}

/// `1.10` is (1, 10).
fn parse(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_texts() {
        assert!(parse("1.10") > Some(WITH_INFO) && parse("1.8") < Some(WITH_INFO) && parse("1.9") == Some(WITH_INFO));
    }
}
