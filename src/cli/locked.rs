//! An error that a lock was waited for in vain, with who has it.

use crate::cli::settings::Settings;
use crate::postgres::{is_lock_timeout, with_lock_holders};
use crate::render::Ui;

/// For a command whose target is `flag`, or what the settings say.
pub async fn with_holders(error: anyhow::Error, settings: &Settings, flag: Option<&str>, schema: &str, ui: &Ui) -> anyhow::Error {
    if !is_lock_timeout(&error) {
        return error;
    }
    match settings.address(flag, ui) {
        Ok(address) => with_lock_holders(&address, schema, error).await,
        Err(_) => error,
    }
}
