//! Whether there is room for more connections.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient};
use crate::stats::GRANT;

/// What the server leaves to those who are no superusers.
pub fn usable(patient: &Patient<'_>) -> Option<f64> {
    let reserved = patient.number("superuser_reserved_connections")? + patient.number("reserved_connections").unwrap_or(0.0);
    Some(patient.number("max_connections")? - reserved)
}

pub const CONNECTIONS: Check = Check {
    name: "connections",
    about: "there is room for more connections",
    run: |patient| {
        async move {
            let sheet = patient.sheet("connections").await?;
            let column = |name: &str| sheet.position(name);
            let (Some(scope), Some(name), Some(used)) = (column("scope"), column("name"), column("used_ratio")) else {
                return Ok(Found::unknown("the statistic has other columns", ""));
            };
            let limits = sheet.rows.iter().flatten().filter(|row| row[scope].text() == Some("limit"));
            let fullest = limits.filter_map(|row| Some((row[used].number()?, row[name].text()?))).max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((ratio, which)) = fullest else { return Ok(Found::unknown("no limit is known", GRANT)) };
            let value = format!("{which}: {:.0} % in use", ratio * 100.0);
            Ok(match ratio {
                0.9.. => Found::error(
                    value,
                    "soon nobody can connect",
                    "Find who holds them (`candlefish stats connections`), and put a pooler in front.",
                ),
                0.7.. => {
                    Found::warning(value, "a burst of clients would fill it", "Put a pooler in front, or raise the limit and restart.")
                }
                _ => Found::ok(value, "there is room"),
            })
        }
        .boxed()
    },
};
