//! SQLite's scalar functions.

use super::compare::collated;
use super::expr::{Translator, unify};
use super::overflow::Growth;
use super::typed::{Class, Constant, Typed};
use super::{Form, Outcome, literal, no, numbers, overflow};
use crate::dialect::ast::{Binary, Call, Expr};
use crate::model::Collation;

/// The elements that are random bytes: 30 bytes of two UUIDs' 244 random bits, hashed so that none is fixed.
const RANDOM_CHUNK: &str = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))";
const RANDOM_CHUNK_BYTES: i64 = 30;

impl Translator<'_> {
    pub fn call(&mut self, call: &Call) -> Outcome<Typed> {
        let count = call.arguments.len();
        let is_aggregate = call.over.is_some()
            || call.star
            || matches!(call.name.as_str(), "count" | "sum" | "total" | "avg" | "group_concat" | "string_agg")
            || (matches!(call.name.as_str(), "min" | "max") && count == 1);
        if is_aggregate {
            return self.aggregate(call);
        }
        if call.filter.is_some() || call.distinct || !call.order_by.is_empty() {
            return no(format!("{}() is an aggregate that PostgreSQL does not have", call.name));
        }
        match call.name.as_str() {
            "date" | "time" | "datetime" | "julianday" | "unixepoch" | "strftime" => return self.time_call(&call.name, &call.arguments),
            "coalesce" | "ifnull" if count >= 2 => return self.coalesce(&call.arguments),
            "iif" | "if" if count >= 2 => {
                let mut whens = Vec::new();
                for pair in call.arguments.chunks_exact(2) {
                    whens.push((pair[0].clone(), pair[1].clone()));
                }
                let otherwise = if count % 2 == 1 { call.arguments.last().cloned().map(Box::new) } else { None };
                return self.expr(&Expr::Case { operand: None, whens, otherwise });
            }
            _ => {}
        }
        let arguments = self.exprs(&call.arguments)?;
        self.scalar_call(call, &arguments)
    }

    /// Apart from `call`, so that nested calls do not stack its many variables.
    fn scalar_call(&mut self, call: &Call, arguments: &[Typed]) -> Outcome<Typed> {
        let refs: Vec<&Typed> = arguments.iter().collect();
        match (call.name.as_str(), refs.as_slice()) {
            ("lower" | "upper", [text]) => {
                let text = text.text()?;
                Ok(Typed::atom(format!("{}({} COLLATE \"C\")", call.name, text.operand()), Class::Text).from(&[&text]))
            }
            ("length" | "octet_length", [blob]) if blob.class == Class::Blob && blob.form == Form::Canonical => Ok(Typed {
                non_negative: true,
                small: true,
                ..Typed::atom(format!("octet_length({})", blob.sql), Class::Integer).from(&refs)
            }),
            ("length" | "octet_length", [text]) => {
                let text = text.text()?;
                Ok(Typed {
                    non_negative: true,
                    small: true,
                    ..Typed::atom(format!("{}({})", call.name, text.sql), Class::Integer).from(&refs)
                })
            }
            ("substr" | "substring", [text, start]) => substr(text, start, None),
            ("substr" | "substring", [text, start, count]) => substr(text, start, Some(count)),
            ("trim" | "ltrim" | "rtrim", [text]) => {
                Ok(Typed::atom(format!("{}({}, ' ')", pg_trim(&call.name), text.text()?.sql), Class::Text).from(&refs))
            }
            ("trim" | "ltrim" | "rtrim", [text, set]) => {
                Ok(Typed::atom(format!("{}({}, {})", pg_trim(&call.name), text.text()?.sql, set.text()?.sql), Class::Text).from(&refs))
            }
            ("replace", [text, from, to]) => {
                let (text, part, mut by) = (text.text()?.sql, from.text()?.sql, to.text()?.sql);
                // Where there is nothing to replace, SQLite does not look at what it is replaced by.
                let is_something = matches!(&from.constant, Some(Constant::Text(part)) if !part.is_empty());
                if !to.not_null && !is_something {
                    if from.volatile {
                        return no("replace() of a random text by what may be NULL");
                    }
                    by = format!("CASE WHEN {part} = '' THEN '' ELSE {by} END");
                }
                Ok(Typed::atom(format!("replace({text}, {part}, {by})"), Class::Text).from(&refs))
            }
            ("instr", [text, part]) if text.class != Class::Blob && part.class != Class::Blob => {
                let sql = format!("strpos({}, {})", text.text()?.sql, part.text()?.sql);
                Ok(Typed { non_negative: true, small: true, ..Typed::atom(sql, Class::Integer).from(&refs) })
            }
            ("hex", [value]) => self.hex(value),
            ("abs", [value]) => {
                let number = if value.class == Class::Text { value.real()? } else { value.number()? };
                let (growth, widen) = overflow::turned(overflow::Turn::Absolute, &number);
                let operand = if widen { number.cast("bigint") } else { number.sql.clone() };
                Ok(Typed { non_negative: true, growth, ..Typed::atom(format!("abs({operand})"), number.class).from(&refs) })
            }
            ("round", [value]) => round(value, 0),
            ("round", [value, digits]) => match digits.constant {
                Some(Constant::Integer(digits @ 0..=15)) => {
                    if digits > 0 && value.number()?.class != Class::Integer {
                        self.note(
                            "rounds numbers halfway between two as SQLite since 3.43 does; older ones round some of them the other way",
                        );
                    }
                    round(value, digits)
                }
                _ => no("round() to a computed number of digits"),
            },
            ("sign", [value]) => {
                let growth = Growth::within(-1, 1);
                Ok(Typed { growth, ..Typed::atom(format!("sign({})::bigint", value.real()?.sql), Class::Integer) }.from(&refs))
            }
            ("ceil" | "ceiling" | "floor" | "trunc", [value]) => {
                let number = value.number()?;
                if number.class == Class::Integer {
                    return Ok(number);
                }
                Ok(Typed::atom(format!("{}({})", call.name, number.sql), number.class).from(&refs))
            }
            ("nullif", [left, right]) => self.nullif(left, right),
            ("min" | "max", [_, _, ..]) => {
                let typed = extreme(&call.name, arguments)?;
                self.note_rounded(arguments, typed.class);
                Ok(typed)
            }
            ("typeof", [value]) => type_of(value),
            ("char", _) => {
                let mut text = String::new();
                for argument in arguments {
                    match argument.constant {
                        Some(Constant::Integer(0xd800..=0xdfff)) => return no("char() of half a surrogate pair"),
                        Some(Constant::Integer(code)) => {
                            text.push(u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
                        }
                        _ => return no("char() of a computed code"),
                    }
                }
                self.string(&text)
            }
            ("unicode", [text]) => Ok(Typed {
                non_negative: true,
                small: true,
                ..Typed::atom(format!("NULLIF(ascii({}), 0)", text.text()?.sql), Class::Integer)
            }),
            ("concat", [_, ..]) => {
                let texts = arguments.iter().map(|argument| argument.text().map(|text| text.sql)).collect::<Outcome<Vec<_>>>()?;
                self.not_immutable("concat()")?;
                Ok(Typed::atom(format!("concat({})", texts.join(", ")), Class::Text).from(&refs).not_null(true))
            }
            ("concat_ws", [_, _, ..]) => {
                let texts = arguments.iter().map(|argument| argument.text().map(|text| text.sql)).collect::<Outcome<Vec<_>>>()?;
                self.not_immutable("concat_ws()")?;
                Ok(Typed::atom(format!("concat_ws({})", texts.join(", ")), Class::Text).from(&refs))
            }
            ("printf" | "format", [format, values @ ..]) => printf(format, values),
            ("likely" | "unlikely", [value]) | ("likelihood", [value, _]) => {
                // A function's answer: of a column's affinity and collation it has neither.
                let collation = if value.explicit_collation { value.collation.clone() } else { None };
                Ok(Typed { is_column: false, affinity: None, collation, ..(*value).clone() })
            }
            ("like", [pattern, text]) => super::like::like(text, pattern, None),
            ("glob", [pattern, text]) => super::like::glob(text, pattern),
            ("random", []) => {
                self.not_immutable("random()")?;
                let sql = "('x' || substr(encode(sha256(uuid_send(gen_random_uuid())), 'hex'), 1, 16))::bit(64)::bigint";
                Ok(Typed { volatile: true, not_null: true, ..Typed::atom(sql, Class::Integer) })
            }
            ("randomblob", [size]) => self.random_blob(size),
            ("zeroblob", [size]) => match size.constant {
                Some(Constant::Integer(size @ 0..=1_000_000)) => {
                    Ok(Typed::atom(format!("decode(repeat('00', {size}), 'hex')"), Class::Blob).not_null(true))
                }
                _ => no("zeroblob() of a computed size"),
            },
            ("last_insert_rowid" | "changes" | "total_changes", _) => no(format!("{}() is a state of SQLite's connection", call.name)),
            // The column's type has seen to it.
            ("json_valid", [value]) if value.class == Class::Json => {
                Ok(Typed::atom(format!("CASE WHEN {} IS NOT NULL THEN 1 END", value.operand()), Class::Integer).from(&refs))
            }
            ("json_array_length", [value]) if value.class == Class::Json => {
                let (x, json) = (value.operand(), value.cast("json"));
                let length =
                    format!("CASE WHEN json_typeof({json}) = 'array' THEN json_array_length({json}) WHEN {x} IS NOT NULL THEN 0 END");
                Ok(Typed { non_negative: true, small: true, ..Typed::atom(length, Class::Integer).from(&refs) })
            }
            ("json_valid", _) => no("json_valid() in a condition that may hold without it"),
            (name, _) if name.starts_with("json") => {
                no(format!("{name}() may give a number here and a text there; PostgreSQL wants one type"))
            }
            (name, _) => no(format!("PostgreSQL has no exact form of {name}()")),
        }
    }

    fn coalesce(&mut self, arguments: &[Expr]) -> Outcome<Typed> {
        let values = self.exprs(arguments)?;
        let (class, sqls, form) = unify(&values, "coalesce()")?;
        self.note_rounded(&values, class);
        let not_null = values.iter().any(|value| value.not_null);
        let refs: Vec<&Typed> = values.iter().collect();
        let non_negative = values.iter().all(|value| value.non_negative);
        let growth = overflow::one_of(&values);
        Ok(Typed { not_null, non_negative, form, growth, ..Typed::atom(format!("coalesce({})", sqls.join(", ")), class).from(&refs) })
    }

    fn nullif(&mut self, left: &Typed, right: &Typed) -> Outcome<Typed> {
        if right.class == Class::Null {
            return Ok(Typed { is_column: false, ..left.clone() });
        }
        if left.is_mixed() || right.is_mixed() {
            return no("nullif() of integers and texts");
        }
        let same = left.class == right.class || (left.class.is_number() && right.class.is_number());
        if !same || left.class.is_time() && (left.form != Form::Canonical || right.form != Form::Canonical) || left.class == Class::Opaque {
            return no(format!("nullif() of a {} and a {}", left.class.word(), right.class.word()));
        }
        let is_binary = |typed: &Typed| matches!(typed.collation, None | Some(Collation::Binary));
        let (l, r) = match left.class {
            class if class.is_number() => (left.integer()?, right.integer()?),
            Class::Text if is_binary(left) && is_binary(right) => (left.text()?, right.text()?),
            Class::Text => return no("nullif() under a collation"),
            _ => (left.clone(), right.clone()),
        };
        // NULLIF gives its answer in the type that it compares in, so that both are brought into the left one's.
        let of_left = match (l.class, r.class) {
            (left, right) if left == right => Some(r.sql.clone()),
            (Class::Integer, Class::Real) | (Class::Real, Class::Integer) => numbers::as_the_other(&r),
            _ => None,
        };
        let sql = match of_left {
            Some(right) => format!("NULLIF({}, {right})", l.sql),
            None if l.volatile => return no("nullif() of a random value"),
            None if numbers::is_dear(&l) => return no("nullif() of a long expression and a number of another kind"),
            None => format!("CASE WHEN {} THEN NULL ELSE {} END", self.compare(Binary::Equal, &l, &r)?.condition()?, l.sql),
        };
        let growth = overflow::one_of(std::slice::from_ref(&l));
        Ok(Typed { not_null: false, growth, ..Typed::atom(sql, l.class).from(&[left, right]) })
    }

    fn hex(&mut self, value: &Typed) -> Outcome<Typed> {
        let bytes = if value.class == Class::Blob {
            value.sql.clone()
        } else {
            self.not_immutable("convert_to()")?;
            format!("convert_to({}, 'UTF8')", value.text()?.sql)
        };
        let sql = format!("upper(encode({bytes}, 'hex'))");
        // hex(NULL) is ''.
        let sql = if value.not_null { sql } else { format!("coalesce({sql}, '')") };
        Ok(Typed::atom(sql, Class::Text).from(&[value]).not_null(true))
    }

    fn random_blob(&mut self, size: &Typed) -> Outcome<Typed> {
        self.not_immutable("randomblob()")?;
        let Some(Constant::Integer(size)) = size.constant else { return no("randomblob() of a computed size") };
        // SQLite gives one byte for anything less.
        let size = size.max(1);
        if size > 32 * RANDOM_CHUNK_BYTES {
            return no("randomblob() of many bytes");
        }
        let chunks = (size + RANDOM_CHUNK_BYTES - 1) / RANDOM_CHUNK_BYTES;
        let parts = (0..chunks).map(|chunk| {
            let bytes = RANDOM_CHUNK_BYTES.min(size - chunk * RANDOM_CHUNK_BYTES);
            format!("substring({RANDOM_CHUNK} FROM 1 FOR {bytes})")
        });
        let sql = parts.collect::<Vec<_>>().join(" || ");
        Ok(Typed { volatile: true, not_null: true, atom: chunks == 1, ..Typed::new(sql, Class::Blob) })
    }
}

fn pg_trim(name: &str) -> &str {
    if name == "trim" { "btrim" } else { name }
}

fn position(typed: &Typed) -> Outcome<String> {
    let number = typed.integer()?;
    match (number.class, &number.constant) {
        (Class::Integer, Some(_)) => Ok(number.sql),
        (Class::Integer, None) if number.small => Ok(number.operand()),
        // No text is that long. NULL is nothing to least() and greatest().
        (Class::Integer, None) => {
            let clamped = format!("least(greatest({}, -1000000000), 1000000000)::integer", number.sql);
            match (number.not_null, number.volatile) {
                (true, _) => Ok(clamped),
                (false, false) => Ok(format!("CASE WHEN {} IS NOT NULL THEN {clamped} END", number.operand())),
                (false, true) => no("substr() at a random position"),
            }
        }
        _ => no("substr() at a position that is no integer"),
    }
}

/// PostgreSQL counts positions before the first as SQLite does; a start from the end and a negative length are SQLite's own.
fn substr(text: &Typed, start: &Typed, count: Option<&Typed>) -> Outcome<Typed> {
    let (string, class) = match text.class {
        Class::Blob => return no("substr() of a blob"),
        _ => (text.text()?, Class::Text),
    };
    let number = start.integer()?;
    let at = position(start)?;
    let from_end = || format!("length({}) + 1 + {at}", string.sql);
    let start_sql = match number.constant {
        Some(Constant::Integer(value)) if value < 0 => from_end(),
        Some(_) => at.clone(),
        None if number.non_negative => at.clone(),
        None if number.volatile || string.volatile => return no("substr() at a random position"),
        None => format!("CASE WHEN {at} < 0 THEN {} ELSE {at} END", from_end()),
    };
    let mut operands = vec![text, start];
    let sql = match count {
        None => format!("substr({}, {start_sql})", string.sql),
        Some(count) => {
            operands.push(count);
            let length = position(count)?;
            match count.constant {
                Some(Constant::Integer(value)) if value < 0 => format!("substr({}, ({start_sql}) + {length}, {})", string.sql, -value),
                Some(_) => format!("substr({}, {start_sql}, {length})", string.sql),
                None if count.non_negative => format!("substr({}, {start_sql}, {length})", string.sql),
                None if count.volatile || start.volatile || text.volatile => return no("substr() of a random length"),
                None => format!(
                    "CASE WHEN {length} < 0 THEN substr({0}, ({start_sql}) + {length}, - {length}) ELSE substr({0}, {start_sql}, {length}) END",
                    string.sql
                ),
            }
        }
    };
    Ok(Typed::atom(sql, class).from(&operands))
}

/// SQLite gives a REAL, half away from zero by its exact binary value: 2.675 lies below its tie. PostgreSQL's cast to numeric would round to 15
/// digits first, so the fraction is carried over as a multiple of 2^-62.
fn round(value: &Typed, digits: i64) -> Outcome<Typed> {
    let real = value.real()?;
    if value.number()?.class == Class::Integer {
        return Ok(real);
    }
    if real.volatile {
        return no("round() of a random value");
    }
    let x = real.operand();
    let sql = if digits == 0 {
        // SQLite goes through an integer, which has no minus zero, and leaves alone what has no fraction.
        format!("CASE WHEN abs({x}) < 4503599627370496 THEN trunc({x} + CASE WHEN {x} < 0 THEN -0.5 ELSE 0.5 END) + 0.0 ELSE {x} END")
    } else {
        let fraction = format!(
            "(({x} - trunc({x})) * 4611686018427387904)::bigint * 0.00000000000000000021684043449710088680149056017398834228515625"
        );
        format!(
            "CASE WHEN abs({x}) < 4503599627370496 THEN round(trunc({x})::bigint + {fraction}, {digits})::double precision ELSE {x} END"
        )
    };
    Ok(Typed::atom(format!("({sql})"), Class::Real).from(&[value]))
}

/// min() and max() of several values: NULL when any is.
fn extreme(name: &str, values: &[Typed]) -> Outcome<Typed> {
    if values.iter().any(|value| value.class == Class::Null) {
        return Ok(Typed::null());
    }
    let function = if name == "min" { "LEAST" } else { "GREATEST" };
    let (class, mut sqls, form) = unify(values, name)?;
    if form == Form::Mixed {
        return no(format!("{name}() of integers and texts"));
    }
    match class {
        Class::Text => {
            if values.iter().any(|value| !matches!(value.collation, None | Some(Collation::Binary))) {
                return no(format!("{name}() under a collation"));
            }
            let texts = values.iter().map(Typed::text).collect::<Outcome<Vec<_>>>()?;
            sqls = texts.iter().map(|text| collated(text, &Collation::Binary, true)).collect::<Outcome<_>>()?;
        }
        Class::Boolean | Class::Integer | Class::Real | Class::Numeric | Class::Date | Class::Timestamp => {}
        _ => return no(format!("{name}() of several values of the class {}", class.word())),
    }
    let nulls: Vec<String> = values.iter().filter(|value| !value.not_null).map(|value| format!("{} IS NULL", value.operand())).collect();
    let all = format!("{function}({})", sqls.join(", "));
    let sql = if nulls.is_empty() { all } else { format!("CASE WHEN NOT ({}) THEN {all} END", nulls.join(" OR ")) };
    let refs: Vec<&Typed> = values.iter().collect();
    Ok(Typed { collation: None, growth: overflow::one_of(values), ..Typed::atom(sql, class).from(&refs) })
}

fn type_of(value: &Typed) -> Outcome<Typed> {
    let word = match value.class {
        _ if value.is_mixed() => {
            let x = value.operand();
            let sql = format!(
                "CASE WHEN {x} IS NULL THEN 'null' WHEN {x} ~ '^-?[0-9]+$' THEN 'integer' WHEN {x} ~ '^-?[0-9]+\\.[0-9]+$' THEN 'real' ELSE 'text' END"
            );
            return Ok(Typed::atom(sql, Class::Text).not_null(true));
        }
        _ if value.form == Form::Other => return no(format!("{} holds values of several storage classes", value.describe())),
        Class::Null => "null",
        Class::Boolean | Class::Integer => "integer",
        Class::Real => "real",
        Class::Blob => "blob",
        Class::Numeric if value.whole => {
            let x = value.operand();
            let is_integer = format!("{x} = trunc({x}) AND abs({x}) < 9223372036854775808");
            let sql = format!("CASE WHEN {x} IS NULL THEN 'null' WHEN {is_integer} THEN 'integer' ELSE 'real' END");
            return Ok(Typed::atom(sql, Class::Text).not_null(true));
        }
        class if class.is_textual() => "text",
        _ => return no("a numeric column holds integers and reals alike"),
    };
    if value.not_null || value.class == Class::Null {
        return Ok(literal::constant(Constant::Text(word.to_string())));
    }
    Ok(Typed::atom(format!("CASE WHEN {} IS NULL THEN 'null' ELSE '{word}' END", value.operand()), Class::Text).not_null(true))
}

/// %d, %i, %s, %% and zero-padded %0Nd.
fn printf(format: &Typed, values: &[&Typed]) -> Outcome<Typed> {
    let Some(Constant::Text(format)) = &format.constant else { return no("printf() with a computed format") };
    let mut parts: Vec<String> = Vec::new();
    let mut plain = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(character) = chars.next() {
        if character != '%' {
            plain.push(character);
            continue;
        }
        let is_padded = chars.next_if_eq(&'0').is_some();
        let mut width = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let kind = chars.next();
        if kind == Some('%') && !is_padded && width.is_empty() {
            plain.push('%');
            continue;
        }
        let width = width.parse::<u32>().unwrap_or(0);
        let Some(value) = values.next() else { return no("printf() with fewer values than its format wants") };
        if !plain.is_empty() {
            parts.push(literal::string(&std::mem::take(&mut plain)));
        }
        parts.push(match kind {
            Some('s') if width == 0 && !is_padded => {
                if value.not_null { value.text()?.operand() } else { format!("coalesce({}, '')", value.text()?.sql) }
            }
            Some('d' | 'i') if is_padded == (width > 0) => {
                let number = value.integer()?;
                if number.class != Class::Integer {
                    return no("printf() of a REAL");
                }
                let n = if number.not_null { number.operand() } else { format!("coalesce({}, 0)", number.sql) };
                if width == 0 {
                    format!("{n}::text")
                } else if value.volatile {
                    return no("printf() of a random value");
                } else {
                    // The sign counts as one of the digits.
                    format!("CASE WHEN {n} < 0 THEN '-' ELSE '' END || lpad(abs({n})::text, greatest({width} - ({n} < 0)::integer, length(abs({n})::text)), '0')")
                }
            }
            _ => return no("printf() with more than %s, %d and %0Nd"),
        });
    }
    if !plain.is_empty() || parts.is_empty() {
        parts.push(literal::string(&plain));
    }
    let parts: Vec<String> = parts.into_iter().map(|part| if part.starts_with("CASE") { format!("({part})") } else { part }).collect();
    let sql = if parts.len() == 1 { format!("{}::text", parts[0]) } else { parts.join(" || ") };
    Ok(Typed::new(sql, Class::Text).not_null(true))
}
