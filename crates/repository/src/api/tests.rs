//! The API over a real socket, with real records from a bus.

mod fleet;
mod golden;
mod queries;
mod refusals;
mod schema;
mod start;
