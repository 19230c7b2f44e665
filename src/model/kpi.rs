//! What the platform wants, in one table: `bench --assert kpi`, monitor's rules and the documentation read it from here.

/// A number to hold, and where its limit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kpi {
    /// Stable; the name of the value in JSON.
    pub name: &'static str,
    pub about: &'static str,
    pub limit: Limit,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Met below this.
    Below(f64),
    /// Met above this.
    Above(f64),
}

/// What a value is counted in; in documents always the base: milliseconds, ratios of 0 to 1, bytes, a number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Ratio,
    Bytes,
    Count,
}

const fn kpi(name: &'static str, limit: Limit, unit: Unit, about: &'static str) -> Kpi {
    Kpi { name, about, limit, unit }
}

/// Where latency histograms have their bounds, in seconds: each limit of the table is one, so that what Prometheus counts below it is exact.
pub const LATENCY_BOUNDS: [f64; 16] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Every one of them.
pub const KPIS: [Kpi; 8] = [
    kpi("p50", Limit::Below(20.0), Unit::Milliseconds, "half of the responses are faster"),
    kpi("p95", Limit::Below(50.0), Unit::Milliseconds, "19 of 20 responses are faster"),
    kpi("p99", Limit::Below(100.0), Unit::Milliseconds, "99 of 100 responses are faster"),
    kpi("l1_hit_ratio", Limit::Above(0.95), Unit::Ratio, "lookups that the memory cache answered"),
    kpi("l2_hit_ratio", Limit::Above(0.90), Unit::Ratio, "lookups that reached Redis and were answered there"),
    kpi("pool_utilization", Limit::Below(0.80), Unit::Ratio, "the pool's connections that are in use, over time"),
    kpi("error_rate", Limit::Below(0.001), Unit::Ratio, "calls that failed for good"),
    // MB is a million bytes.
    kpi("memory", Limit::Below(200e6), Unit::Bytes, "resident memory of an instance"),
];

impl Unit {
    pub fn short(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Ratio => "ratio",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
        }
    }
}

impl Kpi {
    /// True of the ratios of caches, which writes disturb whatever the cache does.
    pub fn is_hit_ratio(&self) -> bool {
        self.name.ends_with("hit_ratio")
    }

    pub fn is_met(&self, value: f64) -> bool {
        match self.limit {
            Limit::Below(limit) => value < limit,
            Limit::Above(limit) => value > limit,
        }
    }

    /// `p95<50ms`, `l1_hit_ratio>95%`, `memory<200MB`: as an assertion says it.
    pub fn expression(&self) -> String {
        let (sign, limit) = match self.limit {
            Limit::Below(limit) => ('<', limit),
            Limit::Above(limit) => ('>', limit),
        };
        let limit = match self.unit {
            Unit::Milliseconds => format!("{limit}ms"),
            // 0.001 × 100 is 0.1 only when rounded.
            Unit::Ratio => format!("{}%", (limit * 1e6).round() / 1e4),
            Unit::Bytes => format!("{}MB", limit / 1e6),
            Unit::Count => limit.to_string(),
        };
        format!("{}{sign}{limit}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_strategys() {
        let expressions: Vec<String> = KPIS.iter().map(Kpi::expression).collect();
        assert_eq!(
            expressions,
            [
                "p50<20ms",
                "p95<50ms",
                "p99<100ms",
                "l1_hit_ratio>95%",
                "l2_hit_ratio>90%",
                "pool_utilization<80%",
                "error_rate<0.1%",
                "memory<200MB"
            ]
        );
        assert!(KPIS[0].is_met(19.9) && !KPIS[0].is_met(20.0) && KPIS[3].is_met(0.96) && !KPIS[3].is_met(0.95));
    }
}
