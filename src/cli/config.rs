//! `candlefish config`: every setting and where it came from, secrets masked.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::cli::Exit;
use crate::cli::settings::{RedisUrl, Settings, Target, TargetArgs};
use crate::postgres::Address;
use crate::render::{Format, Table, Ui, csv};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Redis: redis://host:6379 [default: REDIS_URL, REDIS_HOST …, candlefish.toml]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// PgBouncer: postgresql://user@host:6432/database [default: POOLER_URL, candlefish.toml]
    #[arg(long, value_name = "URL")]
    pooler: Option<String>,
    /// The settings of the strategy's DatabaseConfig and QueryOptions: the key of each here, or why there is none
    #[arg(long)]
    strategy: bool,
}

/// The strategy's settings, and the key of each; in words where it is no key of a file.
const STRATEGY: [(&str, &str); 27] = [
    ("postgresql.host", "target, pooler"),
    ("postgresql.port", "target, pooler"),
    ("postgresql.database", "target.dbname"),
    ("postgresql.user", "target.user"),
    ("postgresql.password", "target.password"),
    ("postgresql.max", "pool.max"),
    ("postgresql.min", "pool.min"),
    ("postgresql.idle", "pool.idle_timeout"),
    ("postgresql.acquire", "pool.acquire_timeout"),
    ("postgresql.evict", "none: connections are looked over once a second, which costs nothing that a setting could save"),
    ("postgresql.statement_timeout", "pool.statement_timeout"),
    ("postgresql.query_timeout", "pool.query_timeout"),
    ("postgresql.application_name", "target.application_name"),
    ("redis.host", "redis"),
    ("redis.port", "redis"),
    ("redis.password", "redis.password"),
    ("redis.keyPrefix", "cache.prefix"),
    ("redis.retryDelayOnFailover", "none: the link to Redis is made anew every 0.1 s in the background; no call waits for it"),
    ("redis.maxRetriesPerRequest", "none: a call gives Redis cache.l2_deadline once, then asks the database"),
    ("redis.lazyConnect", "none: the link is always made in the background, and its absence is no error"),
    ("query.cache", "Query::cached or Query::read, where the query is declared; Call::fresh, in one call"),
    ("query.cacheTTL", "Query::ttl; Call::ttl"),
    ("query.cacheKey", "Call::scope: a part of the key, never all of it, or two queries could share one"),
    ("query.timeout", "Query::timeout, pool.statement_timeout; Call::deadline"),
    ("query.retries", "pool.retries; Call::retries"),
    ("query.trace", "Call::trace"),
    ("databases of the pooler", "candlefish pgbouncer config"),
];

/// One setting, as anyone may see it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Setting {
    setting: String,
    /// None: not set. A secret is `***`.
    value: Option<String>,
    from: Option<String>,
}

pub fn run(args: &Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let started_at = jiff::Timestamp::now();
    let list = list(args, settings, ui)?;
    if args.strategy {
        return of_strategy(&list, &started_at, ui);
    }
    let cells = |setting: &Setting, unset: &str| {
        [Some(&setting.setting), setting.value.as_ref(), setting.from.as_ref()].map(|cell| cell.map_or(unset, String::as_str).to_string())
    };
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": started_at.to_string(),
            "settings": list,
        }))?,
        Format::Csv => ui.print(&csv(&["setting", "value", "from"], list.iter().map(|setting| cells(setting, ""))))?,
        Format::Table => {
            let mut table = Table::new(&["setting", "value", "from"]);
            list.iter().for_each(|setting| table.push(cells(setting, "-")));
            table.print(ui)?;
        }
    }
    Ok(Exit::Good)
}

/// The strategy's settings with what is in force here.
fn of_strategy(list: &[Setting], started_at: &jiff::Timestamp, ui: &Ui) -> Result<Exit> {
    let value = |key: &str| {
        let key = key.split([',', ';']).find(|key| list.iter().any(|setting| setting.setting == key.trim()))?;
        list.iter().find(|setting| setting.setting == key.trim())?.value.clone()
    };
    let rows: Vec<[String; 3]> = STRATEGY
        .iter()
        .map(|(setting, key)| [setting.to_string(), key.to_string(), value(key).unwrap_or_else(|| "-".to_string())])
        .collect();
    let columns = ["strategy", "here", "value"];
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": started_at.to_string(),
            "strategy": STRATEGY.iter().map(|(setting, key)| json!({ "setting": setting, "here": key, "value": value(key) })).collect::<Vec<_>>(),
        }))?,
        Format::Csv => ui.print(&csv(&columns, rows.iter()))?,
        Format::Table => {
            let mut table = Table::new(&columns);
            rows.into_iter().for_each(|cells| table.push(cells));
            table.print(ui)?;
        }
    }
    Ok(Exit::Good)
}

/// A row a setting: those that the code heeds today.
fn list(args: &Args, settings: &Settings, ui: &Ui) -> Result<Vec<Setting>> {
    let mut list = vec![match settings.file() {
        Some(file) => set("config", file.display(), "the file itself"),
        None => unset("config", None),
    }];
    let mut beside = None;
    match settings.target(args.target.to.as_deref(), ui)? {
        Target::Address(address) => list.extend(of_address("target", &address)),
        // What commands then use.
        Target::LocalStack => match settings.address(None, ui) {
            Ok(address) => {
                list.extend(of_address("target", &address));
                beside = Some(address);
            }
            Err(_) => list.push(unset("target", Some("the local stack, when it is up"))),
        },
    }
    let pooler = match &beside {
        Some(target) => settings.pooler_beside(args.pooler.as_deref(), target, ui)?,
        None => settings.pooler(args.pooler.as_deref(), ui)?,
    };
    match pooler {
        Some(address) => list.extend(of_address("pooler", &address)),
        None => list.push(unset("pooler", None)),
    }
    let redis = match &beside {
        Some(target) => settings.find_redis_beside(args.redis.as_deref(), target, ui)?,
        None => settings.redis(args.redis.as_deref())?,
    };
    match redis {
        Some(url) => list.extend(of_redis(&url)),
        None => list.push(unset("redis", None)),
    }
    let origin = |is_said| if is_said { settings.file_name() } else { "default" };
    list.extend(settings.store_settings()?.into_iter().map(|(name, value, is_said)| set(name, value, origin(is_said))));
    Ok(list)
}

fn of_address(name: &str, address: &Address) -> Vec<Setting> {
    let mut list = vec![set(name, address.shown(), &address.origin)];
    let origin = |parameter: &str| address.parameters.origin(parameter).unwrap_or("default").to_string();
    for parameter in ["user", "dbname"] {
        let value = address.parameters.get(parameter).unwrap_or_default();
        list.push(set(&format!("{name}.{parameter}"), value, &origin(parameter)));
    }
    list.push(match address.config.get_password() {
        Some(_) => set(&format!("{name}.password"), MASK, &origin("password")),
        None => unset(&format!("{name}.password"), None),
    });
    list.push(set(&format!("{name}.sslmode"), address.tls.mode, &origin("sslmode")));
    if let Some(file) = address.parameters.get("sslrootcert") {
        list.push(set(&format!("{name}.sslrootcert"), file, &origin("sslrootcert")));
    }
    let seconds = address.config.get_connect_timeout().map_or(0, std::time::Duration::as_secs);
    list.push(set(&format!("{name}.connect_timeout"), format!("{seconds} s"), &origin("connect_timeout")));
    let application = address.config.get_application_name().unwrap_or_default();
    list.push(set(&format!("{name}.application_name"), application, &origin("application_name")));
    list
}

fn of_redis(url: &RedisUrl) -> Vec<Setting> {
    let mut list = vec![set("redis", url.shown(), &url.origin)];
    if url.has_password() {
        let origin = if url.origin == "REDIS_HOST" { "REDIS_PASSWORD" } else { &url.origin };
        list.push(set("redis.password", MASK, origin));
    }
    list
}

const MASK: &str = "***";

fn set(setting: &str, value: impl ToString, from: &str) -> Setting {
    Setting { setting: setting.to_string(), value: Some(value.to_string()), from: Some(from.to_string()) }
}

fn unset(setting: &str, from: Option<&str>) -> Setting {
    Setting { setting: setting.to_string(), value: None, from: from.map(str::to_string) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Environment;
    use crate::render::ColorChoice;

    #[test]
    fn every_setting_says_where_it_came_from_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::new(
            folder.path(),
            [
                ("DATABASE_URL", "postgresql://app@db/shop"),
                ("PGPASSWORD", "hunter2"),
                ("PGSSLMODE", "require"),
                ("REDIS_HOST", "cache"),
                ("REDIS_PASSWORD", "hunter3"),
            ],
        );
        let settings = Settings::load(environment, None).unwrap();
        let args = Args {
            strategy: false,
            target: TargetArgs::default(),
            redis: None,
            pooler: Some("postgresql://app:hunter4@bouncer:6432/shop".to_string()),
        };
        let ui = Ui::new(Format::Table, ColorChoice::Never, true, 0);
        let rows: Vec<String> = list(&args, &settings, &ui)
            .unwrap()
            .iter()
            .map(|s| format!("{} = {} ({})", s.setting, s.value.as_deref().unwrap_or("-"), s.from.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            rows.join("\n"),
            "config = - (-)\n\
             target = postgresql://app@db:5432/shop (DATABASE_URL)\n\
             target.user = app (DATABASE_URL)\n\
             target.dbname = shop (DATABASE_URL)\n\
             target.password = *** (PGPASSWORD)\n\
             target.sslmode = require (PGSSLMODE)\n\
             target.connect_timeout = 10 s (default)\n\
             target.application_name = candlefish (default)\n\
             pooler = postgresql://app@bouncer:6432/shop (--pooler)\n\
             pooler.user = app (--pooler)\n\
             pooler.dbname = shop (--pooler)\n\
             pooler.password = *** (--pooler)\n\
             pooler.sslmode = require (PGSSLMODE)\n\
             pooler.connect_timeout = 10 s (default)\n\
             pooler.application_name = candlefish (default)\n\
             redis = redis://cache:6379 (REDIS_HOST)\n\
             redis.password = *** (REDIS_PASSWORD)\n\
             pool.max = 20 (default)\n\
             pool.min = 5 (default)\n\
             pool.idle_timeout = 30s (default)\n\
             pool.max_lifetime = 1800s (default)\n\
             pool.acquire_timeout = 60s (default)\n\
             pool.max_waiting = 1000 (default)\n\
             pool.reconnect_timeout = 5s (default)\n\
             pool.statement_timeout = 30s (default)\n\
             pool.query_timeout = 60s (default)\n\
             pool.retries = 3 (default)\n\
             cache.prefix = candlefish (default)\n\
             cache.l1_bytes = 104857600 (default)\n\
             cache.l2_deadline = 15ms (default)\n\
             cache.max_entry_bytes = 1048576 (default)\n\
             cache.jitter = 0.1 (default)\n\
             cache.schema_epoch = 0 (default)"
        );
    }

    /// Every setting of the strategy has its line, and every key that a line names is one.
    #[test]
    fn every_setting_of_the_strategy_has_its_key_or_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let environment =
            Environment::new(folder.path(), [("DATABASE_URL", "postgresql://app:x@db/shop"), ("REDIS_URL", "redis://:x@cache")]);
        let settings = Settings::load(environment, None).unwrap();
        let args = Args { strategy: true, target: TargetArgs::default(), redis: None, pooler: Some("postgresql://p/shop".to_string()) };
        let known = list(&args, &settings, &Ui::new(Format::Table, ColorChoice::Never, true, 0)).unwrap();
        for (setting, key) in STRATEGY {
            let in_code = ["Query::", "Call::", "none: ", "candlefish "].iter().any(|start| key.starts_with(start));
            for key in key.split([',', ';']).map(str::trim).filter(|_| !in_code) {
                let is_key = known.iter().any(|known| known.setting == key) || key.starts_with("Call::");
                assert!(is_key, "{setting}: {key} is no setting");
            }
        }
        let of = |part: &str| STRATEGY.iter().filter(|(setting, _)| setting.starts_with(part)).count();
        assert_eq!((of("postgresql."), of("redis."), of("query.")), (13, 7, 6));
    }
}
