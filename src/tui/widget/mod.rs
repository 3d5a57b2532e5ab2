//! Parts that several views are drawn from.

pub mod list;
pub mod pane;
pub mod prose;
