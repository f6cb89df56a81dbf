//! The durable single-writer log of one server.
