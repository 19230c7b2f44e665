//! A network that a test can cut: between a store and its server.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Takes everything and passes nothing on: a cable that was pulled.
    Hole,
}

pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    trap: Arc<Mutex<Trap>>,
}

#[derive(Default)]
struct Trap {
    /// Text after which, once it was passed on, nobody hears back.
    after: Option<Vec<u8>>,
    /// Then the cable is pulled.
    pulls: bool,
    /// Then the client is cut off.
    cuts: bool,
    /// All that clients have said and the server has heard.
    said: Vec<u8>,
}

impl Trap {
    /// Whether it springs at these bytes.
    fn hears(&mut self, bytes: &[u8], mode: &watch::Sender<Mode>) -> bool {
        self.said.extend(bytes);
        let springs = self.after.as_ref().is_some_and(|text| bytes.windows(text.len()).any(|window| window == &text[..]));
        if springs {
            self.after = None;
            if self.pulls {
                mode.send_replace(Mode::Hole);
            }
        }
        springs && self.cuts
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), mode: watch::channel(Mode::Open).0, trap: Arc::default() };
        let (mode, trap) = (proxy.mode.clone(), proxy.trap.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, mode.clone(), trap.clone()));
            }
        });
        proxy
    }

    pub fn pull_the_cable(&self) {
        self.mode.send_replace(Mode::Hole);
    }

    pub fn plug_it_in(&self) {
        self.mode.send_replace(Mode::Open);
    }

    /// Once: the next connection that sends this is cut when the server has it.
    pub fn cut_after(&self, text: &str) {
        self.set(text, true, false);
    }

    /// The same, and nobody else gets through until it is plugged in.
    pub fn cut_and_pull_after(&self, text: &str) {
        self.set(text, true, true);
    }

    /// The server has it, and its answer waits until it is plugged in.
    pub fn pull_after(&self, text: &str) {
        self.set(text, false, true);
    }

    fn set(&self, text: &str, cuts: bool, pulls: bool) {
        let mut trap = self.trap.lock().unwrap();
        (trap.after, trap.cuts, trap.pulls) = (Some(text.as_bytes().to_vec()), cuts, pulls);
    }

    /// How often the server has heard this.
    pub fn heard(&self, text: &str) -> usize {
        self.trap.lock().unwrap().said.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }
}

async fn carry(client: TcpStream, port: u16, cable: watch::Sender<Mode>, trap: Arc<Mutex<Trap>>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut mode, mut mode_back) = (cable.subscribe(), cable.subscribe());
    let there = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let length = from_client.read(&mut bytes).await.unwrap_or(0);
            if length == 0 || mode.wait_for(|mode| *mode == Mode::Open).await.is_err() {
                return;
            }
            let cuts = trap.lock().unwrap().hears(&bytes[..length], &cable);
            if to_server.write_all(&bytes[..length]).await.is_err() {
                return;
            }
            if cuts {
                return;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let length = from_server.read(&mut bytes).await.unwrap_or(0);
            if length == 0
                || mode_back.wait_for(|mode| *mode == Mode::Open).await.is_err()
                || to_client.write_all(&bytes[..length]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = there => {}
        () = back => {}
    }
    drop((from_client, to_client));
    // The server does what it has before it hears the end: a connection that is merely dropped would take the unread with it. Nobody hears its answer.
    let _ = to_server.shutdown().await;
    let mut rest = [0; 4096];
    while from_server.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}
