//! The native header: what reads at all is written back as it came, survives a hop, and is no
//! text that correction would have had to touch.
//!
//! libFuzzer finds no check by itself, so a text is also tried with the check that it should
//! have, borrowed from a text of the crate's own making.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_identity::{Interaction, RequestIdentifier, Shape};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut text = bytes.to_vec();
    text.push(b'.');
    text.extend(check_of(bytes));
    check(&text);
});

fn check(text: &[u8]) {
    let Ok(id) = RequestIdentifier::parse(text) else {
        let _ = RequestIdentifier::parse_correcting(text);
        return;
    };
    assert_eq!(id.encode().as_bytes(), text);
    assert_eq!(
        RequestIdentifier::parse_correcting(text),
        Ok((id.clone(), false))
    );
    let own = Interaction::from_random([7; 8]);
    let next = id.advance(own, Shape::default());
    assert_eq!(RequestIdentifier::parse(next.encode().as_bytes()), Ok(next));
}

/// CRC-32C bit by bit, its lower 24 bits as four base64 characters.
fn check_of(body: &[u8]) -> [u8; 4] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    [18, 12, 6, 0].map(|shift| alphabet[(!crc >> shift & 63) as usize])
}
