//! Parts that several views are drawn from.

pub mod hex;
pub mod list;
pub mod pane;
pub mod prose;
