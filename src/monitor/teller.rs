//! Tells notices to a webhook: of each alert in the order in which they happened, and each alert by itself, so that one that is refused or gets no
//! answer holds up no other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

use crate::monitor::state_file::Left;
use crate::monitor::webhook::{Notice, Webhook};

/// Before the second, third and fourth try of a notice; then it is left alone for [`AGAIN`].
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
const AGAIN: Duration = Duration::from_secs(10);

/// So long an answer is waited for before another alert is told beside it: a receiver that asks to be left alone is left alone.
const TURN: Duration = Duration::from_secs(1);

/// How often a notice was not taken, and when it is tried again.
struct Tried {
    times: usize,
    again: Instant,
}

/// Tells what is left and what comes; where it has an end, until then or until nothing is to be tried before it. `warn` is told of the first refusal
/// of a notice, and of every fourth.
pub async fn tell(webhook: &Webhook, left: &Sender<Left>, until: Option<Instant>, warn: impl Fn(&str)) {
    let mut news = left.subscribe();
    let mut tried: HashMap<String, Tried> = HashMap::new();
    let (mut sending, mut sent) = (FuturesUnordered::new(), HashSet::new());
    let mut turn = Instant::now();
    loop {
        let now = Instant::now();
        let next = next(&news.borrow_and_update(), &sent, |title| tried.get(title).map_or(now, |tried| tried.again), now);
        let next = next.map(|(notice, at)| (notice, at.max(turn))).filter(|(_, at)| until.is_none_or(|until| *at < until));
        let wakes = match next {
            Some((notice, at)) if at <= now => {
                sent.insert(notice.title());
                turn = now + TURN;
                sending.push(async move { (webhook.send(&notice, until).await, notice) });
                continue;
            }
            Some((_, at)) => Some(at),
            None => None,
        };
        if until.is_some() && wakes.is_none() && sending.is_empty() {
            return;
        }
        tokio::select! {
            Some((answer, notice)) = sending.next() => {
                let title = notice.title();
                sent.remove(&title);
                turn = Instant::now();
                let Err(untaken) = answer else {
                    tried.remove(&title);
                    left.send_modify(|left| left.notices.retain(|there| *there != notice));
                    continue;
                };
                let times = tried.get(&title).map_or(0, |tried| tried.times) + 1;
                let pause = PAUSES.get((times - 1) % (PAUSES.len() + 1)).filter(|_| !untaken.is_refused).unwrap_or(&AGAIN);
                tried.insert(title.clone(), Tried { times, again: turn + *pause });
                if let Some(wait) = untaken.wait {
                    left.send_modify(|left| left.not_before = now_ms() + wait.as_millis() as i64);
                }
                if times == 1 || times.is_multiple_of(PAUSES.len() + 1) {
                    warn(&format!("the webhook did not take {title}: {}; it is tried again", untaken.why));
                }
            }
            _ = news.changed() => {}
            () = tokio::time::sleep_until(wakes.unwrap_or(now)), if wakes.is_some() => {}
        }
    }
}

/// Of the alerts that nobody is being told of, the first notice of the one whose time comes first, and when that is.
fn next(left: &Left, sent: &HashSet<String>, again: impl Fn(&str) -> Instant, now: Instant) -> Option<(Notice, Instant)> {
    let free = now + left.asked_to_wait();
    let mut seen = sent.clone();
    let firsts = left.notices.iter().filter(|notice| seen.insert(notice.title()));
    firsts.map(|notice| (notice, again(&notice.title()).max(free))).min_by_key(|(_, at)| *at).map(|(notice, at)| (notice.clone(), at))
}

impl Left {
    /// How long the receiver is to be left alone yet. Longer than anybody may ask for is no answer of it, but a clock that was set back.
    pub fn asked_to_wait(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.not_before - now_ms()).ok().filter(|wait| *wait <= 3_600_000).unwrap_or(0))
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
