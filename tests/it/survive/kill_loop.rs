//! Kills at random moments, of candlefish, of PostgreSQL's backends and of PostgreSQL itself, each followed by `--resume` until all is done.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use candlefish::stack::{Addresses, ServerName, Servers, Stack};
use tempfile::TempDir;

use crate::support::{Case, execute_at, long, try_execute_at};
use crate::survive::{CHUNKS, OBJECTS, SET_ASIDE, SOURCE, rejects};

/// A PostgreSQL of one test, which may be killed.
struct Server {
    stack: Stack,
    addresses: Addresses,
    _folder: TempDir,
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stack = Stack::at(folder.path().join("home"));
        let addresses = stack.up(Servers::POSTGRES, None, &mut |_| {}).unwrap();
        Server { stack, addresses, _folder: folder }
    }

    fn up(&self) {
        self.stack.up(Servers::POSTGRES, None, &mut |_| {}).unwrap();
    }

    fn pid(&self) -> u32 {
        let status = self.stack.status().unwrap();
        status.iter().find(|server| server.name == ServerName::Postgres).unwrap().pid.unwrap()
    }

    fn url(&self, database: &str) -> String {
        self.addresses.database_url_of(database)
    }

    fn fresh(&self, name: &str) -> String {
        execute_at(&self.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let destroyed = self.stack.destroy();
        if !std::thread::panicking() {
            destroyed.unwrap();
        }
    }
}

/// Chance that is the same in every run of the same seed.
struct Chance(u64);

impl Chance {
    fn of(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn start(case: &Case, url: &str, resume: bool) -> Child {
    // The server may still be on its way up after the last blow.
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(url).args([CHUNKS, "--progress", "none", "--wait", "60"]);
    if resume {
        command.arg("--resume");
    }
    // What is said is written to a file: a pipe that nobody reads would fill.
    let said = fs::OpenOptions::new().create(true).append(true).open(log(case)).unwrap();
    command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap()
}

fn log(case: &Case) -> PathBuf {
    case.dir().join("said.txt")
}

fn wait(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

/// What is killed. Counted, so that the loop tells what it has tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Victim {
    Candlefish,
    /// `pg_terminate_backend` of one session of the run.
    Session,
    /// `kill -9` of one session's process: the whole server restarts itself.
    Backend,
    /// `kill -9` of PostgreSQL's first process, and a start.
    Postgres,
}

impl Victim {
    /// The last blow of a round, in turn; all before it are for candlefish itself, because a run that loses only its server heals itself, and the
    /// round is over.
    const LAST: [Victim; 4] = [Victim::Candlefish, Victim::Session, Victim::Backend, Victim::Postgres];
}

const SESSIONS: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'candlefish%' AND pid <> pg_backend_pid() ORDER BY pid";

/// How a run ended that was struck: it was killed itself, or it came to an end of its own; and whether the blow hit anything.
struct Struck {
    code: Option<i32>,
    hit: bool,
}

/// Kills one thing, `after` a run was started.
fn strike(server: &Server, mut child: Child, url: &str, victim: Victim, after: Duration, chance: &mut Chance) -> Struck {
    std::thread::sleep(after);
    let mut hit = child.try_wait().unwrap().is_none();
    if victim == Victim::Candlefish {
        child.kill().unwrap();
        return Struck { code: wait(child), hit };
    }
    if victim == Victim::Postgres {
        let pid = server.pid();
        kill_9(pid);
        server.up();
        return Struck { code: wait(child), hit };
    }
    // The server may be on its way up again, and the run at its end already.
    let sessions = try_execute_at(url, SESSIONS).unwrap_or_default();
    hit &= !sessions.is_empty();
    if !sessions.is_empty() {
        let pid = &sessions[chance.below(sessions.len() as u64) as usize];
        if victim == Victim::Session {
            // It may have gone by itself.
            let _ = try_execute_at(url, &format!("SELECT pg_terminate_backend({pid})"));
        } else {
            kill_9(pid.parse().unwrap());
        }
    }
    Struck { code: wait(child), hit }
}

/// The process may have gone by itself.
fn kill_9(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(std::process::Stdio::null()).status().unwrap();
}

/// Rows of every table, as one text a table.
fn contents(url: &str) -> Vec<String> {
    let tables = ["person", "visit", "setting"];
    let digest = |table: &str| {
        format!("SELECT '{table} ' || count(*) || ' ' || md5(string_agg(t::text, ' ' ORDER BY t::text COLLATE \"C\")) FROM {table} t")
    };
    tables.iter().flat_map(|table| try_execute_at(url, &digest(table)).unwrap()).collect()
}

#[test]
fn whatever_is_killed_whenever_all_arrives_once() {
    let rounds = if long() { 100 } else { 6 };
    let server = Server::new();
    let whole = server.fresh("whole");
    let case = Case::new("whole").source_sql(SOURCE);
    let began = Instant::now();
    assert_eq!(wait(start(&case, &whole, false)), Some(1), "{}", fs::read_to_string(log(&case)).unwrap());
    let length = began.elapsed();
    let (objects, rows) = (try_execute_at(&whole, OBJECTS).unwrap(), contents(&whole));
    let mut struck = std::collections::BTreeMap::<Victim, u32>::new();
    let mut resumed = 0;

    for round in 0..rounds {
        let mut chance = Chance::of(round + 1);
        let url = server.fresh(&format!("round_{round}"));
        let case = Case::new("a round").source_sql(SOURCE);
        let mut resume = false;
        let mut kills = 1 + chance.below(3);
        let code = loop {
            let child = start(&case, &url, resume);
            if kills == 0 {
                break wait(child);
            }
            kills -= 1;
            let victim = if kills > 0 { Victim::Candlefish } else { Victim::LAST[(round % 4) as usize] };
            // Later is after the end too often.
            let after = length.mul_f64(chance.below(900) as f64 / 1000.0);
            let blow = strike(&server, child, &url, victim, after, &mut chance);
            *struck.entry(victim).or_default() += u32::from(blow.hit);
            match blow.code {
                // A run whose backends are killed heals itself; what it could not heal can be resumed.
                Some(0 | 1) => break blow.code,
                Some(2) | None => {}
                other => panic!("round {round}, {victim:?}: {other:?}\n{}", fs::read_to_string(log(&case)).unwrap()),
            }
            resume = true;
            resumed += 1;
        };
        let said = || format!("round {round}\n{}", fs::read_to_string(log(&case)).unwrap());
        // Rows were set aside; a blow that came too late finds a run that is complete.
        assert!(code == Some(1) || resume && code == Some(0), "{code:?} {}", said());
        assert_eq!(contents(&url), rows, "{}", said());
        assert_eq!(try_execute_at(&url, OBJECTS).unwrap(), objects, "{}", said());
        assert_eq!(try_execute_at(&url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid").unwrap(), ["0"], "{}", said());
        assert_eq!(rejects(&case).len(), SET_ASIDE, "{}", said());
        let folder = fs::read_dir(case.dir().join("candlefish-rejects")).unwrap().next().unwrap().unwrap().path();
        let verified =
            case.run_args(["verify", &case.source_path().display().to_string(), &url, "--rejects", &folder.display().to_string()]);
        verified.exit(0);
        execute_at(&server.url("postgres"), &format!("DROP DATABASE round_{round} WITH (FORCE)"));
    }
    eprintln!("{rounds} rounds, each identical; hit {struck:?}, resumed {resumed} times; a whole run takes {length:?}");
}

#[test]
fn a_target_that_is_not_up_yet_is_waited_for_when_told_so() {
    let server = Server::new();
    let url = server.fresh("late");
    let case = Case::new("late").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)");
    let source = case.source_path().display().to_string();
    server.stack.down().unwrap();
    let unreachable = case.run_args(["migrate", &source, &url, "--json"]).exit(2).json();
    assert_eq!((&unreachable["error"]["code"], &unreachable["error"]["resumable"]), (&"target_unreachable".into(), &false.into()));
    let began = Instant::now();
    case.run_args(["migrate", &source, &url, "--wait", "1"]).exit(2);
    assert!(began.elapsed() >= Duration::from_secs(1));
    let mut command = case.command();
    let child = command.args(["migrate", &source, &url, "--wait", "60s"]).spawn().unwrap();
    server.up();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
