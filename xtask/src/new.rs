//! `cargo xtask new`: the next item on a shelf, with what it needs to be found and tested.

use std::fs;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::shell::root;

#[derive(Subcommand)]
pub enum Shelf {
    /// A case of the integration tests: fixtures/NAME/source.sql
    Fixture { name: String },
    /// The next migration of the registry: V{n}__{name}.sql, run before the data is copied
    Migration { name: String },
    /// The next migration of the registry's indexes, run after the data is copied
    Index { name: String },
}

pub fn run(shelf: &Shelf) -> Result<()> {
    match shelf {
        Shelf::Fixture { name } => fixture(name),
        Shelf::Migration { name } => migration("schema", name),
        Shelf::Index { name } => migration("indexes", name),
    }
}

fn fixture(name: &str) -> Result<()> {
    let folder = root().join("fixtures").join(name);
    if folder.exists() {
        bail!("{} exists", folder.display());
    }
    fs::create_dir_all(folder.join("expected"))?;
    write(&folder.join("source.sql"), "-- What this case shows, in a sentence.\nCREATE TABLE t (id INTEGER PRIMARY KEY);\n")
}

fn migration(kind: &str, name: &str) -> Result<()> {
    let folder = root().join("migrations").join(kind);
    fs::create_dir_all(&folder)?;
    let mut last = 0;
    for entry in fs::read_dir(&folder)? {
        last = last.max(version(&entry?.file_name().to_string_lossy()).unwrap_or(0));
    }
    write(&folder.join(format!("V{}__{name}.sql", last + 1)), "-- What it changes, in a sentence.\n")
}

/// `V12__orders.sql` is 12.
fn version(file: &str) -> Option<u32> {
    file.strip_prefix('V')?.split_once("__")?.0.parse().ok()
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.strip_prefix(root()).unwrap_or(path).display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_migration_is_in_its_name() {
        assert_eq!(version("V12__orders.sql"), Some(12));
        assert_eq!(version("README.md"), None);
    }
}
