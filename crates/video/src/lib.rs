//! Indications inside a video signal: transport-stream packets in, packets out.
//!
//! [`Framer`] finds packets in bytes, [`Inserter`] places indications between them, [`Reader`]
//! finds them again. An indication is said in two forms under one id and one time stamp: timed ID3
//! (for players) and SCTE-35 (for broadcast equipment). `docs/formats/indication.md` draws them.
//!
//! Pure: no socket, file or clock here.
//!
//! A content server's broadcast is carried likewise, as timed ID3 ([`Carried`]).
//!
//! Requirements: A10, B8, E4.

mod clip;
mod clock;
mod fault;
mod filler;
mod fuzz;
pub mod hls;
mod id3;
mod indication;
mod insert;
mod pace;
pub mod packet;
mod pes;
mod program;
mod psi;
mod read;
mod repeat;
mod scte35;
mod sync;
#[doc(hidden)]
pub mod testing;

pub use clock::{
    PCR_WRAP, PTS_WRAP, Rate, TICKS_PER_SECOND, pcr_after, pcr_distance, pts_distance,
};
pub use fault::{Faults, Refusal};
#[doc(hidden)]
pub use fuzz::fuzz_stream;
pub use indication::{Carried, Indication, IndicationError, Placed, State};
pub use insert::{InsertOptions, Inserter};
pub use pace::{Due, Pace};
pub use program::OurPids;
pub use psi::{Pmt, Stream, crc32};
pub use read::{Reader, Seen};
pub use repeat::{Repeat, RepeatError};
pub use scte35::Cue;
pub use sync::Framer;
