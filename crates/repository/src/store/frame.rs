//! Frames: what the store's files hold, one after the other.
//!
//! ```text
//! length  u32 LE   bytes of the payload
//! check   u32 LE   CRC-32C of the payload
//! payload
//!   kind    u8       1 batch, 2 gap, 3 spans, 4 doubt, 5 passed
//!   batch, gap, passed:
//!     server  u8 n, n bytes
//!     epoch   u32 LE counter, u64 LE random
//!     first   u64 LE   sequence of the first record (batch), first lost sequence (gap)
//!     batch:  u32 LE count, then per record u32 LE length and the bytes as the journal held them
//!     gap:    u64 LE   one past the last lost sequence
//!     passed: u64 LE   one past the last sequence that the owner looked through when it was asked
//!                      for something: those of them that are not here it keeps
//!   spans:
//!     form    u8       1: spans as `selvedge_spans::StoredSpans` writes them
//!     u32 LE length and the resources and scopes that the spans name
//!     u32 LE count, then per span u32 LE length and its bytes
//!   doubt:
//!     u32 LE segment, u64 LE from, u64 LE to: what lies there is not known to be durable
//! ```
//!
//! A batch frame holds consecutive records of one epoch, so the sequence of each is implied. A
//! spans frame needs no other frame to be read. A frame whose length or check does not hold ends
//! its file: a write that a crash tore. One of a kind that is not known here is left alone.

use std::ops::Range;

use bytes::{Buf, Bytes};
use selvedge_identity::{Epoch, ServerName};

/// Bytes before a payload.
pub(crate) const HEADER_BYTES: usize = 8;

/// The largest payload: far above what a bus delivers at once, and low enough that a corrupt
/// length is not believed.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const BATCH: u8 = 1;
const GAP: u8 = 2;
const SPANS: u8 = 3;
const DOUBT: u8 = 4;
const PASSED: u8 = 5;

/// The form of spans that this version writes, the only one so far.
const SPANS_FORM: u8 = 1;

/// What one frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Of a journal.
    Journal {
        server: ServerName,
        epoch: Epoch,
        first: u64,
        body: Body,
    },
    /// Of services without a journal. Each part comes with its place within the payload.
    Spans {
        contexts: (u32, Bytes),
        spans: Vec<(u32, Bytes)>,
    },
    /// This part of a segment is not known to be durable.
    Doubt { segment: u32, from: u64, to: u64 },
    /// Of a later version.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Each record with its place within the payload.
    Batch(Vec<(u32, Bytes)>),
    /// Lost for good up to (not including) this sequence.
    Gap(u64),
    /// Looked through up to (not including) this sequence by an owner that was asked.
    Passed(u64),
}

/// Appends a batch frame; returns where in the frame's payload each record starts.
pub(crate) fn encode_batch(
    out: &mut Vec<u8>,
    server: &ServerName,
    epoch: Epoch,
    first: u64,
    records: &[Bytes],
) -> Vec<u32> {
    let mut starts = Vec::with_capacity(records.len());
    frame(out, |out| {
        let payload = out.len();
        head(out, BATCH, server, epoch, first);
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
        for record in records {
            out.extend_from_slice(&(record.len() as u32).to_le_bytes());
            starts.push((out.len() - payload) as u32);
            out.extend_from_slice(record);
        }
    });
    starts
}

/// Appends a gap frame for the sequences `[from, to)`.
pub(crate) fn encode_gap(out: &mut Vec<u8>, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
    frame(out, |out| {
        head(out, GAP, server, epoch, from);
        out.extend_from_slice(&to.to_le_bytes());
    });
}

/// Appends a passed frame for the sequences `[from, to)`.
pub(crate) fn encode_passed(
    out: &mut Vec<u8>,
    server: &ServerName,
    epoch: Epoch,
    from: u64,
    to: u64,
) {
    frame(out, |out| {
        head(out, PASSED, server, epoch, from);
        out.extend_from_slice(&to.to_le_bytes());
    });
}

/// Where the parts of a spans frame lie in its payload.
pub(crate) struct SpansPlaces {
    pub(crate) contexts: u32,
    pub(crate) spans: Vec<u32>,
}

/// Appends a spans frame.
pub(crate) fn encode_spans<'a>(
    out: &mut Vec<u8>,
    contexts: &[u8],
    spans: impl ExactSizeIterator<Item = &'a [u8]>,
) -> SpansPlaces {
    let mut places = SpansPlaces {
        contexts: 0,
        spans: Vec::with_capacity(spans.len()),
    };
    frame(out, |out| {
        let payload = out.len();
        let put = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            let start = out.len() - payload;
            out.extend_from_slice(bytes);
            start as u32
        };
        out.extend_from_slice(&[SPANS, SPANS_FORM]);
        places.contexts = put(out, contexts);
        out.extend_from_slice(&(spans.len() as u32).to_le_bytes());
        places.spans.extend(spans.map(|span| put(out, span)));
    });
    places
}

/// Appends a doubt frame.
pub(crate) fn encode_doubt(out: &mut Vec<u8>, segment: u32, part: &Range<u64>) {
    frame(out, |out| {
        out.push(DOUBT);
        out.extend_from_slice(&segment.to_le_bytes());
        out.extend_from_slice(&part.start.to_le_bytes());
        out.extend_from_slice(&part.end.to_le_bytes());
    });
}

/// Reads the frame at the front of `bytes`: the frame and the bytes it takes. `None` where no
/// whole, sound frame stands.
pub(crate) fn decode(bytes: &Bytes) -> Option<(Frame, usize)> {
    let mut header = bytes.get(..HEADER_BYTES)?;
    let length = header.get_u32_le() as usize;
    let check = header.get_u32_le();
    if length > PAYLOAD_BYTES_MAX || bytes.len() < HEADER_BYTES + length {
        return None;
    }
    let payload = bytes.slice(HEADER_BYTES..HEADER_BYTES + length);
    if crc32c::crc32c(&payload) != check {
        return None;
    }
    Some((decode_payload(&payload)?, HEADER_BYTES + length))
}

fn decode_payload(payload: &Bytes) -> Option<Frame> {
    let mut rest = payload.clone();
    let frame = match rest.try_get_u8().ok()? {
        kind @ (BATCH | GAP | PASSED) => decode_journal(kind, payload, &mut rest)?,
        SPANS if rest.first() == Some(&SPANS_FORM) => {
            rest.advance(1);
            let contexts = decode_part(payload, &mut rest)?;
            let spans = decode_parts(payload, &mut rest)?;
            Frame::Spans { contexts, spans }
        }
        DOUBT => Frame::Doubt {
            segment: rest.try_get_u32_le().ok()?,
            from: rest.try_get_u64_le().ok()?,
            to: rest.try_get_u64_le().ok()?,
        },
        _ => return Some(Frame::Other),
    };
    rest.is_empty().then_some(frame)
}

fn decode_journal(kind: u8, payload: &Bytes, rest: &mut Bytes) -> Option<Frame> {
    let name_length = usize::from(rest.try_get_u8().ok()?);
    let name = take(rest, name_length)?;
    let server = ServerName::new(std::str::from_utf8(&name).ok()?).ok()?;
    let counter = rest.try_get_u32_le().ok()?;
    let random = rest.try_get_u64_le().ok()?;
    let first = rest.try_get_u64_le().ok()?;
    let body = match kind {
        BATCH => Body::Batch(decode_parts(payload, rest)?),
        PASSED => Body::Passed(rest.try_get_u64_le().ok()?),
        _ => Body::Gap(rest.try_get_u64_le().ok()?),
    };
    Some(Frame::Journal {
        server,
        epoch: Epoch { counter, random },
        first,
        body,
    })
}

/// A count and as many parts.
fn decode_parts(payload: &Bytes, rest: &mut Bytes) -> Option<Vec<(u32, Bytes)>> {
    let count = rest.try_get_u32_le().ok()? as usize;
    let mut parts = Vec::with_capacity(count.min(rest.len() / 4));
    for _ in 0..count {
        parts.push(decode_part(payload, rest)?);
    }
    Some(parts)
}

/// Bytes after their length, with their place in the payload.
fn decode_part(payload: &Bytes, rest: &mut Bytes) -> Option<(u32, Bytes)> {
    let length = rest.try_get_u32_le().ok()? as usize;
    let start = (payload.len() - rest.len()) as u32;
    Some((start, take(rest, length)?))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

fn frame(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let header = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    payload(out);
    let (head, body) = out[header..].split_at_mut(HEADER_BYTES);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

fn head(out: &mut Vec<u8>, kind: u8, server: &ServerName, epoch: Epoch, first: u64) {
    out.push(kind);
    out.push(server.as_str().len() as u8);
    out.extend_from_slice(server.as_str().as_bytes());
    out.extend_from_slice(&epoch.counter.to_le_bytes());
    out.extend_from_slice(&epoch.random.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Vec<u32>) {
        let mut out = Vec::new();
        let starts = encode_batch(
            &mut out,
            &"content-1".parse().unwrap(),
            "3-00000000000000ff".parse().unwrap(),
            7,
            &[
                Bytes::from_static(b"one"),
                Bytes::new(),
                Bytes::from_static(b"three"),
            ],
        );
        (out, starts)
    }

    #[test]
    fn a_batch_frame_reads_back_with_the_place_of_each_record() {
        let (out, starts) = sample();
        let bytes = Bytes::from(out);
        let (frame, taken) = decode(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        let Frame::Journal {
            first,
            body: Body::Batch(records),
            ..
        } = frame
        else {
            panic!("a batch")
        };
        assert_eq!(first, 7);
        let places: Vec<u32> = records.iter().map(|(start, _)| *start).collect();
        assert_eq!(places, starts);
        for (start, record) in records {
            let at = HEADER_BYTES + start as usize;
            assert_eq!(bytes.slice(at..at + record.len()), record);
        }
    }

    #[test]
    fn a_gap_frame_reads_back() {
        let mut out = Vec::new();
        let server: ServerName = "a".parse().unwrap();
        let epoch: Epoch = "1-0000000000000001".parse().unwrap();
        encode_gap(&mut out, &server, epoch, 4, 9);
        let (frame, _) = decode(&Bytes::from(out)).unwrap();
        let body = Body::Gap(9);
        assert_eq!(
            frame,
            Frame::Journal {
                server,
                epoch,
                first: 4,
                body
            }
        );
    }

    #[test]
    fn a_spans_frame_reads_back_with_the_place_of_each_part() {
        let mut out = Vec::new();
        let parts: [&[u8]; 3] = [b"one", b"", b"three"];
        let places = encode_spans(&mut out, b"contexts", parts.into_iter());
        let bytes = Bytes::from(out);
        let (frame, taken) = decode(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        let Frame::Spans { contexts, spans } = frame else {
            panic!("spans")
        };
        assert_eq!(contexts, (places.contexts, Bytes::from_static(b"contexts")));
        let read: Vec<(u32, &[u8])> = spans.iter().map(|(at, span)| (*at, &**span)).collect();
        let written: Vec<(u32, &[u8])> = places.spans.into_iter().zip(parts).collect();
        assert_eq!(read, written);
    }

    #[test]
    fn doubt_reads_back_and_a_later_kind_is_left_alone() {
        let mut out = Vec::new();
        encode_doubt(&mut out, 3, &(7..1 << 40));
        let (frame, _) = decode(&Bytes::from(out)).unwrap();
        let (segment, from, to) = (3, 7, 1 << 40);
        assert_eq!(frame, Frame::Doubt { segment, from, to });
        let mut out = Vec::new();
        super::frame(&mut out, |out| out.extend_from_slice(b"\x09later"));
        assert_eq!(decode(&Bytes::from(out)), Some((Frame::Other, 14)));
    }

    #[test]
    fn a_frame_cut_or_flipped_at_any_byte_is_not_believed() {
        let (out, _) = sample();
        for cut in 0..out.len() {
            assert!(decode(&Bytes::copy_from_slice(&out[..cut])).is_none());
            let mut flipped = out.clone();
            flipped[cut] ^= 0x40;
            assert!(decode(&Bytes::from(flipped)).is_none(), "byte {cut}");
        }
    }
}
