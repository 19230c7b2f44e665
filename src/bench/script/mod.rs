//! Script files in pgbench's language: read once into commands, run by every client.

mod evaluate;
mod expression;
pub mod random;
mod read;
pub mod reading;
mod scan;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use evaluate::{evaluate, is_true};
pub use expression::Expression;
pub use random::Random;
pub use read::read;
pub use value::Value;

use crate::model::{Failure, Query};
use crate::store::Isolation;

/// The place of a variable in a client's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

impl Slot {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One transaction's worth of commands.
#[derive(Clone, Debug)]
pub struct Script {
    /// `tpcb`, `session check`, or the file's name.
    pub name: String,
    /// How often it is drawn, beside the others' weights.
    pub weight: u32,
    pub commands: Vec<Command>,
    /// True when no statement of it writes, as far as its words tell.
    pub reads_only: bool,
}

impl Script {
    /// Says what its one statement is to the data layer.
    pub fn declare(&mut self, query: Query) {
        for command in &mut self.commands {
            if let Command::Statement(statement) = command {
                statement.query = Some(query);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Set(Slot, Expression, Place),
    /// A built-in workload's own draw of several variables.
    Draw(Draw),
    /// Runs this statement of the workload.
    Statement(Box<Statement>),
    Sleep(Pause, Place),
    /// Goes on at this command when the condition does not hold.
    Unless(Expression, usize, Place),
    Jump(usize),
}

/// How a built-in workload fills its variables.
#[derive(Clone)]
pub struct Draw(Arc<Fill>);

type Fill = dyn Fn(&mut Random, &mut [Value], bool) + Send + Sync;

impl Draw {
    pub fn new(fill: impl Fn(&mut Random, &mut [Value], bool) + Send + Sync + 'static) -> Self {
        Draw(Arc::new(fill))
    }

    /// `evenly`: as a cache is filled, by the seldom as by the often wanted.
    pub fn fill(&self, random: &mut Random, variables: &mut [Value], evenly: bool) {
        (self.0)(random, variables, evenly);
    }
}

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draw")
    }
}

#[derive(Clone, Debug)]
pub enum Pause {
    For(Duration),
    /// A variable's value, times this unit.
    Variable(Slot, Duration),
}

/// One SQL command, in every form that a layer may want.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its number among all of the workload's.
    pub index: usize,
    /// With `$1`, `$2`, … for parameters.
    pub sql: String,
    /// The same as it stood, in pieces, for the simple protocol.
    pub pieces: Vec<Piece>,
    /// What `$1`, `$2`, … are.
    pub parameters: Vec<Slot>,
    /// What says the same in SQLite, one after the other, where its own words do not.
    pub sqlite: Vec<(String, Vec<Slot>)>,
    /// As the data layer knows it: with its types, and with its tags.
    pub query: Option<Query>,
    pub keep: Keep,
    pub reads_only: bool,
    /// It begins or ends a transaction.
    pub control: Option<Control>,
    /// Whether a transaction is open after it; none where it neither begins nor ends one.
    pub leaves_open: Option<bool>,
    /// Where it stands.
    pub place: Place,
}

/// `BEGIN`, `COMMIT` and `ROLLBACK`, in any of their words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Begin { isolation: Isolation, read_only: bool },
    Commit,
    Rollback,
}

/// A line and a column of a script's file, both from 1; of built-in workloads the name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub script: Arc<str>,
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)?;
        match self.at {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// As pgbench puts it: bare, so that a text is quoted where the script quotes it.
    Variable(Slot),
    /// As a literal.
    Quoted(Slot),
}

impl Piece {
    pub fn is_variable(&self) -> bool {
        !matches!(self, Piece::Text(_))
    }
}

/// What becomes of a statement's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The one row's columns become variables with this prefix (`\gset`); of several result sets the last one's, or each one's (`\aset`).
    Variables {
        prefix: String,
        each: bool,
    },
}

/// What is wrong with a script, and where (bytes from its start).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub offset: usize,
    pub message: String,
}

impl Fault {
    pub fn new(offset: usize, message: impl Into<String>) -> Self {
        Fault { offset, message: message.into() }
    }

    /// `load.sql:3:14: …`, lines and columns from 1, columns in characters.
    pub fn at(&self, name: &str, text: &str) -> Failure {
        let (line, column) = line_and_column(text, self.offset);
        Failure::new("bad_script", format!("{name}:{line}:{column}: {}", self.message))
    }
}

/// Where a byte of a text stands.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// The variables of a workload: all its scripts share them, as a client keeps them from one transaction to the next.
#[derive(Clone, Debug, Default)]
pub struct Names {
    slots: HashMap<String, Slot>,
    /// Those that something gives a value.
    given: Vec<Option<Value>>,
    /// First use of each, for the error.
    uses: Vec<Option<usize>>,
}

impl Names {
    /// With the variables that pgbench gives every script.
    pub fn new(scale: u32, seed: u64) -> Self {
        let mut names = Names::default();
        names.give("scale", Value::Int(i64::from(scale)));
        names.give("random_seed", Value::Int(seed as i64));
        // Hashes are the same in every run of a seed.
        names.give("default_seed", Value::Int((random::hash_murmur2(seed as i64, 0) as u64 >> 1) as i64));
        names.give(CLIENT_ID, Value::Int(0));
        names
    }

    fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = Slot(self.given.len() as u32);
        self.slots.insert(name.to_string(), slot);
        self.given.push(None);
        self.uses.push(None);
        slot
    }

    /// The variable's place; something must give it a value by the script's end.
    pub fn used(&mut self, name: &str, offset: usize) -> Slot {
        let slot = self.slot(name);
        self.uses[slot.index()].get_or_insert(offset);
        slot
    }

    /// Declares that a command sets the variable.
    pub fn set(&mut self, name: &str) -> Slot {
        let slot = self.slot(name);
        self.given[slot.index()].get_or_insert(Value::Null);
        slot
    }

    /// Gives the variable its first value.
    pub fn give(&mut self, name: &str, value: Value) {
        let slot = self.slot(name);
        self.given[slot.index()] = Some(value);
    }

    pub fn find(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    /// Every client's list as it starts.
    pub fn first_values(&self) -> Vec<Value> {
        self.given.iter().map(|value| value.clone().unwrap_or(Value::Null)).collect()
    }

    /// The first variable that is used and never set.
    fn missing(&self) -> Option<Fault> {
        let missing = self.slots.iter().filter(|(_, slot)| self.given[slot.index()].is_none());
        let (offset, name) = missing.filter_map(|(name, slot)| Some((self.uses[slot.index()]?, name))).min()?;
        let known = self.slots.iter().filter(|(_, slot)| self.given[slot.index()].is_some()).map(|(name, _)| name);
        let near = known.map(|known| (strsim::damerau_levenshtein(known, name), known)).min().filter(|(distance, _)| *distance <= 2);
        let question = near.map_or(String::new(), |(_, near)| format!("; did you mean :{near}?"));
        Some(Fault::new(offset, format!("the variable :{name} is never set{question}")))
    }
}

/// The variable that holds a client's number.
pub const CLIENT_ID: &str = "client_id";

impl Statement {
    /// One with `$1`, `$2`, … in its text.
    pub fn new(index: usize, sql: String, parameters: Vec<Slot>, keep: Keep, reads_only: bool) -> Self {
        let mut pieces = Vec::new();
        let mut rest = sql.as_str();
        // The texts of built-in workloads have up to nine parameters, and no other dollar.
        while let Some((before, after)) = rest.split_once('$') {
            let number = after.as_bytes().first().map_or(0, |digit| usize::from(digit.wrapping_sub(b'0')));
            let Some(slot) = parameters.get(number.wrapping_sub(1)) else { break };
            pieces.extend([Piece::Text(before.to_string()), Piece::Quoted(*slot)]);
            rest = &after[1..];
        }
        pieces.push(Piece::Text(rest.to_string()));
        let (control, leaves_open, place) = (None, None, Place::default());
        Statement { index, pieces, parameters, sqlite: Vec::new(), query: None, keep, reads_only, control, leaves_open, place, sql }
    }

    /// Its text with the values as literals of no type yet, just as the extended protocol sends them.
    pub fn quoted(&self, variables: &[Value]) -> String {
        self.text(variables, true)
    }

    /// Its text with the variables' values in it, as the simple protocol sends it.
    pub fn simple(&self, variables: &[Value]) -> String {
        self.text(variables, false)
    }

    fn text(&self, variables: &[Value], quoted: bool) -> String {
        use fmt::Write as _;
        let mut text = String::with_capacity(self.sql.len() + 32);
        for piece in &self.pieces {
            let (slot, quoted) = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Variable(slot) => (slot, quoted),
                Piece::Quoted(slot) => (slot, true),
            };
            let value = &variables[slot.index()];
            // A String takes whatever is written.
            let _ = match value {
                Value::Null => write!(text, "NULL"),
                value if quoted => write!(text, "{}", literal(&value.to_string())),
                value => write!(text, "{value}"),
            };
        }
        text
    }
}

/// A literal that means the same whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
