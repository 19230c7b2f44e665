//! SQLite's expressions and statements as a tree of their own. Names are bare.

use super::parse::Conflict;

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Null,
    /// As written: `12`, `0x1F`, `1_000`.
    Integer(String),
    Float(String),
    Text(String),
    /// Hexadecimal digits.
    Blob(String),
    CurrentDate,
    CurrentTime,
    CurrentTimestamp,
    Column(ColumnRef),
    Variable,
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// AND, OR and `||` over any number of operands, so that long chains stay flat.
    Chain(Chain, Vec<Expr>),
    IsNull(Box<Expr>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Set),
    Like {
        like: Like,
        text: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
    },
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast(Box<Expr>, String),
    Collate(Box<Expr>, String),
    Call(Box<Call>),
    Exists(Box<Select>),
    Subquery(Box<Select>),
    Row(Vec<Expr>),
    /// `RAISE(IGNORE)` has no message.
    Raise(Option<Conflict>, Option<Box<Expr>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnRef {
    pub table: Option<String>,
    pub name: String,
    /// `"…"`: a string where no column has the name.
    pub double_quoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Negate,
    Plus,
    BitNot,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Equal,
    NotEqual,
    Is,
    IsNot,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    BitAnd,
    BitOr,
    ShiftLeft,
    ShiftRight,
    /// `->`
    Json,
    /// `->>`
    JsonValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    And,
    Or,
    Concat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    Like,
    Glob,
    Regexp,
    Match,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    List(Vec<Expr>),
    Select(Box<Select>),
    Table(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// In lower case.
    pub name: String,
    pub distinct: bool,
    pub star: bool,
    pub arguments: Vec<Expr>,
    pub order_by: Vec<Order>,
    pub filter: Option<Expr>,
    pub over: Option<Window>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// The named window that this one is or starts from.
    pub base: Option<String>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<Order>,
    /// The frame, as written; its words are PostgreSQL's too.
    pub frame: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub recursive: bool,
    pub with: Vec<Cte>,
    pub first: Core,
    pub compound: Vec<(Compound, Core)>,
    pub order_by: Vec<Order>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cte {
    pub name: String,
    pub columns: Vec<String>,
    pub select: Select,
    pub materialized: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compound {
    Union,
    UnionAll,
    Intersect,
    Except,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Core {
    Select(Box<Body>),
    Values(Vec<Vec<Expr>>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    pub distinct: bool,
    pub results: Vec<ResultColumn>,
    pub from: Option<From>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub having: Option<Expr>,
    pub windows: Vec<(String, Window)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ResultColumn {
    /// With the alias and the text as written, which is the column's name when nothing better is.
    Expr(Expr, Option<String>, String),
    Star,
    TableStar(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct From {
    pub first: Source,
    pub joins: Vec<Join>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    pub kind: JoinKind,
    pub natural: bool,
    pub source: Source,
    pub on: Option<Expr>,
    pub using: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// `,`, JOIN, INNER JOIN and CROSS JOIN are one to SQLite.
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub item: SourceItem,
    pub alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceItem {
    Table(String),
    Function(String),
    Select(Box<Select>),
    Nested(Box<From>),
}

/// A statement of a trigger's body.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Select(Select),
    Insert { or: Option<Conflict>, table: String, columns: Vec<String>, source: Option<Select>, upsert: Vec<Upsert> },
    Update { or: Option<Conflict>, table: String, set: Vec<(Vec<String>, Expr)>, from: Option<From>, filter: Option<Expr> },
    Delete { table: String, filter: Option<Expr> },
}

/// `ON CONFLICT (target) DO NOTHING`, or `DO UPDATE SET …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsert {
    pub target: Vec<Expr>,
    pub target_filter: Option<Expr>,
    pub set: Option<Vec<(Vec<String>, Expr)>>,
    pub filter: Option<Expr>,
}
