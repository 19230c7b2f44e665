//! Tells notices to a webhook: of each alert in the order in which they happened, and each alert by itself, so that one that is refused or gets no
//! answer holds up no other.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

use crate::monitor::state_file::Left;
use crate::monitor::webhook::{Notice, Webhook};

/// Before the second try of a notice: of one that its receiver may take soon, and of one that somebody has to do something about first. Each further pause is
/// twice as long, up to the last.
const SOON: Duration = Duration::from_millis(500);
const REFUSED: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(300);

/// So long an answer is waited for before another alert is told beside it: a receiver that asks to be left alone is left alone.
const TURN: Duration = Duration::from_secs(1);

/// How often alerts were not taken, and when each is tried again.
#[derive(Default)]
struct Schedule(HashMap<String, Tried>);

struct Tried {
    times: u32,
    again: Instant,
    /// The receiver has taken another since then.
    is_brought_forward: bool,
    /// It takes others, and not this one.
    is_alone: bool,
}

impl Schedule {
    fn again(&self, title: &str, now: Instant) -> Instant {
        self.0.get(title).map_or(now, |tried| tried.again)
    }

    /// It was taken: whoever has waited only because nothing was taken is told now.
    fn taken(&mut self, title: &str, now: Instant) {
        self.0.remove(title);
        for tried in self.0.values_mut().filter(|tried| !tried.is_alone) {
            tried.again = tried.again.min(now);
            tried.is_brought_forward = true;
        }
    }

    /// It was not; how often that is by now. `chance`: from 0 to 1.
    fn untaken(&mut self, title: &str, is_refused: bool, now: Instant, chance: f64) -> u32 {
        let (times, is_alone) = self.0.get(title).map_or((1, false), |tried| (tried.times + 1, tried.is_alone || tried.is_brought_forward));
        let again = now + pause(times, is_refused, chance);
        self.0.insert(title.to_string(), Tried { times, again, is_brought_forward: false, is_alone });
        times
    }
}

/// After so many tries; half of it is left to chance, so that not all who watch come at once to a receiver that is back.
fn pause(times: u32, is_refused: bool, chance: f64) -> Duration {
    let first = if is_refused { REFUSED } else { SOON };
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(MOST).mul_f64(0.5 + chance / 2.0)
}

/// How many tries make a warning, after the first.
const SAID: u32 = 4;

/// Tells what is left and what comes; where it has an end, until then or until nothing is to be tried before it. `warn` is told of the first refusal
/// of a notice, and of every fourth.
pub async fn tell(webhook: &Webhook, left: &Sender<Left>, until: Option<Instant>, warn: impl Fn(&str)) {
    let mut news = left.subscribe();
    let mut schedule = Schedule::default();
    let (mut sending, mut sent) = (FuturesUnordered::new(), HashSet::new());
    let mut turn = Instant::now();
    loop {
        let now = Instant::now();
        let next = next(&news.borrow_and_update(), &sent, |title| schedule.again(title, now), now);
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
                    schedule.taken(&title, turn);
                    left.send_modify(|left| left.notices.retain(|there| *there != notice));
                    continue;
                };
                let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
                let times = schedule.untaken(&title, untaken.is_refused, turn, chance);
                if let Some(wait) = untaken.wait {
                    left.send_modify(|left| left.not_before = now_ms() + wait.as_millis() as i64);
                }
                if times == 1 || times.is_multiple_of(SAID) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_minutes_and_leave_half_to_chance() {
        let seconds = |is_refused: bool, chance: f64| [1, 2, 3, 5, 7, 12, 99].map(|times| pause(times, is_refused, chance).as_secs_f64());
        assert_eq!(seconds(false, 1.0), [0.5, 1.0, 2.0, 8.0, 32.0, 300.0, 300.0]);
        assert_eq!(seconds(true, 1.0), [10.0, 20.0, 40.0, 160.0, 300.0, 300.0, 300.0]);
        assert_eq!(seconds(true, 0.0), [5.0, 10.0, 20.0, 80.0, 150.0, 150.0, 150.0]);
    }

    #[test]
    fn a_receiver_that_is_back_is_told_all_and_one_that_refuses_one_is_asked_less_and_less() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        for (times, second) in [(1, 0), (2, 10), (3, 30), (4, 70)] {
            assert_eq!(schedule.untaken("a", true, at(second), 1.0), times);
            schedule.untaken("b", true, at(second), 1.0);
        }
        assert_eq!(schedule.again("a", at(71)), at(150));
        // It takes something new.
        schedule.taken("c", at(80));
        assert_eq!((schedule.again("a", at(80)), schedule.again("b", at(80))), (at(80), at(80)));
        schedule.taken("a", at(81));
        // b alone is refused, and waits on, whatever else is taken.
        assert_eq!(schedule.untaken("b", true, at(82), 1.0), 5);
        schedule.taken("c", at(90));
        assert_eq!(schedule.again("b", at(90)), at(82 + 160));
        schedule.taken("b", at(242));
        assert_eq!(schedule.untaken("b", false, at(300), 1.0), 1, "it begins anew");
    }
}
