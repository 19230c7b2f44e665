//! Whether the server counts at all, since when, and whom it leaves out: what was not counted is unknown, and no 0.

use anyhow::Result;
use serde_json::{Map, Value};

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

/// A place where a setting is off, or where nobody can tell whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub setting: String,
    pub whom: Whom,
    pub remedy: String,
}

/// Whom a setting concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All but those who have a setting of their own.
    Everybody,
    /// This role alone, quoted.
    Role(String),
    /// A setting of our own hides what holds for all others.
    Hidden,
}

impl Gap {
    /// `track_counts is off for batch`.
    pub fn reason(&self) -> String {
        let setting = &self.setting;
        let value = if setting == "pg_stat_statements.track" { "none" } else { "off" };
        match &self.whom {
            Whom::Everybody => format!("{setting} is {value}"),
            Whom::Role(role) => format!("{setting} is {value} for {role}"),
            Whom::Hidden => format!("whether {setting} is {value} for others is hidden by a setting of this user's own"),
        }
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
            let so = match gap.whom {
                Whom::Everybody => "what is read and written is not known",
                Whom::Role(_) => "what this role does is not counted",
                Whom::Hidden => "what others do may not be counted",
            };
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

const MAY_READ_FILES: &str = "SELECT has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') \
    AND has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')";

impl Look<'_> {
    /// What the counters of this database are worth.
    pub(super) async fn counting(&self) -> Result<Counting> {
        let answer = self.ask(include_str!("queries/counting.sql"), &[]).await?;
        let gaps = self.gaps("track_counts").await?;
        let is_on = gaps.iter().all(|gap| gap.whom != Whom::Everybody);
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
        let mut gaps = Vec::with_capacity(answer.rows.len());
        for row in &answer.rows {
            let text = |at: usize| row[at].text().unwrap_or_default().to_string();
            let (setting, remedy) = (text(0), text(2));
            let whom = match (row[1].text(), &row[3]) {
                (Some(role), _) => Whom::Role(role.to_string()),
                (None, Cell::Bool(_)) => Whom::Everybody,
                (None, _) => match self.server_settings(&setting).await?.first() {
                    None => {
                        gaps.push(Gap { setting, whom: Whom::Hidden, remedy: text(4) });
                        continue;
                    }
                    Some((_, value)) if matches!(value.as_str(), "off" | "none") => Whom::Everybody,
                    Some(_) => continue,
                },
            };
            gaps.push(Gap { setting, whom, remedy });
        }
        Ok(gaps)
    }

    /// What these settings, with blanks between their names, are for who has none of his own: name and value. What this database, or all of them, have said
    /// comes before the server's files; of settings that only those tell nothing is there where this user may not read them.
    pub async fn server_settings(&self, settings: &str) -> Result<Vec<(String, String)>> {
        let said = self.ask(include_str!("queries/settings_of_all.sql"), &[(&settings, Type::TEXT)]).await?;
        let mut rows = said.rows;
        if self.ask(MAY_READ_FILES, &[]).await?.rows == [[Cell::Bool(true)]] {
            let files = self.ask(include_str!("queries/settings_of_files.sql"), &[(&settings, Type::TEXT)]).await?;
            rows.extend(files.rows);
        }
        let mut written = Map::new();
        for row in &rows {
            if let Some(name) = row[0].text() {
                written.entry(name).or_insert_with(|| row[1].text().into());
            }
        }
        let written = Value::Object(written).to_string();
        let answer = self.ask(include_str!("queries/server_settings.sql"), &[(&written, Type::TEXT)]).await?;
        Ok(answer.rows.iter().filter_map(|row| Some((row[0].text()?.to_string(), row[1].text()?.to_string()))).collect())
    }
}
