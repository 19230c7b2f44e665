//! Aggregates and window functions.

use super::expr::Translator;
use super::order::NO_ORDER;
use super::typed::{Class, Typed};
use super::{Form, Outcome, no};
use crate::dialect::ast::{Call, Order, Window};
use crate::model::Collation;

impl Translator<'_> {
    pub fn aggregate(&mut self, call: &Call) -> Outcome<Typed> {
        // What stands inside is seen row by row, not by group; a window stands after the grouping.
        let grouping = if call.over.is_none() { self.scopes.last_mut().and_then(|scope| scope.grouping.take()) } else { None };
        let typed = self.plain_aggregate(call);
        if let Some(scope) = self.scopes.last_mut()
            && grouping.is_some()
        {
            scope.grouping = grouping;
        }
        let typed = typed?;
        match &call.over {
            None => Ok(typed),
            Some(window) => {
                let over = self.window(window)?;
                // Casts bind tighter than OVER would, so the call carries its window inside.
                let sql = typed.sql.replacen(WINDOW_MARK, &format!(" OVER {over}"), 1);
                Ok(Typed { sql, ..typed })
            }
        }
    }

    fn plain_aggregate(&mut self, call: &Call) -> Outcome<Typed> {
        let arguments = self.exprs(&call.arguments)?;
        self.aggregate_of(call, &arguments)
    }

    fn aggregate_of(&mut self, call: &Call, arguments: &[Typed]) -> Outcome<Typed> {
        if arguments.iter().any(|argument| argument.class == Class::Opaque) {
            return no(format!("{}() of a type of PostgreSQL's own", call.name));
        }
        let filter = match &call.filter {
            Some(filter) => format!(" FILTER (WHERE {})", self.expr(filter)?.condition()?),
            None => String::new(),
        };
        let joins_texts = matches!(call.name.as_str(), "group_concat" | "string_agg") && call.over.is_none();
        let order = match (call.order_by.is_empty(), joins_texts) {
            (false, _) => format!(" ORDER BY {}", self.order_terms(&call.order_by)?),
            (true, false) => String::new(),
            (true, true) => match self.order_of_rowids().filter(|_| !call.distinct) {
                Some(rowid) => format!(" ORDER BY {rowid}"),
                None => {
                    self.note(NO_ORDER);
                    String::new()
                }
            },
        };
        let mark = if call.over.is_some() { WINDOW_MARK } else { "" };
        let tail = format!("{filter}{mark}");
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let atom = |sql: String, class| Ok(Typed::atom(sql, class));
        match (call.name.as_str(), arguments) {
            ("count", []) => {
                Ok(Typed { non_negative: true, short: true, ..Typed::atom(format!("count(*){tail}"), Class::Integer).not_null(true) })
            }
            ("count", [value]) => {
                let operand = if call.distinct { value.ordered()? } else { value.sql.clone() };
                Ok(Typed {
                    non_negative: true,
                    short: true,
                    ..Typed::atom(format!("count({distinct}{operand}){tail}"), Class::Integer).not_null(true)
                })
            }
            ("sum", [value]) => {
                let number = value.number()?;
                match number.class {
                    Class::Integer => atom(format!("sum({distinct}{}){tail}::bigint", number.sql), Class::Integer),
                    Class::Real => atom(format!("sum({distinct}{}){tail}", number.sql), Class::Real),
                    _ => atom(format!("sum({distinct}{}){tail}::double precision", number.sql), Class::Numeric),
                }
            }
            ("total", [value]) => {
                let number = value.number()?;
                atom(format!("coalesce(sum({distinct}{}){tail}, 0)::double precision", number.sql), Class::Real)
            }
            ("avg", [value]) => {
                let number = value.number()?;
                match number.class {
                    Class::Integer if call.over.is_none() => atom(
                        format!("sum({distinct}{n}){tail}::double precision / NULLIF(count({distinct}{n}){tail}, 0)", n = number.sql),
                        Class::Real,
                    )
                    .map(|typed| Typed { atom: false, ..typed }),
                    _ => atom(format!("avg({distinct}{}){tail}::double precision", number.sql), Class::Real),
                }
            }
            ("group_concat", [value]) => atom(format!("string_agg({distinct}{}, ','{order}){tail}", value.text()?.sql), Class::Text),
            ("group_concat" | "string_agg", [value, separator]) if !call.distinct => {
                let separator = if separator.not_null { separator.text()?.sql } else { format!("coalesce({}, '')", separator.text()?.sql) };
                atom(format!("string_agg({}, {separator}{order}){tail}", value.text()?.sql), Class::Text)
            }
            ("min" | "max", [value]) => self.extreme_of_group(call, value, &filter, &tail),
            (name, _) if call.over.is_some() => self.window_function(name, arguments, &tail),
            (name, _) => no(format!("PostgreSQL has no exact form of {name}()")),
        }
    }

    fn extreme_of_group(&mut self, call: &Call, value: &Typed, filter: &str, tail: &str) -> Outcome<Typed> {
        let name = &call.name;
        let is_binary = matches!(value.collation, None | Some(Collation::Binary));
        value.not_mixed()?;
        match value.class {
            Class::Null => Ok(Typed::atom(format!("{name}(NULL::text){tail}"), Class::Text)),
            Class::Boolean => Ok(Typed::atom(format!("{name}({}){tail}", value.integer()?.sql), Class::Integer)),
            Class::Integer | Class::Real | Class::Numeric => Ok(Typed::atom(format!("{name}({}){tail}", value.sql), value.class)),
            class if class.is_time() && matches!(value.form, Form::Canonical | Form::Uniform) => {
                Ok(Typed { form: value.form, is_column: true, ..Typed::atom(format!("{name}({}){tail}", value.sql), value.class) })
            }
            Class::Blob => no(format!("{name}() of blobs")),
            _ if is_binary => Ok(Typed::atom(format!("{name}({} COLLATE \"C\"){tail}", value.text()?.operand()), Class::Text)),
            _ if filter.is_empty() && call.over.is_none() => {
                let direction = if name == "min" { "ASC" } else { "DESC" };
                let sql = format!("(array_agg({} ORDER BY {} {direction} NULLS LAST))[1]", value.text()?.cast("text"), value.ordered()?);
                Ok(Typed { collation: value.collation.clone(), ..Typed::atom(sql, Class::Text) })
            }
            _ => no(format!("{name}() under a collation")),
        }
    }

    fn window_function(&mut self, name: &str, arguments: &[Typed], tail: &str) -> Outcome<Typed> {
        match (name, arguments) {
            ("row_number" | "rank" | "dense_rank", []) => {
                Ok(Typed { short: true, ..Typed::atom(format!("{name}(){tail}"), Class::Integer).not_null(true) })
            }
            ("percent_rank" | "cume_dist", []) => Ok(Typed::atom(format!("{name}(){tail}"), Class::Real).not_null(true)),
            ("ntile", [buckets]) => Ok(Typed::atom(format!("ntile({}){tail}", buckets.cast("integer")), Class::Integer)),
            ("lag" | "lead" | "nth_value", [value, offset]) => {
                let sql = format!("{name}({}, {}){tail}", value.sql, offset.cast("integer"));
                Ok(Typed { sql, not_null: false, is_column: false, atom: true, constant: None, ..value.clone() })
            }
            ("lag" | "lead", [value, offset, default]) if value.class == default.class => {
                let sql = format!("{name}({}, {}, {}){tail}", value.sql, offset.cast("integer"), default.sql);
                Ok(Typed { sql, not_null: false, is_column: false, atom: true, constant: None, ..value.clone() })
            }
            ("lag" | "lead" | "first_value" | "last_value", [value]) => {
                let sql = format!("{name}({}){tail}", value.sql);
                Ok(Typed { sql, not_null: false, is_column: false, atom: true, constant: None, ..value.clone() })
            }
            _ => no(format!("PostgreSQL has no exact form of {name}() over a window")),
        }
    }

    pub fn window(&mut self, window: &Window) -> Outcome<String> {
        let mut parts = Vec::new();
        if let Some(base) = &window.base {
            let name = crate::model::Name::new(base.to_ascii_lowercase()).to_string();
            if window.partition_by.is_empty() && window.order_by.is_empty() && window.frame.is_none() {
                return Ok(name);
            }
            parts.push(name);
        }
        if !window.partition_by.is_empty() {
            let keys = self.exprs(&window.partition_by)?.iter().map(Typed::ordered).collect::<Outcome<Vec<_>>>()?;
            parts.push(format!("PARTITION BY {}", keys.join(", ")));
        }
        if !window.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.order_terms(&window.order_by)?));
        }
        if let Some(frame) = &window.frame {
            let is_plain = frame.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ');
            if !is_plain {
                return no("a window's frame is computed");
            }
            parts.push(frame.to_ascii_uppercase());
        }
        Ok(format!("({})", parts.join(" ")))
    }

    pub fn order_terms(&mut self, terms: &[Order]) -> Outcome<String> {
        let mut sqls = Vec::new();
        for term in terms {
            let typed = self.expr(&term.expr)?;
            sqls.push(ordered_term(&typed, term)?);
        }
        Ok(sqls.join(", "))
    }
}

/// Where OVER goes in a call that is not yet whole.
const WINDOW_MARK: &str = "\u{1}";

/// NULLs sort first in SQLite, and last in PostgreSQL.
pub fn ordered_term(typed: &Typed, term: &Order) -> Outcome<String> {
    let key = typed.ordered()?;
    let direction = if term.descending { " DESC" } else { "" };
    let nulls_first = term.nulls_first.unwrap_or(!term.descending);
    let nulls = match (typed.not_null, nulls_first) {
        (true, _) => "",
        (false, true) if term.descending => "",
        (false, false) if !term.descending => "",
        (false, true) => " NULLS FIRST",
        (false, false) => " NULLS LAST",
    };
    Ok(format!("{key}{direction}{nulls}"))
}
