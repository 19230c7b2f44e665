//! Which triggers set off which, and whether one of them comes back to the table of the first.

use super::Relation;
use crate::dialect::ast::{Binary, Chain, ColumnRef, Expr, Statement};
use crate::dialect::parse::{Timing, TriggerEvent, create_trigger};
use crate::dialect::syntax;

/// Why a trigger that may write the row it fires for is not made.
pub const OWN_ROWS: &str = "before a row of its table is written it writes rows of that table itself: where it meets the same row, PostgreSQL ends the statement with an error";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Insert,
    Update,
    Delete,
}

/// What happens to a table, by its name in lower case.
type Write = (String, Event);

struct Link {
    fires: Write,
    timing: Timing,
    writes: Vec<Write>,
}

/// How a trigger comes to its own table through what its statements set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Before the row is written it updates or deletes rows beside it.
    Before,
    After,
}

/// All triggers of a database.
pub struct Cascade {
    links: Vec<Option<Link>>,
}

impl Cascade {
    /// Of CREATE TRIGGER statements; one that cannot be read sets off nothing, and has no translation either.
    pub fn of<'s>(triggers: impl Iterator<Item = &'s str>) -> Self {
        Cascade { links: triggers.map(link).collect() }
    }

    /// Whether what the trigger at `index` sets off, other than itself, writes its table.
    pub fn comes_back(&self, index: usize) -> Option<Return> {
        let first = self.links.get(index)?.as_ref()?;
        let mut reached = vec![index];
        let mut open = vec![first];
        while let Some(link) = open.pop() {
            for (next, candidate) in self.links.iter().enumerate() {
                let Some(candidate) = candidate.as_ref().filter(|candidate| link.writes.contains(&candidate.fires)) else { continue };
                if !reached.contains(&next) {
                    reached.push(next);
                    open.push(candidate);
                }
            }
        }
        let set_off = reached[1..].iter().filter_map(|index| self.links[*index].as_ref());
        let writes: Vec<Event> =
            set_off.flat_map(|link| &link.writes).filter(|(table, _)| *table == first.fires.0).map(|(_, event)| *event).collect();
        match first.timing {
            Timing::After if !writes.is_empty() => Some(Return::After),
            Timing::Before if first.fires.1 != Event::Insert && writes.iter().any(|event| *event != Event::Insert) => Some(Return::Before),
            _ => None,
        }
    }
}

fn link(sql: &str) -> Option<Link> {
    let ddl = create_trigger(sql).ok()?;
    let event = match ddl.event {
        TriggerEvent::Insert => Event::Insert,
        TriggerEvent::Update(_) => Event::Update,
        TriggerEvent::Delete => Event::Delete,
    };
    let mut writes = Vec::new();
    for statement in syntax::statements(&ddl.body).ok()? {
        match statement {
            Statement::Select(_) => {}
            Statement::Delete { table, .. } => writes.push((table.to_ascii_lowercase(), Event::Delete)),
            Statement::Update { table, .. } => writes.push((table.to_ascii_lowercase(), Event::Update)),
            Statement::Insert { table, upsert, .. } => {
                writes.push((table.to_ascii_lowercase(), Event::Insert));
                if upsert.iter().any(|one| one.set.is_some()) {
                    writes.push((table.to_ascii_lowercase(), Event::Update));
                }
            }
        }
    }
    Some(Link { fires: (ddl.table.to_ascii_lowercase(), event), timing: ddl.timing, writes })
}

/// Whether a condition says that the key is another than that of the row at hand: `id <> NEW.id`.
pub fn leaves_own_row(filter: &Expr, own: &Relation) -> bool {
    let [key] = own.primary_key.as_slice() else { return false };
    let is_key = |name: &str| own.assignable(name).is_some_and(|column| column.source.eq_ignore_ascii_case(key));
    let is_of = |expr: &Expr, tables: &[&str]| match expr {
        Expr::Column(ColumnRef { table: Some(table), name, .. }) => {
            tables.iter().any(|one| table.eq_ignore_ascii_case(one)) && is_key(name)
        }
        Expr::Column(ColumnRef { table: None, name, .. }) => tables.len() == 1 && is_key(name),
        _ => false,
    };
    let (there, here): (&[&str], &[&str]) = (&[own.source.as_str()], &["new", "old"]);
    let terms = match filter {
        Expr::Chain(Chain::And, terms) => terms.as_slice(),
        one => std::slice::from_ref(one),
    };
    terms.iter().any(|term| match term {
        Expr::Binary(Binary::NotEqual | Binary::IsNot, left, right) => {
            is_of(left, there) && is_of(right, here) || is_of(left, here) && is_of(right, there)
        }
        _ => false,
    })
}
