//! How far a run is, on stderr: bars on a terminal, a line every ten seconds elsewhere, or JSON events.

mod count;
mod frame;
mod json;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::model::Event;
use crate::render::Ui;
use crate::render::charset::{drawn_on, shown_on};
use crate::render::outlet::{Stream, write_until_told};
use count::Count;
use frame::Shown;
use json::JsonLines;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressStyleChoice {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    Plain,
    Json,
    None,
}

/// Shows the events of one run. What is drawn is drawn by its own clock, so that an event costs no more than being counted.
pub struct Progress {
    count: Arc<Mutex<Count>>,
    style: Style,
}

enum Style {
    Bars(ProgressBar),
    Plain(Ticker),
    Json(Mutex<JsonLines>),
    Silent,
}

/// Between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// Between two frames on a terminal.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

impl Progress {
    pub fn new(ui: &Ui, choice: ProgressStyleChoice) -> Self {
        let count = Arc::new(Mutex::new(Count::new(Instant::now())));
        let style = match choice {
            _ if ui.quiet => Style::Silent,
            ProgressStyleChoice::None => Style::Silent,
            ProgressStyleChoice::Json => {
                let now = Instant::now();
                ui.talk_in_events(now);
                Style::Json(Mutex::new(JsonLines::new(now)))
            }
            ProgressStyleChoice::Auto if ui.live => Style::Bars(bars(&count, ui.color_err)),
            ProgressStyleChoice::Auto | ProgressStyleChoice::Plain => Style::Plain(Ticker::start(Arc::clone(&count))),
        };
        Progress { count, style }
    }

    /// Shows one event. Called from many threads; what cannot be shown is passed over.
    pub fn show(&self, event: &Event) {
        match &self.style {
            Style::Silent => return,
            Style::Json(lines) => return lock(lines).write(event, Instant::now()),
            // Not under the lock of the count: drawing takes that one too.
            Style::Bars(bar) => said(event).into_iter().for_each(|text| bar.println(shown_on(Stream::Err, &text))),
            Style::Plain(_) => said(event).into_iter().for_each(|text| say(&text)),
        }
        lock(&self.count).add(event, Instant::now());
    }

    /// Does something that needs the terminal for itself.
    pub fn pause<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.style {
            Style::Bars(bar) => bar.suspend(act),
            _ => act(),
        }
    }

    /// Takes the bars away, so that the report stands alone.
    pub fn finish(&self) {
        match &self.style {
            Style::Bars(bar) => bar.finish_and_clear(),
            Style::Plain(ticker) => ticker.stop(),
            Style::Json(lines) => lock(lines).flush(Instant::now()),
            Style::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What a person should read even when it scrolls by.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::Note(text) => Some(crate::render::visible(text)),
        Event::Warning(text) => Some(format!("warning: {}", crate::render::visible(text))),
        _ => None,
    }
}

/// Nobody listens any more: the work goes on.
fn say(line: &str) {
    let _ = write_until_told(Stream::Err, &format!("{line}\n"));
}

/// One bar in indicatif's eyes, whose text is the whole frame, made anew for the terminal's size of the moment.
fn bars(count: &Arc<Mutex<Count>>, color: bool) -> ProgressBar {
    let count = Arc::clone(count);
    let shown = Arc::new(Mutex::new(Shown::default()));
    let draw = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let (columns, lines) = terminal_size();
        let text = frame::frame(&mut lock(&count), Instant::now(), columns, lines, color);
        let text = drawn_on(Stream::Err, &text);
        // A terminal that takes no more needs no frame.
        let _ = out.write_str(&lock(&shown).before(&text, columns)).and_then(|()| out.write_str(&text));
    };
    let style = ProgressStyle::with_template("{frame}").unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("frame", draw);
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_style(style);
    bar.enable_steady_tick(FRAME_INTERVAL);
    bar
}

/// Columns and lines of the terminal at stderr; what a terminal has that does not say.
pub(in crate::render) fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => (80, 24),
    }
}

/// A thread that says every ten seconds how far things are, also while one index takes a minute and no event comes.
struct Ticker {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ticker {
    fn start(count: Arc<Mutex<Count>>) -> Self {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&stopped);
        let tick = move || {
            let (stopped, changed) = &*shared;
            let mut next = Instant::now() + PLAIN_INTERVAL;
            let mut stop = lock(stopped);
            while !*stop {
                let patience = next.saturating_duration_since(Instant::now());
                let Ok((guard, waited)) = changed.wait_timeout(stop, patience) else { return };
                stop = guard;
                if waited.timed_out() && !*stop {
                    let line = frame::line(&mut lock(&count), Instant::now());
                    line.iter().for_each(|line| say(line));
                    next += PLAIN_INTERVAL;
                }
            }
        };
        // Without the thread there are no lines, and nothing else is missing.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(tick).ok();
        Ticker { stopped, thread: Mutex::new(thread) }
    }

    fn stop(&self) {
        *lock(&self.stopped.0) = true;
        self.stopped.1.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// A count that a panic left half done is still good enough to be shown.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
