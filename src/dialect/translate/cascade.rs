//! Which triggers and foreign keys set off which, and whether one of them comes back to the table of the first.

use crate::dialect::ast::Statement;
use crate::dialect::parse::{Timing, TriggerEvent, create_trigger};
use crate::dialect::syntax;
use crate::model::{ForeignKey, ForeignKeyAction};

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

/// What is set off in a database: its triggers, then what its foreign keys do of themselves.
pub struct Cascade {
    links: Vec<Option<Link>>,
}

impl Cascade {
    /// Of CREATE TRIGGER statements, none for one that is not made, and of foreign keys with the tables that have them.
    pub fn of<'s>(triggers: impl Iterator<Item = Option<&'s str>>, keys: impl Iterator<Item = (&'s str, &'s ForeignKey)>) -> Self {
        Cascade { links: triggers.map(|sql| sql.and_then(link)).chain(keys.flat_map(actions).map(Some)).collect() }
    }

    /// The trigger at `index` is not made after all.
    pub fn forget(&mut self, index: usize) {
        self.links[index] = None;
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

/// What the deletion and the change of a row of the parent do to the child's.
fn actions((child, key): (&str, &ForeignKey)) -> impl Iterator<Item = Link> {
    let (child, parent) = (child.to_ascii_lowercase(), key.parent.to_ascii_lowercase());
    let event = |fires: Event, action: ForeignKeyAction| match action {
        ForeignKeyAction::NoAction | ForeignKeyAction::Restrict => None,
        ForeignKeyAction::Cascade => Some(fires),
        ForeignKeyAction::SetNull | ForeignKeyAction::SetDefault => Some(Event::Update),
    };
    [(Event::Delete, key.on_delete), (Event::Update, key.on_update)].into_iter().filter_map(move |(fires, action)| {
        let writes = vec![(child.clone(), event(fires, action)?)];
        Some(Link { fires: (parent.clone(), fires), timing: Timing::After, writes })
    })
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
