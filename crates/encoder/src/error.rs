//! Why an encoder does not start, or ends.

use std::io;

use selvedge_video::{Refusal, RepeatError};
use thiserror::Error;

/// Why an encoder does not start, or ends.
#[derive(Debug, Error)]
pub enum EncoderError {
    /// An input or output that is not written right.
    #[error("{0}")]
    Place(String),
    /// The input cannot be read.
    #[error("input {0}: {1}")]
    Input(String, io::Error),
    /// The input is nothing that indications can be placed in.
    #[error("{0}; --pass-unsupported passes it on untouched")]
    Refused(#[from] Refusal),
    /// The input cannot be played in a loop.
    #[error("input {0}: {1}")]
    Repeat(String, RepeatError),
    /// A clip cannot be read.
    #[error("clip {0}: {1}")]
    Clip(String, io::Error),
    /// A clip cannot come on in this input.
    #[error("clip {0}: {1}")]
    ClipUnfit(String, RepeatError),
    /// Clips need an input that is played in a loop.
    #[error("clips come on in a file that is played again and again: --simulate-source")]
    NoLoop,
    /// An output cannot be written.
    #[error("output {0}: {1}")]
    Output(String, io::Error),
    /// The threshold link cannot listen.
    #[error("threshold link on {0}: {1}; choose another address")]
    Link(std::net::SocketAddr, io::Error),
    /// The record of what was taken cannot be read or written.
    #[error("the record of what was placed, {0}: {1}")]
    Taken(String, io::Error),
    /// A thread cannot be started.
    #[error("no thread: {0}")]
    Thread(io::Error),
}
