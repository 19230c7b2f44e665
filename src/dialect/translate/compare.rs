//! Comparisons: affinity, storage classes and collations, as SQLite weighs them.

use super::numbers::{self, Apart, Numbers};
use super::typed::{Class, Constant, OPAQUE, Typed};
use super::{Form, Outcome, literal, mixed, no};
use crate::dialect::ast::Binary;
use crate::model::{Affinity, Collation};

/// What is said of a comparison whose answer holds for texts alone.
pub const OF_TEXTS: &str = "compares a number with a column that is text here: SQLite would keep a number in it apart from texts, PostgreSQL keeps it as one of them";

/// What is to be compared once SQLite's conversions are done.
enum Pair {
    Operands(String, String),
    /// The classes differ for every row: the left sorts before the right, or after it.
    Ranked(std::cmp::Ordering),
    /// A whole condition that says whether they are equal.
    Equality(String),
    /// An integer and a real.
    Apart(Box<Apart>),
}

/// White space and a number, as SQLite's numeric affinity reads them.
const WHOLE: &str = r"'^[ \t\n\v\f\r]*[-+]?[0-9]{1,19}[ \t\n\v\f\r]*$'";
pub const DECIMAL: &str = r"'^[ \t\n\v\f\r]*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?[ \t\n\v\f\r]*$'";

pub fn compare(operator: Binary, left: &Typed, right: &Typed) -> Outcome<Typed> {
    if left.class == Class::Null || right.class == Class::Null {
        let other = if left.class == Class::Null { right } else { left };
        return Ok(match operator {
            Binary::Is => boolean(format!("{} IS NULL", other.operand())).not_null(true),
            Binary::IsNot => boolean(format!("{} IS NOT NULL", other.operand())).not_null(true),
            _ => Typed::atom("NULL::boolean", Class::Boolean),
        });
    }
    if let Some(truth) = compare_truth(operator, left, right)? {
        return Ok(truth);
    }
    let is_ordering = matches!(operator, Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual);
    let both_set = left.not_null && right.not_null;
    let pair = pair(left, right, is_ordering)?;
    let keeps_numbers = |typed: &&Typed| typed.is_column && typed.class == Class::Text && typed.affinity != Some(Affinity::Text);
    let of_texts = matches!(pair, Pair::Ranked(_)) && [left, right].iter().any(keeps_numbers);
    let sql = match pair {
        Pair::Operands(l, r) => format!("{l} {} {r}", spelling(operator, both_set)),
        Pair::Ranked(order) => ranked(operator, left, right, order),
        Pair::Equality(equal) => match operator {
            Binary::Equal => equal,
            Binary::NotEqual => format!("NOT ({equal})"),
            _ => return no("a text column is compared with a number"),
        },
        Pair::Apart(apart) => apart.compare(operator, both_set),
    };
    let typed = Typed { of_texts, ..boolean(sql) }.from(&[left, right]);
    Ok(if matches!(operator, Binary::Is | Binary::IsNot) { typed.not_null(true) } else { typed })
}

pub fn boolean(sql: String) -> Typed {
    Typed::new(sql, Class::Boolean)
}

pub fn spelling(operator: Binary, both_set: bool) -> &'static str {
    match operator {
        Binary::Equal => "=",
        Binary::NotEqual => "<>",
        Binary::Is if both_set => "=",
        Binary::IsNot if both_set => "<>",
        Binary::Is => "IS NOT DISTINCT FROM",
        Binary::IsNot => "IS DISTINCT FROM",
        Binary::Less => "<",
        Binary::LessEqual => "<=",
        Binary::Greater => ">",
        _ => ">=",
    }
}

/// Truth values with 0, 1 and each other.
fn compare_truth(operator: Binary, left: &Typed, right: &Typed) -> Outcome<Option<Typed>> {
    let is_equality = matches!(operator, Binary::Equal | Binary::NotEqual | Binary::Is | Binary::IsNot);
    let (truth, wanted) = match (left.class, right.class, &left.constant, &right.constant) {
        (Class::Boolean, _, _, Some(Constant::Integer(wanted @ (0 | 1)))) => (left, *wanted == 1),
        (_, Class::Boolean, Some(Constant::Integer(wanted @ (0 | 1))), _) => (right, *wanted == 1),
        _ => return Ok(None),
    };
    if !is_equality {
        return Ok(None);
    }
    let condition = truth.condition_operand()?;
    let same = matches!(operator, Binary::Equal | Binary::Is);
    Ok(Some(if matches!(operator, Binary::Is | Binary::IsNot) {
        let word = if wanted { "TRUE" } else { "FALSE" };
        boolean(format!("{condition} IS {}{word}", if same { "" } else { "NOT " })).not_null(true)
    } else if same == wanted {
        Typed { is_column: false, ..truth.clone() }
    } else {
        boolean(format!("NOT {condition}")).from(&[truth])
    }))
}

fn pair(left: &Typed, right: &Typed, is_ordering: bool) -> Outcome<Pair> {
    let collation = collation(left, right);
    let (left, right) = with_affinity(left, right)?;
    let (l, r) = (&left, &right);
    if l.is_mixed() || r.is_mixed() {
        if is_ordering {
            l.not_mixed()?;
            r.not_mixed()?;
        }
        let (l, r) = mixed::sides(l, r)?;
        return Ok(Pair::Operands(collated(&l, &collation, false)?, collated(&r, &collation, false)?));
    }
    if l.class == Class::Opaque || r.class == Class::Opaque {
        return no(format!("{} {OPAQUE}", if l.class == Class::Opaque { l.describe() } else { r.describe() }));
    }
    if l.class.is_number() && r.class.is_number() {
        let both_boolean = l.class == Class::Boolean && r.class == Class::Boolean && l.form == r.form;
        if both_boolean {
            return Ok(Pair::Operands(l.operand(), r.operand()));
        }
        return Ok(match numbers::numbers(&l.integer()?, &r.integer()?)? {
            Numbers::Plain(l, r) => Pair::Operands(l, r),
            Numbers::Apart(apart) => Pair::Apart(apart),
        });
    }
    let both_blobs = l.class == Class::Blob && r.class == Class::Blob;
    if both_blobs && l.form == Form::Canonical && r.form == Form::Canonical {
        return Ok(Pair::Operands(l.operand(), r.operand()));
    }
    if l.class.is_textual() && r.class.is_textual() {
        if is_ordering && (may_become_number(l, r) || may_become_number(r, l)) {
            return no("a text column is compared with a column whose numeric affinity makes numbers of texts");
        }
        return textual(l, r, &collation, is_ordering);
    }
    if l.form == Form::Other || r.form == Form::Other {
        return no(format!("{} holds values of several storage classes", if l.form == Form::Other { l.describe() } else { r.describe() }));
    }
    // The numeric affinity of one side makes numbers of those texts of the other that look like one: row by row.
    match (l.class, r.class) {
        (_, Class::Text) if is_numeric(l.affinity) && l.class.is_number() && r.constant.is_none() && !is_numeric(r.affinity) => {
            numeric_text(r, l).map(Pair::Equality)
        }
        (Class::Text, _) if is_numeric(r.affinity) && r.class.is_number() && l.constant.is_none() && !is_numeric(l.affinity) => {
            numeric_text(l, r).map(Pair::Equality)
        }
        _ => Ok(Pair::Ranked(rank(l.class).cmp(&rank(r.class)))),
    }
}

fn is_numeric(affinity: Option<Affinity>) -> bool {
    matches!(affinity, Some(Affinity::Integer | Affinity::Real | Affinity::Numeric))
}

/// Whether the numeric affinity of `column` turns some texts of `text` into numbers, which sort before all others: a time's spelling is never one.
fn may_become_number(text: &Typed, column: &Typed) -> bool {
    is_numeric(column.affinity) && !is_numeric(text.affinity) && text.class == Class::Text && text.constant.is_none() && !text.never_numeric
}

fn with_affinity(left: &Typed, right: &Typed) -> Outcome<(Typed, Typed)> {
    let none = |typed: &Typed| matches!(typed.affinity, None | Some(Affinity::Blob));
    let as_text = |typed: &Typed| if typed.class.is_number() { typed.text() } else { Ok(typed.clone()) };
    Ok(if is_numeric(left.affinity) && !is_numeric(right.affinity) {
        (left.clone(), right.numerically())
    } else if is_numeric(right.affinity) && !is_numeric(left.affinity) {
        (left.numerically(), right.clone())
    } else if left.affinity == Some(Affinity::Text) && none(right) {
        (left.clone(), as_text(right)?)
    } else if right.affinity == Some(Affinity::Text) && none(left) {
        (as_text(left)?, right.clone())
    } else {
        (left.clone(), right.clone())
    })
}

/// An explicit COLLATE wins, the left one first; then the left column's, then the right one's.
fn collation(left: &Typed, right: &Typed) -> Collation {
    let explicit = [left, right].into_iter().find(|typed| typed.explicit_collation);
    explicit.and_then(|typed| typed.collation.clone()).or(left.collation.clone()).or(right.collation.clone()).unwrap_or(Collation::Binary)
}

fn textual(l: &Typed, r: &Typed, collation: &Collation, is_ordering: bool) -> Outcome<Pair> {
    if *collation == Collation::Binary && l.form == Form::Canonical && r.form == Form::Canonical {
        if l.class == r.class && (l.class.is_time() || l.class == Class::Uuid) && l.class != Class::TimestampTz {
            return Ok(Pair::Operands(l.operand(), r.operand()));
        }
        if let Some(Constant::Text(text)) = &r.constant
            && let Some(time) = literal::time(text, l.class)
        {
            return Ok(Pair::Operands(l.operand(), time));
        }
        if let Some(Constant::Text(text)) = &l.constant
            && let Some(time) = literal::time(text, r.class)
        {
            return Ok(Pair::Operands(time, r.operand()));
        }
    }
    let (l, r) = (l.text()?, r.text()?);
    Ok(Pair::Operands(collated(&l, collation, is_ordering)?, collated(&r, collation, false)?))
}

/// The text in a form whose equality, and under `is_ordering` whose order, is that of the collation.
pub fn collated(text: &Typed, collation: &Collation, is_ordering: bool) -> Outcome<String> {
    let suffix = if is_ordering { " COLLATE \"C\"" } else { "" };
    Ok(match (collation, &text.constant) {
        (Collation::Binary, _) if is_ordering && text.sql.ends_with(" COLLATE \"C\"") => text.sql.clone(),
        (Collation::Binary, _) => format!("{}{suffix}", text.operand()),
        (Collation::NoCase, Some(Constant::Text(constant))) => format!("{}{suffix}", literal::string(&constant.to_ascii_lowercase())),
        (Collation::NoCase, _) => format!("lower({} COLLATE \"C\")", text.operand()),
        (Collation::RTrim, _) => format!("rtrim({}, ' '){suffix}", text.sql),
        (Collation::Custom(name), _) => return no(format!("the collation {name} is the application's own")),
    })
}

fn rank(class: Class) -> u8 {
    match class {
        Class::Blob => 2,
        class if class.is_number() => 0,
        _ => 1,
    }
}

/// A comparison whose answer is the same for every row without a NULL.
fn ranked(operator: Binary, left: &Typed, right: &Typed, order: std::cmp::Ordering) -> String {
    let holds = match operator {
        Binary::Less | Binary::LessEqual => order.is_lt(),
        Binary::Greater | Binary::GreaterEqual => order.is_gt(),
        Binary::NotEqual | Binary::IsNot => true,
        _ => false,
    };
    let nullable: Vec<String> = [left, right].iter().filter(|typed| !typed.not_null).map(|typed| typed.operand()).collect();
    let both_null = nullable.iter().map(|sql| format!("{sql} IS NULL")).collect::<Vec<_>>().join(" AND ");
    let none_null = nullable.iter().map(|sql| format!("{sql} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    let word = if holds { "TRUE" } else { "FALSE" };
    match operator {
        Binary::Is if nullable.len() == 2 => both_null,
        Binary::IsNot if nullable.len() == 2 => format!("NOT ({both_null})"),
        Binary::Is | Binary::IsNot => word.to_string(),
        _ if nullable.is_empty() => word.to_string(),
        _ => format!("CASE WHEN {none_null} THEN {word} END"),
    }
}

/// Whether a text, taken for a number where it looks like one, is this integer.
fn numeric_text(text: &Typed, number: &Typed) -> Outcome<String> {
    if number.class != Class::Integer {
        return no("a text column is compared with a number");
    }
    let (t, i) = (text.operand(), number.operand());
    Ok(format!(
        "CASE WHEN {t} ~ {WHOLE} THEN {t}::numeric = {i} WHEN {t} ~ {DECIMAL} THEN {t}::double precision = {i} \
         WHEN {t} IS NOT NULL AND {i} IS NOT NULL THEN FALSE END"
    ))
}

/// `left IN (list)`: each element without an affinity of its own, by the left side's collation.
pub fn among(left: &Typed, list: &[Typed]) -> Outcome<Typed> {
    if list.is_empty() {
        return Ok(Typed::atom("FALSE", Class::Boolean).not_null(true));
    }
    let mut bare = left.clone();
    bare.collation = Some(left.collation.clone().unwrap_or(Collation::Binary));
    bare.explicit_collation = true;
    let mut operands = Vec::new();
    let (mut conditions, mut of_texts) = (Vec::new(), false);
    for element in list {
        let element = Typed { affinity: None, collation: None, explicit_collation: false, ..element.clone() };
        if element.class != Class::Null
            && left.class != Class::Null
            && let Pair::Operands(l, r) = pair(&bare, &element, false)?
        {
            operands.push((l, r));
        }
        let condition = compare(Binary::Equal, &bare, &element)?;
        of_texts |= condition.of_texts;
        conditions.push(condition.condition_operand()?);
    }
    let mut all: Vec<&Typed> = list.iter().collect();
    all.push(left);
    let one_left = operands.len() == list.len() && operands.iter().all(|(l, _)| *l == operands[0].0);
    let sql = if one_left {
        let elements = operands.iter().map(|(_, r)| r.as_str()).collect::<Vec<_>>().join(", ");
        format!("{} IN ({elements})", operands[0].0)
    } else {
        conditions.join(" OR ")
    };
    Ok(Typed { of_texts, ..boolean(sql) }.from(&all))
}

/// The two sides of `left IN (SELECT right)` as one type: (left, right), when both can be said as operands.
pub fn membership(left: &Typed, right: &Typed) -> Outcome<(String, String)> {
    let mut bare = left.clone();
    bare.collation = Some(left.collation.clone().unwrap_or(Collation::Binary));
    bare.explicit_collation = true;
    match pair(&bare, right, false)? {
        Pair::Operands(l, r) => Ok((l, r)),
        Pair::Apart(apart) => Ok(apart.members()),
        _ => no(format!("a {} is looked for among values of the class {}", left.class.word(), right.class.word())),
    }
}
