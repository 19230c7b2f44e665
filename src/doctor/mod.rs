//! Verdicts on a server and what stands around it: each check says what it found, why that matters, and what to do. Read-only.

mod connections;
mod indexes;
mod maintenance;
mod pgbouncer;
mod pool_sums;
mod redis;
mod retained;
mod settings;
mod standby;
mod statements;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::model::{Cell, Name};
use crate::postgres::{Address, Observer, Type};
use crate::stats::{Around, GRANT, Look, Options, Origin, PoolerState, Sheet, Unavailable, explain, find, for_user};
use crate::store::RedisFacts;

/// The shelf, in the order in which one would look.
pub const SHELF: [&Check; 24] = [
    &settings::VERSION,
    &settings::DURABILITY,
    &settings::MEMORY,
    &settings::RESTART,
    &settings::TIMEOUTS,
    &settings::IO_TIMING,
    &tls::TLS,
    &tls::PASSWORDS,
    &statements::STATEMENTS,
    &connections::CONNECTIONS,
    &pool_sums::POOL_SUMS,
    &pgbouncer::MODE,
    &pgbouncer::PGBOUNCER_VERSION,
    &pgbouncer::LIVE,
    &indexes::INVALID,
    &indexes::SUPERFLUOUS,
    &maintenance::AUTOVACUUM,
    &maintenance::STATISTICS,
    &maintenance::WRAPAROUND,
    &maintenance::SEQUENCES,
    &retained::SLOTS,
    &retained::PREPARED,
    &standby::STANDBY,
    &redis::POLICY,
];

/// One question to the server or what is around it.
pub struct Check {
    /// Stable: for `--ignore`, and for programs.
    pub name: &'static str,
    pub about: &'static str,
    pub run: for<'a> fn(&'a Patient<'a>) -> BoxFuture<'a, Result<Found>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It could not be found out; never taken for health.
    Unknown,
    Warning,
    Error,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Unknown => "unknown",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub verdict: Verdict,
    pub value: String,
    pub why: String,
    pub remedy: Option<String>,
}

impl Found {
    fn ok(value: impl Into<String>, why: impl Into<String>) -> Self {
        Found { verdict: Verdict::Ok, value: value.into(), why: why.into(), remedy: None }
    }

    fn of(verdict: Verdict, value: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Found { verdict, value: value.into(), why: why.into(), remedy: Some(remedy.into()) }
    }

    fn warning(value: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Found::of(Verdict::Warning, value, why, remedy)
    }

    fn error(value: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Found::of(Verdict::Error, value, why, remedy)
    }

    fn unknown(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Found::of(Verdict::Unknown, "", why, remedy)
    }

    /// What a statistic says of why it is not there: the reason and the remedy.
    fn lacking(notes: &[String]) -> Self {
        Found::unknown(notes.first().cloned().unwrap_or_default(), notes.get(1).cloned().unwrap_or_default())
    }

    /// Nobody named it, so it was not looked at: no health, and nothing to mend.
    fn not_named(why: impl Into<String>) -> Self {
        Found { verdict: Verdict::Unknown, value: String::new(), why: why.into(), remedy: None }
    }
}

/// A check with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub name: &'static str,
    pub verdict: Verdict,
    pub value: String,
    pub why: String,
    pub remedy: Option<String>,
}

/// What stands around the server: each that is named, with its address and what it says, or why it says nothing. Asked at once, and before the server
/// is: no transaction is open in PostgreSQL while another hangs.
#[derive(Default)]
pub struct Surroundings {
    pub pooler: Option<(Address, Result<PoolerState>)>,
    /// By who named it.
    pub redis: Option<(String, Result<RedisFacts>)>,
}

impl Surroundings {
    /// `redis`: who named it, and its URL.
    pub async fn look(pooler: Option<Address>, redis: Option<(String, &str)>) -> Self {
        let of_pooler = async {
            let pooler = pooler?;
            let said = PoolerState::read(&pooler).await;
            Some((pooler, said))
        };
        let of_redis = async {
            let (origin, url) = redis?;
            Some((origin, RedisFacts::read(url).await))
        };
        let (pooler, redis) = tokio::join!(of_pooler, of_redis);
        Surroundings { pooler, redis }
    }
}

/// What is looked at.
pub struct Patient<'a> {
    pub address: &'a Address,
    pub observer: &'a Observer,
    pub surroundings: &'a Surroundings,
    options: Options,
    /// Statistics are asked of the server alone here.
    around: Around,
    /// Two checks are about it, and of a large catalog it takes long.
    indexes: OnceCell<Sheet>,
    /// Those that this user may see.
    settings: BTreeMap<String, Setting>,
    /// Those that a setting of this user's own hides.
    masked: BTreeSet<String>,
}

/// One of pg_settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub value: String,
    pub unit: Option<String>,
    pub pending_restart: bool,
    pub origin: Origin,
}

impl<'a> Patient<'a> {
    pub async fn admit(address: &'a Address, observer: &'a Observer, surroundings: &'a Surroundings) -> Result<Self> {
        let answer = observer.ask(include_str!("queries/settings.sql"), &[]).await.context("read the settings")?;
        let text = |row: &[Cell], at: usize| row[at].text().map(str::to_string);
        let settings = answer.rows.iter().filter_map(|row| {
            let origin = row[5].text().and_then(Origin::of_source).unwrap_or(Origin::Server);
            let setting = Setting { value: text(row, 1)?, unit: text(row, 2), pending_restart: row[3] == Cell::Bool(true), origin };
            Some((text(row, 0)?, setting))
        });
        // That nothing is slow is no fault.
        let options = Options { min_ms: 0.0, ..Options::default() };
        let mut patient = Patient {
            address,
            observer,
            surroundings,
            options,
            around: Around::default(),
            indexes: OnceCell::new(),
            settings: settings.collect(),
            masked: BTreeSet::new(),
        };
        let own: Vec<&str> = answer.rows.iter().filter(|row| row[4] == Cell::Bool(true)).filter_map(|row| row[0].text()).collect();
        patient.forget(&own).await.context("read the settings of those who have none of their own")?;
        Ok(patient)
    }

    /// What this role or connection has for itself is not what others have: what they have is known from what the database says, or the
    /// server's files, or not at all.
    async fn forget(&mut self, own: &[&str]) -> Result<()> {
        if own.is_empty() {
            return Ok(());
        }
        let said = self.look().server_settings(&own.join(" ")).await?;
        for name in own {
            match (said.iter().find(|said| said.name == *name), self.settings.get_mut(*name)) {
                (Some(said), Some(setting)) => {
                    setting.value.clone_from(&said.value);
                    setting.origin = said.origin;
                }
                _ => {
                    self.settings.remove(*name);
                    self.masked.insert(name.to_string());
                }
            }
        }
        Ok(())
    }

    /// What is said of a setting that this user does not see.
    fn unseen(&self, name: &str) -> Found {
        match self.masked.contains(name) {
            true => Found::unknown(
                format!("what {name} is for others is hidden by a setting of this user's own"),
                "Ask as a superuser, or as a user who has none of his own.",
            ),
            false => Found::unknown("the setting is hidden from this user", GRANT),
        }
    }

    /// What sets it for everybody, where it is set: what says it nearer to a session comes before what the server says.
    fn remedy(&self, name: &str, value: &str) -> String {
        match self.settings.get(name).map(|setting| setting.origin) {
            Some(Origin::Database) => {
                format!("ALTER DATABASE {} SET {name} = {value}; -- then connect anew", Name::new(self.observer.server.database.as_str()))
            }
            Some(Origin::AllRoles) => format!("ALTER ROLE ALL SET {name} = {value}; -- then connect anew"),
            Some(Origin::CommandLine) => format!("-- start the server without -c {name} on its command line, or with another value"),
            Some(Origin::Server) | None => format!("ALTER SYSTEM SET {name} = {value};\nSELECT pg_reload_conf();"),
        }
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str())
    }

    /// A setting that counts memory, in bytes.
    fn bytes(&self, name: &str) -> Option<f64> {
        let setting = self.settings.get(name)?;
        let scale = match setting.unit.as_deref() {
            Some("8kB") => 8192.0,
            Some("kB") => 1024.0,
            Some("MB") => 1_048_576.0,
            _ => 1.0,
        };
        Some(setting.value.parse::<f64>().ok()? * scale)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.setting(name)?.parse().ok()
    }

    /// A statistic of the shelf; one that is unavailable has no rows, which are not to be taken for none.
    async fn sheet(&self, name: &str) -> Result<Sheet> {
        let sheet = self.sheet_or_why(name).await?;
        if !sheet.is_available() {
            let note = |at: usize| sheet.notes.get(at).cloned().unwrap_or_default();
            bail!(Unavailable::new(note(0), note(1)));
        }
        Ok(sheet)
    }

    /// The same for a check to which it says something that there is none.
    async fn sheet_or_why(&self, name: &str) -> Result<Sheet> {
        let stat = find(name).with_context(|| format!("there is no statistic {name}"))?;
        // Every finding is a fault; of the statements some are enough.
        let options = Options { limit: if name == "indexes" { i64::MAX } else { self.options.limit }, ..self.options.clone() };
        stat.sheet(&Look { options: &options, ..self.look() }).await
    }

    fn look(&self) -> Look<'_> {
        Look { observer: self.observer, options: &self.options, around: &self.around, looking: None }
    }

    /// The names that a question of names answers: `a, b, c and 4 more`; and how many.
    async fn names(&self, sql: &str) -> Result<(usize, String)> {
        let answer = self.observer.ask(sql, &[]).await?;
        let names: Vec<&str> = answer.rows.iter().filter_map(|row| row[0].text()).collect();
        Ok((names.len(), few(&names)))
    }

    async fn knows(&self, sql: &str, what: &str) -> Result<bool> {
        let answer = self.observer.ask(sql, &[(&what, Type::TEXT)]).await?;
        Ok(answer.rows.first().and_then(|row| row.first()) == Some(&Cell::Bool(true)))
    }
}

/// A setting that counts memory as PostgreSQL and Redis write it, without a blank: their kB, MB and GB are powers of 1024. Sizes with a blank are decimal
/// everywhere here.
fn as_set(bytes: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes % unit == 0.0) {
        Some((name, unit)) => format!("{:.0}{name}", bytes / unit),
        None => format!("{bytes:.0}"),
    }
}

fn few(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        names if names.len() > 4 => format!("{} and {} more", names[..3].join(", "), names.len() - 3),
        names => names.join(", "),
    }
}

/// Tables that somebody locks exclusively: of them nothing is known.
struct Unseen(Vec<String>);

impl Unseen {
    /// A verdict on what was seen: no healthier, and no more complete, than what is known.
    fn judge(&self, mut found: Found) -> Found {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let (are, tables) = if names.len() == 1 { ("is", "1 table".to_string()) } else { ("are", format!("{} tables", names.len())) };
        let said = format!("{} {are} locked exclusively, and not looked at", few(&names));
        if names.is_empty() {
            return found;
        }
        if found.verdict == Verdict::Ok {
            let remedy = "Ask again; `candlefish stats locks` says who locks them.";
            return Found::unknown(format!("{said}; of the others none was found"), remedy);
        }
        found.value = format!("{}; {tables} not looked at", found.value);
        found.why = format!("{}; {said}", found.why);
        found
    }
}

/// Every check but the ignored. What a server refuses is unknown; only a lost connection is an error.
pub async fn run(patient: &Patient<'_>, ignored: &[String]) -> Result<Vec<Report>> {
    let mut reports = Vec::with_capacity(SHELF.len());
    for check in SHELF.iter().filter(|check| !ignored.iter().any(|name| name == check.name)) {
        let mut found = match (check.run)(patient).await {
            Ok(found) => found,
            Err(error) if patient.observer.is_closed() => return Err(error).with_context(|| format!("check {}", check.name)),
            Err(error) => match explain(&error) {
                Some(lack) => Found::lacking(&lack.notes),
                None => return Err(error).with_context(|| format!("check {}", check.name)),
            },
        };
        // Statistics do not know for whom their remedy is.
        found.remedy = found.remedy.map(|remedy| for_user(&remedy, &patient.observer.server));
        reports.push(Report { name: check.name, verdict: found.verdict, value: found.value, why: found.why, remedy: found.remedy });
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_told_apart() {
        let mut names: Vec<&str> = SHELF.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SHELF.len());
        assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn settings_are_written_as_in_the_files() {
        let said = [134_217_728.0, 65_536.0, 1_073_741_824.0, 1_610_612_736.0, 1000.0, 0.0].map(as_set);
        assert_eq!(said, ["128MB", "64kB", "1GB", "1536MB", "1000", "0"]);
    }
}
