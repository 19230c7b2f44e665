//! Migration files: the folder that holds them, or the ones that candlefish brings along.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use refinery::Migration;

use crate::model::{Failure, Section};
use crate::postgres::script;

/// The first line of a file that runs outside a transaction.
const NO_TRANSACTION: &str = "-- candlefish: no-transaction";

/// One file, read and found fit to run.
#[derive(Clone, Debug)]
pub struct MigrationFile {
    pub migration: Migration,
    /// False: its statements run alone, one at a time, and each must be safe to run again.
    pub transactional: bool,
}

macro_rules! built_in {
    ($section:literal: $($stem:literal),+ $(,)?) => {
        &[$(($stem, include_str!(concat!("../../../migrations/", $section, "/", $stem, ".sql")))),+]
    };
}

const SCHEMA: &[(&str, &str)] = built_in!("schema": "V1__services", "V2__people", "V3__measurements", "V4__schema_version");
const INDEXES: &[(&str, &str)] = built_in!("indexes": "V1__lookups", "V2__times", "V3__dashboard_service_health", "V4__running_services");

/// The registry's own files, by section.
pub fn built_in(section: Section) -> Result<Vec<MigrationFile>> {
    let files = match section {
        Section::Schema => SCHEMA,
        Section::Indexes => INDEXES,
    };
    let files = files.iter().map(|(stem, sql)| MigrationFile::new(section, stem, sql)).collect::<Result<_>>()?;
    in_order(section, files)
}

/// The files of `folder/schema` or `folder/indexes`; none when that folder is not there.
pub fn in_folder(folder: &Path, section: Section) -> Result<Vec<MigrationFile>> {
    let folder = folder.join(section.as_str());
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read folder {}", folder.display()))? {
        let path = entry.with_context(|| format!("read folder {}", folder.display()))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let sql = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        files.push(MigrationFile::new(section, &stem, &sql)?);
    }
    in_order(section, files)
}

impl MigrationFile {
    /// Reads a file's name and first line. refinery would pass over a name it does not know, and cut one it half knows.
    fn new(section: Section, stem: &str, sql: &str) -> Result<Self> {
        let place = format!("{}/{stem}.sql", section.as_str());
        let migration = Migration::unapplied(stem, sql).ok().filter(|migration| stem.ends_with(&format!("__{}", migration.name())));
        let Some(migration) = migration else {
            bail!(
                Failure::new("bad_migration_name", format!("{place} is not named as a migration"))
                    .hint("A name looks like V3__orders.sql: V, a whole number, two underscores, letters, digits and underscores.")
            );
        };
        let transactional = sql.lines().next().is_none_or(|line| line.trim() != NO_TRANSACTION);
        let file = MigrationFile { migration, transactional };
        for statement in file.statements() {
            // Without a name, an interrupted build could not be found again.
            if statement.concurrent_index().is_some_and(|index| index.name.is_none()) {
                bail!(
                    Failure::new("unnamed_index", format!("{place}, line {}: the index has no name", statement.line))
                        .hint("Name it: CREATE INDEX CONCURRENTLY IF NOT EXISTS name ON …")
                );
            }
        }
        Ok(file)
    }

    pub fn sql(&self) -> &str {
        self.migration.sql().unwrap_or_default()
    }

    /// What runs alone; empty for a file that runs in a transaction.
    pub fn statements(&self) -> Vec<script::Statement<'_>> {
        if self.transactional { Vec::new() } else { script::statements(self.sql()) }
    }
}

fn in_order(section: Section, mut files: Vec<MigrationFile>) -> Result<Vec<MigrationFile>> {
    files.sort_by_key(|file| file.migration.version());
    for pair in files.windows(2) {
        if pair[0].migration.version() == pair[1].migration.version() {
            bail!(
                Failure::new(
                    "repeated_version",
                    format!("{0}/{1}.sql and {0}/{2}.sql have the same version", section.as_str(), pair[0].migration, pair[1].migration)
                )
                .hint("Give the later one the next number.")
            );
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: &anyhow::Error) -> &'static str {
        error.downcast_ref::<Failure>().unwrap().code
    }

    #[test]
    fn the_built_in_files_are_those_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        for section in Section::ALL {
            let listed: Vec<_> = built_in(section).unwrap().into_iter().map(|file| file.migration).collect();
            let found: Vec<_> = in_folder(&folder, section).unwrap().into_iter().map(|file| file.migration).collect();
            assert_eq!(listed, found);
        }
    }

    #[test]
    fn the_first_line_takes_a_file_out_of_the_transaction() {
        let file = |sql: &str| MigrationFile::new(Section::Indexes, "V1__a", sql).unwrap();
        assert!(!file("-- candlefish: no-transaction\r\nSELECT 1; SELECT 2").transactional);
        assert!(file("\n-- candlefish: no-transaction\nSELECT 1").transactional);
        assert!(file("").transactional);
        assert_eq!(file("-- candlefish: no-transaction\nSELECT 1; SELECT 2").statements().len(), 2);
    }

    #[test]
    fn a_file_that_cannot_run_is_refused_before_anything_does() {
        for stem in ["a", "V1_a", "Va__b", "V1.5__a", "V1__a-b", "V99999999999__a"] {
            assert_eq!(code(&MigrationFile::new(Section::Schema, stem, "").unwrap_err()), "bad_migration_name", "{stem}");
        }
        let unnamed = MigrationFile::new(Section::Indexes, "V1__a", "-- candlefish: no-transaction\n\nCREATE INDEX CONCURRENTLY ON t (a)");
        let error = unnamed.unwrap_err();
        assert_eq!(code(&error), "unnamed_index");
        assert_eq!(error.to_string(), "indexes/V1__a.sql, line 3: the index has no name");
        let twice = ["V2__a", "V02__b"].map(|stem| MigrationFile::new(Section::Schema, stem, "").unwrap());
        assert_eq!(code(&in_order(Section::Schema, twice.to_vec()).unwrap_err()), "repeated_version");
    }
}
