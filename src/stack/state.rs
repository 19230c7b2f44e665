//! What a stack chose once and keeps (`stack.json`): its ports, where its data is; and the passwords beside the data.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::account::{self, Account};
use super::{Addresses, Say, ServerName};
use crate::model::Failure;

const FILE: &str = "stack.json";
/// Where data goes that its owner could not reach in the home.
const OUTSIDE: &str = "/var/lib/candlefish";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The home that this was written for: a copied or moved folder is told by it.
    pub home: PathBuf,
    /// Everything that the servers write.
    pub data: PathBuf,
    /// Unix sockets, in a short path: the system cuts at 108 bytes (104 on macOS).
    pub sockets: PathBuf,
    pub ports: Ports,
    /// The folder of PostgreSQL's programs that the data is run by.
    pub pg_bin: Option<PathBuf>,
    /// Brought up, and not taken down since. A server that ends in order takes its pid file with it: that it is missed is known from here.
    #[serde(default)]
    pub brought_up: Vec<ServerName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub postgres: u16,
    pub redis: u16,
    pub pgbouncer: u16,
}

impl State {
    /// The state that was written for this very home.
    pub fn load(home: &Path) -> Result<Option<Self>> {
        Ok(State::load_any(home)?.filter(|state| same_place(&state.home, home)))
    }

    fn load_any(home: &Path) -> Result<Option<Self>> {
        let path = home.join(FILE);
        match fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(state) => Ok(Some(state)),
                Err(_) => bail!(
                    Failure::new("stack_state", format!("{} cannot be read as the state of a stack", path.display()))
                        .hint("Remove the file: the next `candlefish stack up` chooses anew and keeps the data.")
                ),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Chooses ports and folders for a home that has none, or whose state is another home's: it was moved here, or copied.
    pub fn choose(home: &Path, say: Say) -> Result<Self> {
        let elsewhere = State::load_any(home)?;
        let home = home.canonicalize().with_context(|| format!("find {}", home.display()))?;
        if home.to_str().is_none_or(|path| path.contains('\n')) {
            bail!(
                Failure::new("stack_home", format!("the servers' settings cannot name the folder {}", home.display()))
                    .hint("Name a folder in plain UTF-8: CANDLEFISH_HOME=/path candlefish stack up")
            );
        }
        let data = match &elsewhere {
            // Moved: the data that was kept outside is still this home's own.
            Some(old) if !old.data.starts_with(&old.home) && !old.home.exists() && old.data.exists() => old.data.clone(),
            _ => choose_data_folder(&home, say)?,
        };
        let pg_bin = elsewhere.and_then(|old| old.pg_bin);
        let state = State { data, sockets: new_socket_folder()?, ports: Ports::choose()?, pg_bin, brought_up: Vec::new(), home };
        state.save()?;
        Ok(state)
    }

    pub fn save(&self) -> Result<()> {
        write_private(&self.home.join(FILE), &serde_json::to_vec_pretty(self)?, None)
    }

    pub fn remember_pg_bin(&mut self, pg_bin: &Path) -> Result<()> {
        if !pg_bin.as_os_str().is_empty() && self.pg_bin.as_deref() != Some(pg_bin) {
            self.pg_bin = Some(pg_bin.to_path_buf());
            self.save()?;
        }
        Ok(())
    }

    pub fn remember_up(&mut self, server: ServerName) -> Result<()> {
        if !self.brought_up.contains(&server) {
            self.brought_up.push(server);
            self.save()?;
        }
        Ok(())
    }

    /// Of a stack that is taken down nothing is missed.
    pub fn forget_what_is_up(&mut self) -> Result<()> {
        if !self.brought_up.is_empty() {
            self.brought_up.clear();
            self.save()?;
        }
        Ok(())
    }

    pub fn log(&self, server: &str) -> PathBuf {
        self.data.join("log").join(format!("{server}.log"))
    }

    /// Makes what the servers need to find: folders of their own, and passwords.
    pub fn prepare_folders(&mut self, account: Option<&Account>) -> Result<()> {
        for folder in ["", "log", "redis", "pgbouncer"] {
            let folder = self.data.join(folder);
            if !folder.is_dir() {
                make_private_folder(&folder, account)?;
            }
        }
        // A data folder that has lost its password is not given another, which would not open it.
        if !self.postgres_password_file().exists() && !self.data.join("postgres").exists() {
            self.renew_postgres_password(account)?;
        }
        if !self.redis_password_file().exists() {
            write_private(&self.redis_password_file(), new_password()?.as_bytes(), account)?;
        }
        self.prepare_sockets(account)
    }

    /// The folder is in a place where anybody can write: it counts only when it is its owner's alone.
    fn prepare_sockets(&mut self, account: Option<&Account>) -> Result<()> {
        let owner = account.map_or(rustix::process::geteuid().as_raw(), |account| account.uid);
        match fs::symlink_metadata(&self.sockets) {
            Ok(there) if there.is_dir() && there.uid() == owner && there.mode() & 0o077 == 0 => return Ok(()),
            Ok(_) => {
                self.sockets = new_socket_folder()?;
                self.save()?;
            }
            Err(_) => {}
        }
        make_private_folder(&self.sockets, account)
    }

    /// The port stays, unless a stranger has taken it while the server was down.
    pub fn keep_port_if_free(&mut self, server: &str, say: Say, port: impl Fn(&mut Ports) -> &mut u16) -> Result<()> {
        let kept = *port(&mut self.ports);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, kept)).is_ok() {
            return Ok(());
        }
        let free = Ports::choose()?.postgres;
        *port(&mut self.ports) = free;
        self.save()?;
        say(&format!("{server}: port {kept} is taken by another program; the port is {free} from now on"));
        Ok(())
    }

    /// A new data folder gets a new password; the answer is the file that holds it.
    pub fn renew_postgres_password(&self, account: Option<&Account>) -> Result<PathBuf> {
        let file = self.postgres_password_file();
        write_private(&file, new_password()?.as_bytes(), account)?;
        Ok(file)
    }

    fn postgres_password_file(&self) -> PathBuf {
        self.data.join("postgres.password")
    }

    fn redis_password_file(&self) -> PathBuf {
        self.data.join("redis.password")
    }

    pub fn postgres_password(&self) -> Result<String> {
        read_password(&self.postgres_password_file())
    }

    pub fn redis_password(&self) -> Result<String> {
        read_password(&self.redis_password_file())
    }

    pub fn has_passwords(&self) -> bool {
        self.postgres_password_file().exists() && self.redis_password_file().exists()
    }

    pub fn addresses(&self) -> Result<Addresses> {
        Ok(Addresses {
            host: "127.0.0.1",
            postgres_port: self.ports.postgres,
            pgbouncer_port: self.ports.pgbouncer,
            redis_port: self.ports.redis,
            postgres_password: self.postgres_password()?,
            redis_password: self.redis_password()?,
        })
    }

    /// Removes the data, the sockets and the state itself.
    pub fn remove(&self) -> Result<()> {
        for folder in [&self.data, &self.sockets] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
            }
        }
        fs::remove_file(self.home.join(FILE)).context("remove the stack's state")
    }
}

impl Ports {
    /// Free ones, different from each other: all are held at once before any is let go.
    fn choose() -> Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
        let listeners = [listen()?, listen()?, listen()?];
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Ports { postgres: port(&listeners[0])?, redis: port(&listeners[1])?, pgbouncer: port(&listeners[2])? })
    }
}

/// In the home; or, where the servers' account cannot get there, under /var/lib.
fn choose_data_folder(home: &Path, say: Say) -> Result<PathBuf> {
    let inside = home.join("data");
    let Some(account) = Account::of_servers(&inside)? else { return Ok(inside) };
    if !inside.is_dir() {
        make_private_folder(&inside, Some(&account))?;
    }
    if account.can_write(&inside) {
        return Ok(inside);
    }
    // Only a folder that we have just made, or that nobody could have used, is empty.
    let _ = fs::remove_dir(&inside);
    let outside = PathBuf::from(OUTSIDE).join(format!("{:016x}", xxh3_64(home.as_os_str().as_encoded_bytes())));
    fs::create_dir_all(OUTSIDE).with_context(|| format!("make {OUTSIDE}"))?;
    say(&format!("the servers' account cannot enter {}: the data goes to {}", home.display(), outside.display()));
    Ok(outside)
}

fn same_place(written: &Path, home: &Path) -> bool {
    home.canonicalize().is_ok_and(|home| home == written)
}

fn new_socket_folder() -> Result<PathBuf> {
    Ok(PathBuf::from(format!("/tmp/candlefish-{}", &new_password()?[..8])))
}

fn make_private_folder(folder: &Path, account: Option<&Account>) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder).with_context(|| format!("make {}", folder.display()))?;
    account::give(folder, account)
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_private(path: &Path, text: &[u8], account: Option<&Account>) -> Result<()> {
    let write = || -> Result<()> {
        let new = path.with_extension("new");
        // What is left of an earlier try may have another owner or mode.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text)?;
        account::give(&new, account)?;
        fs::rename(&new, path)?;
        Ok(())
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// 128 random bits, in characters that no URL or settings file has to quote.
fn new_password() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_password(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(password) => Ok(password.trim().to_string()),
        Err(error) => {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "Another user made this stack: act as that user, or name a home of your own with CANDLEFISH_HOME."
                }
                _ => "Without it nobody gets in; start afresh: candlefish stack down --destroy --yes",
            };
            bail!(Failure::new("stack_password", format!("read {}: {error}", path.display())).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_the_owners_alone_and_replaces_the_old_one() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("secret");
        fs::write(&path, "old")?;
        write_private(&path, b"new", None)?;
        assert_eq!(fs::read_to_string(&path)?, "new");
        assert_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn passwords_need_no_quoting_and_differ() -> Result<()> {
        let (one, two) = (new_password()?, new_password()?);
        assert_eq!(one.len(), 32);
        assert!(one.chars().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(one, two);
        Ok(())
    }

    #[test]
    fn a_copied_home_is_another_stack() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        fs::create_dir(&first)?;
        fs::create_dir(&second)?;
        let mut quiet = |_: &str| {};
        let state = State::choose(&first, &mut quiet)?;
        assert!(State::load(&first)?.is_some());
        fs::copy(first.join(FILE), second.join(FILE))?;
        assert!(State::load(&second)?.is_none());
        let copied = State::choose(&second, &mut quiet)?;
        assert_ne!(copied.ports, state.ports);
        assert_ne!(copied.data, state.data);
        // Data under /var/lib is in neither folder.
        for state in [&state, &copied] {
            let _ = fs::remove_dir(&state.data);
        }
        Ok(())
    }
}
