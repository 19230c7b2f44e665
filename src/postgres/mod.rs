//! The door to PostgreSQL: connection, catalog, COPY, migrations.

mod address;
mod connect;

pub use address::Address;
pub use connect::connect;
