//! The collector through its real listeners, with a sink that the test holds in its hand.

mod bounds;
mod faults;
mod spans;
mod taking;
mod wire;
