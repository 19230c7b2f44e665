//! Whether SQLite itself can read a view with the rows that there are.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rusqlite::ErrorCode;

use crate::sqlite::rows::quote;
use crate::sqlite::snapshot::Reader;

/// Why SQLite does not read a view.
#[derive(Debug, PartialEq, Eq)]
pub enum ViewError {
    /// What the view says, with the rows that there are: no such column, an unknown function.
    OfView(String),
    /// The file is damaged, or the disk under it.
    Damage(String),
}

impl Reader<'_> {
    /// What keeps SQLite from reading the view to its end; none when nothing does, or nothing has within `most`, or what does says nothing of the
    /// view or of the file.
    pub fn view_error(&self, view: &str, most: Duration) -> Result<Option<ViewError>> {
        let connection = self.connection();
        let read = || -> rusqlite::Result<()> {
            let mut statement = connection.prepare(&format!("SELECT * FROM main.{}", quote(view)))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        let (interrupt, (over, is_over)) = (connection.get_interrupt_handle(), mpsc::channel::<()>());
        let outcome = thread::scope(|scope| {
            scope.spawn(move || {
                if is_over.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            });
            let outcome = read();
            drop(over);
            outcome
        });
        Ok(outcome.err().and_then(|error| kind(&error)))
    }
}

fn kind(error: &rusqlite::Error) -> Option<ViewError> {
    let (said, cause) = (error.to_string(), error.sqlite_error());
    match cause.map(|cause| (cause.code, cause.extended_code)) {
        // A module that finds its own tables in disorder.
        None | Some((ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::ConstraintViolation, _)) => {
            Some(ViewError::OfView(said))
        }
        Some((_, rusqlite::ffi::SQLITE_CORRUPT_VTAB)) => Some(ViewError::OfView(said)),
        Some((ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure | ErrorCode::NotADatabase, _)) => Some(ViewError::Damage(said)),
        // It was interrupted, there is no memory for it, somebody has a lock.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::{OpenOptions, Snapshot};

    #[test]
    fn damage_is_not_the_views_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "CREATE TABLE t(a, b); CREATE INDEX ta ON t(a); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
                   INSERT INTO t SELECT i, 'b' || i FROM c;
                 CREATE VIEW sound AS SELECT b FROM t; CREATE VIEW own AS SELECT nosuch(a) FROM t; CREATE VIEW gone AS SELECT x FROM t;
                 CREATE VIEW sorted AS SELECT a FROM t INDEXED BY ta WHERE a > 0",
            )
            .unwrap();
        let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let (page, size) =
            (number("SELECT rootpage FROM sqlite_schema WHERE name = 'ta'"), number("SELECT page_size FROM pragma_page_size"));
        drop(database);
        let mut bytes = std::fs::read(&path).unwrap();
        let start = ((page - 1) * size) as usize;
        bytes[start..start + size as usize].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let snapshot = Snapshot::open(&path, &OpenOptions::default()).unwrap();
        let reader = snapshot.reader().unwrap();
        let error = |view: &str| reader.view_error(view, Duration::from_secs(60)).unwrap();
        assert_eq!(error("sound"), None);
        assert!(matches!(error("own"), Some(ViewError::OfView(said)) if said.contains("no such function: nosuch")));
        assert!(matches!(error("gone"), Some(ViewError::OfView(said)) if said.contains("no such column: x")));
        assert!(matches!(error("sorted"), Some(ViewError::Damage(said)) if said.contains("malformed")));
    }
}
