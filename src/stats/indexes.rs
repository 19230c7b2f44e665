//! Indexes that cost more than they give, and those that are missing.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Parameter, Type};
use crate::stats::counting::Counting;
use crate::stats::words::{DAY, span};
use crate::stats::{Growth, Reading, Skipped, Stat};

pub const STAT: Stat = Stat {
    name: "indexes",
    about: "invalid, duplicate, redundant, unused and missing indexes, each with the statement that mends it",
    columns: &["finding", "table", "index", "reason", "size_bytes", "scans", "ddl", "cause"],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let counting = look.counting().await?;
            let parameters: [Parameter<'_>; 2] = [(&look.options.min_size, Type::INT8), (&counting.is_on, Type::BOOL)];
            let mut reading = counting.of(Reading::of(look.ask(include_str!("queries/indexes.sql"), &parameters).await?));
            set_skipped_apart(&mut reading);
            judge_unused(&mut reading, &counting, look.options.min_age);
            reading.limit(look.options.limit);
            Ok(reading)
        }
        .boxed()
    },
};

/// What was not looked at is no finding.
fn set_skipped_apart(reading: &mut Reading) {
    let is_skipped = |row: &Vec<Cell>| row[0].text() == Some("skipped");
    let skipped = |row: &Vec<Cell>| Some(Skipped { table: row[1].text()?.to_string(), pid: row[3].text()?.parse().ok()? });
    reading.skipped = reading.rows.iter().filter(|row| is_skipped(row)).filter_map(skipped).collect();
    reading.rows.retain(|row| !is_skipped(row));
}

/// Nothing is called unused on the word of counters that do not know it.
fn judge_unused(reading: &mut Reading, counting: &Counting, min_age: Duration) {
    let is_unused = |row: &Vec<Cell>| row[0].text() == Some("unused");
    let count = reading.rows.iter().filter(|row| is_unused(row)).count();
    if count == 0 {
        return;
    }
    let age = counting.age_seconds.unwrap_or_default();
    let (since, long) = (counting.since.clone().unwrap_or_default(), span(age));
    let indexes = if count == 1 { "1 index has" } else { &format!("{count} indexes have") };
    let withheld = if !counting.gaps.is_empty() {
        Some("not everybody's scans are counted".to_string())
    } else if !counting.of_writes {
        Some("this is a standby, and the scans of its primary are others: ask there".to_string())
    } else if age < min_age.as_secs_f64() {
        let least = span(min_age.as_secs_f64());
        Some(format!("scans are counted since {since}, for {long}, which is less than {least} (--min-age 0 shows them all the same)"))
    } else {
        None
    };
    if let Some(why) = withheld {
        reading.rows.retain(|row| !is_unused(row));
        reading.notes.push(format!("{indexes} no scans, and none is called unused: {why}"));
        return;
    }
    reading.notes.push(format!("scans are counted since {since}: {long}; an index that is younger has had less time"));
    if age < 30.0 * DAY {
        reading.notes.push("that is short: an index that one report a month needs looks unused".to_string());
    }
    reading.notes.push("only this server's scans are counted: look at its standbys, too, before an index goes".to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Gap, Whom};

    #[test]
    fn nothing_is_unused_on_the_word_of_counters_that_do_not_know() {
        let counting = |days: f64| Counting {
            since: Some("2026-01-01T00:00:00Z".to_string()),
            age_seconds: Some(days * DAY),
            is_on: true,
            of_writes: true,
            gaps: Vec::new(),
        };
        let judged = |counting: &Counting| {
            let row = |finding: &str| vec![Cell::from(finding)];
            let mut reading = Reading { rows: vec![row("invalid"), row("unused")], ..Reading::default() };
            judge_unused(&mut reading, counting, Duration::from_secs(86_400));
            (reading.rows.len(), reading.notes.join("; "))
        };
        assert_eq!(judged(&counting(31.0)).0, 2);
        assert!(judged(&counting(2.0)).1.contains("that is short"));
        let young = judged(&counting(0.9));
        assert!(young.0 == 1 && young.1.contains("since 2026-01-01T00:00:00Z, for 21.6 hours, which is less than 1 day"), "{young:?}");
        let standby = judged(&Counting { of_writes: false, ..counting(90.0) });
        assert!(standby.0 == 1 && standby.1.contains("standby"), "{standby:?}");
        let gap = Gap { setting: "track_counts".to_string(), whom: Whom::Role("batch".to_string()), remedy: "ALTER ROLE".to_string() };
        let partly = judged(&Counting { gaps: vec![gap], ..counting(90.0) });
        assert!(partly.0 == 1 && partly.1.contains("not everybody"), "{partly:?}");
    }
}
