//! LIKE and GLOB.

use super::compare::boolean;
use super::typed::{Class, Constant, Typed};
use super::{Outcome, literal, no};

/// LIKE folds the case of ASCII letters only, as lower() does under "C".
pub fn like(text: &Typed, pattern: &Typed, escape: Option<&Typed>) -> Outcome<Typed> {
    let escape = match escape.map(|escape| &escape.constant) {
        None => None,
        Some(Some(Constant::Text(text))) if text.chars().count() == 1 && !text.starts_with(|c: char| c.is_ascii_alphabetic()) => Some(text),
        Some(_) => return no("the character of ESCAPE is not a plain one"),
    };
    let (text, pattern) = (as_text(text)?, as_text(pattern)?);
    if text.class == Class::Null || pattern.class == Class::Null {
        return Ok(Typed::atom("NULL::boolean", Class::Boolean));
    }
    let lower = |typed: &Typed| format!("lower({} COLLATE \"C\")", typed.operand());
    let (left, right, has_backslash) = match &pattern.constant {
        Some(Constant::Text(constant)) => {
            if escape.is_some_and(|escape| ends_with_escape(constant, escape)) {
                return no("the pattern ends with its own ESCAPE character");
            }
            let has_letters = constant.contains(|c: char| c.is_ascii_alphabetic());
            let left = if has_letters { lower(&text) } else { text.operand() };
            (left, literal::string(&constant.to_ascii_lowercase()), constant.contains('\\'))
        }
        _ if escape.is_some() => return no("LIKE … ESCAPE with a computed pattern"),
        _ => (lower(&text), lower(&pattern), true),
    };
    let tail = match escape {
        Some(escape) => format!(" ESCAPE {}", literal::string(escape)),
        None if has_backslash => " ESCAPE ''".to_string(),
        None => String::new(),
    };
    Ok(boolean(format!("{left} LIKE {right}{tail}")).from(&[&text, &pattern]))
}

fn as_text(typed: &Typed) -> Outcome<Typed> {
    if typed.class == Class::Null { Ok(typed.clone()) } else { typed.text() }
}

fn ends_with_escape(pattern: &str, escape: &str) -> bool {
    let mut open = false;
    for character in pattern.chars() {
        open = !open && escape.starts_with(character);
    }
    open
}

/// GLOB with a literal pattern, as a regular expression.
pub fn glob(text: &Typed, pattern: &Typed) -> Outcome<Typed> {
    let text = as_text(text)?;
    let Some(Constant::Text(constant)) = &pattern.constant else {
        return no("GLOB with a computed pattern");
    };
    if text.class == Class::Null {
        return Ok(Typed::atom("NULL::boolean", Class::Boolean));
    }
    let sql = match regex(constant) {
        Some(regex) => format!("{} ~ {}", text.operand(), literal::string(&regex)),
        // A class that is never closed matches nothing.
        None => format!("CASE WHEN {} IS NOT NULL THEN FALSE END", text.operand()),
    };
    Ok(boolean(sql).from(&[&text]))
}

fn regex(glob: &str) -> Option<String> {
    let mut regex = String::from("^");
    let mut chars = glob.chars().peekable();
    while let Some(character) = chars.next() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                regex.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    regex.push('^');
                }
                let mut prior = None;
                if chars.next_if_eq(&']').is_some() {
                    regex.push_str("\\]");
                    prior = Some(']');
                }
                loop {
                    let member = chars.next()?;
                    match member {
                        ']' => break,
                        '-' if prior.is_some() && chars.peek().is_some_and(|next| *next != ']') => {
                            let last = chars.next()?;
                            // A range that runs backwards holds nothing; PostgreSQL refuses it.
                            if prior.is_some_and(|first| first > last) {
                                return None;
                            }
                            regex.push('-');
                            push_member(&mut regex, last);
                            prior = None;
                        }
                        member => {
                            push_member(&mut regex, member);
                            prior = Some(member);
                        }
                    }
                }
                regex.push(']');
            }
            character => {
                if !character.is_alphanumeric() && character.is_ascii() && !character.is_ascii_whitespace() && character != '_' {
                    regex.push('\\');
                }
                regex.push(character);
            }
        }
    }
    regex.push('$');
    Some(regex)
}

fn push_member(regex: &mut String, member: char) {
    if matches!(member, '\\' | ']' | '[' | '^' | '-') {
        regex.push('\\');
    }
    regex.push(member);
}
