//! Is one set of runs faster than another, or is it the machine's noise? Intervals over runs, never over the samples within one: those hang
//! together, and make every difference look certain.

/// How sure an interval of a whole comparison is.
pub const CONFIDENCE: f64 = 0.99;

/// The ratio of two means, and between which values it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

/// Welch's interval for the ratio of geometric means, `b` to `a`. None below two runs a side, or where a value is not above 0.
pub fn ratio(a: &[f64], b: &[f64], confidence: f64) -> Option<Ratio> {
    let (a, b) = (logs(a)?, logs(b)?);
    let (mean_a, variance_a) = moments(&a);
    let (mean_b, variance_b) = moments(&b);
    let (share_a, share_b) = (variance_a / a.len() as f64, variance_b / b.len() as f64);
    let error = (share_a + share_b).sqrt();
    // Welch and Satterthwaite; runs that are all alike have no noise to speak of.
    let freedom = if error > 0.0 {
        (share_a + share_b).powi(2) / (share_a.powi(2) / (a.len() - 1) as f64 + share_b.powi(2) / (b.len() - 1) as f64)
    } else {
        (a.len() + b.len() - 2) as f64
    };
    Some(interval(mean_b - mean_a, error, freedom, confidence))
}

/// The same for runs that were made in pairs, each beside the other: what slows both of a pair is no noise.
pub fn paired_ratio(a: &[f64], b: &[f64], confidence: f64) -> Option<Ratio> {
    let (a, b) = (logs(a)?, logs(b)?);
    if a.len() != b.len() {
        return None;
    }
    let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
    let (mean, variance) = moments(&differences);
    Some(interval(mean, (variance / differences.len() as f64).sqrt(), (differences.len() - 1) as f64, confidence))
}

fn interval(mean: f64, error: f64, freedom: f64, confidence: f64) -> Ratio {
    let width = student_quantile(1.0 - (1.0 - confidence) / 2.0, freedom) * error;
    Ratio { estimate: mean.exp(), low: (mean - width).exp(), high: (mean + width).exp() }
}

fn logs(values: &[f64]) -> Option<Vec<f64>> {
    let usable = values.len() >= 2 && values.iter().all(|value| *value > 0.0 && value.is_finite());
    usable.then(|| values.iter().map(|value| value.ln()).collect())
}

/// Mean and variance (of a sample).
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (values.len() - 1) as f64)
}

/// Of Student's distribution, for probabilities above one half.
fn student_quantile(probability: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_cumulative(high, freedom) < probability && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if student_cumulative(middle, freedom) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// For t of at least 0.
fn student_cumulative(t: f64, freedom: f64) -> f64 {
    1.0 - 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// The regularized incomplete beta function, by Lentz's continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) { front * beta_fraction(a, b, x) / a } else { 1.0 - front * beta_fraction(b, a, 1.0 - x) / b }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let safe = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / safe(1.0 + even * d);
        c = safe(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / safe(1.0 + odd * d);
        c = safe(1.0 + odd / c);
        let step = d * c;
        result *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

/// Lanczos.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let base = x + 5.5;
    let series = COEFFICIENTS.iter().zip(1..).fold(1.000_000_000_190_015, |sum, (coefficient, n)| sum + coefficient / (x + f64::from(n)));
    (x + 0.5) * base.ln() - base + (2.506_628_274_631_000_5 * series / x).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        for (probability, freedom, expected) in
            [(0.975, 1.0, 12.706), (0.975, 10.0, 2.228), (0.995, 8.0, 3.355), (0.995, 12.0, 3.055), (0.9995, 30.0, 3.646)]
        {
            let actual = student_quantile(probability, freedom);
            assert!((actual - expected).abs() < 0.001, "{probability} of {freedom}: {actual}");
        }
    }

    #[test]
    fn an_interval_has_its_ratio_and_its_width() {
        let ratio = ratio(&[100.0, 102.0, 98.0, 101.0, 99.0], &[90.0, 92.0, 88.0, 91.0, 89.0], 0.99).unwrap();
        assert!((ratio.estimate - 0.9).abs() < 0.001 && ratio.low > 0.86 && ratio.high < 0.94, "{ratio:?}");
        // What drifts in both of a pair is not in the way.
        let (a, b) = ([100.0, 120.0, 140.0, 160.0, 180.0], [95.0, 114.5, 132.5, 152.0, 171.5]);
        let paired = paired_ratio(&a, &b, 0.99).unwrap();
        assert!(paired.high < 1.0 && super::ratio(&a, &b, 0.99).unwrap().high > 1.0, "{paired:?}");
        assert_eq!((super::ratio(&[1.0], &[1.0, 2.0], 0.99), super::ratio(&[0.0, 1.0], &[1.0, 2.0], 0.99)), (None, None));
    }
}
