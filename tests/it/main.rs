//! The integration tests: one binary, one stack for all, a fresh database each.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes, and its helpers with it")]

mod allocations;
mod applications;
mod bench;
mod connect;
mod counting;
mod dialect;
mod differential;
mod doctor;
mod earlier_runs;
mod failure_modes;
mod foreign_keys;
mod foretold;
mod given;
mod limits;
mod long_keys;
mod manual;
mod mapping_file;
mod matrix;
mod memory;
mod migrate;
mod monitor;
mod must_hold;
mod one_state;
mod pipeline;
mod progress;
mod promises;
mod property;
mod real_files;
mod refresh;
mod retry;
mod salvage;
mod schema;
mod schema_objects;
mod scope;
mod server;
mod stack;
mod stats;
mod store;
mod support;
mod survive;
mod verify;
mod views;
mod wrong_input;
mod zones;
