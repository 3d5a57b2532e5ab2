//! The screen: finding out why, by looking.
//!
//! An event becomes an action ([`keymap`]), an action changes the state ([`app`]), a frame is drawn from the state
//! ([`frame`], [`view`]). Work that takes longer runs in [`jobs`], over the engine that the report uses. [`start`] puts
//! it together with the [`terminal`]; [`executor`] is the only way to something that writes into a data directory.

pub mod action;
pub mod app;
pub mod executor;
mod frame;
mod help;
pub mod jobs;
pub mod keymap;
pub mod look;
pub mod saved;
pub mod start;
mod terminal;
pub mod view;
pub mod wal;
mod widget;

pub use start::{Over, ScreenError, Start, What, run};
