//! `candlefish monitor`: once, or sample after sample until told to stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cli::Exit;
use crate::cli::duration::interval;
use crate::cli::settings::{Settings, TargetArgs};
use crate::cli::signals::{or_stopped, until_left};
use crate::model::{Failure, sentence};
use crate::monitor::export::{dashboard, prometheus_rules, promtool_test};
use crate::monitor::{
    Holder, Left, Monitor, Notice, Restored, Rules, Sampler, Script, Server, Silence, StateFile, Status, TOKEN_BYTES, Token, Webhook,
    read_text, tell,
};
use crate::render::Ui;
use crate::render::monitor::{clock, monitor, monitor_tick, nagios, rules_checked, rules_tested};
use crate::render::ui::nagios_unknown;

/// How often, where nobody says.
const INTERVAL: Duration = Duration::from_secs(15);

/// A run of two samples waits only once for who does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A run that somebody waits for tells for so long; the next one tells the rest.
/// Nagios waits for 10 s for all of it.
const TELLING: Duration = Duration::from_secs(5);

const GRAMMAR: &str = "Rules are YAML; the strategy's load as they are:

  interval: 15s
  defaults: {min_samples: 20, on_no_data: unknown}
  alerts:
    slow:
      condition: avg_query_time{app_instance=\"a\"}[2m] > 100ms
      duration: 2m                     # or for:
      keep_firing_for: 5m
      severity: warning                # info, warning, critical
      labels: {team: data}
      annotations: {summary: calls are slow}

Fewer events than min_samples in the window begin no alarm and end none. What they, or none at all, mean else says on_no_data: unknown
(what fires goes on, what pends begins anew, idle is exit 2), hold (the same, but idle is no alarm and exit 0), inactive (no data is the end, as
in Prometheus) or firing. Series that are gone for 5m end an alert; a source that is named and cannot be read leaves it as it is. A window
shorter than the time since the last sample reaches back to it.

Each sample is judged by the first source that has something to judge: instances, PgBouncer (the watched database alone), pg_stat_statements,
pg_stat_database. While one of them is named and cannot be read, those after it may raise an alarm, and end none: they count something else.
An alert that pends or fires keeps the source by which it began. While that one says nothing (Redis was emptied, the application is started
again) and another one would judge, the alert waits: for 5m, as long as Prometheus takes an old value for one of now and longer than either of
those takes. Then it goes on by the other one, and says so (held_until and reason in JSON; two runs of --once that are further apart are enough).
PgBouncer counts a query when it begins and its time when it ends: mean times are of little use where one outlasts the window.

A source that is named, or was read before, and cannot be read for a minute is an alert of its own, whatever the rules are about:
source_unreadable, critical, with the label source (instances, pgbouncer, pg_stat_statements, pg_stat_database). An instance that has ended is
none, nor pg_stat_statements where it never was; while PostgreSQL itself cannot be read, that it is in there is no second one. A rule of that
name takes its place, for other sources, durations, labels, or (with another condition) to do without it:

    source_unreadable: {condition: source_failed{source!=\"instances\"} > 0, duration: 5m, severity: warning}

In annotations {{ $value }} and {{ $labels.NAME }} (alertname, severity, instance and the rule's own) are filled in as Prometheus does it, with
its humanize, humanize1024, humanizeDuration, humanizePercentage and printf \"%.2f\".

Metrics: avg_query_time, p50, p95, p99, cache_hit_ratio, l1_hit_ratio, l2_hit_ratio, pool_usage, error_rate, memory; and
source_failed, which is 0 or 1 for each source, and raises an alert for each.
Units: us, ms, s, m; %; kB, MB, GB, KiB, MiB, GiB.

Exit: 0 nothing fires, 1 an alert fires, 2 something could not be evaluated, or nothing is there that could judge any rule. With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = GRAMMAR)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: WatchArgs,
}

/// What is watched.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// PgBouncer [default: POOLER_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    pub pooler: Option<String>,
    /// Redis, where instances of the data layer describe themselves [default: REDIS_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// The start of the instances' keys in Redis [default: cache.prefix of candlefish.toml, else candlefish]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The rules, as YAML [default: the strategy's four]
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct WatchArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// One sample, and an exit code
    #[arg(long)]
    once: bool,
    /// How often to sample [default: the rules', else 15s]
    #[arg(long, value_name = "SECS", value_parser = interval)]
    interval: Option<Duration>,
    /// What this run leaves for the next, so that --once from cron honours durations; one watch at a time [default: in the user's state folder, by target and rules]
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
    /// Judge each sample alone, whatever durations the rules want; nothing is kept
    #[arg(long, conflicts_with = "state_file")]
    ignore_for: bool,
    /// Serve a page, /metrics and /api/v1/status at this address
    #[arg(long, value_name = "ADDR", conflicts_with = "once")]
    serve: Option<String>,
    /// Who asks the page has to know what is in this file; needed where other machines can ask
    #[arg(long, value_name = "FILE", requires = "serve")]
    token_file: Option<PathBuf>,
    /// Tell alerts here, as Alertmanager's webhooks do
    #[arg(long, value_name = "URL", env = "CANDLEFISH_WEBHOOK", hide_env_values = true)]
    webhook: Option<String>,
    /// One line and a code for Nagios; implies --once
    #[arg(long, conflicts_with = "serve")]
    nagios: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The rules and KPIs for Prometheus and Grafana
    Export(ExportArgs),
    /// Read rules, or try them on scripted series
    #[command(subcommand)]
    Rules(RulesCommand),
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[arg(value_enum)]
    what: Export,
    /// The rules, as YAML [default: the strategy's four]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// promtool-test: the file that the exported rules are in
    #[arg(long, value_name = "FILE", default_value = "candlefish.rules.yaml")]
    rules_file: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Export {
    PrometheusRules,
    GrafanaDashboard,
    PromtoolTest,
}

#[derive(Debug, clap::Subcommand)]
enum RulesCommand {
    /// Read a file of rules; say what is wrong with line and column
    Check {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Run tests in promtool's format, whose rule_files are candlefish's; one that tries nothing is an error
    Test {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub async fn run(args: Args, settings: impl Fn() -> Result<Settings>, ui: &Ui) -> Result<Exit> {
    match args.command {
        Some(Command::Export(args)) => export(&args, ui),
        Some(Command::Rules(command)) => rules(&command, ui),
        None if args.watch.nagios => {
            // Whatever goes wrong is UNKNOWN to Nagios, and never its CRITICAL.
            match or_stopped(Box::pin(async { once(args.watch, &settings()?, ui).await })).await {
                Err(error) => {
                    nagios_unknown(&sentence(&error));
                    Ok(Exit::Code(3))
                }
                Ok(exit) => Ok(exit),
            }
        }
        None if args.watch.once => or_stopped(Box::pin(async { once(args.watch, &settings()?, ui).await })).await,
        None => {
            let mut running = None;
            let watch = async { running.insert(Running::ready(args.watch, &settings()?, ui).await?).go_on(ui).await };
            let ended = until_left(ui, Box::pin(watch)).await;
            // However it ended, and by whom.
            running.iter().for_each(|running| running.end(ui));
            ended
        }
    }
}

fn export(args: &ExportArgs, ui: &Ui) -> Result<Exit> {
    let rules = read_rules(args.rules.as_deref())?;
    match args.what {
        Export::PrometheusRules => ui.print(&prometheus_rules(&rules))?,
        Export::GrafanaDashboard => ui.print_json(&dashboard(&rules))?,
        Export::PromtoolTest => ui.print(&promtool_test(&rules, &args.rules_file))?,
    }
    Ok(Exit::Good)
}

fn rules(command: &RulesCommand, ui: &Ui) -> Result<Exit> {
    match command {
        RulesCommand::Check { file } => {
            rules_checked(ui, &file.display().to_string(), &Rules::read(file)?.rules)?;
            Ok(Exit::Good)
        }
        RulesCommand::Test { file } => {
            let report = Script::read(file)?.run();
            rules_tested(ui, &report)?;
            Ok(if report.failures.is_empty() { Exit::Good } else { Exit::Bad })
        }
    }
}

fn read_rules(file: Option<&Path>) -> Result<Rules> {
    file.map_or_else(|| Ok(Rules::strategy()), Rules::read)
}

/// What a watch stands on.
pub struct Watch {
    pub monitor: Monitor,
    pub sampler: Sampler,
    pub interval: Duration,
    /// Without secrets.
    pub target: String,
    clock: Clock,
}

impl Watch {
    pub fn new(args: &SourceArgs, every: Option<Duration>, settings: &Settings, ui: &Ui) -> Result<Self> {
        let rules = read_rules(args.rules.as_deref())?;
        let address = settings.watched_address(args.target.to.as_deref(), ui)?;
        let target = address.to_string();
        ui.explain(&format!("target: {target} (from {})", address.origin));
        let pooler = settings.pooler_beside(args.pooler.as_deref(), &address, ui)?;
        let fleet = settings.fleet_beside(args.redis.as_deref(), args.namespace.as_deref(), &address, ui)?;
        let written = rules.interval_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let interval = every.or(written).unwrap_or(INTERVAL);
        let mut monitor = Monitor::new(rules, interval.as_millis() as i64, &target);
        monitor.is_live = true;
        Ok(Watch { monitor, sampler: Sampler::new(address, pooler, fleet), interval, target, clock: Clock::new() })
    }

    /// Who could not be read in the last sample is not asked again.
    fn give_up_on_who_failed(&mut self) {
        if let Some(last) = self.monitor.last() {
            self.sampler.give_up_on_who_failed(last);
        }
    }

    /// The next sample, taken in.
    pub async fn step(&mut self) -> (Status, Vec<Notice>) {
        let (at, set_by) = self.clock.read(now_ms(), Instant::now());
        if set_by != 0 {
            self.monitor.shift(set_by);
        }
        let seconds = self.monitor.last().map(|last| (at - last.at) as f64 / 1000.0);
        let sample = self.sampler.sample(at, seconds).await;
        self.monitor.evaluate(sample)
    }
}

/// The time of day as people have it, and by how much it was set since it was last read: that the machine slept, or its clock was wrong, is no time in
/// which anything was watched.
struct Clock {
    at: i64,
    read: Instant,
}

impl Clock {
    /// More than clocks are slewed by.
    const SET_MS: i64 = 5000;

    fn new() -> Self {
        Clock { at: now_ms(), read: Instant::now() }
    }

    /// `at` in milliseconds since 1970, at `now`. Never earlier than before, but by what it was set back.
    fn read(&mut self, at: i64, now: Instant) -> (i64, i64) {
        let expected = self.at + i64::try_from((now - self.read).as_millis()).unwrap_or(i64::MAX);
        let set_by = if (at - expected).abs() > Self::SET_MS { at - expected } else { 0 };
        self.at = if set_by == 0 { at.max(self.at) } else { at };
        self.read = now;
        (self.at, set_by)
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// One run of many, or the only one.
async fn once(args: WatchArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let mut watch = Watch::new(&args.source, args.interval, settings, ui)?;
    watch.monitor.ignore_for = args.ignore_for;
    let webhook = args.webhook.as_deref().map(|url| Webhook::new(url, &watch.target)).transpose()?;
    let file = match args.ignore_for {
        true => None,
        false => Some(state_file(&args, settings, &watch)?),
    };
    let _held = match &file {
        Some(file) => file.hold(Holder::Once, |said| ui.say(said)).await?,
        None => None,
    };
    let Restored { mut left, put_aside } = match &file {
        Some(file) => file.restore(&mut watch.monitor, &mut watch.sampler, now_ms(), Silence::Between)?,
        None => Restored::default(),
    };
    put_aside.iter().for_each(|said| ui.warn(said));
    left.is_told |= webhook.is_some();
    if watch.monitor.last().is_none() {
        // Without an earlier run there is nothing to subtract from.
        let began = Instant::now();
        let (_, notices) = watch.step().await;
        left.add(notices);
        if began.elapsed() > PATIENCE {
            watch.give_up_on_who_failed();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (status, notices) = watch.step().await;
    left.add(notices);
    if let Some(webhook) = webhook.as_ref().filter(|_| !left.notices.is_empty()) {
        if let Some(file) = &file {
            // Whoever ends a job that waits for its receiver ends nothing that was seen; that it cannot be kept is said below.
            let _ = file.save(&watch.monitor, &watch.sampler, left.clone());
        }
        left = tell_until(webhook, left, file.is_some(), ui).await;
    }
    // What was seen is said even so. But without it the next run does not know how long a condition has held, or this one has not known it: that is
    // no good answer.
    let unkept = file.and_then(|file| file.save(&watch.monitor, &watch.sampler, left).err());
    let unkept = unkept.as_ref().map(sentence);
    unkept.iter().for_each(|said| ui.error(said));
    let lost: Vec<String> = put_aside.into_iter().chain(unkept).collect();
    if args.nagios {
        let (line, code) = nagios(&status);
        if code == 0 && !lost.is_empty() {
            nagios_unknown(&lost.join("; "));
            return Ok(Exit::Code(3));
        }
        // What comes after the first line is its long text.
        let lines: Vec<&str> = [line.as_str()].into_iter().chain(lost.iter().map(String::as_str)).collect();
        ui.print(&lines.join("\n"))?;
        return Ok(Exit::Code(code));
    }
    monitor(ui, &status)?;
    Ok(if !status.firing().is_empty() {
        Exit::Bad
    } else if status.unknown().is_empty() && status.is_judged() && lost.is_empty() {
        Exit::Good
    } else {
        Exit::Code(2)
    })
}

/// Tells what there is to tell, and gives back what nobody took and may be taken later; `are_kept` for the next run.
async fn tell_until(webhook: &Webhook, left: Left, are_kept: bool, ui: &Ui) -> Left {
    let (tellers, _) = tokio::sync::watch::channel(left);
    tell(webhook, &tellers, Some(tokio::time::Instant::now() + TELLING), |said| ui.insist(said)).await;
    let left = tellers.borrow().clone();
    say_untold(&left, are_kept, ui);
    left
}

/// Who was to be told, and is not; `are_kept` for the next run.
fn say_untold(left: &Left, are_kept: bool, ui: &Ui) {
    if left.notices.is_empty() {
        return;
    }
    let asked = format!(" (the webhook has asked to be left alone until {})", clock(left.not_before));
    let why = if left.asked_to_wait().is_zero() { "" } else { &asked };
    let names: Vec<String> = left.notices.iter().map(Notice::title).collect();
    let then = if are_kept { "the next run tells them" } else { "without a state file they are lost" };
    ui.insist(&format!("{} not told: {}{why}; {then}", names.len(), names.join(", ")));
}

/// A watch that goes on, with all that it stands on.
struct Running {
    watch: Watch,
    webhook: Option<Webhook>,
    server: Option<Server>,
    file: Option<StateFile>,
    /// Keeps others from the file.
    _held: Option<std::fs::File>,
    /// What there is to tell.
    left: tokio::sync::watch::Sender<Left>,
}

impl Running {
    async fn ready(args: WatchArgs, settings: &Settings, ui: &Ui) -> Result<Self> {
        let mut watch = Watch::new(&args.source, args.interval, settings, ui)?;
        watch.monitor.ignore_for = args.ignore_for;
        let webhook = args.webhook.as_deref().map(|url| Webhook::new(url, &watch.target)).transpose()?;
        let server = match &args.serve {
            None => None,
            Some(address) => {
                let token = args.token_file.as_deref().map(read_token).transpose()?;
                let server = Server::listen(address, token).await?;
                ui.say(&format!("page: http://{}/", server.address));
                Some(server)
            }
        };
        let file = match args.ignore_for {
            true => None,
            false => Some(state_file(&args, settings, &watch)?),
        };
        let held = match &file {
            Some(file) => file.hold(Holder::Watch, |said| ui.say(said)).await?,
            None => None,
        };
        let Restored { left, put_aside } = match &file {
            Some(file) => file.restore(&mut watch.monitor, &mut watch.sampler, now_ms(), Silence::Outage)?,
            None => Restored::default(),
        };
        put_aside.iter().for_each(|said| ui.warn(said));
        let (left, _) = tokio::sync::watch::channel(Left { is_told: left.is_told || webhook.is_some(), ..left });
        Ok(Running { watch, webhook, server, file, _held: held, left })
    }

    async fn go_on(&mut self, ui: &Ui) -> Result<Exit> {
        let Running { watch, webhook, server, file, left, .. } = self;
        // A slow receiver holds up no sample.
        let teller = async {
            match webhook {
                Some(webhook) => tell(webhook, left, None, |said| ui.insist(said)).await,
                None => std::future::pending().await,
            }
        };
        let samples = async {
            let mut ticks = tokio::time::interval(watch.interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut before, mut saved): (Option<Status>, Option<tokio::time::Instant>) = (None, None);
            let (mut lost, mut untold) = (false, 0);
            loop {
                ticks.tick().await;
                let (status, notices) = watch.step().await;
                let is_news = !notices.is_empty() || before.as_ref().is_none_or(|before| states(before) != states(&status));
                if !notices.is_empty() {
                    left.send_modify(|left| left.add(notices));
                }
                if let Some(server) = &server {
                    server.publish(&status, &watch.monitor, watch.interval);
                }
                // News at once, and what has been told, or it would be told again; else now and then, for whoever goes on after a kill.
                let to_tell = left.borrow().notices.len();
                if let Some(file) = &file
                    && (is_news || to_tell != untold || saved.is_none_or(|saved| saved.elapsed() > Duration::from_secs(60)))
                {
                    // A full disk is no reason to stop watching.
                    let kept = file.save(&watch.monitor, &watch.sampler, left.borrow().clone());
                    match &kept {
                        Err(error) if !lost => ui.warn(&format!("{}; the watch goes on without it", sentence(error))),
                        _ => {}
                    }
                    lost = kept.is_err();
                    untold = to_tell;
                    saved = Some(tokio::time::Instant::now());
                }
                if !ui.whole(|| monitor_tick(ui, &status, before.as_ref()))? {
                    return Ok(Exit::Good);
                }
                before = Some(status);
            }
        };
        tokio::select! {
            exit = samples => exit,
            () = teller => Ok(Exit::Good),
        }
    }

    /// What was told since the last sample is not told again, and what was not is said, and told by the next run.
    fn end(&self, ui: &Ui) {
        let left = self.left.borrow().clone();
        // Nothing was seen: what is in the file is still so.
        let file = self.file.as_ref().filter(|_| self.watch.monitor.last().is_some());
        let kept = file.map(|file| file.save(&self.watch.monitor, &self.watch.sampler, left.clone()));
        if let Some(Err(error)) = &kept {
            ui.warn(&sentence(error));
        }
        if self.webhook.is_some() {
            say_untold(&left, self.file.is_some() && !matches!(kept, Some(Err(_))), ui);
        }
    }
}

fn states(status: &Status) -> Vec<crate::monitor::Shown> {
    status.alerts.iter().map(|alert| alert.state).collect()
}

fn read_token(path: &Path) -> Result<Token> {
    let text = read_text(path, TOKEN_BYTES).map_err(|error| {
        Failure::new("token_not_found", format!("read the token from {}: {error}", path.display()))
            .hint("openssl rand -hex 24 > FILE makes one.")
    })?;
    Token::new(&text)
}

/// Where this target's state is kept, with these rules.
fn state_file(args: &WatchArgs, settings: &Settings, watch: &Watch) -> Result<StateFile> {
    if let Some(path) = &args.state_file {
        return Ok(StateFile::at(settings.environment().in_directory(path)));
    }
    let folder = settings.environment().state_folder().context("find the user's state folder")?;
    let rules = args.source.rules.as_ref().map(|path| settings.environment().in_directory(path).display().to_string()).unwrap_or_default();
    // Not by whose Redis answers now: an alert goes on when that is down, or named for the first time.
    let identity = format!("{}\n{rules}\n{}", watch.target, args.source.namespace.as_deref().unwrap_or_default());
    Ok(StateFile::at(folder.join(format!("monitor-{:016x}.json", xxhash_rust::xxh3::xxh3_64(identity.as_bytes())))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_is_slewed_is_not() {
        let began = Instant::now();
        let mut clock = Clock { at: 1_000_000, read: began };
        let mut read = |at: i64, seconds: u64| clock.read(at, began + Duration::from_secs(seconds));
        assert_eq!(read(1_015_000, 15), (1_015_000, 0));
        assert_eq!(read(1_030_900, 30), (1_030_900, 0));
        assert_eq!(read(4_645_900, 45), (4_645_900, 3_600_000));
        assert_eq!(read(1_060_900, 60), (1_060_900, -3_600_000));
        assert_eq!(read(1_060_800, 60), (1_060_900, 0));
    }
}
