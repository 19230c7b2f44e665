//! `candlefish.toml`: the settings that a project keeps with its code.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::cli::settings::store::{self, Said};
use crate::model::Failure;

/// The name under which the file is found where the command was called.
pub const NAME: &str = "candlefish.toml";

/// Keys that are addresses; beside them there are the data layer's, in `[pool]` and `[cache]`. Nothing is read that has no meaning.
pub const ADDRESSES: [&str; 3] = ["pooler", "redis", "target"];

#[derive(Clone, Default)]
pub struct SettingsFile {
    /// None when there is no file.
    pub path: Option<PathBuf>,
    pub target: Option<String>,
    pub redis: Option<String>,
    pub pooler: Option<String>,
    /// Of the data layer.
    pub store: Vec<Said>,
}

impl SettingsFile {
    /// Reads the file; `required` when the person named it.
    pub fn read(path: &Path, required: bool) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => SettingsFile::parse(text, path),
                Err(error) => {
                    let (line, column) = position(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]), error.valid_up_to());
                    let message = format!("{}, line {line}, column {column}: this is not UTF-8", path.display());
                    bail!(Failure::new("bad_settings_file", message).hint("Save the file as UTF-8."))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(SettingsFile::default()),
            Err(error) => {
                let message = format!("the settings file {} cannot be read: {error}", path.display());
                bail!(Failure::new("bad_settings_file", message))
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let refuse = |at: usize, message: String| {
            let (line, column) = position(text, at);
            Failure::new("bad_settings_file", format!("{}, line {line}, column {column}: {message}", path.display()))
        };
        let table = DeTable::parse(text).map_err(|error| {
            // Only the first line of toml's words: what follows shows the file, which may hold a password.
            let why = error.message().lines().next().unwrap_or("not TOML").to_string();
            refuse(error.span().map_or(0, |span| span.start), why)
        })?;
        let mut file = SettingsFile { path: Some(path.to_path_buf()), ..SettingsFile::default() };
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            let place = match name {
                "target" => &mut file.target,
                "redis" => &mut file.redis,
                "pooler" => &mut file.pooler,
                "pool" | "cache" => {
                    let DeValue::Table(keys) = value.get_ref() else {
                        bail!(refuse(value.span().start, format!("{name:?} must be a table")));
                    };
                    for (key, value) in keys {
                        file.store.push(of_store(name, key, value, &refuse)?);
                    }
                    continue;
                }
                _ => {
                    bail!(refuse(key.span().start, format!("unknown key {name:?}")).hint(did_you_mean(name)));
                }
            };
            match value.get_ref() {
                DeValue::String(text) => *place = Some(text.to_string()),
                _ => bail!(refuse(value.span().start, format!("{name:?} must be a text in quotes"))),
            }
        }
        Ok(file)
    }
}

/// A key of `[pool]` or `[cache]`.
fn of_store(
    table: &str,
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    refuse: &impl Fn(usize, String) -> Failure,
) -> Result<Said> {
    let name = format!("{table}.{}", key.get_ref());
    let Some(key) = store::find(&name) else {
        bail!(refuse(key.span().start, format!("unknown key {name:?}")).hint(did_you_mean(&name)));
    };
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        _ => bail!(refuse(value.span().start, format!("{name:?} must be a number, or a text in quotes"))),
    };
    match store::check(key, &text) {
        Ok(()) => Ok(Said { key, value: text }),
        Err(why) => bail!(refuse(value.span().start, format!("{name:?}: {why}"))),
    }
}

fn did_you_mean(name: &str) -> String {
    let near = store::names().map(|key| (strsim::jaro_winkler(key, name), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((likeness, key)) if likeness > 0.7 => format!("Did you mean {key:?}?"),
        _ => format!("It knows {}.", store::names().collect::<Vec<_>>().join(", ")),
    }
}

/// Line and column, from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, Option<String>) {
        let error = SettingsFile::parse(text, Path::new(NAME)).err().unwrap();
        (error.root_cause().to_string(), error.root_cause().downcast_ref::<Failure>().unwrap().hint.clone())
    }

    #[test]
    fn a_file_says_what_it_says() {
        let file = SettingsFile::parse("target = 'postgresql://db/shop'\nredis = \"redis://cache\"\n", Path::new(NAME)).unwrap();
        assert_eq!(file.target.as_deref(), Some("postgresql://db/shop"));
        assert_eq!(file.redis.as_deref(), Some("redis://cache"));
        assert_eq!(file.pooler, None);
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_column_and_a_guess() {
        let (message, hint) = refused("redis = 'redis://cache'\n  targt = 'x'\n");
        assert_eq!(message, "candlefish.toml, line 2, column 3: unknown key \"targt\"");
        assert_eq!(hint.as_deref(), Some("Did you mean \"target\"?"));
    }

    #[test]
    fn the_data_layers_settings_are_checked_where_they_stand() {
        let file =
            SettingsFile::parse("[pool]\nmax = 8\nidle_timeout = '5s'\n[cache]\njitter = 0.2\nl1_bytes = \"64MB\"\n", Path::new(NAME))
                .unwrap();
        assert_eq!(file.store.iter().map(|said| said.value.as_str()).collect::<Vec<_>>(), ["0.2", "64MB", "5s", "8"]);
        let (message, hint) = refused("[pool]\nmaxx = 8\n");
        assert_eq!(message, "candlefish.toml, line 2, column 1: unknown key \"pool.maxx\"");
        assert_eq!(hint.as_deref(), Some("Did you mean \"pool.max\"?"));
        assert!(refused("[pool]\nmax = 'many'\n").0.contains("line 2, column 7"));
    }

    #[test]
    fn damage_is_placed_and_shows_no_secret() {
        let (message, _) = refused("target = 'postgresql://u:hunter2@db\n");
        assert!(message.starts_with("candlefish.toml, line 1, column ") && !message.contains("hunter2"), "{message}");
        assert_eq!(refused("target = 5").0, "candlefish.toml, line 1, column 10: \"target\" must be a text in quotes");
    }

    #[test]
    fn what_is_not_utf8_is_placed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, b"redis = 'redis://cache'\n# caf\xe9\n").unwrap();
        let error = SettingsFile::read(&path, true).err().unwrap().to_string();
        assert!(error.ends_with("line 2, column 6: this is not UTF-8"), "{error}");
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(SettingsFile::read(&folder.path().join(NAME), false).unwrap().path.is_none());
        assert!(SettingsFile::read(&folder.path().join("mine.toml"), true).is_err());
    }
}
