//! SQLite's SQL: parsed, and said again in PostgreSQL's.
//!
//! `parse` reads a stored CREATE statement into facts.

pub mod parse;
mod token;
