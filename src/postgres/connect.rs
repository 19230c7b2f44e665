//! One connection, made and described: what went wrong is said in one sentence, with a hint.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::CertificateError;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode as Attempt, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::model::{Failure, Name};
use crate::postgres::local_socket::LocalSocket;
use crate::postgres::{Address, CONNECT_TIMEOUT, LOCAL_STACK, SslMode, connector, tls};

/// Connects; the connection's task ends with its client. The error is a [`Failure`] whose code is one of `target_unreachable`,
/// `wrong_password`, `no_database`, `permission_denied`, `too_many_connections`, `target_not_ready`, `not_postgresql`, `tls_failed`.
pub async fn connect(address: &Address) -> Result<Client> {
    set_up(connect_bare(address).await?, address).await
}

/// The half of a connection that moves bytes; it must be polled for its client to get anywhere.
type Wire = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Connects, without the address's settings of the session.
async fn connect_bare(address: &Address) -> Result<Client> {
    let connector = connector(address)?;
    let limit = address.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    // tokio-postgres limits only the making of the socket; a server may also accept and then be silent.
    let hosts = u32::try_from(address.config.get_hosts().len()).unwrap_or(1);
    match tokio::time::timeout(limit * hosts, attempts(address, &connector)).await {
        Ok(Ok((client, wire))) => {
            address.is_postgresql();
            spawn(wire);
            Ok(client)
        }
        Ok(Err(error)) => Err(describe(&error, address, limit).into()),
        Err(_) => Err(unreachable(address, format!("no answer within {limit:?}")).into()),
    }
}

/// The settings of the session that the address asks for.
async fn set_up(client: Client, address: &Address) -> Result<Client> {
    if let Some(sql) = settings(address) {
        client.batch_execute(&sql).await.context("set up the session")?;
    }
    Ok(client)
}

/// `SET …` for each setting that the address asks for; none when it asks for none.
pub fn settings(address: &Address) -> Option<String> {
    let set = |(name, value): &(String, String)| format!("SET {name} TO '{}'", value.replace('\'', "''"));
    let text: Vec<String> = address.session.iter().map(set).collect();
    (!text.is_empty()).then(|| text.join("; "))
}

/// True when the connection broke or could not be made, so that the same may succeed on a new one.
pub fn is_transient(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>()) {
        // A failed handshake also has an io::Error, and will fail again.
        return !is_tls(error);
    }
    let Some(refusal) = error.as_db_error() else { return false };
    match refusal.code() {
        // PgBouncer says this of everything, also of a server that it lost.
        code if *code == SqlState::PROTOCOL_VIOLATION => {
            ["server", "query_wait_timeout"].iter().any(|word| refusal.message().contains(word))
        }
        code => code.code().starts_with("08") || TRANSIENT.contains(code),
    }
}

/// True for an error, or a failure made of one, after which the same work may succeed: the connection broke or could not be made, the server is
/// coming or going, or two transactions stood in each other's way.
pub fn is_passing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
            return is_transient(error) || error.code().is_some_and(|code| is_passing_state(code.code()));
        }
        let failure = cause.downcast_ref::<Failure>();
        failure.is_some_and(|failure| PASSING.contains(&failure.code) || failure.sqlstate.as_deref().is_some_and(is_passing_state))
    })
}

/// Codes of failures that a new connection can heal.
const PASSING: [&str; 4] = ["target_unreachable", "target_not_ready", "too_many_connections", "connection_lost"];

fn is_passing_state(code: &str) -> bool {
    // A deadlock and a serialization failure are over when one of the two gives way.
    code.starts_with("08") || ["40001", "40P01"].contains(&code) || TRANSIENT.iter().any(|state| state.code() == code)
}

const TRANSIENT: [SqlState; 5] = [
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::IDLE_SESSION_TIMEOUT,
];

/// As libpq: `prefer` goes on without TLS where TLS fails, `allow` turns to TLS where the server insists.
async fn attempts(address: &Address, connector: &MakeRustlsConnect) -> Result<(Client, Wire), tokio_postgres::Error> {
    let (first, second) = match address.tls.mode {
        _ if address.is_local_socket() => (Attempt::Disable, None),
        SslMode::Disable => (Attempt::Disable, None),
        SslMode::Allow => (Attempt::Disable, Some(Attempt::Require)),
        SslMode::Prefer => (Attempt::Prefer, Some(Attempt::Disable)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Attempt::Require, None),
    };
    let refused = match attempt(&address.config, first, connector).await {
        Ok(halves) => return Ok(halves),
        Err(error) => error,
    };
    let is_refused = |error: &tokio_postgres::Error| error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    match second {
        Some(second) if is_refused(&refused) || is_tls(&refused) => match attempt(&address.config, second, connector).await {
            Ok(halves) => Ok(halves),
            // Of two refusals the one that says more.
            Err(error) if error.as_db_error().is_some() && !is_refused(&error) => Err(error),
            Err(error) if is_tls(&refused) => Err(error),
            Err(_) => Err(refused),
        },
        _ => Err(refused),
    }
}

/// The path of the one local socket that an address names, where nothing else has to be tried.
fn one_local_socket(address: &Address) -> Option<PathBuf> {
    let config = &address.config;
    match (config.get_hosts(), config.get_ports(), config.get_target_session_attrs()) {
        ([Host::Unix(folder)], ports, TargetSessionAttrs::Any) if config.get_hostaddrs().is_empty() => {
            Some(folder.join(format!(".s.PGSQL.{}", ports.first().copied().unwrap_or(5432))))
        }
        _ => None,
    }
}

/// The same for a load test, where a wake too many a statement would be measured as the server's: see [`LocalSocket`].
pub async fn connect_lean(address: &Address, alone: bool) -> Result<Client> {
    let Some(path) = one_local_socket(address) else { return connect_bare(address).await };
    let limit = address.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    let connecting = async {
        let socket = LocalSocket::connect(&path, alone).await.map_err(|error| describe_io(&error, true, address, limit))?;
        address.config.connect_raw(socket, NoTls).await.map_err(|error| describe(&error, address, limit))
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(Ok((client, connection))) => {
            spawn(Box::pin(connection));
            Ok(client)
        }
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(unreachable(address, format!("no answer within {limit:?}")).into()),
    }
}

async fn attempt(config: &Config, mode: Attempt, connector: &MakeRustlsConnect) -> Result<(Client, Wire), tokio_postgres::Error> {
    let mut config = config.clone();
    config.ssl_mode(mode);
    let (client, connection) = config.connect(connector.clone()).await?;
    Ok((client, Box::pin(connection)))
}

/// A client, and the task that is its connection.
pub type Connected = (Client, JoinHandle<()>);

/// For pools: one connection without a limit of its own and without the address's session settings, and the bare error.
/// [`describe`] says it to a person.
pub async fn open(address: &Address, connector: &MakeRustlsConnect) -> Result<Connected, tokio_postgres::Error> {
    let (client, wire) = attempts(address, connector).await?;
    Ok((client, spawn(wire)))
}

fn spawn(wire: Wire) -> JoinHandle<()> {
    tokio::spawn(async move {
        // The client's own calls report what broke the connection.
        let _ = wire.await;
    })
}

/// tokio-postgres keeps its kinds to itself; its words are the only sign.
fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

/// True when the other end closed the connection while it was made, as a server does that shuts down.
fn is_hung_up(error: &tokio_postgres::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&cause.kind()))
}

/// Why no connection came about, for a person.
pub fn describe(error: &tokio_postgres::Error, address: &Address, limit: Duration) -> Failure {
    if let Some(refusal) = error.as_db_error() {
        address.is_postgresql();
        return describe_refusal(refusal, address);
    }
    if address.is_known() && (error.is_closed() || is_hung_up(error)) {
        return unreachable(address, "it takes the connection and hangs up".to_string());
    }
    if is_tls(error) {
        return describe_tls(error, address);
    }
    let cause = error.source();
    if let Some(io) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        return describe_io(io, error.to_string().starts_with("error connecting"), address, limit);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if cause == "password missing" => {
            let message = format!("{} asks for a password of user {:?}, and none is given", at(address), address.user());
            Failure::new("wrong_password", message).hint("Give it with PGPASSWORD, in ~/.pgpass, or in the address.")
        }
        Some(cause) if error.to_string() == "authentication error" => {
            Failure::new("wrong_password", format!("{} and candlefish cannot agree who they are: {cause}", at(address)))
        }
        cause if error.is_closed() || error.to_string().contains("from server") => not_postgresql(address, cause),
        cause => unreachable(address, cause.unwrap_or_else(|| error.to_string())),
    }
}

fn describe_refusal(refusal: &tokio_postgres::error::DbError, address: &Address) -> Failure {
    let code = refusal.code();
    let said = refusal.message();
    let failure = match code {
        code if *code == SqlState::INVALID_PASSWORD || said == PGBOUNCERS_REFUSAL => {
            let given = address.parameters.origin("password").map_or(String::new(), |origin| format!(" (from {origin})"));
            Failure::new("wrong_password", format!("{} refuses the password of user {:?}{given}", at(address), address.user()))
                .hint("Check the user and the password; a password in a URL must be percent-encoded.")
        }
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Failure::new("wrong_password", format!("{} does not let user {:?} in: {said}", at(address), address.user()))
                .hint("Check the user's name, and the server's pg_hba.conf for this host, database and sslmode.")
        }
        // PgBouncer has its own words for it.
        code if *code == SqlState::INVALID_CATALOG_NAME || said.starts_with("no such database") => {
            Failure::new("no_database", format!("there is no database {:?} on {}", address.database(), address.server()))
                .hint("Name another database, or create it: createdb, or `candlefish migrate --create-db`.")
        }
        &SqlState::TOO_MANY_CONNECTIONS => Failure::new("too_many_connections", format!("{} has no connection free: {said}", at(address)))
            .hint("Try again when others have left, or raise max_connections."),
        &SqlState::CANNOT_CONNECT_NOW => {
            Failure::new("target_not_ready", format!("{} is not ready: {said}", at(address))).hint("Try again in a moment.")
        }
        &SqlState::INSUFFICIENT_PRIVILEGE => Failure::new("permission_denied", format!("{} refuses: {said}", at(address))).hint(format!(
            "Ask for the right: GRANT CONNECT ON DATABASE {} TO {}",
            Name::new(address.database()),
            Name::new(address.user())
        )),
        _ if said.starts_with("unsupported startup parameter") => Failure::new(
            "target_refused",
            format!("{} refuses: {said}", at(address)),
        )
        .hint("It is a pooler, whose sessions set nothing: leave options=… out of its address, and PGOPTIONS; or go to PostgreSQL itself."),
        _ => Failure::new("target_refused", format!("{} refuses: {said}", at(address))),
    };
    failure.sqlstate(code.code())
}

/// PgBouncer's words for a wrong password, with the code of a protocol's violation.
const PGBOUNCERS_REFUSAL: &str = "SASL authentication failed";

fn describe_tls(error: &tokio_postgres::Error, address: &Address) -> Failure {
    let cause = error.source();
    let said = cause.map(ToString::to_string).unwrap_or_default();
    let rustls = cause
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (message, hint) = match rustls {
        _ if said == "server does not support TLS" => (
            format!("{} has no TLS, and sslmode is {}", at(address), address.tls.mode),
            "Turn ssl on at the server, or accept a connection that can be listened to, with sslmode=disable.",
        ),
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => (
            format!("the certificate of {} is signed by no authority that is trusted here", at(address)),
            "Name its authority with sslrootcert=FILE, or encrypt without checking with sslmode=require.",
        ),
        Some(rustls::Error::InvalidCertificate(error)) if tls::is_authority(error) => (
            format!("the certificate of {} is self-signed and not trusted here", at(address)),
            "Name the certificate itself with sslrootcert=FILE, or encrypt without checking with sslmode=require.",
        ),
        Some(rustls::Error::InvalidCertificate(error)) if tls::is_wrong_name(error) => (
            format!("the certificate of {} is for another name", at(address)),
            "Use a name that stands among the certificate's subject alternative names, or check only its authority with sslmode=verify-ca.",
        ),
        Some(rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            (format!("the certificate of {} has expired", at(address)), "Renew it.")
        }
        _ => (format!("TLS with {} failed: {said}", at(address)), "Check the server's certificate, and sslmode, sslrootcert and sslcert."),
    };
    Failure::new("tls_failed", message).hint(hint)
}

fn describe_io(error: &io::Error, connecting: bool, address: &Address, limit: Duration) -> Failure {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, PermissionDenied, TimedOut, UnexpectedEof};
    match error.kind() {
        ConnectionRefused => unreachable(address, "nothing listens there".to_string()),
        NotFound if address.is_local_socket() => unreachable(address, "there is no such socket".to_string()),
        TimedOut => unreachable(address, format!("no answer within {limit:?}")),
        PermissionDenied if error.raw_os_error().is_none() => Failure::new("target_refused", format!("{}: {error}", at(address))),
        UnexpectedEof | ConnectionReset if !connecting => not_postgresql(address, None),
        _ if error.to_string().starts_with("failed to lookup") => unreachable(address, "that host is not known".to_string()),
        _ => unreachable(address, error.to_string()),
    }
}

fn unreachable(address: &Address, why: String) -> Failure {
    let hint = match address.origin.as_str() {
        LOCAL_STACK => "It is the local stack's: `candlefish stack up` starts what is not running.".to_string(),
        origin => format!("The address came from {origin}: is the server running, and are host and port right?"),
    };
    Failure::new("target_unreachable", format!("{} cannot be reached at {}: {why}", address.expected, address.server())).hint(hint)
}

fn not_postgresql(address: &Address, why: Option<String>) -> Failure {
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    Failure::new("not_postgresql", format!("what answers at {} hangs up or does not speak PostgreSQL's protocol{why}", address.server()))
        .hint(format!("The address came from {}: is the port right?", address.origin))
}

fn at(address: &Address) -> String {
    format!("{} at {}", address.expected, address.server())
}
