//! A terminal that is drawn over: its other screen, without a cursor, keys as they are pressed. Everything is put back when it is dropped, however
//! that comes about.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::model::Failure;

pub struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// # Errors
    /// stdout is no terminal.
    pub fn open() -> Result<Self> {
        if !io::stdout().is_terminal() || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            let failure = Failure::new("no_terminal", "this draws on a terminal, and stdout is none");
            bail!(failure.hint("`candlefish monitor --json` gives the same to programs, a line a sample."));
        }
        // Without a terminal at stdin there are no keys; a signal ends it still.
        let before = match tcgetattr(io::stdin()) {
            Err(_) => None,
            Ok(before) => {
                let mut raw = before.clone();
                // Ctrl-C stays a signal.
                raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
                tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("read keys as they are pressed")?;
                Some(before)
            }
        };
        let screen = Screen { before };
        screen.write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(screen)
    }

    /// Columns and rows, as they are now.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
            _ => (80, 24),
        }
    }

    /// From the upper left corner, over what was there.
    pub fn draw(&self, text: &str) -> Result<()> {
        self.write(&format!("\x1b[H{text}"))
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
    }

    /// Keys as they come; the reading thread ends with the process.
    pub fn keys(&self) -> tokio::sync::mpsc::Receiver<u8> {
        let (sender, keys) = tokio::sync::mpsc::channel(16);
        if self.before.is_some() {
            std::thread::spawn(move || {
                for key in io::stdin().lock().bytes() {
                    match key {
                        Ok(key) if sender.blocking_send(key).is_ok() => {}
                        _ => return,
                    }
                }
            });
        } else {
            // Nobody will ever press one.
            std::mem::forget(sender);
        }
        keys
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = self.write("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
