//! PostgreSQL's own text forms of values that have parts: arrays, ranges. What they are made of, or none where PostgreSQL will refuse the text.

/// The elements of an array at whatever depth, without NULLs: `{1,{"a b",NULL}}`, `[2:3]={1,2}`. They stand between commas, boxes between semicolons.
pub fn elements(text: &[u8], between: u8) -> Option<Vec<Vec<u8>>> {
    let text = text.trim_ascii();
    // Bounds before the elements.
    let body = if text.first() == Some(&b'[') { &text[text.iter().position(|byte| *byte == b'=')? + 1..] } else { text };
    let (mut parts, mut depth, mut at) = (Vec::new(), 0usize, 0);
    let body = body.trim_ascii();
    while at < body.len() {
        match body[at] {
            b'{' => (depth, at) = (depth + 1, at + 1),
            b'}' => (depth, at) = (depth.checked_sub(1)?, at + 1),
            byte if byte == between || byte.is_ascii_whitespace() => at += 1,
            _ if depth == 0 => return None,
            _ => {
                let (part, is_quoted, end) = part(body, at, &[between, b'{', b'}'])?;
                if is_quoted || !part.eq_ignore_ascii_case(b"null") {
                    parts.push(part);
                }
                at = end;
            }
        }
    }
    (depth == 0).then_some(parts)
}

/// The bounds of a range, or of each of several, without those that are open: `[1,2)`, `{[1,2),[5,)}`.
pub fn bounds(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut parts, mut at) = (Vec::new(), 0);
    if text.trim_ascii().eq_ignore_ascii_case(b"empty") {
        return Some(parts);
    }
    while at < text.len() {
        match text[at] {
            b'[' | b'(' | b')' | b']' | b'{' | b'}' | b',' => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                let (part, _, end) = part(text, at, b",)]")?;
                parts.push(part);
                at = end;
            }
        }
    }
    Some(parts)
}

/// A range: its bounds, each with whether it is of the range; none where it is open.
pub type Range = (Option<Vec<u8>>, bool, Option<Vec<u8>>, bool);

/// A range, or each of several.
pub fn ranges(text: &[u8]) -> Option<Vec<Range>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    let bound = |(said, is_quoted, end): (Vec<u8>, bool, usize)| (Some(said).filter(|said| is_quoted || !said.is_empty()), end);
    while at < text.len() {
        if !matches!(text[at], b'[' | b'(') {
            at += 1;
            continue;
        }
        let (low, comma) = bound(part(text, at + 1, b",")?);
        let (high, end) = bound(part(text, comma + 1, b")]")?);
        ranges.push((low, text[at] == b'[', high, *text.get(end)? == b']'));
        at = end + 1;
    }
    Some(ranges)
}

/// One part that begins here: what it says, whether any of it was quoted, and where it ends, before one of `ends`.
fn part(text: &[u8], start: usize, ends: &[u8]) -> Option<(Vec<u8>, bool, usize)> {
    let (mut said, mut kept, mut at, mut in_quotes, mut is_quoted) = (Vec::new(), 0, start, false, false);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => {
                said.push(*text.get(at + 1)?);
                (at, kept) = (at + 2, said.len());
                continue;
            }
            b'"' if in_quotes && text.get(at + 1) == Some(&b'"') => {
                said.push(b'"');
                (at, kept) = (at + 2, said.len());
                continue;
            }
            b'"' => {
                (in_quotes, is_quoted) = (!in_quotes, true);
                kept = said.len();
            }
            byte if !in_quotes && ends.contains(byte) => break,
            byte => {
                said.push(*byte);
                if in_quotes {
                    kept = said.len();
                }
            }
        }
        at += 1;
    }
    // Blanks at the end mean nothing outside of quotes.
    while said.len() > kept && said.last().is_some_and(u8::is_ascii_whitespace) {
        said.pop();
    }
    (!in_quotes).then_some((said, is_quoted, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parts: Option<Vec<Vec<u8>>>) -> Option<Vec<String>> {
        parts.map(|parts| parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect())
    }

    #[test]
    fn arrays_are_their_elements() {
        for (text, expected) in [
            ("{}", &[][..]),
            ("{1, 2 ,NULL}", &["1", "2"]),
            ("[2:3]={a,b}", &["a", "b"]),
            ("{{1,2},{3,4}}", &["1", "2", "3", "4"]),
            (r#"{"a,b","NULL","c\"d ",e\,f}"#, &["a,b", "NULL", "c\"d ", "e,f"]),
            ("{a;b,c}", &["a;b", "c"]),
        ] {
            assert_eq!(
                shown(elements(text.as_bytes(), b',')).as_deref(),
                Some(expected.iter().map(|part| part.to_string()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        assert_eq!((elements(b"1,2", b','), elements(b"{1", b','), elements(b"{\"a}", b',')), (None, None, None));
    }

    #[test]
    fn boxes_stand_between_semicolons() {
        assert_eq!(shown(elements(b"{(1,1),(0,0);(2,2),(1,1)}", b';')), Some(vec!["(1,1),(0,0)".into(), "(2,2),(1,1)".into()]));
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(ranges(b"{[1,2),(,\"5\"]}"), Some(vec![(some("1"), true, some("2"), false), (None, false, some("5"), true)]));
    }

    #[test]
    fn ranges_are_their_bounds() {
        assert_eq!(shown(bounds(b"[1,2)")), Some(vec!["1".into(), "2".into()]));
        assert_eq!(shown(bounds(b"(,\"2024-01-01 00:00:00\"]")), Some(vec!["2024-01-01 00:00:00".into()]));
        assert_eq!(shown(bounds(b"{[1,2),[5,)}")), Some(vec!["1".into(), "2".into(), "5".into()]));
        assert_eq!((shown(bounds(b"empty")), shown(bounds(b"(,)"))), (Some(vec![]), Some(vec![])));
    }
}
