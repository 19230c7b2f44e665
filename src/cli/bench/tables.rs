//! `candlefish bench init` and `bench clean`: the tables of the built-in workloads, and all that runs have left.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};

use crate::bench::{self, Filling, KeysRemoval};
use crate::cli::Exit;
use crate::cli::bench::args::{CleanArgs, InitArgs};
use crate::cli::settings::{Settings, say_target};
use crate::model::{Failure, sentence};
use crate::postgres::Address;
use crate::render::{Format, Ui, csv};
use crate::store::OutboxRemoval;

pub async fn init(args: &InitArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    say_target(&address, ui);
    fill(&address, args.scale, Filling::Anew, ui).await?;
    print(ui, json!({ "schema": bench::SCHEMA, "scale": args.scale }))
}

pub async fn fill(address: &Address, scale: u32, filling: Filling, ui: &Ui) -> Result<()> {
    ui.say(&format!("filling schema {} at scale {scale}", bench::SCHEMA));
    bench::init(address, scale, address.origin == "the local stack", filling).await.context("bench init")
}

pub async fn clean(args: &CleanArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    say_target(&address, ui);
    let question = format!("Drop schema {}, and the outbox that runs have made, in {}?", bench::SCHEMA, address.shown());
    if !args.yes && !ui.ask(&question).await? {
        bail!(Failure::new("not_confirmed", "nothing was dropped").hint("Without a question: candlefish bench clean --yes"));
    }
    let redis = settings.fleet_beside(args.redis.as_deref(), None, &address, ui)?;
    let cleaned = bench::clean(&address).await.context("bench clean")?;
    ui.say(if cleaned.schema { "dropped" } else { "there was nothing that bench init made" });
    let outbox = match &cleaned.outbox {
        OutboxRemoval::NotThere => "not_there",
        OutboxRemoval::Removed => {
            ui.say("dropped: the data layer's outbox in schema candlefish, which a run had made");
            "removed"
        }
        OutboxRemoval::Left(why) => {
            ui.say(&format!("left: the data layer's outbox in schema candlefish: {why}"));
            "left"
        }
    };
    let keys = match &redis {
        Some(redis) => match bench::clean_redis(redis).await {
            Ok(KeysRemoval::Removed(count)) => {
                if count > 0 {
                    ui.say(&format!("removed from Redis: {count} keys of runs that were killed"));
                }
                Some(count)
            }
            Ok(KeysRemoval::InUse) => {
                ui.say("left: what runs keep in Redis: one is alive, or was half a minute ago");
                None
            }
            Err(error) => {
                ui.warn(&format!("what runs that were killed have left in Redis stays: {}", sentence(&error)));
                None
            }
        },
        None => None,
    };
    print(ui, json!({ "schema": bench::SCHEMA, "schema_dropped": cleaned.schema, "outbox": outbox, "redis_keys_removed": keys }))
}

/// What was done, for programs; people have been told.
fn print(ui: &Ui, done: Json) -> Result<Exit> {
    let Json::Object(done) = done else { unreachable!("what was done has names") };
    match ui.format {
        Format::Table => {}
        Format::Csv => {
            let header: Vec<&str> = done.keys().map(String::as_str).collect();
            let cell = |value: &Json| match value {
                Json::Null => String::new(),
                Json::String(text) => text.clone(),
                value => value.to_string(),
            };
            ui.print(&csv(&header, [done.values().map(cell)]))?;
        }
        Format::Json => {
            let mut document = json!({
                "schema_version": 1,
                "candlefish_version": env!("CARGO_PKG_VERSION"),
                "started_at": ui.started_at,
            });
            done.into_iter().for_each(|(name, value)| document[name] = value);
            ui.print_json(&document)?;
        }
    }
    Ok(Exit::Good)
}
