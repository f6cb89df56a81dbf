//! Broadcasts from the network: datagrams, messages, events, sealed heads. What reads is of one
//! form and written back the same; an assembler keeps to its bound whatever comes; no stranger's
//! bytes open as a head.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use selvedge_identity::{AddressedHead, KeyRing, SessionId};
use selvedge_transmit::event::{EventReader, Told};
use selvedge_transmit::{Assembler, AssemblerOptions, Datagram, Message, cut};

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::single([7; 32]));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(datagram) = Datagram::decode(bytes) {
        assert_eq!(datagram.encode(), bytes);
    }
    let message = Message::decode(&Bytes::copy_from_slice(bytes));
    if let Some(message) = &message {
        assert_eq!(message.encode(), bytes);
    }
    for sealed in [AddressedHead::parse(bytes).ok(), AddressedHead::from_bytes(bytes)] {
        if let Some(sealed) = sealed {
            assert!(sealed.open(SessionId::from_random([1; 16]), &KEYS).is_err());
            assert_eq!(AddressedHead::parse(sealed.text().as_bytes()), Ok(sealed));
        }
    }

    // As a stream of datagrams, each with a length of two bytes before it; and as a message that
    // is cut rightly, which comes out if it is one.
    let options = AssemblerOptions {
        bytes_max: 10_000,
        ..AssemblerOptions::default()
    };
    let mut assembler = Assembler::new(options);
    let mut rest = bytes;
    let mut now = Duration::ZERO;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (datagram, after) = after.split_at(length);
        assembler.take(datagram, now);
        now += Duration::from_millis(length as u64);
        rest = after;
    }
    let mut assembler = Assembler::new(AssemblerOptions::default());
    let datagrams = cut(1, 2, bytes, 304);
    let came = datagrams.iter().find_map(|datagram| assembler.take(datagram, now));
    assert_eq!(came, message);

    let mut whole = Vec::new();
    let mut reader = EventReader::default();
    let pushed = reader.push(bytes, |event| whole.push(event));
    let mut pieces = Vec::new();
    let mut reader = EventReader::default();
    for piece in bytes.chunks(3) {
        if reader.push(piece, |event| pieces.push(event)).is_err() {
            break;
        }
    }
    if pushed.is_ok() {
        assert_eq!(whole, pieces);
    }
    for event in whole {
        if let Ok(told) = serde_json::from_str::<Told>(&event.data) {
            let _ = told.bytes();
        }
    }
});
