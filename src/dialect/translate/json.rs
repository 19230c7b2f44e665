//! JSON, where one type is enough: CHECKs of its validity, and keys of indexes. Elsewhere a value of JSON is a number in one row and a text in
//! another, which no column of PostgreSQL is.

use super::expr::Translator;
use super::typed::{Class, Typed};
use super::{Outcome, collect, literal, no};
use crate::dialect::ast::{Binary, Chain, Expr};

pub fn mentions_validity(expr: &Expr) -> bool {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if validated(expr).is_some() {
            return true;
        }
        collect::children(expr, &mut open);
    }
    false
}

/// The operand of `json_valid(x)`, also as `json_valid(x) = 1`.
fn validated(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Call(call) if call.name == "json_valid" && call.arguments.len() == 1 => call.arguments.first(),
        Expr::Binary(Binary::Equal, left, right) if **right == Expr::Integer("1".into()) => validated(left),
        _ => None,
    }
}

/// A CHECK over json_valid(). PostgreSQL's cast refuses the row with an error of its own, so it may only stand where a false
/// json_valid() would refuse the row as well: as a term of the AND on top, or after `x IS NULL OR`.
pub fn check(translator: &mut Translator, expr: &Expr) -> Outcome<String> {
    if let Some(operand) = validated(expr) {
        return valid(&translator.expr(operand)?);
    }
    match expr {
        Expr::Chain(Chain::And, terms) => {
            let terms = terms.iter().map(|term| Ok(format!("({})", check(translator, term)?)));
            Ok(terms.collect::<Outcome<Vec<_>>>()?.join(" AND "))
        }
        Expr::Chain(Chain::Or, terms) => match terms.as_slice() {
            [null @ Expr::IsNull(operand), valid] | [valid, null @ Expr::IsNull(operand)] if validated(valid) == Some(operand) => {
                Ok(format!("({}) OR ({})", translator.expr(null)?.condition()?, check(translator, valid)?))
            }
            _ => no("json_valid() in a condition that may hold without it"),
        },
        expr => translator.expr(expr)?.condition(),
    }
}

fn valid(value: &Typed) -> Outcome<String> {
    match value.class {
        Class::Json => Ok("TRUE".to_string()),
        Class::Text => {
            let text = value.text()?;
            Ok(format!("{} IS NOT NULL OR {} IS NULL", text.cast("json"), text.operand()))
        }
        class => no(format!("json_valid() of a {}", class.word())),
    }
}

/// `json_extract(x, '$.a.b')` and `x ->> 'a'` as the text that PostgreSQL finds there; none for anything else.
pub fn index_key(translator: &mut Translator, expr: &Expr) -> Outcome<Option<String>> {
    let (document, path) = match expr {
        Expr::Call(call) if call.name == "json_extract" => match call.arguments.as_slice() {
            [document, Expr::Text(path)] => (document, path),
            _ => return Ok(None),
        },
        Expr::Binary(Binary::JsonValue, document, path) => match &**path {
            Expr::Text(path) => (&**document, path),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let is_operator = matches!(expr, Expr::Binary(..));
    let steps = match path.strip_prefix('$') {
        Some(steps) => steps_of(steps),
        None if is_operator => Some(vec![path.clone()]),
        None => None,
    };
    let Some(steps) = steps else { return no(format!("the path {path} into JSON")) };
    let typed = translator.expr(document)?;
    let json = match typed.class {
        Class::Json => typed.operand(),
        Class::Text => typed.text()?.cast("json"),
        class => return no(format!("a value of JSON inside a {}", class.word())),
    };
    let steps: Vec<String> = steps.iter().map(|step| format!("\"{}\"", step.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    Ok(Some(format!("({json} #>> {})", literal::string(&format!("{{{}}}", steps.join(","))))))
}

/// `.a.b[0]`, with quoted keys; counting from the end is left alone.
fn steps_of(path: &str) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, after) = if let Some(quoted) = rest.strip_prefix(".\"") {
            quoted.split_once('"')?
        } else if let Some(bare) = rest.strip_prefix('.') {
            bare.split_at(bare.find(['.', '[']).unwrap_or(bare.len()))
        } else {
            let (step, after) = rest.strip_prefix('[')?.split_once(']')?;
            step.parse::<u32>().ok()?;
            (step, after)
        };
        if step.is_empty() {
            return None;
        }
        steps.push(step.to_string());
        rest = after;
    }
    Some(steps)
}
