//! Where a Redis is, and how to say so without its password.

use std::fmt;

use anyhow::{Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::Failure;

/// A Redis's URL. `Display` and `Debug` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    url: String,
    /// Which source named it.
    pub origin: String,
}

impl RedisUrl {
    /// Takes `redis://`, `rediss://` (TLS), `redis+unix://` and `unix://`. The text is never echoed in the error.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let text = text.trim();
        let rest = ["redis://", "rediss://", "redis+unix://", "unix://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let authority_end = rest.and_then(|rest| rest.find(['/', '?'])).unwrap_or(rest.map_or(0, str::len));
        match rest {
            Some(rest) if !rest.is_empty() && !rest[authority_end..].contains('@') && rest.matches('@').count() <= 1 => {
                Ok(RedisUrl { url: text.to_string(), origin: origin.to_string() })
            }
            _ => bail!(Failure::new("bad_url", format!("read {origin}: the address cannot be read")).hint(
                "A Redis is named like redis://user:password@host:6379/0, where @ : / ? % in a password are written %40 %3A %2F %3F %25."
            )),
        }
    }

    /// Makes a URL of `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD`.
    pub fn of_parts(host: &str, port: Option<&str>, password: Option<&str>, origin: &str) -> Result<Self> {
        let port = match port.unwrap_or("6379").parse::<u16>() {
            Ok(port) => port,
            Err(_) => bail!(Failure::new("bad_setting", "REDIS_PORT is not a port").hint("It must be a number from 1 to 65535.")),
        };
        let credentials = password.map_or(String::new(), |password| format!(":{}@", utf8_percent_encode(password, NON_ALPHANUMERIC)));
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        RedisUrl::parse(&format!("redis://{credentials}{host}:{port}"), origin)
    }

    /// The URL as a client needs it, with its password.
    pub fn secret(&self) -> &str {
        &self.url
    }

    pub fn has_password(&self) -> bool {
        self.shown() != self.url
    }

    /// `redis://app@cache:6379/0`: what can be shown to anyone.
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return String::new() };
        let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
        let address = match address.split_once('@') {
            Some((credentials, host)) => match credentials.split_once(':').map_or(credentials, |(user, _)| user) {
                "" => host.to_string(),
                user => format!("{user}@{host}"),
            },
            None => address.to_string(),
        };
        let query: Vec<&str> = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("pass")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{address}{mark}{}", query.join("&"))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({} from {})", self.shown(), self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_shows_itself_without_its_password() {
        let shown = |text| RedisUrl::parse(text, "--redis").unwrap().shown();
        assert_eq!(shown("redis://:hunter2@cache:6379/0"), "redis://cache:6379/0");
        assert_eq!(shown("rediss://app:hunter2@cache"), "rediss://app@cache");
        assert_eq!(shown("redis+unix:///run/redis.sock?db=1&pass=hunter2"), "redis+unix:///run/redis.sock?db=1");
        assert_eq!(shown("redis://cache"), "redis://cache");
    }

    #[test]
    fn what_cannot_be_read_is_never_echoed() {
        for hostile in ["redis://:hunter2/@cache", "redis://:hunter2@x@cache", "http://hunter2", "hunter2", "redis://"] {
            let error = format!("{:?}", RedisUrl::parse(hostile, "--redis").unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_strategys_parts_make_a_url() {
        let url = RedisUrl::of_parts("cache", Some("6380"), Some("p@ss:w"), "REDIS_HOST").unwrap();
        assert_eq!(url.secret(), "redis://:p%40ss%3Aw@cache:6380");
        assert_eq!(format!("{url:?}"), "RedisUrl(redis://cache:6380 from REDIS_HOST)");
        assert!(RedisUrl::of_parts("cache", Some("x"), None, "REDIS_HOST").is_err());
    }
}
