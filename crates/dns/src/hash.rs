//! Two hashes: a quick one for tables whose keys the operator writes, or that a secret seed guards,
//! and SipHash-2-4, which strangers cannot forge (RFC 9018 asks for it).

use std::hash::{BuildHasher, Hasher};

/// A quick hash of bytes: a folded multiplication for each eight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(pub u64);

impl BuildHasher for Quick {
    type Hasher = QuickHasher;

    fn build_hasher(&self) -> QuickHasher {
        QuickHasher(self.0 ^ 0x243f_6a88_85a3_08d3)
    }
}

/// The state of [`Quick`].
#[derive(Clone, Copy, Debug)]
pub struct QuickHasher(u64);

impl QuickHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = ((product >> 64) as u64 ^ product as u64).wrapping_add(0x2545_f491_4f6c_dd1d);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// SipHash-2-4 of `parts`, one after the other.
#[must_use]
pub fn sip(key: &[u8; 16], parts: &[&[u8]]) -> u64 {
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut block = [0; 8];
    let mut length = 0_usize;
    for byte in parts.iter().copied().flatten() {
        block[length % 8] = *byte;
        length += 1;
        if length.is_multiple_of(8) {
            compress(&mut v, u64::from_le_bytes(block));
        }
    }
    block[length % 8..].fill(0);
    block[7] = length as u8;
    compress(&mut v, u64::from_le_bytes(block));
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn compress(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_is_that_of_its_paper() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(sip(&key, &[&message]), 0xa129_ca61_49be_45e5);
        let parts = [&message[..3], &message[3..11], &[], &message[11..]];
        assert_eq!(sip(&key, &parts), 0xa129_ca61_49be_45e5);
        assert_eq!(sip(&key, &[&[]]), 0x726f_db47_dd0e_0e31);
    }
}
