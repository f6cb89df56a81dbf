//! What frames say (`docs/formats/bus.md`): all numbers little-endian, texts with their length
//! before them. Whatever does not parse to its last byte is refused.

use bytes::{Buf, BufMut, Bytes};
use selvedge_identity::{Epoch, Position, ServerName};

use super::asking::{Refusal, put_answer, put_bytes, put_terms};
use super::frame::{Frame, FrameError};
use crate::hub::Begin;
use crate::{Batch, Extent, Found, Holders, SourceRead, Terms};

/// Frame kind of [`Message::Batch`]: sent on as it came, so named apart.
pub(crate) const BATCH: u8 = 16;

/// What one frame says. "c" comes from the connecting side, "h" from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// c: begins the handshake.
    Hello {
        nonce: [u8; 32],
        instance: [u8; 16],
        name: String,
    },
    /// h
    Challenge { nonce: [u8; 32] },
    /// c: proves that it has the key.
    Proof { mac: [u8; 32] },
    /// h: proves that it has the key; the link stands.
    Welcome { mac: [u8; 32] },
    /// h: the link is refused, or ended, for this reason.
    Refused { reason: String },
    /// Both: still alive.
    Alive,
    /// c: becomes the owner of a journal, on this channel.
    Join {
        server: ServerName,
        extents: Vec<Extent>,
        terms: Terms,
        reported: Option<(Epoch, u64)>,
    },
    /// h
    Joined,
    /// h: the name has a live owner.
    NameTaken { owner: String },
    /// c: leaves.
    Leave,
    /// c: what the journal holds.
    Extents(Vec<Extent>),
    /// c: subscribers who report may go on up to here.
    Report { epoch: Epoch, end: u64 },
    /// c: an announcement; h: a delivery. Also what a read gave.
    Batch(Batch),
    /// h: so many bytes of announcements were taken.
    Taken { bytes: u64 },
    /// h: asks for records of the channel's journal.
    Read {
        id: u32,
        epoch: Epoch,
        from: u64,
        bytes_max: u32,
    },
    /// c: answers.
    ReadDone {
        id: u32,
        result: Result<SourceRead, String>,
    },
    /// c: asks the owner of a journal.
    Ask {
        id: u32,
        server: ServerName,
        question: Bytes,
    },
    /// h: passes the question on, on the owner's channel.
    Find { id: u32, question: Bytes },
    /// c: the owner's answer to that; h: the answer, to the one who asked.
    Answer {
        id: u32,
        result: Result<Found, Refusal>,
    },
    /// h: a subscriber who reports has got what was reported up to here.
    ReportTaken { epoch: Epoch, end: u64 },
    /// c: opens a subscription, on this channel.
    Subscribe {
        name: String,
        begin: Begin,
        reports: bool,
        skip: Option<ServerName>,
        holds: Option<ServerName>,
        from: Vec<Position>,
    },
    /// c: the subscription's server holds everything before these in its memory.
    Held(Vec<Position>),
    /// h: how far others hold the channel's journal.
    Holders(Holders),
    /// h: it is open, and begins here.
    Subscribed { from: Vec<Position> },
    /// h: this channel's join or subscription is refused.
    Denied { reason: String },
    /// c
    Unsubscribe,
    /// c: the hub may deliver so many bytes more.
    Credit { bytes: u64 },
    /// h
    Gap {
        server: ServerName,
        epoch: Epoch,
        from: u64,
        to: u64,
    },
    /// h
    Present {
        server: ServerName,
        epoch: Epoch,
        terms: Terms,
    },
    /// h
    Absent { server: ServerName },
}

impl Message {
    /// The frame that says this.
    pub(crate) fn frame(&self, channel: u16) -> Frame {
        let mut out = Vec::new();
        let kind = self.write(&mut out);
        Frame::new(kind, channel, out)
    }

    /// What a frame says.
    pub(crate) fn parse(frame: &Frame) -> Result<Self, FrameError> {
        let mut body = Body::new(frame.body.clone());
        let message = body.message(frame.kind)?;
        body.end()?;
        Ok(message)
    }

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Hello {
                nonce,
                instance,
                name,
            } => {
                out.put_slice(nonce);
                out.put_slice(instance);
                put_text(out, name);
                1
            }
            Self::Challenge { nonce } => {
                out.put_slice(nonce);
                2
            }
            Self::Proof { mac } => {
                out.put_slice(mac);
                3
            }
            Self::Welcome { mac } => {
                out.put_slice(mac);
                4
            }
            Self::Refused { reason } => {
                put_text(out, reason);
                5
            }
            Self::Alive => 6,
            Self::Join {
                server,
                extents,
                terms,
                reported,
            } => {
                put_text(out, server.as_str());
                put_extents(out, extents);
                put_terms(out, *terms);
                put_maybe_end(out, *reported);
                10
            }
            Self::Joined => 11,
            Self::NameTaken { owner } => {
                put_text(out, owner);
                12
            }
            Self::Leave => 13,
            Self::Extents(extents) => {
                put_extents(out, extents);
                14
            }
            Self::Report { epoch, end } => {
                put_epoch(out, *epoch);
                out.put_u64_le(*end);
                15
            }
            Self::Batch(batch) => {
                put_batch(out, batch);
                BATCH
            }
            Self::Taken { bytes } => {
                out.put_u64_le(*bytes);
                17
            }
            Self::Read {
                id,
                epoch,
                from,
                bytes_max,
            } => {
                out.put_u32_le(*id);
                put_epoch(out, *epoch);
                out.put_u64_le(*from);
                out.put_u32_le(*bytes_max);
                18
            }
            Self::ReadDone { id, result } => {
                out.put_u32_le(*id);
                match result {
                    Ok(SourceRead::Batch(batch)) => {
                        out.put_u8(0);
                        put_batch(out, batch);
                    }
                    Ok(SourceRead::Gap { to }) => {
                        out.put_u8(1);
                        out.put_u64_le(*to);
                    }
                    Ok(SourceRead::End) => out.put_u8(2),
                    Err(reason) => {
                        out.put_u8(3);
                        put_text(out, reason);
                    }
                }
                19
            }
            Self::Ask {
                id,
                server,
                question,
            } => {
                out.put_u32_le(*id);
                put_text(out, server.as_str());
                put_bytes(out, question);
                29
            }
            Self::Find { id, question } => {
                out.put_u32_le(*id);
                put_bytes(out, question);
                30
            }
            Self::Answer { id, result } => {
                out.put_u32_le(*id);
                put_answer(out, result);
                31
            }
            Self::ReportTaken { epoch, end } => {
                put_epoch(out, *epoch);
                out.put_u64_le(*end);
                32
            }
            Self::Subscribe {
                name,
                begin,
                reports,
                skip,
                holds,
                from,
            } => {
                put_text(out, name);
                out.put_u8(match begin {
                    Begin::Oldest => 0,
                    Begin::Now => 1,
                    Begin::Epoch => 2,
                });
                out.put_u8((*reports).into());
                put_maybe_server(out, skip.as_ref());
                put_maybe_server(out, holds.as_ref());
                put_positions(out, from);
                20
            }
            Self::Held(positions) => {
                put_positions(out, positions);
                33
            }
            Self::Holders(holders) => {
                out.put_u32_le(u32::try_from(holders.present).unwrap_or(u32::MAX));
                put_maybe_end(out, holders.to);
                34
            }
            Self::Subscribed { from } => {
                put_positions(out, from);
                21
            }
            Self::Denied { reason } => {
                put_text(out, reason);
                28
            }
            Self::Unsubscribe => 23,
            Self::Credit { bytes } => {
                out.put_u64_le(*bytes);
                24
            }
            Self::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                put_text(out, server.as_str());
                put_epoch(out, *epoch);
                out.put_u64_le(*from);
                out.put_u64_le(*to);
                25
            }
            Self::Present {
                server,
                epoch,
                terms,
            } => {
                put_text(out, server.as_str());
                put_epoch(out, *epoch);
                put_terms(out, *terms);
                26
            }
            Self::Absent { server } => {
                put_text(out, server.as_str());
                27
            }
        }
    }
}

/// The body of a batch frame.
pub(crate) fn batch_body(batch: &Batch) -> Bytes {
    let mut out = Vec::new();
    put_batch(&mut out, batch);
    out.into()
}

/// How long the body of a batch frame is.
pub(crate) fn batch_body_len(batch: &Batch) -> usize {
    let records: usize = batch.records.iter().map(|record| 4 + record.len()).sum();
    1 + batch.server.as_str().len() + 12 + 8 + 4 + records
}

pub(crate) fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    out.reserve(batch_body_len(batch));
    put_text(out, batch.server.as_str());
    put_epoch(out, batch.epoch);
    out.put_u64_le(batch.first);
    out.put_u32_le(batch.records.len() as u32);
    for record in &batch.records {
        out.put_u32_le(record.len() as u32);
    }
    for record in &batch.records {
        out.put_slice(record);
    }
}

/// Texts are cut to 255 bytes: they are names, and reasons for people.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u8(end as u8);
    out.put_slice(&text.as_bytes()[..end]);
}

pub(crate) fn put_epoch(out: &mut Vec<u8>, epoch: Epoch) {
    out.put_u32_le(epoch.counter);
    out.put_u64_le(epoch.random);
}

/// An epoch and the sequence after the last record, or neither.
fn put_maybe_end(out: &mut Vec<u8>, end: Option<(Epoch, u64)>) {
    out.put_u8(end.is_some().into());
    if let Some((epoch, end)) = end {
        put_epoch(out, epoch);
        out.put_u64_le(end);
    }
}

fn put_maybe_server(out: &mut Vec<u8>, server: Option<&ServerName>) {
    put_text(out, server.map_or("", ServerName::as_str));
}

pub(super) fn put_extents(out: &mut Vec<u8>, extents: &[Extent]) {
    out.put_u32_le(extents.len() as u32);
    for extent in extents {
        put_epoch(out, extent.epoch);
        out.put_u64_le(extent.first);
        out.put_u64_le(extent.end);
    }
}

fn put_positions(out: &mut Vec<u8>, positions: &[Position]) {
    out.put_u32_le(positions.len() as u32);
    for position in positions {
        put_text(out, position.server.as_str());
        put_epoch(out, position.epoch);
        out.put_u64_le(position.sequence);
    }
}

/// A body being read.
pub(crate) struct Body(Bytes);

const SHORT: FrameError = FrameError::Content("message cut short");

impl Body {
    pub(crate) fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// Everything that was not read yet.
    #[cfg(feature = "jetstream")]
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    /// Whatever does not parse to its last byte is refused.
    pub(crate) fn end(self) -> Result<(), FrameError> {
        if self.0.has_remaining() {
            return Err(FrameError::Content("bytes after the message"));
        }
        Ok(())
    }

    fn message(&mut self, kind: u8) -> Result<Message, FrameError> {
        Ok(match kind {
            1 => Message::Hello {
                nonce: self.array()?,
                instance: self.array()?,
                name: self.text()?,
            },
            2 => Message::Challenge {
                nonce: self.array()?,
            },
            3 => Message::Proof { mac: self.array()? },
            4 => Message::Welcome { mac: self.array()? },
            5 => Message::Refused {
                reason: self.text()?,
            },
            6 => Message::Alive,
            10 => Message::Join {
                server: self.server()?,
                extents: self.extents()?,
                terms: self.terms()?,
                reported: self.maybe_end()?,
            },
            11 => Message::Joined,
            12 => Message::NameTaken {
                owner: self.text()?,
            },
            13 => Message::Leave,
            14 => Message::Extents(self.extents()?),
            15 => Message::Report {
                epoch: self.epoch()?,
                end: self.u64()?,
            },
            BATCH => Message::Batch(self.batch()?),
            17 => Message::Taken { bytes: self.u64()? },
            18 => Message::Read {
                id: self.u32()?,
                epoch: self.epoch()?,
                from: self.u64()?,
                bytes_max: self.u32()?,
            },
            19 => Message::ReadDone {
                id: self.u32()?,
                result: match self.u8()? {
                    0 => Ok(SourceRead::Batch(self.batch()?)),
                    1 => Ok(SourceRead::Gap { to: self.u64()? }),
                    2 => Ok(SourceRead::End),
                    3 => Err(self.text()?),
                    _ => return Err(FrameError::Content("unknown outcome of a read")),
                },
            },
            20 => Message::Subscribe {
                name: self.text()?,
                begin: match self.u8()? {
                    0 => Begin::Oldest,
                    1 => Begin::Now,
                    2 => Begin::Epoch,
                    _ => return Err(FrameError::Content("unknown start")),
                },
                reports: self.flag()?,
                skip: self.maybe_server()?,
                holds: self.maybe_server()?,
                from: self.positions()?,
            },
            21 => Message::Subscribed {
                from: self.positions()?,
            },
            28 => Message::Denied {
                reason: self.text()?,
            },
            23 => Message::Unsubscribe,
            24 => Message::Credit { bytes: self.u64()? },
            25 => Message::Gap {
                server: self.server()?,
                epoch: self.epoch()?,
                from: self.u64()?,
                to: self.u64()?,
            },
            26 => Message::Present {
                server: self.server()?,
                epoch: self.epoch()?,
                terms: self.terms()?,
            },
            27 => Message::Absent {
                server: self.server()?,
            },
            29 => Message::Ask {
                id: self.u32()?,
                server: self.server()?,
                question: self.bytes()?,
            },
            30 => Message::Find {
                id: self.u32()?,
                question: self.bytes()?,
            },
            31 => Message::Answer {
                id: self.u32()?,
                result: self.answer()?,
            },
            32 => Message::ReportTaken {
                epoch: self.epoch()?,
                end: self.u64()?,
            },
            33 => Message::Held(self.positions()?),
            34 => Message::Holders(Holders {
                present: self.u32()? as usize,
                to: self.maybe_end()?,
            }),
            _ => return Err(FrameError::Content("unknown kind of frame")),
        })
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes, FrameError> {
        if self.0.remaining() < count {
            return Err(SHORT);
        }
        Ok(self.0.split_to(count))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.0.try_get_u32_le().map_err(|_| SHORT)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.0.try_get_u64_le().map_err(|_| SHORT)
    }

    pub(crate) fn text(&mut self) -> Result<String, FrameError> {
        let length = self.u8()?;
        let bytes = self.take(length.into())?;
        let text = std::str::from_utf8(&bytes).map_err(|_| FrameError::Content("not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn server(&mut self) -> Result<ServerName, FrameError> {
        server(&self.text()?)
    }

    fn maybe_server(&mut self) -> Result<Option<ServerName>, FrameError> {
        match self.text()? {
            none if none.is_empty() => Ok(None),
            name => server(&name).map(Some),
        }
    }

    fn maybe_end(&mut self) -> Result<Option<(Epoch, u64)>, FrameError> {
        Ok(match self.flag()? {
            true => Some((self.epoch()?, self.u64()?)),
            false => None,
        })
    }

    pub(crate) fn epoch(&mut self) -> Result<Epoch, FrameError> {
        Ok(Epoch {
            counter: self.u32()?,
            random: self.u64()?,
        })
    }

    /// A number of things that follow, each of at least `size_min` bytes.
    pub(super) fn count(&mut self, size_min: usize) -> Result<usize, FrameError> {
        let count = self.u32()? as usize;
        if count > self.0.remaining() / size_min {
            return Err(SHORT);
        }
        Ok(count)
    }

    pub(super) fn extents(&mut self) -> Result<Vec<Extent>, FrameError> {
        let count = self.count(12 + 8 + 8)?;
        let mut extents = Vec::with_capacity(count);
        for _ in 0..count {
            extents.push(Extent {
                epoch: self.epoch()?,
                first: self.u64()?,
                end: self.u64()?,
            });
        }
        Ok(extents)
    }

    fn positions(&mut self) -> Result<Vec<Position>, FrameError> {
        let count = self.count(1 + 12 + 8)?;
        let mut positions = Vec::with_capacity(count);
        for _ in 0..count {
            positions.push(Position {
                server: self.server()?,
                epoch: self.epoch()?,
                sequence: self.u64()?,
            });
        }
        Ok(positions)
    }

    pub(crate) fn batch(&mut self) -> Result<Batch, FrameError> {
        let server = self.server()?;
        let epoch = self.epoch()?;
        let first = self.u64()?;
        let count = self.count(4)?;
        if count == 0 {
            return Err(FrameError::Content("batch without records"));
        }
        if first.checked_add(count as u64).is_none() {
            return Err(FrameError::Content("sequence out of range"));
        }
        let lengths = self.take(count * 4)?;
        let mut records = Vec::with_capacity(count);
        for length in lengths.chunks_exact(4) {
            let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
            records.push(self.take(length as usize)?);
        }
        Ok(Batch {
            server,
            epoch,
            first,
            records,
        })
    }
}

fn server(name: &str) -> Result<ServerName, FrameError> {
    ServerName::new(name).map_err(|_| FrameError::Content("not a server name"))
}
