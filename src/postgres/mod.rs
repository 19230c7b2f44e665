//! The door to PostgreSQL: connection, catalog, COPY, migrations.

mod address;
mod connect;
mod parameters;

pub use address::{APPLICATION_NAME, Address, Authorities, CONNECT_TIMEOUT, SslMode, Tls};
pub use connect::connect;
pub use parameters::Parameters;
