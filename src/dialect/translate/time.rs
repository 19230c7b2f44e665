//! SQLite's date and time functions: over now, times in time columns, epochs, literals, and texts in any spelling that SQLite reads.

use super::expr::Translator;
use super::overflow::Growth;
use super::typed::{Class, Constant, Typed};
use super::{Form, Outcome, literal, no, numbers};
use crate::dialect::ast::Expr;

/// A moment: SQL of the type timestamp, in UTC unless said otherwise.
struct Moment {
    sql: String,
    not_null: bool,
    fraction: Fraction,
    /// The SQL of a text's moment, which `sql` calls `"moment"."t"`: it is long, and wanted several times.
    of_text: Option<String>,
}

/// What a moment may hold of a second.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fraction {
    None,
    /// The clock's: no two askings agree on it anyway.
    Clock,
    /// Digits of a text, which SQLite's versions round differently.
    Some,
}

/// White space, a time of day and its zone, as SQLite reads them in a text.
const BLANK: &str = r"[ \t\n\v\f\r]*";
/// SQLite knows an hour 24, which is the next day's first; without a day there is none.
const CLOCK: &str = r"([01][0-9]|2[0-4]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?";
const ZONE: &str = r"(Z|z|[-+](0[0-9]|1[0-4]):[0-5][0-9])?";
const DATE: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";

const NOW: &str = "(statement_timestamp() AT TIME ZONE 'UTC')";

impl Translator<'_> {
    /// `CURRENT_TIMESTAMP` and its kin.
    pub fn now(&mut self, function: &str) -> Outcome<Typed> {
        self.time_call(function, &[])
    }

    pub fn time_call(&mut self, name: &str, arguments: &[Expr]) -> Outcome<Typed> {
        let (format, arguments) = match (name, arguments) {
            ("strftime", [format, rest @ ..]) => match self.expr(format)?.constant {
                Some(Constant::Text(format)) => (Some(format), rest),
                _ => return no("strftime() with a computed format"),
            },
            ("strftime", []) => return Ok(Typed::null()),
            _ => (None, arguments),
        };
        let moment = self.moment(arguments)?;
        let t = &moment.sql;
        if moment.fraction == Fraction::Some && (name == "julianday" || format.as_ref().is_some_and(|format| format.contains("%f"))) {
            return no("fractions of seconds, which SQLite's versions round differently");
        }
        let typed = match name {
            "date" => Typed::atom(format!("{t}::date"), Class::Date),
            "time" => Typed::atom(format!("{}::time", whole(&moment)), Class::Time),
            "datetime" => Typed::atom(whole(&moment), Class::Timestamp),
            "unixepoch" => Typed { growth: whole_seconds(), ..Typed::atom(epoch(t), Class::Integer) },
            "julianday" => Typed::new(
                format!("((extract(epoch FROM {t}) * 1000)::bigint + 210866760000000)::double precision / 86400000"),
                Class::Real,
            ),
            _ => formatted(&moment, &format.unwrap_or_default())?,
        };
        let typed = typed.not_null(moment.not_null);
        let spelling = match name {
            "date" => Some(formatted(&moment, "%F")?.operand()),
            "time" => Some(formatted(&moment, "%T")?.operand()),
            "datetime" => Some(formatted(&moment, "%F %T")?.operand()),
            _ => None,
        };
        let typed = Typed { spelling, ..typed };
        let Some(of_text) = &moment.of_text else { return Ok(typed) };
        let outside = |sql: &str| format!("(SELECT {sql} FROM (SELECT {of_text}) AS \"moment\" (\"t\"))");
        Ok(Typed {
            sql: outside(&typed.sql),
            digits_of: typed.digits_of.as_deref().map(outside),
            spelling: typed.spelling.as_deref().map(outside),
            atom: true,
            ..typed
        })
    }

    fn moment(&mut self, arguments: &[Expr]) -> Outcome<Moment> {
        let Some((first, modifiers)) = arguments.split_first() else { return self.apply(self.this_moment()?, &[]) };
        let typed = self.expr(first)?;
        let mut modifiers = self.exprs(modifiers)?;
        let moment = match (&typed.constant, typed.class) {
            (Some(Constant::Text(text)), _) if text.eq_ignore_ascii_case("now") => self.this_moment()?,
            (Some(Constant::Text(text)), _) => {
                let time = literal::time(text, Class::Timestamp)
                    .or_else(|| literal::time(text, Class::Date).map(|_| format!("TIMESTAMP '{text} 00:00:00'")));
                match time {
                    Some(sql) => Moment { sql: format!("({sql})"), not_null: true, fraction: Fraction::None, of_text: None },
                    None => return no(format!("the time {} is spelled in a way of SQLite's own", typed.sql)),
                }
            }
            (_, Class::Integer) if first_modifier(&modifiers).is_some_and(|text| text == "unixepoch") => {
                modifiers.remove(0);
                from_epoch(&typed)?
            }
            (_, Class::Real | Class::Numeric) if first_modifier(&modifiers).is_some_and(|text| text == "unixepoch") => {
                modifiers.remove(0);
                from_real_epoch(&typed)?
            }
            (_, Class::Date | Class::Timestamp | Class::TimestampTz | Class::Time) if typed.form != Form::Other => {
                let sql = match typed.class {
                    Class::Date => typed.cast("timestamp"),
                    Class::TimestampTz => format!("({} AT TIME ZONE 'UTC')", typed.operand()),
                    Class::Time => format!("(DATE '2000-01-01' + {})", typed.operand()),
                    _ => typed.operand(),
                };
                let is_whole = typed.class == Class::Date || typed.form == Form::Canonical;
                let fraction = if is_whole { Fraction::None } else { Fraction::Some };
                Moment { sql, not_null: typed.not_null, fraction, of_text: None }
            }
            (_, Class::Text) => {
                self.not_immutable("the moment that a text may name")?;
                self.note("reads times out of a text: one before the year 1 is an error there");
                from_text(&typed)?
            }
            (_, class) => return no(format!("a date function of a {}", class.word())),
        };
        self.apply(moment, &modifiers)
    }

    fn this_moment(&self) -> Outcome<Moment> {
        self.not_immutable("the present moment")?;
        // SQLite's now is that of the statement, as PostgreSQL's now() is not.
        Ok(Moment { sql: NOW.to_string(), not_null: true, fraction: Fraction::Clock, of_text: None })
    }

    fn apply(&self, mut moment: Moment, modifiers: &[Typed]) -> Outcome<Moment> {
        let given = moment.sql.clone();
        for modifier in modifiers {
            let Some(Constant::Text(text)) = &modifier.constant else { return no("a date function with a computed modifier") };
            let text = text.trim().to_ascii_lowercase();
            moment.sql = match text.as_str() {
                "localtime" => {
                    self.not_immutable("local time")?;
                    match moment.sql.as_str() {
                        NOW => "statement_timestamp()::timestamp".to_string(),
                        t => format!("({t} AT TIME ZONE 'UTC')::timestamp"),
                    }
                }
                "start of day" => format!("date_trunc('day', {})", moment.sql),
                "start of month" => format!("date_trunc('month', {})", moment.sql),
                "start of year" => format!("date_trunc('year', {})", moment.sql),
                text if text.starts_with("weekday ") => match text["weekday ".len()..].trim().parse::<u8>() {
                    Ok(day @ 0..=6) => {
                        format!("({0} + ((({day} - extract(dow FROM {0})::integer + 7) % 7) * interval '1 day'))", moment.sql)
                    }
                    _ => return no(format!("the modifier '{text}' of a date function")),
                },
                text => shifted(&moment.sql, text)?,
            };
        }
        let may_leave_range = moment.fraction != Fraction::Clock && modifiers.iter().any(|modifier| !modifier.sql.contains("start of"));
        if may_leave_range && moment.sql != given {
            moment.sql = format!(
                "(CASE WHEN {0} BETWEEN TIMESTAMP '0001-01-01 00:00:00' AND TIMESTAMP '9999-12-31 23:59:59.999999' THEN {0} END)",
                moment.sql
            );
            moment.not_null = false;
        }
        Ok(moment)
    }
}

fn first_modifier(modifiers: &[Typed]) -> Option<String> {
    match &modifiers.first()?.constant {
        Some(Constant::Text(text)) => Some(text.trim().to_ascii_lowercase()),
        _ => None,
    }
}

/// `+N days` and the like. A month too short overflows into the next, as in SQLite.
fn shifted(t: &str, modifier: &str) -> Outcome<String> {
    let unknown = || no(format!("the modifier '{modifier}' of a date function"));
    let mut words = modifier.split_ascii_whitespace();
    let (Some(number), Some(unit), None) = (words.next(), words.next(), words.next()) else { return unknown() };
    let Ok(number) = number.parse::<i32>() else { return unknown() };
    match unit.trim_end_matches('s') {
        unit @ ("day" | "hour" | "minute" | "second") => Ok(format!("({t} + interval '{number} {unit}')")),
        unit @ ("month" | "year") => {
            Ok(format!("(date_trunc('month', {t}) + interval '{number} {unit}' + ({t} - date_trunc('month', {t})))"))
        }
        _ => unknown(),
    }
}

/// Beyond the years 1 to 9999 SQLite gives NULL.
fn from_epoch(typed: &Typed) -> Outcome<Moment> {
    if typed.volatile {
        return no("a date function of a random value");
    }
    let seconds = typed.operand();
    let sql = format!("(CASE WHEN {seconds} BETWEEN -62135596800 AND 253402300799 THEN to_timestamp({seconds}) AT TIME ZONE 'UTC' END)");
    Ok(Moment { sql, not_null: false, fraction: Fraction::None, of_text: None })
}

/// Seconds with a fraction, which SQLite rounds to milliseconds in double precision.
fn from_real_epoch(typed: &Typed) -> Outcome<Moment> {
    let real = typed.real()?;
    if real.volatile || numbers::is_dear(&real) {
        return no("a date function of a long or random expression");
    }
    let x = real.operand();
    let millis = format!("trunc({x} * 1000.0 + 210866760000000.0 + 0.5) - 210866760000000.0");
    let moment = format!("TIMESTAMP '1970-01-01 00:00:00' + ({millis}) * interval '1 millisecond'");
    let sql = format!("(CASE WHEN {x} BETWEEN -62135596800 AND 253402300799.999 THEN {moment} END)");
    Ok(Moment { sql, not_null: false, fraction: Fraction::Some, of_text: None })
}

/// Any text: a date, a time of day (of 2000-01-01), `now`, a Julian day, or NULL for all else. What SQLite reads and would print in a way
/// of its own (years before 1) is an error rather than another answer.
fn from_text(typed: &Typed) -> Outcome<Moment> {
    if typed.volatile {
        return no("a date function of a random value");
    }
    let text = typed.text()?;
    let t = text.operand();
    let clock =
        format!(r"coalesce(substring({t} from '[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?')::interval, interval '0')");
    let zone = format!("coalesce(substring({t} from '([-+][0-9]{{2}}:[0-9]{{2}}){BLANK}$')::interval, interval '0')");
    let hour = CLOCK.replace("2[0-4]", "2[0-3]");
    // As in SQLite, February 30th is the 1st of March, or the 2nd.
    let date = format!("(make_date(left({t}, 4)::integer, substr({t}, 6, 2)::integer, 1) + (substr({t}, 9, 2)::integer - 1))");
    let number = super::compare::DECIMAL;
    let of_text = format!(
        "CASE WHEN {t} ~ '^{DATE}([T \\t\\n\\v\\f\\r]*{CLOCK}{BLANK}{ZONE}{BLANK}|[T \\t\\n\\v\\f\\r]*)$' THEN {date} + {clock} - {zone} \
         WHEN {t} ~ '^{hour}{BLANK}{ZONE}{BLANK}$' THEN TIMESTAMP '2000-01-01 00:00:00' + {clock} - {zone} \
         WHEN lower({t} COLLATE \"C\") = 'now' THEN {NOW} \
         WHEN {t} ~ {number} THEN CASE WHEN {t}::numeric BETWEEN 1721425.5 AND 5373484.499 \
         THEN TIMESTAMP '1970-01-01 00:00:00' + round(({t}::double precision - 2440587.5) * 86400000)::bigint * interval '1 millisecond' \
         WHEN {t}::numeric BETWEEN 0 AND 1721425.5 THEN make_date(0 * length({t}), 1, 1) END END"
    );
    Ok(Moment { sql: "\"moment\".\"t\"".to_string(), not_null: false, fraction: Fraction::Some, of_text: Some(of_text) })
}

fn whole(moment: &Moment) -> String {
    if moment.fraction == Fraction::None { moment.sql.clone() } else { format!("date_trunc('second', {})", moment.sql) }
}

/// SQLite's times end with the year 9999, and begin with Julian day 0.
fn whole_seconds() -> Growth {
    Growth::within(-210_866_760_000, 253_402_300_799)
}

fn epoch(t: &str) -> String {
    format!("floor(extract(epoch FROM {t}))::bigint")
}

/// strftime(): each part by extract(), which is immutable where to_char() is not.
fn formatted(moment: &Moment, format: &str) -> Outcome<Typed> {
    let t = &moment.sql;
    let field = |field: &str, width: u8| format!("lpad(extract({field} FROM {t})::integer::text, {width}, '0')");
    let second = || format!("lpad(floor(extract(second FROM {t}))::integer::text, 2, '0')");
    let date = || [field("year", 4), field("month", 2), field("day", 2)].join(" || '-' || ");
    let clock = || [field("hour", 2), field("minute", 2)].join(" || ':' || ");
    let mut parts: Vec<String> = Vec::new();
    let mut digits = Vec::new();
    let mut plain = String::new();
    let mut chars = format.chars();
    while let Some(character) = chars.next() {
        if character != '%' {
            plain.push(character);
            continue;
        }
        let code = chars.next();
        if code == Some('%') {
            plain.push('%');
            continue;
        }
        if !plain.is_empty() {
            parts.push(literal::string(&std::mem::take(&mut plain)));
        }
        digits.push(match code {
            Some('Y') => format!("extract(year FROM {t})::bigint"),
            Some('m') => format!("extract(month FROM {t})::bigint"),
            Some('d') => format!("extract(day FROM {t})::bigint"),
            Some('H') => format!("extract(hour FROM {t})::bigint"),
            Some('M') => format!("extract(minute FROM {t})::bigint"),
            Some('S') => format!("floor(extract(second FROM {t}))::bigint"),
            Some('j') => format!("extract(doy FROM {t})::bigint"),
            Some('w') => format!("extract(dow FROM {t})::bigint"),
            Some('s') => epoch(t),
            _ => String::new(),
        });
        parts.push(match code {
            Some('Y') => field("year", 4),
            Some('m') => field("month", 2),
            Some('d') => field("day", 2),
            Some('H') => field("hour", 2),
            Some('M') => field("minute", 2),
            Some('S') => second(),
            Some('j') => field("doy", 3),
            Some('w') => format!("extract(dow FROM {t})::integer::text"),
            Some('s') => format!("{}::text", epoch(t)),
            Some('F') => date(),
            Some('R') => clock(),
            Some('T') => format!("{} || ':' || {}", clock(), second()),
            Some('f') if moment.fraction == Fraction::None => format!("{} || '.000'", second()),
            Some('f') => format!("{} || '.' || lpad(floor(extract(milliseconds FROM {t}))::integer % 1000 || '', 3, '0')", second()),
            Some(code) => return no(format!("strftime() with %{code}")),
            None => return no("strftime() with a format that ends in %"),
        });
    }
    if !plain.is_empty() || parts.is_empty() {
        parts.push(literal::string(&plain));
    }
    if digits.is_empty() && !moment.not_null {
        let sql = format!("CASE WHEN {t} IS NOT NULL THEN {} END", parts.join(" || "));
        return Ok(Typed::atom(sql, Class::Text));
    }
    let digits_of = if parts.len() == 1 { digits.pop().filter(|digits| !digits.is_empty()) } else { None };
    let typed =
        if parts.len() == 1 { Typed::atom(format!("({})", parts[0]), Class::Text) } else { Typed::new(parts.join(" || "), Class::Text) };
    let never_numeric = ["%F", "%T", "%R", "%Y-%m", "%m-%d", ":", "/"].iter().any(|part| format.contains(part));
    // Nothing of a time is a larger number.
    Ok(Typed { digits_of, growth: whole_seconds(), instant: instant(moment, format), never_numeric, ..typed })
}

/// The timestamp that a format spells whole: a day and a time of day, in the ways that both engines read.
fn instant(moment: &Moment, format: &str) -> Option<String> {
    let format = format.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%R", "%H:%M");
    let clock = format.strip_prefix("%Y-%m-%dT").or_else(|| format.strip_prefix("%Y-%m-%d "))?;
    let clock = ["Z", "+00:00", "+00"].iter().find_map(|zone| clock.strip_suffix(zone)).unwrap_or(clock);
    let unit = match clock {
        "%H:%M" => "minute",
        "%H:%M:%S" => "second",
        "%H:%M:%f" => "milliseconds",
        _ => return None,
    };
    moment.of_text.is_none().then(|| format!("date_trunc('{unit}', {})", moment.sql))
}
