//! Commands as a person would type them, in an environment that knows no database but our own.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// True for every variable by which a caller's database could be reached.
fn names_a_database(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["PG", "REDIS", "DATABASE_URL", "POOLER_URL", "CANDLEFISH"].iter().any(|start| name.starts_with(start))
}

/// A command in the repository's folder; the stack it may use is named, and no other database is.
pub fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| names_a_database(name)) {
        command.env_remove(name);
    }
    command.current_dir(root()).env("CANDLEFISH_HOME", home);
    command
}

pub fn cargo(home: &Path) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), home)
}

/// Prints the command like a shell session and runs it.
pub fn show_and_run(command: &mut Command) -> Result<()> {
    println!("\n$ {}", line(command));
    run(command)
}

pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

fn line(command: &Command) -> String {
    let word = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = word.chars().all(|c| c.is_alphanumeric() || "-_./:=@,+%".contains(c)) && !word.is_empty();
        if plain { word.into_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(word(name)).chain(command.get_args().map(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_of_a_database_gets_through() {
        for name in
            ["PGHOST", "PG_PASSWORD", "PGSERVICEFILE", "DATABASE_URL", "POOLER_URL", "REDIS_URL", "REDISCLI_AUTH", "CANDLEFISH_HOME"]
        {
            assert!(names_a_database(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME"] {
            assert!(!names_a_database(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/psql");
        command.args(["-c", "select 'a'", "shop.db"]);
        assert_eq!(line(&command), r"psql -c 'select '\''a'\''' shop.db");
    }
}
