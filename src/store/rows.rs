//! Rows as PostgreSQL's own binary values in one immutable buffer: the same bytes in memory, in Redis and fresh from the database, read by the
//! same code, so that a value's type never depends on where the answer came from.

use std::error::Error;

use bytes::{BufMut as _, Bytes};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Column, Row as WireRow};

use crate::store::StoreError;

/// Rows of one answer. Cheap to clone: a small answer lies in it, a large one is shared.
///
/// The buffer: rows `u32`, columns `u16`; per column its type's OID `u32`, the length of its name `u16`, its name; then where each row begins,
/// `u32` from the first value; then the values, each its length `i32` (-1 is NULL) and its bytes. Numbers are little-endian.
#[derive(Clone)]
pub struct Rows {
    buffer: Buffer,
    /// Where the rows' beginnings stand.
    offsets: u32,
    len: u32,
}

/// The bytes of an answer. To share them is to count who does, in a place of their own; where they are few, to copy them is less.
#[derive(Clone)]
enum Buffer {
    Inline(u8, [u8; Rows::INLINE]),
    Shared(Bytes),
}

/// One row of [`Rows`].
#[derive(Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    at: usize,
}

impl Rows {
    /// The largest answer, in bytes, that is copied where a larger one is shared.
    const INLINE: usize = 118;

    fn new(bytes: Bytes, offsets: usize, len: usize) -> Option<Self> {
        let (offsets, len) = (u32::try_from(offsets).ok()?, u32::try_from(len).ok()?);
        let buffer = match u8::try_from(bytes.len()) {
            Ok(length) if bytes.len() <= Rows::INLINE => {
                let mut inline = [0; Rows::INLINE];
                inline[..bytes.len()].copy_from_slice(&bytes);
                Buffer::Inline(length, inline)
            }
            _ => Buffer::Shared(bytes),
        };
        Some(Rows { buffer, offsets, len })
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when the bytes lie in it, and a clone counts nothing.
    #[inline]
    pub(super) fn is_inline(&self) -> bool {
        matches!(self.buffer, Buffer::Inline(..))
    }

    /// The row at this place, from 0. Panics past the end.
    pub fn row(&self, index: usize) -> Row<'_> {
        assert!(index < self.len(), "row {index} of {}", self.len);
        let offsets = self.offsets as usize;
        let at = read_u32(self.as_bytes(), offsets + 4 * index) as usize;
        Row { rows: self, at: offsets + 4 * self.len() + at }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }

    /// Name and type of each column. Types that are not PostgreSQL's own are `unknown`.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Type)> {
        let bytes = self.as_bytes();
        let mut at = 6;
        (0..self.width()).map(move |_| {
            let oid = read_u32(bytes, at);
            let length = usize::from(read_u16(bytes, at + 4));
            let name = &bytes[at + 6..at + 6 + length];
            at += 6 + length;
            (std::str::from_utf8(name).unwrap_or_default(), Type::from_oid(oid).unwrap_or(Type::UNKNOWN))
        })
    }

    /// The buffer itself.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.buffer {
            Buffer::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Buffer::Shared(bytes) => bytes,
        }
    }

    /// Takes a buffer that came from outside; None when it is not one of rows, whole.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let len = usize::try_from(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
        let width = u16::from_le_bytes(bytes.get(4..6)?.try_into().ok()?);
        let mut at = 6;
        for _ in 0..width {
            let length = usize::from(u16::from_le_bytes(bytes.get(at + 4..at + 6)?.try_into().ok()?));
            std::str::from_utf8(bytes.get(at + 6..at + 6 + length)?).ok()?;
            at += 6 + length;
        }
        let offsets = at;
        at = offsets.checked_add(len.checked_mul(4)?)?;
        let values = at;
        for index in 0..len {
            let begin = bytes.get(offsets + 4 * index..offsets + 4 * index + 4)?;
            if u32::from_le_bytes(begin.try_into().ok()?) as usize != at - values {
                return None;
            }
            for _ in 0..width {
                let length = i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
                at = at + 4 + usize::try_from(length.max(0)).ok()?;
            }
        }
        if at == bytes.len() { Rows::new(bytes, offsets, len) } else { None }
    }

    fn width(&self) -> u16 {
        read_u16(self.as_bytes(), 4)
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Rows {}

impl std::fmt::Debug for Rows {
    /// Shapes only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({} rows, {} bytes)", self.len, self.as_bytes().len())
    }
}

impl<'a> Row<'a> {
    /// The value of the column at this place, from 0. A wrong type or place is an error, as is NULL where `T` is no Option.
    pub fn get<T: FromSql<'a>>(&self, column: usize) -> Result<T, StoreError> {
        let (name, column_type) =
            self.rows.columns().nth(column).ok_or_else(|| StoreError::misuse(format!("the answer has no column {column}")))?;
        if !T::accepts(&column_type) {
            let asked = std::any::type_name::<T>();
            return Err(StoreError::misuse(format!("column {name:?} is of type {column_type}, which is no {asked}")));
        }
        T::from_sql_nullable(&column_type, self.raw(column))
            .map_err(|error| StoreError::misuse(format!("column {name:?} of type {column_type}: {error}")))
    }

    /// The value of the column with this name.
    pub fn named<T: FromSql<'a>>(&self, name: &str) -> Result<T, StoreError> {
        let column = self.rows.columns().position(|(column, _)| column == name);
        self.get(column.ok_or_else(|| StoreError::misuse(format!("the answer has no column {name:?}")))?)
    }

    /// The value's bytes as PostgreSQL sent them; None is NULL. Panics past the last column.
    pub fn raw(&self, column: usize) -> Option<&'a [u8]> {
        let width = usize::from(self.rows.width());
        assert!(column < width, "column {column} of {width}");
        let bytes = self.rows.as_bytes();
        let mut at = self.at;
        for _ in 0..column {
            at += 4 + usize::try_from(read_u32(bytes, at).cast_signed()).unwrap_or(0);
        }
        let length = usize::try_from(read_u32(bytes, at).cast_signed()).ok()?;
        Some(&bytes[at + 4..at + 4 + length])
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Gathers the rows of one answer as they come.
pub(super) struct RowsBuilder {
    /// The columns of the first row; an answer without rows is kept without them.
    columns: Vec<u8>,
    width: u16,
    values: Vec<u8>,
    offsets: Vec<u32>,
    limit: usize,
}

impl RowsBuilder {
    /// `limit`: the most bytes of values.
    pub fn new(limit: usize) -> Self {
        RowsBuilder { columns: Vec::new(), width: 0, values: Vec::new(), offsets: Vec::new(), limit: limit.min(i32::MAX as usize) }
    }

    pub fn push(&mut self, row: &WireRow) -> Result<(), StoreError> {
        if self.offsets.is_empty() {
            self.describe(row.columns())?;
            // As many bytes as the values take here: on the wire each has a length as well.
            self.values.reserve(row.raw_size_bytes());
        }
        let too_large = StoreError::TooLarge { limit: self.limit };
        if self.values.len() + row.raw_size_bytes() > self.limit {
            return Err(too_large);
        }
        self.offsets.push(u32::try_from(self.values.len()).map_err(|_| too_large)?);
        for column in 0..row.len() {
            let Raw(value) = row.try_get(column).map_err(|error| StoreError::of(&error))?;
            match value {
                // The wire's own lengths are i32.
                Some(value) => {
                    self.values.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
                    self.values.put_slice(value);
                }
                None => self.values.put_i32_le(-1),
            }
        }
        Ok(())
    }

    fn describe(&mut self, columns: &[Column]) -> Result<(), StoreError> {
        let short = |length: usize| u16::try_from(length).map_err(|_| StoreError::misuse("a column's name is too long"));
        self.width = short(columns.len())?;
        self.columns.reserve(columns.iter().map(|column| 6 + column.name().len()).sum());
        for column in columns {
            self.columns.put_u32_le(column.type_().oid());
            self.columns.put_u16_le(short(column.name().len())?);
            self.columns.put_slice(column.name().as_bytes());
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Rows, StoreError> {
        let mut bytes = Vec::with_capacity(6 + self.columns.len() + 4 * self.offsets.len() + self.values.len());
        bytes.put_u32_le(u32::try_from(self.offsets.len()).unwrap_or(u32::MAX));
        bytes.put_u16_le(self.width);
        bytes.put_slice(&self.columns);
        let offsets = bytes.len();
        self.offsets.iter().for_each(|offset| bytes.put_u32_le(*offset));
        bytes.put_slice(&self.values);
        Rows::new(bytes.into(), offsets, self.offsets.len()).ok_or(StoreError::TooLarge { limit: self.limit })
    }
}

/// Any value, as its bytes.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
impl Rows {
    /// One row of one text.
    pub(super) fn of_text(text: &str) -> Self {
        let mut bytes = Vec::new();
        bytes.put_u32_le(1);
        bytes.put_u16_le(1);
        bytes.put_u32_le(Type::TEXT.oid());
        bytes.put_u16_le(1);
        bytes.put_slice(b"t");
        bytes.put_u32_le(0);
        bytes.put_u32_le(u32::try_from(text.len()).unwrap());
        bytes.put_slice(text.as_bytes());
        Rows::from_bytes(bytes.into()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bytes {
        let mut bytes = Vec::new();
        bytes.put_u32_le(2);
        bytes.put_u16_le(2);
        for (oid, name) in [(Type::INT8.oid(), "id"), (Type::TEXT.oid(), "name")] {
            bytes.put_u32_le(oid);
            bytes.put_u16_le(u16::try_from(name.len()).unwrap());
            bytes.put_slice(name.as_bytes());
        }
        bytes.put_u32_le(0);
        bytes.put_u32_le(18);
        for (id, name) in [(7_i64, Some("ab")), (8, None)] {
            bytes.put_u32_le(8);
            bytes.put_i64(id);
            match name {
                Some(name) => {
                    bytes.put_u32_le(u32::try_from(name.len()).unwrap());
                    bytes.put_slice(name.as_bytes());
                }
                None => bytes.put_i32_le(-1),
            }
        }
        bytes.into()
    }

    #[test]
    fn values_keep_their_types() {
        let rows = Rows::from_bytes(sample()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.row(0).get::<i64>(0).unwrap(), 7);
        assert_eq!(rows.row(0).named::<&str>("name").unwrap(), "ab");
        assert_eq!(rows.row(1).named::<Option<&str>>("name").unwrap(), None);
        assert!(rows.row(1).named::<&str>("name").is_err(), "NULL is not a text");
        assert!(rows.row(0).get::<i32>(0).is_err(), "an int8 is not an i32");
        assert!(rows.row(0).get::<i64>(2).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_buffer_is_refused_and_never_read_past_its_end(at in 0_usize..64, byte in 0_u8.., cut in 0_usize..64) {
            let mut bytes = sample().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 8));
            if let Some(rows) = Rows::from_bytes(bytes.into()) {
                for row in rows.iter() {
                    for column in 0..rows.columns().count() {
                        let _ = row.raw(column);
                    }
                }
            }
        }
    }
}
