//! A rule: a condition that has to hold for so long. The grammar is the strategy's, with more where more is wanted:
//! `metric{label="value"}[window] > number unit`.

use std::collections::BTreeMap;

use crate::model::{KPIS, Kpi, Limit, Unit};
use crate::monitor::metric::{METRICS, Measured, Metric, SOURCE_FAILED, Source, find};
use crate::monitor::series::Selector;
use crate::monitor::template;

/// One alert's rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub condition: Condition,
    /// How long the condition has to hold before the alert fires.
    pub for_ms: i64,
    /// How long it goes on firing after the condition has ended.
    pub keep_firing_ms: i64,
    /// `info`, `warning`, `critical`
    pub severity: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// With fewer events in the window no alert begins: one failure of three calls at night is no alarm. None that fires ends by them either, unless
    /// no data is to end it: clients that gave up calling are no recovery, whatever else a server commits meanwhile.
    pub min_samples: f64,
    pub on_no_data: OnNoData,
    /// Whom it is about, where its metric has a series of each source.
    pub of: Option<Source>,
    /// No file has it.
    pub is_built_in: bool,
}

/// What it means that nothing happened in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoData {
    /// No event is no verdict: what fires goes on, what pends begins anew, and what does not fire is unknown.
    #[default]
    Unknown,
    /// The same, and idle is no alarm: what does not fire is shown as inactive, with its reason.
    Hold,
    /// As in Prometheus: the condition does not hold.
    Inactive,
    /// As if the condition held.
    Firing,
}

impl OnNoData {
    pub const ALL: [OnNoData; 4] = [OnNoData::Unknown, OnNoData::Hold, OnNoData::Inactive, OnNoData::Firing];

    pub fn name(self) -> &'static str {
        match self {
            OnNoData::Unknown => "unknown",
            OnNoData::Hold => "hold",
            OnNoData::Inactive => "inactive",
            OnNoData::Firing => "firing",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Condition {
    pub text: String,
    pub metric: &'static Metric,
    pub selectors: Vec<Selector>,
    pub window_ms: i64,
    pub sign: Sign,
    /// In Prometheus's units: seconds, ratios, bytes.
    pub limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
    Different,
}

/// The longer first: `>=` begins with `>`.
const SIGNS: [(&str, Sign); 6] =
    [(">=", Sign::AtLeast), ("<=", Sign::AtMost), ("==", Sign::Equal), ("!=", Sign::Different), (">", Sign::More), ("<", Sign::Less)];

/// What may stand behind a number: divided by this it is in Prometheus's unit.
const UNITS: [(&str, f64, Unit); 11] = [
    ("us", 1e6, Unit::Milliseconds),
    ("ms", 1e3, Unit::Milliseconds),
    ("s", 1.0, Unit::Milliseconds),
    ("m", 1.0 / 60.0, Unit::Milliseconds),
    ("%", 100.0, Unit::Ratio),
    ("kB", 1e-3, Unit::Bytes),
    ("MB", 1e-6, Unit::Bytes),
    ("GB", 1e-9, Unit::Bytes),
    ("KiB", 1.0 / 1024.0, Unit::Bytes),
    ("MiB", 1.0 / 1_048_576.0, Unit::Bytes),
    ("GiB", 1.0 / 1_073_741_824.0, Unit::Bytes),
];

/// What a rule's condition says now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub source: Source,
    pub measured: Measured,
}

/// What is wrong, and at which byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub message: String,
}

impl Sign {
    pub fn text(self) -> &'static str {
        SIGNS.iter().find(|(_, sign)| *sign == self).map_or("", |(text, _)| text)
    }

    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Sign::More => value > limit,
            Sign::AtLeast => value >= limit,
            Sign::Less => value < limit,
            Sign::AtMost => value <= limit,
            Sign::Equal => value == limit,
            Sign::Different => value != limit,
        }
    }
}

impl Condition {
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |at: usize, message: String| Err(Wrong { at, message });
        let mut at = text.len() - text.trim_start().len();
        let name_end = at + text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len() - at);
        let name = &text[at..name_end];
        if name.is_empty() {
            return wrong(at, "a metric's name is missing".to_string());
        }
        let Some(metric) = find(name) else {
            return wrong(at, format!("there is no metric {name:?}{}; there are {}", near(name), names()));
        };
        at = skip(text, name_end);
        let mut selectors = Vec::new();
        if text[at..].starts_with('{') {
            (selectors, at) = read_selectors(text, at)?;
            at = skip(text, at);
        }
        let mut window_ms = metric.window_ms;
        if text[at..].starts_with('[') {
            let Some(length) = text[at..].find(']') else { return wrong(at, "this [ has no ]".to_string()) };
            let inside = &text[at + 1..at + length];
            match span_ms(inside) {
                Some(span) if (1000..=WINDOW_MOST_MS).contains(&span) && metric.window_ms > 0 => window_ms = span,
                Some(_) if metric.window_ms == 0 => return wrong(at, format!("{name} is what is now, and has no window")),
                _ => return wrong(at + 1, format!("{inside:?} is no window: write 30s, 2m, 1h; at least 1s, at most 7d")),
            }
            at = skip(text, at + length + 1);
        }
        let Some((sign_text, sign)) = SIGNS.iter().find(|(sign, _)| text[at..].starts_with(sign)) else {
            return wrong(at, "a comparison is missing: >, >=, <, <=, == or !=".to_string());
        };
        at = skip(text, at + sign_text.len());
        let number_end = at + text[at..].find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).unwrap_or(text.len() - at);
        let Ok(number) = text[at..number_end].parse::<f64>() else { return wrong(at, "a number is missing".to_string()) };
        if number < 0.0 {
            return wrong(at, format!("{name} is never below 0"));
        }
        let unit_at = skip(text, number_end);
        let unit = text[unit_at..].trim_end();
        let limit = match UNITS.iter().find(|(name, ..)| *name == unit) {
            Some((_, per_base, of)) if *of == metric.unit => number / per_base,
            Some((_, _, of)) => {
                return wrong(unit_at, format!("{name} is counted in {}, and {unit} counts {}", words(metric.unit), words(*of)));
            }
            None if unit.is_empty() && metric.unit == Unit::Milliseconds => {
                return wrong(unit_at, format!("{name} wants a unit of time: us, ms, s or m"));
            }
            None if unit.is_empty() && metric.unit == Unit::Ratio && number > 1.0 => {
                return wrong(at, format!("{number} is {} %: a ratio is written as {number}% or {}", number * 100.0, number / 100.0));
            }
            None if unit.is_empty() => number,
            None => return wrong(unit_at, format!("{unit:?} is no unit: us, ms, s, m, %, kB, MB, GB, KiB, MiB, GiB")),
        };
        let condition = Condition { text: text.trim().to_string(), metric, selectors, window_ms, sign: *sign, limit };
        if metric.is_of_sources() && condition.sources().next().is_none() {
            let names = Source::ALL.map(Source::name).join(", ");
            return wrong(skip(text, name_end), format!("this is about no source: {name}{{source=\"…\"}} is one of {names}"));
        }
        match condition.holds_in_reach() {
            Some(false) => wrong(at, format!("{name} is {}: this never holds", metric.reach_text())),
            _ => Ok(condition),
        }
    }

    /// `a="b",c!="d"`
    pub fn selectors_text(&self) -> String {
        let one = |selector: &Selector| format!("{}{}{:?}", selector.label, if selector.equal { "=" } else { "!=" }, selector.value);
        self.selectors.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Whether it holds whatever the metric is: true or false for every value that there can be; None where it depends.
    pub fn holds_in_reach(&self) -> Option<bool> {
        let most = self.metric.most().unwrap_or(f64::INFINITY);
        let holds = |value: f64| self.sign.holds(value, self.limit);
        let is_inside = (0.0..=most).contains(&self.limit);
        // It changes at its limit, or nowhere.
        let inside = if is_inside { [self.limit, (self.limit + most.min(f64::MAX)) / 2.0, self.limit / 2.0] } else { [0.0; 3] };
        let all = [0.0, most].into_iter().chain(inside);
        let (mut some_hold, mut some_do_not) = (false, false);
        all.for_each(|value| if holds(value) { some_hold = true } else { some_do_not = true });
        if some_hold && some_do_not { None } else { Some(some_hold) }
    }

    /// That a KPI is missed.
    pub fn missed(kpi: &Kpi) -> Option<Self> {
        let metric = find(kpi.name)?;
        let (sign, limit) = match kpi.limit {
            Limit::Below(limit) => (Sign::AtLeast, limit),
            Limit::Above(limit) => (Sign::AtMost, limit),
        };
        let limit = if kpi.unit == Unit::Milliseconds { limit / 1000.0 } else { limit };
        let missed = match kpi.limit {
            Limit::Below(_) => kpi.expression().replacen('<', " >= ", 1),
            Limit::Above(_) => kpi.expression().replacen('>', " <= ", 1),
        };
        Some(Condition { text: missed, metric, selectors: Vec::new(), window_ms: metric.window_ms, sign, limit })
    }

    /// The condition for Prometheus, with what few events and none mean to the alert of `rule`.
    fn promql(&self, rule: &Rule) -> String {
        if self.metric.is_of_sources() {
            return rule.promql_of_sources();
        }
        let window = span_text(self.window_ms);
        let formulas = || self.metric.formulas.iter().map(|(_, formula)| formula);
        let sources: Vec<&str> = self.metric.formulas.iter().map(|(source, _)| source.name()).collect();
        // Who answers is heard when there is an alarm. But that a source is down is no reason to ask who comes after it whether all is well.
        let alone: Vec<String> = sources.iter().map(|source| format!(" unless {}", failed(&[source]))).collect();
        let answers: Vec<String> = (1..=sources.len()).map(|count| format!(" unless {}", failed(&sources[..count]))).collect();
        let values: Vec<String> = formulas().map(|formula| formula.promql(&self.selectors, &window)).collect();
        let mut text = format!("{} {} {}", first_of(&values, &alone), self.sign.text(), self.limit);
        let events: Vec<String> = formulas().filter_map(|formula| formula.events_promql(&self.selectors, &window)).collect();
        let counted = |answers: &[String]| (events.len() == values.len()).then(|| any_of(&events, " > 0", answers));
        let (least, name) = (rule.min_samples, &rule.name);
        let active = |state: &str| format!("max(ALERTS{{alertname=\"{name}\",alertstate=\"{state}\"}}) * NaN");
        let (firing, failed) = (active("firing"), failed(&sources));
        if let Some(counted) = counted(&alone).filter(|_| least > 0.0) {
            // ALERTS is what pends or fires already; without labels, as sums are.
            text.push_str(&format!(" and ({counted} >= {least} or max(ALERTS{{alertname=\"{name}\"}}))"));
        }
        if rule.for_ms > 0 {
            // What pends waits for a source that cannot be read: there for as long as it would have to hold, or it would fire unseen.
            let waits = format!("time() - max(ALERTS_FOR_STATE{{alertname=\"{name}\"}}) < {}", rule.for_ms as f64 / 1000.0);
            let known = first_of(&values, &answers);
            text.push_str(&format!(" or (({} and {failed} and ({waits})) unless {known})", active("pending")));
        }
        let counted = counted(&answers);
        match (rule.on_no_data, &counted) {
            // What fires goes on, of unknown value, while there are series and too few events.
            (OnNoData::Hold | OnNoData::Unknown, Some(counted)) => {
                text.push_str(&format!(" or (({firing} and ({} or {failed})) unless {counted} >= {least})", any_of(&values, "", &answers)))
            }
            // A source that could not be read leaves what fires as it is.
            (on_no_data, counted) => {
                let known = counted.clone().unwrap_or_else(|| any_of(&values, "", &answers));
                text.push_str(&format!(" or (({firing} and {failed}) unless {known})"));
                if on_no_data == OnNoData::Firing {
                    text.push_str(&format!(" or (vector(NaN) unless ({known} or {failed}))"));
                }
            }
        }
        text
    }
}

/// One of these sources is named and could not be read.
fn failed(sources: &[&str]) -> String {
    format!("(max(candlefish_source_failed{{source=~\"{}\"}}) > 0)", sources.join("|"))
}

/// The first of several that has something to say: NaN is nothing.
fn first_of(expressions: &[String], answers: &[String]) -> String {
    any_of(expressions, if expressions.len() > 1 { " >= 0" } else { "" }, answers)
}

/// The first of several that is there at all, of which this is true, and whose source answers.
fn any_of(expressions: &[String], is_true: &str, answers: &[String]) -> String {
    let each = expressions.iter().zip(answers).map(|(one, answers)| format!("(({one}){is_true}{answers})"));
    format!("({})", each.collect::<Vec<_>>().join(" or "))
}

impl Rule {
    /// What holds for a rule that does not say otherwise.
    pub fn new(name: &str, condition: Condition) -> Self {
        Rule {
            name: name.to_string(),
            condition,
            for_ms: 0,
            keep_firing_ms: 0,
            severity: "warning".to_string(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            min_samples: MIN_SAMPLES,
            on_no_data: OnNoData::default(),
            of: None,
            is_built_in: false,
        }
    }

    /// Its labels, with its name and severity.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert("alertname".to_string(), self.name.clone());
        labels.insert("severity".to_string(), self.severity.clone());
        labels
    }

    /// Its annotations, filled in for a value in Prometheus's units; `instance` is what is watched.
    pub fn annotations(&self, value: Option<f64>, instance: Option<&str>) -> BTreeMap<String, String> {
        let mut labels = self.all_labels();
        labels.extend(instance.map(|instance| ("instance".to_string(), instance.to_string())));
        let filled = |text: &String| template::filled(text, value.unwrap_or(f64::NAN), &labels);
        self.annotations.iter().map(|(name, text)| (name.clone(), filled(text))).collect()
    }

    /// The templates of its labels and annotations that are not filled in here.
    pub fn not_filled_in(&self) -> Vec<&str> {
        let annotations = self.annotations.values().flat_map(|text| template::not_understood(text));
        annotations.chain(self.labels.values().flat_map(|text| template::all(text))).collect()
    }

    /// A rule for each KPI: missed for five minutes.
    pub fn of_kpis() -> Vec<Rule> {
        let rule = |kpi: &Kpi| {
            let condition = Condition::missed(kpi)?;
            let labels = BTreeMap::from([("kpi".to_string(), kpi.name.to_string())]);
            let name = format!("kpi_{}", kpi.name);
            Some(Rule { for_ms: 300_000, severity: "info".to_string(), labels, ..Rule::new(&name, condition) })
        };
        KPIS.iter().filter_map(rule).collect()
    }

    /// Its limit as people are shown it, with the unit: milliseconds, a ratio of 0 to 1, bytes.
    pub fn threshold(&self) -> (f64, &'static str) {
        let unit = self.condition.metric.unit;
        (if unit == Unit::Milliseconds { self.condition.limit * 1000.0 } else { self.condition.limit }, unit.short())
    }

    /// True when the condition holds for what was seen: the comparison is true, and there were enough events, or the alert is active already.
    pub fn holds(&self, measured: Measured, is_active: bool) -> bool {
        (is_active || self.has_enough(measured)) && self.condition.sign.holds(measured.value, self.condition.limit)
    }

    /// True when there were enough events for a verdict; of what is no count of events it always is.
    pub fn has_enough(&self, measured: Measured) -> bool {
        // `increase` is a product of floats: 20 events may come as 19.999….
        measured.events.is_none_or(|events| events >= self.min_samples - 1e-6)
    }

    /// The same for Prometheus.
    pub fn promql(&self) -> String {
        self.condition.promql(self)
    }
}

/// The samples of a window are kept in memory.
const WINDOW_MOST_MS: i64 = 7 * 86_400_000;

/// Events that a verdict needs.
pub const MIN_SAMPLES: f64 = 20.0;

fn read_selectors(text: &str, open: usize) -> Result<(Vec<Selector>, usize), Wrong> {
    let wrong = |at: usize, message: &str| Err(Wrong { at, message: message.to_string() });
    let (mut selectors, mut at) = (Vec::new(), skip(text, open + 1));
    while !text[at..].starts_with('}') {
        let end = at + text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len() - at);
        let label = text[at..end].to_string();
        if label.is_empty() {
            return wrong(at, "a label is missing: {label=\"value\"}");
        }
        at = skip(text, end);
        let equal = !text[at..].starts_with("!=");
        if equal && !text[at..].starts_with('=') {
            return wrong(at, "= or != is missing");
        }
        at = skip(text, at + if equal { 1 } else { 2 });
        let quote = match text[at..].chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return wrong(at, "a value in quotes is missing"),
        };
        let Some(length) = text[at + 1..].find(quote) else { return wrong(at, "this quote has no end") };
        selectors.push(Selector { label, value: text[at + 1..at + 1 + length].to_string(), equal });
        at = skip(text, at + length + 2);
        match text[at..].chars().next() {
            Some(',') => at = skip(text, at + 1),
            Some('}') => {}
            _ => return wrong(at, "this { has no }"),
        }
    }
    Ok((selectors, at + 1))
}

fn skip(text: &str, at: usize) -> usize {
    at + text[at..].len() - text[at..].trim_start().len()
}

fn words(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "time",
        Unit::Ratio => "ratios",
        Unit::Bytes => "bytes",
        Unit::Count => "numbers",
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    METRICS.iter().chain([&SOURCE_FAILED]).map(|metric| metric.name)
}

fn names() -> String {
    all().collect::<Vec<_>>().join(", ")
}

fn near(name: &str) -> String {
    let near = all().map(|there| (strsim::damerau_levenshtein(there, name), there)).min();
    near.filter(|(distance, _)| *distance <= 3).map_or(String::new(), |(_, near)| format!(" (did you mean {near}?)"))
}

/// `30s`, `2m`, `500ms`, `1h30m`: in milliseconds. A bare number is seconds.
pub fn span_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e9).contains(&seconds).then_some((seconds * 1000.0) as i64);
    }
    let (mut rest, mut sum) = (text, 0_i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let scale = match &rest[digits..unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(scale)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// As Prometheus writes it.
pub fn span_text(ms: i64) -> String {
    match ms {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 && ms > 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_whole() {
        let read = |text: &str| Condition::parse(text).unwrap();
        let slow = read("avg_query_time > 100ms");
        assert_eq!((slow.metric.name, slow.window_ms, slow.sign, slow.limit), ("avg_query_time", 120_000, Sign::More, 0.1));
        let hit = read(" cache_hit_ratio{instance=\"a\", instance != 'b'} [10m] <= 90 % ");
        assert_eq!((hit.window_ms, hit.limit, hit.selectors.len(), hit.selectors[1].equal), (600_000, 0.9, 2, false));
        assert_eq!(read("memory>200MB").limit, 200e6);
        assert_eq!(read("pool_utilization > 0.8").metric.name, "pool_usage");
        assert_eq!((span_ms("1h30m"), span_ms("15"), span_ms("2x"), span_ms("")), (Some(5_400_000), Some(15_000), None, None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, at, message) in [
            ("avg_qery_time > 1ms", 0, "did you mean avg_query_time?"),
            ("pool_usage > 100ms", 16, "counted in ratios, and ms counts time"),
            ("pool_usage[1m] > 90%", 10, "has no window"),
            ("error_rate[1y] > 1%", 11, "is no window"),
            ("error_rate[8d] > 1%", 11, "at most 7d"),
            ("error_rate 1%", 11, "a comparison is missing"),
            ("error_rate > ", 13, "a number is missing"),
            ("pool_usage > 90", 13, "9000 %: a ratio is written as 90% or 0.9"),
            ("cache_hit_ratio < -1%", 18, "never below 0"),
            ("error_rate > 101%", 13, "error_rate is between 0 and 100 %: this never holds"),
            ("error_rate{a='b'}[2m] >= 100.1 %", 25, "this never holds"),
            ("error_rate > 1", 13, "this never holds"),
            ("cache_hit_ratio == 200%", 19, "this never holds"),
            ("l1_hit_ratio < 0%", 15, "this never holds"),
            ("p95 < 0ms", 6, "p95 is 0 or more: this never holds"),
            ("pool_usage < 0%", 13, "this never holds"),
            ("p95 > 50", 8, "wants a unit of time"),
            ("p95 > 50 parsecs", 9, "is no unit"),
            ("error_rate{pool=x} > 1%", 16, "in quotes"),
            ("", 0, "name is missing"),
            ("ä > 1", 0, "name is missing"),
        ] {
            let wrong = Condition::parse(text).unwrap_err();
            assert!(wrong.at == at && wrong.message.contains(message), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn a_condition_that_holds_whatever_happens_is_known() {
        let of = |text: &str| Condition::parse(text).unwrap().holds_in_reach();
        for (text, always) in [
            ("error_rate >= 100%", None),
            ("error_rate > 99.9%", None),
            ("error_rate <= 0%", None),
            ("error_rate == 0%", None),
            ("error_rate != 0%", None),
            ("error_rate == 50%", None),
            ("error_rate != 50%", None),
            ("memory > 999GB", None),
            // Superusers come in beyond what a database allows.
            ("pool_usage > 100%", None),
            ("error_rate >= 0%", Some(true)),
            ("error_rate <= 100%", Some(true)),
            ("error_rate < 101%", Some(true)),
            ("error_rate != 101%", Some(true)),
            ("p95 >= 0s", Some(true)),
        ] {
            assert_eq!(of(text), always, "{text}");
        }
    }

    #[test]
    fn the_expression_for_prometheus_has_every_source_and_the_guard() {
        let rule = |text: &str, on_no_data| Rule { on_no_data, ..Rule::new("errors", Condition::parse(text).unwrap()) };
        let (first, second, both) = (failed(&["instances"]), failed(&["pg_stat_database"]), failed(&["instances", "pg_stat_database"]));
        let counted = |second: &str| {
            format!(
                "(((sum(increase(candlefish_query_duration_seconds_count[1m]))) > 0 unless {first}) or \
                 ((sum(increase(candlefish_pg_commits_total[1m])) + sum(increase(candlefish_pg_rollbacks_total[1m]))) > 0 unless {second}))"
            )
        };
        let events = counted(&both);
        let rates = [
            "(sum(rate(candlefish_query_failures_total[1m])) / sum(rate(candlefish_query_duration_seconds_count[1m])))",
            "(sum(rate(candlefish_pg_rollbacks_total[1m])) / (sum(rate(candlefish_pg_commits_total[1m])) + sum(rate(candlefish_pg_rollbacks_total[1m]))))",
        ];
        let values = format!(
            "(({} >= 0 unless {first}) or ({} >= 0 unless {second})) > 0.01 and ({} >= 20 or max(ALERTS{{alertname=\"errors\"}}))",
            rates[0],
            rates[1],
            counted(&second)
        );
        let firing = "max(ALERTS{alertname=\"errors\",alertstate=\"firing\"}) * NaN";
        let inactive = format!("{values} or (({firing} and {both}) unless {events})");
        assert_eq!(rule("error_rate > 1%", OnNoData::Inactive).promql(), inactive);
        let there = format!("(({} unless {first}) or ({} unless {both}))", rates[0], rates[1]);
        let held = format!("{values} or (({firing} and ({there} or {both})) unless {events} >= 20)");
        assert_eq!(rule("error_rate > 1%", OnNoData::Hold).promql(), held);
        assert_eq!(rule("error_rate > 1%", OnNoData::Firing).promql(), format!("{inactive} or (vector(NaN) unless ({events} or {both}))"));
        let pends = Rule { for_ms: 30_000, ..rule("error_rate > 1%", OnNoData::Inactive) }.promql();
        let waits = format!(
            " or ((max(ALERTS{{alertname=\"errors\",alertstate=\"pending\"}}) * NaN and {both} and \
             (time() - max(ALERTS_FOR_STATE{{alertname=\"errors\"}}) < 30)) unless (({} >= 0 unless {first}) or ({} >= 0 unless {both})))",
            rates[0], rates[1]
        );
        assert!(pends.contains(&waits), "{pends}");
        assert_eq!(both, "(max(candlefish_source_failed{source=~\"instances|pg_stat_database\"}) > 0)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = (Condition::parse(&text), span_ms(&text));
            let _ = Condition::parse(&format!("error_rate{text}"));
        }
    }
}
