//! PostgreSQL's side: rows as binary COPY gives them back.

use crate::digest::moment::{MICROS_PER_DAY, POSTGRES_EPOCH_DAYS};
use crate::digest::{LARGE, Layout, NULL, RowBytes, RowDigest, VALUE, decimal, json, without_blanks, write_bytes};
use crate::model::TypeKind;
use crate::plan::CopyMap;

/// PostgreSQL's bytes are not those of the column's type: our mistake, not a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub column: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {:?}: PostgreSQL's bytes are not those of its type", self.column)
    }
}

impl std::error::Error for Unreadable {}

/// Digests rows whose fields come in the layout's order. Per row it allocates nothing (but for jsonb).
pub struct TargetDigester {
    columns: Vec<(String, TypeKind)>,
    key: usize,
    row: RowBytes,
}

impl TargetDigester {
    pub fn new(map: &CopyMap, layout: &Layout) -> Self {
        let column = |index: &usize| (map.columns[*index].target.clone(), map.columns[*index].conversion.kind.clone());
        TargetDigester { columns: layout.columns.iter().map(column).collect(), key: layout.key, row: RowBytes::default() }
    }

    /// The digest of a row; a field that is none is NULL.
    pub fn row<'f>(&mut self, mut fields: impl Iterator<Item = Option<&'f [u8]>>) -> Result<RowDigest, Unreadable> {
        self.row.clear();
        for (name, kind) in &self.columns {
            let written = match fields.next() {
                Some(Some(field)) if field.len() >= LARGE && is_own_bytes(kind) => {
                    self.row.bytes.push(VALUE);
                    self.row.write_large(field);
                    Some(())
                }
                Some(Some(field)) => {
                    self.row.bytes.push(VALUE);
                    write_field(kind, field, &mut self.row.bytes)
                }
                Some(None) => {
                    self.row.bytes.push(NULL);
                    Some(())
                }
                None => None,
            };
            written.ok_or_else(|| Unreadable { column: name.clone() })?;
            self.row.end_column();
        }
        Ok(self.row.digest(self.key))
    }

    /// A digest of each column of the last row, in the layout's order.
    pub fn columns(&self) -> Vec<u128> {
        self.row.columns()
    }
}

/// Types whose values are digested as they come.
fn is_own_bytes(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Text { .. } | TypeKind::Bytea | TypeKind::Json | TypeKind::Enum { .. } | TypeKind::Other)
}

fn write_field(kind: &TypeKind, field: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut integer = |number: i64| out.extend_from_slice(&number.to_le_bytes());
    match kind {
        TypeKind::Bool => out.push(u8::from(*field.first()? != 0)),
        TypeKind::Int2 => integer(i64::from(i16::from_be_bytes(field.try_into().ok()?))),
        TypeKind::Int4 => integer(i64::from(i32::from_be_bytes(field.try_into().ok()?))),
        TypeKind::Int8 => integer(i64::from_be_bytes(field.try_into().ok()?)),
        TypeKind::Float4 => out.extend_from_slice(&f32::from_be_bytes(field.try_into().ok()?).to_bits().to_le_bytes()),
        TypeKind::Float8 => out.extend_from_slice(&f64::from_be_bytes(field.try_into().ok()?).to_bits().to_le_bytes()),
        TypeKind::Numeric { .. } => return decimal::write_groups(field, out),
        TypeKind::Text { .. } | TypeKind::Bytea | TypeKind::Json | TypeKind::Enum { .. } | TypeKind::Other => write_bytes(field, out),
        TypeKind::Char { .. } => write_bytes(without_blanks(field), out),
        // Infinity keeps its number, which no text of SQLite has.
        TypeKind::Date => integer(i64::from(i32::from_be_bytes(field.try_into().ok()?)) + POSTGRES_EPOCH_DAYS),
        TypeKind::Time => integer(i64::from_be_bytes(field.try_into().ok()?)),
        TypeKind::Timestamp | TypeKind::TimestampTz => {
            let micros = i64::from_be_bytes(field.try_into().ok()?);
            integer(micros.saturating_add(POSTGRES_EPOCH_DAYS * MICROS_PER_DAY));
        }
        TypeKind::Uuid => out.extend_from_slice(<&[u8; 16]>::try_from(field).ok()?),
        TypeKind::Jsonb => {
            // One byte of version comes first.
            let text = std::str::from_utf8(field.get(1..)?).ok()?;
            json::write_meaning(text, out)?;
        }
    }
    Some(())
}

/// A binary numeric as people write it.
pub fn numeric_text(field: &[u8]) -> Option<String> {
    let mut canonical = Vec::new();
    decimal::write_groups(field, &mut canonical)?;
    match decimal::shown(&canonical) {
        Some(text) => Some(text),
        None => Some(match field.get(4..6)? {
            [0xd0, 0] => "Infinity".into(),
            [0xf0, 0] => "-Infinity".into(),
            _ => "NaN".into(),
        }),
    }
}
