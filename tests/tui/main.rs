//! The screen: journeys over the bundled clusters, keys in and frames out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used, reason = "tests")]

mod robot;

mod blocks;
mod overview;

mod any_keys;
mod export;
mod fields;
mod lost;
mod plan;
mod real;
mod records;
mod refused;
