//! The mapping file: the one way to say more than the data says. TOML; renames, types, transforms, skips.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::model::{ColumnType, Failure, Schema, Table, TypeKind};
use crate::plan::decision::{CopyColumn, CopyMap};
use crate::plan::source_tz::SourceTz;
use crate::plan::transform::{BadText, Inexact, Transform};

/// Every table and column that a mapping speaks of, by its name in SQLite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableMapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableMapping {
    /// The table's name in PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Leave the table out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnMapping>,
    /// More columns in PostgreSQL, each filled from a column of SQLite; the key is the new column's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, AddedColumn>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMapping {
    /// The column's name in PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Leave the column out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    /// The type in PostgreSQL, as SQL.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
    #[serde(default, skip_serializing_if = "Transform::is_none")]
    pub transform: Transform,
    /// What to do with text that is not UTF-8 or contains NUL.
    #[serde(default, skip_serializing_if = "BadText::is_reject")]
    pub bad_text: BadText,
    /// What to do with a number or a time of which the type keeps less.
    #[serde(default, skip_serializing_if = "Inexact::is_reject")]
    pub inexact: Inexact,
    /// Where times without an offset were written; else `--source-tz` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_tz: Option<SourceTz>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// The column of SQLite that fills it.
    pub from: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
    #[serde(default, skip_serializing_if = "Transform::is_none")]
    pub transform: Transform,
    #[serde(default, skip_serializing_if = "BadText::is_reject")]
    pub bad_text: BadText,
    /// What to do with a number or a time of which the type keeps less.
    #[serde(default, skip_serializing_if = "Inexact::is_reject")]
    pub inexact: Inexact,
    /// Where times without an offset were written; else `--source-tz` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_tz: Option<SourceTz>,
}

const KEYS: [&str; 10] = ["tables", "target", "skip", "columns", "add", "type", "transform", "bad_text", "inexact", "source_tz"];

impl Mapping {
    /// Reads the text of a mapping file; an error says line, column and, for an unknown key, which one may have been meant.
    pub fn parse(text: &str) -> Result<Self> {
        match toml::from_str(text) {
            Ok(mapping) => Ok(mapping),
            Err(error) => {
                let (line, column) = error.span().map_or((1, 1), |span| position(text, span.start));
                let message = error.message().trim().to_string();
                let mut failure = Failure::new("bad_mapping", format!("line {line}, column {column}: {message}"))
                    .hint("A mapping is TOML: tables such as [tables.users.columns.id], with target, type, transform, bad_text, inexact, source_tz or skip.");
                if let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
                    && let Some(meant) = closest(unknown, KEYS.iter().copied())
                {
                    failure = failure.hint(format!("Did you mean `{meant}`?"));
                }
                bail!(failure);
            }
        }
    }

    /// Every decision behind these copies, said again: names, types, transforms, and what is left out. A plan made with it decides none of them anew.
    pub fn of(source: &Schema, maps: &[CopyMap]) -> Self {
        let table = |table: &Table| match maps.iter().find(|map| map.source.eq_ignore_ascii_case(&table.name)) {
            Some(map) => TableMapping::of(table, map),
            None => TableMapping { skip: true, ..TableMapping::default() },
        };
        let tables = source.tables.iter().filter(|table| table.has_data());
        Mapping { tables: tables.map(|source| (source.name.clone(), table(source))).collect() }
    }

    /// The text of a mapping file, for a person to read and change.
    pub fn to_file(&self, source: &str) -> Result<String> {
        let source = source.replace(char::is_control, " ");
        let head = format!(
            "# Every decision for {source}: names and types in PostgreSQL, transforms, and what is left out.\n\
             # Use it with --mapping. What other flags say (--schema, --names for indexes and views, --collation,\n\
             # --exclude-data) stands beside it. A type that is deleted here is decided from the data again.\n\n"
        );
        Ok(head + &toml::to_string(self).context("write the mapping as TOML")?)
    }

    /// SQLite compares names without regard to ASCII case, and so does a mapping.
    pub fn table(&self, name: &str) -> Option<&TableMapping> {
        self.tables.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, table)| table)
    }
}

impl TableMapping {
    fn of(table: &Table, map: &CopyMap) -> Self {
        let mut mapping = TableMapping { target: Some(map.target.clone()), ..TableMapping::default() };
        // The table's own columns come first and in its order; whatever goes back in it was added.
        let mut last = None;
        for column in &map.columns {
            let place = table.column_index(&column.source);
            if place > last {
                last = place;
                mapping.columns.insert(column.source.clone(), ColumnMapping::of(column));
            } else {
                mapping.add.insert(column.target.clone(), AddedColumn::of(column));
            }
        }
        for column in &table.columns {
            mapping.columns.entry(column.name.clone()).or_insert_with(|| ColumnMapping { skip: true, ..ColumnMapping::default() });
        }
        mapping
    }

    pub fn column(&self, name: &str) -> Option<&ColumnMapping> {
        self.columns.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, column)| column)
    }
}

impl ColumnMapping {
    fn of(column: &CopyColumn) -> Self {
        ColumnMapping {
            target: Some(column.target.clone()),
            skip: false,
            sql_type: Some(column.sql_type.clone()),
            transform: column.conversion.transform.clone(),
            bad_text: column.conversion.bad_text,
            inexact: column.conversion.inexact,
            source_tz: source_tz(column),
        }
    }
}

impl AddedColumn {
    fn of(column: &CopyColumn) -> Self {
        AddedColumn {
            from: column.source.clone(),
            sql_type: Some(column.sql_type.clone()),
            transform: column.conversion.transform.clone(),
            bad_text: column.conversion.bad_text,
            inexact: column.conversion.inexact,
            source_tz: source_tz(column),
        }
    }
}

/// Only a `timestamptz` asks where its times were written.
fn source_tz(column: &CopyColumn) -> Option<SourceTz> {
    (column.conversion.kind == TypeKind::TimestampTz).then(|| column.conversion.source_tz.clone())
}

/// Line and column, both from 1, of a byte in a text.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The candidate that is nearest to `word`, when it is near enough to have been meant.
pub fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The meaning of a type that a person wrote as SQL; what is not known by name goes through PostgreSQL's own input function.
pub fn type_from_sql(sql: &str) -> ColumnType {
    let lower = sql.trim().to_lowercase();
    let (name, rest) = match lower.find('(') {
        Some(open) => (lower[..open].trim_end(), &lower[open + 1..]),
        None => (lower.as_str(), ""),
    };
    let numbers: Vec<i64> = rest.split(')').next().unwrap_or("").split(',').filter_map(|number| number.trim().parse().ok()).collect();
    let length = numbers.first().and_then(|n| u32::try_from(*n).ok());
    let tail = rest.split(')').nth(1).unwrap_or("").trim();
    let kind = match (name, tail) {
        // An array of a type that has a length.
        _ if lower.ends_with(']') || lower.ends_with(" array") => TypeKind::Other,
        ("float", _) if length.is_some_and(|bits| bits < 25) => TypeKind::Float4,
        ("boolean" | "bool", _) => TypeKind::Bool,
        ("smallint" | "int2", _) => TypeKind::Int2,
        ("integer" | "int" | "int4", _) => TypeKind::Int4,
        ("bigint" | "int8", _) => TypeKind::Int8,
        ("real" | "float4", _) => TypeKind::Float4,
        ("double precision" | "float8" | "float", _) => TypeKind::Float8,
        ("numeric" | "decimal", _) => TypeKind::Numeric {
            limits: numbers
                .first()
                .and_then(|p| Some((u16::try_from(*p).ok()?, numbers.get(1).map_or(Some(0), |s| i16::try_from(*s).ok())?))),
        },
        ("text", _) => TypeKind::TEXT,
        ("varchar" | "character varying", _) => TypeKind::Text { max_chars: length },
        ("char" | "character", _) => TypeKind::Char { chars: length.unwrap_or(1) },
        ("bytea", _) => TypeKind::Bytea,
        ("date", _) => TypeKind::Date,
        ("time" | "time without time zone", "" | "without time zone") => TypeKind::Time,
        ("timestamptz" | "timestamp with time zone", _) | ("timestamp", "with time zone") => TypeKind::TimestampTz,
        ("timestamp" | "timestamp without time zone", "" | "without time zone") => TypeKind::Timestamp,
        ("uuid", _) => TypeKind::Uuid,
        ("json", _) => TypeKind::Json,
        ("jsonb", _) => TypeKind::Jsonb,
        _ => TypeKind::Other,
    };
    let has_precision = !numbers.is_empty() && matches!(kind, TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz);
    let sql = if kind == TypeKind::Other || has_precision { sql.trim().to_string().into() } else { ColumnType::new(kind.clone()).sql };
    ColumnType { kind, sql }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_says_more() {
        let mapping = Mapping::parse(
            "[tables.Users]\ntarget = \"users\"\n[tables.Users.columns.id]\ntype = \"uuid\"\ntransform = \"uuid8:users\"\n\
             [tables.Users.add.legacy_id]\nfrom = \"id\"\n[tables.junk]\nskip = true\n",
        )
        .expect("a mapping");
        let users = mapping.table("users").expect("users");
        assert_eq!(users.column("ID").map(|id| id.transform.clone()), Some(Transform::Uuid8 { tag: "users".into() }));
        assert_eq!(users.add["legacy_id"].from, "id");
        assert!(mapping.table("junk").is_some_and(|table| table.skip));
        let again = Mapping::parse(&toml::to_string(&mapping).expect("TOML")).expect("a mapping");
        assert_eq!(again, mapping);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_place() {
        let error = Mapping::parse("[tables.t.columns.c]\ntype = \"text\"\ntrasform = \"epoch:s\"\n").expect_err("unknown key");
        let failure = error.downcast_ref::<Failure>().expect("a failure");
        assert!(failure.message.starts_with("line 3, column 1: unknown field `trasform`"), "{}", failure.message);
        assert_eq!(failure.hint.as_deref(), Some("Did you mean `transform`?"));
        let error = Mapping::parse("[tables.t.columns.c]\ntransform = \"epoch:h\"\n").expect_err("unknown transform");
        assert!(error.to_string().starts_with("line 2, column 13"), "{error}");
    }

    #[test]
    fn types_are_known_by_their_usual_names() {
        for (sql, formatted) in [
            ("timestamptz", "timestamp with time zone"),
            ("VARCHAR(20)", "character varying(20)"),
            ("decimal(10, 2)", "numeric(10,2)"),
            ("inet", "inet"),
            ("timestamp(3)", "timestamp(3)"),
            ("int[]", "int[]"),
            ("numeric(5,2)[]", "numeric(5,2)[]"),
            ("varchar(3) ARRAY", "varchar(3) ARRAY"),
            ("float(24)", "real"),
            ("float(53)", "double precision"),
        ] {
            assert_eq!(type_from_sql(sql).sql, formatted, "{sql}");
        }
    }
}
