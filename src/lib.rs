//! candlefish takes a team off a single SQLite file and onto PostgreSQL, and proves that nothing was lost on the way.
//!
//! # The map
//!
//! Words know nothing but words, doors know words, verbs know doors and words, the face knows all.
//!
//! | room | what lives there | may use |
//! |---|---|---|
//! | **words**: pure; no I/O, no clock, no async | | |
//! | [`model`] | `Value`, `Name`, the schema of a source, the report types, `Event`, `Failure` | nothing |
//! | [`dialect`] | SQLite's SQL: parsed, and said again in PostgreSQL's | model |
//! | [`plan`] | what becomes what: `Plan`, `build()`, the conversion of values, the mapping file | dialect, model |
//! | [`digest`] | the canonical form of a value, from either side, and digests of rows and tables | plan, model |
//! | [`registry`] | what a candlefish registry is: its mapping, its cached queries and their tags | plan, model |
//! | **doors**: one outside thing each | | |
//! | [`sqlite`] | one state of a SQLite file: schema, rows, profile | plan, dialect, model |
//! | [`postgres`] | connection, catalog, COPY, migrations (refinery) | plan, model |
//! | [`sides`] | a source and its target side by side: which table against which, one reading of both | plan, digest, sqlite, postgres, model |
//! | [`store`] | the pooled and cached layer, which an application links: `Store::fetch`, `Store::write` | postgres, model |
//! | [`stack`] | the private local servers: find, init, start, health, stop | model |
//! | **verbs**: one command's meaning each; `mod.rs` holds `run()` | | |
//! | [`migrate`] | a SQLite file into PostgreSQL | sides, plan, digest, sqlite, postgres, model |
//! | [`verify`] | is every value of the one in the other? | sides, plan, digest, sqlite, postgres, model |
//! | [`bench`] | load tests: what each layer bears, and a verdict | store, sqlite, postgres, registry, model |
//! | [`stats`] | what a database does: one statistic a file | postgres, store, model |
//! | [`doctor`] | verdicts on a server and what stands around it: one check a file | stats, store, postgres, model |
//! | [`monitor`] | metrics against rules: alerts in Prometheus's states, a page, exports | stats, store, postgres, model |
//! | **face**: the only rooms that meet a person | | |
//! | [`render`] | reports and events as tables, JSON, CSV, progress | report types of verbs, plan, model |
//! | [`cli`] | arguments, settings, dispatch | every room |
//!
//! `cargo xtask tidy`, which is also a test, reads the `use crate::` lines and holds the code to this table.
//!
//! # The flow of `migrate`
//!
//! ```text
//! cli/migrate      args → settings → Snapshot, Target
//! migrate::prepare read both schemas, profile the rows, plan::build (pure) → Plan or every Problem at once
//! migrate::run     the course of a run, from where its journal stands, begun again when a connection breaks:
//!                  schema → per chunk: sqlite rows ─borrowed Value→ encode ─buffer→ [bounded channel] → COPY … → journal
//!                  (a blocking thread reads and encodes; an async task sends; one transaction a chunk; biggest table first)
//!                  → as each table completes: rows read back against the digests of what was sent, indexes, constraints → analyze
//!                  → verify of what was not proved so → MigrateReport
//!                  (--section: a process does its part of this, and the journal says what is done; `migrate::section`)
//! migrate::refresh (--refresh, instead) lock → both sides read once into ledgers → uneven buckets again, row by row → what differs into
//!                  temporary tables → counts, consent → applied, read back and journalled in the same transaction
//! render           report → stdout; Events → progress on stderr; exit 0 | 1 | 2
//! ```
//!
//! # The flow of one cached query
//!
//! ```text
//! Store::fetch → key (128-bit, typed) → L1 → one load for all askers: L2 (one round trip, tags checked) → lease → pool → one-flight timed query
//!              → kept in both only if its tags did not change meanwhile → rows, with where they came from
//! ```
//!
//! # What always holds
//!
//! - The source is opened read-only and one state of it is read.
//! - Per table: rows in SQLite = rows in PostgreSQL + rows set aside.
//! - Every schema object is in PostgreSQL or in `warnings`.
//! - What a run has done is in its journal, by the transaction that did it; whoever goes on with the run does the rest, once.
//! - An answer of the data layer is never older than it promises, and never another's; a hit in memory allocates nothing.
//! - Per-row work allocates nothing; nothing holds a whole table; every channel that carries rows is bounded.

pub mod dialect;
pub mod model;
pub mod registry;

pub mod digest;
pub mod plan;

pub mod postgres;
pub mod sides;
pub mod sqlite;
pub mod store;

pub mod bench;
pub mod doctor;
pub mod migrate;
pub mod monitor;
pub mod stack;
pub mod stats;
pub mod verify;

pub mod cli;
pub mod render;
