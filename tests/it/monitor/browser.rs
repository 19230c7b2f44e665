//! A browser without a window that stays on its page while things change around it: asked through its debugging pipe, JSON ended by a NUL.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub const FLAGS: [&str; 6] =
    ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"];

pub fn chromium() -> PathBuf {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file());
    found.expect("cargo xtask setup installs Chromium")
}

pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    said: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    _profile: TempDir,
}

impl Browser {
    /// On the page at this address.
    pub fn at(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads from 3 and writes to 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh"]).arg(chromium()).args(FLAGS);
        command.arg("--remote-debugging-pipe").arg("--window-size=1280,1600").arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).unwrap_or(0) > 0 {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser { child, pipe, said, session: None, asked: 0, _profile: profile };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = Some(session["sessionId"].as_str().unwrap().to_string());
        browser.ask("Page.navigate", json!({ "url": url }));
        browser
    }

    /// What a script on the page comes to.
    #[track_caller]
    pub fn value(&mut self, script: &str) -> Value {
        let asked = self.ask("Runtime.evaluate", json!({ "expression": script, "returnByValue": true, "awaitPromise": true }));
        assert!(asked.get("exceptionDetails").is_none(), "{script}: {asked:#}");
        asked["result"]["value"].clone()
    }

    /// Waits on the page until this is true of it.
    #[track_caller]
    pub fn until(&mut self, what: &str, condition: &str) {
        let looks = format!(
            "new Promise(done => {{ const began = Date.now(); const look = () => {{ let is = false; try {{ is = {condition}; }} catch {{}} \
             if (is || Date.now() - began > 45000) done(!!is); else setTimeout(look, 50); }}; look(); }})"
        );
        if self.value(&looks) != true {
            let page = self.value("document.documentElement.outerHTML");
            panic!("{what} never came to the page: {page}");
        }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        let began = Instant::now();
        loop {
            let left = Duration::from_secs(60).saturating_sub(began.elapsed());
            let answer = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("the browser does not answer to {message}"));
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{message}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
