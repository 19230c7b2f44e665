//! Two texts of one value of a type that candlefish does not know: whether they differ in nothing but how they are written.

use crate::plan::decimal::Decimal;

/// True where `back`, which a type has made of `given`, says the same: quotes, blanks around signs and the zeros of a number are spelling, and so is
/// the order where it says nothing.
pub fn is_same(given: &str, back: &str, ordered: bool) -> bool {
    if given == back {
        return true;
    }
    let (Some(mut given), Some(mut back)) = (parts(given), parts(back)) else { return false };
    if !ordered {
        given.sort();
        back.sort();
    }
    given == back
}

/// What a text says, part by part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Sign(char),
    Nothing,
    Number(Vec<u8>),
    Word(String),
    /// A quoted part that has signs of its own.
    Inner(Vec<Part>),
}

const SIGNS: &str = ",;(){}[]<>=";

/// None where a quotation has no end.
fn parts(text: &str) -> Option<Vec<Part>> {
    let (mut parts, mut open) = (Vec::new(), Vec::new());
    let (mut word, mut quoted) = (String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\\' => word.push(chars.next()?),
            '"' => {
                if !quoted && word.trim().is_empty() {
                    word.clear();
                }
                quoted = true;
                loop {
                    match chars.next()? {
                        '"' if chars.peek() == Some(&'"') => word.extend(chars.next()),
                        '"' => break,
                        '\\' => word.push(chars.next()?),
                        other => word.push(other),
                    }
                }
            }
            sign if SIGNS.contains(sign) => {
                parts.extend(part(&std::mem::take(&mut word), std::mem::take(&mut quoted), open.last() == Some(&'(')));
                parts.push(Part::Sign(sign));
                match sign {
                    '(' | '[' | '{' => open.push(sign),
                    ')' | ']' | '}' => drop(open.pop()),
                    _ => {}
                }
            }
            // Blanks after a quotation are not of it.
            blank if quoted && blank.is_whitespace() => {}
            other => word.push(other),
        }
    }
    parts.extend(part(&word, quoted, false));
    Some(parts)
}

/// A part between signs; in the parentheses of a row its blanks are its own.
fn part(word: &str, quoted: bool, in_row: bool) -> Option<Part> {
    if quoted {
        return Some(match parts(word).filter(|parts| parts.len() > 1) {
            Some(inner) => Part::Inner(inner),
            None => number(word).unwrap_or_else(|| Part::Word(word.to_string())),
        });
    }
    let said = word.trim();
    match said {
        "" if !in_row || word.is_empty() => None,
        _ if said.eq_ignore_ascii_case("null") => Some(Part::Nothing),
        // Blanks before a number are none of a text that could lose them.
        _ => Some(number(if in_row { word.trim_start() } else { said }).unwrap_or_else(|| {
            let word = if in_row { word } else { said };
            Part::Word(word.to_string())
        })),
    }
}

/// A number that loses nothing but zeros after its point when it is written anew.
fn number(word: &str) -> Option<Part> {
    let unsigned = word.strip_prefix('-').unwrap_or(word).as_bytes();
    let is_plain = !matches!(unsigned, [b'0', b'0'..=b'9', ..] | [b'+', ..]);
    let decimal = Decimal::parse(word.as_bytes()).filter(|_| is_plain)?;
    let sign = if decimal.negative { b'-' } else { b'+' };
    Some(Part::Number([&[sign], &decimal.point.to_be_bytes()[..], decimal.digits()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_however_it_is_written() {
        for (given, back) in [
            ("[1.10, 2]", "[1.1,2]"),
            ("(a b,1.50)", "(\"a b\",1.5)"),
            ("{ x , \"y z\" }", "{x,\"y z\"}"),
            ("{\"(1.0,x)\"}", "{\"(1,x)\"}"),
            ("(1, 2)", "(1,2)"),
            ("{null}", "{NULL}"),
            ("(,\"\")", "(,\"\")"),
        ] {
            assert!(is_same(given, back, true), "{given} {back}");
        }
        assert!(is_same("b=>1, aa=>NULL", "\"b\"=>\"1\", \"aa\"=>NULL", false));
        assert!(is_same("bb=>1,a=>2", "\"a\"=>\"2\", \"bb\"=>\"1\"", false));
    }

    #[test]
    fn what_is_lost_is_seen() {
        for (given, back) in [
            ("[0.123456789]", "[0.12345679]"),
            ("[1e-50]", "[0]"),
            ("[007]", "[7]"),
            ("(ab   )", "(\"ab \")"),
            ("(ab   )", "(ab)"),
            ("(1 )", "(1)"),
            ("( )", "()"),
            ("(\"\")", "()"),
            ("(a,b)", "(b,a)"),
            ("{\"(1.25,x)\"}", "{\"(1.3,x)\"}"),
            ("x", "X"),
            ("\"open", "open"),
        ] {
            assert!(!is_same(given, back, true), "{given} {back}");
        }
        assert!(!is_same("a=>1, a=>2", "\"a\"=>\"1\"", false));
        assert!(!is_same("a=>1, a=>1", "\"a\"=>\"1\"", false));
    }
}
