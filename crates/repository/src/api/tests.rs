//! The API over a real socket, with real records from a bus.

mod audit;
mod fleet;
mod golden;
mod import;
mod queries;
mod refusals;
mod reports;
mod schema;
mod spans;
mod start;
