//! Keys of consumers: no stranger's bytes verify; what is signed rightly is accepted only in the
//! one form that it is signed back in; names of consumers are read as they are written.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use selvedge_identity::{AuditKey, Consumer, KeyRing, purpose};

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::single([7; 32]));

fuzz_target!(|bytes: &[u8]| {
    assert!(AuditKey::verify(bytes, &KEYS, 0).is_err());
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(consumer) = text.parse::<Consumer>() {
        assert_eq!(consumer.to_string().parse(), Ok(consumer));
    }
    // A holder and an expiry, as the fleet would never write them.
    let (holder, expires) = text.split_once('\n').unwrap_or((text, "1"));
    let body = format!("{}.{expires}.A", base64(holder.as_bytes()));
    let (_, mac) = KEYS.mac(purpose::AUDIT, body.as_bytes());
    let signed = format!("{body}{}", base64(&mac));
    if let Ok(key) = AuditKey::verify(signed.as_bytes(), &KEYS, 0) {
        assert_eq!(key.sign(&KEYS), signed);
        let over = AuditKey::verify(signed.as_bytes(), &KEYS, key.expires);
        assert!(over.is_err());
    }
});

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
