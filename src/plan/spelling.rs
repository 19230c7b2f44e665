//! Two texts of one value of a type that candlefish does not know: whether they differ in nothing but how they are written.

use crate::plan::decimal::Decimal;
use crate::plan::rounding::Order;

/// True where `back`, which a type has made of `given`, says the same: quotes, blanks around signs and the zeros of a number are spelling, and so is
/// the order where it says nothing.
pub fn is_same(given: &str, back: &str, order: Order) -> bool {
    if given == back {
        return true;
    }
    if order == Order::OfWords && !have_positions(back) {
        // Then the words are a text, in which each blank has its place.
        return given.replace('\'', "") == back.replace('\'', "");
    }
    let ordered = order == Order::Told;
    parts(given, ordered).is_some_and(|given| Some(given) == parts(back, ordered))
}

/// Whether each word of a tsvector, as PostgreSQL writes it, has its positions: a quote in a word is written twice.
fn have_positions(written: &str) -> bool {
    let (mut chars, mut is_open) = (written.chars().peekable(), false);
    while let Some(next) = chars.next() {
        match (next, is_open) {
            ('\\', true) => drop(chars.next()),
            ('\'', true) if chars.peek() == Some(&'\'') => drop(chars.next()),
            ('\'', true) if chars.peek() != Some(&':') => return false,
            ('\'', _) => is_open = !is_open,
            _ => {}
        }
    }
    true
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

/// The signs that part what is within a bracket, or within none. Others are of the words: a row or an array quotes none for their sake.
fn signs(open: Option<&char>) -> &'static str {
    match open {
        Some('(') => ",()",
        Some('{') => ",{}",
        Some('[') => ",()[]",
        _ => ",;(){}[]<>=",
    }
}

/// None where a quotation has no end. Without an order the parts are sorted, and blanks part them too, and single quotes are none of them.
fn parts(text: &str, ordered: bool) -> Option<Vec<Part>> {
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
            sign if signs(open.last()).contains(sign) => {
                add(&std::mem::take(&mut word), std::mem::take(&mut quoted), open.last(), ordered, &mut parts);
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
    add(&word, quoted, None, ordered, &mut parts);
    if !ordered {
        parts.sort();
    }
    Some(parts)
}

/// What is said between signs; in the parentheses of a row its blanks are its own.
fn add(word: &str, quoted: bool, open: Option<&char>, ordered: bool, parts: &mut Vec<Part>) {
    let in_row = open == Some(&'(');
    let said = if quoted || in_row { word } else { word.trim() };
    if !quoted {
        if said.is_empty() {
            return;
        }
        if word.trim().eq_ignore_ascii_case("null") {
            return parts.push(Part::Nothing);
        }
        if !ordered && open.is_none() {
            return parts.extend(said.split_whitespace().map(|word| Part::Word(word.replace('\'', ""))));
        }
    }
    // Blanks before a number are none of a text that could lose them.
    // Keys, values and words without an order are texts.
    if let Some(number) = number(if quoted { word } else { said.trim_start() }).filter(|_| ordered) {
        return parts.push(number);
    }
    // What stands in brackets may have parts of its own, in quotes or without.
    let inner = if quoted || open.is_some() { self::parts(said, ordered).filter(|inner| inner.len() > 1) } else { None };
    parts.push(inner.map_or_else(|| Part::Word(said.to_string()), Part::Inner));
}

/// A number that loses nothing but zeros after its point when it is written anew.
fn number(word: &str) -> Option<Part> {
    let unsigned = word.strip_prefix('-').unwrap_or(word).as_bytes();
    let is_plain = !matches!(unsigned, [b'0', b'0'..=b'9', ..] | [b'+', ..]);
    let decimal = Decimal::parse(word.as_bytes()).filter(|_| is_plain)?;
    // A zero too may have a minus, which not every type keeps.
    let sign = if word.starts_with('-') { b'-' } else { b'+' };
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
            assert!(is_same(given, back, Order::Told), "{given} {back}");
        }
        assert!(is_same("b=>1, aa=>NULL", "\"b\"=>\"1\", \"aa\"=>NULL", Order::OfPairs));
        assert!(is_same("bb=>1,a=>2", "\"a\"=>\"2\", \"bb\"=>\"1\"", Order::OfPairs));
        assert!(is_same("{\"bb=>1,a=>2\"}", "{\"\\\"a\\\"=>\\\"2\\\", \\\"bb\\\"=>\\\"1\\\"\"}", Order::OfPairs));
        assert!(is_same("(\"a=>b\",b)", "(a=>b,b)", Order::Told) && is_same("{a=>b}", "{\"a=>b\"}", Order::Told));
        assert!(is_same("'b:y' cat", "'b:y' 'cat'", Order::OfWords) && is_same("b:2 a:1", "'a':1 'b':2", Order::OfWords));
    }

    #[test]
    fn what_is_lost_is_seen() {
        for (given, back) in [
            ("[0.123456789]", "[0.12345679]"),
            ("[1e-50]", "[0]"),
            ("[007]", "[7]"),
            ("(-0.0)", "(0.0)"),
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
            assert!(!is_same(given, back, Order::Told), "{given} {back}");
        }
        assert!(!is_same("a=>1, a=>2", "\"a\"=>\"1\"", Order::OfPairs));
        assert!(!is_same("{\"a=>1, a=>2\"}", "{\"\\\"a\\\"=>\\\"1\\\"\"}", Order::OfPairs));
        for (given, back) in [
            ("a:1A,1B", "'a':1A"),
            ("a:1 a:1", "'a':1"),
            ("a b a", "'a' 'b'"),
            ("b a", "'a' 'b'"),
            ("x  y", "'x' 'y'"),
            ("c b:1", "'b':1 'c'"),
            ("it's b:1", "'b':1 'it''s'"),
        ] {
            assert!(!is_same(given, back, Order::OfWords), "{given} {back}");
        }
        assert!(!is_same("{\"b a\"}", "{\"'a' 'b'\"}", Order::Told));
        assert!(!is_same("a=>1, a=>1", "\"a\"=>\"1\"", Order::OfPairs));
    }
}
