//! Identifiers of PostgreSQL that quote themselves.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An identifier of PostgreSQL, exact. `Display` writes it as SQL: always quoted, so that no keyword, capital or quote inside can change its meaning.
/// Of one name there are many copies, in a plan of thousands of tables too: they share its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name(Arc<str>);

/// The length at which PostgreSQL cuts an identifier, in bytes.
pub const MAX_NAME_BYTES: usize = 63;

impl Name {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Name(text.into())
    }

    /// The bare text, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Cut to what PostgreSQL keeps, 63 bytes, at a character's boundary.
    pub fn fit(text: &str) -> Self {
        let mut end = text.len().min(MAX_NAME_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Name(text[..end].into())
    }

    /// `stem` + `suffix` in at most 63 bytes: the stem gives way.
    pub fn with_suffix(stem: &str, suffix: &str) -> Self {
        let mut end = stem.len().min(MAX_NAME_BYTES.saturating_sub(suffix.len()));
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        Name(format!("{}{}", &stem[..end], suffix).into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Name(text.into())
    }
}

/// A name in a schema; `Display` writes `"schema"."name"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QualifiedName {
    pub schema: Name,
    pub name: Name,
}

impl QualifiedName {
    pub fn new(schema: impl Into<Name>, name: impl Into<Name>) -> Self {
        QualifiedName { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_quotes_itself() {
        assert_eq!(Name::new("a\"b").to_string(), "\"a\"\"b\"");
        assert_eq!(QualifiedName::new("public", "Order").to_string(), "\"public\".\"Order\"");
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = "é".repeat(40);
        assert_eq!(Name::fit(&long).as_str().len(), 62);
        assert_eq!(Name::with_suffix(&long, "_2").as_str().len(), 62);
        assert!(Name::with_suffix(&long, "_2").as_str().ends_with("é_2"));
    }
}
