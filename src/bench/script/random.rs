//! Random numbers, by pgbench's own generator (xoroshiro128**) and formulas: the same law and, by seed, the same sequence each time.

/// One stream of random numbers. Streams of different seeds are independent.
#[derive(Clone, Debug)]
pub struct Random {
    s0: u64,
    s1: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let (s0, s1) = (splitmix64(&mut state), splitmix64(&mut state));
        // The generator's one dead state.
        if s0 == 0 && s1 == 0 { Random { s0: 0x5851_F42D_4C95_7F2D, s1: 0x1405_7B7E_F767_814F } } else { Random { s0, s1 } }
    }

    /// The stream of one part of a run, told by its number: a client, a schedule.
    pub fn stream(seed: u64, part: u64) -> Self {
        let mut state = seed;
        let mixed = splitmix64(&mut state);
        Random::new(mixed ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn next(&mut self) -> u64 {
        let (s0, sx) = (self.s0, self.s1 ^ self.s0);
        let value = s0.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        self.s0 = s0.rotate_left(24) ^ sx ^ (sx << 16);
        self.s1 = sx.rotate_left(37);
        value
    }

    /// In [0, 1).
    pub fn double(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform, both ends included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        let range = high - low;
        let shift = range.leading_zeros();
        loop {
            let value = self.next() >> shift;
            if value <= range {
                return low + value;
            }
        }
    }

    pub fn uniform(&mut self, low: i64, high: i64) -> i64 {
        let span = high.wrapping_sub(low) as u64;
        low.wrapping_add(self.range(0, span) as i64)
    }

    /// Densest in the middle; `parameter` (at least 2) is how many standard deviations the range spans at each side.
    pub fn gaussian(&mut self, low: i64, high: i64, parameter: f64) -> i64 {
        let deviation = loop {
            let (first, second) = (1.0 - self.double(), 1.0 - self.double());
            let deviation = (-2.0 * first.ln()).sqrt() * (2.0 * std::f64::consts::PI * second).sin();
            if (-parameter..parameter).contains(&deviation) {
                break deviation;
            }
        };
        place(low, high, (deviation + parameter) / (parameter * 2.0))
    }

    /// Densest at `low`; `parameter` above 0.
    pub fn exponential(&mut self, low: i64, high: i64, parameter: f64) -> i64 {
        let cut = (-parameter).exp();
        let uniform = 1.0 - self.double();
        place(low, high, -(cut + (1.0 - cut) * uniform).ln() / parameter)
    }

    /// Zipf's law: the k-th value of the range comes in proportion to 1/k^`parameter` (1.001 … 1000), by rejection.
    pub fn zipfian(&mut self, low: i64, high: i64, parameter: f64) -> i64 {
        let n = (high.wrapping_sub(low) as u64).saturating_add(1);
        if n <= 1 {
            return low;
        }
        let b = 2f64.powf(parameter - 1.0);
        loop {
            let (u, v) = (self.double(), self.double());
            let x = u.powf(-1.0 / (parameter - 1.0)).floor();
            let t = (1.0 + 1.0 / x).powf(parameter - 1.0);
            if v * x * (t - 1.0) / (b - 1.0) <= t / b && x <= n as f64 {
                return low.wrapping_add((x as u64 - 1) as i64);
            }
        }
    }

    /// Exponential with this mean, in its own unit: the gap between two arrivals of a Poisson process.
    pub fn gap(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.double()).ln()
    }
}

fn place(low: i64, high: i64, share: f64) -> i64 {
    let span = (high.wrapping_sub(low) as u64) as f64 + 1.0;
    // Rounding may reach the upper end itself.
    low.wrapping_add((span * share) as i64).clamp(low, high)
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// pgbench's `hash_fnv1a`.
pub fn hash_fnv1a(value: i64, seed: u64) -> i64 {
    let mut result = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in value.to_le_bytes() {
        result = (result ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    result as i64
}

/// pgbench's `hash` and `hash_murmur2`.
pub fn hash_murmur2(value: i64, seed: u64) -> i64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let mut result = seed ^ MULTIPLIER.wrapping_mul(8);
    let mut key = (value as u64).wrapping_mul(MULTIPLIER);
    key = (key ^ (key >> 47)).wrapping_mul(MULTIPLIER);
    result = (result ^ key).wrapping_mul(MULTIPLIER);
    result = (result ^ (result >> 47)).wrapping_mul(MULTIPLIER);
    (result ^ (result >> 47)) as i64
}

/// pgbench's `permute`: each value of 0 … `size` - 1 to another, told by the seed.
pub fn permute(value: i64, size: i64, seed: i64) -> i64 {
    if size < 2 {
        return 0;
    }
    let mut random = Random::new(seed as u64);
    let size = size as u64;
    // As C does it: a negative value is a large one.
    let mut v = value as u64 % size;
    let length = 63 - size.leading_zeros();
    let mask = (1u64 << length) - 1;
    let mix = |v: u64, m: u64, r: u64| {
        let v = (v.wrapping_mul(m) ^ r) & mask;
        ((v << 1) & mask) | (v >> (length - 1))
    };
    for _ in 0..6 {
        let (m, r) = ((random.next() & mask) | 1, random.next() & mask);
        if v <= mask {
            v = mix(v, m, r);
        }
        let (m, r) = ((random.next() & mask) | 1, random.next() & mask);
        let t = size - 1 - v;
        if t <= mask {
            v = size - 1 - mix(t, m, r);
        }
        v = ((u128::from(v) + u128::from(random.range(0, size - 1))) % u128::from(size)) as u64;
    }
    v as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(draw: impl Fn(&mut Random) -> i64) -> Vec<f64> {
        let mut random = Random::new(7);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[draw(&mut random) as usize - 1] += 1;
        }
        counts.iter().map(|count| f64::from(*count) / 100_000.0).collect()
    }

    fn close(actual: &[f64], expected: &[f64]) {
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 0.006, "{actual} for {expected}");
        }
    }

    #[test]
    fn each_law_holds() {
        close(&shares(|random| random.uniform(1, 10)), &[0.1; 10]);
        let zipf: f64 = (1..=10).map(|k| f64::from(k).powf(-1.5)).sum();
        let expected: Vec<f64> = (1..=10).map(|k| f64::from(k).powf(-1.5) / zipf).collect();
        close(&shares(|random| random.zipfian(1, 10, 1.5)), &expected);
        let whole = 1.0 - (-3f64).exp();
        let expected: Vec<f64> = (1..=10).map(|k| ((-0.3 * f64::from(k - 1)).exp() - (-0.3 * f64::from(k)).exp()) / whole).collect();
        close(&shares(|random| random.exponential(1, 10, 3.0)), &expected);
        let gaussian = shares(|random| random.gaussian(1, 10, 2.5));
        assert!(gaussian[4] > gaussian[2] && gaussian[2] > gaussian[0] && (gaussian[4] - gaussian[5]).abs() < 0.01, "{gaussian:?}");
    }

    #[test]
    fn a_permutation_meets_each_value_once() {
        for size in [2, 3, 10, 64, 1000] {
            let mut values: Vec<i64> = (0..size).map(|value| permute(value, size, 42)).collect();
            values.sort_unstable();
            assert_eq!(values, (0..size).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ends_are_included_and_nothing_overflows() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            random.uniform(i64::MIN, i64::MAX);
            assert_eq!(random.uniform(5, 5), 5);
            assert!((1..=2).contains(&random.zipfian(1, 2, 1.001)));
        }
    }
}
