//! Tests of the real program. One binary, so that they link once.

mod balance;
mod bodies;
mod diagnosis;
mod disk;
mod fabric;
mod import;
mod network;
mod ordering;
mod processes;
mod python;
mod refusals;
mod viewers;
mod visit;
