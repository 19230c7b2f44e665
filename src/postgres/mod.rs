//! The door to PostgreSQL: connection, catalog, COPY, migrations.

mod address;
mod argument;
mod cancel;
mod catalog;
mod connect;
mod console;
mod conversions;
mod copy;
mod database;
mod driver;
mod journal;
mod local_socket;
mod lock_holders;
mod materialized_views;
mod migrations;
mod objects;
mod observe;
mod parameters;
mod pgbouncer;
mod pooler;
mod reading;
mod refresh;
pub mod refresh_statement;
mod run_sessions;
mod script;
mod session;
mod session_lock;
pub mod statement;
mod tls;

pub use address::{APPLICATION_NAME, Address, Authorities, CONNECT_TIMEOUT, LOCAL_STACK, SslMode, Tls};
pub use argument::Argument;
pub use cancel::cancel;
pub use catalog::{
    ForeignKeyNotValid, ForeignKeySides, RowConstraint, checks_keys_at_once, find_foreign_key, foreign_key_sides, foreign_keys_not_valid,
    is_hash_index, is_partitioned, is_superuser, partition_root, partitions, read_schema, regclasses, row_constraints,
};
pub use connect::{Connected, connect, describe, is_passing, is_transient, open};
pub use console::{Console, ConsoleRow};
pub use conversions::named_types;
pub use copy::{BINARY_HEADER, BINARY_TRAILER, CopyRows, CopySink, Fields};
pub use database::{count_rows, create_database};
pub use driver::{Driver, Protocol, Refusal, TextRows};
pub use journal::{Journal, LandedChunk, MadeTable, PARTIAL, RunRecord, RunState, written};
pub use lock_holders::{is_lock_timeout, with_lock_holders};
pub use materialized_views::refresh_materialized_views;
pub use migrations::{Migrations, create_schema};
pub use objects::{
    ColumnPromises, ColumnSequence, IndexShape, NextValue, OddTable, Place, SchemaObjects, Shape, TriggerShape, column_sequence,
    has_names_of_catalog, next_value, read_objects,
};
pub use observe::{Answer, Control, Looker, Observer, Parameter, ServerFacts};
pub use parameters::Parameters;
pub use pgbouncer::{PoolerFacts, PoolerFiles, PoolerSizes};
pub use pooler::{Route, is_pooled, route};
pub use reading::{Pages, ReadSession, TypeReader, note_unreadable, read_sessions};
pub use refresh::{ForeignKeyFacts, RefreshKeys, execute_unless_refused, foreign_keys_of, refresh_keys, triggers_of};
pub use run_sessions::{
    UnwrittenRun, end_run_sessions, forget_name, patience_with_silence, run_session, run_sessions, tell_by_name, unwritten_runs,
};
pub use session::{database_error, is_about_object, is_about_value, is_beyond_limit, session, sql_failure};
pub use session_lock::SessionLock;
pub use tls::connector;
// A connection's name outside this room.
pub use tokio_postgres::{Client, Error as SqlError, GenericClient, Statement, Transaction};
// A parameter's type outside this room.
pub use tokio_postgres::types::Type;
