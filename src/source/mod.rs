//! Everything that opens a file; all of it read-only.

pub mod archive;
pub mod block;
pub mod compress;
pub mod datadir;
pub mod inside;
pub mod leftovers;
pub mod pages;
pub mod processes;
pub mod restore;
pub mod settings;
pub mod shm;
pub mod slots;
pub mod space;
pub mod trees;
pub mod view;
pub mod waldir;
pub mod walset;
pub mod waltar;
