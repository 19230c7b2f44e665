//! `candlefish cache`: look into the caches of the registry's application, and make them forget.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};

use crate::cli::Exit;
use crate::cli::settings::{RedisUrl, Settings, say_target};
use crate::model::{Failure, Query, QueryKind, Uuid};
use crate::postgres::Argument;
use crate::registry::queries;
use crate::render::{Format, Table, Ui, csv};
use crate::store::{Call, Explanation, Invalidation, Layers, REDIS_REFUSED, RedisFacts, Store, ToSql, Told};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    task: Task,
}

/// Before the task or behind it.
#[derive(Debug, clap::Args)]
struct At {
    /// PostgreSQL: postgresql://user@host:5432/database, or a list of key=value [default: DATABASE_URL, PG_HOST …, PGHOST …, candlefish.toml, the local stack]
    #[arg(short = 'd', long, value_name = "URL", global = true)]
    to: Option<String>,
    /// PgBouncer: postgresql://user@host:6432/database [default: POOLER_URL, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL", global = true)]
    pooler: Option<String>,
    /// Redis: redis://host:6379 [default: REDIS_URL, REDIS_HOST …, candlefish.toml, the local stack's]
    #[arg(long, value_name = "URL", global = true)]
    redis: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Which key and tags one query has, and whether Redis would answer it
    Explain {
        /// A query of the registry, such as `service` [default: their list]
        query: Option<String>,
        /// Its parameters, in order
        #[arg(allow_negative_numbers = true)]
        parameters: Vec<String>,
        /// Whose answer it is, where the application says so
        #[arg(long, default_value = "", hide_default_value = true)]
        scope: String,
    },
    /// Make every live instance, and Redis, forget
    Invalidate(Invalidate),
    /// Remove every kept answer from Redis and from every live instance
    Flush {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
struct Invalidate {
    #[command(subcommand)]
    whose: Option<Whose>,
    /// What is kept under this tag (repeatable)
    #[arg(long, value_name = "TAG", value_parser = tag, global = true)]
    tag: Vec<String>,
    /// What is kept under every tag that matches: *, ?, [abc]
    #[arg(long, value_name = "GLOB", conflicts_with = "tag", value_parser = tag)]
    pattern: Option<String>,
}

/// What can be a tag: something, and nothing that a terminal would obey.
fn tag(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_string()),
        text if text.chars().any(char::is_control) => Err("it has control characters in it".to_string()),
        text => Ok(text.to_string()),
    }
}

#[derive(Debug, clap::Subcommand)]
enum Whose {
    /// What depends on this user: profile and sessions
    User {
        /// A UUID
        id: Uuid,
    },
    /// What depends on this service: its detail, its metrics, lists and dashboards
    Service { id: i64 },
}

/// How long Redis may take to be heard.
const PATIENCE: Duration = Duration::from_secs(2);

/// One that refuses a question has that long to take another.
const WHILE_REFUSED: Duration = Duration::from_millis(300);

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    if let Task::Explain { query: None, .. } = &args.task {
        return list(ui);
    }
    if let Task::Invalidate(Invalidate { whose: None, tag, pattern: None }) = &args.task
        && tag.is_empty()
    {
        let hint = "Name it: `user ID`, `service ID`, --tag TAG or --pattern GLOB.";
        bail!(Failure::new("usage", "nothing is named that is to be forgotten").hint(hint));
    }
    let (store, redis) = open(&args.at, settings, !matches!(args.task, Task::Explain { .. }), ui).await?;
    match args.task {
        Task::Explain { query, parameters, scope } => explain(&store, &redis, &query.unwrap_or_default(), &parameters, &scope, ui).await,
        Task::Invalidate(what) => invalidate(&store, &redis, what, ui).await,
        Task::Flush { yes } => flush(&store, &redis, yes, ui).await,
    }
}

/// The way that the application goes, so that keys are the application's.
async fn open(at: &At, settings: &Settings, changes: bool, ui: &Ui) -> Result<(Store, RedisUrl)> {
    let address = settings.address(at.to.as_deref(), ui)?;
    if changes {
        say_target(&address, ui);
    }
    let pooler = settings.pooler_beside(at.pooler.as_deref(), &address, ui)?;
    let Some(redis) = settings.redis_beside(at.redis.as_deref(), &address, ui)? else {
        bail!(
            Failure::new("no_redis", "without a Redis there is no shared cache")
                .hint("Name it with --redis redis://host:6379 or REDIS_URL.")
        );
    };
    let mut config = settings.store(address, pooler, Some(&redis))?.layers(Layers::Pooled);
    // A person waits, not a request.
    config.l2_deadline = Duration::from_millis(500);
    config.pool.min = 0;
    Ok((Store::open(config).await.context("open the data layer")?, redis))
}

/// Whether Redis is heard; an error when it says that it lets nobody in.
async fn hears(store: &Store, redis: &RedisUrl) -> Result<bool> {
    let heard = async {
        while !store.has_redis() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // A user who may not ask what Redis is may use it all the same.
    let refused = async {
        match RedisFacts::read(redis.secret()).await {
            Err(error) if error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == REDIS_REFUSED) => {
                tokio::time::sleep(WHILE_REFUSED).await;
                error
            }
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = heard => Ok(true),
        error = refused => Err(error),
        () = tokio::time::sleep(PATIENCE) => Ok(false),
    }
}

fn no_answer() -> Failure {
    Failure::new("redis_unreachable", "Redis does not answer")
        .hint("Is it up, and are its address and password right? `candlefish config` shows them.")
}

fn document(ui: &Ui, name: &str, content: Json) -> Json {
    json!({
        "schema_version": 1,
        "candlefish_version": env!("CARGO_PKG_VERSION"),
        "started_at": ui.started_at.to_string(),
        name: content,
    })
}

fn list(ui: &Ui) -> Result<Exit> {
    let kept: Vec<&Query> = queries::QUERIES.iter().filter(|query| query.kind == QueryKind::Cached).collect();
    let cells = |query: &&Query| [query.name.to_string(), query.params.len().to_string(), query.tags.join(" "), format!("{:?}", query.ttl)];
    let columns = ["query", "parameters", "tags", "ttl"];
    match ui.format {
        Format::Json => {
            let of = |query: &&Query| json!({ "query": query.name, "parameters": query.params.len(), "tags": query.tags, "ttl_ms": query.ttl.as_millis() as u64 });
            ui.print_json(&document(ui, "queries", kept.iter().map(of).collect()))?;
        }
        Format::Csv => ui.print(&csv(&columns, kept.iter().map(cells)))?,
        Format::Table => {
            let mut table = Table::new(&columns);
            kept.iter().for_each(|query| table.push(cells(query)));
            table.print(ui)?;
        }
    }
    Ok(Exit::Good)
}

async fn explain(store: &Store, redis: &RedisUrl, name: &str, parameters: &[String], scope: &str, ui: &Ui) -> Result<Exit> {
    let Some(query) = queries::QUERIES.iter().find(|query| query.name == name) else {
        let names: Vec<&str> = queries::QUERIES.iter().map(|query| query.name).collect();
        bail!(Failure::new("no_query", format!("the registry has no query {name:?}")).hint(format!("It has {}.", names.join(", "))));
    };
    if query.params.len() != parameters.len() {
        let message = format!("query {name:?} takes {} parameters, and {} are given", query.params.len(), parameters.len());
        bail!(Failure::new("usage", message).hint(format!("They are {:?}.", query.params)));
    }
    if !hears(store, redis).await? {
        bail!(no_answer());
    }
    let declared = store.declare(*query)?;
    let values: Vec<Argument<'_>> = parameters.iter().map(|text| Argument::Text(text)).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let explained = store.explain(&declared, &values, &Call { scope, ..Call::default() }).await?;
    show(&explained, query, ui)?;
    Ok(Exit::Good)
}

fn show(explained: &Explanation, query: &Query, ui: &Ui) -> Result<()> {
    let (columns, tags) = (["tag", "state"], explained.tags.iter().map(|tag| [tag.tag.clone(), tag.state.to_string()]));
    let kept = query.kind == QueryKind::Cached;
    // An instance's memory is its own; what this process knows is Redis.
    let (served_by, why) = match query.kind {
        QueryKind::Write => ("database", "a write never goes through a cache; with its COMMIT everything kept under its tags is old"),
        QueryKind::Read => ("database", "its answers are not kept"),
        QueryKind::Cached if explained.in_l2 => ("l2", "Redis has it, and no tag has changed"),
        QueryKind::Cached => ("database", explained.in_l2_why.as_str()),
    };
    match ui.format {
        Format::Json => ui.print_json(&document(
            ui,
            "explanation",
            json!({
                "query": explained.query, "key": kept.then_some(&explained.key), "ttl_ms": kept.then_some(explained.ttl_ms),
                "grace_ms": kept.then_some(explained.grace_ms), "memory": kept && !query.required, "in_l2": kept && explained.in_l2,
                "served_by": served_by, "why": why, "tags": explained.tags,
            }),
        )),
        Format::Csv => ui.print(&csv(&columns, tags)),
        Format::Table => {
            let memory = match query.required {
                true => "never kept in memory: every use is checked in Redis",
                false => "an instance that has it in memory answers by itself, while no tag changes",
            };
            ui.print(&match kept {
                false => format!("query      {}\nanswers    {served_by}: {why}\n\n", explained.query),
                true => format!(
                    "query      {}\nkey        {}\nfresh for  {} s, and {} s more while the database is down\nmemory     {memory}\notherwise  {served_by}: {why}\n\n",
                    explained.query,
                    explained.key,
                    explained.ttl_ms / 1000,
                    explained.grace_ms / 1000,
                ),
            })?;
            let mut table = Table::new(&columns);
            tags.for_each(|cells| table.push(cells));
            table.print(ui)
        }
    }
}

async fn invalidate(store: &Store, redis: &RedisUrl, what: Invalidate, ui: &Ui) -> Result<Exit> {
    let tags = match (what.whose, what.tag) {
        (Some(Whose::User { id }), more) => [queries::user_tags(id), more].concat(),
        (Some(Whose::Service { id }), more) => [queries::service_tags(id), more].concat(),
        (None, tags) => tags,
    };
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    let heard = hears(store, redis).await?;
    let told = match &what.pattern {
        Some(_) if !heard => bail!(no_answer()),
        Some(glob) => store.forget_glob(glob).await?,
        None if heard => store.forget_tags(&names).await?,
        None => {
            // Redis is down: the database takes it, and every instance reads it there within two seconds.
            let invalidation = store.invalidate(&names).await?;
            ui.say("Redis does not answer; the tags are in the outbox, which every live instance replays within 2 s");
            return done(ui, &tags, what.pattern.as_deref(), None, invalidation);
        }
    };
    done(ui, &tags, what.pattern.as_deref(), Some(told), Invalidation::Applied)
}

fn done(ui: &Ui, tags: &[String], pattern: Option<&str>, told: Option<Told>, invalidation: Invalidation) -> Result<Exit> {
    // This process listens too.
    let others = told.map(|told| (told.instances.saturating_sub(1), told.acknowledged.saturating_sub(1)));
    let (instances, acknowledged) = (others.map(|told| told.0), others.map(|told| told.1));
    let tags_changed = told.map(|told| told.tags);
    match ui.format {
        Format::Json => ui.print_json(&document(
            ui,
            "invalidated",
            json!({
                "tags": tags, "pattern": pattern, "tags_changed": tags_changed, "instances": instances, "acknowledged": acknowledged,
                "invalidation": invalidation,
            }),
        ))?,
        _ => {
            let what = pattern.map_or_else(|| tags.join(" "), |pattern| format!("tags like {pattern}: {}", tags_changed.unwrap_or(0)));
            let heard = others.map_or("by way of the outbox".to_string(), |(all, heard)| heard_by(all, heard));
            ui.print(&format!("{what}\n{heard}\n"))?;
        }
    }
    Ok(if instances == acknowledged { Exit::Good } else { Exit::Bad })
}

fn heard_by<N: std::fmt::Display + Default + PartialEq>(instances: N, acknowledged: N) -> String {
    if instances == N::default() {
        "no instance is alive that has any of it in memory; those that come find it gone".to_string()
    } else {
        format!("{acknowledged} of {instances} live instances acknowledged")
    }
}

async fn flush(store: &Store, redis: &RedisUrl, yes: bool, ui: &Ui) -> Result<Exit> {
    if !hears(store, redis).await? {
        bail!(no_answer());
    }
    let count = store.count_kept().await?;
    ui.say(&format!("{count} kept answers in Redis"));
    if !yes && !ui.ask("Remove them, and what every live instance has in memory?").await? {
        bail!(Failure::new("not_confirmed", "nothing was removed").hint("Without a question: candlefish cache flush --yes"));
    }
    let (removed, told) = store.flush().await?;
    let (instances, acknowledged) = (told.instances.saturating_sub(1), told.acknowledged.saturating_sub(1));
    match ui.format {
        Format::Json => {
            ui.print_json(&document(ui, "flushed", json!({ "keys": removed, "instances": instances, "acknowledged": acknowledged })))?
        }
        _ => ui.print(&format!("{removed} removed\n{}\n", heard_by(instances, acknowledged)))?,
    }
    Ok(if instances == acknowledged { Exit::Good } else { Exit::Bad })
}
