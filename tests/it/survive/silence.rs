//! Networks that fall silent, signals that are said twice, and processes that were given up for dead.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Case, Database, addresses};
use crate::survive::{CHUNKS, Gate, SET_ASIDE, SOURCE, STANDING, ended, rejects, send, start};

/// A proxy before PostgreSQL. While it is silent it takes what comes, and forwards nothing.
struct Proxy {
    port: u16,
    silent: Arc<AtomicBool>,
    /// Whoever comes is hung up on, as by a server that shuts down or is still to come.
    closed: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, silent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::clone(&silent);
        let (closed, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (shut, held) = (Arc::clone(&closed), Arc::clone(&open));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shut.load(Ordering::SeqCst) {
                    continue;
                }
                held.lock().unwrap().push(client.try_clone().unwrap());
                let Ok(server) = TcpStream::connect(("127.0.0.1", addresses().postgres_port)) else { continue };
                for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    let silent = Arc::clone(&shared);
                    std::thread::spawn(move || forward(from, to, &silent));
                }
            }
        });
        Proxy { port, silent, closed, open }
    }

    /// `url` by way of the proxy.
    fn before(&self, url: &str) -> String {
        url.replace(&format!(":{}/", addresses().postgres_port), &format!(":{}/", self.port))
    }

    /// Hangs up on everybody, and on whoever comes from now on.
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.open.lock().unwrap().drain(..).for_each(|stream| drop(stream.shutdown(std::net::Shutdown::Both)));
    }
}

/// What was swallowed once is never forwarded again, as on a route that has changed.
fn forward(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let (mut buffer, mut swallowed) = (vec![0; 64 * 1024], false);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        swallowed |= silent.load(Ordering::SeqCst);
        if !swallowed && to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    if !swallowed {
        // Either may be gone already.
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

/// Reads what the child says until this is in it.
fn await_said(child: &mut Child, wanted: &str) -> String {
    let (mut said, mut byte) = (String::new(), [0; 1]);
    let pipe = child.stderr.as_mut().unwrap();
    while !said.contains(wanted) {
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "{wanted:?} was never said: {said}");
        said.push(char::from(byte[0]));
    }
    said
}

#[test]
fn a_network_that_falls_silent_is_taken_for_cut() {
    let database = Database::fresh();
    let proxy = Proxy::start();
    let case = Case::new("silent").source_sql(SOURCE).database(&database);
    let url = database.url().replace(&format!(":{}/", addresses().postgres_port), &format!(":{}/", proxy.port));
    let gate = Gate::at(&database, "visit", 3);
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(format!("{url}?tcp_user_timeout=2000")).args([CHUNKS, "--jobs=1"]);
    let child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
    gate.await_somebody(&database);
    proxy.silent.store(true, Ordering::SeqCst);
    let mut child = child;
    let said = await_said(&mut child, "trying again in");
    assert!(said.contains("the target has not answered for 2 s"), "{said}");
    proxy.silent.store(false, Ordering::SeqCst);
    // The old sessions still stand before the gate; they are ended, and new ones come to it.
    gate.open(&database);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(1), "{said}{stderr}");
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT id) FROM visit"), [format!("{0}|{0}", 12000 - SET_ASIDE)]);
    assert_eq!(rejects(&case).len(), SET_ASIDE);
    case.run("verify {source} {url}").exit(0);
}

/// A server that shuts down takes connections and hangs up; so does a proxy before one that is still to come.
#[test]
fn who_hangs_up_and_has_answered_before_is_asked_again() {
    let database = Database::fresh();
    let proxy = Proxy::start();
    let case = Case::new("hung-up").source_sql(SOURCE).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(proxy.before(&database.url())).args([CHUNKS, "--jobs=1", "--wait=30"]);
    proxy.close();
    let mut child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
    // Three tries at least.
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    proxy.closed.store(false, Ordering::SeqCst);
    gate.await_somebody(&database);
    proxy.close();
    let said = await_said(&mut child, "takes the connection and hangs up; trying again in");
    proxy.closed.store(false, Ordering::SeqCst);
    gate.await_somebody(&database);
    gate.open(&database);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(1), "{said}{stderr}");
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT id) FROM visit"), [format!("{0}|{0}", 12000 - SET_ASIDE)]);
}

#[test]
fn who_says_it_twice_does_not_wait() {
    let database = Database::fresh();
    let proxy = Proxy::start();
    let case = Case::new("twice").source_sql(SOURCE).database(&database);
    let url = database.url().replace(&format!(":{}/", addresses().postgres_port), &format!(":{}/", proxy.port));
    let gate = Gate::at(&database, "visit", 3);
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(&url).args([CHUNKS, "--jobs=1"]);
    let child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
    gate.await_somebody(&database);
    // The first waits for a target that does not answer.
    proxy.silent.store(true, Ordering::SeqCst);
    let mut child = child;
    send(&child, "-INT");
    let stderr = await_said(&mut child, "stopping: what is under way is rolled back");
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    let began = Instant::now();
    send(&child, "-INT");
    let (code, _, rest) = ended(child);
    assert_eq!(code, Some(130), "{stderr}{rest}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // What it left behind still stands before the gate, behind the silence; whoever goes on with the run ends it and comes there itself.
    let behind = STANDING.replace("count(*) > 0", "pid");
    let old = database.value(&behind);
    let resumed = start(&case, &database, &[CHUNKS, "--resume"]);
    database.until(&format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {old}"));
    gate.await_somebody(&database);
    gate.open(&database);
    let (code, _, stderr) = ended(resumed);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(database.value("SELECT count(*) FROM visit"), (12000 - SET_ASIDE).to_string());
}

/// A process on another machine cannot be asked whether it lives: its heartbeat tells.
#[test]
fn a_run_of_another_machine_is_taken_over_when_its_heart_stands_still() {
    let database = Database::fresh();
    // In WAL mode the source may be read while the first, which stands still, has it open.
    let case = Case::new("takeover").source_sql(&format!("PRAGMA journal_mode=WAL; {SOURCE}")).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let child = start(&case, &database, &[CHUNKS, "--jobs=1"]);
    gate.await_somebody(&database);
    // It stands still, as a machine does that has lost its network; to us it is on another.
    send(&child, "-STOP");
    database.execute("UPDATE candlefish.heartbeat SET process = 'elsewhere 4711 99'");
    let resumed = start(&case, &database, &[CHUNKS, "--resume"]);
    // The old sessions are ended, and a new one comes to the gate.
    let old = "SELECT count(*) > 0 FROM candlefish.heartbeat WHERE process <> 'elsewhere 4711 99'";
    database.until(old);
    gate.await_somebody(&database);
    gate.open(&database);
    let (code, _, stderr) = ended(resumed);
    assert_eq!(code, Some(1), "{stderr}");
    // Woken, the first finds that the run is another's, and leaves it alone.
    send(&child, "-CONT");
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("has taken run") || stderr.contains("another candlefish"), "{stderr}");
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT id) FROM visit"), [format!("{0}|{0}", 12000 - SET_ASIDE)]);
    case.run("verify {source} {url} --schema-objects").exit(0);
}
