//! Both sides of a migrated database, each in one state: which table stands against which, and one reading of both, every row digested.

mod normalise;
mod pairing;
mod read;
mod rejects;

pub use normalise::Normaliser;
pub use pairing::{BUCKETS, Pair, Unread, cannot_be_read, items, layout, pair};
pub use read::{Sides, SourceRow, TargetRow};
pub use rejects::reject_files;
