//! `forkpoint rewind`: what the pg_rewind of the target's major would do, in its words, and carried out as every other
//! plan is. Where pg_rewind would go ahead and leave a target that is damaged or has wrong rows, this stops before the
//! first write.

pub mod carry;
pub mod control;
pub mod fetched;
pub mod files;
pub mod help;
pub mod history;
pub mod listing;
pub mod log;
pub mod options;
pub mod run;
pub mod server;
pub mod sound;
pub mod wal;

pub use log::{Ended, Log};
pub use options::Options;
pub use run::run;
