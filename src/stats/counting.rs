//! Whether the server counts at all, since when, and whom it leaves out: what was not counted is unknown, and no 0.

use std::collections::HashMap;

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
    AND has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE') \
    AND has_function_privilege('pg_catalog.pg_read_file(text)', 'EXECUTE')";

/// Where a setting has its value from, for who has none of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// ALTER DATABASE, of this one.
    Database,
    /// ALTER ROLE ALL.
    AllRoles,
    CommandLine,
    /// The server's files, or what it was built with.
    Server,
}

impl Origin {
    /// Of pg_settings; None for what is a role's or a connection's own.
    pub fn of_source(source: &str) -> Option<Self> {
        match source {
            "database" => Some(Origin::Database),
            "global" => Some(Origin::AllRoles),
            "command line" => Some(Origin::CommandLine),
            "user" | "database user" | "client" | "session" => None,
            _ => Some(Origin::Server),
        }
    }
}

/// A setting as it is for who has none of his own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSetting {
    pub name: String,
    pub value: String,
    pub origin: Origin,
}

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
                    Some(said) if matches!(said.value.as_str(), "off" | "none") => Whom::Everybody,
                    Some(_) => continue,
                },
            };
            gaps.push(Gap { setting, whom, remedy });
        }
        Ok(gaps)
    }

    /// What these settings, with blanks between their names, are for who has none of his own. What this database, or all of them, have said comes before
    /// the server's files; settings of which only those tell, and this user may not read them, are left out.
    pub async fn server_settings(&self, settings: &str) -> Result<Vec<ServerSetting>> {
        let said = self.ask(include_str!("queries/settings_of_all.sql"), &[(&settings, Type::TEXT)]).await?;
        let of_files = self.settings_of_files(settings).await?;
        let origin = |row: &[Cell]| if row[2] == Cell::Bool(true) { Origin::Database } else { Origin::AllRoles };
        let said = said.rows.iter().map(|row| (row, origin(row)));
        self.in_units(said.chain(of_files.iter().map(|row| (row, Origin::Server)))).await
    }

    /// What the server itself goes by in its background processes, which are in no database: the value, or None where this user does not see it.
    pub async fn own_setting(&self, setting: &str) -> Result<Option<String>> {
        let answer = self.ask("SELECT setting, source FROM pg_settings WHERE name = $1", &[(&setting, Type::TEXT)]).await?;
        let source = answer.value(0, "source").and_then(Cell::text).unwrap_or_default();
        if matches!(Origin::of_source(source), Some(Origin::CommandLine | Origin::Server)) {
            return Ok(answer.value(0, "setting").and_then(Cell::text).map(str::to_string));
        }
        let of_files = self.settings_of_files(setting).await?;
        let known = self.in_units(of_files.iter().map(|row| (row, Origin::Server))).await?;
        Ok(known.into_iter().next().map(|known| known.value))
    }

    /// Name, and what is written in the server's files; nothing where this user may not read them.
    async fn settings_of_files(&self, settings: &str) -> Result<Vec<Vec<Cell>>> {
        if self.ask(MAY_READ_FILES, &[]).await?.rows != [[Cell::Bool(true)]] {
            return Ok(Vec::new());
        }
        Ok(self.ask(include_str!("queries/settings_of_files.sql"), &[(&settings, Type::TEXT)]).await?.rows)
    }

    /// What was written, the first of each name, in the units of pg_settings.
    async fn in_units<'a>(&self, written: impl Iterator<Item = (&'a Vec<Cell>, Origin)>) -> Result<Vec<ServerSetting>> {
        let (mut texts, mut origins) = (Map::new(), HashMap::new());
        for (row, origin) in written {
            if let Some(name) = row[0].text().filter(|name| !texts.contains_key(*name)) {
                texts.insert(name.to_string(), row[1].text().into());
                origins.insert(name.to_string(), origin);
            }
        }
        let texts = Value::Object(texts).to_string();
        let answer = self.ask(include_str!("queries/server_settings.sql"), &[(&texts, Type::TEXT)]).await?;
        let setting = |row: &Vec<Cell>| {
            let (name, value) = (row[0].text()?.to_string(), row[1].text()?.to_string());
            let origin = origins.get(&name).copied()?;
            Some(ServerSetting { name, value, origin })
        };
        Ok(answer.rows.iter().filter_map(setting).collect())
    }
}
