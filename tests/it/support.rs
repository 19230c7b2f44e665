//! What the integration tests stand on: a stack for all of them, a fresh database each, and a case builder that reads like the manual.
//!
//! ```ignore
//! let database = Database::fresh();
//! Case::new("a registry arrives whole")
//!     .source("registry/v2")                               // fixtures/registry/v2/source.sql
//!     .database(&database)
//!     .run("migrate {source} --to {url}")
//!     .exit(0)
//!     .stdout("registry/v2/expected/report.txt");
//! assert_eq!(database.rows("SELECT count(*) FROM users"), ["12"]);
//! ```

#![allow(dead_code, reason = "the shelf of tests grows into it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use candlefish::stack::{Addresses, Servers, Stack};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The home of the stack that all tests share. It stays up after the run, for the next one; `cargo xtask test` stops it.
pub fn home() -> PathBuf {
    env::var_os("CANDLEFISH_HOME").map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack"), PathBuf::from)
}

/// PostgreSQL (of `CANDLEFISH_PG_BIN`, else the machine's), Redis and PgBouncer, started by the first test that asks.
pub fn addresses() -> &'static Addresses {
    static ADDRESSES: OnceLock<Addresses> = OnceLock::new();
    ADDRESSES.get_or_init(|| {
        let pg_bin = env::var_os("CANDLEFISH_PG_BIN").map(PathBuf::from);
        let up = Stack::at(home()).up(Servers::ALL, pg_bin.as_deref(), &mut |_| {});
        up.unwrap_or_else(|error| panic!("the stack of the tests: {error:#}"))
    })
}

/// True under `cargo xtask test --long`: the long checks run in full.
pub fn long() -> bool {
    env::var_os("CANDLEFISH_LONG").is_some_and(|long| long == "1")
}

/// The program under another path. A process of its own writes it: a child that another test forks meanwhile would hold this one's file open for writing,
/// and nobody may execute such a file.
pub fn copy_binary(to: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_candlefish")).arg(to).status().expect("run cp").success());
}

/// `fixtures/NAME`
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A database of one test, dropped with it.
pub struct Database {
    pub name: String,
}

impl Database {
    /// An empty database of the shared stack; its name is no other's, of this run or another.
    pub fn fresh() -> Self {
        Database::from_template("template0")
    }

    /// Another with the same in it, which is quicker than to do again what has filled the first; nobody may be connected to that.
    pub fn copy_of(other: &Database) -> Self {
        Database::from_template(&other.name)
    }

    fn from_template(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("it_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        if query(&addresses().database_url_of("postgres"), &create).is_err() {
            // A run that was killed may have left one under a number that came round again.
            execute("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            execute("postgres", &create);
        }
        Database { name }
    }

    /// Runs a statement from beside: in the database `postgres`.
    pub fn maintain(sql: &str) -> Vec<String> {
        query(&addresses().database_url_of("postgres"), sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// PostgreSQL itself.
    pub fn url(&self) -> String {
        addresses().database_url_of(&self.name)
    }

    /// Through PgBouncer.
    pub fn pooler_url(&self) -> String {
        addresses().pooler_url_of(&self.name)
    }

    /// Runs statements; the test fails where they do.
    pub fn execute(&self, sql: &str) {
        execute(&self.name, sql);
    }

    /// Runs one statement that no transaction may hold, such as CREATE DATABASE, beside this database.
    pub fn run_outside(&self, sql: &str) {
        execute("postgres", sql);
    }

    /// Runs statements, in one transaction; PostgreSQL's words when it refuses.
    pub fn try_execute(&self, sql: &str) -> Result<(), String> {
        query(&self.url(), sql).map(drop)
    }

    /// Rows as psql's `-A -t` shows them: `a|b`, NULL as nothing.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        query(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// Asks until the answer is true; each asking is a connection, which is pause enough.
    pub fn until(&self, question: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.value(question) != "t" {
            assert!(Instant::now() < deadline, "never true: {question}");
        }
    }

    /// The one value of the one row.
    pub fn value(&self, sql: &str) -> String {
        the_one(sql, &self.rows(sql))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = query(&addresses().database_url_of("postgres"), &sql);
        if let Err(error) = dropped
            && !std::thread::panicking()
        {
            panic!("{sql}: {error}");
        }
    }
}

fn execute(database: &str, sql: &str) {
    query(&addresses().database_url_of(database), sql).unwrap_or_else(|error| panic!("{sql}\n{error}"));
}

/// Runs statements at an address that is not of the shared stack's databases.
pub fn execute_at(url: &str, sql: &str) {
    query(url, sql).unwrap_or_else(|error| panic!("{sql}\n{error}"));
}

/// The same; PostgreSQL's words when it refuses.
pub fn try_execute_at(url: &str, sql: &str) -> Result<Vec<String>, String> {
    query(url, sql)
}

/// The one value of the one row.
pub fn value_at(url: &str, sql: &str) -> String {
    query(url, sql).unwrap_or_else(|error| panic!("{sql}\n{error}")).join("\n")
}

/// By the simple protocol, in a thread of its own: a test may itself be async.
pub fn query(url: &str, sql: &str) -> Result<Vec<String>, String> {
    let work = || {
        let connection = Connection::to(url)?;
        let answer = connection.query(sql);
        connection.end();
        answer
    };
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err("the query's thread panicked".to_string()))
}

struct Connection {
    client: tokio_postgres::Client,
    running: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
    runtime: tokio::runtime::Runtime,
}

impl Connection {
    fn to(url: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).map_err(said)?;
        let running = runtime.spawn(connection);
        Ok(Connection { client, running, runtime })
    }

    fn query(&self, sql: &str) -> Result<Vec<String>, String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).map_err(said)?;
        Ok(messages.iter().filter_map(row_text).collect())
    }

    /// Says goodbye and waits until the server has heard it: what it counted is then there to be read.
    fn end(self) {
        drop(self.client);
        // One that was cut has ended as well.
        let _ = self.runtime.block_on(self.running);
    }
}

/// PostgreSQL's words, where it is PostgreSQL that has said them.
fn said(error: tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A fresh database with one connection for all that is asked: for tests that ask hundreds of things, and are not async.
pub struct Session {
    connection: Connection,
    _database: Database,
}

impl Session {
    pub fn fresh() -> Self {
        let database = Database::fresh();
        Session { connection: Connection::to(&database.url()).expect("connect"), _database: database }
    }

    /// Runs statements; the test fails where they do.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.rows(sql);
    }

    /// Rows as [`Database::rows`] gives them.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.try_rows(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The same; PostgreSQL's words when it refuses.
    pub fn try_rows(&self, sql: &str) -> Result<Vec<String>, String> {
        self.connection.query(sql)
    }

    /// The one value of the one row.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        the_one(sql, &self.rows(sql))
    }
}

fn the_one(sql: &str, rows: &[String]) -> String {
    match rows {
        [value] => value.clone(),
        rows => panic!("{sql}\nis not one value: {rows:?}"),
    }
}

fn row_text(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some((0..row.len()).map(|column| row.get(column).unwrap_or("")).collect::<Vec<_>>().join("|"))
}

/// One run of the program, with what it needs. `{source}`, `{url}`, `{pooler}`, `{redis}` and `{dir}` in the command line are filled in.
pub struct Case {
    name: String,
    folder: TempDir,
    source: Option<PathBuf>,
    database: Option<String>,
    home: OnceLock<PathBuf>,
    variables: BTreeMap<String, String>,
    input: Option<String>,
}

impl Case {
    /// A case in an empty folder of its own, which is also its current folder.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for the case");
        Case {
            name: name.to_string(),
            folder,
            source: None,
            database: None,
            home: OnceLock::new(),
            variables: BTreeMap::new(),
            input: None,
        }
    }

    /// The source, made from `fixtures/NAME/source.sql`.
    pub fn source(self, name: &str) -> Self {
        let text = fixture(name).join("source.sql");
        let sql = fs::read_to_string(&text).unwrap_or_else(|error| panic!("{}: {error}", text.display()));
        self.source_sql(&sql)
    }

    /// The source, made by these statements.
    pub fn source_sql(self, sql: &str) -> Self {
        let file = self.folder.path().join("source.db");
        let database = rusqlite::Connection::open(&file).expect("open the source");
        database.execute_batch(sql).unwrap_or_else(|error| panic!("{}: the source: {error}", self.name));
        drop(database);
        self.source_file(file)
    }

    /// The source is this file, whatever is in it.
    pub fn source_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.source = Some(file.into());
        self
    }

    /// What `{url}` and `{pooler}` point at.
    pub fn database(mut self, database: &Database) -> Self {
        self.database = Some(database.name.clone());
        self
    }

    /// The stack's home that the program sees; else an empty one that nobody has made.
    pub fn home(self, home: impl Into<PathBuf>) -> Self {
        self.home.set(home.into()).expect("one home a case");
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_string(), value.to_string());
        self
    }

    /// What the program reads from its stdin; else that is empty.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_string());
        self
    }

    /// The case's own folder: `{dir}`.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn source_path(&self) -> &Path {
        self.source.as_deref().unwrap_or_else(|| panic!("{}: the case has no source", self.name))
    }

    /// Runs `candlefish LINE`; words are split at spaces before they are filled in, so that a path is one word.
    pub fn run(&self, line: &str) -> Output {
        self.run_args(line.split_whitespace().map(|word| self.fill(word)))
    }

    /// The same, for words with spaces in them.
    pub fn run_args(&self, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Output {
        let mut command = self.command();
        command.args(args);
        let line = format!("{command:?}");
        let mut child = command.spawn().expect("start candlefish");
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &self.input) {
            // The program may end without reading all of it.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        }
        let output = child.wait_with_output().expect("wait for candlefish");
        Output {
            case: format!("{}\n$ {line}", self.name),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            code: output.status.code(),
            redactions: self.redactions(),
        }
    }

    /// The program in the case's surroundings, for tests that talk to it while it runs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_candlefish"));
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["PG", "DATABASE_URL", "POOLER", "REDIS", "CANDLEFISH"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        let home = self.home.get_or_init(|| self.folder.path().join("no-stack"));
        command.env("CANDLEFISH_HOME", home).env("HOME", self.folder.path()).env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("CI", "1")
            .envs(&self.variables)
            .current_dir(self.folder.path());
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn fill(&self, word: &str) -> String {
        let mut word = word.replace("{dir}", &self.folder.path().display().to_string());
        if word.contains("{source}") {
            word = word.replace("{source}", &self.source_path().display().to_string());
        }
        if word.contains("{url}") || word.contains("{pooler}") {
            let database = self.database.as_deref().unwrap_or_else(|| panic!("{}: the case has no database", self.name));
            word = word.replace("{url}", &addresses().database_url_of(database));
            word = word.replace("{pooler}", &addresses().pooler_url_of(database));
        }
        if word.contains("{redis}") { word.replace("{redis}", &addresses().redis_url()) } else { word }
    }

    /// What differs from run to run, and the word that stands for it.
    fn redactions(&self) -> Vec<(String, String)> {
        let mut redactions = vec![];
        if let Some(source) = &self.source {
            redactions.push((source.display().to_string(), "{source}".to_string()));
        }
        redactions.push((self.folder.path().display().to_string(), "{dir}".to_string()));
        if let Some(database) = &self.database {
            let addresses = addresses();
            redactions.push((database.clone(), "{database}".to_string()));
            redactions.push((format!(":{}", addresses.postgres_port), ":{port}".to_string()));
            redactions.push((format!(":{}", addresses.pgbouncer_port), ":{pooler_port}".to_string()));
        }
        redactions
    }
}

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Output {
    case: String,
    pub stdout: String,
    pub stderr: String,
    /// None when a signal ended it.
    pub code: Option<i32>,
    redactions: Vec<(String, String)>,
}

impl Output {
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "the exit code of {self}");
        self
    }

    /// The whole of stdout, redacted: as in the file `fixtures/EXPECTED`. With `CANDLEFISH_BLESS=1` the file is written instead; read the diff.
    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        self.compare(&self.redacted(&self.stdout), expected);
        self
    }

    /// The same for stderr.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        self.compare(&self.redacted(&self.stderr), expected);
        self
    }

    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        assert!(self.redacted(&self.stdout).contains(part), "no {part:?} in the stdout of {self}");
        self
    }

    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        assert!(self.redacted(&self.stderr).contains(part), "no {part:?} in the stderr of {self}");
        self
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"))
    }

    /// Paths, names and ports by their words; times as `{time}`.
    fn redacted(&self, text: &str) -> String {
        let text = self.redactions.iter().fold(text.to_string(), |text, (volatile, word)| text.replace(volatile, word));
        redact_times(&text)
    }

    #[track_caller]
    fn compare(&self, actual: &str, expected: &str) {
        let path = fixture(expected);
        if env::var_os("CANDLEFISH_BLESS").is_some_and(|bless| bless == "1") {
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make the folder of expectations");
            fs::write(&path, actual).expect("write an expectation");
            return;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error} (CANDLEFISH_BLESS=1 writes it)", path.display()));
        assert!(wanted == actual, "not as in fixtures/{expected} (CANDLEFISH_BLESS=1 writes it):\n{actual}\n{self}");
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit {:?}\n── stdout\n{}\n── stderr\n{}", self.case, self.code, self.stdout, self.stderr)
    }
}

/// Words that are points in time (`2026-01-02T03:04:05Z`) or spans (`0.42 s`, `12ms`, `3.1s`) are `{time}`.
fn redact_times(text: &str) -> String {
    let is_number = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',') && word.contains(|c: char| c.is_ascii_digit())
    };
    let is_span = |word: &str| ["ms", "µs", "s", "min"].iter().any(|unit| word.strip_suffix(unit).is_some_and(is_number));
    let is_instant = |word: &str| word.len() >= 19 && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T' && word.starts_with("20");
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut words: Vec<String> = line.split(' ').map(str::to_string).collect();
        for at in 0..words.len() {
            let bare = words[at].trim_matches(|c: char| ",;:()\"".contains(c)).to_string();
            let with_unit = is_number(&bare)
                && words.get(at + 1).is_some_and(|unit| matches!(unit.trim_matches([',', ';', ')']), "s" | "ms" | "µs" | "min"));
            if is_span(&bare) || is_instant(&bare) || with_unit {
                words[at] = words[at].replace(&bare, "{time}");
            }
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

#[test]
fn times_are_redacted_and_other_numbers_are_not() {
    assert_eq!(
        redact_times("5 rows in 0.42 s (12ms), at 2026-01-02T03:04:05Z: 7 seconds"),
        "5 rows in {time} s ({time}), at {time}: 7 seconds"
    );
}

#[test]
fn a_database_is_fresh_and_goes_with_its_test() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, NULL), (2, 'x')");
    assert_eq!(database.rows("SELECT * FROM t ORDER BY a"), ["1|", "2|x"]);
    let name = database.name.clone();
    drop(database);
    let left = query(&addresses().database_url(), &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")).unwrap();
    assert!(left.is_empty());
}
