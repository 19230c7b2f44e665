//! The types of PostgreSQL, as far as candlefish tells them apart.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What a PostgreSQL column holds. Domains stand as their base type, with their own name in `ColumnType::sql`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeKind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `precision` and `scale` when the type limits them.
    Numeric {
        limits: Option<(u16, i16)>,
    },
    /// text, varchar; `max_chars` when the type limits them.
    Text {
        max_chars: Option<u32>,
    },
    /// character(n): PostgreSQL pads it with blanks.
    Char {
        chars: u32,
    },
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
    Enum {
        labels: Vec<String>,
    },
    /// Any other type: values go through PostgreSQL's own input function, as text.
    Other,
}

/// A column's type: its meaning and its SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnType {
    pub kind: TypeKind,
    /// As PostgreSQL's `format_type` writes it: `numeric(10,2)`, `timestamp with time zone`.
    pub sql: Cow<'static, str>,
}

impl ColumnType {
    pub fn new(kind: TypeKind) -> Self {
        let sql = kind.sql();
        ColumnType { kind, sql }
    }
}

impl TypeKind {
    pub const NUMERIC: TypeKind = TypeKind::Numeric { limits: None };
    pub const TEXT: TypeKind = TypeKind::Text { max_chars: None };

    /// The SQL of a built-in type; `text` for those that have a name of their own.
    fn sql(&self) -> Cow<'static, str> {
        match self {
            TypeKind::Bool => "boolean".into(),
            TypeKind::Int2 => "smallint".into(),
            TypeKind::Int4 => "integer".into(),
            TypeKind::Int8 => "bigint".into(),
            TypeKind::Float4 => "real".into(),
            TypeKind::Float8 => "double precision".into(),
            TypeKind::Numeric { limits: None } => "numeric".into(),
            TypeKind::Numeric { limits: Some((precision, scale)) } => format!("numeric({precision},{scale})").into(),
            TypeKind::Text { max_chars: None } | TypeKind::Enum { .. } | TypeKind::Other => "text".into(),
            TypeKind::Text { max_chars: Some(n) } => format!("character varying({n})").into(),
            TypeKind::Char { chars } => format!("character({chars})").into(),
            TypeKind::Bytea => "bytea".into(),
            TypeKind::Date => "date".into(),
            TypeKind::Time => "time without time zone".into(),
            TypeKind::Timestamp => "timestamp without time zone".into(),
            TypeKind::TimestampTz => "timestamp with time zone".into(),
            TypeKind::Uuid => "uuid".into(),
            TypeKind::Json => "json".into(),
            TypeKind::Jsonb => "jsonb".into(),
        }
    }

    /// True when the type is collatable text, which a derived schema marks `COLLATE "C"`.
    pub fn is_text(&self) -> bool {
        matches!(self, TypeKind::Text { .. } | TypeKind::Char { .. })
    }

    /// True when COPY BINARY can carry it: candlefish knows its bytes.
    pub fn has_binary_form(&self) -> bool {
        !matches!(self, TypeKind::Other)
    }
}
