//! SQLite's tokens, with the bytes they stand at, and a cursor that walks over them.

use super::parse::ParseError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bare identifier or keyword.
    Word,
    /// `"…"`, which is an identifier, or a string where no identifier fits.
    DoubleQuoted,
    /// `[…]` or backquotes: always an identifier.
    Quoted,
    /// `'…'`.
    Text,
    /// `x'…'`.
    Blob,
    Integer,
    Float,
    /// `?1`, `:a`, `@a`, `$a`.
    Variable,
    /// Operators and punctuation; the text says which.
    Symbol,
    /// What SQLite would refuse.
    Illegal,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// Every token of `sql`, comments and blanks left out, `End` last.
pub fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = next(bytes, at);
        if let Some(kind) = kind {
            found.push(Token { kind, start: at, end });
        }
        at = end;
    }
    found.push(Token { kind: Kind::End, start: bytes.len(), end: bytes.len() });
    found
}

/// The token at `at` (none for blanks and comments) and where it ends, which is always a character's boundary after `at`.
fn next(bytes: &[u8], at: usize) -> (Option<Kind>, usize) {
    let following = bytes.get(at + 1).copied().unwrap_or(0);
    match bytes[at] {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => (None, at + 1),
        b'-' if following == b'-' => (None, bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n + 1)),
        b'/' if following == b'*' => {
            (None, bytes[at + 2..].windows(2).position(|pair| pair == b"*/").map_or(bytes.len(), |n| at + 2 + n + 2))
        }
        b'\'' => quoted(bytes, at, b'\'', Kind::Text),
        b'"' => quoted(bytes, at, b'"', Kind::DoubleQuoted),
        b'`' => quoted(bytes, at, b'`', Kind::Quoted),
        b'[' => match bytes[at..].iter().position(|&b| b == b']') {
            Some(n) => (Some(Kind::Quoted), at + n + 1),
            None => (Some(Kind::Illegal), bytes.len()),
        },
        b'x' | b'X' if following == b'\'' => {
            let (kind, end) = quoted(bytes, at + 1, b'\'', Kind::Blob);
            let digits = &bytes[at + 2..(end - 1).max(at + 2)];
            let whole = kind == Some(Kind::Blob) && digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
            (Some(if whole { Kind::Blob } else { Kind::Illegal }), end)
        }
        b'0'..=b'9' => number(bytes, at),
        b'.' if following.is_ascii_digit() => number(bytes, at),
        b'?' | b':' | b'@' | b'$' => (Some(Kind::Variable), word_end(bytes, at + 1)),
        byte if is_word_start(byte) => (Some(Kind::Word), word_end(bytes, at + 1)),
        b'-' if bytes[at..].starts_with(b"->>") => (Some(Kind::Symbol), at + 3),
        byte => match (byte, following) {
            (b'-', b'>') | (b'|', b'|') | (b'<', b'<' | b'=' | b'>') | (b'>', b'>' | b'=') | (b'=', b'=') | (b'!', b'=') => {
                (Some(Kind::Symbol), at + 2)
            }
            (b'(' | b')' | b',' | b';' | b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'|' | b'&' | b'~', _) => {
                (Some(Kind::Symbol), at + 1)
            }
            _ => (Some(Kind::Illegal), at + 1),
        },
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn word_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|&b| !is_word(b)).map_or(bytes.len(), |n| from + n)
}

/// A doubled quote stands for itself.
fn quoted(bytes: &[u8], at: usize, quote: u8, kind: Kind) -> (Option<Kind>, usize) {
    let mut end = at + 1;
    while end < bytes.len() {
        if bytes[end] != quote {
            end += 1;
        } else if bytes.get(end + 1) == Some(&quote) {
            end += 2;
        } else {
            return (Some(kind), end + 1);
        }
    }
    (Some(Kind::Illegal), bytes.len())
}

fn number(bytes: &[u8], at: usize) -> (Option<Kind>, usize) {
    let digits = |from: usize| bytes[from..].iter().position(|b| !b.is_ascii_digit() && *b != b'_').map_or(bytes.len(), |n| from + n);
    let mut kind = Kind::Integer;
    let mut end;
    if bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X')) && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit) {
        end = bytes[at + 2..].iter().position(|b| !b.is_ascii_hexdigit() && *b != b'_').map_or(bytes.len(), |n| at + 2 + n);
    } else {
        end = digits(at);
        if bytes.get(end) == Some(&b'.') {
            kind = Kind::Float;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                kind = Kind::Float;
                end = digits(end + 1 + sign);
            }
        }
    }
    let whole = word_end(bytes, end);
    (Some(if whole == end { kind } else { Kind::Illegal }), whole)
}

/// The bare text of an identifier or string token: quotes off, doubled quotes single.
pub fn unquote(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some('[') => text[1..].strip_suffix(']').unwrap_or(&text[1..]).to_string(),
        Some(quote @ ('"' | '\'' | '`')) => {
            let inner = &text[1..];
            let inner = inner.strip_suffix(quote).unwrap_or(inner);
            let (twice, once) = (format!("{quote}{quote}"), quote.to_string());
            inner.replace(&twice, &once)
        }
        _ => text.to_string(),
    }
}

/// Walks over the tokens of one statement; never leaves them.
#[derive(Clone)]
pub struct Cursor<'s> {
    sql: &'s str,
    tokens: std::rc::Rc<[Token]>,
    at: usize,
}

impl<'s> Cursor<'s> {
    pub fn new(sql: &'s str) -> Self {
        Cursor { sql, tokens: tokens(sql).into(), at: 0 }
    }

    pub fn peek(&self) -> Token {
        self.peek_at(0)
    }

    pub fn peek_at(&self, ahead: usize) -> Token {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    pub fn text(&self, token: Token) -> &'s str {
        &self.sql[token.start..token.end]
    }

    pub fn kind(&self) -> Kind {
        self.peek().kind
    }

    pub fn is_end(&self) -> bool {
        self.kind() == Kind::End
    }

    /// Takes the token; at the end it stays there.
    pub fn take(&mut self) -> Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// True when the token `ahead` is this keyword.
    pub fn word_at(&self, ahead: usize, word: &str) -> bool {
        let token = self.peek_at(ahead);
        token.kind == Kind::Word && self.text(token).eq_ignore_ascii_case(word)
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.word_at(0, word)
    }

    pub fn is_any_word(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// True when these keywords stand next, in this order.
    pub fn is_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.word_at(ahead, word))
    }

    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.take();
        }
        found
    }

    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.symbol_at(0, symbol)
    }

    pub fn symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        let token = self.peek_at(ahead);
        token.kind == Kind::Symbol && self.text(token) == symbol
    }

    pub fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.take();
        }
        found
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.take_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(symbol)) }
    }

    /// A name in any of SQLite's spellings, `'…'` included.
    pub fn expect_name(&mut self) -> Result<String, ParseError> {
        match self.kind() {
            Kind::Word | Kind::DoubleQuoted | Kind::Quoted | Kind::Text => Ok(unquote(self.text(self.peek()))).inspect(|_| {
                self.take();
            }),
            _ => Err(self.expected("a name")),
        }
    }

    pub fn expected(&self, what: &str) -> ParseError {
        let token = self.peek();
        let found = if token.kind == Kind::End { "the end" } else { self.text(token) };
        ParseError { offset: token.start, message: format!("expected {what}, found {found}") }
    }

    /// Takes a parenthesis with all it holds; the text between, trimmed.
    pub fn take_parenthesis(&mut self) -> Result<&'s str, ParseError> {
        let open = self.peek();
        self.expect_symbol("(")?;
        let mut depth = 1usize;
        loop {
            let token = self.peek();
            if token.kind == Kind::End {
                return Err(self.expected(")"));
            }
            self.take();
            if token.kind == Kind::Symbol {
                match self.text(token) {
                    "(" => depth += 1,
                    ")" => depth -= 1,
                    _ => {}
                }
            }
            if depth == 0 {
                return Ok(self.sql[open.end..token.start].trim());
            }
        }
    }

    /// Takes tokens until one outside any parenthesis satisfies `stop` (or would close one that was not opened here, or the end); their text, trimmed.
    pub fn take_until(&mut self, stop: impl Fn(&Self) -> bool) -> &'s str {
        let start = self.peek().start;
        let mut end = start;
        let mut depth = 0usize;
        loop {
            let token = self.peek();
            if token.kind == Kind::End || (depth == 0 && (self.is_symbol(")") || stop(self))) {
                return self.sql[start..end].trim();
            }
            if self.is_symbol("(") {
                depth += 1;
            } else if self.is_symbol(")") {
                depth -= 1;
            }
            end = self.take().end;
        }
    }

    /// The text from the next token to the end of the statement, a last semicolon left out.
    pub fn rest(&self) -> &'s str {
        self.sql[self.peek().start..].trim_end().trim_end_matches(';').trim()
    }
}
