//! The settings of the data layer: `[pool]` and `[cache]` of `candlefish.toml`, over the defaults, which are the strategy's numbers.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::cli::duration::duration;
use crate::cli::settings::{RedisUrl, Settings, file};
use crate::model::Failure;
use crate::postgres::{Address, LOCAL_STACK};
use crate::render::Ui;
use crate::stack::{ServerName, Stack};
use crate::store::{FleetPlace, StoreConfig};

/// One key: what it means, how it is read and shown.
pub struct StoreKey {
    /// `pool.max`
    pub name: &'static str,
    set: fn(&mut StoreConfig, &str) -> Result<(), String>,
    get: fn(&StoreConfig) -> String,
}

macro_rules! number {
    ($name:literal, $($field:ident).+) => {
        StoreKey {
            name: $name,
            set: |config, text| text.parse().map(|number| config.$($field).+ = number).map_err(|_| "must be a whole number".to_string()),
            get: |config| config.$($field).+.to_string(),
        }
    };
}

macro_rules! span {
    ($name:literal, $($field:ident).+) => {
        StoreKey {
            name: $name,
            set: |config, text| duration(text).map(|span| config.$($field).+ = span),
            get: |config| format!("{:?}", config.$($field).+),
        }
    };
}

/// A limit that something is held to: none at all, or less than PostgreSQL counts in, would fail every call, or hold nothing.
macro_rules! limit {
    ($name:literal, $($field:ident).+) => {
        StoreKey { set: |config, text| time_limit(text).map(|span| config.$($field).+ = span), ..span!($name, $($field).+) }
    };
}

pub const KEYS: [StoreKey; 16] = [
    StoreKey {
        set: |config, text| match text.parse() {
            Ok(0) | Err(_) => Err("must be a whole number, 1 or more".to_string()),
            Ok(max) => {
                config.pool.max = max;
                Ok(())
            }
        },
        ..number!("pool.max", pool.max)
    },
    number!("pool.min", pool.min),
    span!("pool.idle_timeout", pool.idle_timeout),
    span!("pool.max_lifetime", pool.max_lifetime),
    limit!("pool.acquire_timeout", pool.acquire_timeout),
    number!("pool.max_waiting", pool.max_waiting),
    span!("pool.reconnect_timeout", pool.reconnect_timeout),
    limit!("pool.statement_timeout", pool.statement_timeout),
    limit!("pool.query_timeout", query_timeout),
    number!("pool.retries", retries),
    StoreKey {
        name: "cache.prefix",
        set: |config, text| match text.trim_end_matches(':') {
            "" => Err("must not be empty".to_string()),
            prefix => {
                config.namespace = prefix.to_string();
                Ok(())
            }
        },
        get: |config| config.namespace.clone(),
    },
    StoreKey {
        name: "cache.l1_bytes",
        set: |config, text| bytes(text).map(|bytes| config.l1_bytes = bytes),
        get: |config| config.l1_bytes.to_string(),
    },
    limit!("cache.l2_deadline", l2_deadline),
    number!("cache.max_entry_bytes", max_entry_bytes),
    StoreKey {
        name: "cache.jitter",
        set: |config, text| match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => {
                config.jitter = share;
                Ok(())
            }
            _ => Err("must be a share from 0 to 1, like 0.1".to_string()),
        },
        get: |config| config.jitter.to_string(),
    },
    number!("cache.schema_epoch", schema_epoch),
];

/// At least the millisecond that PostgreSQL counts in: its 0 is no limit.
fn time_limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        span if span < Duration::from_millis(1) => Err("must be 1ms or more: it is a limit, and there is no word for none".to_string()),
        span => Ok(span),
    }
}

/// `100MB`, `1GB`, `64kB`; a bare number is bytes. 1 MB is 1,048,576 bytes, as in PostgreSQL's settings.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "kB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => 64,
    };
    let number = text[..digits].parse::<u64>().ok().filter(|number| shift < 64 && number.leading_zeros() > shift);
    number.map(|number| number << shift).ok_or_else(|| "must be a size, like 100MB".to_string())
}

/// What the file said of one key.
#[derive(Clone, Debug)]
pub struct Said {
    pub key: usize,
    pub value: String,
}

/// Checks a value where it stands.
pub fn check(key: usize, value: &str) -> Result<(), String> {
    (KEYS[key].set)(&mut StoreConfig::new(Address::parse("postgresql://localhost/x", "a check").map_err(|error| error.to_string())?), value)
}

impl Settings {
    /// What a store is opened with: PostgreSQL through `pooler` where there is one, the shared cache at `redis`, and the file's settings.
    pub fn store(&self, address: Address, pooler: Option<Address>, redis: Option<&RedisUrl>) -> Result<StoreConfig> {
        let mut config = StoreConfig::new(match pooler {
            Some(pooler) => {
                // What the target's sessions are to have, the pooler's transactions have too, where its own address does not say otherwise.
                let (target, mut pooler) = (address.with_options_as_settings()?, pooler.with_options_as_settings()?);
                let of_target = target.session.into_iter().filter(|(name, _)| pooler.session.iter().all(|(said, _)| said != name));
                let of_target: Vec<(String, String)> = of_target.collect();
                pooler.session.splice(0..0, of_target);
                pooler
            }
            None => address,
        });
        config.redis = redis.map(|redis| redis.secret().to_string());
        for said in &self.file.store {
            if let Err(why) = (KEYS[said.key].set)(&mut config, &said.value) {
                bail!(Failure::new("bad_settings_file", format!("{} in {}: {why}", KEYS[said.key].name, self.file_name())));
            }
        }
        if config.pool.min > config.pool.max {
            let message = format!("pool.min is {} and pool.max is {}", config.pool.min, config.pool.max);
            bail!(Failure::new("bad_setting", message).hint("The floor of a pool is at most its size."));
        }
        Ok(config)
    }

    /// The Redis that is named; else the local stack's, for the local stack's PostgreSQL. Says so when there is none.
    pub fn redis_beside(&self, flag: Option<&str>, target: &Address, ui: &Ui) -> Result<Option<RedisUrl>> {
        let redis = self.find_redis_beside(flag, target, ui)?;
        if redis.is_none() {
            ui.say("no Redis is named: there is no L2");
        }
        Ok(redis)
    }

    /// Where the application's instances describe themselves, where a Redis is named: under this prefix, else the file's.
    pub fn fleet_beside(&self, redis: Option<&str>, prefix: Option<&str>, target: &Address, ui: &Ui) -> Result<Option<FleetPlace>> {
        let Some(redis) = self.find_redis_beside(redis, target, ui)? else { return Ok(None) };
        let namespace = match prefix {
            Some(prefix) => prefix.to_string(),
            None => self.store(target.clone(), None, None)?.namespace,
        };
        Ok(Some(FleetPlace { url: redis.secret().to_string(), origin: redis.origin, namespace }))
    }

    /// The same without that word: for who only looks.
    pub fn find_redis_beside(&self, flag: Option<&str>, target: &Address, ui: &Ui) -> Result<Option<RedisUrl>> {
        if let Some(redis) = self.redis(flag)? {
            let is_anothers = flag.is_none() && self.is_anothers(&redis.origin, "--redis", target, ui);
            return Ok(Some(redis).filter(|_| !is_anothers));
        }
        let stack = Stack::locate()?;
        if let Some(addresses) = stack.addresses()?.filter(|_| target.origin == LOCAL_STACK)
            && stack.has(ServerName::Redis)?
        {
            return RedisUrl::parse(&addresses.redis_url(), LOCAL_STACK).map(Some);
        }
        Ok(None)
    }

    /// Every key of the data layer: its value in force, and whether the file said it.
    pub fn store_settings(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let config = self.store(Address::parse("postgresql://localhost/x", "a check")?, None, None)?;
        let is_said = |key: usize| self.file.store.iter().any(|said| said.key == key);
        Ok(KEYS.iter().enumerate().map(|(at, key)| (key.name, (key.get)(&config), is_said(at))).collect())
    }
}

/// The key of this name, for the file.
pub fn find(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

/// Every key that the file may hold.
pub fn names() -> impl Iterator<Item = &'static str> {
    file::ADDRESSES.iter().copied().chain(KEYS.iter().map(|key| key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [("100MB", Ok(100 << 20)), ("1GB", Ok(1 << 30)), ("64kB", Ok(65_536)), ("7", Ok(7)), ("0", Ok(0))] {
            assert_eq!(bytes(text), size, "{text}");
        }
        for text in ["", "MB", "1TB", "-1", "99999999999999999999", "99999999999GB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_would_fail_every_call_or_hold_nothing_is_refused() {
        let why = |name: &str, value: &str| check(find(name).unwrap(), value).err();
        for limit in ["pool.acquire_timeout", "pool.statement_timeout", "pool.query_timeout", "cache.l2_deadline"] {
            assert!(why(limit, "0").is_some_and(|why| why.starts_with("must be 1ms or more")), "{limit}");
            assert_eq!(why(limit, "1ms"), None);
        }
        for share in ["5", "-0.1", "1.01", "NaN", "inf", "much"] {
            assert_eq!(why("cache.jitter", share).as_deref(), Some("must be a share from 0 to 1, like 0.1"), "{share}");
        }
        assert_eq!((why("cache.jitter", "0"), why("cache.jitter", "1")), (None, None));
        assert!(why("pool.max", "0").is_some() && why("pool.max", "1").is_none());
        // None of these is a limit.
        assert_eq!((why("pool.min", "0"), why("pool.reconnect_timeout", "0"), why("cache.l1_bytes", "0")), (None, None, None));
    }

    #[test]
    fn the_defaults_are_the_strategys() {
        let config = StoreConfig::new(Address::parse("postgresql://localhost/x", "a test").unwrap());
        let shown: Vec<String> = KEYS.iter().map(|key| format!("{}={}", key.name, (key.get)(&config))).collect();
        assert_eq!(
            shown.join(" "),
            "pool.max=20 pool.min=5 pool.idle_timeout=30s pool.max_lifetime=1800s pool.acquire_timeout=60s pool.max_waiting=1000 \
             pool.reconnect_timeout=5s pool.statement_timeout=30s pool.query_timeout=60s pool.retries=3 cache.prefix=candlefish cache.l1_bytes=104857600 \
             cache.l2_deadline=15ms cache.max_entry_bytes=1048576 cache.jitter=0.1 cache.schema_epoch=0"
        );
    }
}
