//! Everything that opens a file; all of it read-only.

pub mod datadir;
pub mod leftovers;
pub mod settings;
pub mod slots;
pub mod trees;
pub mod walset;
