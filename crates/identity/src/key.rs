//! The keys that a fleet shares.

/// Names a key in a ring: one character of the URL-safe base64 alphabet, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u8);

/// A secret of 32 bytes. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// The keys of a fleet: one signs, all verify, so that keys can be changed under traffic.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<(KeyId, Key)>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(secret)")
    }
}

impl KeyRing {
    /// A ring of one key, with the id 0.
    #[must_use]
    pub fn single(secret: [u8; 32]) -> Self {
        Self {
            keys: vec![(KeyId(0), Key(secret))],
        }
    }
}
