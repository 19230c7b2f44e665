//! Who the servers run as: the caller, or, where the caller is root (PostgreSQL refuses root), an unprivileged account.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::model::Failure;

/// Accounts that exist to own servers, best first.
const CANDIDATES: [&str; 4] = ["postgres", "_postgres", "nobody", "daemon"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// None when the servers run as the caller. Root takes the owner of the data that is there, so that who made a stack goes on owning it.
    pub fn of_servers(data: &Path) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(owner) = fs::metadata(data)
            && owner.uid() != 0
        {
            return Ok(Some(Account { uid: owner.uid(), gid: owner.gid() }));
        }
        let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        match CANDIDATES.iter().find_map(|name| entry(&passwd, name)) {
            Some(account) => Ok(Some(account)),
            None => bail!(
                Failure::new("no_unprivileged_user", "PostgreSQL does not run as root, and there is no account postgres or nobody")
                    .hint("Run candlefish as an ordinary user, or make an account: useradd --system postgres")
            ),
        }
    }

    /// The command runs as this account; std then also drops root's supplementary groups.
    pub fn apply(self, command: &mut Command) {
        command.gid(self.gid).uid(self.uid);
    }

    /// Can this account get to the folder and write in it? Asked of the system itself, which knows of modes, ACLs and mounts.
    pub fn can_write(self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd \"$0\" && test -w ."]).arg(folder).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.apply(&mut command);
        command.status().is_ok_and(|status| status.success())
    }
}

/// Gives a path to the servers' account, when that is another than ours.
pub fn give(path: &Path, account: Option<&Account>) -> Result<()> {
    if let Some(account) = account {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("give {} to the servers' account", path.display()))?;
    }
    Ok(())
}

fn entry(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_passwd_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(entry(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(entry(passwd, "nobody"), None);
    }
}
