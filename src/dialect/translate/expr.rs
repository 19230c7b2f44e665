//! Expressions: the walk over the tree, and the operators.

use super::compare::{self, boolean};
use super::overflow::Leaves;
use super::scope::Scope;
use super::select::CteRelation;
use super::typed::{Class, Constant, Typed};
use super::{Catalog, Form, Outcome, RelationColumn, cast, like, literal, mixed, no, numbers, overflow};
use crate::dialect::ast::{Binary, Chain, Expr, Matcher, Select, Set, Unary};
use crate::model::{Affinity, Collation};

pub struct Translator<'c> {
    pub catalog: &'c Catalog,
    /// Only functions that PostgreSQL calls immutable will do.
    pub immutable: bool,
    /// Integers are compared in numeric where they may leave 64 bits. An index serves what is computed as in it, and so queries do not.
    pub unbounded: bool,
    /// Innermost last.
    pub scopes: Vec<Scope>,
    pub ctes: Vec<CteRelation>,
    /// Names for subqueries that have none.
    pub unnamed: usize,
    /// What a person should know of the translation.
    pub notes: Vec<&'static str>,
    /// Relations that were read or written.
    pub used: Vec<String>,
    /// Columns that some `*` shows in SQLite and not in PostgreSQL: `table.column`.
    pub lacking: Vec<String>,
    /// See [`super::TranslatedTrigger::arbiters`].
    pub arbiters: Vec<(String, String)>,
}

impl<'c> Translator<'c> {
    pub fn new(catalog: &'c Catalog) -> Self {
        Translator {
            catalog,
            immutable: false,
            unbounded: false,
            scopes: Vec::new(),
            ctes: Vec::new(),
            unnamed: 0,
            notes: Vec::new(),
            arbiters: Vec::new(),
            used: Vec::new(),
            lacking: Vec::new(),
        }
    }

    pub fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Where integers and reals stand in one column, PostgreSQL makes reals of all of them.
    pub fn note_rounded(&mut self, values: &[Typed], class: Class) {
        let is_long = |value: &Typed| matches!(value.class, Class::Integer | Class::Numeric) && value.constant.is_none() && !value.small;
        if class == Class::Numeric && values.iter().any(is_long) {
            self.note("integers and reals are in one column: an integer beyond 2^53 is the nearest real there");
        }
    }

    /// As the value of a column; says so where a number becomes a text that it is not in SQLite.
    pub fn assigned(&mut self, value: &Typed, column: &RelationColumn) -> Outcome<String> {
        let assigned = value.assigned_to(column)?;
        let stays_number = column.affinity != Some(Affinity::Text) && (value.class.is_number() || value.is_mixed());
        if Class::of(&column.type_) == Class::Text && stays_number {
            self.note(mixed::WRITTEN_AS_TEXTS);
        }
        Ok(assigned)
    }

    /// Says so where PostgreSQL compares integers as reals.
    fn note_compared(&mut self, left: &Typed, right: &Typed) {
        if numbers::rounds(left, right) {
            self.note(numbers::ROUNDED);
        }
    }

    /// Says so where rows may be refused for integers that leave 64 bits.
    pub fn note_overflow(&mut self, typed: &Typed) {
        if let Some(note) = typed.growth.leaves.note() {
            self.note(note);
        }
    }

    pub fn compare(&mut self, operator: Binary, left: &Typed, right: &Typed) -> Outcome<Typed> {
        self.note_compared(left, right);
        let in_numeric = |typed: &Typed, other: &Typed| overflow::unbounded(typed, other).filter(|_| self.unbounded);
        let compared = match (in_numeric(left, right), in_numeric(right, left)) {
            (Some(left), _) => compare::compare(operator, &left, right),
            (_, Some(right)) => compare::compare(operator, left, &right),
            _ => compare::compare(operator, left, right),
        }?;
        if compared.of_texts {
            self.note(compare::OF_TEXTS);
        }
        Ok(compared)
    }

    /// For functions whose answer depends on the moment or the session.
    pub fn not_immutable(&self, what: &str) -> Outcome<()> {
        if self.immutable { no(format!("{what} is not immutable")) } else { Ok(()) }
    }

    pub fn string(&self, text: &str) -> Outcome<Typed> {
        if text.contains('\0') {
            return no("PostgreSQL's text cannot hold a NUL");
        }
        Ok(literal::constant(Constant::Text(text.to_string())))
    }

    pub fn expr(&mut self, expr: &Expr) -> Outcome<Typed> {
        let typed = self.without_inner_collation(expr)?;
        // A COLLATE within is that of the whole.
        match inner_collation(expr) {
            Some(name) if typed.collation.is_none() && typed.class.is_textual() => {
                Ok(Typed { collation: Some(collation_named(name)), explicit_collation: true, ..typed })
            }
            _ => Ok(typed),
        }
    }

    fn without_inner_collation(&mut self, expr: &Expr) -> Outcome<Typed> {
        if let Some(key) = self.group_key(expr)? {
            return Ok(key);
        }
        match expr {
            Expr::Null => Ok(Typed::null()),
            Expr::Integer(text) => literal::integer(text, false).map(literal::constant),
            Expr::Float(text) => Ok(literal::constant(literal::float(text, false))),
            Expr::Text(text) => self.string(text),
            Expr::Blob(digits) => Ok(Typed {
                constant: Some(Constant::Blob),
                not_null: true,
                ..Typed::atom(format!("'\\x{}'::bytea", digits.to_ascii_lowercase()), Class::Blob)
            }),
            Expr::CurrentDate => self.now("date"),
            Expr::CurrentTime => self.now("time"),
            Expr::CurrentTimestamp => self.now("datetime"),
            Expr::Column(reference) => self.column(reference),
            Expr::Variable => no("it has a parameter"),
            Expr::Unary(unary, operand) => self.unary(*unary, operand),
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right),
            Expr::Chain(chain, operands) => self.chain(*chain, operands),
            Expr::IsNull(operand) => {
                let operand = self.expr(operand)?;
                Ok(boolean(format!("{} IS NULL", operand.operand())).not_null(true))
            }
            Expr::Between(value, low, high) => self.between(value, low, high),
            Expr::In(value, set) => self.among(value, set),
            Expr::Like { like, text, pattern, escape } => self.like(*like, text, pattern, escape.as_deref()),
            Expr::Case { operand, whens, otherwise } => self.case(operand.as_deref(), whens, otherwise.as_deref()),
            Expr::Cast(operand, declared) => self.cast(operand, declared),
            Expr::Collate(operand, name) => {
                let mut typed = self.expr(operand)?;
                typed.collation = Some(collation_named(name));
                typed.explicit_collation = true;
                Ok(typed)
            }
            Expr::Call(call) => self.call(call),
            Expr::Exists(select) => {
                // What it selects nobody sees.
                let lacking = self.lacking.len();
                let select = self.select(select)?;
                self.lacking.truncate(lacking);
                Ok(Typed::atom(format!("EXISTS ({})", select.sql), Class::Boolean).not_null(true))
            }
            Expr::Subquery(select) => self.scalar(select),
            Expr::Row(_) => no("a row value stands where one value is wanted"),
            Expr::Raise(..) => no("RAISE() stands where PostgreSQL has no place for it"),
        }
    }

    pub fn exprs(&mut self, exprs: &[Expr]) -> Outcome<Vec<Typed>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    fn unary(&mut self, unary: Unary, operand: &Expr) -> Outcome<Typed> {
        if unary == Unary::Negate {
            match operand {
                Expr::Integer(text) => return literal::integer(text, true).map(literal::constant),
                Expr::Float(text) => return Ok(literal::constant(literal::float(text, true))),
                _ => {}
            }
        }
        let typed = self.expr(operand)?;
        match unary {
            // It takes the affinity away, and nothing else.
            Unary::Plus => Ok(Typed { affinity: None, is_column: false, ..typed }),
            Unary::Not => Ok(boolean(format!("NOT {}", typed.condition_operand()?)).from(&[&typed])),
            Unary::Negate => {
                let number = real_if_numeric(&typed.number()?)?;
                let (growth, widen) = overflow::turned(overflow::Turn::Negate, &number);
                let operand = if widen { number.cast("bigint") } else { number.operand() };
                let negated = Typed::new(format!("- {operand}"), number.class).from(&[&number]);
                Ok(if number.class == Class::Integer { Typed { growth, ..negated } } else { negated })
            }
            Unary::BitNot => {
                let number = self.bits(&typed)?;
                let growth = overflow::inverted(&typed);
                Ok(Typed { growth, ..Typed::new(format!("~ {number}"), Class::Integer) }.from(&[&typed]))
            }
        }
    }

    fn bits(&self, typed: &Typed) -> Outcome<String> {
        let number = typed.integer()?;
        if number.class == Class::Integer { Ok(number.cast("bigint")) } else { no("the bits of a REAL are asked for") }
    }

    fn binary(&mut self, operator: Binary, left: &Expr, right: &Expr) -> Outcome<Typed> {
        if let (Expr::Row(left), Expr::Row(right)) = (left, right) {
            return self.rows(operator, left, right);
        }
        if let (Binary::Is | Binary::IsNot, Expr::Column(column)) = (operator, right)
            && column.table.is_none()
            && !column.double_quoted
            && ["true", "false"].contains(&column.name.to_ascii_lowercase().as_str())
        {
            let condition = self.expr(left)?.condition_operand()?;
            let not = if operator == Binary::IsNot { "NOT " } else { "" };
            return Ok(boolean(format!("{condition} IS {not}{}", column.name.to_ascii_uppercase())).not_null(true));
        }
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        match operator {
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo => arithmetic(operator, &left, &right),
            Binary::BitAnd | Binary::BitOr => {
                let symbol = if operator == Binary::BitAnd { "&" } else { "|" };
                let sql = format!("{} {symbol} {}", self.bits(&left)?, self.bits(&right)?);
                let growth = overflow::bits(operator, &left, &right);
                Ok(Typed { growth, ..Typed::new(sql, Class::Integer) }.from(&[&left, &right]))
            }
            Binary::ShiftLeft | Binary::ShiftRight => {
                let symbol = if operator == Binary::ShiftLeft { "<<" } else { ">>" };
                match right.constant {
                    Some(Constant::Integer(by @ 0..=63)) => {
                        Ok(Typed::new(format!("{} {symbol} {by}", self.bits(&left)?), Class::Integer).from(&[&left]))
                    }
                    _ => no("a shift by a computed distance"),
                }
            }
            Binary::Json | Binary::JsonValue => no("a value of JSON may be a number here and a text there; PostgreSQL wants one type"),
            _ => self.compare(operator, &left, &right),
        }
    }

    fn rows(&mut self, operator: Binary, left: &[Expr], right: &[Expr]) -> Outcome<Typed> {
        if left.len() != right.len() || !matches!(operator, Binary::Equal | Binary::Is) {
            return no("row values are compared by order");
        }
        let mut conditions = Vec::new();
        for (l, r) in left.iter().zip(right) {
            let (l, r) = (self.expr(l)?, self.expr(r)?);
            conditions.push(self.compare(operator, &l, &r)?.condition_operand()?);
        }
        Ok(boolean(conditions.join(" AND ")))
    }

    fn chain(&mut self, chain: Chain, operands: &[Expr]) -> Outcome<Typed> {
        let typed = self.exprs(operands)?;
        let refs: Vec<&Typed> = typed.iter().collect();
        if chain == Chain::Concat {
            let texts = typed.iter().map(|operand| Ok(operand.text()?.operand())).collect::<Outcome<Vec<_>>>()?;
            // Two bare literals would have no type.
            let first = if typed[0].constant.is_some() { format!("{}::text", texts[0]) } else { texts[0].clone() };
            let rest = texts[1..].join(" || ");
            let sql =
                if typed.iter().all(|operand| operand.constant.is_some()) { format!("{first} || {rest}") } else { texts.join(" || ") };
            return Ok(Typed::new(sql, Class::Text).from(&refs));
        }
        let conditions = typed.iter().map(Typed::condition_operand).collect::<Outcome<Vec<_>>>()?;
        let word = if chain == Chain::And { " AND " } else { " OR " };
        Ok(boolean(conditions.join(word)).from(&refs))
    }

    fn between(&mut self, value: &Expr, low: &Expr, high: &Expr) -> Outcome<Typed> {
        let (value, low, high) = (self.expr(value)?, self.expr(low)?, self.expr(high)?);
        if value.volatile {
            return no("BETWEEN over a random value");
        }
        let above = self.compare(Binary::GreaterEqual, &value, &low)?;
        let below = self.compare(Binary::LessEqual, &value, &high)?;
        let sql = format!("{} AND {}", above.condition_operand()?, below.condition_operand()?);
        Ok(boolean(sql).from(&[&above, &below]))
    }

    fn among(&mut self, value: &Expr, set: &Set) -> Outcome<Typed> {
        let select = match set {
            Set::List(list) => {
                let value = self.expr(value)?;
                let list = self.exprs(list)?;
                list.iter().for_each(|element| self.note_compared(&value, element));
                return compare::among(&value, &list);
            }
            Set::Select(select) => self.select(select)?,
            Set::Table(name) => self.whole_table(name)?,
        };
        let values = match value {
            Expr::Row(values) => self.exprs(values)?,
            value => vec![self.expr(value)?],
        };
        if values.len() != select.columns.len() {
            return no("IN compares rows of different widths");
        }
        let (mut lefts, mut rights, mut plain) = (Vec::new(), Vec::new(), true);
        for (value, column) in values.iter().zip(&select.columns) {
            let bare = Typed::column(format!("\"member\".{}", column.target), column, false);
            self.note_compared(value, &bare);
            let (left, right) = compare::membership(value, &bare)?;
            plain &= right == bare.sql;
            lefts.push(left);
            rights.push(right);
        }
        let left = if lefts.len() == 1 { lefts.remove(0) } else { format!("({})", lefts.join(", ")) };
        let sql = if plain {
            format!("{left} IN ({})", select.sql)
        } else {
            let names = select.columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
            format!("{left} IN (SELECT {} FROM ({}) AS \"member\" ({names}))", rights.join(", "), select.sql)
        };
        Ok(boolean(sql))
    }

    fn like(&mut self, like: Matcher, text: &Expr, pattern: &Expr, escape: Option<&Expr>) -> Outcome<Typed> {
        // Its left side may be the table itself, which is no column.
        if like == Matcher::Match {
            return no("MATCH searches a virtual table");
        }
        let (text, pattern) = (self.expr(text)?, self.expr(pattern)?);
        let escape = escape.map(|escape| self.expr(escape)).transpose()?;
        match like {
            Matcher::Like => like::like(&text, &pattern, escape.as_ref()),
            Matcher::Glob => like::glob(&text, &pattern),
            Matcher::Regexp => no("REGEXP is the application's own function"),
            Matcher::Match => no("MATCH searches a virtual table"),
        }
    }

    fn case(&mut self, operand: Option<&Expr>, whens: &[(Expr, Expr)], otherwise: Option<&Expr>) -> Outcome<Typed> {
        let operand = operand.map(|operand| self.expr(operand)).transpose()?;
        if operand.as_ref().is_some_and(|operand| operand.volatile) {
            return no("CASE over a random value");
        }
        let (mut conditions, mut outgrows, mut of_texts) = (Vec::new(), Leaves::Never, false);
        let mut values = Vec::new();
        for (when, then) in whens {
            let when = self.expr(when)?;
            let condition = match &operand {
                Some(operand) => self.compare(Binary::Equal, operand, &when)?,
                None => when,
            };
            outgrows = outgrows.max(condition.growth.leaves);
            of_texts |= condition.of_texts;
            conditions.push(condition.condition()?);
            values.push(self.expr(then)?);
        }
        values.push(match otherwise {
            Some(otherwise) => self.expr(otherwise)?,
            None => Typed::null(),
        });
        let (class, sqls, form) = unify(&values, "CASE")?;
        self.note_rounded(&values, class);
        let mut sql = String::from("CASE");
        for (condition, value) in conditions.iter().zip(&sqls) {
            sql.push_str(&format!(" WHEN {condition} THEN {value}"));
        }
        if otherwise.is_some() {
            sql.push_str(&format!(" ELSE {}", sqls[sqls.len() - 1]));
        }
        sql.push_str(" END");
        let refs: Vec<&Typed> = values.iter().collect();
        let mut growth = overflow::one_of(&values);
        growth.leaves = growth.leaves.max(outgrows);
        Ok(Typed { form, growth, of_texts, ..Typed::atom(sql, class) }.from(&refs))
    }

    fn cast(&mut self, operand: &Expr, declared: &str) -> Outcome<Typed> {
        let typed = self.expr(operand)?;
        let affinity = Affinity::of(declared);
        let cast = cast::cast(&typed, affinity)?;
        Ok(Typed { affinity: Some(affinity), collation: typed.collation.clone(), is_column: false, ..cast })
    }

    pub fn scalar(&mut self, select: &Select) -> Outcome<Typed> {
        let select = self.first_row(select)?;
        let [column] = select.columns.as_slice() else {
            return no("a subquery gives several columns where one value is wanted");
        };
        let sql = if select.is_one_row {
            format!("({})", select.sql)
        } else if select.is_limited {
            format!("(SELECT * FROM ({}) AS \"only\" LIMIT 1)", select.sql)
        } else {
            format!("({} LIMIT 1)", select.sql)
        };
        // An aggregate of all rows is there without any.
        let has_row = select.is_one_row && !select.is_limited;
        Ok(Typed { collation: None, is_column: false, ..Typed::column(sql, column, !has_row) })
    }
}

/// The first COLLATE among the operands of what may be a text.
fn inner_collation(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Unary(_, operand) | Expr::Cast(operand, _) => first_of([&**operand].into_iter()),
        Expr::Binary(_, left, right) => first_of([&**left, &**right].into_iter()),
        Expr::Chain(_, operands) => first_of(operands.iter()),
        Expr::Case { operand, whens, otherwise } => {
            let pairs = whens.iter().flat_map(|(when, then)| [when, then]);
            first_of(operand.as_deref().into_iter().chain(pairs).chain(otherwise.as_deref()))
        }
        Expr::Call(call) => first_of(call.arguments.iter()),
        _ => None,
    }
}

fn first_of<'e>(mut operands: impl Iterator<Item = &'e Expr>) -> Option<&'e str> {
    operands.find_map(|operand| match operand {
        Expr::Collate(_, name) => Some(name.as_str()),
        operand => inner_collation(operand),
    })
}

fn collation_named(name: &str) -> Collation {
    match name.to_ascii_uppercase().as_str() {
        "BINARY" => Collation::Binary,
        "NOCASE" => Collation::NoCase,
        "RTRIM" => Collation::RTrim,
        _ => Collation::Custom(name.to_string()),
    }
}

/// SQLite computes with the REALs of a numeric column in double precision.
fn real_if_numeric(typed: &Typed) -> Outcome<Typed> {
    if typed.class == Class::Numeric { Ok(Typed { class: Class::Numeric, ..typed.real()? }) } else { Ok(typed.clone()) }
}

/// A column of decimals by an integer: the value tells whether SQLite divides integers.
fn divided(left: &Typed, right: &Typed) -> Outcome<Option<Typed>> {
    match right.constant {
        Some(Constant::Integer(by)) if left.class == Class::Numeric && left.whole && by != 0 && by.unsigned_abs() <= 1 << 53 => {
            let (x, by) = (left.real()?.operand(), right.operand());
            // The sum keeps a zero from having a sign, which no integer has.
            let sql = format!("CASE WHEN {x} = trunc({x}) THEN trunc({x} / {by}) + 0.0 ELSE {x} / {by} END");
            Ok(Some(Typed::atom(sql, Class::Numeric).from(&[left])))
        }
        _ => Ok(None),
    }
}

fn arithmetic(operator: Binary, left: &Typed, right: &Typed) -> Outcome<Typed> {
    let (l, r) = (left.number()?, right.number()?);
    let both_integer = l.class == Class::Integer && r.class == Class::Integer;
    let any_numeric = l.class == Class::Numeric || r.class == Class::Numeric;
    let any_real = l.class == Class::Real || r.class == Class::Real;
    if operator == Binary::Modulo && !both_integer {
        return no("% of numbers that are no integers");
    }
    if let (Binary::Divide, Some(divided)) = (operator, divided(&l, &r)?) {
        return Ok(divided);
    }
    if operator == Binary::Divide && any_numeric && !any_real {
        return no("a division is one of integers or of reals, row by row");
    }
    let class = if both_integer {
        Class::Integer
    } else if any_real {
        Class::Real
    } else {
        Class::Numeric
    };
    let (mut a, mut b) = if both_integer { (l.operand(), r.operand()) } else { (l.real()?.operand(), r.real()?.operand()) };
    let (growth, widen) = if both_integer { overflow::of(operator, &l, &r) } else { Default::default() };
    if widen || both_integer && l.constant.is_some() && r.constant.is_some() {
        a = l.cast("bigint");
    }
    let is_zero_safe = match r.constant {
        Some(Constant::Integer(value)) => value != 0,
        Some(Constant::Real(value)) => value != 0.0,
        _ => false,
    };
    if matches!(operator, Binary::Divide | Binary::Modulo) && !is_zero_safe {
        b = format!("NULLIF({b}, 0)");
    }
    let symbol = match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        _ => "%",
    };
    let may_vanish = matches!(operator, Binary::Divide | Binary::Modulo) && !is_zero_safe;
    let mut typed = Typed { growth, ..Typed::new(format!("{a} {symbol} {b}"), class) }.from(&[&l, &r]);
    typed.not_null &= !may_vanish;
    typed.small = matches!(operator, Binary::Add | Binary::Subtract | Binary::Modulo) && l.small && r.small && both_integer;
    typed.non_negative = operator != Binary::Subtract && l.non_negative && r.non_negative;
    Ok(typed)
}

/// One class for the values of CASE, coalesce() or a compound SELECT, and each value in it.
pub fn unify(values: &[Typed], what: &str) -> Outcome<(Class, Vec<String>, Form)> {
    unify_mixable(values, mixed::all_mixable(values), what)
}

/// As [`unify`], where it is known whether all values may stand in one column of integers and texts.
pub fn unify_mixable(values: &[Typed], all_mixable: bool, what: &str) -> Outcome<(Class, Vec<String>, Form)> {
    let mut classes: Vec<Class> = Vec::new();
    for value in values {
        if value.class != Class::Null && !classes.contains(&value.class) {
            classes.push(value.class);
        }
    }
    let forms_agree = values.iter().all(|value| value.form == Form::Canonical);
    let any_mixed = values.iter().any(Typed::is_mixed);
    if any_mixed && !all_mixable {
        return no(format!("{what} gives integers and texts, and texts that may look like integers"));
    }
    let is_mixed =
        any_mixed || all_mixable && classes.iter().any(|class| class.is_textual()) && classes.iter().any(|class| class.is_number());
    let class = match classes.as_slice() {
        _ if is_mixed => Class::Text,
        [] => Class::Null,
        [Class::Text] => Class::Text,
        [one] if forms_agree => *one,
        all if all.iter().all(|class| matches!(class, Class::Boolean | Class::Integer)) => Class::Integer,
        all if all.iter().all(|class| class.is_number()) => Class::Numeric,
        all if all.iter().all(|class| class.is_textual()) => Class::Text,
        [first, second, ..] => return no(format!("{what} gives a {} in one case and a {} in another", first.word(), second.word())),
        [one] => return no(format!("SQLite holds a {} in another form than PostgreSQL's type suggests", one.word())),
    };
    let sqls = values.iter().map(|value| value.in_class(class)).collect::<Outcome<Vec<_>>>()?;
    Ok((class, sqls, if is_mixed { Form::Mixed } else { Form::Canonical }))
}

impl Typed {
    fn in_class(&self, class: Class) -> Outcome<String> {
        if self.class == Class::Null {
            return Ok("NULL".to_string());
        }
        Ok(match class {
            Class::Integer => self.integer()?.sql,
            Class::Numeric => self.real()?.sql,
            Class::Text => self.text()?.sql,
            _ => self.sql.clone(),
        })
    }

    /// The column that a catalog would show for it.
    pub fn as_column(&self, source: &str, target: crate::model::Name) -> RelationColumn {
        RelationColumn {
            source: source.to_string(),
            target,
            type_: self.type_(),
            affinity: self.affinity,
            form: self.form,
            not_null: self.not_null,
            collation: self.collation.clone().unwrap_or(Collation::Binary),
            generated: false,
            hidden: false,
            whole: self.whole,
            prints: self.prints,
            reach: self.growth.reach,
            narrow: !self.growth.long,
            has_reals: false,
        }
    }
}
