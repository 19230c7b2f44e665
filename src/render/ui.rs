//! Where words go: stdout is data, stderr is talk.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{Failure, in_pieces, masked, sentence};
use crate::render::outlet::{Outlets, Stream, write_until_told};
use crate::render::table::{visible, visible_lines};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// What the person asked to see, and how.
#[derive(Clone, Debug)]
pub struct Ui {
    pub format: Format,
    pub quiet: bool,
    pub verbose: u8,
    /// Colour on stdout.
    pub color_out: bool,
    /// Colour on stderr.
    pub color_err: bool,
    /// stdout is a terminal: a page may be drawn over.
    pub terminal: bool,
    /// stderr is a terminal: bars may be drawn.
    pub live: bool,
    /// When the command was started: RFC 3339, UTC.
    pub started_at: String,
    /// Of a command that waits for no reader; of all clones.
    outlets: Arc<OnceLock<Outlets>>,
    /// Where stderr is for programs: since when; of all clones.
    events: Arc<OnceLock<Instant>>,
}

/// What a line of talk is.
#[derive(Clone, Copy)]
enum Talk {
    Note,
    Warning,
    Error,
    /// What a command failed with.
    Failure,
    Hint,
}

impl Talk {
    /// Its mark on a line, and the colour of that.
    fn mark(self) -> (&'static str, &'static str) {
        match self {
            Talk::Note => ("", ""),
            Talk::Warning => ("warning: ", "33"),
            Talk::Error => ("error: ", "31"),
            Talk::Failure => ("error: ", "1;31"),
            Talk::Hint => ("hint: ", "1;36"),
        }
    }

    fn event(self) -> &'static str {
        match self {
            Talk::Note => "note",
            Talk::Warning => "warning",
            Talk::Error | Talk::Failure => "error",
            Talk::Hint => "hint",
        }
    }
}

/// What of a document is written together.
const PIECE_BYTES: usize = 64 * 1024;

/// To the millisecond.
fn seconds_since(started: Instant) -> f64 {
    started.elapsed().as_millis() as f64 / 1000.0
}

impl Ui {
    pub fn new(format: Format, color: ColorChoice, quiet: bool, verbose: u8) -> Self {
        let wanted = |terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Ui {
            format,
            quiet,
            verbose,
            color_out: wanted(io::stdout().is_terminal()),
            color_err: wanted(io::stderr().is_terminal()),
            terminal: io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            live: io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            started_at: jiff::Timestamp::now().to_string(),
            outlets: Arc::default(),
            events: Arc::default(),
        }
    }

    /// From here on nothing that is said waits for who reads it.
    pub fn wait_for_nobody(&self) -> Result<()> {
        if self.outlets.get().is_none() {
            let _ = self.outlets.set(Outlets::open(self.quiet)?);
        }
        Ok(())
    }

    /// What is said in it is one sample: it goes out, or is dropped, as one.
    pub fn whole<T>(&self, say: impl FnOnce() -> T) -> T {
        let Some(outlets) = self.outlets.get() else { return say() };
        outlets.begin();
        let said = say();
        outlets.end();
        said
    }

    /// Waits until everything that was printed is written.
    pub async fn all_read(&self) {
        if let Some(outlets) = self.outlets.get() {
            outlets.all_read().await;
        }
    }

    /// Waits until nobody reads stdout any more.
    pub async fn left(&self) -> Result<()> {
        match self.outlets.get() {
            Some(outlets) => outlets.left().await,
            None => std::future::pending().await,
        }
    }

    /// Before the process ends: what waits is written, to who reads it at once.
    pub fn close(&self) {
        if let Some(outlets) = self.outlets.get() {
            outlets.close();
        }
    }

    /// Data: one document to stdout. A closed pipe is no error.
    pub fn print(&self, text: &str) -> Result<()> {
        self.print_line(text).map(drop)
    }

    /// The same; false once nobody reads any more, which is when a command that runs until told may end.
    pub fn print_line(&self, text: &str) -> Result<bool> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(format!("{text}{end}"))
    }

    fn write(&self, text: String) -> Result<bool> {
        if let Some(outlets) = self.outlets.get() {
            return outlets.put(Stream::Out, text);
        }
        match write_until_told(Stream::Out, &text) {
            // `| head` has seen enough; the exit code still says what was found.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// Puts the cursor back to the top of an empty screen; nothing where stdout is no terminal.
    pub fn clear(&self) -> Result<()> {
        if io::stdout().is_terminal() {
            self.write("\x1b[H\x1b[2J".to_string())?;
        }
        Ok(())
    }

    /// Data, as JSON.
    pub fn print_json(&self, document: &impl Serialize) -> Result<()> {
        if self.outlets.get().is_some() {
            return self.print(&serde_json::to_string_pretty(document)?);
        }
        // That of thousands of tables is many megabytes.
        let mut is_read = true;
        let send = |piece: &str| {
            is_read = is_read && self.write(piece.to_string())?;
            Ok(())
        };
        in_pieces(PIECE_BYTES, send, |into| {
            serde_json::to_writer_pretty(&mut *into, document)?;
            Ok(into.write_all(b"\n")?)
        })
    }

    /// Talk: a line to stderr, unless `-q`.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.talk(Talk::Note, line);
        }
    }

    /// Talk that only `-v` wants.
    pub fn explain(&self, line: &str) {
        if self.verbose > 0 && !self.quiet {
            self.talk(Talk::Note, line);
        }
    }

    /// Asks on a terminal; where there is none, nobody agrees. It never stands in a reading, where no signal would be heard: who waits for the answer may
    /// be dropped instead.
    pub async fn ask(&self, question: &str) -> Result<bool> {
        const LOOKS_EVERY: Duration = Duration::from_millis(50);
        let stdin = io::stdin();
        if !(stdin.is_terminal() && io::stderr().is_terminal()) {
            return Ok(false);
        }
        eprint!("{question} [y/N] ");
        // A terminal has something to read when a line is whole.
        while matches!(poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0) | Err(Errno::INTR))
        {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        let mut answer = String::new();
        stdin.read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Why a command ends as it does, where data was printed all the same: said with `-q`, too.
    pub fn error(&self, line: &str) {
        self.talk(Talk::Error, line);
    }

    /// What nobody may miss, whatever was silenced.
    pub fn insist(&self, line: &str) {
        self.talk(Talk::Warning, line);
    }

    pub fn warn(&self, line: &str) {
        if !self.quiet {
            self.talk(Talk::Warning, line);
        }
    }

    /// Prints an error chain as one sentence and a hint, and gives the exit code 2.
    pub fn failed(&self, error: &anyhow::Error) -> ExitCode {
        let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
        let message = masked(&sentence(error));
        let hint = failure.and_then(|failure| failure.hint.as_deref().map(masked));
        if self.format == Format::Json {
            let document = json!({
                "schema_version": 1,
                "candlefish_version": env!("CARGO_PKG_VERSION"),
                "started_at": self.started_at,
                "error": Ui::error_document(error),
            });
            // The exit code says the rest when even this cannot be written.
            let _ = self.print_json(&document);
        }
        self.talk(Talk::Failure, &message);
        if let Some(hint) = hint {
            self.talk(Talk::Hint, &hint);
        }
        self.ended("failed");
        ExitCode::from(2)
    }

    /// From here on every line on stderr is an event, as those of `--progress json` are; their seconds count from `started`.
    pub fn talk_in_events(&self, started: Instant) {
        let _ = self.events.set(started);
    }

    /// The last event: how the command ended. Nothing where talk is for people.
    pub fn ended(&self, outcome: &str) {
        if let Some(started) = self.events.get() {
            self.put_event(json!({"event": "ended", "seconds": seconds_since(*started), "outcome": outcome}));
        }
    }

    fn put_event(&self, event: Value) {
        let _ = write_until_told(Stream::Err, &format!("{event}\n"));
    }

    /// What a program is told of an error.
    pub fn error_document(error: &anyhow::Error) -> Value {
        let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
        json!({
            "code": failure.map_or("failed", |failure| failure.code),
            "message": masked(&sentence(error)),
            "hint": failure.and_then(|failure| failure.hint.as_deref().map(masked)),
            "sqlstate": failure.and_then(|failure| failure.sqlstate.clone()),
            "target_changed": failure.is_some_and(|failure| failure.target_changed),
            "resumable": failure.is_some_and(|failure| failure.resumable),
        })
    }

    /// A line to stderr, behind a mark of ours.
    fn talk(&self, what: Talk, said: &str) {
        if let Some(started) = self.events.get() {
            return self.put_event(json!({"event": what.event(), "seconds": seconds_since(*started), "text": masked(said)}));
        }
        let (mark, code) = what.mark();
        let mark = if mark.is_empty() { String::new() } else { self.paint(mark, code) };
        let mark = mark.as_str();
        match self.outlets.get() {
            // Nobody is told that a log ends: stdout has the answer.
            Some(outlets) => drop(outlets.put(Stream::Err, line(mark, said))),
            None => talk(mark, said),
        }
    }

    /// What has to be seen, on stdout; its words say so too.
    pub fn alarm(&self, text: &str) -> String {
        if self.color_out { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_string() }
    }

    /// A heading on stdout.
    pub fn bold(&self, text: &str) -> String {
        if self.color_out { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color_err { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A line to stderr. A log that takes no more (its disk is full) stops no work: the answer is on stdout, and the exit code says the rest.
fn talk(mark: &str, said: &str) {
    let _ = write_until_told(Stream::Err, &line(mark, said));
}

/// What names and other programs say in it moves no cursor.
fn line(mark: &str, said: &str) -> String {
    format!("{mark}{}\n", visible_lines(&masked(said)))
}

/// What Nagios is told when nothing could be found out; and its code for it.
pub fn nagios_unknown(why: &str) -> ExitCode {
    println!("UNKNOWN - {}", visible(&why.replace('|', "/").replace('\n', " ")));
    ExitCode::from(3)
}

/// A panic for a person.
pub fn panicked(what: &str) {
    talk("error: ", &format!("candlefish made a mistake of its own: {}", what.replace('\n', ": ")));
    talk("hint: ", "Please report this, with the command that was run. The source was not written to.");
}
