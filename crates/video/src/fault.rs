//! What is wrong with a stream: what is counted and lived with, and what is refused.

use thiserror::Error;

/// Faults so far. The stream goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Times that packets did not begin where they should.
    pub sync_lost: u64,
    /// Bytes that were in no packet.
    pub bytes_skipped: u64,
    /// Packets that came marked as damaged.
    pub damaged: u64,
    /// Continuity counters that jumped.
    pub continuity: u64,
    /// Sections of the PAT or PMT that were damaged.
    pub crc: u64,
    /// Programme clock references that jumped unannounced.
    pub pcr_jumps: u64,
    /// References of a constant-rate stream that were off their place by over 2 µs.
    pub pcr_off: u64,
    /// Packets that came under an identifier that we had taken; we took another.
    pub pid_collisions: u64,
    /// Heartbeats left out because there was no room.
    pub heartbeats_skipped: u64,
    /// Indications dropped because too many waited for room.
    pub dropped: u64,
}

/// Why nothing can be placed in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No packets.
    #[error(
        "the input is no MPEG transport stream: no packets of 188 bytes in its first {0} bytes"
    )]
    NotTransport(usize),
    /// Packets with something between them.
    #[error("the input has packets of {0} bytes; convert it to packets of 188")]
    Framing(usize),
    /// More than one programme, or a PAT over several sections.
    #[error(
        "the stream has {0} programmes; only streams of one programme are taken: extract it first"
    )]
    Programs(usize),
    /// A PAT over several sections.
    #[error(
        "the stream's PAT has {0} sections; only streams of one programme are taken: extract it first"
    )]
    PatSections(usize),
    /// A PMT over several sections.
    #[error("the programme's PMT has {0} sections; only those of one section are taken")]
    PmtSections(usize),
    /// No room for our streams in it.
    #[error("the programme's PMT has no room for two more streams: over 1,024 bytes")]
    PmtFull,
    /// Something else under the PMT's packet identifier.
    #[error(
        "table {1:#04x} shares packet identifier {0:#06x} with the PMT; give it one of its own"
    )]
    PmtShared(u16, u8),
    /// The clock under the PMT's packet identifier.
    #[error(
        "the programme's clock shares packet identifier {0:#06x} with the PMT; give it one of its own"
    )]
    PmtClock(u16),
    /// No null packets.
    #[error(
        "the stream has a constant rate of {0} bit/s and no null packets, so nothing can be placed \
         in it; make it with null packets (ffmpeg: a -muxrate above the sum of its streams)"
    )]
    Full(u64),
    /// All identifiers are taken.
    #[error("the stream leaves no packet identifier free")]
    NoPid,
}
