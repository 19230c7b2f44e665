//! What watching costs, where the server has much to tell.

use candlefish::postgres::{Address, Observer};
use candlefish::stats::{Around, Look, OVERVIEW, Options, SHELF};
use candlefish::store::FleetPlace;
use rustix::time::{ClockId, clock_gettime};

use super::Running;
use crate::server::{Server, machine};
use crate::support::{Case, addresses};

/// Some 3,600 statements, their texts long as those that programs write; 400 tables with an index more than they need.
const MUCH: &str = "CREATE EXTENSION pg_stat_statements; SET pg_stat_statements.track = 'all';
    DO $$ DECLARE found int; BEGIN
        FOR a IN 1..60 LOOP FOR b IN 1..60 LOOP
            EXECUTE 'SELECT ' || repeat('1+', a) || '1 > 0 AND ' || repeat('1+', b) || '1 > 0 /* ' || repeat('a long text ', 250) || '*/';
        END LOOP; END LOOP;
        FOR t IN 1..400 LOOP
            EXECUTE format('CREATE TABLE t_%s (a int PRIMARY KEY, b text)', t);
            EXECUTE format('CREATE INDEX ON t_%s (b)', t);
            EXECUTE format('CREATE INDEX ON t_%s (b, a)', t);
        END LOOP;
    END $$";

fn crowded() -> Server {
    let server = Server::start(
        &machine(),
        &["shared_preload_libraries = 'pg_stat_statements'", "max_locks_per_transaction = 1000", "pg_stat_statements.max = 5000"],
    );
    server.rows(MUCH);
    let statements: usize = server.rows("SELECT count(*) FROM pg_stat_statements")[0].parse().unwrap();
    assert!(statements > 3500, "{statements}");
    server
}

/// Time of this thread alone: what other tests do meanwhile is not in it.
fn thread_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}

#[test]
fn a_statistic_costs_its_client_little() {
    let server = crowded();
    let address = Address::parse(&server.url(), "a test").unwrap();
    let fleet = FleetPlace { url: addresses().redis_url(), origin: "a test".to_string(), namespace: "candlefish".to_string() };
    let pooler = Address::parse(&addresses().pooler_url(), "a test").unwrap();
    let options = Options { min_ms: 0.0, ..Options::default() };
    // The connection and all that it reads are this thread's work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let observer = Observer::connect(&address, "a test").await.unwrap();
        for stat in SHELF.into_iter().chain([OVERVIEW]) {
            let mut least = f64::INFINITY;
            for _ in 0..3 {
                let before = thread_ms();
                let around = match stat.name {
                    "pools" | "cache" => Around::look(Some(&pooler), Some(&fleet)).await,
                    _ => Around::default(),
                };
                let sheet = stat.sheet(&Look { observer: &observer, options: &options, around: &around }).await.unwrap();
                assert!(sheet.is_available(), "{sheet:#?}");
                least = least.min(thread_ms() - before);
            }
            assert!(least < 50.0, "{} costs {least:.1} ms of client time", stat.name);
        }
    });
}

#[test]
fn the_loop_is_small_and_idle() {
    let server = crowded();
    let case = Case::new("cost").env("REDIS_URL", &addresses().redis_url());
    let url = server.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "100ms", "--json", "-d", &url]);
    let page = running.page();
    let pid = running.process();
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    // User and system time, in ticks of 10 ms.
    let cpu_ms = || {
        let stat = of("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    };
    let mut samples = |count: u32| (0..count).for_each(|_| drop(running.next()));
    samples(5);
    let before = cpu_ms();
    samples(20);
    drop(super::get(&format!("{page}/metrics"), &[]));
    let each = (cpu_ms() - before) as f64 / 20.0;
    let peak = super::peak_kilobytes(pid);
    // One every 15 s.
    assert!(each / 15_000.0 < 0.01, "a sample takes {each:.1} ms of a core");
    assert!(peak < 50_000, "{peak} kB");
    running.stop();
}
