//! `candlefish stats`: what a server does, once or sample by sample.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cli::Exit;
use crate::cli::duration::{duration, interval};
use crate::cli::settings::{Settings, TargetArgs};
use crate::model::{Failure, sentence};
use crate::postgres::{Address, Looker, Observer, is_passing};
use crate::render::stats::{Shown, list, sheets};
use crate::render::{Format, Ui};
use crate::stats::{self, Around, Cell, Look, Looking, OVERVIEW, Options, Rates, SHELF, Sheet, Sort, Stat};
use crate::store::FleetPlace;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which statistics [default: the overview]
    #[arg(value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    names: Vec<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// PgBouncer, for pools [default: POOLER_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    pooler: Option<String>,
    /// Redis, for cache and pools [default: REDIS_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// cache, pools: the start of the instances' keys in Redis [default: cache.prefix of candlefish.toml, else candlefish]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// slow-queries: the least mean time, in milliseconds
    #[arg(long, value_name = "MS", value_parser = milliseconds, default_value_t = 100.0)]
    min_ms: f64,
    /// How many rows of a long list; how many more there are is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..), default_value_t = 20)]
    limit: i64,
    /// slow-queries: by what they are ordered
    #[arg(long, value_enum, default_value_t = Sort::Total, value_name = "BY")]
    sort: Sort,
    /// indexes: the least size, in bytes, of an index that is called unused
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    min_size: i64,
    /// indexes: how long scans must have been counted before one is called unused
    #[arg(long, value_name = "SPAN", value_parser = duration, default_value = "1d")]
    min_age: Duration,
    /// What happens in this time, instead of since the statistics began
    #[arg(long, value_name = "SECS", value_parser = interval, conflicts_with = "watch")]
    over: Option<Duration>,
    /// Rates between samples, one every SECS, until told to stop
    #[arg(long, value_name = "SECS", value_parser = interval, num_args = 0..=1, default_missing_value = "2")]
    watch: Option<Duration>,
    /// With --watch: how many times
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Show the literals of statements; else they are ?
    #[arg(long)]
    show_literals: bool,
}

impl Args {
    /// It runs until it is told to stop.
    pub fn goes_on(&self) -> bool {
        self.watch.is_some()
    }
}

/// What a time is compared with: with what is no number nothing compares.
fn milliseconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number of milliseconds"))?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("a number of milliseconds is 0 or more".to_string()) }
}

fn names() -> Vec<PossibleValue> {
    let each = SHELF.iter().map(|stat| PossibleValue::new(stat.name).help(stat.about));
    let more = [PossibleValue::new("all").help("every statistic"), PossibleValue::new("list").help("the names of the statistics")];
    each.chain(more).collect()
}

impl ValueEnum for Sort {
    fn value_variants<'a>() -> &'a [Self] {
        &Sort::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    if args.names.iter().any(|name| name == "list") {
        list(ui, &SHELF)?;
        return Ok(Exit::Good);
    }
    let stats = chosen(&args.names);
    let address = settings.address(args.target.to.as_deref(), ui)?;
    ui.explain(&format!("target: {address} (from {})", address.origin));
    let wants_pooler = stats.iter().any(|stat| stat.name == "pools");
    let pooler = if wants_pooler { settings.pooler_beside(args.pooler.as_deref(), &address, ui)? } else { None };
    let wants_fleet = stats.iter().any(|stat| matches!(stat.name, "pools" | "cache"));
    let fleet = if wants_fleet { settings.fleet_beside(args.redis.as_deref(), args.namespace.as_deref(), &address, ui)? } else { None };
    let options = Options {
        min_ms: args.min_ms,
        limit: args.limit,
        sort: args.sort,
        min_size: args.min_size,
        min_age: args.min_age,
        show_literals: args.show_literals,
        for_rates: args.over.is_some() || args.watch.is_some(),
        with_size: true,
    };
    let neighbours = Neighbours { pooler, fleet };
    let shown = Shown { several: args.names.iter().any(|name| name == "all") || args.names.len() > 1 };
    match (args.watch, args.over) {
        (Some(every), _) => {
            let watching = Watching { address: &address, options: &options, neighbours: &neighbours, stats: &stats, every };
            watching.watch(args.count, &shown, ui).await
        }
        (None, Some(over)) => {
            let mut samples = Samples::new(stats);
            let found = match reach(&address, &neighbours, &samples).await? {
                Reached::Server(observer, _) => {
                    Looking::settle(&observer).await.context(READ)?;
                    samples.take(&observer, &options, &neighbours).await?;
                    tokio::time::sleep(over).await;
                    samples.take(&observer, &options, &neighbours).await?
                }
                Reached::Around(around, error) => {
                    samples.take_around(&around, &error);
                    tokio::time::sleep(over).await;
                    samples.take_around(&neighbours.look().await, &error)
                }
            };
            sheets(ui, &found, &shown)?;
            Ok(exit(&found))
        }
        (None, None) => {
            let samples = Samples::new(stats.clone());
            let found = match reach(&address, &neighbours, &samples).await? {
                Reached::Server(observer, around) => {
                    let look = Look { observer: &observer, options: &options, around: &around, looking: None };
                    observer.together(read_all(stats, &look)).await?
                }
                Reached::Around(around, error) => stats.into_iter().map(|stat| stat.sheet_without_server(&around, &error)).collect(),
            };
            sheets(ui, &found, &shown)?;
            Ok(exit(&found))
        }
    }
}

fn chosen(names: &[String]) -> Vec<&'static Stat> {
    match names {
        [] => vec![OVERVIEW],
        names if names.iter().any(|name| name == "all") => SHELF.to_vec(),
        // clap lets only names of the shelf through.
        names => names.iter().filter_map(|name| stats::find(name)).collect(),
    }
}

async fn read(stat: &'static Stat, look: &Look<'_>) -> Result<Sheet> {
    stat.sheet(look).await.with_context(|| format!("read the statistic {}", stat.name))
}

async fn read_all(stats: Vec<&'static Stat>, look: &Look<'_>) -> Result<Vec<Sheet>> {
    let mut found = Vec::with_capacity(stats.len());
    for stat in stats {
        found.push(read(stat, look).await?);
    }
    Ok(found)
}

fn exit(sheets: &[Sheet]) -> Exit {
    if sheets.iter().all(Sheet::is_available) { Exit::Good } else { Exit::Bad }
}

/// What the server sees of it.
const NAME: &str = "candlefish stats";

const READ: &str = "read the statistics";

/// Who answers.
enum Reached {
    /// And what those around it say.
    Server(Box<Observer>, Around),
    /// The server does not, and why; who stands around it does.
    Around(Around, Error),
}

/// # Errors
/// The server does not answer, nor does anybody around it that was asked about.
async fn reach(address: &Address, neighbours: &Neighbours, samples: &Samples) -> Result<Reached> {
    // At once: each may hang.
    let (observer, around) = tokio::join!(Observer::connect(address, NAME), neighbours.look());
    match observer {
        Ok(observer) => Ok(Reached::Server(Box::new(observer), around)),
        // Who asks for pools and caches while the server is down asks because of it.
        Err(error) if is_passing(&error) && samples.are_known_without_server(&around) => Ok(Reached::Around(around, error)),
        Err(error) => Err(error).context(READ),
    }
}

/// What stands around the server, as far as the chosen statistics are about it.
struct Neighbours {
    pooler: Option<Address>,
    fleet: Option<FleetPlace>,
}

impl Neighbours {
    async fn look(&self) -> Around {
        Around::look(self.pooler.as_ref(), self.fleet.as_ref()).await
    }
}

/// One sample after the other.
struct Watching<'a> {
    address: &'a Address,
    options: &'a Options,
    neighbours: &'a Neighbours,
    stats: &'a [&'static Stat],
    every: Duration,
}

impl Watching<'_> {
    /// A signal is the normal end; a server that goes away is waited for, and meanwhile who stands around it is heard.
    async fn watch(&self, count: Option<u64>, shown: &Shown, ui: &Ui) -> Result<Exit> {
        if ui.format == Format::Csv {
            let failure = Failure::new("usage", "--watch has no csv: each sample would begin a new list");
            bail!(failure.hint("Use --json: one document a line."));
        }
        let mut samples = Samples::new(self.stats.to_vec());
        let mut link = match reach(self.address, self.neighbours, &samples).await? {
            Reached::Server(observer, _) => {
                Looking::settle(&observer).await.context(READ)?;
                Link::Up(observer)
            }
            Reached::Around(_, error) => {
                ui.warn(&format!("{}; connecting again", sentence(&error)));
                Link::Down(Looker::new(NAME))
            }
        };
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Exit::Good;
        let mut taken = 0;
        while count.is_none_or(|count| taken < count) {
            ticks.tick().await;
            let found = match &link {
                Link::Up(observer) => match samples.take(observer, self.options, self.neighbours).await {
                    Ok(found) => found,
                    Err(error) if observer.is_closed() => {
                        ui.warn(&format!("{}; connecting again", sentence(&error)));
                        samples.looking.disconnected(observer);
                        link = Link::Down(observer.looker());
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                Link::Down(looker) => match Observer::connect_again(self.address, NAME, looker.clone()).await {
                    Ok(observer) => {
                        ui.say("connected again");
                        link = Link::Up(Box::new(observer));
                        continue;
                    }
                    Err(error) if is_for_good(&error) => return Err(error).context(READ),
                    // That it does not answer has been said.
                    Err(error) => samples.take_around(&self.neighbours.look().await, &error),
                },
            };
            // Of the first sample there is no rate.
            if found.is_empty() {
                continue;
            }
            taken += 1;
            if !ui.whole(|| shown.tick(ui, &found))? {
                // Nobody reads any more.
                break;
            }
            last = exit(&found);
        }
        Ok(last)
    }
}

/// The connection of a watch.
enum Link {
    Up(Box<Observer>),
    /// Who looks on when there is one again.
    Down(Looker),
}

/// No waiting mends it: the password is another, the database is gone.
fn is_for_good(error: &Error) -> bool {
    const FOR_GOOD: [&str; 4] = ["wrong_password", "no_database", "permission_denied", "tls_failed"];
    error.chain().filter_map(|cause| cause.downcast_ref::<Failure>()).any(|failure| FOR_GOOD.contains(&failure.code))
}

/// Each statistic with its sample before.
struct Samples {
    stats: Vec<(&'static Stat, Rates, Option<Instant>)>,
    looking: Looking,
}

impl Samples {
    fn new(stats: Vec<&'static Stat>) -> Self {
        Samples { stats: stats.into_iter().map(|stat| (stat, Rates::default(), None)).collect(), looking: Looking::default() }
    }

    /// The next sample of each; from the second on, as rates. One transaction: looking is itself among what the server counts.
    async fn take(&mut self, observer: &Observer, options: &Options, neighbours: &Neighbours) -> Result<Vec<Sheet>> {
        let around = neighbours.look().await;
        let Samples { stats, looking } = self;
        let look = Look { observer, options, around: &around, looking: Some(looking) };
        let sample = async {
            looking.begin(observer).await.context("see who looks")?;
            let mut found = take_each(stats, &look).await?;
            looking.end(observer).await.context("see what looking costs")?;
            if looking.is_untold() {
                for sheet in found.iter_mut().filter(|sheet| matches!(sheet.stat, "cache-hit" | "io")) {
                    sheet.notes.push("what this watch itself reads could not be asked for, and is among what is shown".to_string());
                }
            }
            Ok(found)
        };
        observer.together(sample).await
    }

    fn are_known_without_server(&self, around: &Around) -> bool {
        self.stats.iter().any(|(stat, ..)| stat.is_known_without_server(around))
    }

    /// What is known without the server; nothing where nobody around it answers. What the server would say goes on from its last sample.
    fn take_around(&mut self, around: &Around, error: &Error) -> Vec<Sheet> {
        if !self.are_known_without_server(around) {
            return Vec::new();
        }
        let sheet = |(stat, rates, taken): &mut (&'static Stat, Rates, Option<Instant>)| {
            let sheet = stat.sheet_without_server(around, error);
            if !sheet.is_available() { Some(sheet) } else { since_last(stat, rates, taken, sheet) }
        };
        // All of them have begun, or none is shown.
        let sheets: Vec<Option<Sheet>> = self.stats.iter_mut().map(sheet).collect();
        sheets.into_iter().collect::<Option<_>>().unwrap_or_default()
    }
}

/// The sheet with what happened since the last one.
fn since_last(stat: &Stat, rates: &mut Rates, taken: &mut Option<Instant>, sheet: Sheet) -> Option<Sheet> {
    let now = Instant::now();
    let elapsed = taken.replace(now).map(|before| now - before).unwrap_or_default();
    rates.since_last(stat, sheet, elapsed)
}

/// The next sample of each.
async fn take_each(stats: &mut [(&'static Stat, Rates, Option<Instant>)], look: &Look<'_>) -> Result<Vec<Sheet>> {
    let mut found = Vec::with_capacity(stats.len());
    for (stat, rates, taken) in stats {
        let sheet = read(stat, look).await?;
        if let Some(sheet) = since_last(stat, rates, taken, sheet) {
            found.push(choose(sheet, look.options));
        }
    }
    Ok(found)
}

/// Of the rates of all statements, those that were asked for.
fn choose(mut sheet: Sheet, options: &Options) -> Sheet {
    let column = |name: &str| sheet.position(name);
    if sheet.stat == "slow-queries"
        && let (Some(calls), Some(mean), Some(by)) = (column("calls_per_s"), column("mean_ms"), column(options.sort.rate_column()))
        && let Some(rows) = &mut sheet.rows
    {
        let number = |cell: &Cell| cell.number().unwrap_or(0.0);
        rows.retain(|row| number(&row[calls]) > 0.0 && number(&row[mean]) >= options.min_ms);
        rows.sort_by(|a, b| number(&b[by]).total_cmp(&number(&a[by])));
    }
    // Of tables the largest come first.
    if matches!(sheet.stat, "slow-queries" | "tables") {
        sheet.limit(options.limit as usize);
    }
    sheet
}
