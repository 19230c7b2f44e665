//! Which tables' rowids a view or a trigger reads: where no column is another name of one, it has to become a column.

use super::collect;
use crate::dialect::ast::*;
use crate::dialect::parse::{create_trigger, create_view};
use crate::dialect::syntax;

/// The tables whose rowid the statement, a CREATE VIEW or CREATE TRIGGER, reads or writes, each with the name by which it does; nothing of one
/// that cannot be read.
pub fn rowids(sql: &str) -> Vec<(String, String)> {
    let mut walk = Walk::default();
    if let Ok(view) = create_view(sql) {
        if let Ok(select) = syntax::select(&view.select) {
            walk.select(&select);
        }
    } else if let Ok(trigger) = create_trigger(sql) {
        let row = |name: &str| (name.to_string(), trigger.table.clone());
        walk.scopes.push(vec![row("NEW"), row("OLD")]);
        if let Some(Ok(when)) = trigger.when.as_ref().map(|when| syntax::expression(when)) {
            walk.expr(&when);
        }
        syntax::statements(&trigger.body).iter().flatten().for_each(|statement| walk.statement(statement));
    }
    walk.found
}

fn is_rowid(name: &str) -> bool {
    ["rowid", "oid", "_rowid_"].iter().any(|rowid| rowid.eq_ignore_ascii_case(name))
}

#[derive(Default)]
struct Walk {
    found: Vec<(String, String)>,
    /// What each SELECT calls its sources, and the relations that they are; no relation is a subquery.
    scopes: Vec<Vec<(String, String)>>,
}

impl Walk {
    fn column(&mut self, column: &ColumnRef) {
        if !is_rowid(&column.name) {
            return;
        }
        let named = |(name, _): &&(String, String)| column.table.as_ref().is_some_and(|table| table.eq_ignore_ascii_case(name));
        let found = self.scopes.iter().rev().find_map(|scope| match (&column.table, scope.as_slice()) {
            (Some(_), sources) => sources.iter().find(named),
            // Of several it would be nobody's.
            (None, [only]) => Some(only),
            (None, _) => None,
        });
        if let Some((_, table)) = found.filter(|(_, table)| !table.is_empty()).cloned() {
            self.note(&table, &column.name);
        }
    }

    fn note(&mut self, table: &str, name: &str) {
        let pair = (table.to_string(), name.to_string());
        if !self.found.contains(&pair) {
            self.found.push(pair);
        }
    }

    fn select(&mut self, select: &Select) {
        select.with.iter().for_each(|cte| self.select(&cte.select));
        for core in std::iter::once(&select.first).chain(select.compound.iter().map(|(_, core)| core)) {
            match core {
                Core::Values(rows) => rows.iter().flatten().for_each(|expr| self.expr(expr)),
                Core::Select(body) => self.body(body, &select.order_by),
            }
        }
        select.limit.iter().chain(&select.offset).for_each(|expr| self.expr(expr));
    }

    fn body(&mut self, body: &Body, order_by: &[Order]) {
        let mut scope = Vec::new();
        if let Some(from) = &body.from {
            self.sources(from, &mut scope);
        }
        self.scopes.push(scope);
        if let Some(from) = &body.from {
            self.conditions(from);
        }
        for result in &body.results {
            if let ResultColumn::Expr(expr, ..) = result {
                self.expr(expr);
            }
        }
        body.filter.iter().chain(&body.group_by).chain(&body.having).for_each(|expr| self.expr(expr));
        order_by.iter().for_each(|order| self.expr(&order.expr));
        self.scopes.pop();
    }

    fn sources(&mut self, from: &From, scope: &mut Vec<(String, String)>) {
        for source in std::iter::once(&from.first).chain(from.joins.iter().map(|join| &join.source)) {
            let name = |name: &str| source.alias.clone().unwrap_or_else(|| name.to_string());
            match &source.item {
                SourceItem::Table(table) => scope.push((name(table), table.clone())),
                SourceItem::Select(select) => {
                    self.select(select);
                    scope.push((name(""), String::new()));
                }
                SourceItem::Nested(from) => self.sources(from, scope),
                SourceItem::Function(function) => scope.push((name(function), String::new())),
            }
        }
    }

    fn conditions(&mut self, from: &From) {
        for source in std::iter::once(&from.first).chain(from.joins.iter().map(|join| &join.source)) {
            if let SourceItem::Nested(from) = &source.item {
                self.conditions(from);
            }
        }
        from.joins.iter().flat_map(|join| &join.on).for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Column(column) => self.column(column),
            Expr::Exists(select) | Expr::Subquery(select) => self.select(select),
            Expr::In(_, Set::Select(select)) => self.select(select),
            _ => {}
        }
        let mut below = Vec::new();
        collect::children(expr, &mut below);
        below.into_iter().for_each(|expr| self.expr(expr));
    }

    fn statement(&mut self, statement: &Statement) {
        let own = |table: &String| vec![(table.clone(), table.clone())];
        match statement {
            Statement::Select(select) => self.select(select),
            Statement::Delete { table, filter } => {
                self.scopes.push(own(table));
                filter.iter().for_each(|expr| self.expr(expr));
                self.scopes.pop();
            }
            Statement::Update { table, set, filter, .. } => {
                set.iter().flat_map(|(names, _)| names).filter(|name| is_rowid(name)).for_each(|name| self.note(table, name));
                self.scopes.push(own(table));
                set.iter().map(|(_, value)| value).chain(filter).for_each(|expr| self.expr(expr));
                self.scopes.pop();
            }
            Statement::Insert { table, columns, source, upsert, .. } => {
                columns.iter().filter(|name| is_rowid(name)).for_each(|name| self.note(table, name));
                source.iter().for_each(|select| self.select(select));
                self.scopes.push(own(table));
                for upsert in upsert {
                    upsert.set.iter().flatten().map(|(_, value)| value).chain(&upsert.filter).for_each(|expr| self.expr(expr));
                }
                self.scopes.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &[(&str, &str)]) {
        let found = rowids(sql);
        let found: Vec<(&str, &str)> = found.iter().map(|(table, name)| (table.as_str(), name.as_str())).collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn a_rowid_is_its_own_tables() {
        check(
            "CREATE VIEW v AS SELECT track.rowid AS docid, a.name FROM track LEFT JOIN artist a ON a.id = track.a",
            &[("track", "rowid")],
        );
        check("CREATE VIEW v AS SELECT OID FROM t", &[("t", "OID")]);
        check("CREATE VIEW v AS SELECT rowid FROM t, u", &[]);
        check(
            "CREATE VIEW v AS SELECT x.rowid FROM (SELECT 1 AS rowid) x, t WHERE EXISTS (SELECT 1 FROM u y WHERE y._rowid_ = 1)",
            &[("u", "_rowid_")],
        );
        check(
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO fts(docid, s) SELECT docid, s FROM found WHERE docid = NEW.rowid; END",
            &[("t", "rowid")],
        );
        check("CREATE TRIGGER g AFTER DELETE ON t BEGIN DELETE FROM u WHERE rowid = OLD.n; END", &[("u", "rowid")]);
        check("CREATE TRIGGER g AFTER DELETE ON t BEGIN INSERT INTO u(rowid) VALUES (1); END", &[("u", "rowid")]);
        check("CREATE VIEW v AS SELECT 'rowid' FROM t", &[]);
    }
}
