//! How a SQLite file is opened: what `migrate` and `verify` share.

use std::path::PathBuf;

use crate::sqlite::OpenOptions;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Read a private copy of the file, made in this folder and removed in the end
    #[arg(long, value_name = "DIR")]
    pub snapshot: Option<PathBuf>,
    /// Let writers of a rollback-journal database wait until the reading is done
    #[arg(long)]
    pub block_writers: bool,
    /// Copy what can be read of a damaged file, table by table, and say what cannot
    #[arg(long)]
    pub salvage: bool,
}

impl SourceArgs {
    pub fn open_options(&self, readers: usize) -> OpenOptions {
        OpenOptions {
            readers,
            snapshot: self.snapshot.clone(),
            block_writers: self.block_writers,
            salvage: self.salvage,
            ..OpenOptions::default()
        }
    }
}
