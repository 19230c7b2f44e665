//! Names in PostgreSQL: exact unless asked otherwise, never two the same, never longer than 63 bytes.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::model::{MAX_NAME_BYTES, Name};

/// How names of SQLite become names of PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameStyle {
    #[default]
    Exact,
    /// `userName` → `user_name`
    Snake,
    /// `userName` → `username`
    Lower,
}

impl NameStyle {
    pub fn apply(self, name: &str) -> String {
        match self {
            NameStyle::Exact => name.to_string(),
            NameStyle::Lower => name.to_lowercase(),
            NameStyle::Snake => snake(name),
        }
    }
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let characters: Vec<char> = name.chars().collect();
    for (at, character) in characters.iter().enumerate() {
        if !character.is_alphanumeric() {
            if !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        let before = at.checked_sub(1).map(|at| characters[at]);
        let after = characters.get(at + 1);
        let starts_word = character.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if starts_word && !out.ends_with('_') {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

/// The names of one namespace: relations of a schema, columns or constraints of a table.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    taken: HashSet<Name>,
}

/// System columns that every table has.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

impl Namespace {
    /// The columns of a table: the names of system columns are taken.
    pub fn columns() -> Self {
        Namespace { taken: SYSTEM_COLUMNS.iter().map(|name| Name::from(*name)).collect() }
    }

    pub fn reserve(&mut self, name: &Name) {
        self.taken.insert(name.clone());
    }

    pub fn has(&self, name: &Name) -> bool {
        self.taken.contains(name)
    }

    /// Takes the wanted name, cut to 63 bytes, or when it is taken the first free one of `name_2`, `name_3`, ….
    pub fn take(&mut self, wanted: &str) -> Name {
        let wanted = or_blank(wanted);
        let mut name = Name::fit(wanted);
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = Name::with_suffix(wanted, &format!("_{number}"));
            number += 1;
        }
        name
    }
}

/// PostgreSQL has no empty identifiers.
fn or_blank(wanted: &str) -> &str {
    if wanted.is_empty() { "_" } else { wanted }
}

/// What a wish becomes where no other name is in its way.
pub fn fitted(wanted: &str) -> Name {
    Name::fit(or_blank(wanted))
}

/// True where the wish for a name of the source's is not that name, be it for its style or its length.
pub fn is_changed(source: &str, wanted: &str) -> bool {
    fitted(wanted).as_str() != source
}

/// What PostgreSQL calls the sequence of an identity column when it is told no name: both names in at most 63 bytes, the longer one gives way.
pub fn of_sequence(table: &Name, column: &Name) -> Name {
    const SUFFIX: &str = "_seq";
    let (table, column) = (table.as_str(), column.as_str());
    let room = MAX_NAME_BYTES - SUFFIX.len() - 1;
    let (mut of_table, mut of_column) = (table.len(), column.len());
    while of_table + of_column > room {
        if of_table > of_column { of_table -= 1 } else { of_column -= 1 }
    }
    let cut = |name: &str, mut end: usize| {
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name[..end].to_string()
    };
    Name::new(format!("{}_{}{SUFFIX}", cut(table, of_table), cut(column, of_column)))
}

/// True when a namespace may have answered the wish with this name.
pub fn may_become(wanted: &str, name: &Name) -> bool {
    let number = || name.as_str().rsplit_once('_').and_then(|(_, number)| number.parse::<u32>().ok());
    fitted(wanted) == *name || number().is_some_and(|number| Name::with_suffix(wanted, &format!("_{number}")) == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles() {
        for (name, expected) in [
            ("userName", "user_name"),
            ("UserName", "user_name"),
            ("HTTPServer", "http_server"),
            ("user_id", "user_id"),
            ("my col", "my_col"),
            ("Album2Artist", "album2_artist"),
            ("ÄpfelKorb", "äpfel_korb"),
        ] {
            assert_eq!(NameStyle::Snake.apply(name), expected, "{name}");
        }
        assert_eq!(NameStyle::Lower.apply("UserName"), "username");
    }

    #[test]
    fn names_never_meet() {
        let mut columns = Namespace::columns();
        assert_eq!(columns.take("a").as_str(), "a");
        assert_eq!(columns.take("a").as_str(), "a_2");
        assert_eq!(columns.take("ctid").as_str(), "ctid_2");
        assert_eq!(columns.take("").as_str(), "_");
        let long = "x".repeat(64);
        assert_eq!(columns.take(&long).as_str().len(), 63);
        let second = columns.take(&format!("{long}y"));
        assert_eq!(second.as_str(), format!("{}_2", "x".repeat(61)));
        let of_sequence = |table: &str, column: &str| of_sequence(&Name::new(table), &Name::new(column)).as_str().to_string();
        assert_eq!(of_sequence("t", "id"), "t_id_seq");
        assert_eq!(of_sequence(&long[..63], "id"), format!("{}_id_seq", &long[..56]));
        assert_eq!(of_sequence(&"é".repeat(31), &long[..63]), format!("{}_{}_seq", "é".repeat(14), &long[..29]));
        assert!(may_become(&long, &second) && may_become(&long, &Name::fit(&long)) && !may_become("x", &second));
    }
}
