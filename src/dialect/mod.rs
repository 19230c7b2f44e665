//! SQLite's SQL: parsed, and said again in PostgreSQL's.
//!
//! `parse` reads a stored CREATE statement into facts; `translate` says its expressions, views and triggers in PostgreSQL's SQL where an
//! exact form exists, and says why where none does. Between them stand `token`, `syntax` and `ast`: SQLite's text as a tree.

mod ast;
pub mod parse;
mod syntax;
mod token;
pub mod translate;
