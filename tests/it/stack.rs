//! The private local servers: up twice, killed, half made, taken down.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Case, Database, Output};

/// A stack of one test, destroyed with it.
struct Private {
    home: PathBuf,
    _folder: TempDir,
}

impl Private {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Private { home: folder.path().join("home"), _folder: folder }
    }

    fn case(&self) -> Case {
        Case::new("a private stack").home(&self.home)
    }

    fn run(&self, line: &str) -> Output {
        self.case().run(line)
    }

    /// pid and port of each server that is up.
    fn servers(&self) -> BTreeMap<String, (u64, u64)> {
        let status = self.run("stack status --json").json();
        let servers = status["servers"].as_array().unwrap().iter().filter(|server| server["up"] == true);
        let numbers = |server: &Value| (server["pid"].as_u64().unwrap(), server["port"].as_u64().unwrap());
        servers.map(|server| (server["name"].as_str().unwrap().to_string(), numbers(server))).collect()
    }

    fn data(&self) -> PathBuf {
        let state: Value = serde_json::from_str(&fs::read_to_string(self.home.join("stack.json")).unwrap()).unwrap();
        PathBuf::from(state["data"].as_str().unwrap())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.run("--quiet stack down --destroy --yes").exit(0);
    }
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn up_twice_is_one_stack_and_down_is_down() {
    let stack = Private::new();
    stack.run("stack status").exit(1).stdout_has("postgres   down");
    stack.run("stack env").exit(2).stderr_has("hint: Start it: candlefish stack up");
    stack.run("stack up").exit(0);
    let servers = stack.servers();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["pgbouncer", "postgres", "redis"]);
    stack.run("stack up").exit(0);
    assert_eq!(stack.servers(), servers);
    assert_eq!(fs::read_to_string(stack.home.join(".gitignore")).unwrap(), "*\n");

    stack.run("stack status").exit(0);
    stack.run("stack down").exit(0);
    stack.run("stack status").exit(1);
    stack.run("stack down").exit(0).stderr_has("nothing was up");

    // Ports are chosen once.
    let ports = |servers: &BTreeMap<String, (u64, u64)>| servers.values().map(|(_, port)| *port).collect::<Vec<_>>();
    stack.run("stack up").exit(0);
    assert_eq!(ports(&stack.servers()), ports(&servers));
}

#[test]
fn two_ups_at_once_are_one_stack() {
    let stack = Private::new();
    let case = stack.case();
    let children: Vec<_> = (0..3).map(|_| case.command().args(["stack", "up", "--json"]).spawn().unwrap()).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let servers = |output: &std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["servers"].clone();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(servers(output), servers(&outputs[0]));
    }
}

#[test]
fn status_says_what_each_server_is_doing() {
    let stack = Private::new();
    stack.run("stack up --only postgres").exit(0);
    let status = stack.run("stack status --json").exit(1).json();
    let names: Vec<_> = status["servers"].as_array().unwrap().iter().map(|server| (&server["name"], &server["up"])).collect();
    assert_eq!(names, [(&"postgres".into(), &true.into()), (&"redis".into(), &false.into()), (&"pgbouncer".into(), &false.into())]);
    assert_eq!(status["servers"][1]["pid"], Value::Null);
    assert_eq!(status["servers"][1]["version"], Value::Null);
    assert_eq!(status["schema_version"], 1);
}

#[test]
fn env_points_programs_at_the_servers() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    let env = stack.run("stack env").exit(0).stdout;
    let script = format!("{env}\nexec \"$0\" \"$DATABASE_URL\" -XAtc 'show port'");
    let port = |variable: &str| {
        let psql = Command::new("sh").args(["-c", &script.replace("$DATABASE_URL", variable), "psql"]).output().unwrap();
        (String::from_utf8(psql.stdout).unwrap().trim().to_string(), String::from_utf8(psql.stderr).unwrap())
    };
    let postgres = stack.servers()["postgres"].1.to_string();
    // The pooler's connections end at the same server.
    assert_eq!(port("$DATABASE_URL"), (postgres.clone(), String::new()));
    assert_eq!(port("$POOLER_URL"), (postgres, String::new()));
    for name in ["REDIS_URL", "PG_HOST", "PG_PORT", "PG_DATABASE", "PG_USER", "PG_PASSWORD", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"] {
        assert!(env.contains(&format!("export {name}='")), "{name}");
    }
    let pooler = format!("export PG_PORT='{}'", stack.servers()["pgbouncer"].1);
    assert!(env.contains(&pooler), "PG_* is what an application wants: the pooler");
}

#[test]
fn the_servers_are_sized_for_load_tests() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    let show = |name: &str| stack.case().run_args(["psql", "-XAtc", &format!("SHOW {name}")]).exit(0).stdout.trim().to_string();
    assert_eq!(show("max_connections"), "300");
    assert_eq!(show("shared_preload_libraries"), "pg_stat_statements");
    assert_eq!(show("fsync"), "on");
    assert_eq!(show("max_wal_size"), "4GB");
    assert_eq!(show("server_encoding"), "UTF8");
    let pgbouncer = fs::read_to_string(stack.data().join("pgbouncer/pgbouncer.ini")).unwrap();
    for line in ["pool_mode = transaction", "max_client_conn = 2000", "default_pool_size = 20", "auth_type = scram-sha-256"] {
        assert!(pgbouncer.contains(line), "{line}");
    }
    let redis = fs::read_to_string(stack.data().join("redis/redis.conf")).unwrap();
    assert!(redis.contains("maxmemory 1gb\nmaxmemory-policy allkeys-lru\n"));
}

#[test]
fn what_was_killed_is_healed_by_the_next_up() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    stack.case().run_args(["psql", "-qc", "CREATE TABLE kept (a int); INSERT INTO kept VALUES (42)"]).exit(0);
    for killed in [&["postgres"][..], &["redis"], &["pgbouncer"], &["postgres", "redis", "pgbouncer"]] {
        let before = stack.servers();
        for name in killed {
            kill(before[*name].0);
        }
        stack.run("stack status").exit(1);
        stack.run("stack up").exit(0);
        let after = stack.servers();
        for (name, (pid, port)) in &after {
            assert_eq!(*port, before[name].1, "the port of {name} stays");
            assert_eq!(*pid != before[name].0, killed.contains(&name.as_str()), "{name} after {killed:?} died");
        }
        assert_eq!(stack.case().run_args(["psql", "-XAtc", "SELECT a FROM kept"]).exit(0).stdout, "42\n");
    }
}

#[test]
fn a_backend_that_outlives_its_postmaster_is_no_obstacle() {
    let stack = Private::new();
    stack.run("stack up --only postgres").exit(0);
    let case = stack.case();
    let mut busy = case.command();
    let loop_forever = "SET application_name = 'busy'; DO $$ BEGIN LOOP END LOOP; END $$";
    let mut busy = busy.args(["psql", "-qc", loop_forever]).spawn().unwrap();
    let is_busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'busy' AND state = 'active'";
    while stack.case().run_args(["psql", "-XAtc", is_busy]).exit(0).stdout != "1\n" {}
    kill(stack.servers()["postgres"].0);
    stack.run("stack up --only postgres").exit(0);
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn stale_pid_files_and_half_made_data_heal() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    stack.run("stack down").exit(0);

    // After a reboot the numbers belong to others: here, to this test.
    let data = stack.data();
    let stale = std::process::id().to_string();
    fs::write(data.join("postgres/postmaster.pid"), format!("{stale}\n{}\n1\n5432\n", data.display())).unwrap();
    fs::write(data.join("redis/redis.pid"), &stale).unwrap();
    fs::write(data.join("pgbouncer/pgbouncer.pid"), &stale).unwrap();
    stack.run("stack up").exit(0);
    stack.run("stack down").exit(0);

    // An initdb that was killed, and a folder that lost its heart.
    fs::create_dir(data.join("postgres.making")).unwrap();
    fs::remove_file(data.join("postgres/global/pg_control")).unwrap();
    stack.run("stack up").exit(0).stderr_has("set aside as");
    assert!(data.join("postgres.set-aside-1").exists());
    assert!(!data.join("postgres.making").exists());
    stack.case().run_args(["psql", "-XAtc", "SELECT 1"]).exit(0);
}

/// What a kill has left is gone with the stack, as what the servers take away themselves.
#[test]
fn down_leaves_no_pid_file_of_a_server_that_was_killed() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    let servers = stack.servers();
    servers.values().for_each(|(pid, _)| kill(*pid));
    while !stack.servers().is_empty() {}
    stack.run("stack down").exit(0);
    let data = stack.data();
    for file in ["postgres/postmaster.pid", "redis/redis.pid", "pgbouncer/pgbouncer.pid"] {
        assert!(!data.join(file).exists(), "{file}");
    }
    stack.run("stack up").exit(0);
}

/// A smart shutdown (TERM) waits for every client, and a pooler's servers stay: nobody gets in, and it never ends.
#[test]
fn a_postgresql_that_waits_for_its_clients_to_stop_is_up_again() {
    let stack = Private::new();
    stack.run("stack up").exit(0);
    let pooler = stack.run("stack env").exit(0).stdout;
    let pooler = pooler.lines().find_map(|line| line.strip_prefix("export POOLER_URL='")).unwrap().trim_end_matches('\'').to_string();
    crate::support::query(&pooler, "SELECT 1").unwrap();
    let before = stack.servers();
    assert!(Command::new("kill").args(["-TERM", &before["postgres"].0.to_string()]).status().unwrap().success());
    while stack.servers().contains_key("postgres") {}
    let started = std::time::Instant::now();
    stack.run("stack up").exit(0).stderr_has("waits for its clients");
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    let after = stack.servers();
    assert!(after.len() == 3 && after["postgres"].0 != before["postgres"].0, "{before:?} {after:?}");
    assert_eq!(crate::support::query(&pooler, "SELECT 2").unwrap(), ["2"]);
}

/// A PostgreSQL that was stopped in order is missed as one that has died; where the stack was taken down, nothing is.
#[test]
fn who_watches_the_stack_hears_of_a_postgresql_that_was_stopped() {
    let stack = Private::new();
    stack.run("stack up --only postgres,redis").exit(0);
    let pid = stack.servers()["postgres"].0;
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    while stack.data().join("postgres/postmaster.pid").exists() || stack.servers().contains_key("postgres") {}
    let sample = stack.run("monitor --once --ignore-for --json").exit(1).json();
    let alerts = sample["alerts"].as_array().unwrap();
    let missed: Vec<_> = alerts.iter().filter(|alert| alert["name"] == "source_unreadable" && alert["state"] == "firing").collect();
    assert!(missed.iter().any(|alert| alert["labels"]["source"] == "pg_stat_database"), "{sample:#}");
    stack.run("stats").exit(2).stderr_has("does not answer");
    stack.run("stack down").exit(0);
    stack.run("monitor --once").exit(2).stderr_has("is not up");
}

#[test]
fn where_the_servers_cannot_go_the_data_does_not_either() {
    let stack = Private::new();
    let closed = stack.home.parent().unwrap();
    fs::set_permissions(closed, Permissions::from_mode(0o700)).unwrap();
    let up = stack.run("stack up --only postgres").exit(0);
    if fs::metadata(closed).unwrap().uid() != 0 {
        // The servers run as the user, who can be where the user can be.
        assert_eq!(stack.data(), stack.home.canonicalize().unwrap().join("data"));
        return;
    }
    up.stderr_has("the data goes to /var/lib/candlefish/");
    assert!(stack.data().starts_with("/var/lib/candlefish"));
    assert_ne!(fs::metadata(stack.data()).unwrap().uid(), 0);
    for secret in ["postgres.password", "redis.password"] {
        assert_eq!(fs::metadata(stack.data().join(secret)).unwrap().mode() & 0o777, 0o600, "{secret}");
    }
    stack.run("stack down").exit(0);
    stack.run("stack up --only postgres").exit(0);
    stack.case().run_args(["psql", "-XAtc", "SELECT 1"]).exit(0);
}

#[test]
fn a_port_that_a_stranger_took_is_given_up() {
    let stack = Private::new();
    stack.run("stack up --only redis").exit(0);
    let port = stack.servers()["redis"].1;
    stack.run("stack down").exit(0);
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    stack.run("stack up --only redis").exit(0).stderr_has("is taken by another program");
    assert_ne!(stack.servers()["redis"].1, port);
}

#[test]
fn psql_opens_on_the_target_that_is_named() {
    let database = Database::fresh();
    let elsewhere = Case::new("psql").env("DATABASE_URL", &database.url()).env("PGPORT", "1").env("PGDATABASE", "postgres");
    let name = elsewhere.run_args(["psql", "-XAtc", "SELECT current_database()"]).exit(0).stdout;
    assert_eq!(name.trim(), database.name);
}

#[test]
fn destroying_asks_and_leaves_nothing() {
    let stack = Private::new();
    stack.run("stack up --only postgres").exit(0);
    let data = stack.data();
    stack.run("stack down --destroy").exit(2).stderr_has("nothing was destroyed");
    assert!(stack.servers().contains_key("postgres"));
    stack.run("stack down --destroy --yes").exit(0);
    assert!(!stack.home.exists());
    assert!(!data.exists());
}

#[test]
fn programs_that_are_missing_are_named_with_their_packages() {
    let stack = Private::new();
    let empty = tempfile::tempdir().unwrap();
    let pg_bin = empty.path().display().to_string();
    let missing = stack.case().run_args(["stack", "up", "--json", "--pg-bin", &pg_bin]).exit(2);
    assert_eq!(missing.json()["error"]["code"], "no_postgres");
    assert!(!Path::new(&stack.home).exists(), "nothing is made before everything is found");
}
