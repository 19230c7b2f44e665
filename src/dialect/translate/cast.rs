//! CAST, which SQLite never refuses.

use super::overflow::Growth;
use super::typed::{Class, Typed};
use super::{Outcome, no, numbers};
use crate::model::Affinity;

/// By the affinity of the type.
pub fn cast(typed: &Typed, affinity: Affinity) -> Outcome<Typed> {
    let sql = typed.operand();
    if typed.class == Class::Null {
        return Ok(typed.clone());
    }
    let whitespace = r"[ \t\n\v\f\r]*";
    match (affinity, typed.class) {
        (Affinity::Text, _) => typed.text(),
        (Affinity::Integer, Class::Boolean | Class::Integer) => typed.integer(),
        (Affinity::Integer, Class::Real | Class::Numeric) => {
            let whole = format!("trunc({sql})::bigint");
            // SQLite takes the nearest integer for one that is farther away.
            let sql = match typed.volatile || numbers::is_dear(typed) {
                true => whole,
                false => format!(
                    "CASE WHEN {sql} >= 9223372036854775807 THEN 9223372036854775807 WHEN {sql} <= -9223372036854775808 THEN -9223372036854775807 - 1 \
                     ELSE {whole} END"
                ),
            };
            let growth = Growth { long: true, ..Growth::default() };
            Ok(Typed { growth, ..Typed::atom(sql, Class::Integer) }.from(&[typed]))
        }
        (Affinity::Integer, Class::Text) => {
            if typed.digits_of.is_some() {
                return typed.number();
            }
            let text = typed.text()?;
            let prefix = format!("coalesce(substring({} from '^{whitespace}([-+]?[0-9]+)')::numeric, 0)", text.sql);
            let clamped = format!("least(greatest({prefix}, -9223372036854775808), 9223372036854775807)::bigint");
            let sql = if typed.not_null { clamped } else { format!("CASE WHEN {sql} IS NOT NULL THEN {clamped} END") };
            Ok(Typed::atom(sql, Class::Integer).from(&[typed]))
        }
        (Affinity::Real, class) if class.is_number() => typed.real(),
        (Affinity::Real, Class::Text) => {
            let text = typed.text()?;
            let number = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?";
            let prefix = format!("coalesce(substring({} from '^{whitespace}({number})')::double precision, 0)", text.sql);
            let sql = if typed.not_null { prefix } else { format!("CASE WHEN {sql} IS NOT NULL THEN {prefix} END") };
            Ok(Typed::atom(sql, Class::Real).from(&[typed]))
        }
        (Affinity::Numeric, Class::Boolean | Class::Integer) => typed.integer(),
        (Affinity::Numeric, Class::Real | Class::Numeric) => Ok(Typed { class: Class::Numeric, ..typed.clone() }),
        (Affinity::Blob, Class::Blob) => Ok(typed.clone()),
        (Affinity::Blob, Class::Text) => Ok(Typed::atom(format!("convert_to({}, 'UTF8')", typed.text()?.sql), Class::Blob).from(&[typed])),
        _ => no(format!("a {} is cast to another class", typed.class.word())),
    }
}
