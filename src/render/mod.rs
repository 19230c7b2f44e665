//! The only room that prints: reports to stdout, talk to stderr.

mod schema;
mod table;
mod ui;
pub mod units;
mod verify;

pub use schema::SchemaReport;
pub use table::{Table, csv, visible};
pub use ui::{ColorChoice, Format, Ui};
pub use verify::verify;
