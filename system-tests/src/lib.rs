//! Tests of the real program, from outside: the built binary on free ports, spoken to by HTTP
//! clients that are not ours, its journals read by its own commands.
//!
//! A server under test says on its standard output that it serves; whoever waits for it reads
//! that line. Nothing here sleeps to synchronise, and nothing is retried.

mod program;
mod python;
mod query;
mod server;

pub use program::{binary, example, run, selvedge};
pub use python::{python, root};
pub use query::Query;
pub use server::{Server, Up};
