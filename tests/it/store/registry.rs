//! The registry's queries against the registry's own tables.

use std::time::SystemTime;

use candlefish::model::{ParamType, QueryKind, Uuid};
use candlefish::registry::queries;
use candlefish::store::{Source, Store, ToSql};

use super::cache::{cached, settled};
use super::run;
use crate::support::{Case, Database};

const USER: &str = "75736572-7300-8000-8000-000000000001";

#[test]
fn every_query_runs_and_what_a_change_makes_old_is_asked_again() {
    let database = Database::fresh();
    Case::new("the registry's tables").database(&database).run("schema apply --mapping registry --to {url}").exit(0);
    database.execute(&format!(
        "INSERT INTO services (id, name, port, group_name, status) VALUES (1, 'api', 80, 'core', 'stopped'); \
         INSERT INTO users (id, username, email, password_hash) VALUES ('{USER}', 'ada', 'ada@example.org', 'secret'); \
         INSERT INTO sessions (id, user_id, token_hash, is_active) VALUES ('s', '{USER}', 'hash', true)"
    ));
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        for query in queries::QUERIES {
            let declared = store.declare(query).unwrap();
            let now = SystemTime::now();
            let user: Uuid = USER.parse().unwrap();
            let value = |param: &ParamType| -> Box<dyn ToSql + Sync> {
                match param {
                    ParamType::Int8 => Box::new(1_i64),
                    ParamType::Int4 => Box::new(80_i32),
                    ParamType::Bool => Box::new(true),
                    ParamType::Timestamptz => Box::new(now),
                    ParamType::Uuid => Box::new(user),
                    _ => Box::new("hash"),
                }
            };
            let values: Vec<Box<dyn ToSql + Sync>> = query.params.iter().map(value).collect();
            let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(Box::as_ref).collect();
            match query.kind {
                QueryKind::Write => assert_eq!(store.write(&declared, &params).await.unwrap().affected, 1, "{}", query.name),
                _ => drop(store.fetch(&declared, &params).await.unwrap_or_else(|error| panic!("{}: {error}", query.name))),
            }
        }
        // Logged out: the next check knows.
        let (session, service) = (store.declare(queries::SESSION).unwrap(), store.declare(queries::SERVICE).unwrap());
        assert!(store.fetch(&session, &[&"hash"]).await.unwrap().rows().is_empty());
        let set_status = store.declare(queries::SET_STATUS).unwrap();
        store.fetch(&service, &[&1_i64]).await.unwrap();
        store.write(&set_status, &[&1_i64, &"running"]).await.unwrap();
        let fetched = store.fetch(&service, &[&1_i64]).await.unwrap();
        assert_eq!((fetched.source, fetched.rows().row(0).named::<&str>("status").unwrap()), (Source::Database, "running"));
        // A probe that finds what the last one found leaves the lists alone; one that does not, does not.
        let services = store.declare(queries::SERVICES).unwrap();
        let (probe, steady) = (store.declare(queries::RECORD_PROBE).unwrap(), store.declare(queries::RECORD_STEADY_PROBE).unwrap());
        let health = async || {
            let fetched = store.fetch(&services, &[]).await.unwrap();
            (fetched.source, fetched.rows().row(0).named::<&str>("health_status").unwrap().to_string())
        };
        store.write(&probe, &[&1_i64, &"probe", &7_i32, &200_i32, &true]).await.unwrap();
        assert_eq!(health().await, (Source::Database, "healthy".to_string()));
        let found = async |healthy: bool| store.write(&steady, &[&1_i64, &"probe", &7_i32, &200_i32, &healthy]).await.unwrap().affected;
        // The word of the probe before may come back by Redis after the load, and cost one more: not each time.
        let mut kept = false;
        for _ in 0..5 {
            assert_eq!(found(true).await, 1);
            kept |= health().await.0 != Source::Database;
        }
        assert!(kept, "a probe that finds what the last one found makes the list old each time");
        assert_eq!(found(false).await, 0);
        assert_eq!(database.value("SELECT count(*) FROM health_metrics WHERE NOT healthy"), "0");
        store.write(&probe, &[&1_i64, &"probe", &7_i32, &500_i32, &false]).await.unwrap();
        assert_eq!(health().await, (Source::Database, "unhealthy".to_string()));
        // And a user whose rights were changed elsewhere, by whatever spelling.
        let tags = queries::user_tags(USER.to_uppercase().parse().unwrap());
        assert_eq!(tags, [format!("user:{USER}"), "sessions".to_string()]);
    });
}
