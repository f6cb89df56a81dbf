//! The API over a real socket, with real records.

mod golden;
