//! What becomes what: decided from the schema and the rows, before anything is done.

mod alike;
mod build;
mod columns;
pub mod convert;
pub mod decimal;
mod decision;
pub mod declared;
mod defaults;
pub mod derive;
mod express;
mod filters;
mod foreign_key;
mod full_text;
mod given;
pub mod interval;
pub mod json;
mod limits;
mod literal;
mod long_keys;
pub mod mapping;
pub mod names;
pub(crate) mod numbers;
mod objects;
pub mod profile;
pub mod rounding;
mod source_tz;
pub mod spelling;
mod table;
pub mod target;
pub mod time;
pub mod transform;
pub mod unasked;
mod unify;
mod views;

#[cfg(test)]
mod tests;

pub use alike::{Alike, alike};
pub use build::{Existing, Input, OnExtra, Options, build};
pub use decision::{
    Case, ColumnPlan, CopyColumn, CopyMap, CreateColumn, CreateTable, DAMAGE, Joins, NOT_IN_TARGET, NUMBERED, ObjectKind, ObjectPlan,
    Offenders, Otherwise, Plan, Problem, SequencePlan, Severity, TablePlan, Todo, Warning, Why, lacks,
};
pub use filters::{existing_rows, wanted};
pub use long_keys::KEY_BYTES;
pub use names::NameStyle;
pub use source_tz::{Odd, SourceTz};
pub use views::read_by_view;
