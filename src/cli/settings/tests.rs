//! Who wins: one test a rule of the contract.

use std::fs;
use std::path::Path;

use super::*;

/// A folder with files, an environment, and what they resolve to.
struct Machine {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HOME".to_string(), folder.path().display().to_string());
        Machine { folder, variables: vec![home] }
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        self
    }

    fn settings(&self) -> Settings {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Settings::load(Environment::new(self.folder.path(), variables), None).unwrap()
    }

    fn resolve(&self, flag: Option<&str>) -> Result<(Target, Vec<String>)> {
        let mut warnings = Vec::new();
        Ok((self.settings().find_target(flag, &mut warnings)?, warnings))
    }

    fn address(&self, flag: Option<&str>) -> Address {
        match self.resolve(flag).unwrap().0 {
            Target::Address(address) => *address,
            Target::LocalStack => panic!("the local stack"),
        }
    }

    /// `postgresql://app@db:5432/shop (from DATABASE_URL)`
    fn shown(&self, flag: Option<&str>) -> String {
        let address = self.address(flag);
        format!("{address} (from {})", address.origin)
    }

    fn password(&self, flag: Option<&str>) -> Option<String> {
        self.address(flag).config.get_password().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) {}

fn every_source() -> Machine {
    Machine::new()
        .var("DATABASE_URL", "postgresql://b@database-url/b")
        .var("PG_HOST", "pg-host")
        .var("PG_USER", "c")
        .var("PG_DATABASE", "c")
        .var("PGHOST", "pghost")
        .var("PGUSER", "d")
        .var("PGDATABASE", "d")
        .file("candlefish.toml", "target = 'postgresql://e@file/e'")
}

fn without(mut machine: Machine, names: &[&str]) -> Machine {
    machine.variables.retain(|(name, _)| !names.contains(&name.as_str()));
    machine
}

#[test]
fn the_first_source_that_names_a_server_wins() {
    let machine = every_source();
    assert_eq!(machine.shown(Some("postgresql://a@flag/a")), "postgresql://a@flag:5432/a (from --to)");
    assert_eq!(machine.shown(None), "postgresql://b@database-url:5432/b (from DATABASE_URL)");
    let machine = without(machine, &["DATABASE_URL"]);
    assert_eq!(machine.shown(None), "postgresql://c@pg-host:5432/c (from PG_HOST)");
    let machine = without(machine, &["PG_HOST"]);
    assert_eq!(machine.shown(None), "postgresql://d@pghost:5432/d (from PGHOST)");
    let machine = without(machine, &["PGHOST"]);
    assert_eq!(machine.shown(None), "postgresql://e@file:5432/e (from candlefish.toml)");
}

#[test]
fn nobody_named_a_server_so_it_is_the_local_stack() {
    let machine = Machine::new().var("PGDATABASE", "shop").var("PGUSER", "app").var("PG_PORT", "1").var("PGHOST", "");
    assert!(matches!(machine.resolve(None).unwrap(), (Target::LocalStack, warnings) if warnings.is_empty()));
}

#[test]
fn a_url_without_a_host_names_no_server_and_says_so() {
    let machine = Machine::new().var("DATABASE_URL", "postgresql:///shop").var("PGHOST", "db").var("PGUSER", "app");
    assert_eq!(machine.shown(None), "postgresql://app@db:5432/app (from PGHOST)");
    assert_eq!(machine.resolve(None).unwrap().1, ["DATABASE_URL names no host and is passed over"]);
}

#[test]
fn a_flag_is_never_passed_over() {
    let error = every_source().resolve(Some("postgresql:///shop")).unwrap_err();
    assert_eq!(format!("{error:#}"), "read --to: the address names no host");
}

#[test]
fn what_is_left_out_comes_from_libpq_but_never_host_port_or_database() {
    let machine = Machine::new()
        .var("PGHOST", "other")
        .var("PGHOSTADDR", "10.0.0.1")
        .var("PGPORT", "6543")
        .var("PGDATABASE", "other")
        .var("PGUSER", "app")
        .var("PGPASSWORD", "s3cret")
        .var("PGSSLMODE", "require")
        .var("PGCONNECT_TIMEOUT", "3");
    let address = machine.address(Some("postgresql://db"));
    assert_eq!(address.shown(), "postgresql://app@db:5432/app");
    assert!(address.config.get_hostaddrs().is_empty());
    assert_eq!(address.config.get_password(), Some(b"s3cret".as_slice()));
    assert_eq!(address.tls.mode, crate::postgres::SslMode::Require);
    assert_eq!(address.config.get_connect_timeout(), Some(&std::time::Duration::from_secs(3)));
}

#[test]
fn what_an_address_says_itself_stays() {
    let machine = Machine::new().var("PGUSER", "x").var("PGPASSWORD", "x").var("PGSSLMODE", "disable").var("PGAPPNAME", "mine");
    let address = machine.address(Some("postgresql://app:s3cret@db/shop?sslmode=verify-full"));
    assert_eq!(address.shown(), "postgresql://app@db:5432/shop");
    assert_eq!(address.config.get_password(), Some(b"s3cret".as_slice()));
    assert_eq!(address.tls.mode, crate::postgres::SslMode::VerifyFull);
    assert_eq!(address.config.get_application_name(), Some("mine"));
}

#[test]
fn the_strategys_names_belong_together() {
    let machine = Machine::new()
        .var("PG_HOST", "db")
        .var("PG_PORT", "6432")
        .var("PG_DATABASE", "shop")
        .var("PG_USER", "app")
        .var("PG_PASSWORD", "p@ss/w:rd")
        .var("PGPASSWORD", "other");
    assert_eq!(machine.shown(None), "postgresql://app@db:6432/shop (from PG_HOST)");
    assert_eq!(machine.password(None).as_deref(), Some("p@ss/w:rd"));
}

#[test]
fn sockets_and_addresses_of_libpq() {
    let socket = Machine::new().var("PGHOST", "/run/pg").var("PGUSER", "app").var("PGDATABASE", "shop");
    assert_eq!(socket.shown(None), "postgresql://app@/shop?host=/run/pg (from PGHOST)");
    let address = Machine::new().var("PGHOSTADDR", "10.0.0.1").var("PGUSER", "app");
    assert_eq!(address.shown(None), "postgresql://app@10.0.0.1:5432/app (from PGHOSTADDR)");
}

const SERVICES: &str = "[prod]\nhost=service-host\nport=6000\ndbname=shop\nuser=app\npassword=s3cret\nsslmode=require\n";

#[test]
fn a_service_names_a_server_and_comes_before_libpqs_other_variables() {
    let machine = Machine::new().file(".pg_service.conf", SERVICES).var("PGSERVICE", "prod").var("PGHOST", "pghost").var("PGUSER", "x");
    assert_eq!(machine.shown(None), "postgresql://app@service-host:6000/shop (from PGSERVICE)");
    assert_eq!(machine.password(None).as_deref(), Some("s3cret"));
}

#[test]
fn an_address_may_name_a_service() {
    let machine = Machine::new().file("services", SERVICES).var("PGSERVICEFILE", "services");
    assert_eq!(machine.shown(Some("service=prod dbname=other")), "postgresql://app@service-host:6000/other (from --to)");
}

#[test]
fn the_environments_service_gives_another_address_no_place() {
    let machine = Machine::new().file(".pg_service.conf", SERVICES).var("PGSERVICE", "prod");
    let address = machine.address(Some("postgresql://db"));
    assert_eq!(address.shown(), "postgresql://app@db:5432/app");
    assert_eq!(address.tls.mode, crate::postgres::SslMode::Require);
}

#[test]
fn a_service_that_is_not_there() {
    let error = Machine::new().var("PGSERVICE", "prod").resolve(None).unwrap_err();
    assert_eq!(error.root_cause().downcast_ref::<Failure>().unwrap().code, "no_service");
}

#[test]
fn the_password_file_is_asked_last() {
    let machine = Machine::new().file(".pgpass", "# ours\ndb:5432:shop:app:from-file\n*:*:*:*:any\n");
    assert_eq!(machine.password(Some("postgresql://app@db/shop")).as_deref(), Some("from-file"));
    assert_eq!(machine.password(Some("postgresql://app@elsewhere/shop")).as_deref(), Some("any"));
    assert_eq!(machine.password(Some("postgresql://app:own@db/shop")).as_deref(), Some("own"));
    let origin = machine.address(Some("postgresql://app@db/shop")).parameters.origin("password").unwrap().to_string();
    assert!(origin.ends_with("/.pgpass line 2"), "{origin}");
    let machine = machine.var("PGPASSWORD", "from-variable");
    assert_eq!(machine.password(Some("postgresql://app@db/shop")).as_deref(), Some("from-variable"));
}

#[test]
fn another_password_file_can_be_named() {
    let machine = Machine::new().file("mine", "*:*:*:*:x").var("PGPASSFILE", "mine");
    assert_eq!(machine.password(Some("postgresql://app@db/shop")).as_deref(), Some("x"));
}

#[test]
#[cfg(unix)]
fn a_password_file_that_others_can_read_is_passed_over_with_a_warning() {
    let machine = Machine::new().file(".pgpass", "*:*:*:*:x");
    set_mode(&machine.folder.path().join(".pgpass"), 0o640);
    assert_eq!(machine.password(Some("postgresql://app@db/shop")), None);
    let warnings = machine.resolve(Some("postgresql://app@db/shop")).unwrap().1;
    assert!(warnings[0].ends_with(".pgpass is passed over: others may read it (chmod 600 makes it private)"), "{warnings:?}");
}

#[test]
fn a_root_certificate_at_home_is_used_as_libpq_uses_it() {
    let machine = Machine::new();
    fs::create_dir(machine.folder.path().join(".postgresql")).unwrap();
    let machine = machine.file(".postgresql/root.crt", "");
    let address = machine.address(Some("postgresql://db"));
    assert!(matches!(address.tls.authorities, crate::postgres::Authorities::File(_)));
    let address = machine.address(Some("postgresql://db?sslrootcert=system"));
    assert_eq!(address.tls.authorities, crate::postgres::Authorities::System);
}

#[test]
fn what_stands_around_one_server_is_none_of_anothers() {
    let machine = Machine::new()
        .var("DATABASE_URL", "postgresql://app@db/shop")
        .var("POOLER_URL", "postgresql://app@bouncer:6432/shop")
        .file("candlefish.toml", "target = 'postgresql://app@old/shop'");
    let other = |machine: &Machine, flag| machine.settings().other_server(&machine.address(flag)).map(|own| own.origin);
    assert_eq!(other(&machine, None), None);
    assert_eq!(other(&machine, Some("postgresql://watcher@db:5432/postgres")), None);
    assert_eq!(other(&machine, Some("postgresql://app@bouncer:6432/shop")), None);
    assert_eq!(other(&machine, Some("postgresql://app@db:5433/shop")), Some("DATABASE_URL".to_string()));
    assert_eq!(other(&machine, Some("postgresql://app@old/shop")), Some("DATABASE_URL".to_string()));
    let machine = Machine::new().file("candlefish.toml", "target = 'postgresql://app@localhost/shop'");
    assert_eq!(other(&machine, Some("postgresql://app@127.0.0.1/shop")), None);
    assert_eq!(other(&machine, Some("postgresql://app@db/shop")), Some("candlefish.toml".to_string()));
    // Nobody says what it goes with: it goes with what is asked about.
    assert_eq!(other(&Machine::new().var("REDIS_URL", "redis://cache"), Some("postgresql://app@db/shop")), None);
}

#[test]
fn redis_and_pooler() {
    let machine = Machine::new()
        .var("REDIS_URL", "redis://from-url")
        .var("REDIS_HOST", "from-host")
        .var("POOLER_URL", "postgresql://app@bouncer:6432/shop")
        .file("candlefish.toml", "redis = 'redis://from-file'\npooler = 'postgresql://app@file:6432/shop'");
    let redis = |machine: &Machine, flag| machine.settings().redis(flag).unwrap().unwrap().shown();
    let pooler = |machine: &Machine, flag| machine.settings().find_pooler(flag, &mut Vec::new()).unwrap().unwrap().shown();
    assert_eq!(redis(&machine, Some("redis://from-flag")), "redis://from-flag");
    assert_eq!(redis(&machine, None), "redis://from-url");
    assert_eq!(pooler(&machine, Some("postgresql://app@flag:6432/shop")), "postgresql://app@flag:6432/shop");
    assert_eq!(pooler(&machine, None), "postgresql://app@bouncer:6432/shop");
    let machine = without(machine, &["REDIS_URL", "POOLER_URL"]);
    assert_eq!(redis(&machine, None), "redis://from-host:6379");
    assert_eq!(pooler(&machine, None), "postgresql://app@file:6432/shop");
    let machine = without(machine, &["REDIS_HOST"]);
    assert_eq!(redis(&machine, None), "redis://from-file");
    assert!(Machine::new().settings().redis(None).unwrap().is_none());
}

#[test]
fn no_source_leaks_what_it_cannot_read() {
    let hostile = "postgresql://app:hunter2/@db/shop";
    let cases = [
        (Machine::new().var("DATABASE_URL", hostile), None, "read DATABASE_URL: "),
        (Machine::new(), Some(hostile), "read --to: "),
        (Machine::new().file("candlefish.toml", &format!("target = '{hostile}'")), None, "read candlefish.toml: "),
    ];
    for (machine, flag, start) in cases {
        let error = machine.resolve(flag).unwrap_err();
        let text = format!("{error:#} {error:?}");
        assert!(text.starts_with(start) && !text.contains("hunter2"), "{text}");
    }
    let environment = Machine::new().var("PGPASSWORD", "hunter2").settings().environment;
    assert!(!format!("{environment:?}").contains("hunter2"));
}
