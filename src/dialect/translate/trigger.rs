//! Triggers: SQLite's statements in a function of PL/pgSQL.

use super::expr::Translator;
use super::scope::{Scope, ScopeSource};
use super::typed::{Class, Constant, Typed};
use super::{Catalog, Outcome, Relation, RelationColumn, TranslatedTrigger, literal, no};
use crate::dialect::ast::*;
use crate::dialect::parse::{Conflict, Timing, TriggerDdl, TriggerEvent, create_trigger};
use crate::dialect::syntax;
use crate::model::{Name, QualifiedName};

/// The statements that make the trigger: its function, then the trigger itself. Both are named `target_name`; the function stands in the table's schema.
/// `alone`: no other trigger of a view's stands in for the same event.
pub fn trigger(sql: &str, catalog: &Catalog, target_name: &Name, alone: bool) -> Outcome<TranslatedTrigger> {
    let ddl = create_trigger(sql)?;
    let Some(relation) = catalog.relation(&ddl.table) else {
        return no(format!("it watches {}, which is not copied", ddl.table));
    };
    let body = syntax::statements(&ddl.body)?;
    let mut translator = Translator::new(catalog);
    translator.scopes.push(Scope { sources: rows(&ddl.event, relation), ..Scope::default() });
    let mut lines = Vec::new();
    for statement in &body {
        translator.statement(statement, &ddl, &mut lines)?;
    }
    if ddl.timing == Timing::Before && !matches!(ddl.event, TriggerEvent::Insert) {
        for statement in &body {
            translator.not_own_rows(statement, relation)?;
        }
    }
    let when = match &ddl.when {
        Some(when) => Some(translator.expr(&syntax::expression(when)?)?.condition()?),
        None => None,
    };
    let writes = body.iter().any(|statement| !matches!(statement, Statement::Select(_)));
    let function = QualifiedName { schema: relation.target.schema.clone(), name: target_name.clone() };
    let leave =
        if writes { format!("PERFORM set_config('{}', 'off', true); RETURN NULL;", guard(&function)) } else { "RETURN NULL;".to_string() };
    for line in &mut lines {
        *line = line.replace(LEAVE, &leave);
    }
    let source = function_source(&ddl, when, &lines, writes.then(|| guard(&function)));
    if ddl.timing == Timing::After && translator.used.iter().any(|used| used.eq_ignore_ascii_case(&ddl.table)) {
        translator.note(SEES_ALL);
    }
    let event = event(&ddl, relation, alone)?;
    if ddl.timing == Timing::InsteadOf && matches!(&ddl.event, TriggerEvent::Update(columns) if !columns.is_empty()) {
        translator.note("takes every UPDATE of the view, where SQLite refuses one that sets none of its columns");
    }
    let statements = vec![
        format!("CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {source}"),
        format!(
            "CREATE TRIGGER {target_name} {} {} ON {} FOR EACH ROW EXECUTE FUNCTION {function}()",
            timing(ddl.timing),
            event,
            relation.target
        ),
    ];
    let kind = match ddl.event {
        TriggerEvent::Insert => "INSERT",
        TriggerEvent::Delete => "DELETE",
        TriggerEvent::Update(_) => "UPDATE",
    };
    Ok(TranslatedTrigger {
        fires: format!("{} {kind}", timing(ddl.timing)),
        statements,
        notes: translator.notes,
        arbiters: translator.arbiters,
    })
}

/// True for INSTEAD OF UPDATE, of whatever columns.
pub fn stands_in_for_update(sql: &str) -> bool {
    create_trigger(sql).is_ok_and(|ddl| ddl.timing == Timing::InsteadOf && matches!(ddl.event, TriggerEvent::Update(_)))
}

/// Before or after what a trigger fires, as PostgreSQL says it: `AFTER INSERT`; none of one that cannot be read.
pub fn fires(sql: &str) -> Option<String> {
    let ddl = create_trigger(sql).ok()?;
    let event = match ddl.event {
        TriggerEvent::Insert => "INSERT",
        TriggerEvent::Delete => "DELETE",
        TriggerEvent::Update(_) => "UPDATE",
    };
    Some(format!("{} {event}", timing(ddl.timing)))
}

/// What a person should know of an AFTER trigger that comes to its own table.
pub const SEES_ALL: &str =
    "looks at its own table: when one statement writes several rows it sees all of them each time, where SQLite's sees those up to its own";

/// Where the function is left early, until it is known what has to be done first.
const LEAVE: &str = "\u{2}";

/// NEW and OLD.
fn rows(event: &TriggerEvent, relation: &Relation) -> Vec<ScopeSource> {
    let names: &[&str] = match event {
        TriggerEvent::Insert => &["NEW"],
        TriggerEvent::Delete => &["OLD"],
        TriggerEvent::Update(_) => &["NEW", "OLD"],
    };
    names.iter().map(|name| ScopeSource::of(relation, name, name)).collect()
}

fn timing(timing: Timing) -> &'static str {
    match timing {
        Timing::Before => "BEFORE",
        Timing::After => "AFTER",
        Timing::InsteadOf => "INSTEAD OF",
    }
}

fn event(ddl: &TriggerDdl, relation: &Relation, alone: bool) -> Outcome<String> {
    Ok(match &ddl.event {
        TriggerEvent::Insert => "INSERT".to_string(),
        TriggerEvent::Delete => "DELETE".to_string(),
        TriggerEvent::Update(columns) if columns.is_empty() => "UPDATE".to_string(),
        TriggerEvent::Update(columns) if ddl.timing == Timing::InsteadOf => {
            let names = |column: &RelationColumn| columns.iter().any(|name| name.eq_ignore_ascii_case(&column.source));
            // By the values alone nobody can tell a column that was set to what it was from one that was not named; but where no other trigger stands
            // in, SQLite takes no UPDATE that names none of them.
            if !alone && !relation.columns.iter().all(names) {
                return no("PostgreSQL's INSTEAD OF triggers cannot name some of the columns, and another stands in for the others");
            }
            "UPDATE".to_string()
        }
        TriggerEvent::Update(columns) => {
            let mut names = Vec::new();
            for column in columns {
                match relation.column(column) {
                    Some(column) => names.push(column.target.to_string()),
                    None => return no(format!("no column is named {column}")),
                }
            }
            format!("UPDATE OF {}", names.join(", "))
        }
    })
}

/// A setting that says that the trigger is at work: SQLite's triggers do not set themselves off, not even through others.
fn guard(function: &QualifiedName) -> String {
    let hash =
        function.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("candlefish.trigger_{hash:016x}")
}

fn function_source(ddl: &TriggerDdl, when: Option<String>, lines: &[String], guard: Option<String>) -> String {
    let row = match (ddl.timing, &ddl.event) {
        (Timing::After, _) => "NULL",
        (_, TriggerEvent::Delete) => "OLD",
        _ => "NEW",
    };
    let mut source = String::from("\n#variable_conflict use_column\nBEGIN\n");
    if let Some(guard) = &guard {
        source.push_str(&format!(
            "    IF current_setting('{guard}', true) = 'on' THEN RETURN {row}; END IF; -- SQLite's triggers do not set themselves off\n"
        ));
    }
    if let Some(when) = &when {
        source.push_str(&format!("    IF ({when}) IS NOT TRUE THEN RETURN {row}; END IF;\n"));
    }
    if let Some(guard) = &guard {
        source.push_str(&format!("    PERFORM set_config('{guard}', 'on', true);\n"));
    }
    for line in lines {
        source.push_str(&format!("    {line}\n"));
    }
    if let Some(guard) = &guard {
        source.push_str(&format!("    PERFORM set_config('{guard}', 'off', true);\n"));
    }
    source.push_str(&format!("    RETURN {row};\nEND\n"));
    let mut tag = "$candlefish$".to_string();
    while source.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("{tag}{source}{tag}")
}

impl Translator<'_> {
    fn statement(&mut self, statement: &Statement, ddl: &TriggerDdl, lines: &mut Vec<String>) -> Outcome<()> {
        match statement {
            Statement::Select(select) => self.raising(select, ddl, lines),
            Statement::Delete { table, filter } => {
                let (relation, alias) = self.target(table)?;
                let filter = self.in_scope(&relation, &alias, |translator| translator.filter(filter.as_ref()))?;
                lines.push(format!("DELETE FROM {} AS {alias}{filter};", relation.target));
                Ok(())
            }
            Statement::Update { or, table, set, from, filter } => {
                let ignores = *or == Some(Conflict::Ignore);
                if !ignores {
                    plain_conflict(*or)?;
                }
                if from.is_some() {
                    return no("UPDATE … FROM, which may meet a row more than once");
                }
                let (relation, alias) = self.target(table)?;
                if ignores && !relation.unwatched {
                    return no("UPDATE OR IGNORE of a table that foreign keys or triggers watch");
                }
                let sql = self.in_scope(&relation, &alias, |translator| {
                    let set = translator.assignments(set, &relation)?;
                    let (target, filter) = (&relation.target, translator.filter(filter.as_ref())?);
                    Ok(match ignores {
                        true => each_row(
                            &format!("SELECT {alias}.ctid FROM {target} AS {alias}{filter}"),
                            &format!("UPDATE {target} AS {alias} SET {set} WHERE {alias}.ctid = {ROW}.ctid;"),
                        ),
                        false => format!("UPDATE {target} AS {alias} SET {set}{filter};"),
                    })
                })?;
                lines.push(sql);
                Ok(())
            }
            Statement::Insert { or, table, columns, source, upsert } => {
                let sql = self.insert(*or, table, columns, source.as_ref(), upsert)?;
                lines.push(sql);
                Ok(())
            }
        }
    }

    fn target(&self, table: &str) -> Outcome<(Relation, Name)> {
        match self.catalog.relation(table) {
            Some(relation) => Ok((relation.clone(), Name::fit(table))),
            None => no(format!("it writes to {table}, which is not copied")),
        }
    }

    fn in_scope<T>(&mut self, relation: &Relation, alias: &Name, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let source = ScopeSource::of(relation, &relation.source, &alias.to_string());
        self.scopes.push(Scope { sources: vec![source], ..Scope::default() });
        let outcome = work(self);
        self.scopes.pop();
        outcome
    }

    fn filter(&mut self, filter: Option<&Expr>) -> Outcome<String> {
        match filter {
            Some(filter) => Ok(format!(" WHERE {}", self.expr(filter)?.condition()?)),
            None => Ok(String::new()),
        }
    }

    fn assignments(&mut self, set: &[(Vec<String>, Expr)], relation: &Relation) -> Outcome<String> {
        let mut sqls: Vec<String> = Vec::new();
        for (names, value) in set {
            let values: Vec<&Expr> = match value {
                Expr::Row(values) => values.iter().collect(),
                value => vec![value],
            };
            if names.len() != values.len() {
                return no("SET of several columns from a subquery");
            }
            for (name, value) in names.iter().zip(values) {
                let Some(column) = relation.assignable(name) else { return no(format!("no column is named {name}")) };
                let value = self.expr(value)?;
                let value = self.assigned(&value, column)?;
                sqls.push(format!("{} = {value}", column.target));
            }
        }
        Ok(sqls.join(", "))
    }

    fn insert(
        &mut self,
        or: Option<Conflict>,
        table: &str,
        columns: &[String],
        source: Option<&Select>,
        upsert: &[Upsert],
    ) -> Outcome<String> {
        let (relation, alias) = self.target(table)?;
        if let Some(command) = columns.first().filter(|first| relation.full_text && first.eq_ignore_ascii_case(&relation.source)) {
            return self.full_text_command(&relation, &alias, command, &columns[1..], source);
        }
        let mut columns: Vec<RelationColumn> = if columns.is_empty() {
            relation.columns.iter().filter(|column| !column.generated && !column.hidden).cloned().collect()
        } else {
            let find = |name: &String| match relation.assignable(name) {
                Some(column) => Ok(column.clone()),
                None => no(format!("no column is named {name}")),
            };
            columns.iter().map(find).collect::<Outcome<_>>()?
        };
        let Some(source) = source else {
            plain_conflict(or)?;
            return Ok(format!("INSERT INTO {} DEFAULT VALUES;", relation.target));
        };
        let (sql, never_null) = self.inserted(source, &mut columns, &relation)?;
        let names = columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
        let conflict = match (or, upsert) {
            // It skips rows with a NULL and rows that a CHECK refuses too, which PostgreSQL's ON CONFLICT does not.
            (Some(Conflict::Ignore), []) if relation.checked || !fits_not_null(&relation, &columns, &never_null) => {
                if !relation.unwatched {
                    return no("OR IGNORE of NULLs or CHECKs in a table that foreign keys or triggers watch");
                }
                let values = if let Core::Values(rows) = &source.first { Some(rows.len()) } else { None };
                let given: Vec<String> = columns.iter().map(|column| format!("{ROW}.{}", column.target)).collect();
                return match values {
                    Some(1) if source.compound.is_empty() => Ok(skipped(&format!("INSERT INTO {} ({names}) {sql};", relation.target))),
                    // Without their column's type beside them, literals would all be texts.
                    Some(_) => no("OR IGNORE of several rows with NULLs or CHECKs"),
                    None => Ok(each_row(
                        &format!("SELECT * FROM ({sql}) AS \"rows\" ({names})"),
                        &format!("INSERT INTO {} ({names}) VALUES ({});", relation.target, given.join(", ")),
                    )),
                };
            }
            (Some(Conflict::Ignore), []) => " ON CONFLICT DO NOTHING".to_string(),
            (Some(Conflict::Replace), []) => {
                self.arbiters(&relation, relation.replaces_by.iter().flatten());
                replace(source, &relation, &columns, &never_null)?
            }
            (or, upsert) => {
                plain_conflict(or)?;
                self.upsert(upsert, &relation, &alias)?
            }
        };
        Ok(format!("INSERT INTO {} AS {alias} ({names}) {sql}{conflict};", relation.target))
    }

    /// `INSERT INTO fts(fts, rowid, …) VALUES ('delete', old.rowid, …)`: how a full-text table is told that a row of its content is gone.
    fn full_text_command(
        &mut self,
        relation: &Relation,
        alias: &Name,
        table: &str,
        columns: &[String],
        source: Option<&Select>,
    ) -> Outcome<String> {
        let row = match source.map(|source| (&source.first, source.compound.as_slice(), source.with.as_slice())) {
            Some((Core::Values(rows), [], [])) if rows.len() == 1 && rows[0].len() == columns.len() + 1 => &rows[0],
            _ => return no(format!("a command to the full-text table {table}")),
        };
        let key = columns.iter().position(|name| relation.assignable(name).is_some_and(|column| column.hidden));
        let (Expr::Text(command), Some(key)) = (&row[0], key) else { return no(format!("a command to the full-text table {table}")) };
        let Some(column) = relation.assignable(&columns[key]) else { return no(format!("no column is named {}", columns[key])) };
        if !command.eq_ignore_ascii_case("delete") {
            return no(format!("the command '{command}' to the full-text table {table}"));
        }
        let value = self.expr(&row[key + 1])?;
        let value = self.assigned(&value, column)?;
        Ok(format!("DELETE FROM {} AS {alias} WHERE {alias}.{} = {value};", relation.target, column.target))
    }

    /// The rows to insert, and which columns are never NULL in them. A literal NULL for the rowid asks for the next one.
    fn inserted(&mut self, source: &Select, columns: &mut Vec<RelationColumn>, relation: &Relation) -> Outcome<(String, Vec<bool>)> {
        if let (Core::Values(rows), [], []) = (&source.first, source.compound.as_slice(), source.with.as_slice()) {
            let mut values = rows.iter().map(|row| self.exprs(row)).collect::<Outcome<Vec<_>>>()?;
            if values.iter().any(|row| row.len() != columns.len()) {
                return no("INSERT of rows of another width than the table");
            }
            let alias = columns
                .iter()
                .position(|column| relation.rowid_alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(&column.source)));
            if let Some(alias) = alias
                && values.iter().all(|row| row[alias].class == Class::Null)
            {
                columns.remove(alias);
                values.iter_mut().for_each(|row| drop(row.remove(alias)));
            }
            let never_null = (0..columns.len()).map(|index| values.iter().all(|row| row[index].not_null)).collect();
            let mut rows = Vec::new();
            for row in &values {
                let cells = row.iter().zip(columns.iter()).map(|(value, column)| self.assigned(value, column));
                rows.push(format!("({})", cells.collect::<Outcome<Vec<_>>>()?.join(", ")));
            }
            return Ok((format!("VALUES {}", rows.join(", ")), never_null));
        }
        let select = self.select(source)?;
        if select.columns.len() != columns.len() {
            return no("INSERT of rows of another width than the table");
        }
        let mut values = Vec::new();
        let mut never_null = Vec::new();
        for (given, column) in select.columns.iter().zip(columns.iter()) {
            let typed = Typed::column(format!("\"given\".{}", given.target), given, false);
            never_null.push(typed.not_null);
            values.push(self.assigned(&typed, column)?);
        }
        let names = select.columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
        Ok((format!("SELECT {} FROM ({}) AS \"given\" ({names})", values.join(", "), select.sql), never_null))
    }

    fn upsert(&mut self, upsert: &[Upsert], relation: &Relation, alias: &Name) -> Outcome<String> {
        let only = match upsert {
            [] => return Ok(String::new()),
            [only] => only,
            _ => return no("several ON CONFLICT clauses"),
        };
        let mut target = Vec::new();
        for expr in &only.target {
            match expr {
                Expr::Column(ColumnRef { table: None, name, .. }) if relation.column(name).is_some() => {
                    self.arbiters(relation, [name]);
                    target.extend(relation.column(name).map(|column| column.target.to_string()));
                }
                _ => return no("ON CONFLICT of an expression"),
            }
        }
        if only.target_filter.is_some() {
            return no("ON CONFLICT of a partial index");
        }
        let target = if target.is_empty() { String::new() } else { format!(" ({})", target.join(", ")) };
        let Some(set) = &only.set else { return Ok(format!(" ON CONFLICT{target} DO NOTHING")) };
        if target.is_empty() {
            return no("ON CONFLICT DO UPDATE without its key");
        }
        self.in_scope(relation, alias, |translator| {
            translator.scope_mut(|scope| scope.sources.push(excluded(relation)));
            // Bare names mean the row that is there.
            translator.scope_mut(|scope| {
                let names = relation.columns.iter().map(|column| column.source.clone()).collect();
                if let Some(excluded) = scope.sources.last_mut() {
                    excluded.merged = names;
                }
            });
            let set = translator.assignments(set, relation)?;
            Ok(format!(" ON CONFLICT{target} DO UPDATE SET {set}{}", translator.filter(only.filter.as_ref())?))
        })
    }

    /// Notes the keys over these columns that ON CONFLICT may not be able to name.
    fn arbiters<'n>(&mut self, relation: &Relation, columns: impl IntoIterator<Item = &'n String>) {
        let of_key = |name: &&'n String| relation.long_keys.iter().any(|key| key.eq_ignore_ascii_case(name));
        self.arbiters.extend(columns.into_iter().filter(of_key).map(|name| (relation.source.clone(), name.clone())));
    }

    fn scope_mut(&mut self, work: impl FnOnce(&mut Scope)) {
        if let Some(scope) = self.scopes.last_mut() {
            work(scope);
        }
    }

    /// A SELECT in a trigger does nothing but raise, or call functions that do something.
    fn raising(&mut self, select: &Select, ddl: &TriggerDdl, lines: &mut Vec<String>) -> Outcome<()> {
        let body = match &select.first {
            Core::Select(body) if mentions_raise(body) => body,
            // SQLite's own functions change nothing, so nobody misses their results; an application's function may do anything.
            _ => return self.select(select).map(drop),
        };
        let [ResultColumn::Expr(expr, ..)] = body.results.as_slice() else { return no("RAISE() among several result columns") };
        let is_plain = select.compound.is_empty()
            && select.with.is_empty()
            && body.group_by.is_empty()
            && body.having.is_none()
            && select.limit.is_none();
        if !is_plain {
            return no("RAISE() in a SELECT of many clauses");
        }
        let is_bare = body.from.is_none();
        match expr {
            Expr::Raise(way, message) => {
                let raise = self.raise(*way, message.as_deref(), ddl)?;
                let condition = match (&body.from, &body.filter) {
                    (None, None) => None,
                    (None, Some(filter)) => Some(self.expr(filter)?.condition()?),
                    _ => {
                        let exists =
                            Body { results: vec![ResultColumn::Expr(Expr::Integer("1".into()), None, "1".into())], ..(**body).clone() };
                        let exists = Select { first: Core::Select(Box::new(exists)), order_by: Vec::new(), ..select.clone() };
                        Some(self.expr(&Expr::Exists(Box::new(exists)))?.condition()?)
                    }
                };
                lines.push(match condition {
                    Some(condition) => format!("IF {condition} THEN {raise} END IF;"),
                    None => raise,
                });
                Ok(())
            }
            Expr::Case { operand: None, whens, otherwise } if is_bare && body.filter.is_none() => {
                let mut sql = String::new();
                for (when, then) in whens {
                    let condition = self.expr(when)?.condition()?;
                    let word = if sql.is_empty() { "IF" } else { " ELSIF" };
                    sql.push_str(&format!("{word} {condition} THEN {}", self.raise_or_nothing(then, ddl)?));
                }
                if let Some(otherwise) = otherwise {
                    sql.push_str(&format!(" ELSE {}", self.raise_or_nothing(otherwise, ddl)?));
                }
                lines.push(format!("{sql} END IF;"));
                Ok(())
            }
            _ => no("RAISE() inside an expression"),
        }
    }

    fn raise_or_nothing(&mut self, expr: &Expr, ddl: &TriggerDdl) -> Outcome<String> {
        match expr {
            Expr::Raise(way, message) => self.raise(*way, message.as_deref(), ddl),
            Expr::Null | Expr::Integer(_) | Expr::Text(_) => Ok("NULL;".to_string()),
            _ => no("RAISE() inside an expression"),
        }
    }

    fn raise(&mut self, way: Option<Conflict>, message: Option<&Expr>, ddl: &TriggerDdl) -> Outcome<String> {
        match (way, ddl.timing, &ddl.event) {
            (None, Timing::After, _) => return no("RAISE(IGNORE) after the row was written"),
            (None, _, TriggerEvent::Insert | TriggerEvent::Update(_) | TriggerEvent::Delete) => return Ok(LEAVE.to_string()),
            (Some(Conflict::Fail), ..) => return no("RAISE(FAIL) keeps what the statement did so far"),
            _ => {}
        }
        let message = match message {
            Some(message) => self.expr(message)?.text()?,
            None => literal::constant(Constant::Text(String::new())),
        };
        Ok(format!("RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = {};", message.sql))
    }
}

/// The row at hand in a loop over them.
const ROW: &str = "candlefish_row";

/// The statement for each row of the query.
fn each_row(query: &str, statement: &str) -> String {
    format!("DECLARE {ROW} record; BEGIN FOR {ROW} IN {query} LOOP {} END LOOP; END;", skipped(statement))
}

/// The statement of one row, left out where it breaks a key, a NOT NULL or a CHECK: what OR IGNORE does.
fn skipped(statement: &str) -> String {
    format!(
        "BEGIN {statement} EXCEPTION WHEN unique_violation OR exclusion_violation OR not_null_violation OR check_violation THEN NULL; END;"
    )
}

/// Whether no NULL can come into a column that takes none.
fn fits_not_null(relation: &Relation, columns: &[RelationColumn], never_null: &[bool]) -> bool {
    relation.columns.iter().all(|column| {
        let given = columns.iter().position(|other| other.target == column.target);
        !column.not_null || given.is_none_or(|index| never_null[index])
    })
}

/// The ON CONFLICT of INSERT OR REPLACE: the row that is there becomes the new one, defaults of columns that are not named included.
fn replace(source: &Select, relation: &Relation, columns: &[RelationColumn], never_null: &[bool]) -> Outcome<String> {
    let Some(key) = &relation.replaces_by else { return no("REPLACE deletes every row that conflicts, by any key") };
    // SQLite replaces the first of two new rows by the second; PostgreSQL refuses that.
    let is_one_row = source.compound.is_empty()
        && match &source.first {
            Core::Values(rows) => rows.len() == 1,
            Core::Select(body) => body.from.is_none(),
        };
    if !is_one_row || !fits_not_null(relation, columns, never_null) {
        return no("REPLACE of several rows, or of one with a NULL that becomes a default");
    }
    if key.is_empty() {
        return Ok(String::new());
    }
    let is_key = |column: &RelationColumn| key.iter().any(|name| name.eq_ignore_ascii_case(&column.source));
    let names: Vec<String> = relation.columns.iter().filter(|column| is_key(column)).map(|column| column.target.to_string()).collect();
    let others = relation.columns.iter().filter(|column| !is_key(column) && !column.generated);
    let set: Vec<String> = others.map(|column| format!("{0} = EXCLUDED.{0}", column.target)).collect();
    let action = if set.is_empty() { "NOTHING".to_string() } else { format!("UPDATE SET {}", set.join(", ")) };
    Ok(format!(" ON CONFLICT ({}) DO {action}", names.join(", ")))
}

fn excluded(relation: &Relation) -> ScopeSource {
    ScopeSource::of(relation, "excluded", "EXCLUDED")
}

/// ABORT and ROLLBACK end in an error either way.
fn plain_conflict(or: Option<Conflict>) -> Outcome<()> {
    match or {
        None | Some(Conflict::Abort | Conflict::Rollback) => Ok(()),
        Some(_) => no("a way to resolve conflicts that PostgreSQL does not have"),
    }
}

fn mentions_raise(body: &Body) -> bool {
    let mut open: Vec<&Expr> = Vec::new();
    open.extend(body.results.iter().filter_map(|result| match result {
        ResultColumn::Expr(expr, ..) => Some(expr),
        _ => None,
    }));
    open.extend(&body.filter);
    while let Some(expr) = open.pop() {
        if matches!(expr, Expr::Raise(..)) {
            return true;
        }
        super::collect::children(expr, &mut open);
    }
    false
}
