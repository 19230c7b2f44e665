//! A query as a store knows it: checked once, with everything of its key that does not change from call to call.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio_postgres::types::{ToSql, Type};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::model::{ParamType, Query, QueryKind};
use crate::store::StoreError;
use crate::store::metrics::QueryMetrics;
use crate::store::params::Params;

/// What [`Store::declare`](crate::store::Store::declare) gives back; cheap to clone.
#[derive(Clone)]
pub struct Declared(pub(super) Arc<Declaration>);

pub(super) struct Declaration {
    /// Whose it is: its key is of that store's database and role.
    pub store: u64,
    pub query: Query,
    pub types: Vec<Type>,
    /// Its answers may be kept, and the store keeps answers.
    pub kept: bool,
    /// It is not to be prepared under a name any more: through a pooler a name keeps the plan of before a change of its tables.
    pub unnamed: AtomicBool,
    /// Over the namespace, the epoch, the database, the role, the text and its types.
    pub fingerprint: u128,
    templates: Vec<Vec<Piece>>,
    pub metrics: QueryMetrics,
}

/// A part of a tag's template.
enum Piece {
    Text(&'static str),
    /// The parameter at this place, from 0.
    Param(usize),
}

/// A tag's text and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub text: Box<str>,
    pub hash: u64,
}

impl Tag {
    pub fn new(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        let hash = xxh3_64(text.as_bytes());
        Tag { text, hash }
    }
}

impl Declared {
    pub fn query(&self) -> &Query {
        &self.0.query
    }
}

impl Declaration {
    /// `identity`: what tells this database and this role from any other that shares the cache. `store`: whose it is.
    pub fn new(query: Query, identity: &[&[u8]], store: u64) -> Result<Self, StoreError> {
        let misuse = |why: String| StoreError::misuse(format!("query {:?}: {why}", query.name));
        if let Some(word) = changing_word(query.sql, query.kind) {
            let why = match query.kind {
                QueryKind::Cached if VARYING.contains(&word.as_str()) => "so its answer cannot be kept; declare it with Query::read",
                // A read may be sent twice, and goes in a transaction that is read-only.
                _ => "so it is no read; declare it with Query::write",
            };
            return Err(misuse(format!("it says {word}, {why}")));
        }
        if query.tags.len() > Query::MAX_TAGS {
            return Err(misuse(format!("it has more than {} tags", Query::MAX_TAGS)));
        }
        let templates = query.tags.iter().map(|tag| pieces(tag, query.params.len()).map_err(&misuse)).collect::<Result<_, _>>()?;
        let types: Vec<Type> = query.params.iter().map(|param| sql_type(*param)).collect();
        let mut text = Vec::new();
        let oids: Vec<u8> = types.iter().flat_map(|param| param.oid().to_le_bytes()).collect();
        // Each part after its length, so that no two lists of parts make the same text.
        for part in identity.iter().copied().chain([query.sql.as_bytes(), &oids]) {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part);
        }
        let fingerprint = xxh3_128(&text);
        let kept = query.kind == QueryKind::Cached;
        Ok(Declaration {
            store,
            query,
            types,
            kept,
            unnamed: AtomicBool::new(false),
            fingerprint,
            templates,
            metrics: QueryMetrics::default(),
        })
    }

    /// The tags of this call.
    pub fn tags(&self, params: &Params) -> Vec<Tag> {
        let tag = |pieces: &Vec<Piece>| {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(piece) => text.push_str(piece),
                    Piece::Param(at) => push_text(&mut text, &self.types[*at], params.get(*at)),
                }
            }
            Tag::new(text)
        };
        self.templates.iter().map(tag).collect()
    }

    /// The parameters as they go to the server; the first that does not fit its type is an error.
    pub fn params(&self, params: &[&(dyn ToSql + Sync)]) -> Result<Params, StoreError> {
        self.check_count(params)?;
        let mut bytes = bytes::BytesMut::new();
        for (at, (param, param_type)) in params.iter().zip(&self.types).enumerate() {
            Params::push(&mut bytes, *param, param_type).map_err(|error| self.misfit(at, &*error))?;
        }
        Ok(Params::from_bytes(Bytes::from(bytes)))
    }

    #[inline]
    pub fn check_count(&self, params: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        if params.len() == self.types.len() {
            return Ok(());
        }
        let message = format!("query {:?} takes {} parameters, and {} are given", self.query.name, self.types.len(), params.len());
        Err(StoreError::misuse(message))
    }

    /// The parameter at this place, from 0, does not fit its type.
    pub fn misfit(&self, at: usize, error: &dyn std::error::Error) -> StoreError {
        StoreError::misuse(format!("query {:?}, parameter {}: {error}", self.query.name, at + 1))
    }
}

fn sql_type(param: ParamType) -> Type {
    match param {
        ParamType::Bool => Type::BOOL,
        ParamType::Int2 => Type::INT2,
        ParamType::Int4 => Type::INT4,
        ParamType::Int8 => Type::INT8,
        ParamType::Float4 => Type::FLOAT4,
        ParamType::Float8 => Type::FLOAT8,
        ParamType::Text => Type::TEXT,
        ParamType::Bytea => Type::BYTEA,
        ParamType::Uuid => Type::UUID,
        ParamType::Timestamptz => Type::TIMESTAMPTZ,
        ParamType::Json => Type::JSON,
        ParamType::Jsonb => Type::JSONB,
        ParamType::Int8Array => Type::INT8_ARRAY,
        ParamType::TextArray => Type::TEXT_ARRAY,
    }
}

/// `user:{1}:{2}` in parts.
fn pieces(template: &'static str, params: usize) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, after)) = rest.split_once('{') {
        let (number, after) = after.split_once('}').ok_or_else(|| format!("the tag {template:?} has an open brace"))?;
        let at = number.parse::<usize>().ok().filter(|at| (1..=params).contains(at));
        pieces.push(Piece::Text(text));
        pieces.push(Piece::Param(at.ok_or_else(|| format!("the tag {template:?} names a parameter {number:?} that is not there"))? - 1));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// A parameter as text: the same text for the same value, whoever asks.
fn push_text(text: &mut String, param_type: &Type, value: Option<&[u8]>) {
    use std::fmt::Write as _;
    let Some(value) = value else { return text.push_str("null") };
    // Writing to a String cannot fail.
    let _ = match (param_type, value) {
        (&Type::BOOL, [byte]) => write!(text, "{}", *byte != 0),
        (&Type::INT2, _) if value.len() == 2 => write!(text, "{}", i16::from_be_bytes([value[0], value[1]])),
        (&Type::INT4, &[a, b, c, d]) => write!(text, "{}", i32::from_be_bytes([a, b, c, d])),
        (&Type::INT8, &[a, b, c, d, e, f, g, h]) => write!(text, "{}", i64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (&Type::UUID, _) if value.len() == 16 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(value);
            write!(text, "{}", crate::model::Uuid(bytes))
        }
        (&Type::TEXT, _) => write!(text, "{}", String::from_utf8_lossy(value)),
        _ => value.iter().try_for_each(|byte| write!(text, "{byte:02x}")),
    };
}

/// Words by which a statement answers differently each time; none of them may stand in a query whose answer is kept.
const VARYING: [&str; 8] =
    ["RANDOM", "GEN_RANDOM_UUID", "UUIDV4", "UUIDV7", "UUID_GENERATE_V4", "CLOCK_TIMESTAMP", "STATEMENT_TIMESTAMP", "TIMEOFDAY"];

/// Words by which a statement changes something; none of them may stand in a read.
const CHANGING: [&str; 23] = [
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "TRUNCATE",
    "CREATE",
    "ALTER",
    "DROP",
    "GRANT",
    "REVOKE",
    "CALL",
    "DO",
    "COPY",
    "LOCK",
    "VACUUM",
    "REFRESH",
    "NOTIFY",
    "SHARE",
    "NEXTVAL",
    "SETVAL",
    "PG_NOTIFY",
    "SET_CONFIG",
    "INTO",
];

/// The first such word outside of quotes and comments that this kind of query may not say; also anything that does not begin like a query, and more
/// than one statement, where the answer is kept.
fn changing_word(sql: &str, kind: QueryKind) -> Option<String> {
    if kind == QueryKind::Write {
        return None;
    }
    let is_kept = kind == QueryKind::Cached;
    let code = without_quotes(sql);
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).map(str::to_uppercase);
    let mut first = true;
    for word in words {
        if is_kept && first && !matches!(word.as_str(), "SELECT" | "WITH" | "VALUES" | "TABLE") {
            return Some(word);
        }
        first = false;
        if CHANGING.contains(&word.as_str())
            || is_kept && VARYING.contains(&word.as_str())
            || word.starts_with("PG_ADVISORY")
            || word.starts_with("PG_TRY_ADVISORY")
        {
            return Some(word);
        }
    }
    let ends = code.trim_end().trim_end_matches(';');
    (is_kept && (first || ends.contains(';'))).then(|| "more or less than one statement".to_string())
}

/// The text with everything in quotes, dollars and comments blank.
fn without_quotes(sql: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(sql.len()), sql);
    while let Some(first) = rest.chars().next() {
        let escapes =
            first == '\'' && code.ends_with(['E', 'e']) && !code[..code.len() - 1].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
        let blank = match first {
            '\'' if escapes => escaped_text(rest),
            // Doubled quotes are two quoted texts side by side.
            '\'' => until("'", 1),
            '"' => until("\"", 1),
            '-' if rest.starts_with("--") => until("\n", 2),
            '/' if rest.starts_with("/*") => until("*/", 2),
            '$' => match rest[1..].find('$') {
                Some(at)
                    if rest[1..1 + at].chars().all(|c| c.is_alphanumeric() || c == '_')
                        && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    until(&rest[..at + 2], at + 2)
                }
                _ => 0,
            },
            _ => 0,
        };
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[blank..];
        }
    }
    code
}

/// How long the text in quotes at the start is, where a backslash takes the next character as it is.
fn escaped_text(sql: &str) -> usize {
    let mut characters = sql.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Query = Query::cached("q", "SELECT 1 WHERE $1 = $2", &[ParamType::Int8, ParamType::Text]);

    fn declared(query: Query) -> Declaration {
        Declaration::new(query, &[b"db"], 1).unwrap()
    }

    #[test]
    fn only_reads_are_kept() {
        for sql in [
            "SELECT 1",
            "with a as (select 1) select 'DELETE FROM x' from a -- UPDATE",
            "SELECT \"update\" FROM t /* INSERT */;",
            "SELECT $$DROP$$, $a$ALTER$a$",
        ] {
            assert_eq!(changing_word(sql, QueryKind::Cached), None, "{sql}");
        }
        for sql in [
            "INSERT INTO a VALUES (1) RETURNING id",
            "WITH d AS (DELETE FROM a RETURNING *) SELECT * FROM d",
            "SELECT * FROM a FOR UPDATE",
            "SELECT nextval('s')",
            "SELECT random()",
            "SELECT 1; SELECT 2",
            "SELECT * INTO b FROM a",
            "",
            "SELECT pg_advisory_lock(1)",
            "SELECT * FROM a FOR KEY SHARE",
        ] {
            assert!(changing_word(sql, QueryKind::Cached).is_some(), "{sql}");
            assert!(Declaration::new(Query { sql, ..ID }, &[], 1).is_err());
        }
    }

    #[test]
    fn a_read_may_answer_differently_each_time_and_changes_nothing() {
        for sql in ["SELECT random()", "SHOW work_mem", "SELECT 1 FROM pg_sleep(1)", "SELECT E'\\'', 1"] {
            assert_eq!(changing_word(sql, QueryKind::Read), None, "{sql}");
        }
        for sql in ["SELECT nextval('s')", "SELECT * FROM a FOR UPDATE", "SELECT E'\\'', nextval('s')", "SELECT E'\\\\', nextval('s'), 'x'"]
        {
            let error = Declaration::new(Query { sql, kind: QueryKind::Read, ..ID }, &[], 1).err().unwrap();
            assert!(error.to_string().contains("declare it with Query::write"), "{error}");
        }
    }

    #[test]
    fn tags_are_filled_with_the_text_of_values() {
        let declared = declared(ID.tags(&["a:{1}:{2}", "all"]));
        let params = declared.params(&[&-7_i64, &"x{1}"]).unwrap();
        let texts: Vec<String> = declared.tags(&params).iter().map(|tag| tag.text.to_string()).collect();
        assert_eq!(texts, ["a:-7:x{1}", "all"]);
        assert!(Declaration::new(ID.tags(&["a:{3}"]), &[], 1).is_err());
        assert!(Declaration::new(ID.tags(&["a:{1"]), &[], 1).is_err());
        assert!(declared.params(&[&7_i64]).is_err());
        assert!(declared.params(&[&7_i32, &"x"]).is_err());
    }

    #[test]
    fn everything_that_changes_the_answer_changes_the_fingerprint() {
        let one = declared(ID).fingerprint;
        assert_eq!(declared(ID).fingerprint, one);
        assert_ne!(declared(Query { sql: "SELECT 2 WHERE $1 = $2", ..ID }).fingerprint, one);
        assert_ne!(declared(Query { params: &[ParamType::Int4, ParamType::Text], ..ID }).fingerprint, one);
        assert_ne!(Declaration::new(ID, &[b"d", b"b"], 1).unwrap().fingerprint, one);
    }
}
