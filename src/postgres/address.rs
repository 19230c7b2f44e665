//! Where a PostgreSQL is, and how to say so without its password.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

use crate::model::Failure;
use crate::postgres::Parameters;

/// How long one connection may take to be made, when nobody says.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server sees as the client's name, when nobody says.
pub const APPLICATION_NAME: &str = "candlefish";

/// The origin of an address that nobody had to name: `candlefish stack up` starts what is there.
pub const LOCAL_STACK: &str = "the local stack";

/// An address with everything that a connection needs. `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct Address {
    /// As tokio-postgres wants it; its own `ssl_mode` is set at each attempt, from `tls`.
    pub config: Config,
    /// Which source named it: `--to`, `DATABASE_URL`, `the local stack`, …
    pub origin: String,
    /// What is to answer there, for people: `PostgreSQL`, or `PgBouncer`.
    pub expected: &'static str,
    pub tls: Tls,
    /// What was said, and by whom.
    pub parameters: Parameters,
    /// Settings of the session, set right after connecting: (`statement_timeout`, `5s`).
    pub session: Vec<(String, String)>,
    /// PostgreSQL has answered here, or somebody waits for it: who hangs up now is one that comes or goes. Shared by all copies of the address.
    known: Arc<AtomicBool>,
}

impl Address {
    /// From here on whoever hangs up here is PostgreSQL, on its way up or down, or a proxy before it.
    pub fn is_postgresql(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// True when that was said.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// The same, where every session works as this role.
    pub fn with_role(mut self, role: Option<&str>) -> Self {
        self.session.extend(role.map(|role| ("role".to_string(), role.to_string())));
        self
    }
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub mode: SslMode,
    pub authorities: Authorities,
    /// The client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    /// Without TLS, unless the server insists.
    Allow,
    /// With TLS, unless that fails.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Whose signature on the server's certificate is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those of the machine.
    System,
    /// Those of this PEM file; as in libpq, naming one is asking for the check.
    File(PathBuf),
}

impl Address {
    /// Parses a URL (`postgresql://…`) or a `key=value` list. The text is never echoed in the error.
    pub fn parse(text: &str, origin: impl Into<String>) -> Result<Self> {
        let origin = origin.into();
        Address::from_parameters(Parameters::parse(text, &origin)?, origin)
    }

    /// Makes an address of libpq's parameters; the user and the database default as in libpq.
    pub fn from_parameters(mut parameters: Parameters, origin: impl Into<String>) -> Result<Self> {
        if parameters.get("user").is_none_or(str::is_empty)
            && let Ok(user) = whoami::username()
        {
            parameters.set("user", &user, "the user who runs this")?;
        }
        if parameters.get("dbname").is_none_or(str::is_empty)
            && let Some(user) = parameters.get("user").map(str::to_string)
        {
            parameters.set("dbname", &user, "the user's name")?;
        }
        let mut address = Address {
            config: Config::new(),
            origin: origin.into(),
            expected: "PostgreSQL",
            tls: tls(&parameters)?,
            parameters: Parameters::default(),
            session: Vec::new(),
            known: Arc::default(),
        };
        address.config.connect_timeout(CONNECT_TIMEOUT).application_name(APPLICATION_NAME);
        for (name, value, _) in parameters.iter().filter(|(_, value, _)| !value.is_empty()) {
            apply(&mut address.config, name, value)?;
        }
        address.parameters = parameters;
        address.check_hosts()?;
        Ok(address)
    }

    /// The same server, another database.
    pub fn with_database(&self, dbname: &str) -> Self {
        let mut address = self.clone();
        address.config.dbname(dbname);
        address
    }

    /// The console of the PgBouncer that is to be there.
    pub fn console(&self) -> Self {
        Address { expected: "PgBouncer", ..self.with_database("pgbouncer") }
    }

    /// The same server, told another name of the client.
    pub fn with_application_name(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout(timeout);
        self
    }

    /// Adds a setting of the session, such as `statement_timeout`, `5s`.
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.session.push((name.to_string(), value.to_string()));
        self
    }

    /// The same with what its `options` set (`-c search_path=a,b`) as settings of the session: a pooler takes none at the start of a connection.
    pub fn with_options_as_settings(&self) -> Result<Self> {
        let Some(settings) = settings_of(self.config.get_options().unwrap_or_default()) else {
            let failure = Failure::new("options_refused", "a pooler takes no options, and these set more than parameters");
            bail!(
                failure.hint("Of options only -c NAME=VALUE can be set for each transaction; leave the others out (options=…, PGOPTIONS).")
            );
        };
        let mut address = self.without_options();
        // What else is set holds over it.
        address.session.splice(0..0, settings);
        Ok(address)
    }

    /// The same without its `options`.
    pub fn without_options(&self) -> Self {
        let mut address = self.clone();
        if self.config.get_options().is_none() {
            return address;
        }
        // What is set of a tokio-postgres Config cannot be unset.
        let mut config = Config::new();
        for (name, value, _) in self.parameters.iter().filter(|(name, value, _)| *name != "options" && !value.is_empty()) {
            apply(&mut config, name, value).expect("it was applied before");
        }
        config.dbname(self.database()).application_name(self.config.get_application_name().unwrap_or(APPLICATION_NAME));
        config.connect_timeout(self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT));
        address.config = config;
        address
    }

    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// `postgresql://app@db:5432/shop`: what can be shown to anyone.
    pub fn shown(&self) -> String {
        let mut text = "postgresql://".to_string();
        if !self.user().is_empty() {
            text.push_str(&encoded(self.user()));
            text.push('@');
        }
        let tcp: Vec<String> = self.endpoints().filter(|(host, _)| !host.starts_with('/')).map(|(host, port)| at(&host, port)).collect();
        text.push_str(&tcp.join(","));
        if !self.database().is_empty() {
            text.push('/');
            text.push_str(&encoded(self.database()));
        }
        // libpq's way to write a socket's folder into a URL.
        if let Some((folder, port)) = self.endpoints().find(|(host, _)| host.starts_with('/')) {
            text.push_str(if self.database().is_empty() { "/?host=" } else { "?host=" });
            text.push_str(&folder);
            if port != DEFAULT_PORT {
                text.push_str(&format!("&port={port}"));
            }
        }
        text
    }

    /// `db:5432`, or the socket: the server without user and database.
    pub fn server(&self) -> String {
        let names: Vec<String> = self
            .endpoints()
            .map(|(host, port)| if host.starts_with('/') { format!("{host}/.s.PGSQL.{port}") } else { at(&host, port) })
            .collect();
        names.join(",")
    }

    /// Hosts (a socket's folder begins with `/`) with their ports.
    pub fn endpoints(&self) -> impl Iterator<Item = (String, u16)> {
        let ports = self.config.get_ports();
        self.config.get_hosts().iter().enumerate().map(|(index, host)| {
            let host = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(folder) => folder.display().to_string(),
            };
            (host, ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT))
        })
    }

    /// True when both name a host and port in common; all ways to this machine are one.
    pub fn is_same_server(&self, other: &Address) -> bool {
        let both_local = self.is_local() && other.is_local();
        self.endpoints().any(|(host, port)| other.endpoints().any(|there| there.1 == port && (both_local || there.0 == host)))
    }

    /// True when only sockets of this machine are meant, where TLS has no place.
    pub fn is_local_socket(&self) -> bool {
        !self.config.get_hosts().is_empty() && self.endpoints().all(|(host, _)| host.starts_with('/'))
    }

    /// True when nothing leaves this machine: sockets, and addresses that loop back.
    pub fn is_local(&self) -> bool {
        let loops = |host: &str| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        !self.config.get_hosts().is_empty() && self.endpoints().all(|(host, _)| host.starts_with('/') || loops(&host))
    }

    fn check_hosts(&mut self) -> Result<()> {
        // An address alone is also the name that a certificate is checked against.
        if self.config.get_hosts().is_empty() {
            for address in self.config.get_hostaddrs().to_vec() {
                self.config.host(address.to_string());
            }
        }
        let hosts = self.config.get_hosts().len();
        let addresses = self.config.get_hostaddrs().len();
        if hosts == 0 {
            let hint = "Name one, as in postgresql://user@host:5432/database, or a socket's folder with ?host=/folder.";
            bail!(Failure::new("bad_url", "the address names no host").hint(hint));
        }
        if self.config.get_ports().len() > 1 && self.config.get_ports().len() != hosts {
            bail!(Failure::new("bad_url", "the address has not as many ports as hosts"));
        }
        if addresses > 0 && addresses != hosts {
            bail!(Failure::new("bad_url", "the address has not as many hostaddr as hosts"));
        }
        Ok(())
    }
}

const DEFAULT_PORT: u16 = 5432;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({} from {}, {:?})", self.shown(), self.origin, self.tls)
    }
}

impl std::str::FromStr for SslMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => bail!(wrong("sslmode", "disable, allow, prefer, require, verify-ca or verify-full")),
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        })
    }
}

fn tls(parameters: &Parameters) -> Result<Tls> {
    let given = |name| parameters.get(name).filter(|value| !value.is_empty());
    let system = given("sslrootcert") == Some("system");
    let mode = match given("sslmode") {
        Some(mode) => mode.parse()?,
        None if system => SslMode::VerifyFull,
        None => SslMode::Prefer,
    };
    // As libpq: anyone can get a certificate that the machine's authorities signed, so its name must be checked.
    if system && mode != SslMode::VerifyFull {
        bail!(Failure::new("bad_url", format!("sslrootcert=system does not go with sslmode={mode}")).hint("Use sslmode=verify-full."));
    }
    let authorities = match given("sslrootcert") {
        Some(file) if !system => Authorities::File(file.into()),
        _ => Authorities::System,
    };
    let identity = match (given("sslcert"), given("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => bail!(Failure::new("bad_url", "sslcert and sslkey go together, and one of them is missing")),
    };
    Ok(Tls { mode, authorities, identity })
}

/// The parameters that `options` set: `-c name=value`, `-cname=value`, `--name=value`; a backslash takes the next character as it is. None where
/// they say anything else.
fn settings_of(options: &str) -> Option<Vec<(String, String)>> {
    let mut words: Vec<String> = Vec::new();
    let (mut characters, mut in_word) = (options.chars(), false);
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            in_word = false;
            continue;
        }
        if !in_word {
            words.push(String::new());
            in_word = true;
        }
        let character = if character == '\\' { characters.next()? } else { character };
        words.last_mut()?.push(character);
    }
    let (mut settings, mut words) = (Vec::new(), words.into_iter());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") if word == "-c" => words.next()?,
            Some(setting) => setting.to_string(),
            None => return None,
        };
        let (name, value) = setting.split_once('=')?;
        let name = name.replace('-', "_");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            return None;
        }
        settings.push((name, value.to_string()));
    }
    Some(settings)
}

fn apply(config: &mut Config, name: &str, value: &str) -> Result<()> {
    match name {
        "user" => drop(config.user(value)),
        "password" => drop(config.password(value)),
        "dbname" => drop(config.dbname(value)),
        "options" => drop(config.options(value)),
        "application_name" => drop(config.application_name(value)),
        "host" => {
            for host in value.split(',') {
                config.host(host);
            }
        }
        "hostaddr" => {
            for address in value.split(',') {
                config.hostaddr(address.parse().map_err(|_| wrong("hostaddr", "an IP address"))?);
            }
        }
        "port" => {
            for port in value.split(',') {
                let port = if port.is_empty() { Some(DEFAULT_PORT) } else { port.parse().ok().filter(|port| *port != 0) };
                config.port(port.ok_or_else(|| wrong("port", "a number from 1 to 65535"))?);
            }
        }
        // 0 is libpq's word for no limit.
        "connect_timeout" => match seconds("connect_timeout", value)? {
            0 => drop(config.connect_timeout(Duration::from_secs(86_400))),
            limit => drop(config.connect_timeout(Duration::from_secs(limit))),
        },
        // libpq counts this one in milliseconds.
        "tcp_user_timeout" => drop(config.tcp_user_timeout(Duration::from_millis(seconds("tcp_user_timeout", value)?))),
        "keepalives" => drop(config.keepalives(seconds("keepalives", value)? != 0)),
        "keepalives_idle" => drop(config.keepalives_idle(Duration::from_secs(seconds("keepalives_idle", value)?))),
        "keepalives_interval" => drop(config.keepalives_interval(Duration::from_secs(seconds("keepalives_interval", value)?))),
        "keepalives_count" => drop(config.keepalives_retries(value.parse().map_err(|_| wrong("keepalives_count", "a number"))?)),
        "channel_binding" => drop(config.channel_binding(match value {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => bail!(wrong("channel_binding", "disable, prefer or require")),
        })),
        "target_session_attrs" => drop(config.target_session_attrs(match value {
            "any" => TargetSessionAttrs::Any,
            "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
            "read-only" | "standby" => TargetSessionAttrs::ReadOnly,
            _ => bail!(wrong("target_session_attrs", "any, read-write, read-only, primary or standby")),
        })),
        "load_balance_hosts" => drop(config.load_balance_hosts(match value {
            "disable" => LoadBalanceHosts::Disable,
            "random" => LoadBalanceHosts::Random,
            _ => bail!(wrong("load_balance_hosts", "disable or random")),
        })),
        "sslnegotiation" => drop(config.ssl_negotiation(match value {
            "postgres" => SslNegotiation::Postgres,
            "direct" => SslNegotiation::Direct,
            _ => bail!(wrong("sslnegotiation", "postgres or direct")),
        })),
        "client_encoding" if !matches!(value.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode" | "auto") => {
            bail!(wrong("client_encoding", "UTF8: candlefish speaks no other"))
        }
        "gssencmode" if value == "require" => bail!(wrong("gssencmode", "disable or prefer: candlefish has no GSSAPI")),
        // The rest is read elsewhere: TLS above, service and passfile by those who know the machine.
        _ => {}
    }
    Ok(())
}

fn seconds(name: &str, value: &str) -> Result<u64> {
    Ok(value.parse::<i64>().map_err(|_| wrong(name, "a whole number"))?.max(0).unsigned_abs())
}

/// The value is not echoed: a badly written password may have slipped into it.
fn wrong(name: &str, expected: &str) -> Failure {
    Failure::new("bad_url", format!("the address has a wrong {name}")).hint(format!("It must be {expected}."))
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn encoded(name: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(name, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text, "--to").unwrap().shown()
    }

    fn refused(text: &str) -> String {
        format!("{:?}", Address::parse(text, "--to").unwrap_err().downcast::<Failure>().unwrap())
    }

    #[test]
    fn an_address_shows_itself_without_its_password() {
        assert_eq!(shown("postgresql://app:hunter2@db/shop?sslmode=require"), "postgresql://app@db:5432/shop");
        assert_eq!(shown("host=db port=6543 user=app password=hunter2 dbname='my shop'"), "postgresql://app@db:6543/my%20shop");
        assert_eq!(shown("postgresql://app@[::1]/shop"), "postgresql://app@[::1]:5432/shop");
        assert_eq!(shown("postgresql://app@a,b:5433/shop"), "postgresql://app@a:5432,b:5433/shop");
        assert_eq!(shown("postgresql://app@/shop?host=/run/pg&port=5433"), "postgresql://app@/shop?host=/run/pg&port=5433");
        assert_eq!(shown("postgresql://a%40b:hunter2@db"), "postgresql://a%40b@db:5432/a%40b");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["postgresql://app@/shop?host=/run/pg&port=5433", "postgresql://a%40b@[::1]:5432/my%20shop"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn debug_never_shows_the_password() {
        let address = Address::parse("postgresql://app:hunter2@db/shop", "DATABASE_URL").unwrap();
        let text = format!("{address:?} {address} {:?} {:?}", address.config, address.parameters);
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn wrong_values_are_named_not_echoed() {
        for (text, name) in [
            ("postgresql://u:hunter2@h:hunter2/db", "port"),
            ("postgresql://u:hunter2/db", "port"),
            ("postgresql://u:p@h:0/db", "port"),
            ("postgresql://h/db?sslmode=hunter2", "sslmode"),
            ("postgresql://h/db?connect_timeout=hunter2", "connect_timeout"),
            ("postgresql://h/db?client_encoding=hunter2", "client_encoding"),
            ("hostaddr=hunter2", "hostaddr"),
            ("postgresql://u:hunter2@/db", "no host"),
            ("host=a,b,c port=1,2", "ports"),
        ] {
            let error = refused(text);
            assert!(error.contains(name) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn tls_as_libpq_means_it() {
        let tls = |text: &str| Address::parse(text, "--to").map(|address| (address.tls.mode, address.tls.authorities));
        assert_eq!(tls("postgresql://h/d").unwrap(), (SslMode::Prefer, Authorities::System));
        assert_eq!(tls("postgresql://h/d?ssl=true").unwrap().0, SslMode::Require);
        assert_eq!(tls("postgresql://h/d?sslrootcert=system").unwrap(), (SslMode::VerifyFull, Authorities::System));
        assert_eq!(tls("host=h sslmode=verify-ca sslrootcert=ca.pem").unwrap(), (SslMode::VerifyCa, Authorities::File("ca.pem".into())));
        assert!(tls("postgresql://h/d?sslrootcert=system&sslmode=require").is_err());
        assert!(tls("postgresql://h/d?sslcert=a.pem").is_err());
    }

    #[test]
    fn options_become_settings_of_the_session() {
        let settings = |options: &str| {
            let address = Address::parse(&format!("postgresql://app@h/d?options={}&connect_timeout=3", encoded(options)), "--to").unwrap();
            let address = address.with_database("other").with_setting("role", "teller").with_options_as_settings().ok()?;
            let config = &address.config;
            assert_eq!((config.get_options(), config.get_dbname(), config.get_user()), (None, Some("other"), Some("app")));
            assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
            Some(address.session.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
        };
        assert_eq!(settings("-csearch_path=sa,sb").as_deref(), Some("search_path=sa,sb; role=teller"));
        assert_eq!(settings("-c a.b=1  --work-mem=4MB -c c=x\\ y=z").as_deref(), Some("a.b=1; work_mem=4MB; c=x y=z; role=teller"));
        for other in ["-B 100", "-c", "-c x", "-c 'a'=1", "-e", "x=1", "-c a=1\\"] {
            assert_eq!(settings(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_without_a_name_is_checked_against_itself() {
        let address = Address::parse("hostaddr=127.0.0.1 user=app dbname=shop", "--to").unwrap();
        assert_eq!(address.shown(), "postgresql://app@127.0.0.1:5432/shop");
    }

    proptest::proptest! {
        #[test]
        fn any_name_and_password_survive_a_url_and_no_password_is_shown(user in "\\PC{1,12}", dbname in "\\PC{1,12}", secret in "\\PC{0,12}") {
            let password = format!("hunter2{secret}");
            let url = format!("postgresql://{}:{}@db/{}", encoded(&user), encoded(&password), encoded(&dbname));
            let address = Address::parse(&url, "--to").unwrap();
            proptest::prop_assert_eq!((address.user(), address.database()), (user.as_str(), dbname.as_str()));
            proptest::prop_assert_eq!(address.config.get_password(), Some(password.as_bytes()));
            let debug = format!("{address:?}");
            proptest::prop_assert!(!debug.contains("hunter2"), "{}", debug);
            proptest::prop_assert_eq!(Address::parse(&address.shown(), "--to").unwrap().shown(), address.shown());
        }

        #[test]
        fn a_password_that_was_not_encoded_is_never_shown(password in "[a-z@:/?#%&=,\\[\\] ']{0,6}hunter2[a-z@:/?#%&=,\\[\\] ']{0,6}") {
            for text in [format!("postgresql://app:{password}@db/shop"), format!("host=db user=app password={password}")] {
                let shown = match Address::parse(&text, "--to") {
                    Ok(address) => format!("{address:?} {} {}", address.server(), address.shown()),
                    Err(error) => format!("{error:?}"),
                };
                proptest::prop_assert!(!shown.contains("hunter2"), "{} gives {}", text, shown);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(postgres(ql)?://)?\\PC{0,40}") {
            let _ = Address::parse(&text, "--to");
        }
    }
}
