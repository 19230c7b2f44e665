//! The page in a real browser, without a window: what it draws is what is so.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Running;
use super::browser::{Browser, FLAGS, chromium};
use crate::server::{Server, machine};
use crate::support::{Case, Database};

/// The document as it is after the page has run for some (virtual) seconds.
fn seen(case: &Case, url: &str, more: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", case.dir().join("browser").display());
    let output = Command::new(chromium())
        .args(FLAGS)
        .arg(profile)
        .args(["--virtual-time-budget=6000", "--timeout=30000", "--window-size=1280,1600"])
        .args(more)
        .args(["--dump-dom", url])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_with_the_token_sees_the_page_and_one_without_is_asked() {
    let database = Database::fresh();
    let case = Case::new("token").database(&database);
    std::fs::write(case.dir().join("token"), "a/token=of:some~length").unwrap();
    let url = database.url();
    let mut running =
        Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--token-file", "token", "--interval", "500ms", "--json", "-d", &url]);
    let page = running.page();
    running.next();
    running.next();
    let asked = seen(&case, &format!("{page}/"), &[]);
    assert!(asked.contains("know its token"), "{asked}");
    let document = seen(&case, &format!("{page}/?token=a%2Ftoken%3Dof:some~length"), &[]);
    assert!(document.contains(&format!("/{}", database.name)) && document.contains("class=\"card tile"), "{document}");
    assert!(!document.contains("some~length"), "the page shows its token");
    running.stop();
}

#[test]
fn the_page_draws_what_is_so() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE \"<b>shop</b>\" (a int)");
    let case = Case::new("page").database(&database);
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "1s", "--json", "-d", &url]);
    let page = running.page();
    // Names of tables are no markup.
    let load = || drop(database.rows("SELECT count(*) FROM \"<b>shop</b>\", pg_sleep(0.02)"));
    running.until("the load", load, |sample| sample["slow_queries"].to_string().contains("shop"));
    let is_seen = AtomicBool::new(false);
    let document = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_seen.load(Ordering::Relaxed) {
                load();
            }
        });
        // Other tests may throw a statement out between two samples.
        let mut document = String::new();
        for _ in 0..4 {
            document = seen(&case, &format!("{page}/"), &[]);
            if document.contains("shop") {
                break;
            }
        }
        if let Some(folder) = std::env::var_os("CANDLEFISH_SCREENSHOTS") {
            for (name, more) in [("light", vec![]), ("dark", vec!["--blink-settings=preferredColorScheme=0"])] {
                let file = format!("--screenshot={}", PathBuf::from(&folder).join(format!("{name}.png")).display());
                seen(&case, &format!("{page}/"), &more.iter().copied().chain([file.as_str()]).collect::<Vec<_>>());
            }
        }
        is_seen.store(true, Ordering::Relaxed);
        document
    });
    let target = format!("/{}", database.name);
    for wanted in [
        &target,
        "PostgreSQL ",
        "connection pool exhaustion",
        "Slow queries",
        "&lt;b&gt;shop&lt;/b&gt;",
        "<polyline",
        "pg_stat_statements",
        "from\">from pg_stat_database<",
    ] {
        assert!(document.contains(wanted), "the page has no {wanted}: {document}");
    }
    assert!(!document.contains("<b>shop"), "a name became markup");
    // Every one of the eight KPIs, and six charts.
    assert_eq!((document.matches("class=\"card tile").count(), document.matches("<svg").count()), (8, 6), "{document}");
    assert!(document.contains("id=\"banner\" class=\"card banner\" role=\"alert\" hidden"), "nothing is wrong, and it says so: {document}");
    running.stop();
}

/// Where the line of open connections stands: each piece with the places of its samples from left to right; beside it when samples were known, and when not.
const LINE: &str = "(async () => {
    const points = (await (await fetch('/api/v1/history')).json()).points;
    const at = is => points.filter(p => is(Number.isFinite(p.connections))).map(p => p.at);
    const pieces = [...document.querySelectorAll('svg[aria-label=Connections] :is(polyline, circle)')]
        .filter(e => (e.getAttribute('stroke') ?? e.getAttribute('fill')) === 'var(--a)')
        .map(e => e.tagName === 'circle' ? [+e.getAttribute('cx')] : e.getAttribute('points').split(' ').map(p => +p.split(',')[0]));
    return { known: at(is => is), unknown: at(is => !is), pieces };
})()";

/// Between the last sample before the database went away and the first after it came back nothing is drawn, as wide as that was long.
fn assert_gap(browser: &mut Browser) {
    let line = browser.value(LINE);
    let numbers = |value: &serde_json::Value| value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<f64>>();
    let (known, unknown) = (numbers(&line["known"]), numbers(&line["unknown"]));
    let pieces: Vec<Vec<f64>> = line["pieces"].as_array().unwrap().iter().map(numbers).collect();
    let away = *unknown.iter().find(|at| **at > known[0]).unwrap_or_else(|| panic!("the database was never away: {line:#}"));
    let after = known.iter().position(|at| *at > away).unwrap_or_else(|| panic!("it never came back: {line:#}"));
    // What is drawn may be a sample older than what is known by now; and each sample that is known is one place, and no other is any.
    let drawn: Vec<(usize, f64)> = pieces.iter().enumerate().flat_map(|(piece, places)| places.iter().map(move |x| (piece, *x))).collect();
    assert!(drawn.len() > after && drawn.len() <= known.len() && drawn.is_sorted_by(|a, b| a.1 < b.1), "{line:#}");
    let ((piece, left), (next, right)) = (drawn[after - 1], drawn[after]);
    assert_ne!(piece, next, "a line is drawn over what was not known: {line:#}");
    assert!(pieces.iter().all(|places| places[places.len() - 1] <= left || places[0] >= right), "{line:#}");
    let a_ms = (drawn[drawn.len() - 1].1 - drawn[0].1) / (known[drawn.len() - 1] - known[0]);
    let wide = (known[after] - known[after - 1]) * a_ms;
    assert!((right - left - wide).abs() < 0.5 && known[after] - known[after - 1] > 1500.0, "{wide} is {}: {line:#}", right - left);
}

const WORDS: [&str; 9] = ["monitor", "--serve", "127.0.0.1:0", "--rules", "rules.yaml", "--interval", "1s", "-d", "URL"];

/// One page, never loaded again, while the database and then the monitor itself go away and come back.
#[test]
fn the_page_outlives_the_database_and_the_monitor() {
    let server = Server::start(&machine(), &[]);
    let case = Case::new("outlives");
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  pool: {condition: pool_usage > 75%}\n").unwrap();
    let url = server.url();
    let mut running = Running::start(&case, &WORDS.map(|word| if word == "URL" { url.as_str() } else { word }));
    let page = running.page();
    let mut browser = Browser::at(&format!("{page}/"));
    let drawn = "[...document.querySelectorAll('svg[aria-label=Connections] :is(polyline, circle)')]\
                 .filter(e => (e.getAttribute('stroke') ?? e.getAttribute('fill')) === 'var(--a)').length";
    let banner = "document.getElementById('banner')";
    browser.until("the first lines", &format!("{banner}.hidden && {drawn} >= 1"));
    // The limit of the one rule, where the chart has it.
    let limits =
        "[...document.querySelectorAll('svg[aria-label=Pool] line[stroke-dasharray]')].map(e => Math.round(e.getAttribute('y1') * 10))";
    assert_eq!(browser.value(limits), serde_json::json!([385]));
    // A sample may be late on a busy machine, which is a gap too.
    let before = browser.value(drawn);
    server.stop();
    // One reason is said once; and of statements nobody knows that there were none.
    let slow = "document.getElementById('slow').textContent.startsWith('not known: PostgreSQL cannot be reached')";
    let away = format!(
        "!{banner}.hidden && {banner}.textContent.startsWith('pg_stat_statements, pg_stat_database cannot be read') && {banner}.children.length === 1 \
         && {slow} && document.title.startsWith('(!)')"
    );
    browser.until("that the database is away", &away);
    server.start_again();
    // What was not known stays a gap.
    browser.until("lines that go on", &format!("{banner}.hidden && {drawn} > {before} && document.title === 'candlefish'"));
    assert_gap(&mut browser);
    running.stop();
    browser.until("that the monitor is away", &format!("!{banner}.hidden && {banner}.textContent.includes('what is shown is old')"));
    let again = WORDS.map(|word| match word {
        "URL" => url.as_str(),
        "127.0.0.1:0" => page.trim_start_matches("http://"),
        word => word,
    });
    running = Running::start(&case, &again);
    browser.until("the monitor again", &format!("{banner}.hidden && {drawn} >= 1"));
    running.stop();
}
