//! The only room that prints: reports to stdout, talk to stderr.

mod bench;
mod charset;
mod columns;
mod doctor;
pub mod migrate;
pub mod monitor;
mod outlet;
mod progress;
mod runs;
mod schema;
mod screen;
pub mod stats;
mod table;
pub mod top;
pub(crate) mod ui;
pub mod units;
mod verify;

pub use bench::{BENCH_PAGE_HEAD, BenchProgress, bench, bench_comparison, bench_find_max, bench_html, is_bench_page};
pub use doctor::doctor;
pub use outlet::{left_unsaid, told_to_end};
pub use progress::{Progress, ProgressStyleChoice};
pub use runs::runs;
pub use schema::{SchemaReport, generated as schema_generated};
pub use screen::{Screen, go_on};
pub use table::{Table, csv, visible};
pub use ui::{ColorChoice, Format, Ui};
pub use verify::verify;
