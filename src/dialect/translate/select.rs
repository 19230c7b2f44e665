//! SELECT: sources, joins, grouping, compounds, common table expressions.

use super::aggregate::ordered_term;
use super::expr::{Translator, unify_mixable};
use super::grouping::Grouping;
use super::order::NO_ORDER;
use super::scope::{Scope, ScopeSource, make_unique};
use super::typed::{Class, Constant, Typed};
use super::{Form, Outcome, RelationColumn, collect, mixed, no};
use crate::dialect::ast::*;
use crate::model::{Affinity, Collation, Name};

/// A SELECT in PostgreSQL's SQL, and its columns.
pub struct Translated {
    pub sql: String,
    pub columns: Vec<RelationColumn>,
    /// An aggregate without GROUP BY, or LIMIT 1: no second row.
    pub is_one_row: bool,
    /// It ends in LIMIT or OFFSET.
    pub is_limited: bool,
}

#[derive(Clone, Debug)]
pub struct CteRelation {
    pub name: String,
    pub target: Name,
    pub columns: Vec<RelationColumn>,
}

/// What makes one group of all rows, as PostgreSQL spells it.
const AGGREGATES: [&str; 7] = ["count(", "sum(", "avg(", "min(", "max(", "string_agg(", "array_agg("];

/// One SELECT or VALUES before its values are brought to common classes.
struct Part {
    names: Vec<String>,
    targets: Vec<Name>,
    rows: Vec<Vec<Typed>>,
    /// `SELECT` or `SELECT DISTINCT`, and all from FROM on.
    head: &'static str,
    tail: String,
    is_values: bool,
    is_one_row: bool,
}

impl Translator<'_> {
    pub fn select(&mut self, select: &Select) -> Outcome<Translated> {
        self.select_for(select, false)
    }

    /// One of which only the first row counts.
    pub fn first_row(&mut self, select: &Select) -> Outcome<Translated> {
        self.select_for(select, true)
    }

    fn select_for(&mut self, select: &Select, first_row: bool) -> Outcome<Translated> {
        let (ctes, scopes) = (self.ctes.len(), self.scopes.len());
        let translated = self.select_inside(select, first_row);
        self.ctes.truncate(ctes);
        self.scopes.truncate(scopes);
        translated
    }

    fn select_inside(&mut self, select: &Select, first_row: bool) -> Outcome<Translated> {
        let with = self.with(select)?;
        let depth = self.scopes.len();
        let mut parts = Vec::new();
        for core in std::iter::once(&select.first).chain(select.compound.iter().map(|(_, core)| core)) {
            self.scopes.truncate(depth);
            parts.push(self.core(core)?);
        }
        let width = parts[0].names.len();
        if parts.iter().any(|part| part.names.len() != width) {
            return no("the parts of a compound SELECT have different widths");
        }
        let columns = if parts.len() == 1 && parts[0].rows.len() == 1 { single(&mut parts[0])? } else { self.common(&mut parts)? };
        let operators: Vec<Compound> = select.compound.iter().map(|(operator, _)| *operator).collect();
        // A part without a collation compares by that of another.
        let is_folded = |typed: &Typed| !matches!(typed.collation, None | Some(Collation::Binary));
        let any_folded = columns.iter().any(|column| column.collation != Collation::Binary)
            || parts.len() > 1 && parts.iter().flat_map(|part| part.rows.iter().flatten()).any(is_folded);
        if any_folded && operators.iter().any(|operator| *operator != Compound::UnionAll) {
            return no("a compound SELECT compares under a collation");
        }
        let mut sql = parts[0].sql(&columns);
        for (operator, part) in operators.iter().zip(&parts[1..]) {
            // SQLite reads them from left to right; PostgreSQL's INTERSECT would bind tighter.
            let left = if operators.len() > 1 { format!("({sql})") } else { sql };
            sql = format!("{left} {} {}", operator.word(), part.sql(&columns));
        }
        let is_one_row = parts.len() == 1 && (parts[0].is_one_row || parts[0].is_values && parts[0].rows.len() == 1);
        if !select.order_by.is_empty() {
            sql = self.order(select, sql, &parts, &columns)?;
        } else if !is_one_row && !self.is_by_key(select) && (first_row || select.limit.is_some() || select.offset.is_some()) {
            let is_plain = parts.len() == 1 && parts[0].head == "SELECT" && !parts[0].is_values;
            let is_grouped = self.scope().grouping.is_some();
            match self.order_of_rowids().filter(|_| is_plain && !is_grouped) {
                Some(rowid) => sql.push_str(&format!(" ORDER BY {rowid}")),
                None => self.note(NO_ORDER),
            }
        }
        self.scopes.truncate(depth);
        if let Some(limit) = &select.limit {
            sql.push_str(&self.limit(limit, " LIMIT ")?);
        }
        if let Some(offset) = &select.offset {
            sql.push_str(&self.limit(offset, " OFFSET ")?);
        }
        let is_limited = select.limit.is_some() || select.offset.is_some();
        let is_one_row = is_one_row || matches!(&select.limit, Some(Expr::Integer(count)) if count == "1");
        Ok(Translated { sql: format!("{with}{sql}"), columns, is_one_row, is_limited })
    }

    fn limit(&mut self, limit: &Expr, word: &str) -> Outcome<String> {
        match self.expr(limit)?.constant {
            Some(Constant::Integer(count @ 0..)) => Ok(format!("{word}{count}")),
            // A negative one is none.
            Some(Constant::Integer(_)) => Ok(String::new()),
            _ => no("a computed LIMIT"),
        }
    }

    fn order(&mut self, select: &Select, sql: String, parts: &[Part], columns: &[RelationColumn]) -> Outcome<String> {
        let is_plain = parts.len() == 1 && parts[0].head == "SELECT" && !parts[0].is_values;
        let mut terms = Vec::new();
        for term in &select.order_by {
            let (expr, collation) = match &term.expr {
                Expr::Collate(expr, name) => (&**expr, Some(name)),
                expr => (expr, None),
            };
            let position = result_position(expr, select, columns)?;
            let mut typed = match (position, is_plain) {
                (Some(index), true) => parts[0].rows[0][index].clone(),
                (Some(index), false) => Typed::column(format!("\"ordered\".{}", columns[index].target), &columns[index], false),
                (None, true) => match aliased(expr, select, &self.scope().sources) {
                    Some(result) => self.expr(result)?,
                    None => self.expr(expr)?,
                },
                (None, false) => return no("ORDER BY something that the SELECT does not give"),
            };
            if let Some(name) = collation {
                let Expr::Collate(..) = &term.expr else { continue };
                typed = self.collated(typed, name);
            }
            if !typed.is_fixed() {
                terms.push(ordered_term(&typed, term)?);
            }
        }
        if terms.is_empty() {
            return Ok(sql);
        }
        let terms = terms.join(", ");
        if is_plain {
            return Ok(format!("{sql} ORDER BY {terms}"));
        }
        let names = columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
        Ok(format!("SELECT * FROM ({sql}) AS \"ordered\" ({names}) ORDER BY {terms}"))
    }

    fn collated(&self, typed: Typed, name: &str) -> Typed {
        let collation = match name.to_ascii_uppercase().as_str() {
            "BINARY" => Collation::Binary,
            "NOCASE" => Collation::NoCase,
            "RTRIM" => Collation::RTrim,
            _ => Collation::Custom(name.to_string()),
        };
        Typed { collation: Some(collation), explicit_collation: true, ..typed }
    }

    fn with(&mut self, select: &Select) -> Outcome<String> {
        if select.with.is_empty() {
            return Ok(String::new());
        }
        let mut sqls = Vec::new();
        let mut any_recursive = false;
        for cte in &select.with {
            let is_recursive = collect::relations(&cte.select).iter().any(|name| name.eq_ignore_ascii_case(&cte.name));
            any_recursive |= is_recursive;
            let target = Name::fit(&cte.name);
            let (sql, mut columns) = if is_recursive {
                self.recursive(cte, &target)?
            } else {
                let translated = self.select(&cte.select)?;
                (translated.sql, translated.columns)
            };
            rename(&mut columns, &cte.columns)?;
            let names = columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
            let materialized = match cte.materialized {
                Some(true) => "MATERIALIZED ",
                Some(false) => "NOT MATERIALIZED ",
                None => "",
            };
            sqls.push(format!("{target} ({names}) AS {materialized}({sql})"));
            self.ctes.push(CteRelation { name: cte.name.clone(), target, columns });
        }
        Ok(format!("WITH {}{} ", if any_recursive { "RECURSIVE " } else { "" }, sqls.join(", ")))
    }

    /// The first part gives the types, to which the recursive one is cast.
    fn recursive(&mut self, cte: &Cte, target: &Name) -> Outcome<(String, Vec<RelationColumn>)> {
        let select = &cte.select;
        let [(operator @ (Compound::Union | Compound::UnionAll), again)] = select.compound.as_slice() else {
            return no("a recursive query of more than two parts");
        };
        if !select.order_by.is_empty() || select.limit.is_some() || !select.with.is_empty() {
            return no("a recursive query with ORDER BY or LIMIT, which PostgreSQL does not have");
        }
        let depth = self.scopes.len();
        let mut first = self.core(&select.first)?;
        self.scopes.truncate(depth);
        let mut columns = self.common(std::slice::from_mut(&mut first))?;
        rename(&mut columns, &cte.columns)?;
        for column in &mut columns {
            column.not_null = false;
            if column.form == Form::Mixed {
                return no("a recursive query over integers and texts in one column");
            }
        }
        let known = self.ctes.len();
        self.ctes.push(CteRelation { name: cte.name.clone(), target: target.clone(), columns: columns.clone() });
        let again = self.core(again);
        self.ctes.truncate(known);
        self.scopes.truncate(depth);
        let mut parts = [first, again?];
        if parts[0].names.len() != parts[1].names.len() {
            return no("the parts of a compound SELECT have different widths");
        }
        for part in &mut parts {
            for row in &mut part.rows {
                for (value, column) in row.iter_mut().zip(&columns) {
                    let class = Class::of(&column.type_);
                    if value.class != class && value.class != Class::Null {
                        return no("a recursive query whose types change on the way");
                    }
                    let type_ = match class {
                        Class::Integer => "bigint",
                        Class::Real => "double precision",
                        Class::Text => "text COLLATE \"C\"",
                        _ => return no("a recursive query over other types than numbers and texts"),
                    };
                    *value = Typed { is_column: true, ..Typed::atom(value.cast(type_), class) };
                }
            }
        }
        Ok((format!("{} {} {}", parts[0].sql(&columns), operator.word(), parts[1].sql(&columns)), columns))
    }

    /// All rows of a relation: `IN table`.
    pub fn whole_table(&mut self, name: &str) -> Outcome<Translated> {
        let source = Source { item: SourceItem::Table(name.to_string()), alias: None };
        let body = Body { results: vec![ResultColumn::Star], from: Some(From { first: source, joins: Vec::new() }), ..Body::default() };
        self.select(&Select {
            recursive: false,
            with: Vec::new(),
            first: Core::Select(Box::new(body)),
            compound: Vec::new(),
            order_by: Vec::new(),
            limit: None,
            offset: None,
        })
    }

    /// Leaves the core's scope on the stack, for ORDER BY.
    fn core(&mut self, core: &Core) -> Outcome<Part> {
        match core {
            Core::Select(body) => self.body(body),
            Core::Values(rows) => {
                let rows = rows.iter().map(|row| self.exprs(row)).collect::<Outcome<Vec<_>>>()?;
                if rows.iter().any(|row| row.len() != rows[0].len()) {
                    return no("the rows of VALUES have different widths");
                }
                let names: Vec<String> = (1..=rows[0].len()).map(|index| format!("column{index}")).collect();
                let targets = names.iter().map(|name| Name::new(name.as_str())).collect();
                Ok(Part { names, targets, rows, head: "VALUES", tail: String::new(), is_values: true, is_one_row: false })
            }
        }
    }

    fn body(&mut self, body: &Body) -> Outcome<Part> {
        let mut tail = String::new();
        self.scopes.push(Scope::default());
        if let Some(from) = &body.from {
            let sql = self.from(from)?;
            tail.push_str(&format!(" FROM {sql}"));
        }
        let aliases = body.results.iter().filter_map(|result| match result {
            ResultColumn::Expr(expr, Some(alias), _) => Some((alias.clone(), expr.clone())),
            _ => None,
        });
        let aliases: Vec<(String, Expr)> = aliases.collect();
        self.scope().aliases = aliases;
        if let Some(filter) = &body.filter {
            tail.push_str(&format!(" WHERE {}", self.expr(filter)?.condition()?));
        }
        let is_one_row = self.group(body, &mut tail)?;
        if let Some(having) = &body.having {
            tail.push_str(&format!(" HAVING {}", self.expr(having)?.condition()?));
        }
        if !body.windows.is_empty() {
            let windows = body
                .windows
                .iter()
                .map(|(name, window)| Ok(format!("{} AS {}", Name::new(name.to_ascii_lowercase()), self.window(window)?)));
            let windows = windows.collect::<Outcome<Vec<_>>>()?;
            tail.push_str(&format!(" WINDOW {}", windows.join(", ")));
        }
        let mut part = Part {
            names: Vec::new(),
            targets: Vec::new(),
            rows: vec![Vec::new()],
            head: if body.distinct { "SELECT DISTINCT" } else { "SELECT" },
            tail,
            is_values: false,
            is_one_row: is_one_row && body.having.is_none(),
        };
        for result in &body.results {
            self.result(result, &mut part)?;
        }
        // An aggregate whose answer was clear beforehand left no trace; the one row of it stays one.
        if is_one_row && body.having.is_none() && !part.rows[0].iter().any(|typed| AGGREGATES.iter().any(|call| typed.sql.contains(call))) {
            part.tail.push_str(" HAVING TRUE");
        }
        if body.distinct && part.rows[0].iter().any(|typed| !matches!(typed.collation, None | Some(Collation::Binary))) {
            return no("DISTINCT under a collation");
        }
        if body.distinct {
            self.distinct(&part.rows[0])?;
        }
        Ok(part)
    }

    /// Fails where DISTINCT would find other values alike than in SQLite.
    fn distinct(&mut self, values: &[Typed]) -> Outcome<()> {
        if let Some(json) = values.iter().find(|value| value.class == Class::Json && value.form == Form::Canonical && value.is_column) {
            return no(format!("PostgreSQL cannot tell whether two values of {} are equal", json.describe()));
        }
        let columns: Vec<String> = values.iter().map(|value| value.sql.clone()).collect();
        let determined = self.determined(&columns);
        self.not_merged(values, &determined)
    }

    pub fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Writes GROUP BY and lets the scope know of it; true when all rows are one group.
    fn group(&mut self, body: &Body, tail: &mut String) -> Outcome<bool> {
        let exprs = body.results.iter().filter_map(|result| match result {
            ResultColumn::Expr(expr, ..) => Some(expr),
            _ => None,
        });
        let aggregates = collect::aggregates(exprs.chain(&body.having));
        if body.group_by.is_empty() && aggregates.is_empty() {
            return Ok(false);
        }
        let mut grouping = Grouping::default();
        let mut values = Vec::new();
        for key in &body.group_by {
            let typed = match key {
                Expr::Integer(text) => match (text.parse::<usize>(), &body.results) {
                    (Ok(position), results) => match position.checked_sub(1).and_then(|index| results.get(index)) {
                        Some(ResultColumn::Expr(expr, ..)) => self.expr(expr)?,
                        _ => return no("GROUP BY the position of a * column"),
                    },
                    _ => return no("GROUP BY a number"),
                },
                key => self.expr(key)?,
            };
            if typed.is_fixed() {
                continue;
            }
            let is_binary = matches!(typed.collation, None | Some(Collation::Binary));
            let sql = if is_binary && typed.class != Class::Json { typed.sql.clone() } else { typed.ordered()? };
            grouping.has_expressions |= !typed.is_column || sql != typed.sql;
            grouping.keys.push(sql);
            values.push(typed);
        }
        grouping.determined = self.determined(&grouping.keys);
        self.not_merged(&values, &grouping.determined)?;
        let extremes: Vec<&&Call> = aggregates.iter().filter(|call| matches!(call.name.as_str(), "min" | "max")).collect();
        if let [only] = extremes.as_slice() {
            let key = self.expr(&only.arguments[0])?.ordered()?;
            let direction = if only.name == "min" { "ASC" } else { "DESC" };
            grouping.row = format!(" ORDER BY {key} {direction} NULLS LAST");
        } else if let Some(rowid) = self.order_of_rowids() {
            grouping.row = format!(" ORDER BY {rowid}");
        }
        if !grouping.keys.is_empty() {
            tail.push_str(&format!(" GROUP BY {}", grouping.keys.join(", ")));
        } else if !body.group_by.is_empty() {
            return no("GROUP BY a constant");
        }
        let is_one_row = body.group_by.is_empty();
        self.scope().grouping = Some(grouping);
        Ok(is_one_row)
    }

    fn result(&mut self, result: &ResultColumn, part: &mut Part) -> Outcome<()> {
        let wanted = match result {
            ResultColumn::Expr(expr, alias, text) => {
                let typed = self.expr(expr)?;
                let (name, target) = match (alias, expr) {
                    (Some(alias), _) => (alias.clone(), Name::fit(alias)),
                    (None, Expr::Column(reference)) => {
                        let column = self.scope().sources.iter().find_map(|source| {
                            let is_named = reference.table.as_ref().is_none_or(|table| table.eq_ignore_ascii_case(&source.name));
                            if is_named { source.column(&reference.name).cloned() } else { None }
                        });
                        column.map_or_else(|| (text.clone(), Name::fit(text)), |column| (column.source, column.target))
                    }
                    _ => (text.clone(), Name::fit(text)),
                };
                part.names.push(name);
                part.targets.push(target);
                part.rows[0].push(typed);
                return Ok(());
            }
            ResultColumn::Star => None,
            ResultColumn::TableStar(table) => Some(table),
        };
        let sources = self.scope().sources.clone();
        let mut any = false;
        for (index, source) in sources.iter().enumerate() {
            if wanted.is_some_and(|table| !table.eq_ignore_ascii_case(&source.name)) {
                continue;
            }
            any = true;
            self.lacking.extend(source.left_out.iter().cloned());
            for column in &source.columns {
                if wanted.is_none() && source.is_merged(&column.source) || column.hidden {
                    continue;
                }
                let depth = self.scopes.len() - 1;
                part.names.push(column.source.clone());
                part.targets.push(column.target.clone());
                let typed = self.grouped_column(depth, index, source.typed(column))?;
                part.rows[0].push(typed);
            }
        }
        if any { Ok(()) } else { no("* of a table that is not there") }
    }
}

fn rename(columns: &mut [RelationColumn], names: &[String]) -> Outcome<()> {
    if !names.is_empty() && names.len() != columns.len() {
        return no("a list of names that is not as wide as its SELECT");
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.source = name.clone();
        column.target = Name::fit(name);
    }
    Ok(())
}

/// The result column that a term of ORDER BY names: by number, by alias or name, or by the same expression.
fn result_position(expr: &Expr, select: &Select, columns: &[RelationColumn]) -> Outcome<Option<usize>> {
    if let Expr::Integer(text) = expr {
        return match text.parse::<usize>() {
            Ok(position) if (1..=columns.len()).contains(&position) => Ok(Some(position - 1)),
            _ => no("ORDER BY a position that is not there"),
        };
    }
    let Core::Select(body) = &select.first else { return Ok(None) };
    let has_star = body.results.iter().any(|result| !matches!(result, ResultColumn::Expr(..)));
    if let Expr::Column(ColumnRef { table: None, name, .. }) = expr {
        let aliased = body
            .results
            .iter()
            .position(|result| matches!(result, ResultColumn::Expr(_, Some(alias), _) if alias.eq_ignore_ascii_case(name)));
        if let (Some(position), false) = (aliased, has_star) {
            return Ok(Some(position));
        }
        if !select.compound.is_empty() || body.distinct {
            return Ok(columns.iter().position(|column| column.source.eq_ignore_ascii_case(name)));
        }
    }
    let same = body.results.iter().position(|result| matches!(result, ResultColumn::Expr(other, ..) if other == expr));
    Ok(if has_star { None } else { same })
}

/// The result column whose alias a term of ORDER BY is: an alias comes before a column of the same name, unless a * gave that column earlier.
fn aliased<'s>(expr: &Expr, select: &'s Select, sources: &[ScopeSource]) -> Option<&'s Expr> {
    let (Core::Select(body), Expr::Column(ColumnRef { table: None, name, .. })) = (&select.first, expr) else { return None };
    for result in &body.results {
        match result {
            ResultColumn::Expr(result, Some(alias), _) if alias.eq_ignore_ascii_case(name) => return Some(result),
            ResultColumn::Expr(..) => {}
            _ if sources.iter().any(|source| source.column(name).is_some()) => return None,
            _ => {}
        }
    }
    None
}

impl Compound {
    fn word(self) -> &'static str {
        match self {
            Compound::Union => "UNION",
            Compound::UnionAll => "UNION ALL",
            Compound::Intersect => "INTERSECT",
            Compound::Except => "EXCEPT",
        }
    }
}

/// The columns of one SELECT, its values as results.
fn single(part: &mut Part) -> Outcome<Vec<RelationColumn>> {
    let mut columns: Vec<RelationColumn> = Vec::new();
    for (index, typed) in part.rows[0].iter_mut().enumerate() {
        *typed = typed.result()?;
        let mut column = typed.as_column(&part.names[index], part.targets[index].clone());
        make_unique(&mut column, &columns);
        columns.push(column);
    }
    Ok(columns)
}

impl Translator<'_> {
    /// Brings each column of all parts to one class.
    fn common(&mut self, parts: &mut [Part]) -> Outcome<Vec<RelationColumn>> {
        let mut columns: Vec<RelationColumn> = Vec::new();
        for index in 0..parts[0].names.len() {
            let values: Vec<Typed> = parts.iter().flat_map(|part| part.rows.iter().map(move |row| row[index].clone())).collect();
            let results = values.iter().map(Typed::result).collect::<Outcome<Vec<_>>>()?;
            let (class, sqls, form) = unify_mixable(&results, mixed::all_mixable(&values), "a compound SELECT")?;
            self.note_rounded(&results, class);
            let first = &values[0];
            let not_null = values.iter().all(|value| value.not_null);
            let affinity = first.affinity.filter(|affinity| values.iter().all(|value| value.affinity == Some(*affinity)));
            // Which affinity SQLite gives a compound of several is not said; a mixed one must not pass for having none.
            let affinity = if form == Form::Mixed { affinity.or(Some(Affinity::Blob)) } else { affinity };
            let merged = Typed { affinity, collation: first.collation.clone(), form, ..Typed::atom("", class) }.not_null(not_null);
            let mut column = merged.as_column(&parts[0].names[index], parts[0].targets[index].clone());
            make_unique(&mut column, &columns);
            columns.push(column);
            let mut sqls = sqls.into_iter();
            for part in parts.iter_mut() {
                for row in &mut part.rows {
                    let sql = sqls.next().unwrap_or_default();
                    // A collation of its own on both sides would be a conflict.
                    let sql = if class == Class::Text && !sql.ends_with("COLLATE \"C\"") { format!("({sql}) COLLATE \"C\"") } else { sql };
                    let was = &row[index];
                    row[index] = Typed { sql, atom: false, class, is_column: true, constant: None, ..was.clone() };
                }
            }
        }
        Ok(columns)
    }
}

impl Part {
    fn sql(&self, columns: &[RelationColumn]) -> String {
        let render = |row: &Vec<Typed>, named: bool| {
            let values = row.iter().zip(columns).map(|(typed, column)| {
                let is_named_so = typed.sql == column.target.to_string() || typed.sql.ends_with(&format!(".{}", column.target));
                if named && !is_named_so { format!("{} AS {}", typed.sql, column.target) } else { typed.sql.clone() }
            });
            values.collect::<Vec<_>>().join(", ")
        };
        if self.is_values {
            let rows = self.rows.iter().map(|row| format!("({})", render(row, false))).collect::<Vec<_>>();
            return format!("VALUES {}", rows.join(", "));
        }
        format!("{} {}{}", self.head, render(&self.rows[0], true), self.tail)
    }
}
