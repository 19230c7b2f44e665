//! The door to PostgreSQL: connection, catalog, COPY, migrations.

mod address;
mod connect;
mod parameters;
mod tls;

pub use address::{APPLICATION_NAME, Address, Authorities, CONNECT_TIMEOUT, SslMode, Tls};
pub use connect::{connect, is_transient};
pub use parameters::Parameters;
pub use tls::connector;
