//! Tests of the real program. One binary, so that they link once.

mod ordering;
mod viewers;
mod visit;
