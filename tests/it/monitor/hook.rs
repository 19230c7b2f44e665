//! Alerts told over HTTPS: to a receiver whose certificate is trusted, and to none else.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::{Running, alert};
use crate::connect::make_certificates;
use crate::server::{Server, machine};
use crate::stats::session_at;
use crate::support::{Case, Database};

/// Takes one request and answers it; none where the other side hangs up before it has asked.
pub fn take(reader: &mut BufReader<impl Read + Write>) -> Option<Value> {
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap_or(0) > 0 && line.trim() != "" {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        line.clear();
    }
    if length == 0 {
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    Some(serde_json::from_slice(&body).unwrap())
}

/// Takes what it is sent over TLS, with the certificate of this name.
fn receiver(folder: &Path, name: &str) -> (u16, Receiver<Value>) {
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            // A client that does not trust us says nothing.
            if take(&mut BufReader::new(tls)).is_some_and(|document| sender.send(document).is_err()) {
                return;
            }
        }
    });
    (port, received)
}

#[test]
fn alerts_go_over_https_to_who_is_trusted() {
    let database = Database::fresh();
    let case = Case::new("https").database(&database);
    make_certificates(case.dir());
    let authority = case.dir().join("ca.crt").display().to_string();
    let case = case.env("SSL_CERT_FILE", &authority);
    // Somebody is always connected: the one who asks.
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  open: {condition: pool_usage > 0%, severity: info}\n").unwrap();
    let run = |port: u16| {
        let hook = format!("https://localhost:{port}/a/secret");
        case.run_args([
            "monitor",
            "--once",
            "--rules",
            "rules.yaml",
            "--state-file",
            "state.json",
            "--webhook",
            &hook,
            "-d",
            &database.url(),
        ])
    };
    let (port, unheard) = receiver(case.dir(), "selfsigned");
    let refused = run(port).exit(1).stderr_has("the webhook did not take open: ").stderr_has("certificate").stderr_has("it is tried again");
    assert!(!refused.stderr.contains("secret") && unheard.try_recv().is_err(), "{refused}");
    // The next run tells it, to who is trusted now.
    let (port, told) = receiver(case.dir(), "signed");
    let output = run(port).exit(1);
    let document = told.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("nothing came: {output}"));
    assert_eq!((&document["status"], &document["alerts"][0]["labels"]["alertname"]), (&"firing".into(), &"open".into()));
    assert!(!output.stderr.contains("webhook"), "{output}");
    // Told once.
    run(port).exit(1);
    assert!(told.try_recv().is_err());
}

/// What a receiver answers in plain HTTP; none: it takes the question and never answers. Each question is given on.
pub(super) fn plain(answers: Vec<Option<&'static str>>) -> (u16, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        let mut hanging = Vec::new();
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65536]);
            if sender.send(Instant::now()).is_err() {
                return;
            }
            match answers.next().flatten() {
                None => hanging.push(stream),
                Some(head) => {
                    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
                }
            }
        }
    });
    (port, asked)
}

/// A job is held up for seconds, and not for as long as a receiver likes; what was not told is told by the next.
#[test]
fn a_receiver_that_hangs_or_asks_to_wait_holds_up_no_job_and_loses_nothing() {
    let database = Database::fresh();
    let case = Case::new("slow receiver").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  a: {condition: pool_usage > 0%}\n  b: {condition: pool_usage > 0%}\n")
        .unwrap();
    let url = database.url();
    let run = |port: u16, more: &[&str]| {
        let hook = format!("http://127.0.0.1:{port}/");
        let words = ["monitor", "--once", "--rules", "rules.yaml", "--webhook", &hook, "-d", &url];
        let began = Instant::now();
        (case.run_args(words.iter().chain(more)), began.elapsed())
    };
    let kept = ["--state-file", "state.json"];
    let (hangs, _asked) = plain(Vec::new());
    let (said, took) = run(hangs, &kept);
    said.exit(1).stderr_has("did not take a: no answer within").stderr_has("2 not told: a, b").stderr_has("the next run tells them");
    // Nagios waits for 10 s.
    assert!(took < Duration::from_secs(9), "{took:?}");
    // It has asked to be left alone: the next job leaves it alone, and the one after it tells both.
    let (busy, asked) = plain(vec![Some("503 Service Unavailable\r\nretry-after: 3"), Some("200 OK"), Some("200 OK")]);
    let (said, _) = run(busy, &kept);
    said.exit(1);
    let asked: Vec<Instant> = asked.try_iter().collect();
    assert_eq!(asked.len(), 3);
    assert!(asked[1] - asked[0] >= Duration::from_secs(3), "{:?}", asked[1] - asked[0]);
    std::fs::remove_file(case.dir().join("state.json")).unwrap();
    let (busy, asked) = plain(vec![Some("429 Too Many Requests\r\nretry-after: 120"), Some("200 OK")]);
    run(busy, &kept).0.exit(1).stderr_has("and asks to wait").stderr_has("2 not told: a, b");
    run(busy, &kept).0.exit(1).stderr_has("2 not told: a, b (the webhook has asked to be left alone until ");
    assert_eq!(asked.try_iter().count(), 1);
    // One that says no, because its path or password is another now, loses nothing either: silenced or not, that is said, and the next run tells it.
    std::fs::remove_file(case.dir().join("state.json")).unwrap();
    let (moved, _asked) = plain(vec![Some("404 Not Found"), Some("301 Moved Permanently\r\nlocation: /x"), Some("200 OK"), Some("200 OK")]);
    let quiet = [&kept[..], &["-q"]].concat();
    run(moved, &quiet).0.exit(1).stderr_has("it answered 404 Not Found; it is tried again").stderr_has("2 not told: a, b");
    let (said, _) = run(moved, &quiet);
    assert!(!said.exit(1).stderr.contains("not told"), "they are told now");
    let (busy, _asked) = plain(vec![Some("503 Service Unavailable\r\nretry-after: 120")]);
    run(busy, &["--ignore-for"]).0.exit(1).stderr_has("without a state file they are lost");
}

/// What is refused, or gets no answer, is said, and holds up nothing else.
#[test]
fn an_alert_that_its_receiver_does_not_take_holds_up_no_other() {
    let database = Database::fresh();
    let case = Case::new("one refused").database(&database);
    let rules = "alerts:\n  a: {condition: pool_usage > 0%}\n  b: {condition: pool_usage > 0%}\n  c: {condition: pool_usage > 0%}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, told) = channel();
    // It never answers for a, fails for b, and takes c.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let (mut said, mut part) = (String::new(), [0; 65536]);
                while !said.contains("\"version\":\"4\"") {
                    let length = stream.read(&mut part).unwrap();
                    said.push_str(&String::from_utf8_lossy(&part[..length]));
                }
                let is = |name: &str| said.contains(&format!("\"alertname\":\"{name}\""));
                if is("a") {
                    std::thread::sleep(Duration::from_secs(60));
                }
                let head = if is("b") { "500 Internal Server Error" } else { "200 OK" };
                let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
                if is("c") {
                    let _ = sender.send(());
                }
            });
        }
    });
    let words = ["monitor", "--rules", "rules.yaml", "--ignore-for", "--interval", "1s", "--webhook", &hook, "-d", &database.url()];
    // Of its table little is written, and nobody reads it.
    let mut running = Running::start(&case, &words);
    told.recv_timeout(Duration::from_secs(8)).expect("c was not told");
    let mut said = String::new();
    while !(said.contains("did not take a: no answer within 10 s") && said.contains("did not take b: it answered 500")) {
        assert!(running.errors.read_line(&mut said).unwrap() > 0, "{said}");
    }
}

/// An alert that fires and ends while its receiver refuses everything is told, both of it and in that order, when it is taken again; and a receiver that
/// refuses is left alone for as long as it asks, whatever it answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_a_receiver_refused_is_told_when_it_takes_again() {
    let server = Server::start(&machine(), &[]);
    let case = Case::new("refused");
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  many: {condition: pool_usage > 30%}\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/", listener.local_addr().unwrap());
    let takes = Arc::new(AtomicBool::new(false));
    let (sender, told) = channel();
    let answers = takes.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut said, mut part) = (stream.unwrap(), String::new(), [0; 65536]);
            while !said.contains("\"version\":\"4\"") {
                let length = stream.read(&mut part).unwrap();
                said.push_str(&String::from_utf8_lossy(&part[..length]));
            }
            let takes = answers.load(Ordering::SeqCst);
            let head = if takes { "200 OK" } else { "403 Forbidden\r\nretry-after: 4" };
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
            let is_resolved = said.contains("\"status\":\"resolved\"");
            if sender.send((Instant::now(), takes, is_resolved)).is_err() {
                return;
            }
        }
    });
    let url = server.url();
    let mut many = Vec::new();
    for _ in 0..12 {
        many.push(session_at(&url).await);
    }
    let words = ["monitor", "--rules", "rules.yaml", "--ignore-for", "--interval", "500ms", "--json", "--webhook", &hook, "-d", &url];
    let mut running = Running::start(&case, &words);
    running.until("the alert", || (), |sample| alert(sample, "many")["state"] == "firing");
    let (first, taken, is_resolved) = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(!taken && !is_resolved);
    drop(many);
    running.until("its end", || (), |sample| alert(sample, "many")["state"] != "firing");
    takes.store(true, Ordering::SeqCst);
    let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    let (again, taken, is_resolved) = next();
    assert!(taken && !is_resolved && again - first >= Duration::from_secs(4), "{:?}", again - first);
    let (_, taken, is_resolved) = next();
    assert!(taken && is_resolved);
    running.stop();
}
