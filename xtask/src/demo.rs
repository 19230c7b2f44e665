//! `cargo xtask demo`: from nothing to a migrated and verified registry, command by command.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::shell::{self, cargo, command, target};
use crate::{fixtures, setup};

pub fn run() -> Result<()> {
    setup::run()?;
    let folder = target().join("demo");
    let home = folder.join("home");
    std::fs::create_dir_all(&folder).context("make the demo's folder")?;

    shell::show_and_run(cargo(&home).args(["build", "--release", "--quiet", "--package", "candlefish"]))?;
    let program = target().join("release/candlefish");
    let show = |words: &[&str]| shell::show_and_run(command(&program, &home).args(words));

    show(&["stack", "up"])?;
    let source = registry(&folder)?;
    // Twice is as good as once: the rows of the first run make room for those of the second.
    show(&["migrate", &source, "--existing", "truncate"])?;
    show(&["verify", &source])?;
    let psql = |sql: &str| show(&["psql", "-X", "-P", "pager=off", "-c", sql]);
    psql("\\dt")?;
    psql("\\d services")?;
    psql("SELECT id, legacy_id, username, created_at FROM users ORDER BY legacy_id LIMIT 5")?;
    show(&["schema", "refresh"])?;
    psql("SELECT name, group_name, probes_hour, probes_hour_healthy, probes_day FROM dashboard_service_health ORDER BY name LIMIT 5")?;
    show(&["stack", "down"])
}

/// A registry of about 5,000 rows, the same every time.
fn registry(folder: &Path) -> Result<String> {
    let out = folder.join("registry.db");
    fixtures::generate(&fixtures::Options {
        scale: 1,
        seed: 1,
        version: 2,
        out: out.clone(),
        journal: fixtures::Journal::Delete,
        force: true,
    })?;
    Ok(out.display().to_string())
}
