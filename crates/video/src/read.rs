//! A receiver's side: indications found in a stream.

use crate::clock::{Clock, Rate};
use crate::fault::Faults;
use crate::id3;
use crate::indication::{Carried, Placed};
use crate::packet::{self, Bytes, PACKET, PAT_PID};
use crate::pes::{self, PesPackets};
use crate::program::{METADATA, METADATA_DESCRIPTOR, Program, SPLICES};
use crate::psi::{PRIVATE_SECTION_MAX, Sections};
use crate::scte35::Cue;

/// Streams of a programme that are looked into, at most.
const STREAMS_MAX: usize = 8;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// An indication as timed ID3.
    Id3(Placed),
    /// A broadcast.
    Carried(Carried),
    /// A tag that says no indication: a heartbeat, or somebody else's.
    Tag {
        /// Its time stamp.
        pts: Option<u64>,
    },
    /// An indication as SCTE-35.
    Cue(Cue),
}

/// Finds indications. Damaged parts are left out.
#[derive(Debug)]
pub struct Reader {
    program: Program,
    faults: Faults,
    clock: Clock,
    tags: Vec<(u16, PesPackets)>,
    cues: Vec<(u16, Sections)>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            program: Program::new(),
            faults: Faults::default(),
            clock: Clock::new(),
            tags: Vec::new(),
            cues: Vec::new(),
        }
    }
}

impl Reader {
    /// Takes packets (a multiple of 188 bytes) and gives what ends in them.
    pub fn push(&mut self, packets: &[u8], mut each: impl FnMut(Seen)) {
        for packet in packets.as_chunks::<PACKET>().0 {
            self.one(packet, &mut each);
        }
    }

    /// The programme clock where the next packet stands, in ticks of 27 MHz.
    #[must_use]
    pub fn now(&self) -> Option<u64> {
        self.clock.now(0)
    }

    /// The stream's kind of rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.clock.rate()
    }

    fn one(&mut self, packet: &Bytes, each: &mut impl FnMut(Seen)) {
        let pid = packet::pid(packet);
        let map = self.program.map();
        match packet::pcr(packet).filter(|_| map.is_some_and(|map| map.pcr_pid == pid)) {
            Some(pcr) => {
                self.clock.reference(pcr, packet::is_discontinuity(packet));
            }
            None => self.clock.pass(1),
        }
        if pid == PAT_PID {
            // A stream that an encoder would refuse is none that has indications of ours.
            _ = self.program.take_pat(packet, &mut self.faults);
        } else if Some(pid) == self.program.pmt_pid() {
            if matches!(
                self.program.take_pmt(packet, &mut self.faults),
                Ok((_, true))
            ) {
                self.learn();
            }
        } else if let Some((_, tags)) = self.tags.iter_mut().find(|(tags, _)| *tags == pid) {
            tags.push(packet, |pes| tag(pes, each));
        } else if let Some((_, cues)) = self.cues.iter_mut().find(|(cues, _)| *cues == pid) {
            cues.push(packet, |section| {
                if let Some(cue) = Cue::read(section) {
                    each(Seen::Cue(cue));
                }
            });
        }
    }

    fn learn(&mut self) {
        let Some(map) = self.program.map() else {
            return;
        };
        self.tags
            .retain(|(pid, _)| map.streams.iter().any(|stream| stream.pid == *pid));
        self.cues
            .retain(|(pid, _)| map.streams.iter().any(|stream| stream.pid == *pid));
        for stream in &map.streams {
            let id3 = stream.descriptors.windows(METADATA_DESCRIPTOR.len());
            let known = self.tags.iter().any(|(pid, _)| *pid == stream.pid)
                || self.cues.iter().any(|(pid, _)| *pid == stream.pid);
            if known || self.tags.len() + self.cues.len() >= STREAMS_MAX {
                continue;
            }
            if stream.kind == METADATA && id3.into_iter().any(|d| d == METADATA_DESCRIPTOR) {
                self.tags.push((stream.pid, PesPackets::default()));
            } else if stream.kind == SPLICES {
                self.cues
                    .push((stream.pid, Sections::new(PRIVATE_SECTION_MAX)));
            }
        }
    }
}

fn tag(pes: &[u8], each: &mut impl FnMut(Seen)) {
    let pts = pes::pts(pes);
    let values = pes::data(pes).map(id3::read).unwrap_or_default();
    let mut said = false;
    for value in values {
        if let Ok(mut placed) = serde_json::from_str::<Placed>(value) {
            placed.pts = pts.unwrap_or_default();
            each(Seen::Id3(placed));
        } else if let Ok(mut carried) = serde_json::from_str::<Carried>(value) {
            carried.pts = pts.unwrap_or_default();
            each(Seen::Carried(carried));
        } else {
            continue;
        }
        said = true;
    }
    if !said {
        each(Seen::Tag { pts });
    }
}
