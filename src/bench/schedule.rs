//! When transactions are due. Open model: at random moments of a given rate, whatever the system does. Closed model: as soon as the
//! last one has ended, which hides what a stalled system would have met.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::script::Random;

/// The span of one run.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start: Instant,
    /// What was due before is warm-up.
    pub measured_from: Instant,
    /// None when each client has its number of transactions.
    pub end: Option<Instant>,
}

/// The due times of one worker thread in the open model: a Poisson process, as independent users make it.
#[derive(Debug)]
pub struct Schedule {
    random: Random,
    next: Instant,
    /// Seconds between two.
    mean_gap: f64,
}

impl Schedule {
    /// `rate` transactions a second from `start` on.
    pub fn new(rate: f64, start: Instant, random: Random) -> Self {
        let mut schedule = Schedule { random, next: start, mean_gap: 1.0 / rate };
        schedule.take();
        schedule
    }

    /// The next due time.
    pub fn take(&mut self) -> Instant {
        let due = self.next;
        self.next += Duration::from_secs_f64(self.random.gap(self.mean_gap).min(3600.0));
        due
    }

    /// The next due time; none at the end or behind it.
    pub fn take_before(&mut self, end: Option<Instant>) -> Option<Instant> {
        end.is_none_or(|end| self.next < end).then(|| self.take())
    }

    /// Begins anew at `at`, unless it is there already; how many were due before and not taken, which nobody will take any more.
    pub fn begin_anew(&mut self, at: Instant) -> u64 {
        if self.next >= at {
            return 0;
        }
        let dropped = Schedule { random: self.random.clone(), ..*self }.left(at).map(|(_, count)| count).sum();
        self.next = at;
        self.take();
        dropped
    }

    /// What was due before `end` and not taken: when, and how many. Far too high a rate leaves more than one would draw one by one: of those, each
    /// hundred-thousandth part is taken together, in its middle.
    pub fn left(mut self, end: Instant) -> impl Iterator<Item = (Instant, u64)> {
        const DRAWN: u32 = 100_000;
        let span = end.saturating_duration_since(self.next);
        let expected = span.as_secs_f64() / self.mean_gap;
        let one_by_one = expected < f64::from(DRAWN);
        let mut part = 0u32;
        std::iter::from_fn(move || {
            if one_by_one {
                return self.take_before(Some(end)).map(|due| (due, 1));
            }
            let share = |part: u32| (expected * f64::from(part) / f64::from(DRAWN)) as u64;
            let due = self.next + span.mul_f64((f64::from(part) + 0.5) / f64::from(DRAWN));
            part += 1;
            (part <= DRAWN).then(|| (due, share(part) - share(part - 1)))
        })
    }
}

/// Waits to the microsecond; tokio's own timers keep milliseconds.
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub fn new() -> Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC).context("make a timer")?;
        // SAFETY: the descriptor is owned, valid, and neither replaced nor closed before the AsyncFd drops it.
        let timer = unsafe { tokio::io::unix::AsyncFd::register_with_interest(timer, tokio::io::Interest::READABLE) };
        Ok(Alarm { timer: timer.map_err(|error| anyhow::anyhow!("{error}")).context("wait for a timer")? })
    }

    pub async fn wait_until(&mut self, due: Instant) -> Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos().into() },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).context("set a timer")?;
        loop {
            let mut ready = self.timer.readable().await.context("wait for a timer")?;
            let mut count = [0; 8];
            match ready.try_io(|timer| rustix::io::read(timer, &mut count).map_err(Into::into)) {
                Ok(read) => return read.map(drop).context("read a timer"),
                Err(_) => continue,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub fn new() -> Result<Self> {
        Ok(Alarm {})
    }

    pub async fn wait_until(&mut self, due: Instant) -> Result<()> {
        tokio::time::sleep_until(due.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_rate_and_are_random() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000.0, start, Random::new(1));
        let dues: Vec<Instant> = (0..10_000).map(|_| schedule.take()).collect();
        let seconds = (dues[9_999] - start).as_secs_f64();
        assert!((9.7..10.3).contains(&seconds), "{seconds}");
        // Of a Poisson process a share of 1/e of the gaps is longer than the mean.
        let long = dues.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(1)).count();
        assert!((3500..3900).contains(&long), "{long}");
    }

    #[test]
    fn what_was_not_taken_is_counted() {
        let start = Instant::now();
        for (rate, counts) in [(100.0, 900..1100), (1e6, 9_990_000..10_010_000)] {
            let end = start + Duration::from_secs(10);
            let left: Vec<(Instant, u64)> = Schedule::new(rate, start, Random::new(1)).left(end).collect();
            assert!(left.len() <= 100_000 && left.iter().all(|(due, _)| (start..end).contains(due)), "{}", left.len());
            let count = left.iter().map(|(_, count)| count).sum::<u64>();
            assert!(counts.contains(&count), "{count} at {rate}");
        }
    }

    #[test]
    fn a_schedule_that_begins_anew_owes_nothing() {
        let start = Instant::now();
        let at = start + Duration::from_secs(10);
        for (rate, counts) in [(100.0, 900..1100), (1e6, 9_990_000..10_010_000)] {
            let mut schedule = Schedule::new(rate, start, Random::new(1));
            assert!(counts.contains(&schedule.begin_anew(at)), "{rate}");
            assert_eq!(schedule.begin_anew(at), 0);
            let next = schedule.take();
            assert!(next >= at && next < at + Duration::from_secs(1), "{rate}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_alarm_is_not_early_and_hardly_late() {
        let mut alarm = Alarm::new().unwrap();
        let mut late = Vec::new();
        for _ in 0..50 {
            let due = Instant::now() + Duration::from_micros(300);
            alarm.wait_until(due).await.unwrap();
            late.push(Instant::now().checked_duration_since(due).expect("not before it was due"));
        }
        late.sort_unstable();
        // The median: a busy machine may wake us late now and then.
        assert!(late[25] < Duration::from_millis(1), "{late:?}");
    }
}
