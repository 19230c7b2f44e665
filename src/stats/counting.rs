//! Whether the server counts at all, since when, and whom it leaves out: what was not counted is unknown, and no 0.

use anyhow::Result;

use crate::model::Cell;
use crate::postgres::Type;
use crate::stats::{Look, Reading};

/// What the counters of a database are worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counting {
    /// Since when they count: RFC 3339.
    pub since: Option<String>,
    pub age_seconds: Option<f64>,
    /// What is read, scanned and written is counted here.
    pub is_on: bool,
    /// What is written is counted, too: a standby leaves that to its primary.
    pub of_writes: bool,
    /// Where it is turned off, each place with what turns it on.
    pub gaps: Vec<Gap>,
}

/// A place where a setting is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub setting: String,
    /// Of this role alone, quoted; none: of everybody.
    pub role: Option<String>,
    pub remedy: String,
}

impl Gap {
    /// `track_counts is off for batch`.
    pub fn reason(&self) -> String {
        let value = if self.setting == "pg_stat_statements.track" { "none" } else { "off" };
        let whom = self.role.as_ref().map_or(String::new(), |role| format!(" for {role}"));
        format!("{} is {value}{whom}", self.setting)
    }

    /// The reason, what follows from it, and what mends it.
    pub fn note(&self, so: &str) -> String {
        format!("{}: {so} ({})", self.reason(), self.remedy)
    }
}

impl Counting {
    /// The reading with since when it counts, and with what it lacks.
    pub fn of(&self, mut reading: Reading) -> Reading {
        reading.since.clone_from(&self.since);
        for gap in &self.gaps {
            let so = if gap.role.is_some() { "what this role does is not counted" } else { "what is read and written is not known" };
            reading.notes.push(gap.note(so));
        }
        reading
    }
}

impl Counting {
    /// Says of a standby who counts what is written.
    pub fn note_writes(&self, reading: &mut Reading) {
        if self.is_on && !self.of_writes {
            reading
                .notes
                .push("this is a standby: its primary counts what is written, what is dead, and what was vacuumed or analyzed".to_string());
        }
    }
}

impl Look<'_> {
    /// What the counters of this database are worth.
    pub(super) async fn counting(&self) -> Result<Counting> {
        let answer = self.ask(include_str!("queries/counting.sql"), &[]).await?;
        let gaps = self.gaps("track_counts").await?;
        let is_on = gaps.iter().all(|gap| gap.role.is_some());
        Ok(Counting {
            since: answer.value(0, "since").and_then(Cell::text).map(str::to_string),
            age_seconds: answer.value(0, "age_seconds").and_then(Cell::number),
            is_on,
            of_writes: is_on && answer.value(0, "in_recovery") == Some(&Cell::Bool(false)),
            gaps,
        })
    }

    /// Where these settings are off; those that concern everybody first.
    pub async fn gaps(&self, settings: &str) -> Result<Vec<Gap>> {
        let answer = self.ask(include_str!("queries/switches.sql"), &[(&settings, Type::TEXT)]).await?;
        let text = |cell: &Cell| cell.text().map(str::to_string);
        let gap = |row: &Vec<Cell>| Some(Gap { setting: text(&row[0])?, role: text(&row[1]), remedy: text(&row[2])? });
        Ok(answer.rows.iter().filter_map(gap).collect())
    }
}
