//! The door to PostgreSQL: connection, catalog, COPY, migrations.

mod address;
mod catalog;
mod connect;
mod copy;
mod journal;
mod materialized_views;
mod migrations;
mod parameters;
mod reading;
mod script;
mod session_lock;
pub mod statement;
mod tls;

pub use address::{APPLICATION_NAME, Address, Authorities, CONNECT_TIMEOUT, SslMode, Tls};
pub use catalog::read_schema;
pub use connect::{connect, is_transient};
pub use copy::{BINARY_HEADER, BINARY_TRAILER, CopyRows, CopySink, Fields};
pub use journal::{Journal, RunRecord};
pub use materialized_views::refresh_materialized_views;
pub use migrations::Migrations;
pub use parameters::Parameters;
pub use reading::{ReadSession, TypeReader, read_sessions};
pub use session_lock::SessionLock;
pub use tls::connector;
