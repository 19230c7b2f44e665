//! `candlefish cache` and `candlefish pgbouncer`, as an operator calls them, beside an application that runs.

use std::fs;
use std::time::Duration;

use candlefish::postgres::Address;
use candlefish::registry::queries;
use candlefish::store::{Source, Store, StoreConfig};
use serde_json::json;

use super::cache::settled;
use super::run;
use crate::support::{Case, Database, addresses, query};

const USER: &str = "75736572-7300-8000-8000-000000000001";

fn registry() -> (Database, Case) {
    let database = Database::fresh();
    let case = Case::new("an operator").database(&database);
    case.run("schema apply --mapping registry --to {url}").exit(0);
    database.execute(&format!(
        "INSERT INTO services (id, name, port, group_name, status) VALUES (1, 'api', 80, 'core', 'stopped'), (2, 'web', 81, 'core', 'stopped'); \
         INSERT INTO users (id, username, email, password_hash) VALUES ('{USER}', 'ada', 'ada@example.org', 'secret')"
    ));
    fs::write(case.dir().join("candlefish.toml"), format!("[cache]\nprefix = 'it:{}'\n", database.name)).unwrap();
    (database, case)
}

#[test]
fn an_operator_sees_what_is_kept_and_makes_it_go() {
    let (database, case) = registry();
    let at = "--to {url} --redis {redis}";
    run(async {
        let mut config = StoreConfig::new(Address::parse(&database.url(), "the test").unwrap()).redis(addresses().redis_url());
        config.namespace = format!("it:{}", database.name);
        config.l2_deadline = Duration::from_millis(200);
        let store = Store::open(config).await.unwrap();
        settled(&store).await;
        let (service, profile) = (store.declare(queries::SERVICE).unwrap(), store.declare(queries::PROFILE).unwrap());
        let user: candlefish::model::Uuid = USER.parse().unwrap();
        let load = async || {
            for id in [1_i64, 2] {
                store.fetch(&service, &[&id]).await.unwrap();
            }
            store.fetch(&profile, &[&user]).await.unwrap();
        };
        load().await;
        let key = store.explain(&service, &[&1_i64], &Default::default()).await.unwrap().key;

        let explained = case.run(&format!("cache {at} explain service 1 --json")).exit(0).json();
        let explanation = &explained["explanation"];
        assert_eq!(
            (&explanation["key"], &explanation["served_by"], &explanation["in_l2"]),
            (&json!(key), &json!("l2"), &json!(true)),
            "{explained:#}"
        );
        assert_eq!(explanation["tags"], json!([{ "tag": "service:1", "state": "current" }]));
        case.run(&format!("cache {at} explain service 1")).exit(0).stdout_has("service:1").stdout_has("l2: Redis has it");
        case.run("cache explain").exit(0).stdout_has("health metrics").stdout_has("session:{1} sessions");
        case.run(&format!("cache {at} explain servise 1")).exit(2).stderr_has("no query");
        case.run(&format!("cache {at} explain service x")).exit(2);
        // A write is no answer that anybody keeps.
        let write = case.run_args(
            format!("cache {at} explain")
                .replace("{url}", &database.url())
                .replace("{redis}", &addresses().redis_url())
                .split(' ')
                .chain(["set status", "7", "running"]),
        );
        let write = write.exit(0).stdout_has("a write never goes through a cache");
        assert!(!write.stdout.contains("fresh for") && !write.stdout.contains("answers by itself"), "{write}");

        // Changed behind the caches' back.
        let change =
            |name: &str| database.execute(&format!("UPDATE services SET name = '{name}' || id; UPDATE users SET username = '{name}'"));
        let name = async |id: i64| store.fetch(&service, &[&id]).await.unwrap().rows().row(0).named::<&str>("name").unwrap().to_string();
        change("a");
        let told = case.run(&format!("cache {at} invalidate service 1 --json")).exit(0).json();
        let told = &told["invalidated"];
        assert_eq!(
            (&told["instances"], &told["acknowledged"], &told["invalidation"]),
            (&json!(1), &json!(1), &json!("applied")),
            "{told:#}"
        );
        assert_eq!((name(1).await, name(2).await), ("a1".to_string(), "web".to_string()));
        case.run(&format!("cache {at} invalidate user {USER}")).exit(0).stdout_has("1 of 1 live instances acknowledged");
        let fetched = store.fetch(&profile, &[&user]).await.unwrap();
        assert_eq!(fetched.rows().row(0).named::<&str>("username").unwrap(), "a");
        let nobody = Case::new("nobody").database(&database);
        fs::write(nobody.dir().join("candlefish.toml"), format!("[cache]\nprefix = \"it:{}:nobody\"\n", database.name)).unwrap();
        nobody.run(&format!("cache {at} invalidate service 1")).exit(0).stdout_has("no instance is alive");
        for wrong in ["", "a\nb\x1b[31m"] {
            case.run_args(["cache", "invalidate", "--tag", wrong]).exit(2).stderr_has("invalid value");
        }
        case.run(&format!("cache {at} invalidate --tag service:2")).exit(0);
        assert_eq!(name(2).await, "a2");
        change("b");
        case.run(&format!("cache {at} invalidate --pattern service:[0-9]")).exit(0).stdout_has("tags like service:[0-9]: 2");
        assert_eq!((name(1).await, name(2).await), ("b1".to_string(), "b2".to_string()));
        case.run(&format!("cache {at} invalidate")).exit(2);
        // Flags stand where one looks for them: behind the task too.
        case.run(&format!("cache invalidate {at}")).exit(2).stderr_has("nothing is named that is to be forgotten");
        let both = case.run(&format!("cache invalidate user {USER} --tag service:2 {at} --json")).exit(0).json();
        assert!(both["invalidated"]["tags"].as_array().unwrap().contains(&json!("service:2")), "{both:#}");
        case.run(&format!("cache explain service 1 {at}")).exit(0);
        let wrong = format!("redis://:wrong@127.0.0.1:{}", addresses().redis_port);
        case.run(&format!("cache flush --yes --to {{url}} --redis {wrong}")).exit(2).stderr_has("Redis refuses the user or the password");
        case.run(&format!("cache {at} invalidate user seven")).exit(2);

        change("c");
        case.run(&format!("cache {at} flush")).exit(2).stderr_has("kept answers in Redis").stderr_has("--yes");
        assert_eq!(name(1).await, "b1");
        let flushed = case.run(&format!("cache {at} flush --yes --json")).exit(0).json();
        assert!(flushed["flushed"]["keys"].as_u64().unwrap() >= 3, "{flushed:#}");
        assert_eq!((name(1).await, store.fetch(&service, &[&2_i64]).await.unwrap().source), ("c1".to_string(), Source::Database));

        // Redis is gone: the database takes the news, and every instance reads it there.
        load().await;
        change("d");
        let refused = case.run("cache --to {url} --redis redis://127.0.0.1:1 invalidate service 1 --json").exit(0).json();
        assert_eq!(refused["invalidated"]["invalidation"], "pending", "{refused:#}");
        let until = std::time::Instant::now() + Duration::from_secs(2);
        while name(1).await != "d1" {
            assert!(std::time::Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        case.run("cache --to {url} --redis redis://127.0.0.1:1 flush --yes").exit(2).stderr_has("Redis does not answer");
    });
}

#[test]
fn a_configuration_of_pgbouncer_starts_and_lets_in_by_scram_alone() {
    let database = Database::fresh();
    let case = Case::new("a pooler").database(&database);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let written = case.run(&format!("pgbouncer config --out pool --port {port} --to {{url}} --json")).exit(0).json();
    let sizes = &written["sizes"];
    let size = |name: &str| sizes[name].as_u64().unwrap();
    assert!(size("reserved") + size("direct") + size("max_db_connections") <= size("max_connections"), "{sizes}");
    let folder = case.dir().join("pool");
    let users = fs::read_to_string(folder.join("userlist.txt")).unwrap();
    assert!(users.contains("\"SCRAM-SHA-256$"), "a secret, not a password");
    let is_root = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0;
    let ini = fs::read_to_string(folder.join("pgbouncer.ini")).unwrap();
    assert!(!ini.contains("\nadmin_users"), "an application does not stop its pooler: {ini}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.join("userlist.txt")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Again is nothing new; another port is, and is not written over what is there.
    let again = case.run(&format!("pgbouncer config --out pool --port {port} --to {{url}}")).exit(0);
    again.stderr_has(if is_root { "chown postgres" } else { "next: pgbouncer -d" });
    let admin = case.run(&format!("pgbouncer config --out admin --admin --port {port} --to {{url}}")).exit(0);
    assert!(fs::read_to_string(case.dir().join("admin/pgbouncer.ini")).unwrap().contains("\nadmin_users = "), "{admin}");
    case.run("pgbouncer config --out pool --port 6432 --to {url}").exit(2).stderr_has("+ listen_port = 6432").stderr_has("--force");
    assert!(fs::read_to_string(folder.join("pgbouncer.ini")).unwrap().contains(&format!("listen_port = {port}")));

    // As whoever runs it: it refuses root.
    let nobody = 65_534;
    let mut command = std::process::Command::new("pgbouncer");
    command.arg("-q").arg(folder.join("pgbouncer.ini"));
    if is_root {
        std::os::unix::process::CommandExt::uid(&mut command, nobody);
        for path in [case.dir().to_path_buf(), folder.clone(), folder.join("pgbouncer.ini"), folder.join("userlist.txt")] {
            std::os::unix::fs::chown(path, Some(nobody), None).unwrap();
        }
    }
    let mut child = command.spawn().unwrap();
    let url = database.url().replace(&addresses().postgres_port.to_string(), &port.to_string());
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let answer = loop {
        match query(&url, "SELECT current_database()") {
            Ok(rows) => break rows,
            Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
        }
    };
    let wrong = query(&url.replacen('@', "x@", 1), "SELECT 1");
    let console_url = url.replace(&database.name, "pgbouncer");
    let console = query(&console_url, "SHOW POOLS");
    let route = run(candlefish::postgres::route(&Address::parse(&url, "the test").unwrap()));
    let stopped = query(&console_url, "SHUTDOWN");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer, std::slice::from_ref(&database.name));
    assert!(wrong.is_err() && console.is_ok(), "{wrong:?} {console:?}");
    // Who may look finds out all that the data layer asks; and stops nothing.
    assert!(matches!(&route, Ok(candlefish::postgres::Route::Pooled { version: Some(_), .. })), "{route:?}");
    assert!(stopped.is_err(), "{stopped:?}");
}
