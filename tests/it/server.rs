//! PostgreSQL of a version that a test names, from `cargo xtask matrix`, with settings of the test's own; gone with the test.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use tempfile::TempDir;

use crate::support::query;

pub struct Server {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
    /// Who runs it: PostgreSQL refuses root.
    account: Option<(u32, u32)>,
}

/// The major versions to try, each with the folder of its programs: those of `CANDLEFISH_MATRIX` (`none`: the caller wants none), else what has been
/// fetched of 13 and 18, else the machine's own.
pub fn versions() -> Vec<(String, PathBuf)> {
    let folder = env::var_os("CANDLEFISH_MATRIX_DIR")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target").join("postgres"), PathBuf::from);
    let asked = env::var("CANDLEFISH_MATRIX").ok();
    let wanted = asked.as_deref().unwrap_or("13,18").split(',').map(str::to_string);
    let found = wanted.map(|version| (version.clone(), folder.join(version).join("bin")));
    if asked.as_deref() == Some("none") {
        return Vec::new();
    }
    // Who asks for a version gets it or a failure; who does not gets what is there, and never a test of nothing.
    let found: Vec<_> = found.filter(|(_, bin)| asked.is_some() || bin.join("postgres").exists()).collect();
    if found.is_empty() { vec![(major(&machine()), machine())] } else { found }
}

/// `15` of `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`.
fn major(bin: &Path) -> String {
    let said = Command::new(bin.join("postgres")).arg("--version").output().expect("ask PostgreSQL for its version").stdout;
    let said = String::from_utf8_lossy(&said);
    let version = said.split_whitespace().nth(2).and_then(|version| version.split('.').next());
    version.unwrap_or_else(|| panic!("no version in {said:?}")).to_string()
}

/// The programs of the machine's own PostgreSQL.
pub fn machine() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let mut folders: Vec<PathBuf> = env::split_paths(&path).chain(versions).filter(|folder| folder.join("initdb").is_file()).collect();
    folders.sort();
    let folder = folders.pop().expect("cargo xtask setup installs PostgreSQL");
    // A link to it has not all of its neighbours.
    let program = fs::canonicalize(folder.join("initdb")).expect("initdb is there");
    program.parent().expect("it lies in a folder").to_path_buf()
}

impl Server {
    /// A new cluster, started with these lines of postgresql.conf.
    pub fn start(bin: &Path, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("candlefish-it-").tempdir_in("/tmp").expect("make the server's folder");
        let account = is_root().then(servers_account);
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid)).expect("give the folder to the server's account");
        }
        let server = Server { bin: bin.to_path_buf(), folder, port: free_port(), account };
        server.fill();
        server.configure(settings);
        server.run("pg_ctl", &["start", "--silent", "--wait", "--log", &server.path("log")]);
        server
    }

    /// initdb takes a second or more, a copy of what it has made a tenth of that: it is run once for each build of PostgreSQL.
    fn fill(&self) {
        let version = Command::new(self.bin.join("postgres")).arg("--version").output().expect("ask PostgreSQL for its version").stdout;
        let owner = self.account.map_or(0, |(uid, _)| uid);
        let of = format!("{} {owner} {}", self.bin.display(), String::from_utf8_lossy(&version));
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clusters/{:016x}", xxhash_rust::xxh3::xxh3_64(of.as_bytes())));
        let copy = |from: &Path, to: &Path| {
            let status = Command::new("cp").arg("-a").args([from, to]).status().expect("run cp");
            assert!(status.success(), "copy {} to {}: {status}", from.display(), to.display());
        };
        let data = PathBuf::from(self.path("data"));
        if made.exists() {
            return copy(&made, &data);
        }
        self.run("initdb", &["--auth=trust", "--encoding=UTF8", "--username=candlefish", "--locale=C", "--no-sync"]);
        // Whole or not at all, whoever else does the same.
        let making = made.with_extension(format!("{}-{}", std::process::id(), self.port));
        fs::create_dir_all(made.parent().expect("it has a folder")).expect("make the folder of clusters");
        copy(&data, &making);
        if fs::rename(&making, &made).is_err() {
            fs::remove_dir_all(&making).expect("remove what another one has made");
        }
    }

    /// A standby of this one.
    pub fn standby(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("candlefish-it-").tempdir_in("/tmp").expect("make the standby's folder");
        if let Some((uid, gid)) = self.account {
            chown(folder.path(), Some(uid), Some(gid)).expect("give the folder to the server's account");
        }
        let standby = Server { bin: self.bin.clone(), folder, port: free_port(), account: self.account };
        let port = self.port.to_string();
        let from = ["--host=127.0.0.1", "--port", &port, "--username=candlefish"];
        standby.run("pg_basebackup", &[&from[..], &["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]].concat());
        standby.configure(&[]);
        standby.run("pg_ctl", &["start", "--silent", "--wait", "--log", &standby.path("log")]);
        standby
    }

    /// A locale of this machine's sources, made for this server alone.
    pub fn add_locale(&self, name: &str) {
        let folder = self.path("locales");
        fs::create_dir_all(&folder).expect("make the folder of locales");
        let made = Command::new("localedef").args(["-i", name, "-f", "UTF-8", &format!("{folder}/{name}.UTF-8")]).status();
        assert!(made.expect("run localedef").success(), "make the locale {name}");
    }

    /// Stops it and starts it with other settings; what is in it stays.
    pub fn restart(&self, settings: &[&str]) {
        self.run("pg_ctl", &["stop", "--silent", "--wait", "--mode=fast"]);
        self.configure(settings);
        self.run("pg_ctl", &["start", "--silent", "--wait", "--log", &self.path("log")]);
    }

    /// Stops it, as a crash would.
    pub fn stop(&self) {
        self.run("pg_ctl", &["stop", "--silent", "--wait", "--mode=immediate"]);
    }

    /// Takes it down, lets somebody change its data folder, and starts it again.
    pub fn restart_after(&self, settings: &[&str], change: impl FnOnce(&Path)) {
        self.run("pg_ctl", &["stop", "--silent", "--wait", "--mode=fast"]);
        change(Path::new(&self.path("data")));
        self.configure(settings);
        self.run("pg_ctl", &["start", "--silent", "--wait", "--log", &self.path("log")]);
    }

    /// Starts it when it has gone down by itself.
    pub fn start_again(&self) {
        self.run("pg_ctl", &["start", "--silent", "--wait", "--log", &self.path("log")]);
    }

    pub fn url(&self) -> String {
        self.url_as("candlefish")
    }

    pub fn url_as(&self, user: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/postgres", self.port)
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        query(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    fn configure(&self, settings: &[&str]) {
        let own = [
            format!("port = {}", self.port),
            "listen_addresses = '127.0.0.1'".to_string(),
            format!("unix_socket_directories = '{}'", self.folder.path().display()),
            "fsync = off".to_string(),
            "max_connections = 30".to_string(),
            "shared_buffers = '16MB'".to_string(),
        ];
        let text: Vec<String> = own.into_iter().chain(settings.iter().map(ToString::to_string)).collect();
        fs::write(format!("{}/postgresql.conf", self.path("data")), text.join("\n") + "\n").expect("write postgresql.conf");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command
            .args(arguments)
            .arg("-D")
            .arg(self.path("data"))
            .current_dir("/")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("LOCPATH", self.path("locales"));
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        // A server that inherited a pipe would hold its reader.
        let said = fs::File::create(self.path("said")).expect("open a file for what is said");
        let again = said.try_clone().expect("share it");
        let status = command.stdin(Stdio::null()).stdout(said).stderr(again).status().expect("run a program of PostgreSQL");
        let words = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {status}\n{}\n{}", words("said"), words("log"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Stopped already is as good.
        let mut command = Command::new(self.bin.join("pg_ctl"));
        command.args(["stop", "--silent", "--wait", "--mode=immediate", "-D", &self.path("data")]).current_dir("/");
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|there| std::os::unix::fs::MetadataExt::uid(&there) == 0)
}

fn servers_account() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let of = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("an account that is not root")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("find a free port");
    listener.local_addr().expect("its own address").port()
}
