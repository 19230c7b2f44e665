//! The private local servers: PostgreSQL, Redis and PgBouncer on loopback, run from the machine's own binaries.
//!
//! A stack lives in a home folder (`.candlefish/`): `stack.json` keeps what was chosen once (ports, where the data is), `data/` what the
//! servers write. `up` looks at each server and starts what does not answer, so it is also what heals; a lock on the home makes two
//! `up`s one stack. Everything here blocks: it is files, child processes and short waits.

mod account;
mod binaries;
mod home;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::model::Failure;
use account::Account;
use binaries::Binaries;
use state::State;

pub use binaries::psql;

/// The role that owns everything in the stack. It is PostgreSQL's bootstrap superuser: the servers are private to their owner, and
/// tests and `bench` make and drop databases, extensions and roles at will.
pub const ROLE: &str = "candlefish";
/// The database that addresses point at.
pub const DATABASE: &str = "candlefish";

/// One stack, by its home folder; there may be nothing in it yet.
#[derive(Clone, Debug)]
pub struct Stack {
    home: PathBuf,
}

/// Which servers a command needs. PgBouncer needs PostgreSQL, so asking for it asks for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers {
    pub postgres: bool,
    pub redis: bool,
    pub pgbouncer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerName {
    Postgres,
    Redis,
    Pgbouncer,
}

/// What one server is doing now.
#[derive(Clone, Debug, Serialize)]
pub struct ServerStatus {
    pub name: ServerName,
    /// It answers on its port, to its password.
    pub up: bool,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    /// As the server says it; unknown while it is down.
    pub version: Option<String>,
}

/// Where the servers are and how to get in. `Debug` leaves the passwords out.
#[derive(Clone)]
pub struct Addresses {
    pub host: &'static str,
    pub postgres_port: u16,
    pub pgbouncer_port: u16,
    pub redis_port: u16,
    pub postgres_password: String,
    pub redis_password: String,
}

/// What is told while servers start.
pub type Say<'a> = &'a mut dyn FnMut(&str);

impl Servers {
    pub const ALL: Servers = Servers { postgres: true, redis: true, pgbouncer: true };
    pub const POSTGRES: Servers = Servers { postgres: true, redis: false, pgbouncer: false };

    fn with_their_needs(self) -> Self {
        Servers { postgres: self.postgres || self.pgbouncer, ..self }
    }
}

impl ServerName {
    pub const ALL: [ServerName; 3] = [ServerName::Postgres, ServerName::Redis, ServerName::Pgbouncer];

    pub fn as_str(self) -> &'static str {
        match self {
            ServerName::Postgres => "postgres",
            ServerName::Redis => "redis",
            ServerName::Pgbouncer => "pgbouncer",
        }
    }
}

impl Stack {
    /// The stack of this home folder.
    pub fn at(home: impl Into<PathBuf>) -> Self {
        Stack { home: home.into() }
    }

    /// `CANDLEFISH_HOME`, else the nearest `.candlefish/` upward, else `.candlefish/` here (made by the first `up`).
    pub fn locate() -> Result<Self> {
        Ok(Stack { home: home::locate()? })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Starts what is asked for and does not answer yet, and waits until it does. `pg_bin` names PostgreSQL's programs and is remembered.
    pub fn up(&self, servers: Servers, pg_bin: Option<&Path>, say: Say) -> Result<Addresses> {
        let servers = servers.with_their_needs();
        // Before anything is made: a machine without the programs is left as it was.
        let known = State::load(&self.home)?;
        let binaries = Binaries::find(servers, pg_bin, known.as_ref())?;

        home::make(&self.home)?;
        let _lock = home::lock(&self.home)?;
        let mut state = match State::load(&self.home)? {
            Some(state) => state,
            None => State::choose(&self.home, say)?,
        };
        // Another `up` may have made the data folder while this one waited for the lock.
        let binaries = if known.is_some() { binaries } else { Binaries::find(servers, pg_bin, Some(&state))? };
        state.remember_pg_bin(&binaries.pg_bin)?;
        let account = Account::of_servers(&state.data)?;
        state.prepare_folders(account.as_ref())?;

        if servers.postgres {
            postgres::ensure_up(&mut state, &binaries, account.as_ref(), say).context("start PostgreSQL")?;
            state.remember_up(ServerName::Postgres)?;
        }
        if servers.redis {
            redis::ensure_up(&mut state, &binaries, account.as_ref(), say).context("start Redis")?;
            state.remember_up(ServerName::Redis)?;
        }
        if servers.pgbouncer {
            pgbouncer::ensure_up(&mut state, &binaries, account.as_ref(), say).context("start PgBouncer")?;
            state.remember_up(ServerName::Pgbouncer)?;
        }
        state.addresses()
    }

    /// What each server is doing; a home without a stack has three servers that are down.
    pub fn status(&self) -> Result<Vec<ServerStatus>> {
        let Some(state) = State::load(&self.home)? else {
            return Ok(ServerName::ALL.map(|name| ServerStatus { name, up: false, pid: None, port: None, version: None }).to_vec());
        };
        Ok(ServerName::ALL.into_iter().map(|name| server_status(&state, name)).collect())
    }

    /// Is this one server answering?
    pub fn is_up(&self, name: ServerName) -> Result<bool> {
        Ok(State::load(&self.home)?.is_some_and(|state| server_status(&state, name).up))
    }

    /// This one server answers, or did and has ended since, in whatever way: whoever counts on it is to hear of that. One that was never started, or
    /// was taken down with the stack, is no part of it as it stands.
    pub fn has(&self, name: ServerName) -> Result<bool> {
        let Some(state) = State::load(&self.home)? else { return Ok(false) };
        let pid_file = match name {
            ServerName::Postgres => postgres::pid_file(&state),
            ServerName::Redis => redis::pid_file(&state),
            ServerName::Pgbouncer => pgbouncer::pid_file(&state),
        };
        // Nobody is asked, who may hang, where that is known without.
        Ok(state.brought_up.contains(&name) || pid_file.exists() || server_status(&state, name).up)
    }

    /// Where the servers are, up or not; none when no stack was ever made here.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        match State::load(&self.home)? {
            Some(state) if state.has_passwords() => state.addresses().map(Some),
            _ => Ok(None),
        }
    }

    /// Stops what runs; true when anything did. The data stays.
    pub fn down(&self) -> Result<bool> {
        if !self.home.exists() {
            return Ok(false);
        }
        let _lock = home::lock(&self.home)?;
        self.stop_all()
    }

    /// Stops what runs and removes the data, the passwords and the ports.
    pub fn destroy(&self) -> Result<()> {
        if !self.home.exists() {
            return Ok(());
        }
        let _lock = home::lock(&self.home)?;
        self.stop_all()?;
        if let Some(state) = State::load(&self.home)? {
            state.remove()?;
        }
        home::remove(&self.home)
    }

    fn stop_all(&self) -> Result<bool> {
        let Some(mut state) = State::load(&self.home)? else { return Ok(false) };
        state.forget_what_is_up()?;
        // The pooler first: it is a client of PostgreSQL.
        let stopped = [pgbouncer::stop(&state)?, redis::stop(&state)?, postgres::stop(&state)?];
        Ok(stopped.contains(&true))
    }
}

fn server_status(state: &State, name: ServerName) -> ServerStatus {
    let (pid, port, version) = match name {
        ServerName::Postgres => (postgres::pid(state), state.ports.postgres, postgres::version(state)),
        ServerName::Redis => (redis::pid(state), state.ports.redis, redis::version(state)),
        ServerName::Pgbouncer => (pgbouncer::pid(state), state.ports.pgbouncer, pgbouncer::version(state)),
    };
    // A stranger on our port would not know our password; a process of ours that does not answer is not up.
    let version = version.ok();
    ServerStatus { name, up: version.is_some(), pid, port: Some(port), version }
}

impl Addresses {
    /// PostgreSQL itself.
    pub fn database_url(&self) -> String {
        self.database_url_of(DATABASE)
    }

    /// PostgreSQL itself, another database.
    pub fn database_url_of(&self, database: &str) -> String {
        format!("postgresql://{ROLE}:{}@{}:{}/{database}", self.postgres_password, self.host, self.postgres_port)
    }

    /// PgBouncer, in transaction mode.
    pub fn pooler_url(&self) -> String {
        self.pooler_url_of(DATABASE)
    }

    pub fn pooler_url_of(&self, database: &str) -> String {
        format!("postgresql://{ROLE}:{}@{}:{}/{database}", self.postgres_password, self.host, self.pgbouncer_port)
    }

    pub fn redis_url(&self) -> String {
        format!("redis://:{}@{}:{}/0", self.redis_password, self.host, self.redis_port)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses")
            .field("host", &self.host)
            .field("postgres_port", &self.postgres_port)
            .field("pgbouncer_port", &self.pgbouncer_port)
            .field("redis_port", &self.redis_port)
            .finish_non_exhaustive()
    }
}

/// The version of this machine's PgBouncer, when it has one: (1, 18).
pub fn pgbouncer_version() -> Option<(u32, u32)> {
    let servers = Servers { postgres: false, redis: false, pgbouncer: true };
    let binaries = Binaries::find(servers, None, None).ok()?;
    pgbouncer::program_version(&binaries.pgbouncer).ok()
}

/// The answer to "use the stack" where there is none.
pub fn not_up(home: &Path) -> Failure {
    Failure::new("stack_down", format!("the local stack in {} is not up", home.display())).hint("Start it: candlefish stack up")
}
