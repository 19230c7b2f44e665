//! `cargo xtask tidy`: holds the code to the house's rules.

use anyhow::Result;

pub fn run() -> Result<()> {
    Ok(())
}
