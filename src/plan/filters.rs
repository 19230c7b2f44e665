//! Which tables are meant: `--include`, `--exclude`, `--exclude-data`, `--existing`.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::model::Schema;
use crate::plan::build::{Existing, Options};
use crate::plan::decision::Problem;

/// `--include`, `--exclude`, `--exclude-data`, `--existing`.
pub(super) struct Filters {
    include: Option<GlobSet>,
    exclude: GlobSet,
    exclude_data: GlobSet,
    existing: Vec<(GlobSet, Existing)>,
}

impl Filters {
    /// Refuses a glob that is none, or that matches no table.
    pub fn new(source: &Schema, options: &Options) -> Result<Self, Problem> {
        let set = |globs: &[String], flag: &str| -> Result<GlobSet, Problem> {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                let bad = |message: String, hint: &str| Problem { code: "bad_glob", message, hint: hint.into() };
                let compiled =
                    Glob::new(glob).map_err(|error| bad(format!("{flag} {glob:?}: {error}"), "A glob has *, ?, [abc] and {a,b}."))?;
                let matcher = compiled.compile_matcher();
                if !source.tables.iter().any(|table| matcher.is_match(&table.name)) {
                    return Err(bad(
                        format!("{flag} {glob:?} matches no table of the source"),
                        "Names are matched exactly as SQLite has them.",
                    ));
                }
                builder.add(compiled);
            }
            builder.build().map_err(|error| Problem { code: "bad_glob", message: format!("{flag}: {error}"), hint: String::new() })
        };
        let mut existing = Vec::new();
        for (glob, what) in &options.existing {
            // A bare `--existing truncate` is `*`, which an empty database may well not match.
            let globs = if glob == "*" { Vec::new() } else { vec![glob.clone()] };
            existing.push((set(&globs, "--existing")?, *what));
        }
        Ok(Filters {
            include: if options.include.is_empty() { None } else { Some(set(&options.include, "--include")?) },
            exclude: set(&options.exclude, "--exclude")?,
            exclude_data: set(&options.exclude_data, "--exclude-data")?,
            existing,
        })
    }

    pub fn wants(&self, table: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(table)) && !self.exclude.is_match(table)
    }

    /// The table, and not its rows.
    pub fn without_data(&self, table: &str) -> bool {
        self.exclude_data.is_match(table)
    }

    pub fn existing(&self, table: &str) -> Existing {
        let matching = self.existing.iter().rev().find(|(globs, _)| globs.is_empty() || globs.is_match(table));
        matching.map_or(Existing::Refuse, |(_, what)| *what)
    }
}

/// Says of each table of the source whether `--include` and `--exclude` want it.
pub fn wanted(source: &Schema, options: &Options) -> Result<impl Fn(&str) -> bool + use<>, Problem> {
    let filters = Filters::new(source, options)?;
    Ok(move |table: &str| filters.wants(table))
}

/// Says of each table of the source what is to become of rows that are there, as far as `--existing` says so.
pub fn existing_rows(source: &Schema, options: &Options) -> Result<impl Fn(&str) -> Option<Existing> + use<>, Problem> {
    let filters = Filters::new(source, options)?;
    Ok(move |table: &str| Some(filters.existing(table)).filter(|what| *what != Existing::Refuse))
}
