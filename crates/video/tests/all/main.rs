//! The packet path against a plain model, over made streams.

mod bad_input;
mod clips;
mod hls;
mod idle;
mod insert;
mod stream;
