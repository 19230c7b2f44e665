//! What becomes what: decided from the schema and the rows, before anything is done.

pub mod convert;
pub mod decimal;
pub mod declared;
pub mod derive;
pub mod json;
pub mod profile;
pub mod time;
pub mod transform;
