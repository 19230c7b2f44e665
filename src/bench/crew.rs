//! The threads of one run, and what is watched from beside them while they work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::bench::layer::Layer;
use crate::bench::recorder::{Record, Second, Series};
use crate::bench::schedule::Window;
use crate::bench::server::{self, ServerReport};
use crate::bench::store_watch::{StoreReport, StoreWatch};
use crate::bench::worker::{self, Outcome, Plan};
use crate::bench::{Job, Length, Tick, sessions};
use crate::postgres::Address;
use crate::store;

pub struct Crew {
    plan: Arc<Plan>,
    workers: Vec<thread::JoinHandle<Result<Outcome>>>,
    ready: mpsc::Receiver<Result<()>>,
    start: watch::Sender<Option<Window>>,
    halt: watch::Sender<bool>,
}

pub struct Measured {
    pub record: Record,
    /// From the end of the warm-up to the last transaction's.
    pub elapsed: Duration,
    /// Of this process, from the end of the warm-up on; unknown when it was interrupted before.
    pub cpu: Option<Duration>,
    pub rss_bytes: Option<u64>,
    pub series: Vec<Second>,
    pub store: Option<StoreReport>,
    pub server: Option<ServerReport>,
}

impl Crew {
    pub fn gather(plan: &Arc<Plan>, clients: usize, threads: usize, mut stop: watch::Receiver<bool>) -> Result<Self> {
        let (ready_sender, ready) = mpsc::channel(threads);
        let (start, started) = watch::channel(None);
        let (halt, halted) = watch::channel(false);
        let mut workers = Vec::new();
        for number in 0..threads {
            let share = clients * number / threads..clients * (number + 1) / threads;
            let (plan, ready, started, halted) = (Arc::clone(plan), ready_sender.clone(), started.clone(), halted.clone());
            let worker =
                thread::Builder::new().name(format!("bench {number}")).spawn(move || worker::work(&plan, share, ready, started, halted));
            workers.push(worker.context("start a worker thread")?);
        }
        let halting = halt.clone();
        tokio::spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                halting.send_replace(true);
            }
        });
        Ok(Crew { plan: Arc::clone(plan), workers, ready, start, halt })
    }

    /// Lets the workers run, and watches what they do. `address`: the server whose own counts are wanted.
    pub async fn measure(mut self, job: &Job, layer: Layer, series: &Series, address: Option<&Address>) -> Result<Measured> {
        for _ in 0..self.workers.len() {
            match self.ready.recv().await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.halt.send_replace(true);
                    return Err(error).context("connect the clients");
                }
                None => break,
            }
        }
        if let Some(instances) = self.plan.entrance.instances() {
            instances.hear_redis().await?;
        }
        let mut watch = match address {
            Some(address) => Some(server::Watch::connect(address, sessions()).await?),
            None => None,
        };
        if let Some(watch) = watch.as_mut().filter(|_| job.warmup.is_zero()) {
            watch.begin().await;
        }
        let mut store = self.plan.entrance.instances().map(StoreWatch::new);
        let start = Instant::now();
        let measured_from = start + job.warmup;
        let end = match job.length {
            Length::Time(time) => Some(measured_from + time),
            Length::Transactions(_) => None,
        };
        let mut cpu = Span::default();
        if job.warmup.is_zero() {
            // Before the first of them has done anything.
            store.iter_mut().for_each(StoreWatch::begin);
            cpu.from = Some(process_cpu());
        }
        self.start.send_replace(Some(Window { start, measured_from, end }));
        // In the open model what was due within the window is answered after its end, too.
        let watched_to = end.filter(|_| job.rate.is_none());
        // Sessions of a pooler outlive its clients'.
        let whole = job.warmup.is_zero() && (layer.of_store().is_none() || job.store.address.shown() == job.address.shown());
        let (finish, finished) = oneshot::channel();
        let server = watch.map(|watch| tokio::spawn(watch.run(measured_from, watched_to, whole, finished)));

        let workers = std::mem::take(&mut self.workers);
        let mut joined = tokio::task::spawn_blocking(move || workers.into_iter().map(thread::JoinHandle::join).collect::<Vec<_>>());
        let mut rss_bytes = None;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut look = tokio::time::interval(StoreWatch::EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = None;
        let outcomes = loop {
            tokio::select! {
                outcomes = &mut joined => break outcomes.context("wait for the workers")?,
                _ = tokio::time::sleep_until(measured_from.into()), if cpu.from.is_none() => {
                    if let Some(store) = &mut store {
                        store.begin();
                    }
                    cpu.from = Some(process_cpu());
                }
                _ = tokio::time::sleep_until(watched_to.unwrap_or(start).into()), if watched_to.is_some() && cpu.to.is_none() && cpu.from.is_some() => {
                    cpu.to = Some(process_cpu());
                    if let Some(store) = &mut store {
                        store.end();
                    }
                }
                _ = look.tick(), if store.is_some() => {
                    if let Some(store) = &mut store {
                        store.look();
                    }
                }
                _ = tick.tick() => {
                    self.plan.pulse.send_replace(());
                    rss_bytes = rss_bytes.max(store::resident_bytes());
                    let now = Instant::now();
                    // A second is told when it is over and the workers have handed it on.
                    let seconds = now.checked_duration_since(measured_from).map(|time| time.as_secs_f64());
                    let second = seconds.map_or(0, |seconds| (seconds - 0.2).max(0.0) as u64);
                    if told != Some((seconds.is_some(), second)) {
                        told = Some((seconds.is_some(), second));
                        let store = store.as_mut().and_then(StoreWatch::now);
                        let second = series.last(second, 1);
                        let away = self.plan.away.load(Ordering::Relaxed);
                        (job.ticks)(Tick { layer, seconds: seconds.map(f64::floor), length: job.length, second, store, away });
                    }
                }
            }
        };
        // Interrupted, or each client has had its number of transactions.
        cpu.to.get_or_insert_with(process_cpu);
        if let Some(store) = &mut store {
            store.end();
        }
        drop(finish);
        let server = match server {
            Some(server) => Some(finished_report(server).await),
            None => None,
        };
        let mut record: Option<Record> = None;
        let mut ended = measured_from;
        for outcome in outcomes {
            let outcome = outcome.map_err(|_| anyhow!("a worker thread panicked"))??;
            ended = ended.max(outcome.ended);
            match &mut record {
                None => record = Some(outcome.record),
                Some(all) => all.add(&outcome.record),
            }
        }
        let seconds = end.map_or(ended, |end| end.min(ended)).saturating_duration_since(measured_from).as_secs_f64().ceil() as u64;
        Ok(Measured {
            record: record.context("a load test has a worker")?,
            elapsed: ended - measured_from,
            cpu: cpu.from.zip(cpu.to).map(|(from, to)| to.saturating_sub(from)),
            rss_bytes,
            series: series.seconds(seconds),
            store: store.and_then(StoreWatch::report),
            server,
        })
    }
}

/// The server's side; said to be unknown where the server does not answer.
async fn finished_report(mut server: JoinHandle<ServerReport>) -> ServerReport {
    let limit = Duration::from_secs(5);
    match tokio::time::timeout(limit, &mut server).await {
        Ok(Ok(report)) => report,
        _ => {
            server.abort();
            let note = format!("the server did not say within {} s what it had done", limit.as_secs());
            ServerReport { notes: vec![note], ..ServerReport::default() }
        }
    }
}

/// Of a counter that only grows.
#[derive(Default)]
struct Span {
    from: Option<Duration>,
    to: Option<Duration>,
}

/// User and system time of all threads.
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
