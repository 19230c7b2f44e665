//! What one run leaves for the next, so that a cron job's `--once` honours durations: alerts, the samples that windows look back over, and notices
//! that nobody has taken yet.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::model::Failure;
use crate::monitor::alert::Alert;
use crate::monitor::metric::Source;
use crate::monitor::sample::{Carried, Sampler};
use crate::monitor::series;
use crate::monitor::webhook::Notice;
use crate::monitor::{Monitor, Sample};

/// The shape of the file; another one is begun anew.
const VERSION: u32 = 1;

/// Whoever goes on with what another left, and after what silence, in milliseconds, it says nothing about now: then samples are forgotten, and
/// what pended begins anew.
#[derive(Clone, Copy, Debug)]
pub enum Silence {
    /// A watch that was interrupted: as Prometheus has it, an hour.
    Outage = 3_600_000,
    /// A job that runs now and then: one that is daily, and late.
    Between = 26 * 3_600_000,
}

pub struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// When it was last evaluated: milliseconds since 1970.
    at: i64,
    target: String,
    alerts: BTreeMap<String, Alert>,
    used: BTreeMap<String, String>,
    /// Unsent.
    #[serde(default)]
    notices: Vec<Notice>,
    #[serde(default)]
    series: Vec<series::Saved>,
    #[serde(default)]
    counts: Carried,
}

impl StateFile {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        StateFile { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes up what an earlier run left for the same target; gives the notices that it could not send. A file that cannot be read is an error: to
    /// begin anew would be to forget a firing alert.
    pub fn restore(&self, monitor: &mut Monitor, sampler: &mut Sampler, now: i64, silence: Silence) -> Result<Vec<Notice>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("read the state file {}", self.path.display()))?,
        };
        let damaged = |why: String| {
            Failure::new("bad_state_file", format!("the state file {} cannot be used: {why}", self.path.display()))
                .hint("Remove it to begin anew: alerts that fire now are then told again.")
        };
        let saved: Saved = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if saved.version != VERSION {
            return Err(damaged(format!("it has version {}, not {VERSION}", saved.version)).into());
        }
        if saved.target != monitor.target {
            return Err(damaged(format!("it is of {}, not of {}", saved.target, monitor.target)).into());
        }
        for rule in &monitor.rules {
            if let Some(alert) = saved.alerts.get(&rule.name) {
                let mut alert = alert.clone().resume(rule, saved.at, now, silence as i64);
                if let Silence::Outage = silence {
                    alert.was_unwatched(now - saved.at);
                }
                monitor.alerts.insert(rule.name.clone(), alert);
            }
        }
        for (rule, name) in saved.used {
            if let Some(source) = Source::ALL.into_iter().find(|source| source.name() == name) {
                monitor.used.insert(rule, source);
            }
        }
        if now - saved.at < silence as i64 && now >= saved.at {
            monitor.series.restore(saved.series);
            monitor.last = Some(Sample { at: saved.at, ..Sample::default() });
            sampler.carry(saved.counts);
        }
        Ok(saved.notices)
    }

    /// Written whole beside the file, then put in its place: a crash leaves the one or the other.
    pub fn save(&self, monitor: &Monitor, sampler: &Sampler, notices: Vec<Notice>) -> Result<()> {
        let saved = Saved {
            version: VERSION,
            at: monitor.last.as_ref().map_or(0, |last| last.at),
            target: monitor.target.clone(),
            alerts: monitor.alerts.clone(),
            used: monitor.used.iter().map(|(rule, source)| (rule.clone(), source.name().to_string())).collect(),
            notices,
            series: monitor.series.saved(),
            counts: sampler.carried(),
        };
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = self.path.with_file_name(format!(".{name}.{}", std::process::id()));
        let write = || -> Result<()> {
            if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            let mut file = fs::File::create(&beside)?;
            file.write_all(&serde_json::to_vec(&saved)?)?;
            file.sync_all()?;
            Ok(fs::rename(&beside, &self.path)?)
        };
        write().inspect_err(|_| drop(fs::remove_file(&beside))).with_context(|| format!("write the state file {}", self.path.display()))
    }
}
