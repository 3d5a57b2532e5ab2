//! forkpoint: why a PostgreSQL server will not rejoin its cluster, found offline.
//!
//! The layers and their one-way dependencies are in ARCHITECTURE.md.

pub mod cli;
pub mod desc;
pub mod diagnosis;
pub mod dropin;
pub mod dump;
pub mod facts;
pub mod findings;
pub mod lost;
pub mod names;
pub mod pg;
pub mod plan;
pub mod report;
pub mod rewind;
pub mod rows;
pub mod scan;
pub mod source;
pub mod tui;
pub mod wal;
