//! Chance: for tokens, jitter and backoff. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
}

/// 64 bits that no other call, thread or process is likely to get; never 0.
pub fn token() -> u64 {
    // A fresh state is keyed by the operating system's own chance.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(STATE.with(next));
    hasher.finish().max(1)
}

/// From 0 to below 1.
pub(super) fn unit() -> f64 {
    (STATE.with(next) >> 11) as f64 / (1_u64 << 53) as f64
}

fn next(state: &Cell<u64>) -> u64 {
    let mut x = state.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    state.set(x);
    x
}
