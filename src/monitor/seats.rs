//! Who is connected to the page: so many and no more. Whoever comes later takes the seat of somebody who has asked nothing yet, or else nothing for the
//! longest, so that a crowd keeps nobody out who asks and makes nobody go who does so regularly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So many may be connected.
const SEATS: usize = 64;
/// Who has asked something has up to so many of them for sure, however many come who ask nothing.
const SEATS_OF_ASKERS: usize = SEATS / 2;
/// Nobody loses a seat sooner: in so long a question is asked, however many come meanwhile.
const SEAT_LEAST: Duration = Duration::from_millis(10);
/// A question is short.
const HEAD_BYTES: usize = 64 << 10;
/// How long somebody may take to say what is asked: a browser that asks nothing has to connect again.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long who has asked may take for the answer, and to ask again: scrapes are a minute apart, or less.
const KEEP_LIMIT: Duration = Duration::from_secs(150);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, app: Router) {
    let mut seats: Vec<Seat> = Vec::with_capacity(SEATS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, perhaps: others have to close theirs.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        loop {
            seats.retain(|seat| !seat.task.is_finished());
            if seats.len() < SEATS {
                break;
            }
            let now = Instant::now();
            let held: Vec<Held> = seats.iter().map(|seat| seat.asks.held(now)).collect();
            match who_goes(&held) {
                Ok(last) => {
                    let task = seats.swap_remove(last).task;
                    task.abort();
                    // Its socket is closed before another is taken in.
                    let _ = task.await;
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        let asks = Arc::new(Asks { since: Instant::now(), last: AtomicU64::new(0) });
        let task = tokio::spawn(sit(stream, app.clone(), Arc::clone(&asks)));
        seats.push(Seat { asks, task });
    }
}

struct Seat {
    asks: Arc<Asks>,
    task: JoinHandle<()>,
}

/// What somebody has asked.
struct Asks {
    since: Instant,
    /// When the last question was whole, in milliseconds after that, and one more; 0: none was.
    last: AtomicU64,
}

/// How long somebody has sat there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    /// Without a question.
    Silent(Duration),
    /// Since the last question.
    Asked(Duration),
}

impl Asks {
    fn ask(&self) {
        self.last.store(self.since.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    fn held(&self, now: Instant) -> Held {
        let sat = now - self.since;
        match self.last.load(Ordering::Relaxed) {
            0 => Held::Silent(sat),
            last => Held::Asked(sat.saturating_sub(Duration::from_millis(last - 1))),
        }
    }
}

/// Whose seat is taken; or how long to wait for one.
fn who_goes(held: &[Held]) -> Result<usize, Duration> {
    let longest = |of: fn(&Held) -> Option<Duration>| {
        let each = held.iter().enumerate().filter_map(|(at, held)| Some((of(held)?, at)));
        each.max()
    };
    let silent = longest(|held| if let Held::Silent(sat) = held { Some(*sat) } else { None });
    let asked = longest(|held| if let Held::Asked(idle) = held { Some(*idle) } else { None });
    let askers = held.iter().filter(|held| matches!(held, Held::Asked(_))).count();
    match (silent, asked) {
        (Some((sat, at)), _) if sat >= SEAT_LEAST => Ok(at),
        (None, Some((_, at))) => Ok(at),
        (_, Some((_, at))) if askers > SEATS_OF_ASKERS => Ok(at),
        (Some((sat, _)), _) => Err(SEAT_LEAST - sat),
        (None, None) => Err(SEAT_LEAST),
    }
}

/// One connection, for as long as it is one that asks.
async fn sit(stream: TcpStream, app: Router, asks: Arc<Asks>) {
    let answers = TowerToHyperService::new(app);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        asks.ask();
        hyper::service::Service::call(&answers, request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_buf_size(HEAD_BYTES);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    loop {
        let left = match asks.held(Instant::now()) {
            Held::Silent(sat) => HEAD_LIMIT.saturating_sub(sat),
            Held::Asked(idle) => KEEP_LIMIT.saturating_sub(idle),
        };
        if left.is_zero() {
            return;
        }
        // Whoever was cut off asks again.
        if tokio::time::timeout(left, connection.as_mut()).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_stays_and_who_says_nothing_goes() {
        let ms = Duration::from_millis;
        let (silent, asked) = (|sat| Held::Silent(ms(sat)), |idle| Held::Asked(ms(idle)));
        let full = |first: &[Held], rest: Held| -> Vec<Held> { first.iter().copied().chain(std::iter::repeat(rest)).take(SEATS).collect() };
        // The silent one who has sat there the longest, and not for less than it takes to ask.
        assert_eq!(who_goes(&full(&[asked(90_000), silent(700), silent(20)], silent(11))), Ok(1));
        assert_eq!(who_goes(&full(&[asked(90_000), silent(4)], silent(1))), Err(ms(6)));
        // Where nearly all ask: who has asked nothing for the longest.
        assert_eq!(who_goes(&full(&[silent(3), asked(400), asked(90_000)], asked(30))), Ok(2));
        assert_eq!(who_goes(&full(&[silent(30), asked(400), asked(90_000)], asked(30))), Ok(0));
        assert_eq!(who_goes(&full(&[asked(1), asked(2)], asked(0))), Ok(1));
    }
}
