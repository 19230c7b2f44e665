//! How a run goes: a line each so many seconds, or on a terminal a small view that is drawn over each second.

use std::sync::Mutex;

use super::ms;
use crate::bench::{Length, Tick};
use crate::render::outlet::{Stream, write_until_told};
use crate::render::progress::terminal_size;
use crate::render::{Ui, units};

pub struct BenchProgress {
    ui: Ui,
    every: u64,
    /// A view that is drawn over.
    view: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines of the view that stand on the terminal.
    drawn: usize,
    layer: Option<String>,
    /// Transactions of the last seconds.
    tps: Vec<u64>,
}

/// Seconds that the view's curve shows.
const CURVE: usize = 40;

impl BenchProgress {
    pub fn new(ui: &Ui, every: Option<u64>) -> Self {
        let view = ui.live && !ui.quiet && every.is_none();
        let every = every.unwrap_or(if view { 1 } else { 10 });
        BenchProgress { ui: ui.clone(), every, view, state: Mutex::new(State::default()) }
    }

    pub fn show(&self, tick: &Tick) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let layer = tick.layer.as_str();
        if state.layer.as_deref() != Some(layer) {
            state.layer = Some(layer.to_string());
            state.tps.clear();
            let warming = format!("{layer}: warming up");
            if self.view { self.draw(&mut state, &[warming]) } else { self.ui.say(&warming) }
        }
        let Some(seconds) = tick.seconds else { return };
        let whole = seconds as u64;
        if whole == 0 {
            return;
        }
        if self.view {
            state.tps.push(tick.second.transactions);
            let lines = view(tick, whole, &state.tps, terminal_size().0);
            self.draw(&mut state, &lines);
        } else if whole.is_multiple_of(self.every) {
            self.ui.say(&line(tick, whole));
        }
    }

    fn draw(&self, state: &mut State, lines: &[String]) {
        let mut text = over(state.drawn);
        for line in lines {
            text += &format!("\x1b[2K{line}\n");
        }
        state.drawn = lines.len();
        // A terminal that is gone is told of by the next real line.
        let _ = write_until_told(Stream::Err, &text);
    }

    /// Takes the view away.
    pub fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.drawn > 0 {
            let text = over(state.drawn) + "\x1b[J";
            state.drawn = 0;
            let _ = write_until_told(Stream::Err, &text);
        }
    }
}

/// Back to the view's first line.
fn over(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F") }
}

fn time(tick: &Tick, seconds: u64) -> String {
    match tick.length {
        Length::Time(time) if seconds > time.as_secs() => format!("{seconds} s, for what was under way after {}", units::duration(time)),
        Length::Time(time) => format!("{seconds} s of {}", units::duration(time)),
        Length::Transactions(_) => format!("{seconds} s"),
    }
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_string(), units::percent)
}

fn line(tick: &Tick, seconds: u64) -> String {
    let second = &tick.second;
    let mut text = format!(
        "{}: {}, {} tps, p50 {} ms, p95 {} ms, p99 {} ms, {}",
        tick.layer.as_str(),
        time(tick, seconds),
        units::count(second.transactions),
        ms(second.p50_ms),
        ms(second.p95_ms),
        ms(second.p99_ms),
        units::counted(second.errors, "error"),
    );
    if let Some(store) = &tick.store {
        if tick.layer.caches() {
            text += &format!(", L1 {}, L2 {}", percent(store.l1_hit_ratio), percent(store.l2_hit_ratio));
        }
        text += &format!(", pool {} of {}", store.in_use, store.max);
        if store.without_redis > 0 {
            text += ", without Redis";
        }
    }
    if tick.away > 0 {
        text += &format!(", {} without a connection", units::counted(tick.away as u64, "client"));
    }
    text
}

/// The column at which what is told begins.
const TOLD: usize = 12;

/// `columns`: of the terminal; no line is longer, or it could not be drawn over.
fn view(tick: &Tick, seconds: u64, tps: &[u64], columns: usize) -> Vec<String> {
    let second = &tick.second;
    let room = |beside: &str| columns.saturating_sub(TOLD + 1 + beside.chars().count());
    let time = time(tick, seconds);
    let done = match tick.length {
        Length::Time(length) if seconds <= length.as_secs() => {
            bar(seconds as f64 / length.as_secs_f64().max(1.0), room(&time).min(30)) + " "
        }
        _ => String::new(),
    };
    let rate = format!("{} tps", units::count(second.transactions));
    let shown = CURVE.min(room(&rate));
    let mut lines = vec![
        format!("{:<11} {done}{time}", tick.layer.as_str()),
        format!("throughput  {} {rate}", curve(&tps[tps.len().saturating_sub(shown)..])),
    ];
    let (p50, p95, p99) = (ms(second.p50_ms), ms(second.p95_ms), ms(second.p99_ms));
    let errors = units::counted(second.errors, "error");
    let latency = format!("latency     p50 {p50} ms   p95 {p95} ms   p99 {p99} ms   {errors}");
    if latency.chars().count() <= columns {
        lines.push(latency);
    } else {
        lines.extend([format!("p50 95 99   {p50}  {p95}  {p99} ms"), format!("errors      {}", units::count(second.errors))]);
    }
    if tick.away > 0 {
        lines.push(format!("clients     {} without a connection", tick.away));
    }
    if let Some(store) = &tick.store {
        if tick.layer.caches() {
            let redis = if store.without_redis > 0 { "   no Redis" } else { "" };
            lines.push(format!("caches      L1 {}   L2 {}{redis}", percent(store.l1_hit_ratio), percent(store.l2_hit_ratio)));
        }
        let share = store.in_use as f64 / store.max.max(1) as f64;
        let used = format!("{} of {} in use, {} waiting", store.in_use, store.max, store.waiting);
        let bar = if room(&used) >= 20 { bar(share, 20) + " " } else { String::new() };
        lines.push(format!("pool        {bar}{used}"));
    }
    lines.iter().map(|line| line.chars().take(columns).collect()).collect()
}

fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// Eight heights, the highest of all at the top.
fn curve(values: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    values.iter().map(|value| HEIGHTS[(value * 7 / most) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{Layer, Second, StoreNow};

    #[test]
    fn no_line_of_the_view_is_longer_than_the_terminal() {
        let second =
            Second { second: 3, transactions: 1_234_567, errors: 12_345, p50_ms: Some(0.1), p95_ms: Some(12.3), p99_ms: Some(45678.9) };
        let store = Some(StoreNow { l1_hit_ratio: Some(0.5), l2_hit_ratio: None, in_use: 20, max: 20, waiting: 980, without_redis: 1 });
        let tick = Tick { layer: Layer::Cached, seconds: Some(3.0), length: Length::Time(Duration::from_secs(30)), second, store, away: 7 };
        for columns in [10, 40, 55, 80, 200] {
            let lines = view(&tick, 3, &[5; 100], columns);
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
        }
        assert_eq!(
            view(&tick, 3, &[5; 100], 40),
            [
                "cached      ██░░░░░░░░░░░░░░ 3 s of 30 s",
                "throughput  ██████████████ 1,234,567 tps",
                "p50 95 99   0.100  12.3  45,679 ms",
                "errors      12,345",
                "clients     7 without a connection",
                "caches      L1 50.0 %   L2 –   no Redis",
                "pool        20 of 20 in use, 980 waiting",
            ]
        );
    }

    #[test]
    fn bars_and_curves_stay_within_their_room() {
        assert_eq!((bar(0.5, 4), bar(7.0, 2), bar(0.0, 2)), ("██░░".to_string(), "██".to_string(), "░░".to_string()));
        assert_eq!((curve(&[0, 5, 10]), curve(&[0, 0]), curve(&[])), ("▁▄█".to_string(), "▁▁".to_string(), String::new()));
    }
}
