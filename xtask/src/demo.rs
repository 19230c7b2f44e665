//! `cargo xtask demo`: from nothing to a migrated and verified registry, command by command.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::setup;
use crate::shell::{self, cargo, command, root, target};

pub fn run() -> Result<()> {
    setup::run()?;
    let folder = target().join("demo");
    let home = folder.join("home");
    std::fs::create_dir_all(&folder).context("make the demo's folder")?;

    shell::show_and_run(cargo(&home).args(["build", "--release", "--quiet", "--package", "candlefish"]))?;
    let program = target().join("release/candlefish");
    let show = |words: &[&str]| shell::show_and_run(command(&program, &home).args(words));

    show(&["stack", "up"])?;
    if let Some(source) = registry(&folder)? {
        // Twice is as good as once: what the first run made, the second replaces.
        if has_command(&program, &home, "migrate") {
            show(&["migrate", &source, "--replace", "--yes"])?;
        }
        if has_command(&program, &home, "verify") {
            show(&["verify", &source])?;
        }
    }
    show(&["psql", "-X", "-P", "pager=off", "-c", "\\dt"])?;
    if has_command(&program, &home, "migrate") {
        show(&["psql", "-X", "-P", "pager=off", "-c", "\\d services"])?;
        show(&["psql", "-X", "-P", "pager=off", "-c", "SELECT id, name, port, group_name, status FROM services ORDER BY id LIMIT 5"])?;
    }
    show(&["stack", "down"])
}

/// The registry as a SQLite file, made anew from its text; none while there is no text.
fn registry(folder: &Path) -> Result<Option<String>> {
    let text = root().join("fixtures/registry/v2/source.sql");
    if !text.exists() {
        return Ok(None);
    }
    let file = folder.join("registry.db");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    let sql = std::fs::read_to_string(&text).with_context(|| format!("read {}", text.display()))?;
    rusqlite::Connection::open(&file)?.execute_batch(&sql).with_context(|| format!("run {}", text.display()))?;
    Ok(Some(file.display().to_string()))
}

/// Commands join the demo as they are built.
fn has_command(program: &Path, home: &Path, name: &str) -> bool {
    let help = command(program, home).arg("--help").output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).lines().any(|line| line.split_whitespace().next() == Some(name)))
}
