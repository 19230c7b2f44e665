//! pg_stat_statements of this database: is it there, since when does it count, and what is hidden.

use anyhow::{Result, bail};

use crate::model::Cell;
use crate::postgres::{Observer, Type};
use crate::stats::Unavailable;

/// What is known of the extension beside its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Statements {
    /// Where it is, quoted.
    pub schema: String,
    pub since: Option<String>,
    /// How often statements were thrown out because there were too many; none where the extension does not say.
    pub evictions: Option<i64>,
}

/// The first version with pg_stat_statements_info.
const WITH_INFO: (u32, u32) = (1, 9);

impl Statements {
    /// Unavailable where the extension is not installed in this database, or closed to this user.
    pub async fn find(observer: &Observer) -> Result<Self> {
        let Some((version, schema)) = observer.statements().await? else {
            let answer = observer.ask(include_str!("queries/preloaded.sql"), &[]).await?;
            let reason = format!("the extension pg_stat_statements is not installed in database {:?}", observer.server.database);
            bail!(Unavailable::new(reason, to_install(answer.value(0, "libraries").and_then(Cell::text))));
        };
        let rights = observer.ask(include_str!("queries/statements_rights.sql"), &[(&schema, Type::TEXT)]).await?;
        let is_closed = |right: &str| rights.value(0, right) == Some(&Cell::Bool(false));
        let user = &observer.server.user;
        if is_closed("reach") {
            let remedy = format!("GRANT USAGE ON SCHEMA {schema} TO {user}; -- as its owner or a superuser");
            bail!(Unavailable::new(format!("pg_stat_statements is in the schema {schema}, which is closed to {user}"), remedy));
        }
        if is_closed("read") {
            let remedy = format!("GRANT SELECT ON {schema}.pg_stat_statements TO {user}; -- as its owner or a superuser");
            bail!(Unavailable::new(format!("{user} may not read pg_stat_statements"), remedy));
        }
        if parse(&version) < Some(WITH_INFO) {
            return Ok(Statements { schema, since: None, evictions: None });
        }
        let answer = observer.ask_in(&schema, include_str!("queries/statements_info.sql"), &[]).await?;
        Ok(Statements {
            schema,
            since: answer.value(0, "since").and_then(Cell::text).map(str::to_string),
            evictions: answer.value(0, "evictions").and_then(Cell::number).map(|number| number as i64),
        })
    }
}

/// What installs it, given what is preloaded; none where that is hidden from this user.
fn to_install(preloaded: Option<&str>) -> String {
    const CREATE: &str = "CREATE EXTENSION pg_stat_statements; -- as a superuser";
    const NAME: &str = "pg_stat_statements";
    let libraries: Option<Vec<&str>> =
        preloaded.map(|names| names.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty()).collect());
    match libraries {
        Some(there) if there.contains(&NAME) => CREATE.to_string(),
        Some(there) => {
            // Each in quotes of its own: one pair around all of them names a library that is not there, and no server starts.
            let all: Vec<String> = there.into_iter().chain([NAME]).map(|name| format!("'{name}'")).collect();
            format!("ALTER SYSTEM SET shared_preload_libraries = {}; /* restart the server, then */ {CREATE}", all.join(", "))
        }
        None => format!(
            "{CREATE}; where SHOW shared_preload_libraries does not name it, it has to be put there first, and the server restarted"
        ),
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
    fn what_is_preloaded_stays_so() {
        assert_eq!(to_install(Some("auto_explain, pg_stat_statements")), "CREATE EXTENSION pg_stat_statements; -- as a superuser");
        let both = to_install(Some("auto_explain"));
        assert!(both.starts_with("ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';"), "{both}");
        assert!(to_install(Some("")).contains(" = 'pg_stat_statements';"));
    }

    #[test]
    fn versions_are_numbers_not_texts() {
        assert!(parse("1.10") > Some(WITH_INFO) && parse("1.8") < Some(WITH_INFO) && parse("1.9") == Some(WITH_INFO));
    }
}
