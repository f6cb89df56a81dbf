//! The packet path against a plain model, over made streams.

mod bad_input;
mod hls;
mod insert;
mod stream;
