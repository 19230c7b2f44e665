//! `--assert`: what must hold, as an expression over the report's own names.

use std::fmt;

use serde_json::Value as Json;

use crate::bench::layer::Layer;
use crate::bench::recorder::Tally;
use crate::bench::report::{Assertion, BenchReport, LayerReport, OperationReport};
use crate::bench::store_watch::FEWEST_LOOKUPS;
use crate::model::{Failure, KPIS, Kpi, Unit};

/// One expression, read: `p95<50ms`, `cached:l1_hit_ratio>95%`, `reads.latency_ms.p99<=2ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    text: String,
    /// Of which layer; else of the last.
    layer: Option<String>,
    /// The name, or the path of names, in a layer's JSON.
    path: String,
    sign: Sign,
    limit: f64,
    /// What the limit is counted in; none for a bare number.
    unit: Option<Unit>,
    /// The line of the table that this is.
    kpi: Option<&'static Kpi>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Different,
}

const SIGNS: [(&str, Sign); 7] = [
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("==", Sign::Equal),
    ("!=", Sign::Different),
    ("<", Sign::Less),
    (">", Sign::More),
    ("=", Sign::Equal),
];

/// Unit, how much of the base one is, and the base.
const UNITS: [(&str, f64, Unit); 10] = [
    ("us", 0.001, Unit::Milliseconds),
    ("µs", 0.001, Unit::Milliseconds),
    ("ms", 1.0, Unit::Milliseconds),
    ("s", 1000.0, Unit::Milliseconds),
    ("%", 0.01, Unit::Ratio),
    ("kB", 1e3, Unit::Bytes),
    ("MB", 1e6, Unit::Bytes),
    ("GB", 1e9, Unit::Bytes),
    ("MiB", 1_048_576.0, Unit::Bytes),
    ("GiB", 1_073_741_824.0, Unit::Bytes),
];

/// Short names, and where their values are in a layer's JSON.
const SHORT: [(&str, &str); 15] = [
    ("min", "latency_ms.min"),
    ("mean", "latency_ms.mean"),
    ("p50", "latency_ms.p50"),
    ("p90", "latency_ms.p90"),
    ("p95", "latency_ms.p95"),
    ("p99", "latency_ms.p99"),
    ("p999", "latency_ms.p999"),
    ("max", "latency_ms.max"),
    ("l1_hit_ratio", "l1.hit_ratio"),
    ("l2_hit_ratio", "l2.hit_ratio"),
    ("pool_utilization", "pool.utilization"),
    ("pool_wait_p99", "pool.wait_ms_p99"),
    ("memory", "rss_bytes"),
    ("not_sent", "open.not_sent"),
    ("cpu", "client_cpu_us_per_transaction"),
];

/// Reads one `--assert`; `kpi` is every line of the table. The error says what is wrong and at which character.
pub fn parse(text: &str) -> Result<Vec<Claim>, Failure> {
    if text.trim() == "kpi" {
        return KPIS.iter().map(|kpi| Ok(Claim { kpi: Some(kpi), ..one(&kpi.expression())? })).collect();
    }
    text.split(',').map(one).collect()
}

fn one(text: &str) -> Result<Claim, Failure> {
    let wrong = |at: usize, message: String| {
        let column = text[..at].chars().count() + 1;
        Failure::new("bad_assertion", format!("assertion {text:?}, character {column}: {message}"))
            .hint("Write a name, a comparison and a limit, such as p95<50ms, error_rate<0.1%, cached:l1_hit_ratio>95%, or kpi.")
    };
    let Some((at, (sign_text, sign))) =
        text.char_indices().find_map(|(at, _)| SIGNS.iter().find(|(sign, _)| text[at..].starts_with(sign)).map(|sign| (at, *sign)))
    else {
        return Err(wrong(text.len(), "a comparison is missing: <, <=, >, >=, = or !=".to_string()));
    };
    let name = text[..at].trim();
    if name.is_empty() {
        return Err(wrong(at, "a name is missing".to_string()));
    }
    let (layer, path) = match name.split_once(':') {
        Some((layer, path)) => (Some(layer.trim().to_string()), path.trim()),
        None => (None, name),
    };
    let start = at + sign_text.len();
    let limit = text[start..].trim();
    let limit_at = start + text[start..].find(limit).unwrap_or_default();
    let digits = limit.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(limit.len());
    let number: f64 = limit[..digits].parse().map_err(|_| wrong(limit_at, "a number is missing".to_string()))?;
    let unit = limit[digits..].trim();
    let (factor, unit) = match UNITS.iter().find(|(name, ..)| *name == unit) {
        Some((_, factor, base)) => (*factor, Some(*base)),
        None if unit.is_empty() => (1.0, None),
        None => return Err(wrong(limit_at + digits, format!("{unit:?} is no unit: us, ms, s, %, kB, MB, GB"))),
    };
    let path = SHORT.iter().find(|(short, _)| *short == path).map_or(path, |(_, path)| *path);
    let claim = Claim { text: text.trim().to_string(), layer, path: path.to_string(), sign, limit: number * factor, unit, kpi: None };
    match (claim.unit, unit_of(path)) {
        (Some(unit), Some(wanted)) if unit != wanted => {
            Err(wrong(limit_at + digits, format!("{name} is counted in {}, not {}", word(wanted), word(unit))))
        }
        _ => Ok(claim),
    }
}

/// What the value at a path is counted in, where its name tells.
fn unit_of(path: &str) -> Option<Unit> {
    let last = path.rsplit('.').next().unwrap_or(path);
    if path.contains("_ms") {
        Some(Unit::Milliseconds)
    } else if last.contains("ratio")
        || last.ends_with("rate")
        || last == "utilization"
        || last == "share"
        || (path.starts_with("answered.") && last != "reads")
    {
        Some(Unit::Ratio)
    } else if last.ends_with("bytes") {
        Some(Unit::Bytes)
    } else {
        None
    }
}

fn word(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "milliseconds",
        Unit::Ratio => "a ratio",
        Unit::Bytes => "bytes",
        Unit::Count => "a number",
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Claim {
    /// Before a run: are there such a layer, among those that run, and such a number? `operations`: what the workload is made of.
    pub fn check(&self, layers: &[Layer], operations: &[String]) -> Result<(), Failure> {
        if let Some(name) = self.layer.as_deref().filter(|name| !layers.iter().any(|layer| layer.as_str() == *name)) {
            let known = Layer::ALL.iter().map(|layer| layer.as_str());
            let near = known
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .min()
                .filter(|(distance, _)| (1..=2).contains(distance));
            let question = near.map_or(String::new(), |(_, near)| format!("; did you mean {near}?"));
            let run: Vec<&str> = layers.iter().map(|layer| layer.as_str()).collect();
            return Err(Failure::new("bad_assertion", format!("assertion {:?}: layer {name} is not run{question}", self.text))
                .hint(format!("This run is of {}.", run.join(", "))));
        }
        let mut layer = LayerReport::with_everything();
        layer.operations.extend(operations.iter().map(|operation| OperationReport::of(operation, &Tally::default())));
        let document = serde_json::to_value(&layer).map_err(|error| Failure::new("report", error.to_string()))?;
        self.resolve(&document, &self.path)?;
        // Only of a name that is known: a misspelt one is said to be that.
        match self.unit {
            Some(unit) if unit_of(&self.path).is_none() => {
                let message = format!("assertion {:?}: {} is a number without a unit, not {}", self.text, self.path, word(unit));
                Err(Failure::new("bad_assertion", message).hint("Write the limit as a number alone."))
            }
            _ => Ok(()),
        }
    }

    /// The verdict on a report. Of several runs of a layer the median counts.
    pub fn judge(&self, report: &BenchReport) -> Assertion {
        let name = match &self.layer {
            Some(layer) => layer,
            None => match report.layers.last() {
                Some(last) => &last.layer,
                None => return self.unknown("no layer was run"),
            },
        };
        let layers: Vec<&LayerReport> = report.layers.iter().filter(|layer| layer.layer == *name).collect();
        if layers.is_empty() {
            return self.unknown(&format!("layer {name} was not run"));
        }
        if let Some(lookups) = self.too_few(&layers) {
            let about = format!("{lookups} lookups are too few to judge");
            return Assertion { passed: None, ..self.unknown(&about) };
        }
        let actual = match self.median(&layers, &self.path) {
            Ok(actual) => actual,
            Err(why) => return self.unknown(&why),
        };
        if let Some(why) = layers.iter().find_map(|layer| layer.incomplete()).or(report.ended_early.clone()) {
            return Assertion { actual: Some(actual), ..self.unknown(&why) };
        }
        if report.interrupted {
            return Assertion { actual: Some(actual), passed: None, ..self.unknown("the run was interrupted") };
        }
        if layers.iter().any(|layer| layer.is_empty()) {
            return Assertion { actual: Some(actual), ..self.unknown("nothing was measured") };
        }
        if let Some(failed) = self.mostly_failed(&layers) {
            let about = format!("{:.0} % of the transactions failed, and latencies are of those that succeeded", failed * 100.0);
            return Assertion { actual: Some(actual), ..self.unknown(&about) };
        }
        if self.kpi.is_some_and(Kpi::is_hit_ratio) {
            return self.judge_both(actual, &layers);
        }
        let about = (layers.len() > 1).then(|| format!("the median of {} runs", layers.len()));
        Assertion { expr: self.text.clone(), actual: Some(actual), passed: Some(self.holds(actual)), about }
    }

    /// A hit ratio of the table, raw and without what writes had just made old: no cache can answer those. Says which of both holds.
    fn judge_both(&self, raw: f64, layers: &[&LayerReport]) -> Assertion {
        let percent = |ratio: f64| format!("{:.2} %", ratio * 100.0);
        let (actual, passed, about) = match self.median(layers, &format!("{}_undisturbed", self.path)) {
            _ if self.holds(raw) => (raw, true, "raw".to_string()),
            Ok(undisturbed) => {
                let held = if self.holds(undisturbed) { "holds" } else { "does not hold either" };
                let about = format!(
                    "raw {} does not hold; without the lookups that a write had just made old {} {held}",
                    percent(raw),
                    percent(undisturbed)
                );
                (undisturbed, self.holds(undisturbed), about)
            }
            Err(why) => (raw, false, format!("raw; without the lookups that a write had just made old: {why}")),
        };
        Assertion { expr: self.text.clone(), actual: Some(actual), passed: Some(passed), about: Some(about) }
    }

    /// The share of failures, where a latency is claimed and most of what was due has none: a server that refuses quickly is no fast server.
    fn mostly_failed(&self, layers: &[&LayerReport]) -> Option<f64> {
        let worst = layers.iter().filter_map(|layer| layer.error_rate).max_by(f64::total_cmp);
        worst.filter(|failed| self.path.contains("latency_ms") && *failed > 0.5)
    }

    /// The lookups behind a hit ratio, when they are too few to say anything.
    fn too_few(&self, layers: &[&LayerReport]) -> Option<u64> {
        let cache = |layer: &LayerReport| match self.path.split_once('.') {
            Some(("l1", ratio)) if ratio.starts_with("hit_ratio") => layer.l1.as_ref().map(|cache| cache.lookups),
            Some(("l2", ratio)) if ratio.starts_with("hit_ratio") => layer.l2.as_ref().map(|cache| cache.lookups),
            _ => None,
        };
        layers.iter().filter_map(|layer| cache(layer)).min().filter(|lookups| *lookups < FEWEST_LOOKUPS)
    }

    /// Of the runs of a layer; or why it is not known.
    fn median(&self, layers: &[&LayerReport], path: &str) -> Result<f64, String> {
        let mut values = layers.iter().map(|layer| self.value(layer, path)).collect::<Result<Vec<f64>, String>>()?;
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Ok(if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 })
    }

    fn unknown(&self, why: &str) -> Assertion {
        Assertion { expr: self.text.clone(), actual: None, passed: Some(false), about: Some(why.to_string()) }
    }

    /// The value in a layer's document, or why it is not known.
    fn value(&self, layer: &LayerReport, path: &str) -> Result<f64, String> {
        let document = serde_json::to_value(layer).map_err(|error| error.to_string())?;
        match self.resolve(&document, path) {
            Ok(Found::Number(value)) => Ok(value),
            Ok(Found::Nothing(name)) => Err(format!("layer {} has no {name}", layer.layer)),
            Ok(Found::Unknown) => Err("it is not known".to_string()),
            Err(failure) => Err(failure.message),
        }
    }

    /// What stands at this path; an error where no document of this version could ever have a number there.
    fn resolve<'a>(&self, document: &Json, path: &'a str) -> Result<Found<'a>, Failure> {
        let mut here = document;
        let mut before = "";
        for name in path.split('.') {
            here = match here {
                // Of this layer, or of this server.
                Json::Null => return Ok(Found::Nothing(before)),
                Json::Array(items) => {
                    let named = |item: &&Json| ["operation", "code"].iter().any(|key| item[key].as_str() == Some(name));
                    match items.iter().find(named) {
                        Some(item) => item,
                        // An error that never came.
                        None if before == "errors_by_code" => return Ok(Found::Number(0.0)),
                        None => return Err(self.no_such_name(here, name)),
                    }
                }
                Json::Object(object) => match object.get(name) {
                    Some(value) => value,
                    // The server's own counts are those of its version.
                    None if before == "counts" => return Ok(Found::Nothing(name)),
                    None => return Err(self.no_such_name(here, name)),
                },
                _ => return Err(self.no_number(path)),
            };
            before = name;
        }
        match here {
            Json::Number(number) => number.as_f64().map(Found::Number).ok_or_else(|| self.no_number(path)),
            Json::Null => Ok(Found::Unknown),
            // An error by its code: how often it came.
            Json::Object(error) if error.contains_key("code") => {
                error.get("count").and_then(Json::as_f64).map(Found::Number).ok_or_else(|| self.no_number(path))
            }
            _ => Err(self.no_number(path)),
        }
    }

    fn no_number(&self, path: &str) -> Failure {
        Failure::new("bad_assertion", format!("assertion {:?}: {path} is not a number", self.text))
            .hint("Name a number of the report: `candlefish bench --json` shows them all.")
    }

    fn no_such_name(&self, object: &Json, name: &str) -> Failure {
        let names = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let items = object.as_array().into_iter().flatten().filter_map(|item| item["operation"].as_str());
        let known: Vec<&str> = names.chain(items).collect();
        let shorts = SHORT.iter().map(|(short, _)| *short);
        let near = known.iter().copied().chain(shorts).map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        let question = near.filter(|(distance, _)| *distance <= 2).map_or(String::new(), |(_, near)| format!("; did you mean {near}?"));
        Failure::new("bad_assertion", format!("assertion {:?}: the report has no {name}{question}", self.text)).hint(
            match known.as_slice() {
                [] => "It is a list whose items have no names, or nothing yet: `candlefish bench --json` shows it.".to_string(),
                known => format!("It has {}.", known.join(", ")),
            },
        )
    }

    fn holds(&self, actual: f64) -> bool {
        match self.sign {
            Sign::Less => actual < self.limit,
            Sign::AtMost => actual <= self.limit,
            Sign::More => actual > self.limit,
            Sign::AtLeast => actual >= self.limit,
            Sign::Equal => actual == self.limit,
            Sign::Different => actual != self.limit,
        }
    }
}

/// What stands at a path of a document.
enum Found<'a> {
    Number(f64),
    Unknown,
    /// The part of this name is not there.
    Nothing(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{ConnectionsReport, ErrorReport};
    use crate::bench::store_watch::{CacheReport, RedisReport};

    fn judged(claims: &str, l1: CacheReport) -> Vec<Assertion> {
        let mut report: BenchReport = serde_json::from_str(include_str!("compare/result.json")).unwrap();
        let mut layer = report.layers[0].clone();
        layer.l1 = Some(l1);
        report.layers = vec![layer];
        parse(claims).unwrap().iter().map(|claim| claim.judge(&report)).collect()
    }

    fn cache(lookups: u64, raw: f64, undisturbed: f64) -> CacheReport {
        CacheReport { lookups, hit_ratio: Some(raw), hit_ratio_undisturbed: Some(undisturbed), ..CacheReport::default() }
    }

    fn l1(of: &[Assertion]) -> (Option<f64>, Option<bool>, &str) {
        let one = of.iter().find(|one| one.expr.starts_with("l1_hit_ratio")).unwrap();
        (one.actual, one.passed, one.about.as_deref().unwrap_or_default())
    }

    #[test]
    fn a_hit_ratio_of_the_table_is_judged_raw_and_without_what_writes_made_old() {
        assert_eq!(l1(&judged("kpi", cache(1000, 0.97, 0.99))), (Some(0.97), Some(true), "raw"));
        let without = judged("kpi", cache(1000, 0.6, 0.99));
        assert_eq!(
            l1(&without),
            (Some(0.99), Some(true), "raw 60.00 % does not hold; without the lookups that a write had just made old 99.00 % holds")
        );
        assert_eq!(l1(&judged("kpi", cache(1000, 0.6, 0.9))).1, Some(false));
        // Written by hand it means what it says.
        assert_eq!(l1(&judged("l1_hit_ratio>95%", cache(1000, 0.6, 0.99))), (Some(0.6), Some(false), ""));
        assert_eq!(judged("l1.hit_ratio_undisturbed>95%", cache(1000, 0.6, 0.99))[0].passed, Some(true));
    }

    #[test]
    fn a_name_that_no_report_has_is_known_before_the_run() {
        let check = |text: &str| {
            parse(text).unwrap().iter().try_for_each(|claim| claim.check(&[Layer::Direct, Layer::Cached], &["one service".to_string()]))
        };
        for good in [
            "kpi",
            "cached:l1_hit_ratio>95%,direct:p95<5ms,not_sent=0",
            "operations.one service.latency_ms.p99<5ms",
            "errors_by_code.40001.count<5",
            "errors_by_code.40001=0",
            "answered.l1>50%",
            "server.counts.wal_bytes<5MB",
            "connections.lost=0",
            "l2.misses_by_cause.expired<3",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("p59<5ms", "did you mean p50?"),
            ("chached:p95<5ms", "layer chached is not run; did you mean cached?"),
            ("sqlite:p95<5ms", "layer sqlite is not run"),
            ("l1.hit_ration>5%", "did you mean hit_ratio?"),
            ("operations.one servise.errors=0", "did you mean one service?"),
            ("tps>1ms", "tps is a number without a unit, not milliseconds"),
            ("layer=3", "layer is not a number"),
            ("tps.x=3", "tps.x is not a number"),
        ] {
            assert!(check(bad).unwrap_err().message.contains(said), "{bad}: {:?}", check(bad));
        }
    }

    #[test]
    fn no_assertion_passes_on_a_run_that_was_not_what_was_asked_for() {
        let mut report: BenchReport = serde_json::from_str(include_str!("compare/result.json")).unwrap();
        report.layers.truncate(1);
        let judged = |report: &BenchReport, text: &str| {
            let judged = parse(text).unwrap()[0].judge(report);
            (judged.passed, judged.about.unwrap_or_default())
        };
        // An error that never came came no times.
        assert_eq!(judged(&report, "errors_by_code.40001=0").0, Some(true));
        let error = |code: &str| ErrorReport { code: code.into(), count: 2, message: "no answer 10 s after the end".into() };
        report.layers[0].errors_by_code = vec![error("40001")];
        assert_eq!(
            (judged(&report, "errors_by_code.40001=0").0, judged(&report, "errors_by_code.40001.count=2").0),
            (Some(false), Some(true))
        );
        // Who refuses quickly is not fast.
        report.layers[0].error_rate = Some(0.9);
        assert!(
            judged(&report, "error_rate<95%").0 == Some(true)
                && judged(&report, "p95<999s").1.starts_with("90 % of the transactions failed")
        );
        report.layers[0].error_rate = Some(0.01);
        // Of any layer: who had no answer is not among the fast ones.
        (report.layers[0].connections, report.layers[0].errors_by_code) = (None, vec![error("unfinished")]);
        let (passed, about) = judged(&report, "p95<999s");
        assert!(passed == Some(false) && about.ends_with("clients had no answer 10 s after the end"), "{about}");
        report.layers[0].errors_by_code.clear();
        let claim = parse("error_rate<50%").unwrap().remove(0);
        assert_eq!(claim.judge(&report).passed, Some(true));
        report.layers[0].connections = Some(ConnectionsReport { lost: 3, away_at_end: 3, ..ConnectionsReport::default() });
        let judged = claim.judge(&report);
        assert_eq!((judged.passed, judged.actual), (Some(false), Some(0.01)));
        assert!(judged.about.is_some_and(|about| about.contains("had lost their connection and found no other")));
        report.layers[0].connections = Some(ConnectionsReport { lost: 3, away_ratio: 0.2, ..ConnectionsReport::default() });
        assert_eq!(claim.judge(&report).passed, Some(false));
        report.layers[0].connections = None;
        report.interrupted = true;
        assert_eq!(claim.judge(&report).passed, None);
    }

    #[test]
    fn few_lookups_are_not_judged_and_what_is_not_known_has_not_passed() {
        let few = CacheReport { lookups: 12, ..CacheReport::default() };
        assert_eq!(l1(&judged("kpi", few.clone())), (None, None, "12 lookups are too few to judge"));
        assert_eq!(l1(&judged("l1_hit_ratio>95%", few)).1, None);
        // This layer has no L2 at all.
        let all = judged("kpi", cache(1000, 0.97, 0.99));
        assert_eq!(all.len(), KPIS.len());
        let l2 = all.iter().find(|one| one.expr.starts_with("l2_hit_ratio")).unwrap();
        assert_eq!((l2.actual, l2.passed), (None, Some(false)));
        // A window in which nobody looked.
        let mut report: BenchReport = serde_json::from_str(include_str!("compare/result.json")).unwrap();
        report.layers.truncate(1);
        for (away_ratio, passed) in [(None, false), (Some(0.0), true)] {
            report.layers[0].redis = Some(RedisReport { away_ratio, ..RedisReport::default() });
            assert_eq!(parse("redis.away_ratio<1%").unwrap()[0].judge(&report).passed, Some(passed));
        }
    }
}
