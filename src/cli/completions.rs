//! `candlefish completions` and `candlefish man`: what clap knows of the commands, for shells and for readers.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::cli::{Cli, Exit};
use crate::render::Ui;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell, as in `candlefish completions bash > /etc/bash_completion.d/candlefish`
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, ui: &Ui) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "candlefish", &mut script);
    ui.print(&String::from_utf8(script).context("write the completions")?)?;
    Ok(Exit::Good)
}

pub fn man(args: &ManArgs, ui: &Ui) -> Result<Exit> {
    match &args.out {
        Some(folder) => {
            let write = || {
                fs::create_dir_all(folder)?;
                clap_mangen::generate_to(Cli::command(), folder)
            };
            write().with_context(|| format!("write the manual pages into {}", folder.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).context("write the manual page")?;
            ui.print(&String::from_utf8(page).context("write the manual page")?)?;
        }
    }
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_agrees_with_itself() {
        Cli::command().debug_assert();
    }
}
