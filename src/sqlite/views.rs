//! Whether SQLite itself can read a view with the rows that there are.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::sqlite::rows::quote;
use crate::sqlite::snapshot::Reader;

impl Reader<'_> {
    /// What SQLite says when it reads the view to its end; none when it does so, or has not come to an error within `most`.
    pub fn view_error(&self, view: &str, most: Duration) -> Result<Option<String>> {
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
        let is_late = |error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted);
        Ok(outcome.err().filter(|error| !is_late(error)).map(|error| error.to_string()))
    }
}
