//! stdout and stderr of a command that goes on until it is told: what it says waits in bounded room for whoever reads, and a thread writes it, so that
//! the command itself waits for nobody. What there is no room for is dropped, the oldest first, and how much that was is said.
//! Every other command waits for its readers, until it is told to end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::render::charset::shown_on;

/// So many bytes may wait; what is longer waits alone.
const ROOM: usize = 256 << 10;

/// How often it is said that a reader is too slow.
const SAID: Duration = Duration::from_secs(60);

/// Whose reader has not read anything for so long reads no more, when the process ends; and nobody is waited for longer than the second.
const PATIENCE: Duration = Duration::from_millis(300);
const PATIENCE_MOST: Duration = Duration::from_millis(800);

/// What stdout is for somebody has asked for, and may read slowly: a command that waits for a reader, and is told to end, gives it this.
const PATIENCE_OUT: Duration = Duration::from_secs(5);

/// Between two tries to write to what has too little room.
const A_MOMENT: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// Both streams; where they are the same file or terminal, in the order in which things are said.
#[derive(Debug)]
pub struct Outlets {
    out: Outlet,
    err: Outlet,
    /// That a terminal was not drawn again is nothing to say.
    says_dropped: bool,
}

/// One file, which both streams may be.
#[derive(Clone, Debug)]
struct Outlet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Condvar,
    course: tokio::sync::watch::Sender<Course>,
}

/// What goes out as one.
#[derive(Debug, Default)]
struct Piece {
    parts: Vec<(Stream, String)>,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    /// One that is not complete yet.
    open: Option<Piece>,
    /// Since it was last said.
    dropped: Dropped,
}

#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    samples: u64,
    lines: u64,
}

/// How the writing goes.
#[derive(Clone, Debug)]
struct Course {
    /// All of it is written.
    is_done: bool,
    /// How many pieces were written.
    written: u64,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    /// Nobody reads any more.
    Left,
    Failed(String),
}

impl Outlets {
    pub fn open(quiet: bool) -> Result<Self> {
        let same = match (rustix::fs::fstat(io::stdout()), rustix::fs::fstat(io::stderr())) {
            (Ok(out), Ok(err)) => (out.st_dev, out.st_ino, out.st_rdev) == (err.st_dev, err.st_ino, err.st_rdev),
            _ => false,
        };
        let out = Outlet::new();
        let err = if same { out.clone() } else { Outlet::new() };
        let says_dropped = !quiet && !rustix::termios::isatty(io::stdout());
        let told = || says_dropped.then(|| err.clone());
        out.start("stdout", told())?;
        if !same {
            err.start("stderr", told())?;
        }
        Ok(Outlets { out, err, says_dropped })
    }

    /// False once nobody reads any more.
    ///
    /// # Errors
    /// What was said before could not be written: its disk is full.
    pub fn put(&self, stream: Stream, text: String) -> Result<bool> {
        let outlet = if stream == Stream::Out { &self.out } else { &self.err };
        let mut waiting = outlet.waiting();
        match &mut waiting.open {
            Some(open) => open.parts.push((stream, text)),
            None => {
                drop(waiting);
                self.add(outlet, Piece { parts: vec![(stream, text)] });
            }
        }
        outlet.alive()
    }

    fn add(&self, outlet: &Outlet, piece: Piece) {
        let is_first = outlet.add(piece);
        if is_first && self.says_dropped && Arc::ptr_eq(&outlet.0, &self.out.0) && !Arc::ptr_eq(&outlet.0, &self.err.0) {
            let said = "warning: nobody reads stdout: samples are dropped until somebody does\n".to_string();
            self.err.add(Piece { parts: vec![(Stream::Err, said)] });
        }
    }

    /// What is said from here to [`Outlets::end`] goes out, or is dropped, as one.
    pub fn begin(&self) {
        self.out.waiting().open.get_or_insert_default();
    }

    pub fn end(&self) {
        let piece = self.out.waiting().open.take();
        if let Some(piece) = piece.filter(|piece| !piece.parts.is_empty()) {
            self.add(&self.out, piece);
        }
    }

    /// Waits until stdout is written, or nobody reads it any more.
    pub async fn all_read(&self) {
        let mut course = self.out.0.course.subscribe();
        let _ = course.wait_for(Course::is_over).await;
    }

    /// Waits until nobody reads stdout any more.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn left(&self) -> Result<()> {
        let mut course = self.out.0.course.subscribe();
        let _ = course.wait_for(|course| course.end.is_some()).await;
        self.out.alive().map(drop)
    }

    /// What is still to be said is said, to who reads it; nobody else is waited for.
    pub fn close(&self) {
        let began = Instant::now();
        for outlet in [&self.out, &self.err] {
            let mut waiting = outlet.waiting();
            let mut seen = (0, Instant::now());
            loop {
                let course = outlet.0.course.borrow().clone();
                if course.written != seen.0 {
                    seen = (course.written, Instant::now());
                }
                if course.is_over() || seen.1.elapsed() > PATIENCE || began.elapsed() > PATIENCE_MOST {
                    break;
                }
                waiting = outlet.0.news.wait_timeout(waiting, Duration::from_millis(10)).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Outlet {
    fn new() -> Self {
        let course = tokio::sync::watch::Sender::new(Course::default());
        Outlet(Arc::new(Shared { waiting: Mutex::default(), news: Condvar::new(), course }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `told`: where it is said that something was dropped.
    fn start(&self, name: &str, told: Option<Outlet>) -> Result<()> {
        let outlet = self.clone();
        let work = move || outlet.write_on(told.as_ref());
        std::thread::Builder::new().name(name.to_string()).spawn(work).with_context(|| format!("start the writer of {name}"))?;
        Ok(())
    }

    /// Whether this is the first time for a while that there was no room for all of it.
    fn add(&self, piece: Piece) -> bool {
        if self.0.course.borrow().end.is_some() {
            return false;
        }
        let mut waiting = self.waiting();
        let before = waiting.dropped.is_none();
        waiting.add(piece);
        self.0.course.send_if_modified(|course| std::mem::take(&mut course.is_done));
        self.0.news.notify_all();
        before && !waiting.dropped.is_none()
    }

    fn alive(&self) -> Result<bool> {
        match &self.0.course.borrow().end {
            None => Ok(true),
            Some(End::Left) => Ok(false),
            Some(End::Failed(why)) => Err(anyhow::anyhow!("write what is to be said: {why}")),
        }
    }

    /// The writer's thread, until there is nobody to write to.
    fn write_on(&self, told: Option<&Outlet>) {
        let mut said = Instant::now();
        let mut waiting = self.waiting();
        loop {
            let Some(piece) = waiting.pieces.pop_front() else {
                self.0.course.send_if_modified(|course| !std::mem::replace(&mut course.is_done, true));
                self.0.news.notify_all();
                waiting = self.0.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(waiting);
            let written = piece.parts.iter().try_for_each(|(stream, text)| match stream {
                Stream::Out => write_whole(io::stdout().as_fd(), shown_on(*stream, text).as_bytes()),
                Stream::Err => write_whole(io::stderr().as_fd(), shown_on(*stream, text).as_bytes()),
            });
            let end = written.err().map(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => End::Left,
                _ => End::Failed(error.to_string()),
            });
            self.0.course.send_modify(|course| {
                course.written += 1;
                course.end = end;
            });
            if self.0.course.borrow().end.is_some() {
                return;
            }
            waiting = self.waiting();
            if waiting.pieces.is_empty() || said.elapsed() > SAID {
                let dropped = std::mem::take(&mut waiting.dropped);
                drop(waiting);
                if let (Some(told), Some(words)) = (told, dropped.said()) {
                    told.add(Piece { parts: vec![(Stream::Err, words)] });
                    said = Instant::now();
                }
                waiting = self.waiting();
            }
        }
    }
}

impl Default for Course {
    fn default() -> Self {
        Course { is_done: true, written: 0, end: None }
    }
}

impl Course {
    fn is_over(&self) -> bool {
        self.is_done || self.end.is_some()
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.len()).sum()
    }
}

impl Waiting {
    fn add(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
        while self.pieces.len() > 1 && self.pieces.iter().map(Piece::bytes).sum::<usize>() > ROOM {
            if let Some(oldest) = self.pieces.pop_front() {
                let is_sample = oldest.parts.iter().any(|(stream, _)| *stream == Stream::Out);
                *(if is_sample { &mut self.dropped.samples } else { &mut self.dropped.lines }) += 1;
            }
        }
    }
}

impl Dropped {
    fn is_none(self) -> bool {
        self.samples + self.lines == 0
    }

    fn said(self) -> Option<String> {
        let counts = [(self.samples, "samples"), (self.lines, "lines of this log")];
        let counts: Vec<String> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!counts.is_empty()).then(|| format!("warning: {} were dropped while nobody read\n", counts.join(" and ")))
    }
}

/// The signal that has told this process to end, and when it did.
static TOLD: OnceLock<(u8, Instant)> = OnceLock::new();

/// It was told so again: nobody is waited for any more.
static TOLD_AGAIN: AtomicBool = AtomicBool::new(false);

/// Of each stream: something was not written because the process was told to end, and nobody read.
static UNREAD: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// What a pipe takes without waiting, once it takes anything.
const AT_ONCE: usize = 4096;

/// Whoever waits for a reader waits for a while yet; when it is told so again, no longer.
pub fn told_to_end(signal: u8) {
    if TOLD.set((signal, Instant::now())).is_err() {
        TOLD_AGAIN.store(true, Ordering::Relaxed);
    }
}

/// The signal on which something was left unsaid.
pub fn left_unsaid() -> Option<u8> {
    TOLD.get().filter(|_| UNREAD.iter().any(|unread| unread.load(Ordering::Relaxed))).map(|(signal, _)| *signal)
}

/// Writes all of it, waiting for its reader, of a command that has nothing else to do; but whoever is told to end waits no more.
pub fn write_until_told(stream: Stream, text: &str) -> io::Result<()> {
    let text = shown_on(stream, text);
    let mut bytes = text.as_bytes();
    const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let (out, err) = (io::stdout(), io::stderr());
    let file: BorrowedFd<'_> = if stream == Stream::Out { out.as_fd() } else { err.as_fd() };
    let unread = &UNREAD[stream as usize];
    let patience = if stream == Stream::Out { PATIENCE_OUT } else { PATIENCE };
    let mut progress = Instant::now();
    while !bytes.is_empty() {
        let is_ready = match poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&LOOK)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        if is_ready {
            match rustix::io::write(file, &bytes[..bytes.len().min(AT_ONCE)]) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    progress = Instant::now();
                    continue;
                }
                Err(Errno::INTR) => {}
                // There is room, and less than it takes: it is not read.
                Err(Errno::AGAIN) => std::thread::sleep(A_MOMENT),
                Err(error) => return Err(error.into()),
            }
        }
        let gives_up = |told: &Instant| {
            let is_known = unread.load(Ordering::Relaxed) || TOLD_AGAIN.load(Ordering::Relaxed);
            is_known || progress.max(*told).elapsed() > patience
        };
        if TOLD.get().is_some_and(|(_, told)| gives_up(told)) {
            unread.store(true, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
        }
    }
    Ok(())
}

/// Writes all of it, whatever its other end has made of the file: one that does not wait is waited for.
pub fn write_whole(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Whoever has started us wants its end of the pipe so.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None);
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: Stream, length: usize) -> Piece {
        Piece { parts: vec![(stream, "x".repeat(length))] }
    }

    #[test]
    fn a_pipe_that_does_not_wait_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let reading = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut read = Vec::new();
            io::Read::read_to_end(&mut reader, &mut read).unwrap();
            read.len()
        });
        write_whole(writer.as_fd(), &vec![b'x'; 300_000]).unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap(), 300_000);
    }

    #[test]
    fn room_is_bounded_and_what_is_dropped_is_counted() {
        let mut waiting = Waiting::default();
        (0..10).for_each(|_| waiting.add(piece(Stream::Out, ROOM / 4)));
        assert_eq!((waiting.pieces.len(), waiting.dropped.samples, waiting.dropped.lines), (4, 6, 0));
        waiting.add(piece(Stream::Err, 1));
        assert_eq!((waiting.pieces.len(), waiting.dropped.samples), (4, 7));
        // The newest is there, whatever its length.
        waiting.add(piece(Stream::Out, ROOM * 2));
        assert_eq!((waiting.pieces.len(), waiting.dropped.samples, waiting.dropped.lines), (1, 10, 1));
        assert_eq!(waiting.dropped.said().unwrap(), "warning: 10 samples and 1 lines of this log were dropped while nobody read\n");
    }
}
