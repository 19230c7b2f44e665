//! What every comparison stands on: a private PostgreSQL, a registry, candlefish as it is installed, and the peers, all under `target/compare`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::setup;
use crate::shell::{self, cargo, command, target};

pub struct Bed {
    pub folder: PathBuf,
    home: PathBuf,
    candlefish: PathBuf,
    /// The server's address without a database.
    server: String,
}

impl Bed {
    /// Builds candlefish and starts the server; it is stopped when this is dropped.
    pub fn up() -> Result<Self> {
        setup::run()?;
        let folder = target().join("compare");
        let home = folder.join("home");
        fs::create_dir_all(&folder).context("make the comparison's folder")?;
        shell::run(cargo(&home).args(["build", "--profile", "dist", "--quiet", "--package", "candlefish"]))?;
        let candlefish = target().join("dist/candlefish");
        let mut bed = Bed { folder, home, candlefish, server: String::new() };
        read(bed.candlefish(&["--quiet", "stack", "up"]))?;
        let variables = read(bed.candlefish(&["stack", "env"]))?;
        let url = variables.lines().find_map(|line| line.strip_prefix("export DATABASE_URL='")?.strip_suffix('\''));
        let (server, _) = url.and_then(|url| url.rsplit_once('/')).context("stack env names no DATABASE_URL")?;
        bed.server = server.to_string();
        Ok(bed)
    }

    pub fn candlefish(&self, words: &[&str]) -> Command {
        let mut command = command(&self.candlefish, &self.home);
        command.args(words);
        command
    }

    /// `candlefish migrate` as a script would call it, of the derived schema.
    pub fn migrate(&self, source: &Path, url: &str, words: &[&str]) -> Command {
        let mut command = self.candlefish(&["--quiet", "migrate"]);
        command.arg(source).args(["--mapping", "derive", "--to", url]).args(words);
        command
    }

    /// True when this candlefish knows the flag of `migrate`.
    pub fn knows(&self, flag: &str) -> Result<bool> {
        Ok(read(self.candlefish(&["migrate", "--help"]))?.split_whitespace().any(|word| word.starts_with(flag)))
    }

    /// psql on a database, stopping at the first error; `words` are its arguments.
    pub fn psql(&self, url: &str, words: &[&str]) -> Command {
        let mut psql = command("psql", &self.home);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]).args(words);
        psql
    }

    pub fn tool(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command(program, &self.home)
    }

    /// Where the stack's servers are: `DATABASE_URL`, `POOLER_URL` or `REDIS_URL`.
    pub fn address(&self, variable: &str) -> Result<String> {
        let variables = read(self.candlefish(&["stack", "env"]))?;
        let value = variables.lines().find_map(|line| line.strip_prefix(&format!("export {variable}='"))?.strip_suffix('\''));
        value.map(str::to_string).with_context(|| format!("stack env names no {variable}"))
    }

    /// A benchmark of the library, built as candlefish is.
    pub fn benchmark(&self, name: &str, words: &[&str]) -> Command {
        let mut command = cargo(&self.home);
        command.args(["bench", "--profile", "dist", "--quiet", "--package", "candlefish", "--bench", name, "--"]).args(words);
        command
    }

    /// An empty database of that name, and a server that has nothing else left to write.
    pub fn fresh_database(&self, name: &str) -> Result<String> {
        self.drop_database(name)?;
        let maintenance = format!("{}/postgres", self.server);
        shell::run(&mut self.psql(&maintenance, &["-c", &format!("CREATE DATABASE {name}"), "-c", "CHECKPOINT"]))?;
        Ok(format!("{}/{name}", self.server))
    }

    /// A database's address by the server's unix socket.
    pub fn by_socket(&self, name: &str) -> Result<String> {
        let stack: Json = serde_json::from_str(&fs::read_to_string(self.home.join("stack.json")).context("read the stack's state")?)?;
        let (folder, port) = (stack["sockets"].as_str().context("the stack names no socket")?, &stack["ports"]["postgres"]);
        let credentials = self.server.strip_prefix("postgresql://").and_then(|rest| rest.split_once('@')).context("read the address")?.0;
        Ok(format!("postgresql://{credentials}@/{name}?host={folder}&port={port}"))
    }

    pub fn drop_database(&self, name: &str) -> Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let maintenance = format!("{}/postgres", self.server);
        shell::run(&mut self.psql(&maintenance, &["-c", "SET client_min_messages = warning", "-c", &drop]))
    }

    /// A registry of that scale; made again only when the program that makes it is newer.
    pub fn registry(&self, scale: u32) -> Result<PathBuf> {
        let file = self.folder.join(format!("registry-{scale}.db"));
        let program = std::env::current_exe().context("find xtask")?;
        let age = |path: &Path| fs::metadata(path).and_then(|facts| facts.modified());
        if !age(&file).is_ok_and(|made| age(&program).is_ok_and(|built| built < made)) {
            // By a process of its own: see `measure::wait`.
            let scale = scale.to_string();
            let mut make = self.tool(program);
            make.args(["fixtures", "--force", "--scale", &scale, "--out"]).arg(&file);
            read(make)?;
        }
        Ok(file)
    }

    /// Where output and scripts of a peer go.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Python with DuckDB and its extensions, in a folder of their own.
    pub fn python(&self) -> Result<PathBuf> {
        let python = self.folder.join("python/bin/python");
        let has = |python: &Path| {
            let modules = "import duckdb, duckdb_extension_sqlite_scanner, duckdb_extension_postgres_scanner";
            read(tool_of(python, &["-c", modules])).is_ok()
        };
        if !has(&python) {
            setup::peers()?;
            shell::show_and_run(self.tool("python3").args(["-m", "venv", "--clear"]).arg(self.folder.join("python")))?;
            // The extensions ask for the DuckDB that they were built for.
            let packages = ["duckdb-extension-sqlite-scanner", "duckdb-extension-postgres-scanner"];
            shell::show_and_run(self.tool(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
        }
        Ok(python)
    }

    /// What the numbers depend on.
    pub fn facts(&self) -> Result<Json> {
        let settings = "SELECT json_object_agg(name, current_setting(name)) FROM unnest(ARRAY['server_version', 'shared_buffers',
            'max_wal_size', 'maintenance_work_mem', 'wal_level', 'fsync', 'synchronous_commit', 'full_page_writes']) AS name";
        let settings = read(self.psql(&format!("{}/postgres", self.server), &["-c", settings]))?;
        let commit = read(command_in_repository("git", &["describe", "--always", "--dirty", "--abbrev=12"]));
        let memory = proc_line("/proc/meminfo", "MemTotal").and_then(|line| line.strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(json!({
            "cpu": proc_line("/proc/cpuinfo", "model name"),
            "cores": std::thread::available_parallelism()?.get(),
            "memory_bytes": memory.map(|kib| kib * 1024),
            "system": read(command_in_repository("uname", &["-srm"])).ok(),
            "candlefish": read(self.candlefish(&["--version"]))?,
            "commit": commit.ok(),
            "sqlite": Connection::open_in_memory()?.query_row("SELECT sqlite_version()", [], |row| row.get::<_, String>(0))?,
            "postgresql": serde_json::from_str::<Json>(&settings).context("read the server's settings")?,
        }))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(error) = shell::run(&mut self.candlefish(&["--quiet", "stack", "down"])) {
            eprintln!("warning: the server of the comparison goes on: {error:#}");
        }
    }
}

fn command_in_repository(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(shell::root());
    command
}

fn tool_of(program: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

fn proc_line(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// What a command says, without its last line feed.
pub fn read(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", command.get_program().display(), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_string())
}
