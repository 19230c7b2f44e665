//! Where a PostgreSQL is, and how to say so without its password.

use anyhow::Result;

use crate::model::Failure;

/// An address with everything that a connection needs. `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct Address {
    pub config: tokio_postgres::Config,
    /// Which source named it: `--to`, `DATABASE_URL`, `the local stack`, …
    pub origin: String,
}

impl Address {
    /// Parses a URL (`postgresql://…`) or a `key=value` list. The text is never echoed in the error.
    pub fn parse(text: &str, origin: impl Into<String>) -> Result<Self> {
        let config = text.parse().map_err(|_| {
            Failure::new("bad_url", "the address cannot be read").hint("An address looks like postgresql://user@host:5432/database.")
        })?;
        Ok(Address { config, origin: origin.into() })
    }
}
