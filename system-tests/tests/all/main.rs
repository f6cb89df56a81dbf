//! Tests of the real program. One binary, so that they link once.

mod fabric;
mod ordering;
mod viewers;
mod visit;
