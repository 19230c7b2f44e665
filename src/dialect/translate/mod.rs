//! SQLite's expressions, views and triggers said in PostgreSQL's SQL, where an exact form exists.
//!
//! The rule: what is returned gives SQLite's answer for every row that the tables may hold; all else is [`Untranslatable`], with the reason.
//! What "exact" leaves out, knowingly: an integer that leaves 64 bits is an error in PostgreSQL where SQLite turns to REAL (it is said where the rows
//! may come to it, and a run reads each view to find it); the last bits of a sum of REALs depend on the order in both, and an integer beyond 2^53 loses them where it is summed with REALs;
//! seconds since 1970 that lie before the year 1 are no time; a column that SQLite takes from an arbitrary row of a group comes from an arbitrary row
//! here too, and so does the one of several texts alike under a collation that min() or max() gives; local time is that of the session's TimeZone;
//! AFTER triggers see the whole statement done, where SQLite's see one row of it.

mod aggregate;
mod cascade;
mod cast;
mod collect;
mod compare;
mod expr;
mod folded;
mod from;
mod function;
mod grouping;
mod json;
mod like;
mod literal;
mod mixed;
mod numbers;
mod order;
mod overflow;
mod own_rows;
mod rowids;
mod scope;
mod select;
mod time;
mod trigger;
mod typed;

use std::fmt;

use super::ast::Expr;
use super::parse::{ParseError, create_view};
use super::syntax;
use crate::model::{Affinity, Collation, Name, QualifiedName};
use expr::Translator;
use overflow::Leaves;
use scope::{Scope, ScopeSource};
use typed::Class;

pub use cascade::{Cascade, Return};
pub use own_rows::OWN_ROWS;
pub use rowids::rowids;
pub use trigger::{SEES_ALL, fires, stands_in_for_update, trigger};
pub use typed::{Constant, OPAQUE, OTHER_TYPE};

/// The type of a column in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Boolean,
    /// bigint, or narrower.
    Integer,
    Float,
    Numeric,
    Text,
    Bytea,
    Timestamp,
    TimestampTz,
    Date,
    Time,
    Uuid,
    Json,
    Jsonb,
    Other(String),
}

/// How SQLite holds the values behind a column of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the type suggests: boolean from 0 and 1, text from text, times spelled as SQLite's own functions spell them
    /// (`2024-01-31`, `2024-01-31 23:59:59`, `23:59:59`), JSON and UUIDs as PostgreSQL would print them.
    Canonical,
    /// As text in some other spelling that SQLite's date functions read: `2024-01-31T23:59:59.5Z`.
    Text,
    /// The same, all in one spelling, so that the texts are equal, and sorted, as the times are.
    Uniform,
    /// As integers and texts in a text column, kept apart by SQLite's numeric affinity: a text that looks like a number became one.
    Mixed,
    /// In any other way: several storage classes in a text column, 't' and 'f' behind a boolean, epochs behind a timestamp.
    Other,
}

/// Tables, and views as they get translated.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub relations: Vec<Relation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub source: String,
    pub target: QualifiedName,
    pub columns: Vec<RelationColumn>,
    /// The source names of the columns of the key that stands in PostgreSQL as PRIMARY KEY.
    pub primary_key: Vec<String>,
    /// The source name of the column that is another name of the rowid.
    pub rowid_alias: Option<String>,
    /// The source names of the columns of the only key by which a row can conflict with another, where nothing else takes notice when a row
    /// is replaced: no foreign key, no trigger. Empty for a table without keys; none where REPLACE would do more.
    pub replaces_by: Option<Vec<String>>,
    /// The source names of the columns that PostgreSQL does not have.
    pub left_out: Vec<String>,
    /// A copy of a full-text table.
    pub full_text: bool,
    /// Nothing else takes notice when a row changes: no foreign key, no trigger.
    pub unwatched: bool,
    /// It has CHECKs.
    pub checked: bool,
    /// The source names of columns whose key may have to be an exclusion constraint, which ON CONFLICT cannot name.
    pub long_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    pub source: String,
    pub target: Name,
    pub type_: Type,
    /// That of the type declared in SQLite; none for a column of a view that is an expression.
    pub affinity: Option<Affinity>,
    pub form: Form,
    pub not_null: bool,
    pub collation: Collation,
    pub generated: bool,
    /// `*` does not show it: the rowid, which is a column only in PostgreSQL.
    pub hidden: bool,
    /// Numeric affinity made an INTEGER of every REAL in it that is whole, so that a value tells its storage class.
    pub whole: bool,
    /// Decimals with so few digits that a REAL prints them as they are, whole ones as an INTEGER.
    pub prints: bool,
    /// The least and the most of its integers, in the rows that there are; none where that is not known.
    pub reach: Option<(i128, i128)>,
    /// PostgreSQL computes with it in fewer than 64 bits.
    pub narrow: bool,
    /// Some of its values are REALs that no affinity has made of INTEGERs.
    pub has_reals: bool,
}

/// Why something has no exact form: a clause for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslatable {
    pub reason: String,
}

impl Untranslatable {
    pub(in crate::dialect) fn new(reason: impl Into<String>) -> Self {
        Untranslatable { reason: reason.into() }
    }
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Untranslatable {}

impl From<ParseError> for Untranslatable {
    fn from(error: ParseError) -> Self {
        Untranslatable::new(format!("its SQL could not be read {error}"))
    }
}

pub(in crate::dialect) type Outcome<T> = Result<T, Untranslatable>;

pub(in crate::dialect) fn no<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Untranslatable::new(reason))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Default {
    /// DEFAULT NULL: none is needed.
    None,
    Sql(String),
}

/// A condition, or the value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslatedExpression {
    pub sql: String,
    /// Where its answers may be others than SQLite's, as clauses for a person.
    pub notes: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslatedView {
    /// The CREATE VIEW statement.
    pub sql: String,
    /// The view as the catalog should know it, for the views and triggers that use it.
    pub relation: Relation,
    /// Columns of SQLite's that some `*` of it is without: `table.column`.
    pub lacking: Vec<String>,
    /// Where its answers may be others than SQLite's, as clauses for a person.
    pub notes: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslatedTrigger {
    /// Before or after what it fires: `AFTER INSERT`.
    pub fires: String,
    /// They make its function, then the trigger itself.
    pub statements: Vec<String>,
    /// Where it may do something else than in SQLite, as clauses for a person.
    pub notes: Vec<&'static str>,
    /// Keys that its ON CONFLICT names and that may have to be exclusion constraints: the source names of a table and of its column.
    pub arbiters: Vec<(String, String)>,
}

impl RelationColumn {
    /// A nullable column in its type's own form.
    pub fn new(source: &str, type_: Type) -> Self {
        let affinity = match type_ {
            Type::Integer => Affinity::Integer,
            Type::Float => Affinity::Real,
            Type::Text => Affinity::Text,
            Type::Bytea => Affinity::Blob,
            _ => Affinity::Numeric,
        };
        RelationColumn {
            source: source.to_string(),
            target: Name::new(source),
            type_,
            affinity: Some(affinity),
            form: Form::Canonical,
            not_null: false,
            collation: Collation::Binary,
            generated: false,
            hidden: false,
            whole: false,
            prints: false,
            reach: None,
            narrow: false,
            has_reals: false,
        }
    }
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&RelationColumn> {
        self.columns.iter().find(|column| column.source.eq_ignore_ascii_case(name))
    }

    /// The column that the name means in a statement: the rowid has several.
    pub fn assignable(&self, name: &str) -> Option<&RelationColumn> {
        let source = ScopeSource::of(self, &self.source, "");
        let column = source.column(name)?;
        self.column(&column.source)
    }
}

impl Catalog {
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.source.eq_ignore_ascii_case(name))
    }
}

/// The DEFAULT of a column of `type_`; `sql` is the expression without outer parentheses.
pub fn default_value(sql: &str, type_: &Type) -> Outcome<Default> {
    let typed = default_expression(sql)?;
    if typed.class == Class::Null {
        return Ok(Default::None);
    }
    // A text that spells a truth is what migrate makes of it in a row.
    if let (Type::Boolean, Some(Constant::Text(text))) = (type_, &typed.constant)
        && let Some(truth) = spelled_truth(text)
    {
        return Ok(Default::Sql(truth.to_string()));
    }
    typed.assigned_to(&RelationColumn::new("the column", type_.clone())).map(Default::Sql)
}

/// The value of a DEFAULT that is a constant.
pub fn default_constant(sql: &str) -> Option<Constant> {
    default_expression(sql).ok()?.constant
}

fn default_expression(sql: &str) -> Outcome<typed::Typed> {
    let mut expr = syntax::expression(sql)?;
    // A bare word is a string to DEFAULT, whatever its quotes.
    if let Expr::Column(column) = &mut expr
        && !["true", "false"].contains(&column.name.to_ascii_lowercase().as_str())
    {
        column.double_quoted = column.table.is_none();
    }
    let catalog = Catalog::default();
    let typed = Translator::new(&catalog).expr(&expr)?;
    if typed.growth.leaves != Leaves::InRows {
        return Ok(typed);
    }
    match folded::value(&expr) {
        Some(value) => Ok(literal::constant(value)),
        None => no("its integers leave 64 bits, where SQLite goes on with a REAL and PostgreSQL with an error"),
    }
}

fn spelled_truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The condition of a CHECK.
pub fn check(sql: &str, relation: &Relation) -> Outcome<TranslatedExpression> {
    let catalog = Catalog::default();
    let mut translator = Translator::over(&catalog, relation);
    let expr = syntax::expression(sql)?;
    translator.unbounded = true;
    let sql = if json::mentions_validity(&expr) {
        json::check(&mut translator, &expr)?
    } else {
        let condition = translator.expr(&expr)?;
        if condition.of_texts {
            return no(format!("it {}", compare::OF_TEXTS));
        }
        translator.note_overflow(&condition);
        condition.condition()?
    };
    if asks_a_query(&sql) {
        return no("PostgreSQL takes no sub-SELECT in a CHECK, and its form there has one");
    }
    Ok(TranslatedExpression { sql, notes: translator.notes })
}

/// True where `SELECT` is a word of the statement, and not of a text or a name in it.
fn asks_a_query(sql: &str) -> bool {
    // Every second piece between quotes is inside of them; a doubled quote makes an empty piece.
    let outside = |sql: &str, quote: char| sql.split(quote).step_by(2).collect::<Vec<_>>().join(" ");
    outside(&outside(sql, '\''), '"').contains("(SELECT ")
}

/// The expression of a generated column of `result` type; immutable.
pub fn generated(sql: &str, relation: &Relation, result: &RelationColumn) -> Outcome<TranslatedExpression> {
    let catalog = Catalog::default();
    let mut translator = Translator::over(&catalog, relation);
    translator.immutable = true;
    let typed = translator.expr(&syntax::expression(sql)?)?;
    if typed.class == Class::Integer && typed.growth.leaves != Leaves::Never && result.has_reals {
        return no("its integers leave 64 bits, where SQLite goes on with a REAL");
    }
    translator.note_overflow(&typed);
    let sql = translator.assigned(&typed, result)?;
    Ok(TranslatedExpression { sql, notes: translator.notes })
}

/// The columns that an expression reads, as it spells them; none of one that cannot be read, which has no translation either.
pub fn columns_read(sql: &str) -> Vec<String> {
    let Ok(whole) = syntax::expression(sql) else { return Vec::new() };
    let (mut open, mut columns) = (vec![&whole], Vec::new());
    while let Some(expr) = open.pop() {
        if let Expr::Column(column) = expr {
            columns.push(column.name.clone());
        }
        collect::children(expr, &mut open);
    }
    columns
}

/// An expression of an index, to stand in parentheses; immutable. `collation` is that of the index's item. What PostgreSQL only has in another
/// type (a value inside JSON, as text) will do where the index is not `unique`: it changes no answer then.
pub fn index_expression(sql: &str, relation: &Relation, collation: &Collation, unique: bool) -> Outcome<TranslatedExpression> {
    let catalog = Catalog::default();
    let mut translator = Translator::over(&catalog, relation);
    translator.immutable = true;
    let expr = syntax::expression(sql)?;
    if !unique && let Some(key) = json::index_key(&mut translator, &expr)? {
        return Ok(TranslatedExpression { sql: key, notes: translator.notes });
    }
    let mut typed = translator.expr(&expr)?;
    translator.note_overflow(&typed);
    if *collation != Collation::Binary {
        typed.collation = Some(collation.clone());
    }
    if typed.class == Class::Boolean && !typed.is_column {
        typed = typed.integer()?;
    }
    let ordered = typed.ordered()?;
    // The expression as queries will write it: PostgreSQL uses the index only for that.
    let sql = if typed.collation.is_none() { typed.sql } else { ordered };
    Ok(TranslatedExpression { sql, notes: translator.notes })
}

/// The WHERE of a partial index; immutable.
pub fn index_predicate(sql: &str, relation: &Relation) -> Outcome<TranslatedExpression> {
    let catalog = Catalog::default();
    let mut translator = Translator::over(&catalog, relation);
    translator.immutable = true;
    let condition = translator.expr(&syntax::expression(sql)?)?;
    translator.note_overflow(&condition);
    Ok(TranslatedExpression { sql: condition.condition()?, notes: translator.notes })
}

/// A CREATE VIEW statement; every relation that it reads must stand in the catalog.
pub fn view(sql: &str, catalog: &Catalog, target: &QualifiedName) -> Outcome<TranslatedView> {
    let ddl = create_view(sql)?;
    let select = syntax::select(&ddl.select)?;
    let mut translator = Translator::new(catalog);
    let translated = translator.select(&select)?;
    if !ddl.columns.is_empty() && ddl.columns.len() != translated.columns.len() {
        return no(format!("it names {} columns and selects {}", ddl.columns.len(), translated.columns.len()));
    }
    let mut columns: Vec<RelationColumn> = Vec::new();
    for (index, column) in translated.columns.into_iter().enumerate() {
        let mut column = column;
        if let Some(name) = ddl.columns.get(index) {
            column.source = name.clone();
            column.target = Name::fit(name);
        }
        scope::make_unique(&mut column, &columns);
        columns.push(column);
    }
    if columns.iter().any(|column| column.form == Form::Mixed) {
        translator.note(mixed::AS_TEXTS);
    }
    let names = columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("CREATE VIEW {target} ({names}) AS\n{}", translated.sql);
    let relation = Relation {
        source: ddl.name,
        target: target.clone(),
        columns,
        primary_key: Vec::new(),
        rowid_alias: None,
        replaces_by: None,
        left_out: Vec::new(),
        full_text: false,
        unwatched: false,
        checked: false,
        long_keys: Vec::new(),
    };
    let mut lacking = translator.lacking;
    lacking.sort_unstable();
    lacking.dedup();
    Ok(TranslatedView { sql, relation, lacking, notes: translator.notes })
}

/// The relations that a CREATE VIEW statement reads, as it spells them; empty when it cannot be read.
pub fn view_dependencies(sql: &str) -> Vec<String> {
    let select = create_view(sql).and_then(|ddl| syntax::select(&ddl.select));
    select.map(|select| collect::relations(&select)).unwrap_or_default()
}

impl<'c> Translator<'c> {
    /// A translator whose bare names are the columns of one table.
    fn over(catalog: &'c Catalog, relation: &Relation) -> Self {
        let mut translator = Translator::new(catalog);
        let source = ScopeSource::of(relation, &relation.source, "");
        translator.scopes.push(Scope { sources: vec![source], ..Scope::default() });
        translator
    }
}

#[cfg(test)]
mod tests;
