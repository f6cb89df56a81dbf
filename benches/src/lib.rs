//! What benchmarks share.

pub mod crossings;
pub mod load;
pub mod program;
pub mod viewer;
