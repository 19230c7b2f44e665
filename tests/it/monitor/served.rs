//! What is served: metrics as Prometheus wants them, and only to those who may ask.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Running, get};
use crate::support::{Case, Database};

/// POST of a form, and all that comes.
fn post(url: &str, form: &str) -> String {
    let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST /{path} HTTP/1.1\r\nHost: {server}\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", form.len());
    stream.write_all((head + form).as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn metrics_are_served_as_prometheus_wants_them_and_only_to_those_who_may() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements");
    let case = Case::new("served").database(&database).env("POOLER_URL", &database.pooler_url());
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "300ms", "--json", "-d", &url]);
    let page = running.page();
    running.next();
    running.next();
    let (status, metrics) = get(&format!("{page}/metrics"), &[]);
    assert_eq!(status, 200);
    assert!(
        metrics.contains("candlefish_source_up{source=\"pg_stat_statements\"} 1") && metrics.contains("candlefish_pg_commits_total "),
        "{metrics}"
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}\n{metrics}");
    let status: Value = serde_json::from_str(&get(&format!("{page}/api/v1/status"), &[]).1).unwrap();
    assert_eq!((&status["schema_version"], status["kpis"].as_array().unwrap().len()), (&Value::from(1), 8));
    assert_eq!(get(&format!("{page}/healthz"), &[]), (200, "ok\n".to_string()));
    assert!(!status.to_string().contains(&url), "no password is served");
    // Another site's name for this address.
    assert_eq!(get(&format!("{page}/api/v1/status"), &[("Host", "evil.example")]).0, 403);
    assert_eq!(get(&format!("{page}/nowhere"), &[]).0, 404);
    // A crowd that asks nothing keeps nobody out, and is sent away.
    let server = page.trim_start_matches("http://");
    let mut crowd: Vec<TcpStream> = (0..193)
        .map(|_| {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // The server may not have heard of it yet.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ");
            stream
        })
        .collect();
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(get(&format!("{page}/metrics"), &[]).0, 200);
        assert!(began.elapsed() < Duration::from_secs(1), "a scrape took {:?}", began.elapsed());
    }
    // The last to come is the last to go.
    for one in [0, 192] {
        let ended = crowd[one].read_to_end(&mut Vec::new());
        let is_cut = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(is_cut || ended.as_ref().is_ok_and(|length| *length < 1000), "it is still there: {ended:?}");
    }
    running.stop();

    case.run("monitor --serve 0.0.0.0:0 -d {url}").exit(2).stderr_has("there is no token");
    std::fs::write(case.dir().join("token"), "0123456789abcdef0123\n").unwrap();
    let mut running =
        Running::start(&case, &["monitor", "--serve", "0.0.0.0:0", "--token-file", "token", "--interval", "300ms", "--json", "-d", &url]);
    let page = running.page().replace("0.0.0.0", "127.0.0.1");
    running.next();
    // Each port has its own: browsers give a host's to all of them.
    let cookie = format!("candlefish-{}=0123456789abcdef0123", page.rsplit_once(':').unwrap().1);
    assert_eq!(get(&format!("{page}/"), &[("Cookie", "candlefish-1=0123456789abcdef0123")]).0, 401);
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/history"] {
        assert_eq!(get(&format!("{page}{path}"), &[]).0, 401, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Authorization", "Bearer 0123456789abcdef0124")]).0, 401, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Authorization", "Bearer 0123456789abcdef0123")]).0, 200, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Cookie", &format!("a=b; {cookie}"))]).0, 200, "{path}");
    }
    assert_eq!(get(&format!("{page}/?token=0123456789abcdef0123"), &[]).0, 303);
    // A browser is asked for it; programs are told.
    let (status, asked) = get(&format!("{page}/"), &[("Accept", "text/html,*/*")]);
    assert!(status == 401 && asked.contains("name=\"token\"") && !asked.contains("not the token"), "{asked}");
    // It leads to no other host, and nowhere by a wrong one beside a right cookie.
    assert_eq!(get(&format!("{page}//elsewhere.example/?token=0123456789abcdef0123"), &[]).0, 404);
    let entered = [("Cookie", cookie.as_str())];
    assert_eq!(get(&format!("{page}//elsewhere.example/?token=wrong"), &entered).0, 404);
    assert_eq!(get(&format!("{page}/api/v1/status?token=wrong"), &entered).0, 200);
    assert!(get(&format!("{page}/?token=wrong"), &[("Accept", "text/html")]).1.contains("That is not the token"));
    let answer = |token: &str| post(&format!("{page}/token"), &format!("token={token}"));
    assert!(answer("wrong").starts_with("HTTP/1.1 401"));
    let right = answer("0123456789abcdef0123");
    assert!(right.starts_with("HTTP/1.1 303") && right.contains(&format!("{cookie}; HttpOnly; SameSite=Lax")), "{right}");
    assert_eq!(get(&format!("{page}/healthz"), &[]).0, 200);
}

/// Somebody who asks again and again by one connection, as Prometheus does.
struct Scraper(BufReader<TcpStream>);

impl Scraper {
    fn connect(server: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Scraper(BufReader::new(stream))
    }

    /// The status of the answer; an error where the connection is gone.
    fn ask(&mut self) -> std::io::Result<String> {
        self.0.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (mut status, mut length, mut line) = (String::new(), 0, String::new());
        while line != "\r\n" {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if status.is_empty() {
                status = line.trim().to_string();
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(status)
    }
}

#[test]
fn a_crowd_sends_nobody_away_who_asks_regularly() {
    let database = Database::fresh();
    let case = Case::new("crowd").database(&database);
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "500ms", "--json", "-d", &url]);
    let page = running.page();
    running.next();
    running.next();
    let server = page.trim_start_matches("http://");
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", running.process())).unwrap();
        files
            .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let mut scraper = Scraper::connect(server);
    let good = "HTTP/1.1 200 OK";
    assert_eq!(scraper.ask().unwrap(), good);
    // Who says nothing, or only half of it; and then who asks once and stays.
    let mut crowd = Vec::new();
    for asks in [false, true] {
        for number in 0..200 {
            let mut one = Scraper::connect(server);
            if asks {
                assert_eq!(one.ask().unwrap(), good, "{number}");
            } else if number % 2 == 0 {
                // The server may not have heard of it yet.
                let _ = one.0.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: ");
            }
            crowd.push(one);
            if number % 20 == 0 {
                assert_eq!(scraper.ask().unwrap_or_else(|error| panic!("sent away by the {number}th: {error}")), good);
            }
        }
        assert!(sockets() < 64 + 10, "{} sockets", sockets());
        // Not by its silence between two scrapes either, be it longer than anybody may take to begin.
        std::thread::sleep(Duration::from_secs(6));
        assert_eq!(scraper.ask().unwrap_or_else(|error| panic!("sent away while it was silent: {error}")), good);
    }
    running.stop();
}
