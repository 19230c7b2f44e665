//! What a full-text table of SQLite finds, and what a text search of PostgreSQL's does not.

/// The columns and the tokenizer of a full-text table, from the arguments of its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullText {
    /// Columns whose words are not found: `UNINDEXED`, `notindexed=`.
    unindexed: Vec<String>,
    /// `porter`, `unicode61`, and what it was told.
    tokenizer: Vec<String>,
}

/// None for the arguments of another module.
pub fn full_text(module: &str, arguments: &str) -> Option<FullText> {
    let module = module.to_ascii_lowercase();
    let default = match module.as_str() {
        "fts5" => "unicode61",
        "fts3" | "fts4" => "simple",
        _ => return None,
    };
    let mut found = FullText { unindexed: Vec::new(), tokenizer: Vec::new() };
    for argument in split(arguments, ',') {
        let option = argument.split_once('=').map(|(key, value)| (key.trim().to_ascii_lowercase(), value));
        match option {
            Some((key, value)) if key == "tokenize" => {
                let value = if module == "fts5" { unquoted(value) } else { value.to_string() };
                let words = split(&value, ' ');
                found.tokenizer = words.iter().map(|word| unquoted(word).to_ascii_lowercase()).filter(|word| !word.is_empty()).collect();
            }
            Some((key, value)) if key == "notindexed" => found.unindexed.push(unquoted(value)),
            Some(_) => {}
            None => {
                let words = split(argument.trim(), ' ');
                if module == "fts5" && words.iter().skip(1).any(|word| word.eq_ignore_ascii_case("unindexed")) {
                    found.unindexed.push(unquoted(words[0]));
                }
            }
        }
    }
    // porter takes the words of another.
    if found.tokenizer.iter().all(|word| word == "porter") {
        found.tokenizer.push(default.into());
    }
    Some(found)
}

impl FullText {
    pub fn finds_words_of(&self, column: &str) -> bool {
        !self.unindexed.iter().any(|other| other.eq_ignore_ascii_case(column))
    }

    /// How the tokenizer is called, with its options.
    pub fn tokenizer(&self) -> String {
        self.tokenizer.join(" ")
    }

    /// Where the configuration `simple` answers otherwise, as clauses for a person.
    pub fn otherwise(&self) -> Vec<String> {
        let has = |word: &str| self.tokenizer.iter().any(|known| known.split('=').next() == Some(word));
        let mut clauses = Vec::new();
        if has("trigram") {
            clauses.push(
                "it finds whole words, and no part of one (for parts: an index by gin_trgm_ops of the extension pg_trgm, and ILIKE)".into(),
            );
            return clauses;
        }
        if has("porter") {
            clauses.push("it finds words as they stand, and not by their stem (the configuration 'english' knows stems)".into());
        }
        let folds = match self.tokenizer.iter().position(|word| word == "remove_diacritics") {
            Some(at) => self.tokenizer.get(at + 1).is_none_or(|value| value != "0"),
            None => !self.tokenizer.iter().any(|word| word == "remove_diacritics=0"),
        };
        if folds && has("unicode61") {
            clauses.push("it tells é from e".into());
        }
        if has("tokenchars") || has("separators") {
            clauses.push("it knows no tokenchars and no separators".into());
        }
        if !["porter", "unicode61", "simple", "ascii"].iter().any(|known| has(known)) {
            clauses.push(format!("what the tokenizer {} does it does not", self.tokenizer()));
        }
        clauses.push("it takes an address, a path and a number with a point as one word each".into());
        clauses
    }
}

/// The parts between separators that stand outside of quotes; blanks in a row are one.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, char) in text.char_indices() {
        match quote {
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if char == separator => {
                parts.push(&text[start..at]);
                start = at + char.len_utf8();
            }
            None if matches!(char, '"' | '\'' | '`' | '[') => quote = Some(if char == '[' { ']' } else { char }),
            None => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| separator != ' ' || !part.is_empty());
    parts
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    for (open, close) in [('"', '"'), ('\'', '\''), ('`', '`'), ('[', ']')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            return inner.replace(&format!("{close}{close}"), &close.to_string());
        }
    }
    text.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_is_known_with_what_it_finds_alone() {
        for (module, arguments, tokenizer, otherwise) in [
            ("fts5", "title, body", "unicode61", vec!["é from e", "an address"]),
            ("FTS5", "a, tokenize='porter ascii'", "porter ascii", vec!["stem", "an address"]),
            ("fts5", "a, tokenize = porter, prefix='2 3'", "porter unicode61", vec!["stem", "é from e", "an address"]),
            ("fts5", "a, tokenize=\"trigram case_sensitive 1\"", "trigram case_sensitive 1", vec!["no part of one"]),
            (
                "fts5",
                "a, tokenize = \"unicode61 remove_diacritics 0 tokenchars '-_'\"",
                "unicode61 remove_diacritics 0 tokenchars -_",
                vec!["tokenchars", "an address"],
            ),
            ("fts4", "a, tokenize=unicode61 \"remove_diacritics=0\"", "unicode61 remove_diacritics=0", vec!["an address"]),
            ("fts4", "a TEXT, content=\"t\", tokenize=icu de_DE", "icu de_de", vec!["the tokenizer icu", "an address"]),
            ("fts3", "", "simple", vec!["an address"]),
        ] {
            let found = full_text(module, arguments).unwrap();
            assert_eq!(found.tokenizer(), tokenizer, "{arguments}");
            let clauses = found.otherwise();
            assert_eq!(clauses.len(), otherwise.len(), "{arguments}: {clauses:?}");
            clauses.iter().zip(otherwise).for_each(|(clause, part)| assert!(clause.contains(part), "{arguments}: {clauses:?}"));
        }
        assert_eq!(full_text("rtree", "id, a, b"), None);
    }

    #[test]
    fn words_of_unindexed_columns_are_not_found() {
        let found = full_text("fts5", "\"the, title\" UNINDEXED, body, [x y] unindexed, tokenize='porter'").unwrap();
        assert_eq!(["the, title", "body", "X Y"].map(|column| found.finds_words_of(column)), [false, true, false]);
        let found = full_text("fts4", "a, b, notindexed=a, notindexed=\"b\"").unwrap();
        assert_eq!(["a", "B"].map(|column| found.finds_words_of(column)), [false, false]);
    }
}
