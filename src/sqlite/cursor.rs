//! One statement, stepped through SQLite's C interface: a row's values are fetched once each, and borrowed until the next step.
//!
//! A migration fetches each value of the source twice, in all perhaps billions of them; rusqlite's own way to a value asks SQLite four
//! times for it, under a lock and with checks that a statement of ours cannot fail.

use std::ffi::c_int;
use std::slice;

use rusqlite::{Connection, ffi};

use crate::model::Value;

/// An open statement; finalized when dropped.
pub(super) struct Cursor<'c> {
    connection: &'c Connection,
    /// Not null, and used by nobody else.
    statement: *mut ffi::sqlite3_stmt,
    /// Of the row that the statement stands on: they borrow SQLite's memory, which the next step may reuse, and leave this struct only
    /// under the lifetime of a `&mut self`.
    values: Vec<Value<'static>>,
    /// The bytes of texts that SQLite cannot say in UTF-8, by their column; `values` may borrow them.
    broken: Vec<Vec<u8>>,
}

impl<'c> Cursor<'c> {
    /// Prepares one statement, with its first two parameters where it has them.
    pub(super) fn open(connection: &'c Connection, sql: &str, parameters: Option<(i64, i64)>) -> rusqlite::Result<Self> {
        // SAFETY: the handle is open as long as `connection` is borrowed.
        let handle = unsafe { connection.handle() };
        let mut statement = std::ptr::null_mut();
        let length = c_int::try_from(sql.len()).expect("a SELECT of ours is no gigabyte");
        // SAFETY: `sql` is `length` bytes long; SQLite keeps no pointer to it.
        let code = unsafe { ffi::sqlite3_prepare_v3(handle, sql.as_ptr().cast(), length, 0, &mut statement, std::ptr::null_mut()) };
        if code != ffi::SQLITE_OK || statement.is_null() {
            return Err(error(connection, code));
        }
        // SAFETY: the statement was just prepared.
        let columns = unsafe { ffi::sqlite3_column_count(statement) } as usize;
        let cursor = Cursor { connection, statement, values: vec![Value::Null; columns], broken: vec![Vec::new(); columns] };
        for (place, parameter) in parameters.into_iter().flat_map(|(first, second)| [(1, first), (2, second)]) {
            // SAFETY: the statement is open.
            match unsafe { ffi::sqlite3_bind_int64(statement, place, parameter) } {
                ffi::SQLITE_OK => {}
                code => return Err(error(connection, code)),
            }
        }
        Ok(cursor)
    }

    /// Steps to the next row; none at the end.
    pub(super) fn next(&mut self) -> rusqlite::Result<Option<&[Value<'_>]>> {
        // SAFETY: the statement is open, and `&mut self` says that nobody holds values of the row before.
        match unsafe { ffi::sqlite3_step(self.statement) } {
            ffi::SQLITE_ROW => {}
            ffi::SQLITE_DONE => return Ok(None),
            code => return Err(error(self.connection, code)),
        }
        for (place, value) in self.values.iter_mut().enumerate() {
            // SAFETY: the statement stands on a row, and `place` is less than its number of columns.
            *value = unsafe { fetch(self.statement, place as c_int, &mut self.broken[place]) };
        }
        Ok(Some(&self.values))
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // SAFETY: the statement is open and not used again. What it returns is the last step's error, which the step has reported.
        unsafe { ffi::sqlite3_finalize(self.statement) };
    }
}

/// The value in a column of the row that the statement stands on.
///
/// # Safety
/// The value must not be used after the statement's next step, nor after the next use of `broken`.
#[inline]
unsafe fn fetch(statement: *mut ffi::sqlite3_stmt, place: c_int, broken: &mut Vec<u8>) -> Value<'static> {
    // SAFETY: such a value is "unprotected": it may be looked into as long as no other thread uses the connection, and readers are never shared.
    unsafe {
        let value = ffi::sqlite3_column_value(statement, place);
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT if ffi::sqlite3_value_encoding(value) != ffi::SQLITE_UTF8 && halves(value, broken) => {
                Value::Text(bytes(broken.as_ptr(), broken.len() as c_int))
            }
            // The text first, then its length: a database in UTF-16 is read as UTF-8 from then on.
            ffi::SQLITE_TEXT => Value::Text(bytes(ffi::sqlite3_value_text(value), ffi::sqlite3_value_bytes(value))),
            ffi::SQLITE_BLOB => Value::Blob(bytes(ffi::sqlite3_value_blob(value).cast(), ffi::sqlite3_value_bytes(value))),
            _ => Value::Null,
        }
    }
}

/// True for a text in UTF-16 with half of a surrogate pair, of which SQLite's own UTF-8 would make another character; `broken` then has the text with
/// the half as three bytes, which are no UTF-8.
///
/// # Safety
/// The value is a text of the row that its statement stands on.
unsafe fn halves(value: *mut ffi::sqlite3_value, broken: &mut Vec<u8>) -> bool {
    // SAFETY: as the caller promises; as a blob a text has the bytes that it has in the file, until it is asked for as another text.
    let (text, encoding) = unsafe {
        let start = ffi::sqlite3_value_blob(value).cast();
        (bytes(start, ffi::sqlite3_value_bytes(value)), ffi::sqlite3_value_encoding(value))
    };
    let unit = if encoding == ffi::SQLITE_UTF16BE { u16::from_be_bytes } else { u16::from_le_bytes };
    let units = || text.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    if char::decode_utf16(units()).all(|char| char.is_ok()) {
        return false;
    }
    broken.clear();
    for char in char::decode_utf16(units()) {
        match char {
            Ok(char) => broken.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let half = half.unpaired_surrogate();
                broken.extend([0xe0 | (half >> 12) as u8, 0x80 | (half >> 6 & 0x3f) as u8, 0x80 | (half & 0x3f) as u8]);
            }
        }
    }
    true
}

/// # Safety
/// `start` is null or the start of `length` bytes.
#[inline]
unsafe fn bytes(start: *const u8, length: c_int) -> &'static [u8] {
    // No bytes have no address. A text without one could not be converted for want of memory: it is read as empty, and the next step fails.
    if start.is_null() || length <= 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(start, length as usize) }
}

fn error(connection: &Connection, code: c_int) -> rusqlite::Error {
    // SAFETY: the handle is open as long as `connection` is borrowed; the message is copied before anything else is asked of it.
    let message = unsafe { std::ffi::CStr::from_ptr(ffi::sqlite3_errmsg(connection.handle())) };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_string_lossy().into_owned()))
}
