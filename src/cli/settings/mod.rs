//! Where the databases are: flags > environment > `candlefish.toml` > local stack. The first source that names a server gives the address;
//! what it leaves out comes from what libpq's users have already said, never from another source's host or database.

mod environment;
mod file;
mod libpq;
mod redis_url;
mod store;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

pub use environment::Environment;
pub use redis_url::RedisUrl;

use crate::cli::settings::file::SettingsFile;
use crate::model::Failure;
use crate::postgres::{Address, LOCAL_STACK, Parameters};
use crate::render::Ui;
use crate::stack::{ServerName, Stack};

/// Everything that can say where the databases are, except a command's own flags.
#[derive(Clone)]
pub struct Settings {
    environment: Environment,
    file: SettingsFile,
}

/// The PostgreSQL that a command is about.
#[derive(Clone, Debug)]
pub enum Target {
    Address(Box<Address>),
    /// Nobody named a server: the local stack, when there is one, else [`no_target`].
    LocalStack,
}

/// `--to`, for commands that need PostgreSQL.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// PostgreSQL: postgresql://user@host:5432/database, or a list of key=value [default: DATABASE_URL, PG_HOST …, PGHOST …, candlefish.toml, the local stack]
    #[arg(short = 'd', long = "to", value_name = "URL")]
    pub to: Option<String>,
}

impl Settings {
    /// Reads `candlefish.toml` where the command was called, or the file that `--config` names.
    pub fn load(environment: Environment, config: Option<&Path>) -> Result<Self> {
        let file = match config {
            Some(path) => SettingsFile::read(&environment.in_directory(path), true)?,
            None => SettingsFile::read(&environment.in_directory(file::NAME), false)?,
        };
        Ok(Settings { environment, file })
    }

    /// The PostgreSQL that `flag` (`--to URL`, or a URL as an argument) or the first other source names.
    pub fn target(&self, flag: Option<&str>, ui: &Ui) -> Result<Target> {
        let mut warnings = Vec::new();
        let target = self.find_target(flag, &mut warnings);
        warnings.iter().for_each(|warning| ui.warn(warning));
        target
    }

    /// The PostgreSQL that `flag` or the first other source names; without any, the local stack that is up.
    pub fn address(&self, flag: Option<&str>, ui: &Ui) -> Result<Address> {
        match self.target(flag, ui)? {
            Target::Address(address) => Ok(*address),
            Target::LocalStack => local_stack(),
        }
    }

    /// The same for who watches: that the local stack's has died, was stopped alone, or hangs, is what it is there to tell.
    pub fn watched_address(&self, flag: Option<&str>, ui: &Ui) -> Result<Address> {
        match self.target(flag, ui)? {
            Target::Address(address) => Ok(*address),
            Target::LocalStack => {
                let stack = Stack::locate()?;
                let addresses = if stack.has(ServerName::Postgres)? { stack.addresses()? } else { None };
                addresses.map_or_else(local_stack, |addresses| Address::parse(&addresses.database_url(), LOCAL_STACK))
            }
        }
    }

    /// The pooler, when somebody names one.
    pub fn pooler(&self, flag: Option<&str>, ui: &Ui) -> Result<Option<Address>> {
        let mut warnings = Vec::new();
        let pooler = self.find_pooler(flag, &mut warnings);
        warnings.iter().for_each(|warning| ui.warn(warning));
        pooler
    }

    /// The pooler in front of `target`: the one that is named for it, else the local stack's for the local stack's PostgreSQL.
    pub fn pooler_beside(&self, flag: Option<&str>, target: &Address, ui: &Ui) -> Result<Option<Address>> {
        if let Some(pooler) = self.pooler(flag, ui)? {
            let is_anothers = flag.is_none() && self.is_anothers(&pooler.origin, "--pooler", target, ui);
            return Ok(Some(pooler).filter(|_| !is_anothers));
        }
        let stack = Stack::locate()?;
        let Some(addresses) = stack.addresses()?.filter(|_| target.origin == LOCAL_STACK) else { return Ok(None) };
        if stack.has(ServerName::Pgbouncer)? { Address::parse(&addresses.pooler_url(), LOCAL_STACK).map(Some) } else { Ok(None) }
    }

    /// The Redis, when somebody names one.
    pub fn redis(&self, flag: Option<&str>) -> Result<Option<RedisUrl>> {
        if let Some(url) = flag {
            return RedisUrl::parse(url, "--redis").map(Some);
        }
        if let Some(url) = self.environment.get("REDIS_URL")? {
            return RedisUrl::parse(url, "REDIS_URL").map(Some);
        }
        if let Some(host) = self.environment.get("REDIS_HOST")? {
            let (port, password) = (self.environment.get("REDIS_PORT")?, self.environment.get("REDIS_PASSWORD")?);
            return RedisUrl::of_parts(host, port, password, "REDIS_HOST").map(Some);
        }
        self.file.redis.as_deref().map(|url| RedisUrl::parse(url, self.file_name())).transpose()
    }

    /// True where what `named_by` names stands around another server than the target. Says so, and which flag names what stands around this one.
    fn is_anothers(&self, named_by: &str, flag: &str, target: &Address, ui: &Ui) -> bool {
        let Some(own) = self.other_server(target) else { return false };
        ui.say(&format!(
            "{named_by} is not looked at: it goes with the server of {}, and --to names another ({flag} names its own)",
            own.origin
        ));
        true
    }

    /// The server that the environment, or the file, speaks of, where a flag names another one.
    fn other_server(&self, target: &Address) -> Option<Address> {
        // One that cannot be read is no server.
        let named = self.find_target(None, &mut Vec::new()).ok().filter(|_| target.origin == "--to");
        let Some(Target::Address(own)) = named else { return None };
        // Its pooler is a way to it.
        let pooler = self.find_pooler(None, &mut Vec::new()).ok().flatten();
        let is_it = own.is_same_server(target) || pooler.is_some_and(|pooler| pooler.is_same_server(target));
        (!is_it).then_some(*own)
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The settings file, when there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.path.as_deref()
    }

    fn find_target(&self, flag: Option<&str>, warnings: &mut Vec<String>) -> Result<Target> {
        if let Some(text) = flag {
            return self.complete(Parameters::parse(text, "--to"), "--to", warnings);
        }
        let sources: [(&str, Result<Option<Parameters>>); 4] = [
            ("DATABASE_URL", self.environment.get("DATABASE_URL")?.map(|text| Parameters::parse(text, "DATABASE_URL")).transpose()),
            ("PG_HOST", self.strategys_variables()),
            (self.libpq_origin()?, libpq::address(&self.environment).map(Some)),
            (self.file_name(), self.file.target.as_deref().map(|text| Parameters::parse(text, self.file_name())).transpose()),
        ];
        for (origin, parameters) in sources {
            let Some(parameters) = parameters.with_context(|| format!("read {origin}"))? else { continue };
            if parameters.name_a_server() {
                return self.complete(Ok(parameters), origin, warnings);
            }
            if matches!(origin, "DATABASE_URL") || origin == self.file_name() {
                warnings.push(format!("{origin} names no host and is passed over"));
            }
        }
        Ok(Target::LocalStack)
    }

    fn find_pooler(&self, flag: Option<&str>, warnings: &mut Vec<String>) -> Result<Option<Address>> {
        let (text, origin) = match (flag, self.environment.get("POOLER_URL")?, self.file.pooler.as_deref()) {
            (Some(text), _, _) => (text, "--pooler"),
            (None, Some(text), _) => (text, "POOLER_URL"),
            (None, None, Some(text)) => (text, self.file_name()),
            (None, None, None) => return Ok(None),
        };
        match self.complete(Parameters::parse(text, origin), origin, warnings)? {
            Target::Address(address) => Ok(Some(*address)),
            Target::LocalStack => Ok(None),
        }
    }

    /// Completes what one source said to an address.
    fn complete(&self, parameters: Result<Parameters>, origin: &str, warnings: &mut Vec<String>) -> Result<Target> {
        let source = if origin.starts_with("PG") && origin != "PG_HOST" { libpq::Source::Libpq } else { libpq::Source::Other };
        let complete = || {
            let mut parameters = libpq::complete(parameters?, source, &self.environment)?;
            let address = Address::from_parameters(parameters.clone(), origin)?;
            match libpq::password(&address, &self.environment, warnings)? {
                None => Ok(address),
                Some((password, from)) => {
                    parameters.set("password", &password, &from)?;
                    Address::from_parameters(parameters, origin)
                }
            }
        };
        complete().map(|address| Target::Address(Box::new(address))).with_context(|| format!("read {origin}"))
    }

    /// `PG_HOST PG_PORT PG_DATABASE PG_USER PG_PASSWORD`.
    fn strategys_variables(&self) -> Result<Option<Parameters>> {
        let mut parameters = Parameters::default();
        let names = [("PG_HOST", "host"), ("PG_PORT", "port"), ("PG_DATABASE", "dbname"), ("PG_USER", "user"), ("PG_PASSWORD", "password")];
        for (variable, name) in names {
            if let Some(value) = self.environment.get(variable)? {
                parameters.set(name, value, variable)?;
            }
        }
        Ok(Some(parameters))
    }

    /// The one of libpq's variables that names the server.
    fn libpq_origin(&self) -> Result<&'static str> {
        for name in ["PGSERVICE", "PGHOST", "PGHOSTADDR"] {
            if self.environment.get(name)?.is_some() {
                return Ok(name);
            }
        }
        Ok("PGHOST")
    }

    /// The name of the settings file, there or not.
    pub fn file_name(&self) -> &str {
        self.file.path.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or(file::NAME)
    }
}

/// The first line of whatever changes something: `target: postgresql://app@db:5432/shop (from DATABASE_URL)`.
pub fn say_target(address: &Address, ui: &Ui) {
    ui.say(&format!("target: {address} (from {})", address.origin));
}

/// The local stack, when it is up.
fn local_stack() -> Result<Address> {
    let stack = Stack::locate()?;
    match stack.addresses()? {
        Some(addresses) if stack.is_up(ServerName::Postgres)? => Address::parse(&addresses.database_url(), LOCAL_STACK),
        Some(_) => {
            // Who was taken down is not missed: this one hangs, or has ended.
            let state = if stack.has(ServerName::Postgres)? { "does not answer" } else { "is not up" };
            bail!(Failure {
                message: format!("no PostgreSQL is named, and that of the local stack in {} {state}", stack.home().display()),
                ..no_target()
            })
        }
        None => bail!(no_target()),
    }
}

/// Nobody named a PostgreSQL, and there is no local stack.
pub fn no_target() -> Failure {
    Failure::new("no_target", "no PostgreSQL is named")
        .hint("Name one with --to postgresql://user@host:5432/database or DATABASE_URL, or start a private one with `candlefish stack up`.")
}

#[cfg(test)]
mod tests;
