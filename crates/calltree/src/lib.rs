//! Rebuilds the call tree of a request from any subset of its entries; pure.
