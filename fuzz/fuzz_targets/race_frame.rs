//! Frames of the race. The first byte chooses: the rest comes as it is, or with its code made right
//! (so that inputs get past it). What reads is of one form and written back the same; clients'
//! datagrams too, and chrony's report never makes a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use selvedge_identity::{KeyRing, purpose};
use selvedge_race::wire::{ClientFrame, Frame, Side};

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::single([7; 32]));

fuzz_target!(|bytes: &[u8]| {
    if let Some(frame) = ClientFrame::decode(bytes) {
        assert_eq!(frame.encode(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = selvedge_clock::chrony_account(text);
    }
    let [choice, rest @ ..] = bytes else { return };
    let side = if choice & 1 == 0 { Side::Master } else { Side::Replica };
    // Nobody guesses a code.
    assert!(Frame::open(rest, side, "site-1", &KEYS).is_err());
    let mut proven = b"\x06site-1".to_vec();
    proven.extend_from_slice(rest);
    let purpose = match side {
        Side::Master => purpose::RACE_MASTER,
        Side::Replica => purpose::RACE_REPLICA,
    };
    let (_, mac) = KEYS.mac(purpose, &proven);
    let sealed = [rest, &mac].concat();
    if let Ok((header, frame)) = Frame::open(&sealed, side, "site-1", &KEYS) {
        assert_eq!(frame.side(), side);
        assert_eq!(frame.seal(header, "site-1", &KEYS), sealed);
    }
});
