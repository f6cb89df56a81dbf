//! What benchmarks share.

pub mod program;
pub mod viewer;
