//! The words that every room speaks. Knows nothing of files, servers or people.

mod cell;
mod column_type;
mod event;
mod failure;
mod interner;
mod kept;
mod kpi;
mod migration;
mod name;
mod pieces;
mod query;
mod schema;
mod secret;
mod text;
mod value;

pub use cell::Cell;
pub use column_type::{ColumnType, TypeKind};
pub use event::{Event, Events, Phase};
pub use failure::{Failure, sentence};
pub use interner::Interner;
pub use kept::Kept;
pub use kpi::{KPIS, Kpi, LATENCY_BOUNDS, Limit, Unit};
pub use migration::{AppliedMigration, MigrationState, MigrationStatus, RefreshedView, Section};
pub use name::{MAX_NAME_BYTES, Name, QualifiedName};
pub use pieces::in_pieces;
pub use query::{ParamType, Query, QueryKind, Uuid};
pub use schema::{
    Affinity, Check, Collation, Column, ForeignKey, ForeignKeyAction, Generated, Index, IndexColumn, IndexOrigin, PrimaryKey, Schema,
    Table, TableKind, Trigger, View,
};
pub use secret::masked;
pub use text::{is_hidden, pasteable_literal, visible};
pub use value::{StorageClass, Value};
