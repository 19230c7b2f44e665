//! Whose word an alert goes by, sample after sample.

use super::*;
use crate::monitor::rules_file::Rules;
use crate::monitor::series::{Key, Point};
use crate::monitor::tests::{monitor, sample, states};
use crate::monitor::{AlertReport, SOURCE_UNREADABLE, Shown};

#[test]
fn a_source_that_cannot_be_read_holds_the_alert_and_one_that_is_gone_ends_it() {
    let mut monitor = monitor();
    monitor.is_live = true;
    let there = || Presence::There;
    assert_eq!(states(&monitor.evaluate(sample(0, there(), Some((0.0, 0.0)))).0), (Shown::Unknown, Shown::Unknown));
    let mut changes = Vec::new();
    for tick in 1..5 {
        let (status, notices) = monitor.evaluate(sample(tick, there(), Some((tick as f64 * 100.0, tick as f64 * 5.0))));
        changes.push((status.alerts[0].state, notices.len()));
    }
    assert_eq!(changes, [(Shown::Pending, 0), (Shown::Pending, 0), (Shown::Firing, 1), (Shown::Firing, 0)]);
    let (status, notices) = monitor.evaluate(sample(5, Presence::Failed("no route".to_string()), None));
    assert_eq!((status.alerts[0].state, notices.len()), (Shown::Firing, 0));
    assert_eq!(status.alerts[0].reason.as_deref(), Some("no route; its value is of 1970-01-01T00:01:00Z"));
    // Back, and nobody calls: nobody knows either.
    for tick in 6..12 {
        let (status, _) = monitor.evaluate(sample(tick, there(), Some((400.0, 20.0))));
        assert_eq!(status.alerts[0].state, Shown::Firing, "tick {tick}");
    }
    // Gone, for five minutes: the alert is over, and nobody calls that health.
    let gone = |tick: i64| sample(tick, Presence::Absent("no instance is alive".to_string()), None);
    for tick in 12..32 {
        let alert = monitor.evaluate(gone(tick)).0.alerts.swap_remove(0);
        assert_eq!((alert.state, alert.held_until), (Shown::Firing, Some(32 * 15_000)), "tick {tick}");
        assert_eq!(alert.reason.as_deref(), Some("no instance is alive; it keeps its source until 1970-01-01T00:08:00Z"));
    }
    let (status, notices) = monitor.evaluate(gone(32));
    assert_eq!((status.alerts[0].state, notices.len()), (Shown::Unknown, 1));
    assert!(status.alerts[0].reason.as_deref().unwrap().contains("no instance is alive"), "{:?}", status.alerts[0]);
    assert!(!notices[0].firing && notices[0].annotations["reason"].contains("is gone"), "{notices:?}");
}

/// Who is named and down is not replaced by somebody who counts something else; but that one may raise an alarm.
#[test]
fn a_named_source_that_is_down_blinds_no_alert_and_makes_nothing_well() {
    let mut monitor = monitor();
    let mut seen = Vec::new();
    let absent = || Presence::Absent("no pooler is named".to_string());
    let down = || Presence::Failed("nothing listens there".to_string());
    for (tick, (pgbouncer, used)) in
        [(absent(), 5.0), (down(), 5.0), (down(), 95.0), (down(), 5.0), (absent(), 5.0)].into_iter().enumerate()
    {
        let gauges = [("candlefish_pg_connections", used), ("candlefish_pg_connections_max", 100.0)];
        let points: Vec<Point> = gauges.map(|(family, value)| Point { key: Key::new(family, &[]), value }).to_vec();
        let presence = vec![
            (Source::Instances, Presence::Absent("none".to_string())),
            (Source::Pgbouncer, pgbouncer),
            (Source::Database, Presence::There),
        ];
        let sample = Sample { at: tick as i64 * 15_000, points, presence, ..Sample::default() };
        let status = monitor.evaluate(sample).0;
        let kpi = status.kpis.iter().find(|kpi| kpi.name == "pool_utilization").unwrap();
        let alert = &status.alerts[1];
        let says_why = alert.reason.as_deref().is_some_and(|reason| reason.contains("pgbouncer cannot be read: nothing listens there"));
        seen.push((alert.state, alert.source, says_why, kpi.met));
    }
    let database = Some("pg_stat_database");
    assert_eq!(
        seen,
        [
            (Shown::Inactive, database, false, Some(true)),
            (Shown::Unknown, database, true, None),
            (Shown::Firing, database, true, None),
            (Shown::Firing, database, true, None),
            (Shown::Resolved, database, false, Some(true)),
        ]
    );
}

/// What pends or fires while a source cannot be read waits for it, however long that is, and until it was read twice.
#[test]
fn an_alert_waits_for_a_source_that_cannot_be_read() {
    let mut monitor = monitor();
    monitor.is_live = true;
    let mut at = |tick: i64, is_there: bool| {
        let counts = (tick as f64 * 100.0, tick as f64 * 5.0);
        let presence = if is_there { Presence::There } else { Presence::Failed("no route".to_string()) };
        monitor.evaluate(sample(tick, presence, is_there.then_some(counts))).0.alerts[0].state
    };
    let seen: Vec<Shown> = (0..40).map(|tick| at(tick, tick < 3)).collect();
    assert_eq!((seen[2], seen[39]), (Shown::Pending, Shown::Pending));
    let back: Vec<Shown> = (40..80).map(|tick| at(tick, !(42..78).contains(&tick))).collect();
    assert_eq!(back[0], Shown::Pending);
    assert!(back[1..].iter().all(|state| *state == Shown::Firing), "{back:?}");
}

/// Whoever is there and idle leaves the verdict to the next, whoever was seen before: as the exported rules do.
#[test]
fn each_sample_is_judged_by_the_first_source_that_has_something_to_judge() {
    let mut monitor = monitor();
    let mut seen = Vec::new();
    for tick in 0..20 {
        let calls = 100.0 * tick.min(8) as f64;
        let mut sample = sample(tick, Presence::There, Some((calls, calls / 10.0)));
        sample.presence.push((Source::Database, Presence::There));
        let counts = [("candlefish_pg_commits_total", 1000.0 * tick as f64), ("candlefish_pg_rollbacks_total", 0.0)];
        sample.points.extend(counts.map(|(family, value)| Point { key: Key::new(family, &[]), value }));
        let alert = monitor.evaluate(sample).0.alerts.swap_remove(0);
        seen.push((alert.state, alert.source));
    }
    assert_eq!(seen[8], (Shown::Firing, Some("instances")));
    assert_eq!(seen[19], (Shown::Resolved, Some("pg_stat_database")));
}

/// What each of two sources has counted at a tick, and where it stands.
fn two(tick: i64, instances: Presence, instances_fail: f64, database: Presence, database_fail: f64) -> Sample {
    let calls = tick as f64 * 100.0;
    let is_there = instances == Presence::There;
    let mut sample = sample(tick, instances, is_there.then_some((calls, calls * instances_fail)));
    if database == Presence::There {
        let counts =
            [("candlefish_pg_commits_total", calls * (1.0 - database_fail)), ("candlefish_pg_rollbacks_total", calls * database_fail)];
        sample.points.extend(counts.map(|(family, value)| Point { key: Key::new(family, &[]), value }));
    }
    sample.presence.push((Source::Database, database));
    sample
}

fn watch() -> Monitor {
    let text = "alerts:\n  quick: {condition: error_rate > 1%}\n  slow: {condition: error_rate > 1%, duration: 3m}\n";
    Monitor { is_live: true, ..Monitor::new(Rules::parse(text, "x").unwrap(), 15_000, "test") }
}

/// Redis dies and comes back, the application is stopped or killed for a while: it is not over because the database is well, and no clock begins
/// anew.
#[test]
fn an_alert_waits_for_its_own_source_while_others_are_well() {
    let gaps: [fn() -> Presence; 2] =
        [|| Presence::Failed("nothing listens there".to_string()), || Presence::Absent("no instance is alive".to_string())];
    for (first, then) in [(gaps[0], gaps[1]), (gaps[1], gaps[1]), (gaps[0], gaps[0])] {
        let mut monitor = watch();
        let mut told = Vec::new();
        for tick in 0..40 {
            let instances = match tick {
                6..10 => first(),
                // Longer than any window, so that one sample alone says nothing.
                10..16 => then(),
                _ => Presence::There,
            };
            let (status, notices) = monitor.evaluate(two(tick, instances, 0.1, Presence::There, 0.0));
            let of_rules = notices.iter().filter(|notice| !notice.title().starts_with(SOURCE_UNREADABLE));
            told.extend(of_rules.map(|notice| (tick, notice.title(), notice.firing)));
            if (6..17).contains(&tick) {
                assert_eq!(states(&status), (Shown::Firing, Shown::Pending), "{tick}: {:?}", status.alerts);
                let is_unseen = |alert: &AlertReport| alert.reason.is_some() && !alert.is_judged;
                assert!(status.alerts[..2].iter().all(is_unseen), "{tick}: {:?}", status.alerts);
                assert_eq!(status.alerts[0].source, Some("instances"), "{tick}");
                assert_eq!(status.unknown().len(), 1, "what pends unseen is not well");
            }
        }
        // The one from its first value, the other three minutes later.
        assert_eq!(told, [(1, "quick".to_string(), true), (17, "slow".to_string(), true)]);
    }
}

#[test]
fn an_alert_of_a_source_that_was_taken_away_goes_on_by_the_next() {
    for (database_fail, end) in [(0.0, Some(Shown::Resolved)), (0.1, None)] {
        let mut monitor = watch();
        let mut seen = Vec::new();
        for tick in 0..60 {
            let instances = if tick < 20 { Presence::There } else { Presence::Absent("no instance is alive".to_string()) };
            let (mut status, notices) = monitor.evaluate(two(tick, instances, 0.1, Presence::There, database_fail));
            seen.push((status.alerts.swap_remove(0), notices));
        }
        assert!(seen[1..40].iter().all(|(alert, _)| alert.state == Shown::Firing), "{seen:#?}");
        let (alert, notices) = &seen[40];
        assert_eq!((alert.state, alert.source, alert.held_until), (end.unwrap_or(Shown::Firing), Some("pg_stat_database"), None));
        let word = "instances had nothing to judge for 5m (no instance is alive)";
        assert_eq!(alert.reason.as_deref(), Some(word));
        assert_eq!(notices.len(), if end.is_some() { 2 } else { 0 }, "{notices:?}");
        assert!(notices.iter().all(|notice| !notice.firing && notice.annotations["reason"] == word), "{notices:?}");
    }
}

/// An alert that began by the database is ended by the database; whoever is asked before it has to have judged for a while.
#[test]
fn a_source_that_comes_up_ends_no_alert_of_another() {
    let absent = || Presence::Absent("no instance is alive".to_string());
    let seen = |database_ends: i64| {
        let mut monitor = watch();
        let mut rollbacks = 0.0;
        let mut seen = Vec::new();
        for tick in 0..40 {
            let instances = if tick < 5 { absent() } else { Presence::There };
            rollbacks += if tick < database_ends { 10.0 } else { 0.0 };
            let share = if tick == 0 { 0.0 } else { rollbacks / (tick as f64 * 100.0) };
            let status = monitor.evaluate(two(tick, instances, 0.0, Presence::There, share)).0;
            seen.push((status.alerts[0].clone(), status.alerts[1].clone()));
        }
        seen
    };
    // The first value that instances have is of their second sample; with it the five minutes begin.
    let both = seen(99);
    assert!(both[1..26].iter().all(|(quick, slow)| quick.state == Shown::Firing && slow.state == Shown::Pending), "{both:#?}");
    assert_eq!((both[26].0.state, both[26].1.state), (Shown::Resolved, Shown::Inactive));
    let word = "instances, which comes before pg_stat_database, has judged for 5m";
    assert_eq!((both[26].0.reason.as_deref(), both[26].0.source), (Some(word), Some("instances")));
    // What pends would be told by the one and not by the other: it waits.
    assert!(both[20].1.reason.as_deref().unwrap().starts_with("it does not hold by instances, which comes before"), "{:?}", both[20].1);
    // Ended by its own source, at once.
    let own = seen(10);
    assert_eq!((own[12].0.state, own[14].0.state), (Shown::Firing, Shown::Resolved));
}

/// Five minutes in which it judged: not in which nobody could read it.
#[test]
fn a_source_that_came_up_and_died_again_has_not_judged_meanwhile() {
    let rules = Rules::parse("alerts: {pool: {condition: pool_usage > 90%}}", "x").unwrap();
    let mut monitor = Monitor { is_live: true, ..Monitor::new(rules, 15_000, "test") };
    let mut seen = Vec::new();
    for tick in 0..70 {
        let instances = match tick {
            0..5 => Presence::Absent("no instance is alive".to_string()),
            8..40 => Presence::Failed("nothing listens there".to_string()),
            _ => Presence::There,
        };
        let mut gauges = vec![("candlefish_pg_connections", 95.0), ("candlefish_pg_connections_max", 100.0)];
        if instances == Presence::There {
            gauges.extend([("candlefish_pool_in_use", 1.0), ("candlefish_pool_max", 20.0)]);
        }
        let points = gauges.into_iter().map(|(family, value)| Point { key: Key::new(family, &[]), value }).collect();
        let presence = vec![(Source::Instances, instances), (Source::Database, Presence::There)];
        let status = monitor.evaluate(Sample { at: tick * 15_000, points, presence, ..Sample::default() }).0;
        seen.push(status.alerts[0].state);
    }
    assert!(seen[..60].iter().all(|state| *state == Shown::Firing), "{seen:?}");
    assert_eq!(seen[60], Shown::Resolved, "it has judged for five minutes");
}

/// The application is there again and has no call yet, while the database goes on to fail.
#[test]
fn what_pends_begins_no_time_anew_because_its_own_source_is_idle() {
    let mut monitor = watch();
    let mut fired = None;
    for tick in 0..40 {
        let mut sample = two(tick, Presence::There, 0.1, Presence::There, if tick == 0 { 0.0 } else { 0.1 });
        // Nobody calls after the sixth sample.
        let calls = tick.min(6) as f64 * 100.0;
        for point in &mut sample.points {
            match point.key.family.as_str() {
                "candlefish_query_duration_seconds_count" => point.value = calls,
                "candlefish_query_failures_total" => point.value = calls * 0.1,
                _ => {}
            }
        }
        let status = monitor.evaluate(sample).0;
        fired = fired.or((status.alerts[1].state == Shown::Firing).then_some(tick));
    }
    assert_eq!(fired, Some(13), "three minutes after its first value");
}

/// What each source has counted at a tick, where it can be read: mean times in milliseconds, and what is in use of a hundred.
fn measured(tick: i64, seen: &[(Source, Presence, Option<f64>, Option<f64>)]) -> Sample {
    let mut sample = Sample { at: tick * 15_000, ..Sample::default() };
    for (source, presence, mean_ms, in_use) in seen {
        let (count, sum, used, most) = match source {
            Source::Pgbouncer => ("pgbouncer_queries", "pgbouncer_query_seconds", "pgbouncer_servers_in_use", "pgbouncer_servers_max"),
            _ => ("statements", "statement_seconds", "pg_connections", "pg_connections_max"),
        };
        let calls = tick as f64 * 100.0;
        let times = mean_ms.iter().flat_map(|mean| [(format!("{count}_total"), calls), (format!("{sum}_total"), calls * mean / 1000.0)]);
        let gauges = in_use.iter().flat_map(|in_use| [(used.to_string(), *in_use), (most.to_string(), 100.0)]);
        let point = |(family, value)| Point { key: Key::new(&format!("candlefish_{family}"), &[]), value };
        sample.points.extend(times.chain(gauges).map(point));
        sample.presence.push((*source, presence.clone()));
    }
    sample
}

fn down() -> Presence {
    Presence::Failed("nothing listens there".to_string())
}

/// Who has judged cannot be read: that another one, whom nobody had asked, has something to say makes nothing well.
#[test]
fn nobody_calls_well_what_the_one_that_judged_can_no_longer_see() {
    let rules = Rules::parse("alerts:\n  slow: {condition: avg_query_time > 100ms}\n  pool: {condition: pool_usage > 90%}\n", "x").unwrap();
    let mut monitor = Monitor { is_live: true, ..Monitor::new(rules, 15_000, "test") };
    let mut seen = Vec::new();
    for tick in 0..12 {
        // Nobody went through the pooler before.
        let (server, mean, through) = if tick < 6 { (Presence::There, Some(50.0), None) } else { (down(), None, Some(5.0)) };
        let sample = measured(
            tick,
            &[
                (Source::Pgbouncer, Presence::There, through, through),
                (Source::Statements, server.clone(), mean, None),
                (Source::Database, server, None, mean),
            ],
        );
        let status = monitor.evaluate(sample).0;
        let kpi = status.kpis.iter().find(|kpi| kpi.name == "pool_utilization").unwrap();
        seen.push((status.alerts[0].state, status.alerts[1].state, kpi.met, kpi.source));
        if tick == 11 {
            for reason in [&status.alerts[0].reason, &kpi.reason, &status.metrics["avg_query_time"].reason] {
                assert!(reason.as_deref().unwrap().contains("cannot be read: nothing listens there"), "{reason:?}");
            }
        }
    }
    assert_eq!(seen[5], (Shown::Inactive, Shown::Inactive, Some(true), Some("pg_stat_database")));
    assert_eq!(seen[11], (Shown::Unknown, Shown::Unknown, None, Some("pgbouncer")));
}

/// An alert that waits has its own value, and says of when it is; never another's.
#[test]
fn what_waits_shows_the_last_value_of_its_own_source() {
    let mut monitor = watch();
    for tick in 0..12 {
        let instances = if tick < 6 { Presence::There } else { down() };
        let status = monitor.evaluate(two(tick, instances, 0.1, Presence::There, 0.005)).0;
        for alert in status.alerts[..2].iter().filter(|_| tick > 1) {
            let value = alert.value.map(|value| (value * 1000.0).round());
            assert_eq!((value, alert.source), (Some(100.0), Some("instances")), "{tick}: {alert:?}");
            assert_eq!(alert.value_at, Some(tick.min(5) * 15_000), "{alert:?}");
            let says_when = alert.reason.as_deref().unwrap_or_default().contains("its value is of 1970-01-01T00:01:15Z");
            assert_eq!(says_when, tick > 5, "{alert:?}");
        }
    }
}

/// Somebody else cannot be read, and it can: it speaks for itself, whoever comes before it.
#[test]
fn an_alert_whose_own_source_can_be_read_goes_by_that() {
    let rules = Rules::parse("alerts:\n  slow: {condition: avg_query_time > 100ms}\n", "x").unwrap();
    let mut monitor = Monitor { is_live: true, ..Monitor::new(rules, 15_000, "test") };
    for tick in 0..12 {
        let (redis, pooler, through) = if tick < 6 {
            (Presence::Absent("no Redis is named".to_string()), Presence::Absent("no pooler is named".to_string()), None)
        } else {
            (down(), Presence::There, Some(5.0))
        };
        let mut sample =
            measured(tick, &[(Source::Pgbouncer, pooler, through, None), (Source::Statements, Presence::There, Some(200.0), None)]);
        sample.presence.push((Source::Instances, redis));
        let alert = monitor.evaluate(sample).0.alerts.swap_remove(0);
        if tick > 0 {
            let value = alert.value.map(f64::round);
            assert_eq!((alert.state, value, alert.source), (Shown::Firing, Some(200.0), Some("pg_stat_statements")), "{tick}: {alert:?}");
        }
    }
}

/// A run of before knows nothing of waiting.
#[test]
fn an_alert_of_an_older_state_file_is_read() {
    let alert: Alert = serde_json::from_str("{\"state\":\"firing\",\"active_at\":1,\"fired_at\":2,\"value\":0.5}").unwrap();
    assert_eq!((alert.state, alert.waits_since, alert.word.as_deref()), (State::Firing, None, None));
}
