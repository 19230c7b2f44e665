//! What candlefish may know of the machine, in one place, so that tests can say it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::model::Failure;

/// The environment's variables, and the folder where the command was called.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Environment { variables: std::env::vars_os().collect(), directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")) }
    }

    /// One made up, for tests.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(directory: &Path, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.as_ref().into(), value.as_ref().into())).collect();
        Environment { variables, directory: directory.to_path_buf() }
    }

    /// A variable's value; an empty one is none, as for libpq.
    pub fn get(&self, name: &str) -> Result<Option<&str>> {
        match self.variables.get(OsStr::new(name)).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => bail!(Failure::new("bad_setting", format!("the environment's {name} is not UTF-8"))),
            },
        }
    }

    /// A path in the user's home; none without a home.
    pub fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.variables.get(OsStr::new("HOME")).filter(|home| !home.is_empty()).map(|home| Path::new(home).join(path))
    }

    /// Where programs keep what is theirs from run to run: `$XDG_STATE_HOME/candlefish`, else `~/.local/state/candlefish`; none without a home.
    pub fn state_folder(&self) -> Option<PathBuf> {
        match self.variables.get(OsStr::new("XDG_STATE_HOME")).map(Path::new).filter(|folder| folder.is_absolute()) {
            Some(folder) => Some(folder.join("candlefish")),
            None => self.in_home(".local/state/candlefish"),
        }
    }

    /// A path as seen from where the command was called.
    pub fn in_directory(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("directory", &self.directory).field("variables", &self.variables.len()).finish()
    }
}
