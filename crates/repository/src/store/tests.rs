//! The store against plain models, over a disk that crashes.

mod model;
mod passing;
mod small;
mod spans;
