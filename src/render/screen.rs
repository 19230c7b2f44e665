//! A terminal that is drawn over: its other screen, without a cursor, keys as they are pressed. Everything is put back when it is dropped, however
//! that comes about, and for as long as it is stopped (Ctrl-Z); and a terminal that takes nothing (Ctrl-S, a reader that hangs) keeps nobody waiting.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{Action, LocalModes, OptionalActions, Termios, tcflow, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

use crate::model::Failure;
use crate::render::charset::drawn_on;
use crate::render::outlet::{Stream, write_whole};

/// How long the last of what is drawn may take before a stopped terminal is let go on, and then once more.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub struct Screen {
    before: Option<Termios>,
    drawing: Arc<Drawing>,
}

/// What is to be drawn, by a thread of its own: to write waits for as long as the terminal is stopped.
#[derive(Default)]
struct Drawing {
    ahead: Mutex<Ahead>,
    changed: Condvar,
}

#[derive(Default)]
struct Ahead {
    /// What makes the terminal ready, or puts it back for a while: no frame takes its place.
    first: Option<String>,
    /// The newest frame: one that was not drawn in time is nobody's to see.
    frame: Option<String>,
    /// What puts the terminal back, after which nothing is drawn.
    last: Option<String>,
    /// Something is being written.
    is_busy: bool,
    is_over: bool,
    failed: Option<io::Error>,
}

impl Screen {
    /// # Errors
    /// stdout is no terminal.
    pub fn open() -> Result<Self> {
        if !io::stdout().is_terminal() || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            let failure = Failure::new("no_terminal", "this draws on a terminal, and stdout is none");
            bail!(failure.hint("`candlefish monitor --json` gives the same to programs, a line a sample."));
        }
        let terminal = File::from(io::stdout().as_fd().try_clone_to_owned().context("open the terminal to draw on it")?);
        // Without a terminal at stdin there are no keys; a signal ends it still.
        let before = read_keys()?;
        let drawing = Arc::new(Drawing::default());
        let thread = drawing.clone();
        std::thread::spawn(move || thread.draw(&terminal));
        let screen = Screen { before, drawing };
        screen.drawing.ahead().first = Some(BEGIN.to_string());
        screen.drawing.changed.notify_all();
        Ok(screen)
    }

    /// What leaves it: where there is no other screen (the Linux console, GNU screen), the last line is the shell's.
    fn end(&self) -> String {
        format!("\x1b[0m\x1b[{};1H\x1b[K\x1b[?25h\x1b[?1049l", self.size().1)
    }

    /// Stops this process as Ctrl-Z does, with the terminal as it was before; and takes it again when it goes on.
    ///
    /// # Errors
    /// The terminal is gone when it goes on.
    pub fn stop(&self) -> Result<()> {
        {
            let mut ahead = self.drawing.ahead();
            ahead.frame = None;
            ahead.first = Some(self.end());
        }
        self.drawing.changed.notify_all();
        self.drawing.is_idle_within(LAST_WORDS);
        self.put_back();
        kill_process(getpid(), Signal::STOP).context("stop")?;
        // Here it goes on.
        if self.before.is_some() {
            read_keys()?;
        }
        self.drawing.ahead().first = Some(BEGIN.to_string());
        self.drawing.changed.notify_all();
        Ok(())
    }

    fn put_back(&self) {
        // A terminal that is gone needs nothing put back.
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }

    /// Columns and rows, as they are now.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
            _ => (80, 24),
        }
    }

    /// From the upper left corner, over what was there, as soon as the terminal takes it.
    ///
    /// # Errors
    /// What was drawn before did not reach the terminal: it is gone.
    pub fn draw(&self, text: &str) -> Result<()> {
        let mut ahead = self.drawing.ahead();
        if let Some(error) = ahead.failed.take() {
            return Err(error).context("draw on the terminal");
        }
        ahead.frame = Some(format!("\x1b[H{}", drawn_on(Stream::Out, text)));
        self.drawing.changed.notify_all();
        Ok(())
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
        self.drawing.ahead().last = Some(self.end());
        self.drawing.changed.notify_all();
        if !self.drawing.is_over_within(LAST_WORDS) {
            go_on();
            self.drawing.is_over_within(LAST_WORDS);
        }
        self.put_back();
    }
}

/// What takes the terminal.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";

/// Keys as they are pressed from here on; how the terminal was before, and None where stdin is none.
fn read_keys() -> Result<Option<Termios>> {
    let Ok(before) = tcgetattr(io::stdin()) else { return Ok(None) };
    let mut raw = before.clone();
    // Ctrl-C and Ctrl-Z stay signals.
    raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("read keys as they are pressed")?;
    Ok(Some(before))
}

impl Drawing {
    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, terminal: &File) {
        let mut is_last = false;
        while !is_last {
            let mut ahead = self.ahead();
            let text = loop {
                let (first, frame) = (ahead.first.take(), ahead.frame.take());
                if let Some(last) = ahead.last.take() {
                    is_last = true;
                    break first.unwrap_or_default() + &frame.unwrap_or_default() + &last;
                }
                match (first, frame) {
                    (Some(first), frame) => break first + &frame.unwrap_or_default(),
                    (None, Some(frame)) => break frame,
                    (None, None) => ahead = self.changed.wait(ahead).unwrap_or_else(PoisonError::into_inner),
                }
            };
            ahead.is_busy = true;
            drop(ahead);
            let written = write_whole(terminal.as_fd(), text.as_bytes());
            let mut ahead = self.ahead();
            ahead.is_busy = false;
            is_last |= written.is_err();
            ahead.failed = written.err();
            ahead.is_over = is_last;
            self.changed.notify_all();
        }
    }

    fn is_over_within(&self, limit: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.ahead(), limit, |ahead| !ahead.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Waits until what was to be drawn is drawn.
    fn is_idle_within(&self, limit: Duration) {
        let is_at_work = |ahead: &mut Ahead| !ahead.is_over && (ahead.is_busy || ahead.first.is_some() || ahead.frame.is_some());
        drop(self.changed.wait_timeout_while(self.ahead(), limit, is_at_work));
    }
}

/// Lets a terminal that was stopped (Ctrl-S) go on, as Ctrl-C does: whoever is told to end would wait for Ctrl-Q in the middle of a line.
pub fn go_on() {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    for terminal in [stdout.as_fd(), stderr.as_fd()] {
        // Who changes a terminal that is another job's to use is stopped.
        if tcgetpgrp(terminal).map_or(true, |group| group == getpgrp()) {
            // What a key has stopped is not started by TCOON alone. What is no terminal has nothing to start.
            let _ = tcflow(terminal, Action::OOff).and_then(|()| tcflow(terminal, Action::OOn));
        }
    }
}
