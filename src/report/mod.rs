//! What was found out, as text and as JSON.

pub mod controldata;
pub mod timezone;
