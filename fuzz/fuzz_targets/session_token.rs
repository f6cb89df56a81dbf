//! Tokens: no stranger's bytes verify; heads that are signed rightly are accepted only in the one
//! form that they are signed back in; uniting any values never panics and never leaves a session.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use selvedge_identity::{ClientId, KeyRing, SessionId, SessionToken, purpose};

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::single([7; 32]));

fuzz_target!(|bytes: &[u8]| {
    assert!(SessionToken::verify(bytes, &KEYS).is_err());
    assert!(ClientId::verify(bytes, &KEYS).is_err());
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(ring) = KeyRing::parse(text)
    {
        assert_eq!(KeyRing::parse(&ring.to_text()), Ok(ring));
    }

    let session = SessionId::from_random([1; 16]);
    let signed = sign(&session.text(), bytes);
    let token = SessionToken::verify(signed.as_bytes(), &KEYS);
    if let Ok(token) = &token {
        assert_eq!(token.sign(&KEYS), signed);
    }
    let fresh = SessionToken::new(session, []).sign(&KEYS);
    let united = SessionToken::unite([bytes, signed.as_bytes(), fresh.as_bytes()], &KEYS);
    if let Some(united) = united.token {
        assert_eq!(united.session, session);
        assert_eq!(united.heads, token.map(|t| t.heads).unwrap_or_default());
    }
});

/// A token with these bytes as its heads, signed rightly.
fn sign(session: &str, heads: &[u8]) -> String {
    let body = format!("{session}.{}.A", base64(heads));
    let (_, mac) = KEYS.mac(purpose::SESSION, body.as_bytes());
    format!("{body}{}", base64(&mac))
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |sum, i| {
            sum << 8 | u32::from(group.get(i).copied().unwrap_or(0))
        });
        for digit in 0..=group.len() {
            out.push(char::from(
                alphabet[(bits >> (18 - 6 * digit) & 63) as usize],
            ));
        }
    }
    out
}
