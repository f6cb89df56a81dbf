//! Where packets begin in bytes that come in any pieces; and again after some were lost.

use crate::fault::{Faults, Refusal};
use crate::packet::{PACKET, SYNC};

/// So many sync bytes in a row, each a packet on, are packets.
const STRIDES: usize = 5;
/// What is searched for the first packet before the input is refused.
const SEARCHED_MAX: usize = 64 << 10;

/// Cuts bytes into packets.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    held: Vec<u8>,
    locked: bool,
    /// It was locked before: what comes is a transport stream, damaged or not.
    found: bool,
    searched: usize,
}

impl Framer {
    /// Takes bytes, and hands on whole packets, as many in a row as there are.
    ///
    /// # Errors
    /// When the first bytes of the input hold no packets of 188 bytes. Later it searches for ever.
    pub fn push<E: From<Refusal>>(
        &mut self,
        bytes: &[u8],
        faults: &mut Faults,
        mut each: impl FnMut(&[u8], &mut Faults) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = bytes;
        // The usual case: nothing is held, and the bytes are handed on where they are.
        if self.locked && self.held.is_empty() {
            let whole = packets(bytes);
            if whole > 0 {
                each(&bytes[..whole], faults)?;
            }
            bytes = &bytes[whole..];
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        let result = self.frame(&held, &mut at, faults, &mut each);
        self.held.extend_from_slice(&held[at..]);
        result
    }

    /// Bytes that wait for what comes next.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    fn frame<E: From<Refusal>>(
        &mut self,
        held: &[u8],
        at: &mut usize,
        faults: &mut Faults,
        each: &mut impl FnMut(&[u8], &mut Faults) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let rest = &held[*at..];
            if self.locked {
                let whole = packets(rest);
                *at += whole;
                if whole > 0 {
                    each(&rest[..whole], faults)?;
                }
                match held.get(*at) {
                    Some(&SYNC) | None => return Ok(()),
                    Some(_) => {
                        self.locked = false;
                        faults.sync_lost += 1;
                    }
                }
                continue;
            }
            match search(rest, PACKET) {
                Search::Found(skipped) => {
                    faults.bytes_skipped += skipped as u64;
                    *at += skipped;
                    self.locked = true;
                    self.found = true;
                }
                Search::More(skipped) => {
                    if !self.found {
                        for other in [204, 192] {
                            if matches!(search(rest, other), Search::Found(_)) {
                                return Err(Refusal::Framing(other).into());
                            }
                        }
                        self.searched += skipped;
                        if self.searched > SEARCHED_MAX {
                            return Err(Refusal::NotTransport(self.searched).into());
                        }
                    }
                    faults.bytes_skipped += skipped as u64;
                    *at += skipped;
                    return Ok(());
                }
            }
        }
    }

    /// The input ended: hands on the packets that were too few to be sure of.
    ///
    /// # Errors
    /// When there never were packets.
    pub fn finish<E: From<Refusal>>(
        &mut self,
        faults: &mut Faults,
        mut each: impl FnMut(&[u8], &mut Faults) -> Result<(), E>,
    ) -> Result<(), E> {
        let held = std::mem::take(&mut self.held);
        let whole = packets(&held);
        let searched = self.searched + held.len();
        if !self.found && searched > 0 && (whole == 0 || whole != held.len()) {
            return Err(Refusal::NotTransport(searched).into());
        }
        faults.bytes_skipped += (held.len() - whole) as u64;
        if whole > 0 {
            each(&held[..whole], faults)?;
        }
        Ok(())
    }
}

/// Bytes of the whole packets at the beginning.
fn packets(bytes: &[u8]) -> usize {
    let all = bytes.chunks_exact(PACKET);
    all.take_while(|packet| packet[0] == SYNC).count() * PACKET
}

enum Search {
    /// Packets begin after so many bytes.
    Found(usize),
    /// They do not begin in so many; the rest is too short to say.
    More(usize),
}

fn search(bytes: &[u8], stride: usize) -> Search {
    let needed = stride * (STRIDES - 1) + 1;
    let last = bytes.len().saturating_sub(needed - 1);
    let found = (0..last).find(|&at| (0..STRIDES).all(|n| bytes[at + n * stride] == SYNC));
    match found {
        Some(at) => Search::Found(at),
        // What is kept must be enough to know other strides by, too.
        None => Search::More(bytes.len().saturating_sub(204 * STRIDES)),
    }
}
