//! A translated expression, with all that decides how it may be used.

use super::overflow::Growth;
use super::{Form, Outcome, RelationColumn, Type, literal, no};
use crate::model::{Affinity, Collation};

/// What is said of a column whose type is not known here.
pub const OPAQUE: &str = "has a type of PostgreSQL's own";
/// What is said of a column that a value does not fit.
pub const OTHER_TYPE: &str = "a column of another type";

/// What a value is, both here and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Null,
    /// boolean; 0 or 1 in SQLite.
    Boolean,
    Integer,
    /// double precision; REAL in SQLite.
    Real,
    /// numeric or double precision; INTEGER or REAL in SQLite, row by row.
    Numeric,
    Text,
    Blob,
    /// Times, UUIDs and JSON are texts in SQLite.
    Date,
    Timestamp,
    TimestampTz,
    Time,
    Uuid,
    Json,
    /// A type that nothing is known of.
    Opaque,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    Integer(i64),
    Real(f64),
    Text(String),
    Blob,
}

#[derive(Clone, Debug)]
pub struct Typed {
    pub sql: String,
    /// The SQL may stand as an operand without parentheses.
    pub atom: bool,
    pub class: Class,
    pub affinity: Option<Affinity>,
    /// That of a column, or of a COLLATE.
    pub collation: Option<Collation>,
    pub explicit_collation: bool,
    pub constant: Option<Constant>,
    pub not_null: bool,
    pub form: Form,
    pub is_column: bool,
    /// Never below 0.
    pub non_negative: bool,
    /// An integer that PostgreSQL computes in 32 bits, and far from their ends.
    pub small: bool,
    /// An integer that double precision holds exactly, whatever the rows.
    pub short: bool,
    /// May give another answer when it is written twice.
    pub volatile: bool,
    /// A bigint expression whose digits are this text.
    pub digits_of: Option<String>,
    /// The text of a computed time, where it is shorter than its parts one by one.
    pub spelling: Option<String>,
    /// The timestamp, in UTC, that a computed text spells.
    pub instant: Option<String>,
    /// A computed text that never looks like a number.
    pub never_numeric: bool,
    /// A number of a column whose whole values are INTEGERs; see [`RelationColumn::whole`].
    pub whole: bool,
    /// Decimals of a column that both print alike, but for zeros at the end; see [`RelationColumn::prints`].
    pub prints: bool,
    pub growth: Growth,
    /// The answer holds for texts alone, in a column in which SQLite would keep a number as well, and apart from them.
    pub of_texts: bool,
}

impl Class {
    pub fn of(type_: &Type) -> Self {
        match type_ {
            Type::Boolean => Class::Boolean,
            Type::Integer => Class::Integer,
            Type::Float => Class::Real,
            Type::Numeric => Class::Numeric,
            Type::Text => Class::Text,
            Type::Bytea => Class::Blob,
            Type::Timestamp => Class::Timestamp,
            Type::TimestampTz => Class::TimestampTz,
            Type::Date => Class::Date,
            Type::Time => Class::Time,
            Type::Uuid => Class::Uuid,
            Type::Json | Type::Jsonb => Class::Json,
            Type::Other(_) => Class::Opaque,
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Class::Boolean | Class::Integer | Class::Real | Class::Numeric)
    }

    pub fn is_time(self) -> bool {
        matches!(self, Class::Date | Class::Timestamp | Class::TimestampTz | Class::Time)
    }

    /// Text in SQLite.
    pub fn is_textual(self) -> bool {
        self.is_time() || matches!(self, Class::Text | Class::Uuid | Class::Json)
    }

    /// That of `word`.
    pub fn article(self) -> &'static str {
        if self == Class::Integer { "an" } else { "a" }
    }

    pub fn word(self) -> &'static str {
        match self {
            Class::Null => "NULL",
            Class::Boolean => "truth value",
            Class::Integer => "integer",
            Class::Real => "real",
            Class::Numeric => "number",
            Class::Text => "text",
            Class::Blob => "blob",
            Class::Date | Class::Timestamp | Class::TimestampTz | Class::Time => "time",
            Class::Uuid => "uuid",
            Class::Json => "json",
            Class::Opaque => "value of an unknown type",
        }
    }
}

impl Typed {
    pub fn new(sql: impl Into<String>, class: Class) -> Self {
        let sql = sql.into();
        let growth = Growth { long: sql.ends_with("::bigint"), ..Growth::default() };
        Typed {
            sql,
            growth,
            atom: false,
            class,
            affinity: None,
            collation: None,
            explicit_collation: false,
            constant: None,
            not_null: false,
            form: Form::Canonical,
            is_column: false,
            non_negative: false,
            small: false,
            short: false,
            volatile: false,
            digits_of: None,
            spelling: None,
            instant: None,
            never_numeric: false,
            whole: false,
            prints: false,
            of_texts: false,
        }
    }

    /// A function call or anything else that needs no parentheses.
    pub fn atom(sql: impl Into<String>, class: Class) -> Self {
        Typed { atom: true, ..Typed::new(sql, class) }
    }

    pub fn column(sql: String, column: &RelationColumn, nullable: bool) -> Self {
        Typed {
            affinity: column.affinity,
            collation: Some(column.collation.clone()),
            not_null: column.not_null && !nullable,
            form: column.form,
            is_column: true,
            whole: column.whole,
            prints: column.prints,
            growth: Growth { reach: column.reach, long: !column.narrow, ..Growth::default() },
            ..Typed::atom(sql, Class::of(&column.type_))
        }
    }

    pub fn null() -> Self {
        Typed::atom("NULL", Class::Null)
    }

    pub fn not_null(mut self, not_null: bool) -> Self {
        self.not_null = not_null;
        self
    }

    /// Carries over whether the operands were volatile, their not being NULL, how large they may be, and whether they hold for texts alone.
    pub fn from(mut self, operands: &[&Typed]) -> Self {
        let leaves = operands.iter().map(|operand| operand.growth.leaves).max().unwrap_or_default();
        self.growth.leaves = self.growth.leaves.max(leaves);
        self.volatile = operands.iter().any(|operand| operand.volatile);
        self.of_texts |= operands.iter().any(|operand| operand.of_texts);
        self.not_null = operands.iter().all(|operand| operand.not_null);
        self
    }

    /// The SQL as an operand of anything.
    pub fn operand(&self) -> String {
        if self.atom { self.sql.clone() } else { format!("({})", self.sql) }
    }

    pub fn cast(&self, type_: &str) -> String {
        if self.atom && !self.sql.starts_with('-') { format!("{}::{type_}", self.sql) } else { format!("({})::{type_}", self.sql) }
    }

    /// The same for every row, and so no key to order or group by: PostgreSQL would take it for a position, or refuse it.
    pub fn is_fixed(&self) -> bool {
        let bare = self.sql.trim_start_matches(['-', ' ', '(']).trim_end_matches(')');
        let is_number =
            bare.starts_with(|first: char| first.is_ascii_digit()) && bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        self.constant.is_some() || self.class == Class::Null || is_number || matches!(bare, "TRUE" | "FALSE" | "NULL::boolean")
    }

    /// The name for a message.
    pub fn describe(&self) -> &str {
        &self.sql
    }

    /// As a condition: SQLite takes any number but 0 for true.
    pub fn condition(&self) -> Outcome<String> {
        match self.class {
            Class::Null => Ok("NULL::boolean".to_string()),
            Class::Boolean => self.own_form().map(|()| self.sql.clone()),
            Class::Integer if matches!(self.constant, Some(Constant::Integer(0))) => Ok("FALSE".to_string()),
            Class::Integer if matches!(self.constant, Some(Constant::Integer(_))) => Ok("TRUE".to_string()),
            Class::Integer | Class::Real | Class::Numeric => Ok(format!("{} <> 0", self.operand())),
            _ => no(format!("a {} is used as a condition", self.class.word())),
        }
    }

    /// A condition as an operand of AND, OR and NOT.
    pub fn condition_operand(&self) -> Outcome<String> {
        let condition = self.condition()?;
        Ok(if self.class == Class::Boolean && self.atom { condition } else { format!("({condition})") })
    }

    fn own_form(&self) -> Outcome<()> {
        if self.form == Form::Canonical {
            return Ok(());
        }
        no(format!("SQLite holds {} in another form than PostgreSQL's type suggests", self.describe()))
    }

    /// As a number; NULL is an integer.
    pub fn number(&self) -> Outcome<Typed> {
        match self.class {
            Class::Null => Ok(Typed::atom("NULL::bigint", Class::Integer)),
            Class::Boolean => self.integer(),
            Class::Integer | Class::Real | Class::Numeric => Ok(self.clone()),
            Class::Text if self.digits_of.is_some() => Ok(self.as_digits()),
            Class::Text if self.constant.is_some() => self.numeric_constant(),
            _ => no(format!("a {} is used as a number", self.class.word())),
        }
    }

    fn as_digits(&self) -> Typed {
        let sql = self.digits_of.clone().unwrap_or_default();
        Typed { volatile: self.volatile, not_null: self.not_null, growth: self.growth.clone(), ..Typed::atom(sql, Class::Integer) }
    }

    fn numeric_constant(&self) -> Outcome<Typed> {
        match &self.constant {
            Some(Constant::Text(text)) => match literal::operand(text) {
                Some(constant) => Ok(literal::constant(constant)),
                None => no(format!("the text {} is used as a number", self.sql)),
            },
            _ => no("a text is used as a number"),
        }
    }

    /// After SQLite's numeric affinity, where the text is a literal or known to be digits; texts that are no numbers stay texts.
    pub fn numerically(&self) -> Typed {
        if let Some(Constant::Text(text)) = &self.constant
            && let Some(constant) = literal::looks_numeric(text)
        {
            return literal::constant(constant);
        }
        if self.digits_of.is_some() { self.as_digits() } else { self.clone() }
    }

    pub fn integer(&self) -> Outcome<Typed> {
        match self.class {
            Class::Boolean => {
                self.own_form()?;
                let typed = Typed::atom(self.cast("integer"), Class::Integer);
                let growth = Growth { reach: Some((0, 1)), ..Growth::default() };
                Ok(Typed { non_negative: true, short: true, growth, ..typed.from(&[self]) })
            }
            _ => self.number(),
        }
    }

    /// As double precision.
    pub fn real(&self) -> Outcome<Typed> {
        let number = self.number()?;
        Ok(match number.class {
            Class::Real => number,
            _ => Typed::atom(number.cast("double precision"), Class::Real).from(&[self]),
        })
    }

    /// As SQLite prints it.
    pub fn text(&self) -> Outcome<Typed> {
        let sql = match self.class {
            Class::Null => "NULL::text".to_string(),
            Class::Text => {
                return match self.form {
                    Form::Other => no(format!("{} holds values of several storage classes", self.describe())),
                    Form::Mixed => Ok(Typed { form: Form::Canonical, ..self.clone() }),
                    _ => Ok(self.clone()),
                };
            }
            Class::Integer => match self.constant {
                Some(Constant::Integer(value)) => return Ok(literal::constant(Constant::Text(value.to_string()))),
                _ => self.cast("text"),
            },
            Class::Boolean => self.integer()?.cast("text"),
            Class::Real => match self.constant {
                Some(Constant::Real(value)) if value.is_finite() && value.abs() < 1e15 && value.abs() >= 1e-4 => {
                    return Ok(literal::constant(Constant::Text(format!("{value:?}"))));
                }
                _ => return no("SQLite and PostgreSQL print REAL differently"),
            },
            Class::Numeric if self.prints => format!("trim_scale({})::text", self.sql),
            Class::Numeric => return no("SQLite and PostgreSQL print REAL differently"),
            Class::Uuid | Class::Json if self.form == Form::Canonical => self.cast("text"),
            Class::Date | Class::Timestamp | Class::Time if self.form == Form::Canonical => return Ok(self.spelled()),
            Class::Blob => return no("a blob is used as a text"),
            Class::Opaque => return no(format!("{} {OPAQUE}", self.describe())),
            _ => return no(format!("the spelling of {} in SQLite is not kept by PostgreSQL", self.describe())),
        };
        let digits_of = (self.class == Class::Integer).then(|| self.operand());
        let growth = Growth { unbounded: None, ..self.growth.clone() };
        Ok(Typed { digits_of, growth, ..Typed::atom(sql, Class::Text).from(&[self]) })
    }

    /// A time as SQLite's own functions spell it, immutably (to_char() is not).
    fn spelled(&self) -> Typed {
        if let Some(spelling) = &self.spelling {
            return Typed::atom(spelling.clone(), Class::Text).from(&[self]);
        }
        let part = |field: &str, width: usize| format!("lpad(extract({field} FROM {})::integer::text, {width}, '0')", self.operand());
        let date = || format!("{} || '-' || {} || '-' || {}", part("year", 4), part("month", 2), part("day", 2));
        let second = format!("lpad(floor(extract(second FROM {}))::integer::text, 2, '0')", self.operand());
        let time = || format!("{} || ':' || {} || ':' || {second}", part("hour", 2), part("minute", 2));
        let sql = match self.class {
            Class::Date => date(),
            Class::Time => time(),
            _ => format!("{} || ' ' || {}", date(), time()),
        };
        Typed::atom(format!("({sql})"), Class::Text).from(&[self])
    }

    /// As a key of ORDER BY, GROUP BY, DISTINCT or an index: in SQLite's order, by its collation.
    pub fn ordered(&self) -> Outcome<String> {
        self.not_mixed()?;
        match self.class {
            Class::Text => {
                if self.form == Form::Other {
                    return no(format!("{} holds values of several storage classes", self.describe()));
                }
                super::compare::collated(self, self.collation.as_ref().unwrap_or(&Collation::Binary), true)
            }
            Class::Boolean if self.form == Form::Canonical => Ok(self.sql.clone()),
            Class::Blob if self.form == Form::Other => no(format!("{} holds values of several storage classes", self.describe())),
            Class::Null | Class::Integer | Class::Real | Class::Numeric | Class::Blob => Ok(self.sql.clone()),
            class if class.is_time() && matches!(self.form, Form::Canonical | Form::Uniform) => Ok(self.sql.clone()),
            // Lower-case hexadecimal digits sort as their bytes do.
            Class::Uuid if self.form == Form::Canonical => Ok(self.sql.clone()),
            Class::Opaque => no(format!("{} {OPAQUE}", self.describe())),
            _ => Ok(format!("{} COLLATE \"C\"", self.text()?.operand())),
        }
    }

    /// For GROUP BY and DISTINCT: PostgreSQL's values are one exactly where SQLite's are.
    pub fn not_merged(&self) -> Outcome<()> {
        match (self.class, self.form) {
            (Class::Opaque, _) => no(format!("{} {OPAQUE}", self.describe())),
            (_, Form::Canonical | Form::Mixed | Form::Uniform) | (Class::Null | Class::Numeric, _) => Ok(()),
            (Class::Text | Class::Blob, _) => no(format!("{} holds values of several storage classes", self.describe())),
            (class, _) if class.is_textual() => no(format!("the spelling of {} in SQLite is not kept by PostgreSQL", self.describe())),
            _ => self.own_form(),
        }
    }

    /// As the value of a result column: truth as 0 and 1, times that SQLite computed as text.
    pub fn result(&self) -> Outcome<Typed> {
        if self.is_column {
            return Ok(self.clone());
        }
        match self.class {
            Class::Boolean => self.integer(),
            class if class.is_textual() => {
                let text = self.text()?;
                let sql = if text.constant.is_some() {
                    format!("{}::text COLLATE \"C\"", text.sql)
                } else {
                    format!("{} COLLATE \"C\"", text.operand())
                };
                let form = if self.is_mixed() { Form::Mixed } else { Form::Canonical };
                Ok(Typed { sql, atom: false, class: Class::Text, form, constant: None, ..text })
            }
            Class::Null => Ok(Typed { sql: "NULL::text".to_string(), class: Class::Null, ..self.clone() }),
            _ => Ok(self.clone()),
        }
    }

    /// As the value of a column: a default, or what a trigger writes; SQLite's affinity included.
    pub fn assigned_to(&self, column: &RelationColumn) -> Outcome<String> {
        let wanted = Class::of(&column.type_);
        let misfit = || no(format!("{} {} does not fit {}, {OTHER_TYPE}", self.class.article(), self.class.word(), column.source));
        if self.class == Class::Null {
            return Ok("NULL".to_string());
        }
        if column.form == Form::Other {
            return no(format!("SQLite holds {} in another form than PostgreSQL's type suggests", column.source));
        }
        let given = if wanted.is_number() || column.form == Form::Mixed { self.numerically() } else { self.clone() };
        if column.form == Form::Mixed && !given.is_mixable() {
            return misfit();
        }
        match (wanted, given.class) {
            (Class::Opaque, _) => misfit(),
            (Class::Boolean, Class::Boolean) => given.own_form().map(|()| given.sql.clone()),
            (Class::Boolean, Class::Integer) => match given.constant {
                Some(Constant::Integer(0)) => Ok("false".to_string()),
                Some(Constant::Integer(1)) => Ok("true".to_string()),
                _ => misfit(),
            },
            (Class::Boolean, Class::Text) => match &given.constant {
                Some(Constant::Text(text)) if ["true", "t"].contains(&text.as_str()) => Ok("true".to_string()),
                Some(Constant::Text(text)) if ["false", "f"].contains(&text.as_str()) => Ok("false".to_string()),
                _ => misfit(),
            },
            (Class::Integer, Class::Real) => match given.constant {
                Some(Constant::Real(value)) if value.fract() == 0.0 && value.abs() < 9e15 => Ok((value as i64).to_string()),
                _ => misfit(),
            },
            (Class::Integer | Class::Numeric, Class::Boolean | Class::Integer) => given.integer().map(|integer| integer.sql),
            (Class::Numeric, Class::Real) => match given.constant {
                Some(Constant::Real(value)) if value.is_finite() => Ok(format!("{value:?}")),
                // float8::numeric keeps 15 digits; its text keeps them all.
                _ => Ok(format!("{}::text::numeric", given.operand())),
            },
            (Class::Real, class) if class.is_number() => match given.constant {
                Some(Constant::Real(value)) if value.is_finite() => Ok(format!("{value:?}")),
                Some(Constant::Integer(value)) => Ok(value.to_string()),
                _ => given.real().map(|real| real.sql),
            },
            (Class::Numeric, Class::Numeric) if given.is_column => Ok(given.sql.clone()),
            // It may be computed in double precision.
            (Class::Numeric, Class::Numeric) => Ok(format!("{}::text::numeric", given.operand())),
            // A blob column keeps a text as its bytes.
            (Class::Blob, Class::Text) => match &given.constant {
                Some(Constant::Text(text)) => Ok(literal::blob(text.as_bytes())),
                _ => Ok(format!("convert_to({}, 'UTF8')", given.sql)),
            },
            (Class::Text, _) => given.text().map(|text| text.sql),
            (class, Class::Text) if class.is_time() => match &given.constant {
                Some(Constant::Text(text)) => literal::time(text, class).or_else(|| literal::moment(text, class)).map_or_else(misfit, Ok),
                _ => match (&given.instant, class) {
                    (Some(instant), Class::Timestamp) => Ok(instant.clone()),
                    (Some(instant), Class::TimestampTz) => Ok(format!("{instant} AT TIME ZONE 'UTC'")),
                    _ => misfit(),
                },
            },
            (Class::TimestampTz, Class::Timestamp) => Ok(format!("{} AT TIME ZONE 'UTC'", given.operand())),
            (Class::Timestamp, Class::Date) => Ok(given.cast("timestamp")),
            (Class::Json, Class::Text) => match &given.constant {
                Some(Constant::Text(text)) if serde_json::from_str::<serde_json::Value>(text).is_ok() && !text.contains("\\u0000") => {
                    Ok(given.sql.clone())
                }
                _ => misfit(),
            },
            (wanted, class) if wanted == class => Ok(given.sql.clone()),
            _ => misfit(),
        }
    }

    /// The type as a catalog knows it.
    pub fn type_(&self) -> Type {
        match self.class {
            Class::Boolean => Type::Boolean,
            Class::Integer => Type::Integer,
            Class::Real => Type::Float,
            Class::Numeric => Type::Numeric,
            Class::Text | Class::Null => Type::Text,
            Class::Blob => Type::Bytea,
            Class::Date => Type::Date,
            Class::Timestamp => Type::Timestamp,
            Class::TimestampTz => Type::TimestampTz,
            Class::Time => Type::Time,
            Class::Uuid => Type::Uuid,
            Class::Json => Type::Json,
            Class::Opaque => Type::Other(String::new()),
        }
    }
}
