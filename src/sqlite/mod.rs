//! The door to SQLite: one state of one file, read-only.

mod broken;
mod cursor;
mod file;
mod fingerprint;
mod indexes;
mod kept_rows;
mod pages;
mod private_copy;
mod profile;
mod promised;
mod rows;
mod salvage;
mod schema;
mod session;
mod shadow;
mod share;
mod snapshot;
mod views;
mod witness;

pub use file::{FileKind, inspect as inspect_file};
pub use fingerprint::Fingerprint;
pub use indexes::{OddIndex, odd_indexes, sums_by_tables};
pub use kept_rows::KeptRows;
pub use private_copy::remove_private_copies;
pub use profile::profile;
pub use promised::{Declarations, Declared, Promised, PromisedIndex};
pub use rows::{Row, Scan, has_rowid};
pub use salvage::Damage;
pub use session::{Session, copy};
pub use share::share;
pub use snapshot::{OpenOptions, Reader, Snapshot};
pub use views::ViewError;
