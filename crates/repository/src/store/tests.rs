//! The store against plain models, over a disk that crashes.

mod model;
mod small;
mod spans;
