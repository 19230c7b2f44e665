//! PostgreSQL's types as kinds, with what each does to values without a word.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::GenericClient;

use crate::model::TypeKind;
use crate::plan::convert::Conversion;
use crate::plan::interval::Unit;
use crate::plan::rounding::Rounding;
use crate::postgres::statement;

/// The types of a database, by number.
pub struct Types {
    by_oid: HashMap<u32, Type>,
    /// Digits after the point that `money` keeps.
    money_digits: u8,
}

struct Type {
    name: String,
    /// What a domain is over.
    base: u32,
    typmod: i32,
    element: u32,
    bound: u32,
    /// It has an input function of its own, which an extension or PostgreSQL brings: its name can be known.
    is_base: bool,
    labels: Option<Vec<String>>,
}

impl Types {
    pub async fn read(client: &impl GenericClient) -> Result<Self> {
        let rows = client.query(include_str!("queries/types.sql"), &[]).await.context("read the types")?;
        let by_oid = rows.iter().map(|row| {
            let known = Type {
                name: row.get(1),
                base: row.get(2),
                typmod: row.get(3),
                element: row.get(4),
                bound: row.get(5),
                is_base: row.get(6),
                labels: row.get(7),
            };
            (row.get(0), known)
        });
        let by_oid = by_oid.collect();
        // By what is printed: of a point that is none in the locale, reading makes another number, or an error.
        let money = "SELECT CASE WHEN 1.5::numeric::money::text LIKE '%1.5%' THEN scale('1'::text::money::numeric) ELSE 0 END";
        let digits: i32 = client.query_one(money, &[]).await.context("ask what money keeps")?.get(0);
        Ok(Types { by_oid, money_digits: u8::try_from(digits).unwrap_or(0) })
    }

    /// How values become this type's, whose modifier is `typmod` (or -1); a domain's are its base type's.
    pub fn conversion(&self, oid: u32, typmod: i32) -> Conversion {
        let asked = || Conversion { rounding: Some(Rounding::Asked { ordered: true }), ..Conversion::new(TypeKind::Other) };
        let Some(known) = self.by_oid.get(&oid) else { return asked() };
        if known.base != 0 {
            return self.conversion(known.base, if typmod < 0 { known.typmod } else { typmod });
        }
        let part = |oid: u32, typmod: i32| Box::new(self.conversion(oid, typmod));
        if let Some(labels) = known.labels.clone() {
            return Conversion::new(TypeKind::Enum { labels });
        }
        let rounding = match (known.element, known.bound) {
            // Numbers one after the other, in no braces.
            _ if matches!(known.name.as_str(), "int2vector" | "oidvector") => return asked(),
            (0, 0) if oid >= FIRST_OF_USERS && !known.is_base => return asked(),
            (0, 0) => self.rounding(oid, &known.name, typmod),
            // An array's modifier is that of its elements.
            (element, 0) => Some(Rounding::Elements(part(element, typmod))),
            (_, bound) => Some(Rounding::Bounds(part(bound, -1))),
        };
        Conversion { rounding, ..Conversion::new(kind(oid, typmod)) }
    }

    /// What a type that is made of no others does to values.
    fn rounding(&self, oid: u32, name: &str, typmod: i32) -> Option<Rounding> {
        // An interval keeps its digits in the lower half, where all bits set are none, and its fields in the upper.
        let digits = u8::try_from(typmod & 0xffff).ok().filter(|digits| typmod >= 0 && *digits <= 6);
        match oid {
            1083 | 1114 | 1184 => digits.map(Rounding::Seconds),
            1266 => Some(Rounding::ZonedTime(digits.unwrap_or(6))),
            1186 => Some(match smallest_field(typmod) {
                Some(smallest) => Rounding::Fields(smallest),
                None => Rounding::Interval(digits.unwrap_or(6)),
            }),
            790 => Some(Rounding::Decimals(self.money_digits)),
            _ if kind(oid, typmod) != TypeKind::Other => None,
            // It keeps every text, and compares it in a way of its own.
            _ if oid >= FIRST_OF_USERS && name == "citext" => None,
            // What is a key twice is one pair less; the pairs come in an order of its own.
            _ if oid >= FIRST_OF_USERS && name == "hstore" => Some(Rounding::Asked { ordered: false }),
            _ if oid < FIRST_OF_USERS && (RESPELLED.contains(&name) || name.starts_with("reg") && name != "regtype") => None,
            _ => {
                let known = Some(name).filter(|name| oid < FIRST_OF_USERS || *name == "cube").and_then(Rounding::of_plain);
                known.or(Some(Rounding::Asked { ordered: true }))
            }
        }
    }
}

/// The types that a mapping names and only the server knows, by their names: what its columns of them would do to values.
pub async fn named_types(client: &impl GenericClient, names: &[&str]) -> Result<HashMap<String, Conversion>> {
    let mut named = HashMap::new();
    if names.is_empty() {
        return Ok(named);
    }
    let types = Types::read(client).await?;
    for name in names {
        // The answer's type is a domain's base type, with its modifier.
        let answer = client.prepare(&statement::null_of(name)).await.with_context(|| format!("ask what type {name} is"))?;
        let column = answer.columns().first().context("one column was asked for")?;
        named.insert((*name).to_string(), types.conversion(column.type_().oid(), column.type_modifier()));
    }
    Ok(named)
}

/// Types of PostgreSQL's own that may write a value in another way, and take none for another; so do those that name its objects.
const RESPELLED: [&str; 3] = ["bit", "varbit", "pg_lsn"];

/// From this number on types are those of extensions and users, whatever they are called.
const FIRST_OF_USERS: u32 = 16_384;

/// The smallest field of an interval that keeps no seconds, by the bits in its modifier.
fn smallest_field(typmod: i32) -> Option<Unit> {
    const SECOND: i32 = 1 << 12;
    const SMALLEST_FIRST: [(i32, Unit); 5] =
        [(1 << 11, Unit::Minute), (1 << 10, Unit::Hour), (1 << 3, Unit::Day), (1 << 1, Unit::Month), (1 << 2, Unit::Year)];
    let fields = typmod >> 16;
    let has_seconds = typmod < 0 || fields & SECOND != 0;
    SMALLEST_FIRST.iter().find(|(bit, _)| !has_seconds && fields & bit != 0).map(|(_, unit)| *unit)
}

/// The kind of a base type by its number, which is the same on every server.
fn kind(oid: u32, typmod: i32) -> TypeKind {
    // A length is stored with four bytes of header.
    let length = u32::try_from(typmod - 4).ok().filter(|_| typmod >= 4);
    match oid {
        16 => TypeKind::Bool,
        21 => TypeKind::Int2,
        23 => TypeKind::Int4,
        20 => TypeKind::Int8,
        700 => TypeKind::Float4,
        701 => TypeKind::Float8,
        1700 => TypeKind::Numeric { limits: length.map(numeric_limits) },
        25 => TypeKind::TEXT,
        1043 => TypeKind::Text { max_chars: length },
        // A bare bpchar has no length, and keeps every blank.
        1042 => length.map_or(TypeKind::TEXT, |chars| TypeKind::Char { chars }),
        17 => TypeKind::Bytea,
        1082 => TypeKind::Date,
        1083 => TypeKind::Time,
        1114 => TypeKind::Timestamp,
        1184 => TypeKind::TimestampTz,
        2950 => TypeKind::Uuid,
        114 => TypeKind::Json,
        3802 => TypeKind::Jsonb,
        _ => TypeKind::Other,
    }
}

/// Precision and scale out of a numeric's type modifier; the scale is 11 bits with a sign since version 15.
fn numeric_limits(packed: u32) -> (u16, i16) {
    let scale = (packed & 0x7ff) as i16;
    ((packed >> 16) as u16, if scale >= 1024 { scale - 2048 } else { scale })
}
