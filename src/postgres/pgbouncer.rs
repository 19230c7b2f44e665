//! A configuration of PgBouncer for one target: transaction mode, SCRAM, and sizes that add up against the server's `max_connections`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::types::Type;

use crate::model::Failure;
use crate::postgres::{Address, SslMode, connect};

/// What the sizes stand on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolerFacts {
    pub max_connections: u32,
    /// Connections that PostgreSQL keeps for superusers and other reserved roles.
    pub reserved: u32,
    /// The role's SCRAM secret, or its password where the secret cannot be read: what userlist.txt holds.
    secret: String,
}

/// Connections, counted so that the server always has some left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PoolerSizes {
    pub max_connections: u32,
    /// Left for superusers.
    pub reserved: u32,
    /// Left for what goes past the pooler: migrations, psql, monitors.
    pub direct: u32,
    pub default_pool_size: u32,
    pub reserve_pool_size: u32,
    pub min_pool_size: u32,
    /// The most that the pooler opens: `default_pool_size` and `reserve_pool_size`.
    pub max_db_connections: u32,
    pub max_client_conn: u32,
}

/// The two files.
pub struct PoolerFiles {
    pub ini: String,
    pub users: String,
}

/// Instances of an application that may come, each with a pool of 20.
const INSTANCES: u32 = 50;

impl PoolerFacts {
    /// Asks PostgreSQL itself.
    pub async fn read(address: &Address) -> Result<Self> {
        let client = connect(address).await?;
        let row = client.query_typed(include_str!("queries/pgbouncer_facts.sql"), &[]).await.context("read the server's sizes")?;
        let row = row.first().context("the server said nothing of its sizes")?;
        let number = |name: &str| -> Result<u32> { Ok(u32::try_from(row.try_get::<_, i32>(name)?)?) };
        let secret = match row.try_get::<_, String>("may_read_secrets")?.as_str() {
            "yes" => {
                let user = address.user();
                let rows = client.query_typed(include_str!("queries/pgbouncer_secret.sql"), &[(&user, Type::TEXT)]).await;
                let rows = rows.context("read the role's secret")?;
                rows.first().map(|row| row.try_get::<_, Option<String>>("secret")).transpose()?.flatten()
            }
            _ => None,
        };
        let secret = secret.filter(|secret| secret.starts_with("SCRAM-SHA-256$"));
        // An md5 secret would not let the pooler in where the server asks for SCRAM; the password itself does.
        let password = || address.config.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
        let Some(secret) = secret.or_else(password) else {
            bail!(
                Failure::new(
                    "no_secret",
                    format!("neither the SCRAM secret of role {:?} can be read nor its password is known", address.user())
                )
                .hint("Give the password (PGPASSWORD, ~/.pgpass), or connect as a superuser whose own secret is SCRAM.")
            );
        };
        Ok(PoolerFacts { max_connections: number("max_connections")?, reserved: number("reserved")?, secret })
    }

    /// None when the server has too few connections to pool any.
    pub fn sizes(&self) -> Option<PoolerSizes> {
        let free = self.max_connections.checked_sub(self.reserved)?;
        // A tenth, and at least five, go past the pooler.
        let direct = (free / 10).max(5);
        let most = free.checked_sub(direct).filter(|most| *most >= 2)?.min(25);
        let reserve = (most / 5).max(1);
        let size = most - reserve;
        Some(PoolerSizes {
            max_connections: self.max_connections,
            reserved: self.reserved,
            direct,
            default_pool_size: size,
            reserve_pool_size: reserve,
            min_pool_size: size.min(5),
            max_db_connections: most,
            max_client_conn: INSTANCES * 20,
        })
    }

    /// The files, as they stand in `folder`. `version`: of the PgBouncer that will read them. `admin`: the role may stop it, too.
    pub fn files(
        &self,
        address: &Address,
        sizes: &PoolerSizes,
        port: u16,
        version: (u32, u32),
        folder: &Path,
        admin: bool,
    ) -> Result<PoolerFiles> {
        let (host, server_port) = address.endpoints().next().context("the address names no host")?;
        for text in [address.user(), address.database(), &host] {
            // 1.18 reads no quoted names.
            if !text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:/".contains(c)) {
                bail!(Failure::new("bad_name", format!("{text:?} cannot be written in PgBouncer's configuration")));
            }
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let PoolerSizes { max_connections, reserved, direct, default_pool_size, reserve_pool_size, min_pool_size, .. } = *sizes;
        let (most, clients) = (sizes.max_db_connections, sizes.max_client_conn);
        let prepared = match version >= (1, 21) {
            true => {
                "; Named prepared statements, carried from server to server: the data layer then plans each query once.\nmax_prepared_statements = 200\n"
            }
            false => "; From 1.21 on also: max_prepared_statements = 200 (an older PgBouncer does not start with it).\n",
        };
        let tls = match address.tls.mode {
            SslMode::Disable => String::new(),
            mode => {
                let authorities = address.parameters.get("sslrootcert").filter(|file| *file != "system");
                let file = authorities.map_or(String::new(), |file| format!("server_tls_ca_file = {file}\n"));
                format!("; To PostgreSQL as this target is reached.\nserver_tls_sslmode = {mode}\n{file}")
            }
        };
        let (user, database) = (address.user(), address.database());
        let ini = format!(
            "; PgBouncer in front of {shown}, by `candlefish pgbouncer config`.
;
; {max_connections} connections of PostgreSQL = {reserved} kept for superusers + {direct} for what goes past the pooler (migrations, psql, monitors)
; + at most {most} through it{rest}.

[databases]
{database} = host='{host}' port={server_port} dbname='{database}'

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pidfile = {pid}
logfile = {log}

; A server belongs to a client for one transaction. Nothing of a session lasts: no SET, no LISTEN, no advisory locks, no temporary tables.
pool_mode = transaction

; As PostgreSQL itself asks (md5 cannot log in to a server that keeps SCRAM secrets).
auth_type = scram-sha-256
auth_file = {users}
{administers}; May read SHOW POOLS, SHOW STATS: what `candlefish stats pools` and `monitor` ask.
stats_users = {user}

; {instances} instances with a pool of 20 each. It needs as many descriptors: ulimit -n {descriptors}.
max_client_conn = {clients}
; {default_pool_size} servers, {reserve_pool_size} more for whoever has waited 3 s: {most}, which is also the limit for all together.
default_pool_size = {default_pool_size}
reserve_pool_size = {reserve_pool_size}
reserve_pool_timeout = 3
min_pool_size = {min_pool_size}
max_db_connections = {most}
max_user_connections = {most}

; A client that waits longer than its own patience is told so, instead of piling up.
query_wait_timeout = 30
; PostgreSQL that is back is used a second later, not fifteen.
server_login_retry = 1
server_lifetime = 3600
server_idle_timeout = 600
; Sessions leave nothing behind in transaction mode; DISCARD ALL would only cost a round trip.
server_reset_query_always = 0
; What JDBC sends. A timeout that a client wants it sets in its transaction: PgBouncer refuses it at the start.
ignore_startup_parameters = extra_float_digits
{prepared}{tls}",
            shown = address.shown(),
            administers = match admin {
                true => format!("; May PAUSE, RELOAD, KILL and SHUTDOWN.\nadmin_users = {user}\n"),
                false => "; An application's login has no business stopping the pooler: nobody administers it by its console (--admin).\n".to_string(),
            },
            rest = match max_connections - reserved - direct - most {
                0 => String::new(),
                rest => format!(" + {rest} to spare"),
            },
            pid = at("pgbouncer.pid"),
            log = at("pgbouncer.log"),
            users = at("userlist.txt"),
            instances = INSTANCES,
            descriptors = clients + most + 100,
        );
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        Ok(PoolerFiles { ini, users: format!("{} {}\n", quoted(user), quoted(&self.secret)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(max_connections: u32, reserved: u32) -> Option<PoolerSizes> {
        PoolerFacts { max_connections, reserved, secret: String::new() }.sizes()
    }

    #[test]
    fn sizes_add_up_whatever_the_server_has() {
        for max in 0..2000 {
            for reserved in [0, 3, 13] {
                let Some(sizes) = sizes(max, reserved) else { continue };
                assert!(sizes.reserved + sizes.direct + sizes.max_db_connections <= max, "{sizes:?}");
                assert_eq!(sizes.default_pool_size + sizes.reserve_pool_size, sizes.max_db_connections);
                assert!(sizes.default_pool_size >= 1 && sizes.min_pool_size <= sizes.default_pool_size, "{sizes:?}");
            }
        }
        let usual = sizes(100, 3).unwrap();
        assert_eq!((usual.default_pool_size, usual.reserve_pool_size, usual.max_db_connections, usual.direct), (20, 5, 25, 9));
        assert_eq!(sizes(8, 3), None);
    }
}
