//! What an address says, word by word: libpq's parameters, each with the source that gave it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};

use crate::model::Failure;

/// The parameters of libpq that candlefish understands.
pub const KNOWN: [&str; 27] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What an address looks like, for hints.
pub const SHAPE: &str = "An address looks like postgresql://user:password@host:5432/database, where @ : / ? % in a name or password are written %40 %3A %2F %3F %25.";

/// libpq's parameters by name. `Debug` never shows the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<&'static str, Parameter>);

#[derive(Clone, PartialEq, Eq)]
struct Parameter {
    value: String,
    origin: String,
}

impl Parameters {
    /// Reads a URL (`postgresql://…`, `postgres://…`) or a `key=value` list. The text is never echoed in an error.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut parameters = Parameters::default();
        let text = text.trim();
        match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
            Some(rest) => parameters.read_url(rest, origin)?,
            None if text.contains("://") => bail!(unreadable("it does not begin with postgresql://")),
            None if text.contains('=') => parameters.read_list(text, origin)?,
            None => bail!(unreadable("it is neither a URL nor a list of key=value")),
        }
        Ok(parameters)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|parameter| parameter.value.as_str())
    }

    /// Which source gave this parameter.
    pub fn origin(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|parameter| parameter.origin.as_str())
    }

    /// Sets a parameter by libpq's name for it; an unknown name is an error that says the name and nothing else.
    pub fn set(&mut self, name: &str, value: &str, origin: &str) -> Result<()> {
        let (name, value) = match (name, value) {
            // Java's spelling, which libpq reads too.
            ("ssl", "true") => ("sslmode", "require"),
            // tokio-postgres's word for it.
            ("keepalives_retries", _) => ("keepalives_count", value),
            _ => (name, value),
        };
        let Some(known) = KNOWN.iter().find(|known| **known == name) else {
            return Err(unknown(name));
        };
        if value.contains('\0') {
            bail!(Failure::new("bad_url", format!("{known:?} of the address has a zero byte")).hint(SHAPE));
        }
        self.0.insert(known, Parameter { value: value.to_string(), origin: origin.to_string() });
        Ok(())
    }

    /// Sets a parameter that nothing has set.
    pub fn set_default(&mut self, name: &str, value: &str, origin: &str) -> Result<()> {
        if self.0.contains_key(name) { Ok(()) } else { self.set(name, value, origin) }
    }

    /// True when these say where a server is: by host, socket or service.
    pub fn name_a_server(&self) -> bool {
        ["host", "hostaddr", "service"].iter().any(|name| self.get(name).is_some_and(|value| !value.is_empty()))
    }

    /// All that is set, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        self.0.iter().map(|(name, parameter)| (*name, parameter.value.as_str(), parameter.origin.as_str()))
    }

    fn read_url(&mut self, rest: &str, origin: &str) -> Result<()> {
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        // A password with a bare / or ? would otherwise be taken for a database or a parameter, and be shown.
        if tail.contains('@') {
            bail!(unreadable("it has an @ behind the host"));
        }
        let hosts = match authority.split_once('@') {
            Some((credentials, hosts)) => {
                self.read_credentials(credentials, origin)?;
                hosts
            }
            None => authority,
        };
        if hosts.contains('@') {
            bail!(unreadable("it has more than one @"));
        }
        self.read_hosts(hosts, origin)?;
        let dbname = decode(path.trim_start_matches('/'), "database")?;
        if !dbname.is_empty() {
            self.set("dbname", &dbname, origin)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                bail!(unreadable("a parameter behind the ? has no value"));
            };
            self.set(&decode(name, "parameter's name")?, &decode(value, "parameter")?, origin)?;
        }
        Ok(())
    }

    fn read_credentials(&mut self, credentials: &str, origin: &str) -> Result<()> {
        let (user, password) = credentials.split_once(':').map_or((credentials, None), |(user, password)| (user, Some(password)));
        if !user.is_empty() {
            self.set("user", &decode(user, "user")?, origin)?;
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            self.set("password", &decode(password, "password")?, origin)?;
        }
        Ok(())
    }

    fn read_hosts(&mut self, hosts: &str, origin: &str) -> Result<()> {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
            let (name, port) = match host.strip_prefix('[') {
                Some(bracketed) => match bracketed.split_once(']') {
                    Some((name, "")) => (name, ""),
                    Some((name, port)) if port.starts_with(':') => (name, &port[1..]),
                    _ => bail!(unreadable("the [ of an IPv6 address is not closed")),
                },
                None => host.split_once(':').unwrap_or((host, "")),
            };
            names.push(decode(name, "host")?);
            ports.push(decode(port, "port")?);
        }
        if names.iter().any(|name| !name.is_empty()) {
            self.set("host", &names.join(","), origin)?;
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("port", &ports.join(","), origin)?;
        }
        Ok(())
    }

    /// `host=db password='it\'s'`: values end at a blank unless quoted; a backslash takes the next character as it is.
    fn read_list(&mut self, text: &str, origin: &str) -> Result<()> {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let Some((name, value)) = rest.split_once('=') else {
                bail!(unreadable("a word of the list has no value"));
            };
            let name = name.trim_end();
            let mut characters = value.trim_start().chars();
            let quoted = characters.as_str().starts_with('\'');
            if quoted {
                characters.next();
            }
            let mut value = String::new();
            loop {
                match characters.next() {
                    Some('\'') if quoted => break,
                    Some(blank) if !quoted && blank.is_whitespace() => break,
                    Some('\\') => value.extend(characters.next()),
                    Some(character) => value.push(character),
                    None if quoted => bail!(unreadable("a quote is not closed")),
                    None => break,
                }
            }
            // Such a name may be the rest of a password: it is not said.
            if self.get("password").is_some() && !KNOWN.contains(&name) {
                bail!(unreadable("a name behind the password is unknown (a password with blanks stands in quotes)"));
            }
            self.set(name, &value, origin)?;
            rest = characters.as_str().trim_start();
        }
        Ok(())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `options` may carry anything, a secret among it.
        let shown = |name, value| if matches!(name, "password" | "options") { "…" } else { value };
        f.debug_map().entries(self.iter().map(|(name, value, _)| (name, shown(name, value)))).finish()
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::new("bad_url", format!("the address cannot be read: {why}")).hint(SHAPE)
}

/// The name is shown only if it looks like one: it may be a piece of a password that was not written as it should be.
fn unknown(name: &str) -> anyhow::Error {
    let is_word = !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_word {
        return unreadable("a parameter's name is not a word").into();
    }
    let near = KNOWN.iter().map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match near {
        Some((likeness, known)) if likeness > 0.85 => format!("Did you mean {known:?}?"),
        _ => "Take it out of the address; candlefish understands libpq's parameters.".to_string(),
    };
    Failure::new("bad_url", format!("the address has an unknown parameter {name:?}")).hint(hint).into()
}

fn decode(text: &str, what: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(is_hex(at + 1) && is_hex(at + 2))) {
        bail!(unreadable(&format!("its {what} has a % that begins no code")));
    }
    match percent_encoding::percent_decode(bytes).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => bail!(unreadable(&format!("its {what} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(&'static str, String)> {
        let parameters = Parameters::parse(text, "--to").unwrap();
        parameters.iter().map(|(name, value, _)| (name, value.to_string())).collect()
    }

    fn refused(text: &str) -> String {
        Parameters::parse(text, "--to").unwrap_err().to_string()
    }

    fn is(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        pairs.iter().map(|(name, value)| (*name, value.to_string())).collect()
    }

    #[test]
    fn a_url_in_full() {
        assert_eq!(
            parsed("postgresql://app:s3cret@db:6543/shop?sslmode=verify-full&connect_timeout=3"),
            is(&[
                ("connect_timeout", "3"),
                ("dbname", "shop"),
                ("host", "db"),
                ("password", "s3cret"),
                ("port", "6543"),
                ("sslmode", "verify-full"),
                ("user", "app")
            ])
        );
        assert_eq!(parsed("postgres://db"), is(&[("host", "db")]));
    }

    #[test]
    fn codes_are_decoded_everywhere() {
        assert_eq!(
            parsed("postgresql://a%40b:p%2Fw%3A%25@h/d%20b"),
            is(&[("dbname", "d b"), ("host", "h"), ("password", "p/w:%"), ("user", "a@b")])
        );
    }

    #[test]
    fn sockets_ipv6_and_several_hosts() {
        assert_eq!(parsed("postgresql:///shop?host=/run/pg"), is(&[("dbname", "shop"), ("host", "/run/pg")]));
        assert_eq!(parsed("postgresql://%2Frun%2Fpg/shop"), is(&[("dbname", "shop"), ("host", "/run/pg")]));
        assert_eq!(parsed("postgresql://[::1]:5433/shop"), is(&[("dbname", "shop"), ("host", "::1"), ("port", "5433")]));
        assert_eq!(parsed("postgresql://a:1,b/shop"), is(&[("dbname", "shop"), ("host", "a,b"), ("port", "1,")]));
    }

    #[test]
    fn a_list_of_key_and_value() {
        assert_eq!(
            parsed(r"host = db  password='it\'s \\ x' user=a\ b dbname=''"),
            is(&[("dbname", ""), ("host", "db"), ("password", r"it's \ x"), ("user", "a b")])
        );
    }

    #[test]
    fn what_cannot_be_read_is_never_echoed() {
        for hostile in [
            "postgresql://u:hunter2@x@h/db",
            "postgresql://u:hunter2/x@h/db",
            "postgresql://u:1?hunter2=x@h/db",
            "postgresql://u:%hunter2@h/db",
            "postgresql://u:p@h/db?hunter2",
            "postgresql://u:p@h/db?hunter2%20x=1",
            "postgresql://u:%ff-hunter2@h/db",
            "postgresql://[hunter2",
            "mysql://u:hunter2@h/db",
            "host=h password='hunter2",
            "host=h hunter2",
            "host=h password=x hunter2=y",
            "hunter2",
            "",
        ] {
            let error = refused(hostile);
            assert!(!error.contains("hunter2") && error.starts_with("the address"), "{hostile}: {error}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        assert_eq!(refused("postgresql://u:hunter2@h/db?sslmod=require"), "the address has an unknown parameter \"sslmod\"");
        let error = Parameters::parse("host=h sslmod=require", "--to").unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().hint.as_deref(), Some("Did you mean \"sslmode\"?"));
    }

    #[test]
    fn debug_hides_the_password() {
        let parameters = Parameters::parse("postgresql://app:hunter2@h/db", "--to").unwrap();
        assert_eq!(format!("{parameters:?}"), r#"{"dbname": "db", "host": "h", "password": "…", "user": "app"}"#);
    }
}
