//! Text that is shown: what a terminal cannot be given, and literals that can be read and pasted all the same.

/// Control characters, which move a cursor or break a line, and those that reverse the writing.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text that a terminal can be shown: what is hidden is spelt out, so that a table's name or a value cannot move the cursor, break a line or disguise itself.
pub fn visible(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_string();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A string literal of PostgreSQL on one line, whatever is in the text: `'it''s'`, and `E'a\u000Ab'` where there is something hidden in it.
pub fn pasteable_literal(text: &str) -> String {
    if !text.contains(|c: char| c == '\\' || is_hidden(c)) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut said = "E'".to_string();
    for c in text.chars() {
        match c {
            '\\' => said.push_str("\\\\"),
            '\'' => said.push_str("''"),
            c if is_hidden(c) => said.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => said.push(c),
        }
    }
    said + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_on_one_line_whatever_is_in_it() {
        assert_eq!(pasteable_literal("it's"), "'it''s'");
        assert_eq!(pasteable_literal("a\nb\x1b[2J'\\"), "E'a\\u000Ab\\u001B[2J''\\\\'");
        assert_eq!(pasteable_literal("ü\u{85}\u{202e}"), "E'ü\\u0085\\u202E'");
    }
}
