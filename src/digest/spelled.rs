//! A text of a type that only the server knows, without what is mere spelling: so two texts of one value are the same bytes.

use crate::digest::decimal;
use crate::plan::rounding::Order;

/// What a piece of the text is, before its bytes.
const SIGN: u8 = b's';
const NUMBER: u8 = b'n';
const TEXT: u8 = b't';
const ABSENT: u8 = b'0';
const NESTED: u8 = b'(';

/// True where what a type has made of a text differs from it in spelling alone.
pub fn says_the_same(text: &[u8], back: &[u8], order: Order) -> bool {
    let is_same = |ordered| spelled(text, ordered).is_some_and(|pieces| Some(pieces) == spelled(back, ordered));
    text == back
        || match order {
            Order::Told => is_same(true),
            Order::OfPairs => is_same(false),
            // What is sorted can be put back where every word has its place beside it; else nothing but quotes may have been added.
            Order::OfWords => {
                let unquoted = |text: &[u8]| text.iter().copied().filter(|byte| *byte != b'\'').collect::<Vec<u8>>();
                if are_all_placed(back) { is_same(false) } else { unquoted(text) == unquoted(back) }
            }
        }
}

/// True for words in PostgreSQL's own spelling, each of which is followed by a colon with positions.
fn are_all_placed(back: &[u8]) -> bool {
    let mut rest = back;
    while let Some(within) = rest.strip_prefix(b"'") {
        // Quotes and backslashes of the word's own are doubled.
        let mut at = 0;
        while at < within.len() && (within[at] != b'\'' || within.get(at + 1) == Some(&b'\'')) {
            at += if matches!(within[at], b'\'' | b'\\') { 2 } else { 1 };
        }
        let after = within.get(at + 1..).unwrap_or_default();
        if !after.starts_with(b":") {
            return false;
        }
        let blank = after.iter().position(|byte| *byte == b' ').map_or(after.len(), |blank| blank + 1);
        rest = &after[blank..];
    }
    rest.is_empty()
}

/// The pieces of the text: signs, and what stands between them without quotes, outer blanks and a number's zeros. Where the order says nothing they
/// are sorted. None for a text whose quotes do not close.
pub fn spelled(text: &[u8], ordered: bool) -> Option<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    let mut brackets: Vec<u8> = Vec::new();
    let mut rest = text;
    loop {
        let within = brackets.last().copied();
        let (said, is_quoted, after) = until_sign(rest, within)?;
        let within = within.filter(|_| !after.is_empty());
        if !ordered && within.is_none() && !is_quoted && !said.trim_ascii().eq_ignore_ascii_case(b"null") {
            // Of a set of words each stands for itself.
            let words = said.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            pieces.extend(words.map(|word| std::iter::once(TEXT).chain(word.iter().copied().filter(|byte| *byte != b'\'')).collect()));
        } else if let Some(piece) = piece(&said, is_quoted, within, ordered) {
            pieces.push(piece);
        }
        let Some((sign, later)) = after.split_first() else { break };
        pieces.push(vec![SIGN, *sign]);
        match sign {
            b'(' | b'[' | b'{' => brackets.push(*sign),
            b')' | b']' | b'}' => drop(brackets.pop()),
            _ => {}
        }
        rest = later;
    }
    if !ordered {
        pieces.sort_unstable();
    }
    Some(pieces)
}

/// What is said before the next sign, whether in quotes, and the text from that sign on.
fn until_sign(text: &[u8], within: Option<u8>) -> Option<(Vec<u8>, bool, &[u8])> {
    let (mut said, mut is_quoted, mut is_open, mut at) = (Vec::new(), false, false, 0);
    // A row and an array quote no other signs than their own.
    let signs: &[u8] = match within {
        Some(b'(') => b"(),",
        Some(b'{') => b"{},",
        Some(_) => b"()[],",
        None => b"()[]{},;<>=",
    };
    while at < text.len() {
        let byte = text[at];
        if byte == b'\\' {
            said.push(*text.get(at + 1)?);
            at += 2;
            continue;
        }
        if byte == b'"' {
            if is_open && text.get(at + 1) == Some(&b'"') {
                said.push(byte);
                at += 2;
                continue;
            }
            if !is_quoted && said.iter().all(u8::is_ascii_whitespace) {
                said.clear();
            }
            (is_open, is_quoted) = (!is_open, true);
        } else if is_open {
            said.push(byte);
        } else if signs.contains(&byte) {
            break;
        } else if !(is_quoted && byte.is_ascii_whitespace()) {
            said.push(byte);
        }
        at += 1;
    }
    (!is_open).then_some((said, is_quoted, &text[at..]))
}

fn piece(said: &[u8], is_quoted: bool, within: Option<u8>, ordered: bool) -> Option<Vec<u8>> {
    let keeps_blanks = within == Some(b'(');
    let (head, body) = match (is_quoted, keeps_blanks) {
        (true, _) => (said, said),
        (false, true) => (said.trim_ascii_start(), said),
        (false, false) => (said.trim_ascii(), said.trim_ascii()),
    };
    if !is_quoted {
        if body.is_empty() {
            return None;
        }
        if said.trim_ascii().eq_ignore_ascii_case(b"null") {
            return Some(vec![ABSENT]);
        }
    }
    let mut piece = vec![NUMBER];
    let digits = head.strip_prefix(b"-").unwrap_or(head);
    let has_zeros = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    if ordered
        && !has_zeros
        && head.first() != Some(&b'+')
        && digits.first() != Some(&b'+')
        && let Some(number) = decimal::write_number(head, &mut piece)
    {
        // A minus before a zero says something that not every type keeps.
        if number.digits == 0 && head.starts_with(b"-") {
            piece.push(b'-');
        }
        return Some(piece);
    }
    if (is_quoted || within.is_some())
        && let Some(inner) = spelled(body, ordered).filter(|inner| inner.len() > 1)
    {
        let mut nested = vec![NESTED];
        for part in inner {
            nested.extend_from_slice(&(part.len() as u32).to_le_bytes());
            nested.extend(part);
        }
        return Some(nested);
    }
    Some([&[TEXT], body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_left_out_and_nothing_else() {
        let is_same = |a: &str, b: &str, ordered| spelled(a.as_bytes(), ordered).is_some_and(|a| Some(a) == spelled(b.as_bytes(), ordered));
        for (given, back) in [
            ("[1.10, 2]", "[1.1,2]"),
            ("(a b,1.50)", "(\"a b\",1.5)"),
            ("{ x , \"y z\" }", "{x,\"y z\"}"),
            ("{\"(1.0,x)\"}", "{\"(1,x)\"}"),
            ("(1, 2)", "(1,2)"),
            ("(-0.0)", "(-0)"),
            ("{null}", "{NULL}"),
        ] {
            assert!(is_same(given, back, true), "{given} {back}");
        }
        for (given, back) in [
            ("[0.123456789]", "[0.12345679]"),
            ("[007]", "[7]"),
            ("(-0.0)", "(0.0)"),
            ("(ab   )", "(\"ab \")"),
            ("(ab   )", "(ab)"),
            ("(1 )", "(1)"),
            ("( )", "()"),
            ("(\"\")", "()"),
            ("(a,b)", "(b,a)"),
            ("x", "X"),
            ("\"open", "open"),
        ] {
            assert!(!is_same(given, back, true), "{given} {back}");
        }
        assert!(is_same("{\"bb=>1,a=>2\"}", "{\"\\\"a\\\"=>\\\"2\\\", \\\"bb\\\"=>\\\"1\\\"\"}", false));
        assert!(!is_same("{\"a=>1, a=>2\"}", "{\"\\\"a\\\"=>\\\"1\\\"\"}", false));
        assert!(is_same("(\"a=>b\",b)", "(a=>b,b)", true) && is_same("{a=>b}", "{\"a=>b\"}", true));
        let of_words = |a: &str, b: &str| says_the_same(a.as_bytes(), b.as_bytes(), Order::OfWords);
        for (given, back) in
            [("'b:y' cat", "'b:y' 'cat'"), ("b:2 a:1", "'a':1 'b':2"), ("'b''x':2 a:1", "'a':1 'b''x':2"), ("a b", "'a' 'b'")]
        {
            assert!(of_words(given, back), "{given} {back}");
        }
        for (given, back) in [
            ("a:1A,1B", "'a':1A"),
            ("a:1 a:1", "'a':1"),
            ("a b a", "'a' 'b'"),
            ("b a", "'a' 'b'"),
            ("x  y", "'x' 'y'"),
            ("c b:1", "'b':1 'c'"),
            ("it's b:1", "'b':1 'it''s'"),
        ] {
            assert!(!of_words(given, back), "{given} {back}");
        }
        assert!(is_same("bb=>1,a=>2", "\"a\"=>\"2\", \"bb\"=>\"1\"", false));
        assert!(!is_same("a=>1, a=>1", "\"a\"=>\"1\"", false));
    }
}
