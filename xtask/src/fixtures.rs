//! Fixtures that are made rather than kept: a registry of any size.

use anyhow::Result;
use clap::Subcommand;

/// Empty until the generator is here; `cargo xtask` shows what it holds.
#[derive(Subcommand)]
pub enum Task {}

pub fn run(task: Task) -> Result<()> {
    match task {}
}
