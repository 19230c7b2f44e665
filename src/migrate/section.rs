//! The sections of a run, in pg_dump's words: each can be a process of its own, which goes on from what the journal says is done.

use anyhow::{Result, bail};

use crate::migrate::standing::Standing;
use crate::model::Failure;

/// A section of a run; `model::Section` is a folder of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunSection {
    /// The plan is made, and the tables.
    PreData,
    /// The rows, and where sequences go on.
    Data,
    /// Keys, indexes, constraints, views, triggers, statistics, grants.
    PostData,
    /// Both sides compared.
    Verify,
}

impl RunSection {
    pub const ALL: [RunSection; 4] = [RunSection::PreData, RunSection::Data, RunSection::PostData, RunSection::Verify];

    pub fn as_str(self) -> &'static str {
        match self {
            RunSection::PreData => "pre-data",
            RunSection::Data => "data",
            RunSection::PostData => "post-data",
            RunSection::Verify => "verify",
        }
    }

    /// The section whose work this one stands on.
    fn needs(self) -> Option<RunSection> {
        match self {
            RunSection::PreData => None,
            RunSection::Data => Some(RunSection::PreData),
            RunSection::PostData | RunSection::Verify => Some(RunSection::Data),
        }
    }

    /// The step of the journal that says that it is done.
    pub fn step(self) -> String {
        format!("section {}", self.as_str())
    }
}

/// Some of the sections, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSections(u8);

impl RunSections {
    pub const ALL: RunSections = RunSections(0b1111);

    pub fn of(sections: impl IntoIterator<Item = RunSection>) -> Self {
        sections.into_iter().fold(RunSections(0), |all, section| RunSections(all.0 | all.bit(section)))
    }

    /// Those that a run has done.
    pub fn done(standing: &Standing) -> Self {
        RunSections::of(RunSection::ALL.into_iter().filter(|section| standing.step(&section.step()).is_some()))
    }

    /// Those of these names.
    pub fn named(names: &[String]) -> Self {
        RunSections::of(RunSection::ALL.into_iter().filter(|section| names.iter().any(|name| name == section.as_str())))
    }

    fn bit(self, section: RunSection) -> u8 {
        1 << section as u8
    }

    pub fn has(self, section: RunSection) -> bool {
        self.0 & self.bit(section) != 0
    }

    pub fn and(self, other: RunSections) -> Self {
        RunSections(self.0 | other.0)
    }

    pub fn without(self, other: RunSections) -> Self {
        RunSections(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = RunSection> {
        RunSection::ALL.into_iter().filter(move |section| self.has(*section))
    }

    /// `pre-data, data`
    pub fn words(self) -> String {
        self.iter().map(RunSection::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Refuses a section that stands on another which is neither done nor asked for. `undone` says of what: `run 1 has not done`, `no run has done`.
    pub fn refuse_out_of_order(self, done: RunSections, undone: &str) -> Result<()> {
        for section in self.without(done).iter() {
            let Some(needed) = section.needs().filter(|needed| !done.and(self).has(*needed)) else { continue };
            bail!(
                Failure::new(
                    "section_out_of_order",
                    format!("section {} needs section {}, which {undone}", section.as_str(), needed.as_str())
                )
                .hint(format!("Run the same command with --section {} first.", needed.as_str()))
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_stands_on_what_is_done_or_asked_for_with_it() {
        let of = |sections: &[RunSection]| RunSections::of(sections.iter().copied());
        let none = RunSections::default();
        assert_eq!(RunSections::of(RunSection::ALL), RunSections::ALL);
        assert_eq!(of(&[RunSection::PostData, RunSection::Data]).words(), "data, post-data");
        assert!(RunSections::ALL.refuse_out_of_order(none, "this").is_ok());
        let said = |asked: RunSections, done: RunSections| asked.refuse_out_of_order(done, "run 1 has not done").unwrap_err().to_string();
        assert_eq!(said(of(&[RunSection::Data]), none), "section data needs section pre-data, which run 1 has not done");
        assert_eq!(
            said(of(&[RunSection::PreData, RunSection::PostData]), none),
            "section post-data needs section data, which run 1 has not done"
        );
        assert!(of(&[RunSection::Verify]).refuse_out_of_order(of(&[RunSection::PreData, RunSection::Data]), "run 1").is_ok());
        assert!(of(&[RunSection::Data]).refuse_out_of_order(RunSections::ALL, "run 1").is_ok());
    }
}
