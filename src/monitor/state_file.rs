//! What one run leaves for the next, so that a cron job's `--once` honours durations: alerts, the samples that windows look back over, and notices
//! that nobody has taken yet.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::model::{Failure, sentence};
use crate::monitor::alert::Alert;
use crate::monitor::bounded::{STATE_BYTES, read_bytes, too_long};
use crate::monitor::metric::{METRICS, Source};
use crate::monitor::report::timestamp;
use crate::monitor::sample::{Carried, Sampler};
use crate::monitor::series;
use crate::monitor::webhook::Notice;
use crate::monitor::{Monitor, Sample};

/// How long a run waits for another one that has the file and comes to an end; for so long it says nothing about it.
const HELD: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(1);

/// The shape of the file; another one is begun anew. [`is_ours`] knows how one of it begins.
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

/// Who keeps others from a state file, as it says in the lock beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Until somebody ends it.
    Watch,
    /// For seconds.
    Once,
}

pub struct StateFile {
    path: PathBuf,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// When it was last evaluated: milliseconds since 1970.
    at: i64,
    target: String,
    alerts: BTreeMap<String, Alert>,
    used: BTreeMap<String, String>,
    #[serde(default)]
    measured: BTreeMap<String, String>,
    #[serde(default)]
    missed: BTreeMap<String, Option<i64>>,
    /// Unsent.
    #[serde(default)]
    notices: Vec<Notice>,
    /// Some run tells them to a webhook.
    #[serde(default)]
    is_told: bool,
    #[serde(default)]
    not_before: i64,
    #[serde(default)]
    series: Vec<series::Saved>,
    #[serde(default)]
    counts: Carried,
}

/// What there is to tell, for whoever comes next.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Nobody took them.
    pub notices: Vec<Notice>,
    /// There is a run with a webhook: one that has none leaves notices to it.
    pub is_told: bool,
    /// Their receiver has asked to be left alone until then: milliseconds since 1970.
    pub not_before: i64,
}

/// What an earlier run left, taken up.
#[derive(Default)]
pub struct Restored {
    pub left: Left,
    /// The file was damaged and was put aside: which, why and where, in a sentence.
    pub put_aside: Option<String>,
}

/// No more is kept for a webhook that never answers: the newest.
const NOTICES_MOST: usize = 1000;

impl Left {
    pub fn add(&mut self, notices: Vec<Notice>) {
        if self.is_told {
            self.notices.extend(notices);
            let too_many = self.notices.len().saturating_sub(NOTICES_MOST);
            self.notices.drain(..too_many);
        }
    }
}

/// What a crash leaves of what [`StateFile::save`] has written: its beginning, perhaps with zeros behind it, or nothing. Others, too, begin their files with
/// a version.
fn is_ours(bytes: &[u8]) -> bool {
    const BEGINS: &[u8] = b"{\"version\":1,\"at\":";
    let is_nothing = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let length = bytes.iter().rposition(|byte| !is_nothing(byte)).map_or(0, |last| last + 1);
    let written = &bytes[..length];
    written.starts_with(BEGINS) || BEGINS.starts_with(written)
}

impl StateFile {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // One file has one lock, by whatever link it is named; and what is put in its place is the file, not the link.
        StateFile { path: fs::canonicalize(&path).unwrap_or(path) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other runs from the file until what comes back is dropped: each takes up what the one before it left. None where nobody can make a file
    /// beside it: then nothing can be kept there either.
    ///
    /// # Errors
    /// A watch keeps it, or another run has kept it for a minute. `waits` is told for whom that minute is spent.
    pub async fn hold(&self, holder: Holder, waits: impl Fn(&str)) -> Result<Option<fs::File>> {
        if let Some(folder) = self.folder() {
            // Said when it is saved.
            let _ = fs::create_dir_all(folder);
        }
        // Not emptied: who has it says so in it.
        let opened = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.beside("lock"));
        let Ok(mut lock) = opened else { return Ok(None) };
        let began = Instant::now();
        let mut is_said = false;
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    // Who reads it knows no more than that somebody has it, otherwise.
                    let _ = holder.sign(&mut lock);
                    return Ok(Some(lock));
                }
                Err(fs::TryLockError::Error(_)) => return Ok(None),
                Err(fs::TryLockError::WouldBlock) => {}
            }
            let (is_watch, who) = Holder::signed(&mut lock);
            if is_watch || began.elapsed() >= HELD {
                let failure = Failure::new("state_file_in_use", format!("the state file {} is held by {who}", self.path.display()));
                bail!(failure.hint(
                    "Two on one file would tell everything twice. End it, ask it (its page, /api/v1/status), or name another file with \
                     --state-file; --ignore-for keeps nothing."
                ));
            }
            if !is_said && began.elapsed() >= QUIET {
                waits(&format!("waiting for the state file {}, which is held by {who}", self.path.display()));
                is_said = true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn folder(&self) -> Option<&Path> {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty())
    }

    fn beside(&self, end: &str) -> PathBuf {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.path.with_file_name(format!(".{name}.{end}"))
    }

    /// Takes up what an earlier run left for the same target. A file that is damaged is put aside, and all begins anew: that is said, and so is no
    /// good run, but the next one is.
    ///
    /// # Errors
    /// It cannot be read, or not put aside; it is of another target, or another candlefish's: to begin anew would be to forget a firing alert.
    pub fn restore(&self, monitor: &mut Monitor, sampler: &mut Sampler, now: i64, silence: Silence) -> Result<Restored> {
        let unusable = |why: String| {
            Failure::new("bad_state_file", format!("the state file {} cannot be used: {why}", self.path.display()))
                .hint("Remove it to begin anew: alerts that fire now are then told again.")
        };
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Restored::default()),
            // A device or a pipe keeps nothing, and the next save would put a file in its place.
            Ok(found) if !found.is_file() => {
                let failure =
                    Failure::new("bad_state_file", format!("the state file {} cannot be used: it is no file", self.path.display()));
                bail!(failure.hint("Name a file, there or not; --ignore-for keeps nothing."));
            }
            _ => {}
        }
        let bytes = read_bytes(&self.path, STATE_BYTES).map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes);
        // Whatever else somebody has named by mistake, their rules perhaps, stays where it is.
        let damaged = |error: serde_json::Error| match is_ours(&bytes) {
            true => self.put_aside(now, &error.to_string()),
            false => Err(unusable("it is none that candlefish has written".to_string()).into()),
        };
        // Of another version nothing else is known, not even which fields it has.
        match serde_json::from_str(&text) {
            Ok(Versioned { version: VERSION }) => {}
            Ok(Versioned { version }) => return Err(unusable(format!("it has version {version}, not {VERSION}")).into()),
            Err(_) if text.trim().is_empty() => return self.put_aside(now, "it is empty"),
            Err(error) => return damaged(error),
        }
        let saved: Saved = match serde_json::from_str(&text) {
            Ok(saved) => saved,
            Err(error) => return damaged(error),
        };
        if saved.target != monitor.target {
            return Err(unusable(format!("it is of {}, not of {}", saved.target, monitor.target)).into());
        }
        for rule in &monitor.rules {
            if let Some(alert) = saved.alerts.get(&rule.key()) {
                let mut alert = alert.clone();
                if now < saved.at {
                    // The clock was set back.
                    alert.shift(now - saved.at);
                }
                let mut alert = alert.resume(rule, saved.at.min(now), now, silence as i64);
                if let Silence::Outage = silence {
                    alert.was_unwatched(now - saved.at);
                }
                monitor.alerts.insert(rule.key(), alert);
            }
        }
        let named = |name: &str| Source::ALL.into_iter().find(|source| source.name() == name);
        let used = saved.used.into_iter().filter_map(|(rule, name)| Some((rule, named(&name)?)));
        monitor.used.extend(used);
        let measured = METRICS.iter().filter_map(|metric| Some((metric.name, named(saved.measured.get(metric.name)?)?)));
        monitor.measured.extend(measured);
        monitor.missed.extend(saved.missed.into_iter().filter_map(|(name, since)| Some((named(&name)?, since))));
        if now - saved.at < silence as i64 && now >= saved.at {
            monitor.series.restore(saved.series);
            monitor.last = Some(Sample { at: saved.at, ..Sample::default() });
            sampler.carry(saved.counts);
        }
        let left = Left { notices: saved.notices, is_told: saved.is_told, not_before: saved.not_before };
        Ok(Restored { left, put_aside: None })
    }

    /// Under a name of its own, where whoever wants to know more finds it. It keeps its old name too until the first save takes that: a run that is
    /// killed before leaves it to the next, which says so again.
    fn put_aside(&self, now: i64, why: &str) -> Result<Restored> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let time = timestamp(now).replace([':', '-', '.'], "");
        let names = std::iter::once(String::new()).chain((2..).map(|number| format!("-{number}")));
        let aside = names.map(|end| self.path.with_file_name(format!("{name}.damaged-{time}{end}"))).find(|aside| !aside.exists());
        let path = self.path.display();
        let aside = self.aside_already(&name).unwrap_or_else(|| aside.expect("there are more numbers than files"));
        let is_there = aside.exists() || fs::hard_link(&self.path, &aside).is_ok();
        // Not every file system has two names for a file.
        let renamed = if is_there { Ok(()) } else { fs::rename(&self.path, &aside) };
        renamed.map_err(|error| {
            Failure::new(
                "bad_state_file",
                format!("the state file {path} is damaged ({why}), and cannot be renamed to {}: {error}", aside.display()),
            )
            .hint("Remove it to begin anew: alerts that fire now are then told again.")
        })?;
        let said = format!(
            "the state file {path} was damaged ({why}): it is kept as {}, and all begins anew: durations, and alerts that fire are told again",
            aside.display()
        );
        Ok(Restored { left: Left::default(), put_aside: Some(said) })
    }

    /// The other name that a run before has given it.
    fn aside_already(&self, name: &str) -> Option<PathBuf> {
        let same = fs::metadata(&self.path).ok()?;
        let beside = fs::read_dir(self.folder().unwrap_or(Path::new("."))).ok()?.flatten();
        beside
            .filter(|file| file.file_name().to_string_lossy().starts_with(&format!("{name}.damaged-")))
            .find(|file| file.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (same.dev(), same.ino())))
            .map(|file| file.path())
    }

    /// Written whole beside the file, then put in its place: a crash leaves the one or the other.
    ///
    /// # Errors
    /// It cannot be written; and from where the next run goes on.
    pub fn save(&self, monitor: &Monitor, sampler: &Sampler, left: Left) -> Result<()> {
        let saved = Saved {
            version: VERSION,
            at: monitor.last.as_ref().map_or(0, |last| last.at),
            target: monitor.target.clone(),
            alerts: monitor.alerts.clone(),
            used: monitor.used.iter().map(|(rule, source)| (rule.clone(), source.name().to_string())).collect(),
            measured: monitor.measured.iter().map(|(metric, source)| (metric.to_string(), source.name().to_string())).collect(),
            missed: monitor.missed.iter().map(|(source, since)| (source.name().to_string(), *since)).collect(),
            notices: left.notices,
            is_told: left.is_told,
            not_before: left.not_before,
            series: monitor.series.saved(),
            counts: sampler.carried(),
        };
        let beside = self.beside(&std::process::id().to_string());
        let write = || -> Result<()> {
            if let Some(folder) = self.folder() {
                fs::create_dir_all(folder)?;
            }
            let text = serde_json::to_vec(&saved)?;
            if text.len() as u64 > STATE_BYTES {
                // The next run would not read it.
                bail!(too_long(STATE_BYTES));
            }
            let mut file = fs::File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            Ok(fs::rename(&beside, &self.path)?)
        };
        write().map_err(|error| {
            // That of a disk without room is better gone; one that cannot be removed is no other error.
            let _ = fs::remove_file(&beside);
            let kept = fs::metadata(&self.path).and_then(|found| found.modified()).ok().and_then(|at| jiff::Timestamp::try_from(at).ok());
            let then = kept.map_or("there is none yet, and the next run begins anew".to_string(), |at| {
                format!("it is as it was at {}, from where the next run goes on", timestamp(at.as_millisecond()))
            });
            // The remedy is a part of it: Nagios has no other place for one.
            let remedy = "make room there, or name another file with --state-file";
            let why = format!("write the state file {}: {}; {then}; {remedy}", self.path.display(), sentence(&error));
            Failure::new("state_file_not_written", why).into()
        })
    }
}

impl Holder {
    /// Says in the lock who has it.
    fn sign(self, lock: &mut fs::File) -> std::io::Result<()> {
        let word = if self == Holder::Watch { "watch" } else { "once" };
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{word} {} {}", std::process::id(), timestamp(jiff::Timestamp::now().as_millisecond()))
    }

    /// Who has signed: whether it is a watch, and in words.
    fn signed(lock: &mut fs::File) -> (bool, String) {
        let mut text = String::new();
        // Nobody knows who, then.
        let _ = lock.rewind().and_then(|()| lock.take(200).read_to_string(&mut text));
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["watch", process, since] => (true, format!("a watch, process {process}, since {since}")),
            ["once", process, since] => (false, format!("another run, process {process}, since {since}")),
            _ => (false, "another run".to_string()),
        }
    }
}
