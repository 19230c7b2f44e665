//! Where PostgreSQL's, Redis's and PgBouncer's programs are on this machine.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Result, bail};

use super::Servers;
use super::state::State;
use crate::model::Failure;

/// The programs that were asked for; the others are empty paths that nobody runs.
#[derive(Debug)]
pub struct Binaries {
    /// The folder of initdb, postgres and pg_ctl; psql may be another's.
    pub pg_bin: PathBuf,
    pub redis_server: PathBuf,
    pub pgbouncer: PathBuf,
}

impl Binaries {
    /// Finds every program that is needed, or names the packages of all that are missing at once.
    pub fn find(servers: Servers, pg_bin: Option<&Path>, state: Option<&State>) -> Result<Self> {
        let mut missing = Vec::new();
        let mut program = |needed: bool, names: &[&'static str]| {
            let found = if needed { names.iter().find_map(|name| find_program(name)) } else { None };
            if needed && found.is_none() {
                missing.push(names[0]);
            }
            found.unwrap_or_default()
        };
        // Newer distributions ship Redis's fork, which is the same to us.
        let redis_server = program(servers.redis, &["redis-server", "valkey-server"]);
        let pgbouncer = program(servers.pgbouncer, &["pgbouncer"]);
        let pg_bin = if servers.postgres {
            let data_version = state.and_then(|state| data_version(&state.data));
            // What ran the data before runs it again, while it is there.
            let before = state.and_then(|state| state.pg_bin.as_deref()).filter(|folder| is_server_folder(folder));
            match find_postgres(pg_bin.or(before), data_version)? {
                Some(folder) => folder,
                None => {
                    missing.insert(0, "postgres");
                    PathBuf::new()
                }
            }
        } else {
            PathBuf::new()
        };
        if !missing.is_empty() {
            bail!(missing_programs(&missing));
        }
        Ok(Binaries { pg_bin, redis_server, pgbouncer })
    }

    pub fn pg(&self, program: &str) -> PathBuf {
        self.pg_bin.join(program)
    }
}

/// The psql that fits the stack in `home`, else the newest of the machine.
pub fn psql(home: Option<&Path>) -> Result<PathBuf> {
    if let Some(home) = home
        && let Some(state) = State::load(home)?
        && let Some(folder) = find_postgres(state.pg_bin.as_deref(), data_version(&state.data)).unwrap_or(None)
        && is_program(&folder.join("psql"))
    {
        return Ok(folder.join("psql"));
    }
    match find_program("psql").or_else(|| find_postgres(None, None).unwrap_or(None).map(|folder| folder.join("psql"))) {
        Some(psql) => Ok(psql),
        None => bail!(missing_programs(&["psql"])),
    }
}

/// The major version that a stack's data folder was made by.
pub fn data_version(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("postgres/PG_VERSION")).ok()?.trim().parse().ok()
}

/// The folder of PostgreSQL's programs: the one that was named, else the newest, and always of the data's own version.
fn find_postgres(named: Option<&Path>, data_version: Option<u32>) -> Result<Option<PathBuf>> {
    let folders = match named {
        Some(folder) if is_server_folder(folder) => vec![folder.to_path_buf()],
        Some(folder) => bail!(
            Failure::new("no_postgres", format!("there is no initdb, postgres, pg_ctl and psql in {}", folder.display()))
                .hint("--pg-bin names the folder of PostgreSQL's programs, such as /usr/lib/postgresql/17/bin.")
        ),
        None => server_folders(),
    };
    let mut found: Vec<(u32, PathBuf)> =
        folders.into_iter().filter_map(|folder| Some((major_version(&folder.join("postgres"))?, folder))).collect();
    // Newest first; of one version, the one that was found first.
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let Some(wanted) = data_version else { return Ok(found.into_iter().next().map(|(_, folder)| folder)) };
    let versions: Vec<String> = found.iter().map(|(version, _)| version.to_string()).collect();
    match found.into_iter().find(|(version, _)| *version == wanted) {
        Some((_, folder)) => Ok(Some(folder)),
        None => bail!(
            Failure::new(
                "postgres_version",
                format!(
                    "the stack's data is of PostgreSQL {wanted}, and the machine has {}",
                    if versions.is_empty() { "none".to_string() } else { versions.join(", ") }
                )
            )
            .hint(format!(
                "Install PostgreSQL {wanted} (or name it with --pg-bin), or start afresh: candlefish stack down --destroy --yes"
            ))
        ),
    }
}

/// Every folder that may hold a PostgreSQL server, in the order in which equals are preferred.
fn server_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = path_folders();
    for (parent, below) in [
        ("/usr/lib/postgresql", "bin"),                          // Debian, Ubuntu, SUSE
        ("/usr", "bin"),                                         // PGDG's RPMs: /usr/pgsql-17/bin
        ("/opt/homebrew/opt", "bin"),                            // Homebrew, Apple silicon
        ("/usr/local/opt", "bin"),                               // Homebrew, Intel
        ("/home/linuxbrew/.linuxbrew/opt", "bin"),               // Homebrew, Linux
        ("/Applications/Postgres.app/Contents/Versions", "bin"), // Postgres.app
        ("/usr/libexec", ""),                                    // Alpine: /usr/libexec/postgresql17
    ] {
        let mut children: Vec<PathBuf> =
            fs::read_dir(parent).into_iter().flatten().flatten().map(|child| child.path().join(below)).collect();
        children.sort();
        folders.extend(children);
    }
    folders.retain(|folder| is_server_folder(folder));
    folders
}

fn is_server_folder(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"].iter().all(|name| is_program(&folder.join(name)))
}

fn find_program(name: &str) -> Option<PathBuf> {
    path_folders().into_iter().map(|folder| folder.join(name)).find(|program| is_program(program))
}

/// PATH, and the folders of system programs that an ordinary user's PATH leaves out.
fn path_folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(extra).filter(|folder| folder.is_absolute()).collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// `postgres (PostgreSQL) 15.14 (Debian …)` is 15.
fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn missing_programs(missing: &[&str]) -> Failure {
    let names = missing.iter().map(|name| if *name == "postgres" { "PostgreSQL's server programs" } else { name });
    let verb = if missing.len() == 1 && missing[0] != "postgres" { "is" } else { "are" };
    let message = format!("{} {verb} not on this machine", names.collect::<Vec<_>>().join(", "));
    let exists = |program: &str| find_program(program).is_some();
    Failure::new("missing_programs", message).hint(install_hint(missing, exists))
}

fn install_hint(missing: &[&str], exists: impl Fn(&str) -> bool) -> String {
    let packages = |postgres: &str, psql: &str, redis: &str| {
        let name = |program: &&str| match OsStr::new(program).to_str() {
            Some("postgres") => postgres.to_string(),
            Some("psql") => psql.to_string(),
            Some("redis-server") => redis.to_string(),
            _ => (*program).to_string(),
        };
        missing.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let apt = format!("apt-get install {}", packages("postgresql", "postgresql-client", "redis-server"));
    let dnf = format!("dnf install {}", packages("postgresql-server postgresql-contrib", "postgresql", "redis"));
    let brew = format!("brew install {}", packages("postgresql@17", "libpq", "redis"));
    let only = if missing.contains(&"postgres") { "" } else { " (PostgreSQL alone: candlefish stack up --only postgres)" };
    if exists("apt-get") {
        format!("Install: {apt}{only}")
    } else if exists("dnf") {
        format!("Install: {dnf}{only}")
    } else if exists("brew") {
        format!("Install: {brew}{only}")
    } else {
        format!("Install (Debian, Ubuntu) {apt}, (Fedora, RHEL) {dnf}, or (macOS) {brew}{only}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("no version"), None);
    }

    #[test]
    fn a_hint_names_the_packages_of_the_platform() {
        assert_eq!(
            install_hint(&["postgres", "redis-server"], |program| program == "apt-get"),
            "Install: apt-get install postgresql redis-server"
        );
        assert_eq!(
            install_hint(&["pgbouncer"], |program| program == "brew"),
            "Install: brew install pgbouncer (PostgreSQL alone: candlefish stack up --only postgres)"
        );
    }
}
