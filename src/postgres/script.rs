//! A file of SQL as statements: where each begins and ends, and which of them builds an index concurrently.
//!
//! The server splits a script itself, but runs it as one transaction; what must run outside one has to be sent alone.

use crate::model::Name;

/// One statement of a script, without its semicolon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    pub text: &'a str,
    /// Line of the script on which it begins, from 1.
    pub line: usize,
}

/// `CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] [name] ON …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrentIndex {
    pub name: Option<Name>,
}

/// What a statement does with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// None: that of the search path.
    pub schema: Option<String>,
    pub table: String,
    /// After it no table has this name.
    pub ends: bool,
}

/// Splits a script as psql does: not inside quotes, dollar quotes, comments, parentheses or a function's `BEGIN ATOMIC … END`.
/// Pieces without a token (blank, or comments alone) are left out.
pub fn statements(script: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut first: Option<usize> = None;
    let mut end = 0;
    let (mut parentheses, mut blocks, mut routine, mut words) = (0usize, 0usize, false, 0usize);
    for token in Tokens::new(script) {
        if token.kind == Kind::Symbol(';') && parentheses == 0 && blocks == 0 {
            statements.extend(first.take().map(|start| statement(script, start, end)));
            (parentheses, routine, words) = (0, false, 0);
            continue;
        }
        first.get_or_insert(token.start);
        end = token.end;
        match token.kind {
            Kind::Symbol('(') => parentheses += 1,
            Kind::Symbol(')') => parentheses = parentheses.saturating_sub(1),
            Kind::Word => {
                let word = &script[token.start..token.end];
                let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
                // CREATE [OR REPLACE] FUNCTION | PROCEDURE: only there is BEGIN a block.
                routine |= words < 4 && (is("function") || is("procedure"));
                words += 1;
                if routine && (is("begin") || (blocks > 0 && is("case"))) {
                    blocks += 1;
                } else if is("end") {
                    blocks = blocks.saturating_sub(1);
                }
            }
            _ => {}
        }
    }
    statements.extend(first.map(|start| statement(script, start, end)));
    statements
}

fn statement(script: &str, start: usize, end: usize) -> Statement<'_> {
    Statement { text: &script[start..end], line: 1 + script[..start].bytes().filter(|byte| *byte == b'\n').count() }
}

impl Statement<'_> {
    /// True when `CONCURRENTLY` stands among its words: it waits for older snapshots, and blocks nobody while it does.
    pub fn is_concurrent(&self) -> bool {
        self.words().any(|word| word == Word::Bare("concurrently".into()))
    }

    pub fn concurrent_index(&self) -> Option<ConcurrentIndex> {
        let bare = |text: &str| Some(Word::Bare(text.into()));
        let mut words = self.words().peekable();
        if words.next() != bare("create") {
            return None;
        }
        if words.peek() == bare("unique").as_ref() {
            words.next();
        }
        if words.next() != bare("index") || words.next() != bare("concurrently") {
            return None;
        }
        let mut name = words.next();
        if name == bare("if") {
            name = words.nth(2);
        }
        let name = match name {
            Some(Word::Bare(word)) if word == "on" => None,
            Some(Word::Bare(name) | Word::Quoted(name)) => Some(Name::new(name)),
            None => None,
        };
        Some(ConcurrentIndex { name })
    }

    /// The tables that `CREATE TABLE`, `CREATE INDEX`, `ALTER TABLE` and `DROP TABLE` are about; none for any other statement.
    pub fn tables(&self) -> Vec<TableUse> {
        let tokens: Vec<Token> = Tokens::new(self.text).collect();
        let bare = |at: usize| tokens.get(at).filter(|token| token.kind == Kind::Word).map(|token| self.of(token).to_ascii_lowercase());
        let is = |at: usize, words: &[&str]| bare(at).is_some_and(|word| words.contains(&word.as_str()));
        let past = |mut at: usize, words: &[&str]| {
            while is(at, words) {
                at += 1;
            }
            at
        };
        let many = is(0, &["drop"]) && is(1, &["table"]);
        let ends = many || is(0, &["alter"]) && (1..tokens.len()).any(|at| is(at, &["rename", "set"]) && is(at + 1, &["to", "schema"]));
        let kind = past(1, &["unlogged", "foreign", "unique"]);
        let mut at = match (bare(0).as_deref(), bare(kind).as_deref()) {
            (Some("create" | "alter" | "drop"), Some("table")) => past(kind + 1, &["if", "not", "exists", "only"]),
            (Some("create"), Some("index")) => match (kind..tokens.len()).find(|at| is(*at, &["on"])) {
                Some(on) => past(on + 1, &["only"]),
                None => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        let mut uses = Vec::new();
        while let Some(first) = tokens.get(at).and_then(|token| self.name(token)) {
            let is_symbol = |at: usize, wanted: char| tokens.get(at).is_some_and(|token| token.kind == Kind::Symbol(wanted));
            let second = tokens.get(at + 2).filter(|_| is_symbol(at + 1, '.')).and_then(|token| self.name(token));
            at += if second.is_some() { 3 } else { 1 };
            uses.push(match second {
                Some(table) => TableUse { schema: Some(first), table, ends },
                None => TableUse { schema: None, table: first, ends },
            });
            if !(many && is_symbol(at, ',')) {
                break;
            }
            at += 1;
        }
        uses
    }

    fn of(&self, token: &Token) -> &str {
        &self.text[token.start..token.end]
    }

    /// A name as PostgreSQL takes it.
    fn name(&self, token: &Token) -> Option<String> {
        let text = self.of(token);
        match token.kind {
            // Unquoted names fold to lower case, ASCII only in UTF-8 databases.
            Kind::Word => Some(text.to_ascii_lowercase()),
            Kind::QuotedName => Some(text[1..text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }

    fn words(&self) -> impl Iterator<Item = Word> + '_ {
        Tokens::new(self.text).filter_map(|token| {
            let name = self.name(&token)?;
            Some(if token.kind == Kind::Word { Word::Bare(name) } else { Word::Quoted(name) })
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    QuotedName,
    /// A string, a dollar quote or a number: passed over whole.
    Literal,
    Symbol(char),
}

struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// PostgreSQL's tokens, as far as they decide where a statement ends. Comments and space are no tokens.
struct Tokens<'a> {
    script: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(script: &'a str) -> Self {
        Tokens { script, at: 0 }
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            let rest = &self.script[self.at..];
            let trimmed = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.at += block_comment(trimmed);
            } else {
                return;
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_space_and_comments();
        let rest = &self.script[self.at..];
        let letter = rest.chars().next()?;
        let (kind, length) = match letter {
            '\'' => (Kind::Literal, quoted(rest, '\'', false)),
            'e' | 'E' if rest[1..].starts_with('\'') => (Kind::Literal, 1 + quoted(&rest[1..], '\'', true)),
            '"' => (Kind::QuotedName, quoted(rest, '"', false)),
            '$' => match dollar_quoted(rest) {
                Some(length) => (Kind::Literal, length),
                None => (Kind::Symbol('$'), 1),
            },
            _ if is_name_start(letter) => (Kind::Word, name_length(rest)),
            // A number takes its letters along: 1e5, 0x1F.
            _ if letter.is_ascii_digit() => (Kind::Literal, name_length(rest)),
            _ => (Kind::Symbol(letter), letter.len_utf8()),
        };
        let start = self.at;
        self.at += length;
        // A quote that never ends is no name: the server will say so.
        let kind = if kind == Kind::QuotedName && (length < 2 || !rest[..length].ends_with('"')) { Kind::Literal } else { kind };
        Some(Token { kind, start, end: self.at })
    }
}

fn is_name_start(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphabetic() || !letter.is_ascii()
}

fn name_length(text: &str) -> usize {
    text.find(|letter: char| !(is_name_start(letter) || letter.is_ascii_digit() || letter == '$')).unwrap_or(text.len())
}

/// Length of a quoted piece, both quotes included; a doubled quote stays inside, and so does one behind a backslash in E''.
fn quoted(text: &str, quote: char, backslash: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if backslash && letter == '\\' {
            letters.next();
        } else if letter == quote {
            if letters.peek().is_some_and(|(_, next)| *next == quote) {
                letters.next();
            } else {
                return at + 1;
            }
        }
    }
    text.len()
}

/// Length of `$tag$ … $tag$`, or none when no dollar quote begins here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = 1 + text[1..].find(|letter: char| !(is_name_start(letter) || letter.is_ascii_digit()))?;
    let valid = text[tag_end..].starts_with('$') && !text[1..].starts_with(|letter: char| letter.is_ascii_digit());
    let tag = valid.then(|| &text[..=tag_end])?;
    Some(text[tag.len()..].find(tag).map_or(text.len(), |body| body + 2 * tag.len()))
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        statements(script).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn a_semicolon_splits_only_where_a_statement_ends() {
        assert_eq!(texts("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(texts("SELECT ';', ''';'; x"), ["SELECT ';', ''';'", "x"]);
        assert_eq!(texts(r"SELECT E'\';'; x"), [r"SELECT E'\';'", "x"]);
        assert_eq!(texts(r"SELECT '\'; x"), [r"SELECT '\'", "x"]);
        assert_eq!(texts("SELECT \"a;\"\"b\"; x"), ["SELECT \"a;\"\"b\"", "x"]);
        assert_eq!(texts("DO $$ a; $x$ b; $$; x"), ["DO $$ a; $x$ b; $$", "x"]);
        assert_eq!(texts("DO $été$ a; $$ $été$; x"), ["DO $été$ a; $$ $été$", "x"]);
        assert_eq!(texts("SELECT $1; x"), ["SELECT $1", "x"]);
        assert_eq!(texts("SELECT a$b$; SELECT c$b$; x"), ["SELECT a$b$", "SELECT c$b$", "x"]);
        assert_eq!(texts("SELECT 1 -- a; 'b\n; x"), ["SELECT 1", "x"]);
        assert_eq!(texts("/* a; /* b; */ c; */ SELECT 1; x"), ["SELECT 1", "x"]);
        assert_eq!(texts("CREATE RULE r AS ON INSERT TO t DO (a; b); x"), ["CREATE RULE r AS ON INSERT TO t DO (a; b)", "x"]);
        assert_eq!(
            texts("CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC; SELECT CASE WHEN a THEN 1 END; SELECT 2; END; x"),
            ["CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC; SELECT CASE WHEN a THEN 1 END; SELECT 2; END", "x"]
        );
        assert_eq!(texts("BEGIN; x; END;"), ["BEGIN", "x", "END"]);
        assert_eq!(texts(" ;; -- nothing\n ; /* at all */"), [""; 0]);
    }

    #[test]
    fn what_never_ends_is_one_statement() {
        for script in ["SELECT 'a; b", "SELECT \"a; b", "\"", "DO $$ a; b", "SELECT (a; b", "E'\\"] {
            assert_eq!(texts(script), [script]);
        }
        assert_eq!(texts("x; /* a; b"), ["x"]);
    }

    #[test]
    fn a_statement_knows_its_line() {
        let lines: Vec<usize> = statements("-- one\n\nSELECT 1;\nSELECT\n2; SELECT 3").iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [3, 4, 5]);
    }

    #[test]
    fn a_concurrent_index_is_known_by_name() {
        let index = |text: &str| statements(text)[0].concurrent_index().map(|index| index.name.map(|name| name.as_str().to_string()));
        assert_eq!(index("CREATE INDEX CONCURRENTLY a ON t (x)"), Some(Some("a".into())));
        assert_eq!(index("create unique index concurrently if not exists A_b on t (x)"), Some(Some("a_b".into())));
        assert_eq!(index("CREATE INDEX /* CREATE */ CONCURRENTLY \"Été \"\"x\" ON t (x)"), Some(Some("Été \"x".into())));
        assert_eq!(index("CREATE INDEX CONCURRENTLY ON t (x)"), Some(None));
        assert_eq!(index("CREATE INDEX a ON t (x)"), None);
        assert_eq!(index("DROP INDEX CONCURRENTLY a"), None);
        assert!(statements("DROP INDEX CONCURRENTLY a")[0].is_concurrent());
        assert!(!statements("SELECT 'CONCURRENTLY', \"concurrently\"")[0].is_concurrent());
    }

    #[test]
    fn a_statement_knows_its_tables() {
        let tables = |text: &str| {
            let of = |used: TableUse| {
                format!(
                    "{}{}{}",
                    used.schema.map_or(String::new(), |schema| schema + "."),
                    used.table,
                    if used.ends { " ends" } else { "" }
                )
            };
            statements(text)[0].tables().into_iter().map(of).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(tables("CREATE TABLE \"My S\".\"a \"\"b\" (x int)"), "My S.a \"b");
        assert_eq!(tables("create unlogged table if not exists Orders(id int)"), "orders");
        assert_eq!(tables("CREATE TEMP TABLE a (x int)"), "");
        assert_eq!(tables("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY app.t (x)"), "app.t");
        assert_eq!(tables("ALTER TABLE IF EXISTS ONLY t ADD CONSTRAINT c CHECK (x > 0)"), "t");
        assert_eq!(tables("ALTER TABLE t RENAME TO u"), "t ends");
        assert_eq!(tables("ALTER TABLE t RENAME COLUMN a TO b"), "t");
        assert_eq!(tables("ALTER TABLE t SET SCHEMA s"), "t ends");
        assert_eq!(tables("DROP TABLE IF EXISTS a, s.b CASCADE"), "a ends, s.b ends");
        assert_eq!(tables("SELECT 1 FROM t"), "");
        assert_eq!(tables("CREATE INDEX"), "");
    }
}
