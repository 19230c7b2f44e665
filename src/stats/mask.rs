//! Statements without their literals: what is served, sent or saved says what was asked, not about whom.

/// Replaces texts, numbers, bit strings and dollar-quoted bodies by `?`, and drops comments; names and `$1` stay.
pub fn literals(sql: &str) -> String {
    let mut masked = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let in_name = masked.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_' || last == '$');
        let taken = match first {
            '\'' => {
                // E'…', B'…', X'…', N'…', U&'…': the letter goes with its text; only in E'…' does a backslash hide the quote.
                let escapes = drop_prefix(&mut masked);
                masked.push('?');
                text_length(rest, escapes)
            }
            '"' => {
                let length = quoted_length(rest, '"', false);
                masked.push_str(&rest[..length]);
                length
            }
            '$' if !in_name => match dollar_length(rest) {
                Some(length) => {
                    masked.push('?');
                    length
                }
                None => {
                    let length = 1 + rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                    masked.push_str(&rest[..length]);
                    length
                }
            },
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_length(rest),
            '0'..='9' if !in_name => {
                masked.push('?');
                number_length(rest)
            }
            _ => {
                masked.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    masked
}

/// Takes back the letters that belong to the text behind them; true when it is E.
fn drop_prefix(masked: &mut String) -> bool {
    let name_start = masked.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '&')).map_or(0, |at| at + 1);
    // A multibyte character before the name.
    let name_start = (name_start..=masked.len()).find(|at| masked.is_char_boundary(*at)).unwrap_or(masked.len());
    let prefix = masked[name_start..].to_ascii_lowercase();
    if matches!(prefix.as_str(), "e" | "b" | "x" | "n" | "u&") {
        masked.truncate(name_start);
    }
    prefix == "e"
}

/// The length of a text, with those behind it that belong to it: `''`.
fn text_length(rest: &str, escapes: bool) -> usize {
    quoted_length(rest, '\'', escapes)
}

fn quoted_length(rest: &str, quote: char, escapes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return at + c.len_utf8();
            }
        }
    }
    // Cut off by track_activity_query_size: all of it was text.
    rest.len()
}

/// `$tag$…$tag$`
fn dollar_length(rest: &str) -> Option<usize> {
    let end = rest[1..].find('$')? + 2;
    let tag = &rest[..end];
    let name = &tag[1..end - 1];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| rest[end..].find(tag).map_or(rest.len(), |close| end + close + tag.len()))
}

/// Comments nest.
fn comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `12`, `1.5e-3`, `0xff`, `1_000`
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let sign_of_exponent = matches!(bytes[at], b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E') && !rest.starts_with("0x");
        if bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_') || (at > 0 && sign_of_exponent) {
            at += 1;
        } else {
            break;
        }
    }
    at.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_masked_and_names_are_not() {
        for (sql, masked) in [
            ("SELECT * FROM t1 WHERE a = 'x''y' AND b = 12", "SELECT * FROM t1 WHERE a = ? AND b = ?"),
            ("SELECT $1, col2, \"it's 5\" FROM s3.t", "SELECT $1, col2, \"it's 5\" FROM s3.t"),
            (r"SELECT E'a\'b', 'a\', 1.5e-3, X'ff'", "SELECT ?, ?, ?, ?"),
            ("SELECT e'\\'', U&'\\0041', n'x'", "SELECT ?, ?, ?"),
            ("DO $body$ begin x := 'secret'; end $body$", "DO ?"),
            ("SELECT $$it's$$ || name_e'x'", "SELECT ? || name_e?"),
            ("/* user /* 7 */ */ SELECT 1 -- secret\n, 2", " SELECT ? \n, ?"),
            ("INSERT INTO t VALUES ('cut o", "INSERT INTO t VALUES (?"),
            ("SELECT 'ü', é'x', 0xff, 1_000", "SELECT ?, é?, ?, ?"),
            ("SELECT -1, a-1, 5::int", "SELECT -?, a-?, ?::int"),
        ] {
            assert_eq!(literals(sql), masked, "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_survives_and_nothing_panics(before in "[a-zA-Z0-9_$ \"]{0,8}", secret in "hunter[2-9]{3}", text in "\\PC{0,30}") {
            let _ = literals(&text);
            let masked = literals(&format!("SELECT 1 {} = '{secret}'", before.replace(['"', '$'], "")));
            proptest::prop_assert!(!masked.contains(&secret), "{}", masked);
        }
    }
}
