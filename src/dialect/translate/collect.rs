//! What a tree mentions: the relations that a SELECT reads, and whether an expression aggregates.

use crate::dialect::ast::*;

/// Every relation, in the order of its first mention; common table expressions left out.
pub fn relations(select: &Select) -> Vec<String> {
    let mut walk = Walk::default();
    walk.select(select);
    walk.found
}

/// The aggregates of an expression itself, not those of its subqueries or windows.
pub fn aggregates<'e>(exprs: impl Iterator<Item = &'e Expr>) -> Vec<&'e Call> {
    let mut found = Vec::new();
    let mut open: Vec<&Expr> = exprs.collect();
    while let Some(expr) = open.pop() {
        if let Expr::Call(call) = expr
            && call.over.is_none()
            && is_aggregate(call)
        {
            found.push(&**call);
        } else {
            children(expr, &mut open);
        }
    }
    found
}

fn is_aggregate(call: &Call) -> bool {
    matches!(call.name.as_str(), "count" | "sum" | "total" | "avg" | "group_concat" | "string_agg")
        || call.name.starts_with("json_group")
        || (matches!(call.name.as_str(), "min" | "max") && call.arguments.len() == 1)
}

/// The expressions right below, those of subqueries left out.
pub fn children<'e>(expr: &'e Expr, into: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Unary(_, one) | Expr::IsNull(one) | Expr::Cast(one, _) | Expr::Collate(one, _) => into.push(one),
        Expr::Binary(_, left, right) => into.extend([&**left, &**right]),
        Expr::Chain(_, all) | Expr::Row(all) => into.extend(all),
        Expr::Between(value, low, high) => into.extend([&**value, &**low, &**high]),
        Expr::In(value, set) => {
            into.push(value);
            if let Set::List(list) = set {
                into.extend(list);
            }
        }
        Expr::Like { text, pattern, escape, .. } => {
            into.extend([&**text, &**pattern]);
            into.extend(escape.as_deref());
        }
        Expr::Case { operand, whens, otherwise } => {
            into.extend(operand.as_deref());
            into.extend(whens.iter().flat_map(|(when, then)| [when, then]));
            into.extend(otherwise.as_deref());
        }
        Expr::Call(call) => {
            into.extend(&call.arguments);
            into.extend(call.order_by.iter().map(|order| &order.expr));
            into.extend(&call.filter);
            if let Some(window) = &call.over {
                into.extend(&window.partition_by);
                into.extend(window.order_by.iter().map(|order| &order.expr));
            }
        }
        Expr::Raise(_, message) => into.extend(message.as_deref()),
        _ => {}
    }
}

#[derive(Default)]
struct Walk {
    found: Vec<String>,
    ctes: Vec<String>,
}

impl Walk {
    fn relation(&mut self, name: &str) {
        let known = |names: &[String]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
        if !known(&self.ctes) && !known(&self.found) {
            self.found.push(name.to_string());
        }
    }

    fn select(&mut self, select: &Select) {
        let outside = self.ctes.len();
        for cte in &select.with {
            self.ctes.push(cte.name.clone());
            self.select(&cte.select);
        }
        for core in std::iter::once(&select.first).chain(select.compound.iter().map(|(_, core)| core)) {
            match core {
                Core::Values(rows) => rows.iter().flatten().for_each(|expr| self.expr(expr)),
                Core::Select(body) => self.body(body),
            }
        }
        select.order_by.iter().for_each(|order| self.expr(&order.expr));
        self.ctes.truncate(outside);
    }

    fn body(&mut self, body: &Body) {
        if let Some(from) = &body.from {
            self.from(from);
        }
        for result in &body.results {
            if let ResultColumn::Expr(expr, ..) = result {
                self.expr(expr);
            }
        }
        body.filter.iter().chain(&body.group_by).chain(&body.having).for_each(|expr| self.expr(expr));
    }

    fn from(&mut self, from: &From) {
        for source in std::iter::once(&from.first).chain(from.joins.iter().map(|join| &join.source)) {
            match &source.item {
                SourceItem::Table(name) => self.relation(name),
                SourceItem::Select(select) => self.select(select),
                SourceItem::Nested(from) => self.from(from),
                SourceItem::Function(_) => {}
            }
        }
        from.joins.iter().flat_map(|join| &join.on).for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Exists(select) | Expr::Subquery(select) => self.select(select),
            Expr::In(_, Set::Select(select)) => self.select(select),
            Expr::In(_, Set::Table(name)) => self.relation(name),
            _ => {}
        }
        let mut below = Vec::new();
        children(expr, &mut below);
        below.into_iter().for_each(|expr| self.expr(expr));
    }
}
