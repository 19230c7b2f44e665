//! `candlefish doctor`: verdicts, and an exit code for CI.

use anyhow::{Context as _, Result};
use clap::builder::PossibleValue;
use futures_util::FutureExt as _;

use crate::cli::Exit;
use crate::cli::settings::{Settings, TargetArgs};
use crate::doctor::{Patient, SHELF, Surroundings, Verdict, run as examine};
use crate::postgres::Observer;
use crate::render::{Ui, doctor};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// PgBouncer [default: POOLER_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    pooler: Option<String>,
    /// Redis [default: REDIS_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Leave this check out (repeatable)
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    ignore: Vec<String>,
    /// Exit 1 from this verdict on
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "VERDICT")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    Error,
    Warning,
}

fn names() -> Vec<PossibleValue> {
    SHELF.iter().map(|check| PossibleValue::new(check.name).help(check.about)).collect()
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    ui.explain(&format!("target: {address} (from {})", address.origin));
    let pooler = settings.pooler_beside(args.pooler.as_deref(), &address, ui)?;
    let redis = settings.find_redis_beside(args.redis.as_deref(), &address, ui)?;
    let around = Surroundings::look(pooler, redis.as_ref().map(|redis| (redis.origin.clone(), redis.secret())));
    // At once: each may hang.
    let (observer, surroundings) =
        tokio::try_join!(Observer::connect(&address, "candlefish doctor"), around.map(Ok)).context("examine the server")?;
    // One transaction: looking is itself among what the server counts, and no application's traffic.
    let examined = async {
        let patient = Patient::admit(&address, &observer, &surroundings).await?;
        examine(&patient, &args.ignore).await
    };
    let reports = observer.together(examined).await?;
    doctor(ui, &reports)?;
    let least = if args.fail_on == FailOn::Warning { Verdict::Warning } else { Verdict::Error };
    Ok(if reports.iter().any(|report| report.verdict >= least) { Exit::Bad } else { Exit::Good })
}
