//! The content encoder: takes a transport stream, places in it what monitors tell over the
//! threshold link, and sends it on to files, over UDP, and as HLS.
//!
//! One thread reads, places and sends, so that between a notification and its packet lies nothing
//! but the packets that are being sent. A notification is acknowledged once its packets are with
//! the operating system and its id is on the disk (`taken`): after a kill it comes
//! again, under the same id.
//!
//! Requirements: B7, B8, E4.

mod counts;
mod error;
mod hls;
mod input;
mod link;
mod options;
mod output;
mod run;
mod taken;

pub use counts::EncoderCounts;
pub use error::EncoderError;
pub use options::{EncoderOptions, Input, Now, Output, Udp};
pub use run::{Carrier, RunningEncoder, start};
