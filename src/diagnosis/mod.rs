//! What is the matter with the two sides.

pub mod facts;
