//! The programme of a stream: its PAT and PMT as they come, and the PMT as it goes out, with our
//! two streams in it.

use crate::fault::{Faults, Refusal};
use crate::packet::{Bytes, NULL_PID, PAT_PID};
use crate::psi::{self, Pat, Pmt, Sections, Stream};
use crate::scte35::CUEI;

/// The kind of a stream of metadata in PES packets.
pub(crate) const METADATA: u8 = 0x15;
/// The kind of a stream of SCTE-35 sections.
pub(crate) const SPLICES: u8 = 0x86;
const REGISTRATION: u8 = 0x05;
const METADATA_POINTER: u8 = 0x25;
/// The metadata descriptor of an ID3 stream.
pub(crate) const METADATA_DESCRIPTOR: [u8; 15] = *b"\x26\x0D\xFF\xFFID3 \xFFID3 \x00\x0F";

/// The packet identifiers that we took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OurPids {
    /// Of the timed ID3.
    pub id3: u16,
    /// Of the SCTE-35 sections.
    pub scte35: u16,
}

/// What is known of the programme.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pat: Sections,
    pmt: Sections,
    /// The programme's number and its PMT's packet identifier.
    chosen: Option<(u16, u16)>,
    map: Option<Pmt>,
    /// Moves the version on when our own part changes.
    bumps: u8,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            pat: Sections::new(psi::SECTION_MAX),
            pmt: Sections::new(psi::SECTION_MAX),
            chosen: None,
            map: None,
            bumps: 0,
        }
    }

    pub(crate) fn pmt_pid(&self) -> Option<u16> {
        self.chosen.map(|(_, pid)| pid)
    }

    /// The map as it came.
    pub(crate) fn map(&self) -> Option<&Pmt> {
        self.map.as_ref()
    }

    /// Takes a packet of the PAT. True: the PMT is elsewhere from now on.
    pub(crate) fn take_pat(
        &mut self,
        packet: &Bytes,
        faults: &mut Faults,
    ) -> Result<bool, Refusal> {
        let mut read = Vec::new();
        self.pat
            .push(packet, |section| read.push(Pat::read(section)));
        let mut moved = false;
        for pat in read {
            let Some(pat) = pat else {
                faults.crc += 1;
                continue;
            };
            if !pat.current {
                continue;
            }
            if pat.sections > 0 {
                return Err(Refusal::PatSections(usize::from(pat.sections) + 1));
            }
            match pat.programs[..] {
                [] => {}
                // A packet identifier that no table can have.
                [(_, PAT_PID | NULL_PID)] => faults.crc += 1,
                [program] => {
                    if self.chosen != Some(program) {
                        self.chosen = Some(program);
                        self.pmt = Sections::new(psi::SECTION_MAX);
                        self.map = None;
                        moved = true;
                    }
                }
                _ => return Err(Refusal::Programs(pat.programs.len())),
            }
        }
        Ok(moved)
    }

    /// Takes a packet of the PMT. The first answer: a section ended in it. The second: the map is
    /// another from now on.
    pub(crate) fn take_pmt(
        &mut self,
        packet: &Bytes,
        faults: &mut Faults,
    ) -> Result<(bool, bool), Refusal> {
        let Some((number, pid)) = self.chosen else {
            return Ok((false, false));
        };
        let mut read = Vec::new();
        self.pmt.push(packet, |section| {
            read.push((section[0], Pmt::read(section)));
        });
        let (ended, mut changed) = (!read.is_empty(), false);
        for (table, map) in read {
            let Some(map) = map else {
                if table != 2 {
                    return Err(Refusal::PmtShared(pid, table));
                }
                faults.crc += 1;
                continue;
            };
            if !map.current || map.program != number {
                continue;
            }
            if map.last > 0 {
                return Err(Refusal::PmtSections(usize::from(map.last) + 1));
            }
            if map.pcr_pid == pid {
                return Err(Refusal::PmtClock(pid));
            }
            if self.map.as_ref() != Some(&map) {
                self.map = Some(map);
                changed = true;
            }
        }
        Ok((ended, changed))
    }

    /// Our part changes.
    pub(crate) fn bump(&mut self) {
        self.bumps = (self.bumps + 1) % 32;
    }

    /// The map's section as it goes out.
    pub(crate) fn section(&self, pids: OurPids) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(mut map) = self.map.clone() else {
            return Ok(None);
        };
        map.version = (map.version + 1 + self.bumps) & 0x1F;
        let registered = psi::descriptors(&map.descriptors)
            .any(|(tag, body)| tag == REGISTRATION && body.starts_with(&CUEI));
        if !registered {
            map.descriptors.extend([REGISTRATION, 4]);
            map.descriptors.extend(CUEI);
        }
        map.descriptors.extend([METADATA_POINTER, 0x0F, 0xFF, 0xFF]);
        map.descriptors.extend(b"ID3 \xFFID3 \x00\x1F");
        map.descriptors.extend(map.program.to_be_bytes());
        map.streams.push(Stream {
            kind: METADATA,
            pid: pids.id3,
            descriptors: METADATA_DESCRIPTOR.to_vec(),
        });
        map.streams.push(Stream {
            kind: SPLICES,
            pid: pids.scte35,
            descriptors: Vec::new(),
        });
        map.write().map(Some).ok_or(Refusal::PmtFull)
    }
}
