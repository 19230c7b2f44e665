//! The one connection that an application on a file has: reads and writes, for load tests on a copy.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::model::Value;

pub struct Session {
    connection: Connection,
}

impl Session {
    /// Opens a file that may be written to, or makes it.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).with_context(|| format!("open {}", path.display()))?;
        connection.set_prepared_statement_cache_capacity(256);
        connection.authorizer(Some(only_this_file)).context("hold the connection to its file")?;
        Ok(Session { connection })
    }

    /// Runs one statement and reads all its rows; how many there were. The error is SQLite's own words.
    pub fn execute<'a>(&self, sql: &str, parameters: impl IntoIterator<Item = Value<'a>>) -> Result<u64, String> {
        let run = || -> rusqlite::Result<u64> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(parameters.into_iter().map(Bound)))?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                // Read as an application reads: every value.
                for column in 0..columns {
                    std::hint::black_box(row.get_ref(column)?);
                }
                count += 1;
            }
            Ok(count)
        };
        run().map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::AuthorizationForStatementDenied) => {
                "the load runs on a copy, and opens no other file (ATTACH, VACUUM INTO)".to_string()
            }
            _ => error.to_string(),
        })
    }

    /// Runs statements without parameters.
    pub fn execute_all(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).context("run statements on the SQLite copy")
    }

    /// Ends what a failed transaction left open.
    pub fn rollback(&self) {
        if !self.connection.is_autocommit() {
            // What cannot even be rolled back fails the next transaction, which tells of it.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// A copy that is loaded opens no other file, by ATTACH or by VACUUM INTO: it might be the very one that it was made of. VACUUM alone attaches one without
/// a name.
fn only_this_file(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Attach { filename: "" } => Authorization::Allow,
        AuthAction::Attach { .. } => Authorization::Deny,
        // A name that is computed, which the library does not tell.
        AuthAction::Unknown { code: rusqlite::ffi::SQLITE_ATTACH, .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }
}

/// Copies the file as it is now, with what its journal holds, to `target`. The file itself is only read.
pub fn copy(source: &Path, target: &Path) -> Result<()> {
    let source = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let mut target = Connection::open(target)?;
    rusqlite::backup::Backup::new(&source, &mut target)?.run_to_completion(i32::MAX, std::time::Duration::ZERO, None)?;
    Ok(())
}

/// A value as a parameter.
pub(super) struct Bound<'a>(pub Value<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(integer),
            Value::Real(real) => ValueRef::Real(real),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}
