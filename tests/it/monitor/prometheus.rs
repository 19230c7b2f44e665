//! What is exported for Prometheus means there what it means here: promtool takes it, and comes to the same states at every tick.

use std::path::{Path, PathBuf};
use std::process::Command;

use candlefish::monitor::export::promtool_test_of;
use candlefish::monitor::{Key, Rules, Scripted};

use crate::support::{Case, long};

/// Promtool, which `cargo xtask setup` installs.
fn promtool(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().expect("cargo xtask setup installs promtool");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), said(&output.stdout) + &said(&output.stderr))
}
fn export(case: &Case, what: &str, file: &str, more: &[&str]) -> PathBuf {
    let output = case.run_args(["monitor", "export", what].iter().chain(more)).exit(0);
    let path = case.dir().join(file);
    std::fs::write(&path, &output.stdout).unwrap();
    path
}

#[test]
fn promtool_takes_what_is_exported_and_agrees_at_every_tick() {
    let case = Case::new("export");
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &[]);
    let (good, said) = promtool(case.dir(), &["check", "rules", "candlefish.rules.yaml"]);
    assert!(good && said.contains("14 rules found"), "{said}");
    let test = export(&case, "promtool-test", "test.yaml", &[]);
    let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
    assert!(good, "{said}");
    // And it would say so if one tick were different.
    let text = std::fs::read_to_string(&test).unwrap();
    assert!(text.matches("alertstate=\"firing\"").count() + text.matches("alertstate=\\\"firing\\\"").count() > 100);
    std::fs::write(&test, text.replacen("alertstate=\\\"pending\\\"", "alertstate=\\\"firing\\\"", 1)).unwrap();
    assert!(!promtool(case.dir(), &["test", "rules", "test.yaml"]).0);

    // The dashboard is a document whose panels ask for what is served.
    let dashboard = case.run("monitor export grafana-dashboard").exit(0).json();
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.iter().filter(|panel| panel["type"] == "stat").count(), 8);
    assert!(panels.iter().all(|panel| panel["datasource"]["uid"] == "${datasource}"));
    assert!(dashboard["id"].is_null() && dashboard["uid"] == "candlefish");
}

/// Series by chance: traffic that comes and goes, next to none, resets, scrapes that are missed, series that end and come back, gauges that jump; of
/// several instances, of a database, and of both.
#[test]
fn random_series_come_to_the_same_states_in_promtool() {
    let rules_text = "alerts:\n  \
        slow: {condition: 'avg_query_time[1m] > 100ms', duration: 1m}\n  \
        slow_a: {condition: 'avg_query_time{app_instance=\"a\"}[45s] >= 100ms', duration: 30s, keep_firing_for: 1m, severity: info}\n  \
        errors: {condition: error_rate > 1%, duration: 30s, severity: critical, min_samples: 0}\n  \
        errors_many: {condition: 'error_rate[2m] > 1%', min_samples: 150, on_no_data: hold}\n  \
        errors_ending: {condition: error_rate > 1%, duration: 30s, on_no_data: inactive}\n  \
        errors_or_none: {condition: error_rate > 1%, duration: 45s, on_no_data: firing}\n  \
        pool: {condition: pool_usage > 90%, duration: 45s, keep_firing_for: 30s, labels: {team: data}}\n  \
        pool_or_none: {condition: pool_usage > 90%, on_no_data: firing}\n  \
        p95: {condition: 'p95[1m] > 50ms', duration: 15s}\n  \
        hits: {condition: 'cache_hit_ratio[1m] < 90%', duration: 1m}\n";
    let case = Case::new("random");
    std::fs::write(case.dir().join("rules.yaml"), rules_text).unwrap();
    let rules = Rules::parse(rules_text, "rules.yaml").unwrap();
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &["--rules", "rules.yaml"]);
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let names = rules.rules.iter().map(|rule| rule.name.as_str());
    let mut wanted: Vec<(&str, &str)> = names
        .map(|name| (name, if name == "hits" { "pending" } else { "firing" }))
        .filter(|(name, _)| !["p95", "source_unreadable"].contains(name))
        .collect();
    wanted.push(("p95", "firing"));
    let ticks = 120;
    for run in 0..if long() { 12 } else { 3 } {
        let (with_instances, with_database) = [(true, false), (false, true), (true, true)][run % 3];
        let mut series: Vec<Scripted> = Vec::new();
        for instance in ["a", "b"].into_iter().filter(|_| with_instances) {
            let of = |family: &str| Key::new(family, &[("app_instance", instance)]);
            let bucket = |le: &str| Key::new("candlefish_query_duration_seconds_bucket", &[("app_instance", instance), ("le", le)]);
            // Whoever is idle beside a database leaves the verdict to it.
            series.extend(chance.counted(ticks, |seen| {
                vec![
                    (of("candlefish_query_duration_seconds_count"), seen.count),
                    (of("candlefish_query_duration_seconds_sum"), seen.seconds),
                    (bucket("0.05"), seen.fast),
                    (bucket("0.1"), seen.count),
                    (bucket("+Inf"), seen.count),
                    (of("candlefish_query_failures_total"), seen.failed),
                    (of("candlefish_cache_answered_total"), seen.hits),
                    (of("candlefish_cache_requests_total"), seen.count),
                    (of("candlefish_pool_in_use"), seen.in_use),
                    (of("candlefish_pool_max"), 20.0),
                ]
            }));
        }
        if with_database {
            let of = |family: &str| Key::new(family, &[]);
            series.extend(chance.counted(ticks, |seen| {
                vec![
                    (of("candlefish_pg_commits_total"), seen.count - seen.failed),
                    (of("candlefish_pg_rollbacks_total"), seen.failed),
                    (of("candlefish_statements_total"), seen.count),
                    (of("candlefish_statement_seconds_total"), seen.seconds),
                    (of("candlefish_pg_blocks_hit_total"), seen.hits),
                    (of("candlefish_pg_blocks_read_total"), seen.count - seen.hits),
                    (of("candlefish_pg_connections"), seen.in_use),
                    (of("candlefish_pg_connections_max"), 20.0),
                ]
            }));
        }
        let text = promtool_test_of(&rules, "candlefish.rules.yaml", &series, ticks);
        wanted.retain(|(name, state)| !text.contains(&format!("alertname=\\\"{name}\\\", alertstate=\\\"{state}\\\"")));
        std::fs::write(case.dir().join("test.yaml"), text).unwrap();
        let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
        assert!(good, "run {run}: {said}");
    }
    // It would prove little if nothing happened.
    assert!(wanted.is_empty(), "never seen: {wanted:?}");
}

/// A source that is named and cannot be read keeps what fires and what pends; who comes after it may raise an alarm, and end none: there as here.
#[test]
fn a_source_that_has_failed_means_the_same_in_promtool() {
    let case = Case::new("failed");
    let rules_text = "alerts:\n  \
        unknown: {condition: error_rate > 1%}\n  \
        inactive: {condition: error_rate > 1%, on_no_data: inactive}\n  \
        firing: {condition: error_rate > 1%, on_no_data: firing}\n  \
        pool: {condition: pool_usage > 90%}\n  \
        pends: {condition: error_rate > 1%, duration: 30s}\n  \
        pends_or_none: {condition: error_rate > 1%, duration: 45s, on_no_data: firing}\n  \
        pends_ending: {condition: error_rate > 1%, duration: 30s, on_no_data: inactive, keep_firing_for: 1m}\n  \
        pool_pends: {condition: pool_usage > 60%, duration: 1m}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules_text).unwrap();
    let rules = Rules::parse(rules_text, "rules.yaml").unwrap();
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &["--rules", "rules.yaml"]);
    let mut chance = Chance(0x1234_5678_9abc_def1);
    let mut wanted: Vec<&str> = rules.rules.iter().map(|rule| rule.name.as_str()).collect();
    let ticks = 120;
    for run in 0..3 {
        let of = |family: &str| Key::new(family, &[]);
        let mut series = chance.counted(ticks, |seen| {
            vec![
                (of("candlefish_query_duration_seconds_count"), seen.count),
                (of("candlefish_query_failures_total"), seen.failed),
                (of("candlefish_pool_in_use"), seen.in_use),
                (of("candlefish_pool_max"), 20.0),
            ]
        });
        series.extend(chance.counted(ticks, |seen| {
            vec![
                (of("candlefish_pg_commits_total"), seen.count - seen.failed),
                (of("candlefish_pg_rollbacks_total"), seen.failed),
                (of("candlefish_pg_connections"), seen.in_use),
                (of("candlefish_pg_connections_max"), 20.0),
            ]
        }));
        for source in ["instances", "pgbouncer", "pg_stat_statements", "pg_stat_database"] {
            let mut failed = 0.0;
            let values = (0..ticks).map(|_| {
                failed = if chance.next() < 0.1 { 1.0 - failed } else { failed };
                Some(failed)
            });
            series.push((Key::new("candlefish_source_failed", &[("source", source)]), values.collect()));
        }
        let text = promtool_test_of(&rules, "candlefish.rules.yaml", &series, ticks);
        wanted.retain(|name| !text.contains(&format!("alertname=\\\"{name}\\\", alertstate=\\\"firing\\\"")));
        std::fs::write(case.dir().join("test.yaml"), text).unwrap();
        let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
        assert!(good, "run {run}: {said}");
    }
    assert!(wanted.is_empty(), "never fired: {wanted:?}");
}

/// Annotations say there what they say here, and one test asks both.
#[test]
fn annotations_are_filled_in_as_promtool_does_it() {
    let case = Case::new("annotations");
    let rules = "alerts:\n  \
        pool:\n    condition: pool_usage > 90%\n    severity: critical\n    labels: {team: data}\n    annotations:\n      \
          summary: '{{ $value }} of {{ $labels.team }}, {{ $labels.severity }}{{ .Labels.nobody }}: {{ $value | humanizePercentage }}'\n  \
        large:\n    condition: memory > 1MB\n    annotations: {summary: '{{ $value }} {{ .Value | humanize }} {{ $value | humanize1024 }}', \
          more: '{{ printf \"%.2f MB\" $value }}'}\n  \
        slow:\n    condition: 'avg_query_time[1m] > 1ms'\n    min_samples: 0\n    annotations: {summary: '{{ $value | humanizeDuration }} {{$value|humanize}}'}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &["--rules", "rules.yaml"]);
    let test = |rule_file: &str, share: &str| {
        let expected = |name: &str, labels: &str, annotations: &str| {
            format!(
                "  - {{eval_time: 2m, alertname: {name}, exp_alerts: [{{exp_labels: {{{labels}}}, exp_annotations: {{{annotations}}}}}]}}\n"
            )
        };
        format!(
            "rule_files: [{rule_file}]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n\
             {}  alert_rule_test:\n{}{}{}",
            [
                ("candlefish_pool_in_use", "19x20"),
                ("candlefish_pool_max", "20x20"),
                ("candlefish_resident_memory_bytes", "1234567890x20"),
                ("candlefish_query_duration_seconds_sum", "0+0.123456x20"),
                ("candlefish_query_duration_seconds_count", "0+4x20"),
            ]
            .map(|(family, values)| format!("  - {{series: '{family}{{app_instance=\"a\"}}', values: '{values}'}}\n"))
            .concat(),
            expected("pool", "severity: critical, team: data", &format!("summary: '{share} of data, critical: 95%'")),
            expected("large", "severity: warning", "summary: '1.23456789e+09 1.235G 1.15Gi', more: '1234567890.00 MB'"),
            expected("slow", "severity: warning", "summary: '30.86ms 30.86m'"),
        )
    };
    for (share, code) in [("0.95", 0), ("0.951", 1)] {
        std::fs::write(case.dir().join("there.yaml"), test("candlefish.rules.yaml", share)).unwrap();
        let (good, said) = promtool(case.dir(), &["test", "rules", "there.yaml"]);
        assert_eq!(good, code == 0, "{said}");
        std::fs::write(case.dir().join("here.yaml"), test("rules.yaml", share)).unwrap();
        case.run("monitor rules test here.yaml").exit(code);
    }
}

/// Chance that is the same every time.
struct Chance(u64);

/// What was counted at a tick, and what was in use.
#[derive(Default)]
struct Seen {
    count: f64,
    seconds: f64,
    fast: f64,
    failed: f64,
    hits: f64,
    in_use: f64,
}

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The series of one who counts.
    fn counted(&mut self, ticks: usize, keyed: impl Fn(&Seen) -> Vec<(Key, f64)>) -> Vec<Scripted> {
        let mut seen = Seen { count: self.next() * 1000.0, seconds: 7.0, ..Seen::default() };
        let (mut mood, mut traffic, mut absent, mut ended) = (0.0, 60.0, 0, false);
        let mut series: Vec<Scripted> = keyed(&seen).into_iter().map(|(key, _)| (key, Vec::new())).collect();
        for tick in 0..ticks {
            if tick % 12 == 0 {
                mood = self.next();
                traffic = [60.0, 60.0, 60.0, 6.0, 0.0][(self.next() * 5.0) as usize];
            }
            if self.next() < 0.03 {
                absent = 1 + (self.next() * 30.0) as i32;
                ended = self.next() < 0.5;
            }
            // A restart: everything begins at 0.
            if self.next() < 0.02 {
                seen = Seen::default();
            }
            let calls = if self.next() < 0.2 { 0.0 } else { (self.next() * traffic).floor() };
            seen.count += calls;
            seen.seconds += calls * 0.4 * mood * (0.5 + self.next() / 2.0);
            seen.fast += (calls * (1.0 - mood * 0.2)).floor();
            seen.failed += (calls * mood * 0.05 * self.next()).floor();
            seen.hits += (calls * (1.0 - 0.3 * mood * self.next())).floor();
            seen.in_use = (20.0 * mood).round();
            absent -= 1;
            for ((_, values), (_, value)) in series.iter_mut().zip(keyed(&seen)) {
                // A scrape that was missed, or a series that has ended and comes back.
                values.push(if absent < 0 { Some(value) } else { ended.then_some(f64::NAN) });
            }
        }
        series
    }
}
