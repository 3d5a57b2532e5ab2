//! The `forkpoint` program.

fn main() {}
