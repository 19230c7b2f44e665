//! Whether the limits add up: what PgBouncer may open against what the server allows.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use futures_util::FutureExt as _;

use crate::doctor::connections::usable;
use crate::doctor::pgbouncer::{OF_ANY, state};
use crate::doctor::{Check, Found, Verdict, few};
use crate::postgres::ConsoleRow;
use crate::stats::{GRANT, PoolerState};

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
            Ok(judge(state, &patient.observer.server.database, usable))
        }
        .boxed()
    },
};

fn judge(state: &PoolerState, examined: &str, usable: f64) -> Found {
    let placed = placed(&state.databases, examined);
    let at = |places: &[Place]| placed.iter().filter(|(_, place)| places.contains(place)).map(|(row, _)| *row).collect::<Vec<_>>();
    let (elsewhere, perhaps) = (at(&[Place::Elsewhere]), at(&[Place::Perhaps]));
    let known = judge_of(state, &at(&[Place::Here]), &elsewhere, &perhaps, usable);
    if perhaps.is_empty() || known.verdict != Verdict::Ok {
        return known;
    }
    let all = judge_of(state, &at(&[Place::Here, Place::Perhaps]), &elsewhere, &[], usable);
    if all.verdict == Verdict::Ok {
        return all;
    }
    let names: Vec<&str> = perhaps.iter().filter_map(|row| text(row, "name")).collect();
    Found::unknown(
        format!("whether these are of the same server their hosts do not tell: {}; with them it is {}", few(&names), all.value),
        "Give all databases of one server the same host in pgbouncer.ini.",
    )
}

/// What the pools of the databases `here` come to; of those of `perhaps` it is not known where they are.
fn judge_of(state: &PoolerState, here: &[&ConsoleRow], elsewhere: &[&ConsoleRow], perhaps: &[&ConsoleRow], usable: f64) -> Found {
    // Every database is of its entry `*`, of which the console shows neither sizes nor where it leads while nobody is there.
    let is_of_any = here.is_empty() && elsewhere.is_empty();
    let Some(pools) = (if is_of_any { of_any(state) } else { of_databases(state, here) }) else {
        return Found::unknown("PgBouncer does not say how large its pools may be", "");
    };
    let limits = Limits { state, databases: here };
    let sum = fullest(&pools, &limits) as f64;
    let value = format!("pools up to {sum:.0} of {usable:.0} connections");
    let not_counted = |why: &str, names: Vec<String>| match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        names => format!("; not counted, {why}: {}", few(names)),
    };
    let names = |rows: &[&'_ ConsoleRow]| rows.iter().filter_map(|row| row.get("name").cloned()).collect::<Vec<String>>();
    let closed: Vec<&ConsoleRow> = here.iter().copied().filter(|row| is_closed(state, row)).collect();
    let basis = format!(
        "{}{}{}{}",
        limits.basis(&pools),
        not_counted("for it is disabled and has no client", names(&closed)),
        not_counted("for another server", names(elsewhere)),
        not_counted("for its host does not tell whether it is of this server", names(perhaps))
    );
    let by_default = if is_of_any { ", unless its entry * says otherwise" } else { "" };
    if sum > usable {
        Found::error(
            value,
            format!("under load PgBouncer opens more than the server allows, and clients get its refusals{by_default}{basis}"),
            "Lower default_pool_size or max_db_connections in pgbouncer.ini, or raise max_connections and restart.",
        )
    } else if sum > usable * 0.9 {
        Found::warning(
            value,
            format!("little is left for whoever does not go through PgBouncer{by_default}{basis}"),
            "Lower default_pool_size, or raise max_connections.",
        )
    } else if is_of_any {
        Found::unknown(OF_ANY, "Look again when a client has come.")
    } else {
        let why = match bound(state, here, &limits).is_some_and(|bound| bound as f64 <= usable) {
            true => "every pool can be full, and the server has room",
            false if state.to_come().is_empty() => {
                "every pool that there is now can be full; each other user makes another, up to max_db_connections where that is set"
            }
            false => "a pool of each database can be full; each other user makes another, up to max_db_connections where that is set",
        };
        Found::ok(value, format!("{why}{basis}"))
    }
}

/// Where a database leads, beside the one that is examined.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Here,
    Elsewhere,
    /// A name may be of any address, and a machine has several.
    Perhaps,
}

/// Its databases, and whether they lead to the same server as the one that is examined. Where that one is not named all may be its.
fn placed<'a>(databases: &'a [ConsoleRow], examined: &str) -> Vec<(&'a ConsoleRow, Place)> {
    let is = |row: &ConsoleRow, column: &str| row.get(column).is_some_and(|name| name == examined);
    let server = |row: &'a ConsoleRow| (text(row, "host").unwrap_or_default(), text(row, "port").unwrap_or_default());
    let own = databases.iter().find(|row| is(row, "name")).or_else(|| databases.iter().find(|row| is(row, "database"))).map(server);
    let named = databases.iter().filter(|row| row.get("name").is_some_and(|name| name != "pgbouncer"));
    named.map(|row| (row, own.map_or(Place::Here, |own| place(own, server(row))))).collect()
}

fn place((own, own_port): (&str, &str), (host, port): (&str, &str)) -> Place {
    let address = |host: &str| host.parse::<IpAddr>().ok();
    if own_port != port {
        Place::Elsewhere
    } else if own.eq_ignore_ascii_case(host) || (is_local(own) && is_local(host)) {
        Place::Here
    } else if !is_local(own) && !is_local(host) && address(own).is_some() && address(host).is_some() {
        Place::Elsewhere
    } else {
        Place::Perhaps
    }
}

/// The machine that PgBouncer itself is on, by a socket (no host, or a folder) or a loopback address.
fn is_local(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    host.is_empty()
        || host.starts_with(['/', '@'])
        || ["localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"].contains(&name.as_str())
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Servers of one database and one user.
#[derive(Debug)]
struct Pool<'a> {
    database: &'a str,
    /// None for the user of the first client that comes, who is taken to have no other pool.
    user: Option<&'a str>,
    /// Its size, and the reserve that may come on top.
    most: i64,
}

impl Pool<'_> {
    fn shown(&self) -> String {
        let database = if self.database.is_empty() { "any database" } else { self.database };
        match self.user {
            Some(user) => format!("{database}/{user} {}", self.most),
            None => format!("{database} {}", self.most),
        }
    }
}

/// Those that there are, and of a database that has none yet the one that its first client makes. None where a size is not known.
fn of_databases<'a>(state: &'a PoolerState, here: &[&'a ConsoleRow]) -> Option<Vec<Pool<'a>>> {
    let mut pools = Vec::new();
    for &row in here {
        let database = text(row, "name").unwrap_or_default();
        let there: Vec<_> = state.pools.iter().filter(|pool| pool.database == database).collect();
        let is_disabled = state.is_disabled(database);
        for &pool in &there {
            // A disabled database lets nobody in; who is in works on.
            let most = match is_disabled && !pool.has_clients() {
                true => pool.in_use + pool.idle,
                false => size(state, Some(row), Some(&pool.user))?,
            };
            pools.push(Pool { database, user: Some(&pool.user), most });
        }
        if there.is_empty() && !is_disabled {
            let user = text(row, "force_user");
            pools.push(Pool { database, user, most: size(state, Some(row), user)? });
        }
    }
    Some(pools)
}

fn of_any(state: &PoolerState) -> Option<Vec<Pool<'_>>> {
    if state.pools.is_empty() {
        return Some(vec![Pool { database: "", user: None, most: size(state, None, None)? }]);
    }
    let of = |user| size(state, None, Some(user));
    state.pools.iter().map(|pool| Some(Pool { database: &pool.database, user: Some(&pool.user), most: of(&pool.user)? })).collect()
}

/// A user's own size (PgBouncer 1.24) goes before the database's, and that before the default; a reserve is for who has waited a while.
fn size(state: &PoolerState, database: Option<&ConsoleRow>, user: Option<&str>) -> Option<i64> {
    let user = user.and_then(|user| state.user(user));
    let own = |column: &str| user.and_then(|row| number(row, column)).or_else(|| number(database?, column));
    let setting = |key: &str| state.setting(key).and_then(|value| value.trim().parse::<f64>().ok());
    let size = own("pool_size").or_else(|| setting("default_pool_size").map(|size| size as i64))?;
    // Older ones call it reserve_pool.
    let reserve = own("reserve_pool_size").or_else(|| own("reserve_pool")).or_else(|| setting("reserve_pool_size").map(|size| size as i64));
    let is_used = setting("reserve_pool_timeout").is_none_or(|seconds| seconds > 0.0);
    Some(size + reserve.filter(|_| is_used).unwrap_or(0))
}

/// No servers of it are to come.
fn is_closed(state: &PoolerState, row: &ConsoleRow) -> bool {
    let name = text(row, "name").unwrap_or_default();
    state.is_disabled(name) && !state.pools.iter().any(|pool| pool.database == name && (pool.has_clients() || pool.in_use + pool.idle > 0))
}

/// What a database, or a user, has at most in all of its pools.
struct Limits<'a> {
    state: &'a PoolerState,
    databases: &'a [&'a ConsoleRow],
}

impl Limits<'_> {
    /// SHOW DATABASES has what holds: its own, or what is set for all.
    fn of_database(&self, name: &str) -> Option<i64> {
        let row = self.databases.iter().find(|row| text(row, "name") == Some(name));
        let limit = match row {
            Some(row) => number(row, "max_connections"),
            None => self.state.setting("max_db_connections").and_then(|limit| limit.parse().ok()),
        };
        limit.filter(|limit| *limit > 0)
    }

    fn of_user(&self, name: Option<&str>) -> Option<i64> {
        self.state.limit_of_user(name)
    }

    /// What the sum is of: the pools, and the limits that make it smaller.
    fn basis(&self, pools: &[Pool<'_>]) -> String {
        let shown: Vec<String> = pools.iter().map(Pool::shown).collect();
        let mut words = vec![few(&shown.iter().map(String::as_str).collect::<Vec<_>>())];
        let of_all = |is: &dyn Fn(&Pool<'_>) -> bool| -> i64 { pools.iter().filter(|pool| is(pool)).map(|pool| pool.most).sum() };
        let (mut databases, mut users) = (Vec::new(), Vec::new());
        for pool in pools {
            let of_database = of_all(&|other| other.database == pool.database);
            if let Some(limit) = self.of_database(pool.database).filter(|limit| *limit < of_database) {
                databases.push(match pool.database {
                    "" => format!("any database at most {limit}"),
                    name => format!("database {name} at most {limit}"),
                });
            }
            let of_user = pool.user.map_or(pool.most, |user| of_all(&|other| other.user == Some(user)));
            if let Some(limit) = self.of_user(pool.user).filter(|limit| *limit < of_user) {
                let own = if self.state.shows_limits_of_users() { "" } else { " unless [users] of pgbouncer.ini says otherwise" };
                users.push(format!("{} at most {limit}{own}", pool.user.map_or("any user".to_string(), |user| format!("user {user}"))));
            }
        }
        for mut limits in [databases, users] {
            limits.sort();
            limits.dedup();
            words.extend((!limits.is_empty()).then(|| few(&limits.iter().map(String::as_str).collect::<Vec<_>>())));
        }
        format!("; counted: {}", words.join("; "))
    }
}

/// The most that it comes to whoever else comes. None where only the number of users is the limit.
fn bound(state: &PoolerState, here: &[&ConsoleRow], limits: &Limits<'_>) -> Option<i64> {
    let open = here.iter().filter(|row| !is_closed(state, row));
    let worst = open.map(|row| {
        let database = text(row, "name").unwrap_or_default();
        let limit = limits.of_database(database);
        // All of its clients share the pool of one user.
        let forced = text(row, "force_user");
        let most = match forced {
            Some(_) => size(state, Some(row), forced).into_iter().chain(limit).min(),
            None => limit,
        };
        most.map(|most| (Pool { database, user: forced, most }, forced.is_some()))
    });
    let worst = worst.collect::<Option<Vec<_>>>()?;
    let (forced, free): (Vec<_>, Vec<_>) = worst.into_iter().partition(|(_, is_forced)| *is_forced);
    let forced: Vec<Pool<'_>> = forced.into_iter().map(|(pool, _)| pool).collect();
    // Of several users no limit of one is the limit of all.
    Some(fullest(&forced, limits) + free.iter().map(|(pool, _)| pool.most).sum::<i64>())
}

/// The most servers that there can be at once: a flow from users over their pools to databases, each with no more than its limit.
fn fullest(pools: &[Pool<'_>], limits: &Limits<'_>) -> i64 {
    let free = pools.iter().map(|pool| (pool.database, limits.of_database(pool.database).unwrap_or(i64::MAX)));
    let mut flow = Flow { pools, used: vec![0; pools.len()], free: free.collect() };
    let mut sum = 0;
    let is_first = |at: usize| pools[at].user.is_none() || pools[..at].iter().all(|before| before.user != pools[at].user);
    for at in (0..pools.len()).filter(|at| is_first(*at)) {
        let mut left = limits.of_user(pools[at].user).unwrap_or(i64::MAX);
        loop {
            let more = flow.grow(at, left, &mut HashSet::new());
            if more == 0 {
                break;
            }
            (sum, left) = (sum + more, left - more);
        }
    }
    sum
}

struct Flow<'a> {
    pools: &'a [Pool<'a>],
    /// Servers of each pool.
    used: Vec<i64>,
    /// What each database has left.
    free: HashMap<&'a str, i64>,
}

impl<'a> Flow<'a> {
    /// So many more servers, up to `most`, for the user of this pool.
    fn grow(&mut self, of: usize, most: i64, seen: &mut HashSet<&'a str>) -> i64 {
        let pools = self.pools;
        let is_same_user = |at: &usize| *at == of || (pools[of].user.is_some() && pools[*at].user == pools[of].user);
        for at in (0..pools.len()).filter(is_same_user) {
            let database = pools[at].database;
            let wanted = most.min(pools[at].most - self.used[at]);
            if wanted <= 0 || !seen.insert(database) {
                continue;
            }
            let more = match self.free.get_mut(database) {
                Some(free) if *free > 0 => {
                    let more = wanted.min(*free);
                    *free -= more;
                    more
                }
                _ => self.make_room(database, wanted, seen),
            };
            if more > 0 {
                self.used[at] += more;
                return more;
            }
        }
        0
    }

    /// Another user of a full database has in other databases what it has here.
    fn make_room(&mut self, database: &str, wanted: i64, seen: &mut HashSet<&'a str>) -> i64 {
        for at in 0..self.pools.len() {
            if self.pools[at].database != database || self.used[at] == 0 {
                continue;
            }
            let moved = self.grow(at, wanted.min(self.used[at]), seen);
            if moved > 0 {
                self.used[at] -= moved;
                return moved;
            }
        }
        0
    }
}

fn text<'a>(row: &'a ConsoleRow, column: &str) -> Option<&'a str> {
    row.get(column).map(String::as_str).filter(|text| !text.is_empty())
}

/// Some numbers come with blanks before them.
fn number(row: &ConsoleRow, column: &str) -> Option<i64> {
    row.get(column)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PoolUse;

    fn row(cells: &[(&str, &str)]) -> ConsoleRow {
        cells.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// Rows as PgBouncer 1.24 has them, with a server at the examined database `shop`.
    fn state(databases: &[(&str, &str, &str)], pools: &[(&str, &str)], users: &[(&str, &str, &str)]) -> PoolerState {
        let of = |(name, size, most): &(&str, &str, &str)| {
            row(&[
                ("name", *name),
                ("host", "a"),
                ("pool_size", *size),
                ("reserve_pool_size", "0"),
                ("max_connections", *most),
                ("disabled", "0"),
            ])
        };
        let databases: Vec<ConsoleRow> = databases.iter().map(of).collect();
        let pools: Vec<ConsoleRow> = pools.iter().map(|(database, user)| row(&[("database", *database), ("user", *user)])).collect();
        let user = |(name, size, most): &(&str, &str, &str)| row(&[("name", *name), ("pool_size", *size), ("max_user_connections", *most)]);
        let config = vec![row(&[("key", "max_user_connections"), ("value", "7")])];
        let users: Vec<ConsoleRow> = users.iter().map(user).collect();
        let pools = PoolUse::of(&pools, &databases, &config, &users);
        PoolerState { version: Some((1, 24)), pools, databases, config, users, ..PoolerState::default() }
    }

    fn said(state: &PoolerState) -> (String, String) {
        let found = judge(state, "shop", 1000.0);
        let counted = found.why.split_once("; counted: ").map_or(String::new(), |(_, counted)| counted.to_string());
        (found.value.trim_end_matches(" of 1000 connections").to_string(), counted)
    }

    #[test]
    fn no_user_and_no_database_has_more_than_its_limit() {
        let databases = [("shop", "20", "30"), ("jobs", "20", "0")];
        let pools = [("shop", "web"), ("shop", "cron"), ("jobs", "web")];
        let of = |value: &str, counted: &str| (value.to_string(), counted.to_string());
        let none = state(&databases, &pools, &[("web", "", "0"), ("cron", "", "0")]);
        assert_eq!(said(&none), of("pools up to 50", "shop/web 20, shop/cron 20, jobs/web 20; database shop at most 30"));
        // 25 of web are 5 to 20 of shop and up to 20 of jobs; cron has the rest of shop.
        let web = state(&databases, &pools, &[("web", "", "25"), ("cron", "", "0")]);
        assert_eq!(
            said(&web),
            of("pools up to 45", "shop/web 20, shop/cron 20, jobs/web 20; database shop at most 30; user web at most 25")
        );
        // A size of the user's own, with the blanks that it is shown with.
        let own = state(&databases, &pools, &[("web", "        3", "0"), ("cron", "", "12")]);
        assert_eq!(said(&own), of("pools up to 18", "shop/web 3, shop/cron 20, jobs/web 3; user cron at most 12"));
        // Before 1.23 the console shows no limit of a user.
        let mut before = state(&databases, &pools, &[]);
        before.users = vec![row(&[("name", "web")])];
        let (value, counted) = said(&before);
        assert!(value == "pools up to 14" && counted.contains("user web at most 7 unless [users]"), "{value}: {counted}");
    }

    #[test]
    fn whoever_stands_in_the_way_goes_elsewhere() {
        // The first way gives all of `shop` to web, who can have its servers in `jobs` as well.
        let databases = [("shop", "10", "10"), ("jobs", "10", "10"), ("logs", "10", "10")];
        let pools = [("shop", "web"), ("jobs", "web"), ("shop", "cron"), ("jobs", "night"), ("logs", "night")];
        let users = [("web", "", "10"), ("cron", "", "10"), ("night", "", "10")];
        assert_eq!(said(&state(&databases, &pools, &users)).0, "pools up to 30");
    }
}
