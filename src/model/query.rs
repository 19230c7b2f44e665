//! A query that a program declares once: its text, the types of its parameters, whether its answer may be kept, and what makes a kept answer old.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A declared query. Built as a constant:
///
/// ```
/// use std::time::Duration;
/// use candlefish::model::{ParamType, Query};
///
/// const SERVICE: Query = Query::cached("service detail", "SELECT id, name FROM services WHERE id = $1", &[ParamType::Int8])
///     .tags(&["service:{1}"])
///     .ttl(Duration::from_secs(60));
/// const RENAME: Query = Query::write("rename a service", "UPDATE services SET name = $2 WHERE id = $1", &[ParamType::Int8, ParamType::Text])
///     .tags(&["service:{1}", "services"])
///     .idempotent();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its name in metrics and in `cache explain`; unique within a program.
    pub name: &'static str,
    /// One statement, with parameters `$1`, `$2`, …
    pub sql: &'static str,
    pub params: &'static [ParamType],
    /// What a kept answer depends on, or what a write makes old; `{1}` is the text of the first parameter. At most [`Query::MAX_TAGS`].
    pub tags: &'static [&'static str],
    pub kind: QueryKind,
    /// How long an answer counts as fresh.
    pub ttl: Duration,
    /// The same for an answer without rows.
    pub negative_ttl: Duration,
    /// How long past `ttl` an answer may still be given, marked as stale, while the database is slow or down. Never past an invalidation.
    pub grace: Duration,
    /// With a stale answer at hand: how long to wait for the database before giving it.
    pub patience: Duration,
    /// The longest that the statement may run in the database; the caller's deadline may cut it shorter.
    pub timeout: Duration,
    /// A read: its answers stay out of the memory of instances, and every use is checked in Redis. A write: refused before COMMIT when Redis cannot be told.
    pub required: bool,
    /// A write that may be run again when nobody knows whether it ran.
    pub idempotent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKind {
    /// A read whose answer may be kept.
    Cached,
    /// A read that always asks the database.
    Read,
    /// Anything that changes rows; never kept.
    Write,
}

/// The types that parameters are sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Bytea,
    Uuid,
    Timestamptz,
    Json,
    Jsonb,
    Int8Array,
    TextArray,
}

impl Query {
    /// More tags than this, and the answer depends on too much to be worth keeping.
    pub const MAX_TAGS: usize = 6;

    /// A read whose answer may be kept: 5 minutes, 10 seconds when it is empty, no grace.
    pub const fn cached(name: &'static str, sql: &'static str, params: &'static [ParamType]) -> Self {
        Query {
            name,
            sql,
            params,
            tags: &[],
            kind: QueryKind::Cached,
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(10),
            grace: Duration::ZERO,
            patience: Duration::from_millis(100),
            timeout: Duration::from_secs(30),
            required: false,
            idempotent: false,
        }
    }

    /// A read that always asks the database.
    pub const fn read(name: &'static str, sql: &'static str, params: &'static [ParamType]) -> Self {
        Query { kind: QueryKind::Read, ..Query::cached(name, sql, params) }
    }

    /// A change. Its tags are what it makes old.
    pub const fn write(name: &'static str, sql: &'static str, params: &'static [ParamType]) -> Self {
        Query { kind: QueryKind::Write, ..Query::cached(name, sql, params) }
    }

    pub const fn tags(self, tags: &'static [&'static str]) -> Self {
        Query { tags, ..self }
    }

    pub const fn ttl(self, ttl: Duration) -> Self {
        Query { ttl, ..self }
    }

    pub const fn negative_ttl(self, negative_ttl: Duration) -> Self {
        Query { negative_ttl, ..self }
    }

    pub const fn grace(self, grace: Duration) -> Self {
        Query { grace, ..self }
    }

    pub const fn patience(self, patience: Duration) -> Self {
        Query { patience, ..self }
    }

    pub const fn timeout(self, timeout: Duration) -> Self {
        Query { timeout, ..self }
    }

    pub const fn required(self) -> Self {
        Query { required: true, ..self }
    }

    pub const fn idempotent(self) -> Self {
        Query { idempotent: true, ..self }
    }
}

/// A UUID, as sixteen bytes: a tag made of one is the same however a person spelt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = String;

    /// As PostgreSQL reads one: with or without hyphens and braces, in either case.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.trim_start_matches('{').trim_end_matches('}').chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("{text:?} is not a UUID"));
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|error| error.to_string())?;
        }
        Ok(Uuid(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_the_same_however_it_is_spelt() {
        let shown = "75736572-7300-8000-8000-000000000001";
        for spelt in [shown, "{75736572-7300-8000-8000-000000000001}", "75736572730080008000000000000001", &shown.to_uppercase()] {
            assert_eq!(spelt.parse::<Uuid>().unwrap().to_string(), shown);
        }
        assert!("75736572".parse::<Uuid>().is_err());
        assert!("é".repeat(16).parse::<Uuid>().is_err());
    }
}
