//! Connecting to a real PostgreSQL: TLS as libpq means it, and one clear sentence for what goes wrong.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use candlefish::model::Failure;
use candlefish::model::Query;
use candlefish::postgres::{Address, cancel, connect, is_transient};
use candlefish::store::{Layers, Store, StoreConfig};

const HBA: &str = "local all all trust
hostssl tlsonly all all scram-sha-256
host tlsonly all all reject
hostnossl plainonly all all scram-sha-256
host plainonly all all reject
host all all all scram-sha-256
";

const ROLES: &str = "create role app login password 'hunter2';
create role few login password 'hunter2' connection limit 0;
create database shop; create database tlsonly; create database plainonly; create database closed;
revoke connect on database closed from public;
";

/// A PostgreSQL of this test's own, with certificates; stopped when it goes.
struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("cf-tls").tempdir().unwrap();
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { folder, bin: newest_bin(), port };
        make_certificates(server.folder.path());
        if is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(server.path("")));
        }
        server.pg("initdb", &["-D", &server.path("data"), "-U", "admin", "-A", "trust", "-N"]);
        fs::write(server.path("data/pg_hba.conf"), HBA).unwrap();
        server.configure("signed");
        server.pg_ctl("start");
        let admin = format!("host={} port={port} user=admin dbname=postgres", server.path(""));
        let client = connect(&Address::parse(&admin, "a test").unwrap()).await.unwrap();
        for statement in ROLES.split_inclusive(';') {
            client.batch_execute(statement).await.unwrap();
        }
        server
    }

    /// `signed` by the test's authority for `localhost`, `selfsigned`, or `off`.
    fn configure(&self, certificate: &str) {
        let tls = match certificate {
            "off" => "ssl = off".to_string(),
            name => format!("ssl = on\nssl_cert_file = '{0}.crt'\nssl_key_file = '{0}.key'", self.path(name)),
        };
        let place = format!("port = {}\nlisten_addresses = 'localhost'\nunix_socket_directories = '{}'", self.port, self.path(""));
        fs::write(self.path("data/postgresql.auto.conf"), format!("{place}\nfsync = off\n{tls}\n")).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn pg_ctl(&self, action: &str) {
        self.pg("pg_ctl", &["-w", "-D", &self.path("data"), "-l", &self.path("log"), "-m", "fast", action]);
    }

    fn pg(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        run(command.args(arguments).current_dir(self.folder.path()));
    }

    fn address(&self, rest: &str) -> Address {
        Address::parse(&format!("host=localhost port={} user=app password=hunter2 dbname=shop {rest}", self.port), "a test").unwrap()
    }

    /// Whether the connection is encrypted, as the server sees it.
    async fn encrypted(&self, rest: &str) -> Result<bool, Failure> {
        let client = connect(&self.address(rest)).await.map_err(|error| error.downcast::<Failure>().unwrap())?;
        let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await.unwrap();
        Ok(row.get(0))
    }

    async fn refused(&self, rest: &str) -> (&'static str, Option<String>, String) {
        let failure = self.encrypted(rest).await.unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        (failure.code, failure.sqlstate, failure.message.replace(&self.port.to_string(), "PORT"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to stop when it is gone with a failed start.
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.pg_ctl("stop");
        }
    }
}

/// `ca.crt`, an authority's own; `signed`, by it for localhost; `selfsigned`, by nobody else: `.key` and `.crt` each.
pub fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let names = "-addext subjectAltName=DNS:localhost";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority"));
    openssl(&format!("req -x509 {key} -keyout selfsigned.key -out selfsigned.crt -days 2 -subj /CN=localhost {names}"));
    openssl(&format!("req {key} -keyout signed.key -out signed.csr -subj /CN=localhost {names}"));
    openssl("x509 -req -in signed.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out signed.crt");
}

fn run(command: &mut Command) {
    // pg_ctl's server would keep a pipe open for as long as it lives.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn newest_bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let newest = versions.filter(|folder| folder.join("initdb").exists()).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest.or_else(|| std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())).expect("PostgreSQL is installed")
}

#[tokio::test]
async fn tls_as_libpq_means_it() {
    let server = Server::start().await;
    let ca = format!("sslrootcert={}", server.path("ca.crt"));

    assert_eq!(server.encrypted("").await, Ok(true));
    assert_eq!(server.encrypted("sslmode=disable").await, Ok(false));
    assert_eq!(server.encrypted("sslmode=allow").await, Ok(false));
    assert_eq!(server.encrypted("sslmode=require channel_binding=require").await, Ok(true));
    assert_eq!(server.encrypted(&format!("sslmode=verify-full {ca}")).await, Ok(true));
    // What the server insists on, either way.
    assert_eq!(server.encrypted("dbname=tlsonly sslmode=allow").await, Ok(true));
    assert_eq!(server.encrypted("dbname=plainonly sslmode=prefer").await, Ok(false));
    assert_eq!(server.refused("dbname=plainonly sslmode=require").await.0, "wrong_password");
    // A socket has no need of it.
    assert_eq!(server.encrypted(&format!("host={} sslmode=require", server.path(""))).await, Ok(false));

    // Another name than the certificate's: the name counts for verify-full alone.
    let other_name = format!("host=127.0.0.1 {ca}");
    assert_eq!(server.encrypted(&format!("{other_name} sslmode=verify-ca")).await, Ok(true));
    let (code, _, message) = server.refused(&format!("{other_name} sslmode=verify-full")).await;
    assert_eq!((code, message.as_str()), ("tls_failed", "the certificate of PostgreSQL at 127.0.0.1:PORT is for another name"));

    // An authority that did not sign it; under `require` too once it is named, and `prefer` then goes without.
    let wrong = format!("sslrootcert={}", server.path("selfsigned.crt"));
    let untrusted = "the certificate of PostgreSQL at localhost:PORT is signed by no authority that is trusted here";
    for mode in ["verify-full", "verify-ca", "require"] {
        let (code, _, message) = server.refused(&format!("sslmode={mode} {wrong}")).await;
        assert_eq!((code, message.as_str()), ("tls_failed", untrusted));
    }
    assert_eq!(server.encrypted(&format!("sslmode=prefer {wrong}")).await, Ok(false));

    // The manual's self-signed certificate, named as its own authority.
    server.configure("selfsigned");
    server.pg_ctl("restart");
    assert_eq!(server.encrypted(&format!("sslmode=verify-full {wrong}")).await, Ok(true));
    assert_eq!(server.encrypted("sslmode=require").await, Ok(true));
    assert_eq!(server.refused(&format!("host=127.0.0.1 sslmode=verify-full {wrong}")).await.0, "tls_failed");
    assert_eq!(server.refused(&format!("sslmode=verify-full {ca}")).await.0, "tls_failed");

    server.configure("off");
    server.pg_ctl("restart");
    assert_eq!(server.encrypted("").await, Ok(false));
    let (code, _, message) = server.refused("sslmode=require").await;
    assert_eq!((code, message.as_str()), ("tls_failed", "PostgreSQL at localhost:PORT has no TLS, and sslmode is require"));

    what_goes_wrong_is_one_sentence(&server).await;
}

async fn what_goes_wrong_is_one_sentence(server: &Server) {
    let cases = [
        (
            "password=hunter22",
            "wrong_password",
            Some("28P01"),
            "PostgreSQL at localhost:PORT refuses the password of user \"app\" (from a test)",
        ),
        ("password=''", "wrong_password", None, "PostgreSQL at localhost:PORT asks for a password of user \"app\", and none is given"),
        (
            "user=nobody",
            "wrong_password",
            Some("28P01"),
            "PostgreSQL at localhost:PORT refuses the password of user \"nobody\" (from a test)",
        ),
        ("dbname=none", "no_database", Some("3D000"), "there is no database \"none\" on localhost:PORT"),
        (
            "user=few",
            "too_many_connections",
            Some("53300"),
            "PostgreSQL at localhost:PORT has no connection free: too many connections for role \"few\"",
        ),
        (
            "dbname=closed",
            "permission_denied",
            Some("42501"),
            "PostgreSQL at localhost:PORT refuses: permission denied for database \"closed\"",
        ),
        ("host=/nowhere", "target_unreachable", None, "PostgreSQL cannot be reached at /nowhere/.s.PGSQL.PORT: there is no such socket"),
        ("host=127.0.0.1 port=1", "target_unreachable", None, "PostgreSQL cannot be reached at 127.0.0.1:1: nothing listens there"),
        ("host=name.invalid", "target_unreachable", None, "PostgreSQL cannot be reached at name.invalid:PORT: that host is not known"),
    ];
    for (rest, code, sqlstate, message) in cases {
        assert_eq!(server.refused(rest).await, (code, sqlstate.map(str::to_string), message.to_string()), "{rest}");
    }
}

#[tokio::test]
async fn what_is_no_postgresql() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = |rest: &str| Address::parse(&format!("host=127.0.0.1 user=app dbname=shop {rest}"), "a test").unwrap();
    let error = connect(&address(&format!("port={port} connect_timeout=1"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("PostgreSQL cannot be reached at 127.0.0.1:{port}: no answer within 1s"));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hangs_up = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
        }
    });
    let error = connect(&address(&format!("port={port}"))).await.unwrap_err();
    hangs_up.abort();
    assert_eq!(error.downcast::<Failure>().unwrap().code, "not_postgresql");
}

#[tokio::test]
async fn a_session_keeps_its_settings_and_its_end_is_transient() {
    let server = Server::start().await;
    let address = server.address("").with_setting("lock_timeout", "10s").with_setting("timezone", "O'Clock-0").with_database("postgres");
    let client = connect(&address).await.unwrap();
    let shown = |row: tokio_postgres::Row| row.get::<_, String>(0);
    assert_eq!(shown(client.query_one("show lock_timeout", &[]).await.unwrap()), "10s");
    assert_eq!(shown(client.query_one("show application_name", &[]).await.unwrap()), "candlefish");
    assert_eq!(shown(client.query_one("select current_database()::text", &[]).await.unwrap()), "postgres");

    assert!(!is_transient(&client.batch_execute("selec").await.unwrap_err()));
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let other = connect(&server.address("")).await.unwrap();
    other.execute("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    // The first to ask hears the server's reason, the next that the connection is closed.
    assert!(is_transient(&client.batch_execute("select 1").await.unwrap_err()));
    assert!(is_transient(&client.batch_execute("select 1").await.unwrap_err()));
}

/// The data layer's own connections: verified and encrypted, and a query that a caller left is cancelled over TLS, not closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_layer_goes_by_tls_and_cancels_by_it() {
    const SSL: Query = Query::read("ssl", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
    const SLEEP: Query = Query::read("sleep", "SELECT 1 FROM pg_sleep(20)", &[]);
    let server = Server::start().await;
    let ca = format!("sslrootcert={}", server.path("ca.crt"));
    for rest in [format!("sslmode=verify-full {ca}"), "sslmode=require".to_string(), "sslmode=disable".to_string()] {
        let mut config = StoreConfig::new(server.address(&rest)).layers(Layers::Pooled);
        (config.pool.min, config.pool.max, config.pool.drain_timeout) = (0, 1, Duration::from_secs(5));
        let store = Store::open(config).await.unwrap();
        let (ssl, sleep) = (store.declare(SSL).unwrap(), store.declare(SLEEP).unwrap());
        let encrypted = store.fetch(&ssl, &[]).await.unwrap().rows().row(0).get::<bool>(0).unwrap();
        assert_eq!(encrypted, !rest.contains("disable"), "{rest}");
        assert!(tokio::time::timeout(Duration::from_millis(200), store.fetch(&sleep, &[])).await.is_err());
        // The one connection there is comes back long before the query's end.
        store.fetch(&ssl, &[]).await.unwrap();
        let status = store.pool().status();
        assert_eq!((status.drained, status.discarded), (1, 0), "{rest}: {status:?}");
    }
    let only = server.address("sslmode=require dbname=tlsonly");
    let client = std::sync::Arc::new(connect(&only).await.unwrap());
    let asking = client.clone();
    let running = tokio::spawn(async move { asking.batch_execute("SELECT pg_sleep(20)").await });
    let other = connect(&only).await.unwrap();
    let sleeping = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND state = 'active'";
    while !other.query_one(sleeping, &[]).await.unwrap().get::<_, bool>(0) {}
    cancel(&client, &only).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("57014"));
    // Another's certificate is no way in, and the error shows no secret.
    let wrong = format!("sslmode=verify-full sslrootcert={}", server.path("selfsigned.crt"));
    let error = Store::open(StoreConfig::new(server.address(&wrong)).layers(Layers::Pooled)).await.err().unwrap();
    assert_eq!(error.downcast_ref::<Failure>().map(|failure| failure.code), Some("tls_failed"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}
