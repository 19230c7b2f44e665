//! Is a text JSON, and would `jsonb` give it back with the same meaning?

/// What PostgreSQL's two types can do with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JsonShape {
    /// `jsonb` loses nothing but white space and the order of keys.
    Lossless,
    /// `jsonb` would write a number in another way (`1e2` becomes `100`), with the same value.
    NumberRespelled,
    /// Only `json`, which keeps the text, is exact: a key stands twice, a number is beyond `numeric`, or there is a `\u0000`.
    TextMatters,
}

/// Deeper nesting than this is not called JSON here; PostgreSQL's own limit depends on its stack.
const MAX_DEPTH: usize = 500;

/// None when the text is not JSON (RFC 8259) or has half of a surrogate pair, which PostgreSQL cannot turn into text.
pub fn shape(text: &[u8]) -> Option<JsonShape> {
    let mut scanner = Scanner { text, at: 0, shape: JsonShape::Lossless };
    scanner.blanks();
    scanner.value(0)?;
    scanner.blanks();
    (scanner.at == text.len()).then_some(scanner.shape)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    shape: JsonShape,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.take(b'{')?;
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(());
        }
        let mut keys: Vec<&[u8]> = Vec::new();
        loop {
            let key = self.string()?;
            // A key with an escape may equal another that is spelled differently: then the text is kept.
            if key.contains(&b'\\') {
                self.shape = JsonShape::TextMatters;
            }
            keys.push(key);
            self.blanks();
            self.take(b':')?;
            self.blanks();
            self.value(depth + 1)?;
            self.blanks();
            if self.take(b',').is_none() {
                break;
            }
            self.blanks();
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            self.shape = JsonShape::TextMatters;
        }
        self.take(b'}')
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.blanks();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            self.blanks();
            if self.take(b',').is_none() {
                break;
            }
            self.blanks();
        }
        self.take(b']')
    }

    /// The raw text between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(&self.text[start..self.at - 1]);
                }
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.hex()? {
                0 => {
                    self.shape = JsonShape::TextMatters;
                    Some(())
                }
                0xd800..0xdc00 => {
                    self.take(b'\\')?;
                    self.take(b'u')?;
                    (0xdc00..0xe000).contains(&self.hex()?).then_some(())
                }
                0xdc00..0xe000 => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let negative = self.take(b'-').is_some();
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        let mut scale = 0;
        if self.take(b'.').is_some() {
            let before = self.at;
            self.digits()?;
            scale = self.at - before;
        }
        let zero = self.text[start..self.at].iter().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        let mut shape = JsonShape::Lossless;
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            let digits = self.at;
            self.digits()?;
            shape = if self.at - digits > 3 { JsonShape::TextMatters } else { JsonShape::NumberRespelled };
        }
        // `numeric` has no minus zero, and ends at 131072 digits before and 16383 after the point.
        if (negative && zero) || scale > 1000 || self.at - start > 2000 {
            shape = JsonShape::TextMatters;
        }
        self.shape = self.shape.max(shape);
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_would_keep() {
        for text in ["{}", "[1, -2.50, true, null]", r#" {"a": {"b": "é\n\ud83d\ude00"}} "#, "\"x\"", "0"] {
            assert_eq!(shape(text.as_bytes()), Some(JsonShape::Lossless), "{text}");
        }
    }

    #[test]
    fn what_only_json_keeps() {
        for text in [r#"{"a":1,"a":2}"#, "1e4000", "-0", "-0.0", r#"{"s":"\u0000"}"#, r#"{"\u0061":1}"#] {
            assert_eq!(shape(text.as_bytes()), Some(JsonShape::TextMatters), "{text}");
        }
    }

    #[test]
    fn what_jsonb_writes_in_another_way() {
        for text in ["1e400", "[1E2, 5]", r#"{"x": 1.5e-7}"#] {
            assert_eq!(shape(text.as_bytes()), Some(JsonShape::NumberRespelled), "{text}");
        }
    }

    #[test]
    fn what_is_not_json() {
        for text in ["", "not json", "{", "[1,]", "01", "1.", "+1", "'a'", r#""\ud800""#, r#""\x""#, "\"a\nb\"", "{} {}", "NaN", "[1 2]"] {
            assert_eq!(shape(text.as_bytes()), None, "{text}");
        }
        assert_eq!(shape("[".repeat(100_000).as_bytes()), None);
    }
}
