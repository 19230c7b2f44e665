//! Whether the limits add up: what pools may open against what the server allows.

use futures_util::FutureExt as _;

use crate::doctor::pgbouncer::{OF_ANY, state};
use crate::doctor::{Check, Found, Patient, few};
use crate::postgres::ConsoleRow;
use crate::stats::GRANT;

/// What the server leaves to those who are no superusers.
fn usable(patient: &Patient<'_>) -> Option<f64> {
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

/// Its databases that lead to the same server as the one that is examined, and those that lead elsewhere. Where that one is not named all may be its.
fn by_server<'a>(databases: &'a [ConsoleRow], examined: &str) -> (Vec<&'a ConsoleRow>, Vec<&'a ConsoleRow>) {
    let is = |row: &ConsoleRow, column: &str| row.get(column).is_some_and(|name| name == examined);
    let server = |row: &'a ConsoleRow| (row.get("host"), row.get("port"));
    let own = databases.iter().find(|row| is(row, "name")).or_else(|| databases.iter().find(|row| is(row, "database"))).map(server);
    let named = databases.iter().filter(|row| row.get("name").is_some_and(|name| name != "pgbouncer"));
    named.partition(|row| own.is_none_or(|own| server(row) == own))
}

pub const POOL_SUMS: Check = Check {
    name: "pool-sums",
    about: "what PgBouncer may open fits into what the server allows",
    run: |patient| {
        async move {
            let state = match state(patient) {
                Ok(state) => state,
                Err(found) => return Ok(found),
            };
            let Some(usable) = usable(patient) else { return Ok(Found::unknown("the server's limits are hidden from this user", GRANT)) };
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            let setting = |key: &str| number(state.setting(key));
            // A pool is a database and a user; a reserve may come on top. What limits a database limits all of its pools. Of one that has none yet the
            // first client makes one.
            let (mut sum, mut bound) = (0.0, Some(0.0));
            let to_come = state.to_come();
            let there = state.pools.iter().map(|pool| (Some(pool.database.as_str()), pool.most));
            let all: Vec<_> = there.chain(to_come.iter().map(|pool| (pool.database.as_deref(), pool.most))).collect();
            if all.iter().any(|(_, most)| most.is_none()) {
                return Ok(Found::unknown("PgBouncer does not say how large its pools may be", ""));
            }
            let of = |name: Option<&str>| -> f64 {
                let pools = all.iter().filter(|(database, _)| *database == name);
                pools.filter_map(|(_, most)| *most).map(|most| most as f64 + setting("reserve_pool_size")).sum()
            };
            if to_come.iter().any(|pool| pool.database.is_none()) {
                let most = Some(setting("max_db_connections")).filter(|most| *most > 0.0);
                (sum, bound) = (most.map_or(of(None), |most| of(None).min(most)), None);
            }
            let (here, elsewhere) = by_server(&state.databases, &patient.observer.server.database);
            for database in here {
                let name = database.get("name").map_or("", String::as_str);
                let of_it = of(Some(name));
                let most = [number(database.get("max_connections").map(String::as_str)), setting("max_db_connections")]
                    .into_iter()
                    .filter(|most| *most > 0.0)
                    .reduce(f64::min);
                sum += most.map_or(of_it, |most| of_it.min(most));
                bound = bound.zip(most).map(|(bound, most)| bound + most);
            }
            let value = format!("pools up to {sum:.0} of {usable:.0} connections");
            let is_of_any = to_come.iter().any(|pool| pool.database.is_none());
            let by_default = if is_of_any { ", unless its entry * says otherwise" } else { "" };
            Ok(if sum > usable {
                Found::error(
                    value,
                    format!("under load PgBouncer opens more than the server allows, and clients get its refusals{by_default}"),
                    "Lower default_pool_size or max_db_connections in pgbouncer.ini, or raise max_connections and restart.",
                )
            } else if sum > usable * 0.9 {
                Found::warning(
                    value,
                    format!("little is left for whoever does not go through PgBouncer{by_default}"),
                    "Lower default_pool_size, or raise max_connections.",
                )
            } else if is_of_any {
                Found::unknown(OF_ANY, "Look again when a client has come.")
            } else {
                let why = match bound.is_some_and(|bound| bound <= usable) {
                    true => "every pool can be full, and the server has room",
                    false if to_come.is_empty() => {
                        "every pool that there is now can be full; each other user makes another, up to max_db_connections where that is set"
                    }
                    false => "a pool of each database can be full; each other user makes another, up to max_db_connections where that is set",
                };
                let others = elsewhere.iter().filter_map(|row| row.get("name").map(String::as_str)).collect::<Vec<_>>();
                let others = if others.is_empty() { String::new() } else { format!("; not counted, for another server: {}", few(&others)) };
                Found::ok(value, format!("{why}{others}"))
            })
        }
        .boxed()
    },
};
