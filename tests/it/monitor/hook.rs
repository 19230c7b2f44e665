//! Alerts told over HTTPS: to a receiver whose certificate is trusted, and to none else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::connect::make_certificates;
use crate::support::{Case, Database};

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
            let mut reader = BufReader::new(tls);
            let (mut length, mut line) = (0, String::new());
            // A client that does not trust us says nothing.
            while reader.read_line(&mut line).unwrap_or(0) > 0 && line.trim() != "" {
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            if length == 0 {
                continue;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
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
