//! The only room that prints: reports to stdout, talk to stderr.

mod ui;

pub use ui::{ColorChoice, Format, Ui};
