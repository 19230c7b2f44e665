//! What a load test does: scripts with their weights, built in or from files.

mod registry;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::bench::script::{self, Command, Names, Random, Script, Slot, Statement, Value};
use crate::model::{Failure, ParamType, Query};

/// One `--workload`, or `-f`, `-b`: where the scripts come from, and their weight beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub source: Source,
    pub weight: u32,
    /// What stands in its file, once it is read.
    text: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Registry,
    RegistryRead,
    SelectOnly,
    Tpcb,
    SimpleUpdate,
    File(PathBuf),
}

/// Names, and what pgbench calls the same.
const BUILT_IN: [(&str, Source); 6] = [
    ("registry", Source::Registry),
    ("registry-read", Source::RegistryRead),
    ("select-only", Source::SelectOnly),
    ("tpcb", Source::Tpcb),
    ("tpcb-like", Source::Tpcb),
    ("simple-update", Source::SimpleUpdate),
];

const MOST_WEIGHT: u32 = 100_000;

impl Choice {
    /// `registry`, `load.sql`, `load.sql@3`. A name that is not built in is a file's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, weight) = match text.rsplit_once('@') {
            Some((name, weight)) if weight.bytes().all(|byte| byte.is_ascii_digit()) => {
                // The registry's own weights are of ten thousand, and all of them add up.
                let weight = weight.parse().ok().filter(|weight| *weight <= MOST_WEIGHT);
                (name, weight.ok_or_else(|| format!("a weight is a whole number up to {MOST_WEIGHT}"))?)
            }
            Some((_, weight)) if weight.parse::<f64>().is_ok() && !Path::new(text).exists() => {
                return Err(format!("a weight is a whole number up to {MOST_WEIGHT}, and {weight} is none"));
            }
            _ => (text, 1),
        };
        if name.is_empty() {
            return Err("a workload has a name or is a file".to_string());
        }
        let known = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, source)| source.clone());
        if known.is_none() && !name.contains(['.', '/']) && !Path::new(name).exists() {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no workload {name:?} and no such file; built in are {}", names.join(", ")));
        }
        Ok(Choice { source: known.unwrap_or_else(|| Source::File(PathBuf::from(name))), weight, text: None })
    }

    /// With what stands in its file: that may be a pipe, which tells it once, and a search runs it many times.
    pub fn read(self) -> Result<Self> {
        let text = match &self.source {
            Source::File(path) => Some(read_file(path)?.into()),
            _ => None,
        };
        Ok(Choice { text, ..self })
    }

    /// As a person would write it.
    pub fn name(&self) -> String {
        let name = match &self.source {
            Source::File(path) => path.display().to_string(),
            source => BUILT_IN.iter().find(|(_, known)| known == source).map_or_else(String::new, |(name, _)| name.to_string()),
        };
        if self.weight == 1 { name } else { format!("{name}@{}", self.weight) }
    }

    pub fn is_built_in(&self) -> bool {
        self.file().is_none()
    }

    /// Where its script stands, unless it is built in.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            _ => None,
        }
    }
}

/// The one statement of select-only, to the data layer.
const ACCOUNT: Query =
    Query::cached("select-only", "SELECT abalance FROM candlefish_bench.pgbench_accounts WHERE aid = $1", &[ParamType::Int8])
        .tags(&["account:{1}"]);

/// What the parts of these workloads are called in a report.
pub fn operations(choices: &[Choice]) -> Vec<String> {
    let of = |choice: &Choice| match choice.source {
        Source::Registry | Source::RegistryRead => registry::names(choice.source == Source::RegistryRead),
        _ => vec![Choice { weight: 1, ..choice.clone() }.name()],
    };
    choices.iter().flat_map(of).collect()
}

/// Everything that a client needs to know what to do next.
#[derive(Clone, Debug)]
pub struct Workload {
    pub scripts: Vec<Script>,
    pub names: Names,
    /// Where a client keeps its number.
    pub client_id: Slot,
    /// What a client's variables start with.
    pub first_values: Vec<Value>,
    /// How many statements all scripts have.
    pub statements: usize,
    total_weight: u64,
}

impl Workload {
    /// Reads every script. `quoted` says that variables may stand within quotes (the simple protocol); `defines` are `-D` values.
    pub fn load(choices: &[Choice], scale: u32, seed: u64, quoted: bool, defines: &[(String, String)]) -> Result<Self> {
        let mut names = Names::new(scale, seed);
        for (name, value) in defines {
            names.give(name, Value::text(value.as_str()));
        }
        let (mut scripts, mut statements) = (Vec::new(), 0);
        for choice in choices {
            let text = match &choice.source {
                Source::Registry | Source::RegistryRead => {
                    let reads = choice.source == Source::RegistryRead;
                    scripts.extend(registry::scripts(choice.weight, reads, scale, &mut names, &mut statements));
                    continue;
                }
                Source::SelectOnly => include_str!("select-only.sql").to_string(),
                Source::Tpcb => include_str!("tpcb.sql").to_string(),
                Source::SimpleUpdate => include_str!("simple-update.sql").to_string(),
                Source::File(path) => match &choice.text {
                    Some(text) => text.to_string(),
                    None => read_file(path)?,
                },
            };
            let name = Choice { weight: 1, ..choice.clone() }.name();
            let read = script::read(&name, &text, choice.weight, quoted, &mut names, &mut statements);
            let mut script = read.map_err(|fault| fault.at(&name, &text))?;
            if choice.source == Source::SelectOnly {
                script.declare(ACCOUNT);
            }
            scripts.push(script);
        }
        let total_weight = scripts.iter().map(|script| u64::from(script.weight)).sum();
        if total_weight == 0 {
            bail!(Failure::new("no_weight", "every workload has the weight 0").hint("Give one a weight: load.sql@1"));
        }
        let Some(client_id) = names.find(script::CLIENT_ID) else { unreachable!("every script has it") };
        Ok(Workload { first_values: names.first_values(), scripts, names, client_id, statements, total_weight })
    }

    /// Draws the next script, by weight.
    pub fn draw(&self, random: &mut Random) -> usize {
        if self.scripts.len() == 1 {
            return 0;
        }
        let mut rest = random.range(0, self.total_weight - 1);
        for (number, script) in self.scripts.iter().enumerate() {
            match rest.checked_sub(u64::from(script.weight)) {
                Some(less) => rest = less,
                None => return number,
            }
        }
        unreachable!("the weights add up")
    }

    /// Draws the next script that only reads; any, where all of them write.
    pub fn draw_read(&self, random: &mut Random) -> usize {
        if !self.scripts.iter().any(|script| script.reads_only && script.weight > 0) {
            return self.draw(random);
        }
        loop {
            let number = self.draw(random);
            if self.scripts[number].reads_only {
                return number;
            }
        }
    }

    pub fn each_statement(&self) -> impl Iterator<Item = &Statement> {
        self.scripts.iter().flat_map(|script| &script.commands).filter_map(|command| match command {
            Command::Statement(statement) => Some(&**statement),
            _ => None,
        })
    }
}

/// A script is no dump; what never ends would fill the memory.
const LONGEST: u64 = 16 * 1024 * 1024;

fn read_file(path: &Path) -> Result<String> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Failure::new("script_not_read", format!("the script {} cannot be read: {error}", path.display())).hint("Check the path.")
    })?;
    if text.len() as u64 > LONGEST {
        let failure = Failure::new("script_too_long", format!("{} is longer than a script may be, 16 MB", path.display()));
        bail!(failure.hint("Name a script in pgbench's language; a table is filled by COPY or `candlefish migrate`."));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..at]);
        script::Fault::new(at, "this is not UTF-8").at(&path.display().to_string(), &before).hint("Save the script as UTF-8.").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(choices: &[&str]) -> Workload {
        let choices: Vec<Choice> = choices.iter().map(|choice| Choice::parse(choice).unwrap()).collect();
        Workload::load(&choices, 2, 1, false, &[]).unwrap()
    }

    #[test]
    fn a_registry_has_the_applications_proportions() {
        let workload = load(&["registry"]);
        let mut random = Random::new(3);
        let mut counts = vec![0u32; workload.scripts.len()];
        for _ in 0..100_000 {
            counts[workload.draw(&mut random)] += 1;
        }
        let share = |name: &str| {
            let number = workload.scripts.iter().position(|script| script.name == name).unwrap();
            f64::from(counts[number]) / 1000.0
        };
        for (name, percent) in
            [("session check", 30.0), ("one service", 25.0), ("health metrics", 13.0), ("profile", 12.0), ("record a probe", 4.0)]
        {
            assert!((share(name) - percent).abs() < 0.6, "{name}: {}", share(name));
        }
        assert_eq!(workload.scripts.iter().map(|script| script.weight).sum::<u32>(), 10_000);
        let reads_only = |workload: &Workload| workload.scripts.iter().all(|script| script.reads_only);
        assert!(reads_only(&load(&["registry-read"])) && !reads_only(&workload));
    }

    #[test]
    fn a_workload_may_have_a_weight() {
        let choice = |text: &str| Choice::parse(text).map(|choice| (choice.name(), choice.weight));
        assert_eq!(choice("tpcb@3"), Ok(("tpcb@3".into(), 3)));
        assert_eq!(choice("a/b.sql"), Ok(("a/b.sql".into(), 1)));
        assert_eq!(choice("a@b.sql"), Ok(("a@b.sql".into(), 1)));
        assert!(choice("tpcb@99999999").unwrap_err().contains("up to 100000"));
        assert!(choice("selekt").unwrap_err().contains("select-only"));
        let weighted = load(&["tpcb@3", "select-only"]);
        let mut random = Random::new(1);
        let tpcb = (0..10_000).filter(|_| weighted.draw(&mut random) == 0).count();
        assert!((7300..7700).contains(&tpcb), "{tpcb}");
    }
}
