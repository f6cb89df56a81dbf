//! The store against a plain model, over a disk that crashes.

mod model;
mod small;
