//! Frames: what the store's files hold, one after the other.
//!
//! ```text
//! length  u32 LE   bytes of the payload
//! check   u32 LE   CRC-32C of the payload
//! payload
//!   kind    u8       1 batch, 2 gap
//!   server  u8 n, n bytes
//!   epoch   u32 LE counter, u64 LE random
//!   first   u64 LE   sequence of the first record (batch), first lost sequence (gap)
//!   batch:  u32 LE count, then per record u32 LE length and the bytes as the journal held them
//!   gap:    u64 LE   one past the last lost sequence
//! ```
//!
//! A batch frame holds consecutive records of one epoch, so the sequence of each is implied. A
//! frame whose length or check does not hold ends its file: a write that a crash tore.

use bytes::{Buf, Bytes};
use selvedge_identity::{Epoch, ServerName};

/// Bytes before a payload.
pub(crate) const HEADER_BYTES: usize = 8;

/// The largest payload: far above what a bus delivers at once, and low enough that a corrupt
/// length is not believed.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const BATCH: u8 = 1;
const GAP: u8 = 2;

/// What one frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) server: ServerName,
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) body: Body,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Each record with its place within the payload.
    Batch(Vec<(u32, Bytes)>),
    /// Lost for good up to (not including) this sequence.
    Gap(u64),
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
    let kind = rest.try_get_u8().ok()?;
    let name_length = usize::from(rest.try_get_u8().ok()?);
    let name = take(&mut rest, name_length)?;
    let server = ServerName::new(std::str::from_utf8(&name).ok()?).ok()?;
    let counter = rest.try_get_u32_le().ok()?;
    let random = rest.try_get_u64_le().ok()?;
    let first = rest.try_get_u64_le().ok()?;
    let body = match kind {
        BATCH => {
            let count = rest.try_get_u32_le().ok()? as usize;
            let mut records = Vec::with_capacity(count.min(rest.len() / 4));
            for _ in 0..count {
                let length = rest.try_get_u32_le().ok()? as usize;
                let start = (payload.len() - rest.len()) as u32;
                records.push((start, take(&mut rest, length)?));
            }
            Body::Batch(records)
        }
        GAP => Body::Gap(rest.try_get_u64_le().ok()?),
        _ => return None,
    };
    rest.is_empty().then_some(Frame {
        server,
        epoch: Epoch { counter, random },
        first,
        body,
    })
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
        assert_eq!(frame.first, 7);
        let Body::Batch(records) = frame.body else {
            panic!("a batch")
        };
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
            Frame {
                server,
                epoch,
                first: 4,
                body
            }
        );
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
