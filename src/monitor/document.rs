//! A file of YAML that somebody wrote: read, and what is wrong in it said with its line and column.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use crate::model::Failure;

/// A text, what an error calls it, and what helps whoever wrote it.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub hint: &'a str,
    /// What may be written in it, for who has mistyped.
    pub keys: &'a [&'a str],
}

impl Document<'_> {
    /// # Errors
    /// It is no YAML, or has other things in it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_saphyr::from_str(self.text).map_err(|error| self.not_read(&error))
    }

    /// What is wrong with the value itself, from its byte `at` on.
    pub fn wrong_at(&self, spanned: &Spanned<String>, at: usize, message: &str) -> anyhow::Error {
        let start = spanned.referenced;
        let line = self.text.lines().nth(start.line().saturating_sub(1) as usize);
        let first = line.and_then(|line| line.chars().nth(start.column().saturating_sub(1) as usize));
        let quote = usize::from(matches!(first, Some('"' | '\'')));
        let before = spanned.value.get(..at).map_or(at, |before| before.chars().count());
        self.said(start.line(), start.column() + (quote + before) as u64, message)
    }

    pub fn wrong<T>(&self, spanned: &Spanned<T>, message: &str) -> anyhow::Error {
        self.said(spanned.referenced.line(), spanned.referenced.column(), message)
    }

    /// What may be written there, and may have been meant.
    pub fn near(&self, word: &str) -> Option<&str> {
        let (distance, key) = self.keys.iter().map(|key| (strsim::damerau_levenshtein(key, word), *key)).min()?;
        (distance <= 3 && distance * 2 < key.len()).then_some(key)
    }

    fn said(&self, line: u64, column: u64, message: &str) -> anyhow::Error {
        Failure::new("bad_rules", format!("{}:{line}:{column}: {message}", self.name)).hint(self.hint).into()
    }

    /// The parser's own words, with the place first.
    fn not_read(&self, error: &serde_saphyr::Error) -> anyhow::Error {
        let name = self.name;
        let said = error.without_snippet().to_string();
        let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
        // The place stands before it, and what the parser could be told is nothing to a reader of rules.
        let first = said.lines().next().unwrap_or_default();
        let first = first.rsplit_once(" at line ").map_or(first, |(first, _)| first);
        let first = first.split(", set DuplicateKeyPolicy").next().unwrap_or(first);
        let twice =
            first.split("duplicate field ").nth(1).and_then(|rest| rest.split('`').nth(1)).map(|key| format!("{key} is written twice"));
        let first = match twice.as_deref() {
            Some(twice) => twice,
            None if first.contains("from_str_multiple") => "there is more than one document in it",
            None => first,
        };
        let unknown = first.split("unknown field ").nth(1).and_then(|rest| rest.split('`').nth(1));
        if unknown == Some("groups") {
            let failure =
                Failure::new("bad_rules", format!("{name}{place}: these are rules for Prometheus (groups), and not candlefish's (alerts)"));
            return failure
                .hint("`promtool check rules` and `promtool test rules` read those; give candlefish the file that they were exported from.")
                .into();
        }
        let question = unknown.and_then(|word| self.near(word)).map_or(String::new(), |key| format!("; did you mean {key}?"));
        Failure::new("bad_rules", format!("{name}{place}: {first}{question}")).hint(self.hint).into()
    }
}
