//! Carrying a plan out: no interruption and no regret costs the cluster.
//!
//! The order: lock; checks; a store beside the data directory, synced; a pointer to it in the target; the control file
//! set aside; batches, each kept before it changes; everything synced; the control file back. `journal` says how far it
//! got, and everything may be done twice. [`disk`] is the only way to the filesystem, [`real`] the real one.

pub mod apply;
pub mod before;
mod capture;
mod checks;
mod clone;
mod control;
mod copy;
pub mod disk;
pub mod early;
pub mod error;
mod fetched;
mod full;
mod hash;
pub mod journal;
pub mod manifest;
mod ops;
mod places;
mod pointer;
pub mod quiet;
pub mod ready;
pub mod real;
pub mod room;
pub mod status;
mod store;
mod told;
pub mod undo;
mod work;

pub use apply::{Going, Options, Outcome, apply, resume};
pub use clone::Keep;
pub use error::{Failed, Trouble};
pub use full::Differing;
pub use manifest::SyncMethod;
pub use ready::{NotReady, ready, ready_to_undo};
pub use real::RealDisk;
pub use status::{Begun, State, Status, begun, status};
pub use store::name as store_name;
pub use told::Report;
pub use undo::{discard, undo};
pub use work::{Limits, Verify};
