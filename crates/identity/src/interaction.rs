//! One call from one service to another.

use std::fmt;

use crate::wire::bytes_id;

bytes_id! {
    /// An interaction's id: 8 random bytes, shown as 16 lower-case hex digits; equal to the W3C
    /// parent-id on that hop. Each retry and each hedge is an interaction of its own. Never all
    /// zero.
    pub struct Interaction([u8; 8]) = "interaction id";
}

/// An interaction's id as a stack holds it: its first 1 to 8 bytes. Services of different widths
/// meet in one stack, so each id knows its own width; ids match where the shorter one is a prefix
/// of the longer ([`StackId::matches`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId {
    bytes: [u8; 8],
    width: u8,
}

impl StackId {
    /// One to be overwritten.
    pub(crate) const PLACEHOLDER: Self = Self {
        bytes: [0; 8],
        width: 1,
    };

    /// The first `bytes.len()` bytes of an id.
    ///
    /// Returns `None` unless there are 1 to 8 of them.
    #[must_use]
    pub fn new(prefix: &[u8]) -> Option<Self> {
        if !(1..=8).contains(&prefix.len()) {
            return None;
        }
        let mut bytes = [0; 8];
        bytes[..prefix.len()].copy_from_slice(prefix);
        Some(Self {
            bytes,
            width: prefix.len() as u8,
        })
    }

    /// The first `width` bytes of `bytes`; the rest is ignored. `width` is 1 to 8.
    #[inline]
    pub(crate) fn from_padded(bytes: [u8; 8], width: u8) -> Self {
        Self {
            bytes: masked(bytes, width),
            width,
        }
    }

    /// The id whose bytes are the lowest `width` (1 to 8) of a big-endian number; what is above
    /// them is ignored.
    #[inline]
    pub(crate) fn of_number(number: u64, width: u8) -> Self {
        Self {
            bytes: (number << (64 - 8 * u32::from(width))).to_be_bytes(),
            width,
        }
    }

    /// The id of four bytes.
    #[inline]
    pub(crate) fn of_four(bytes: [u8; 4]) -> Self {
        Self::from_padded(u64::from(u32::from_le_bytes(bytes)).to_le_bytes(), 4)
    }

    /// The first four bytes, of which those that are not known are zero.
    #[inline]
    pub(crate) fn first_four(&self) -> [u8; 4] {
        (u64::from_le_bytes(self.bytes) as u32).to_le_bytes()
    }

    /// The id cut to `width` bytes (1 to 8; out of range is clamped).
    #[must_use]
    #[inline]
    pub fn of(interaction: Interaction, width: u8) -> Self {
        let width = width.clamp(1, 8);
        Self {
            bytes: masked(*interaction.as_bytes(), width),
            width,
        }
    }

    /// The same id cut to at most `width` bytes.
    #[must_use]
    #[inline]
    pub fn cut(self, width: u8) -> Self {
        let width = width.clamp(1, 8);
        Self {
            // Behind the known bytes there are zeros.
            bytes: masked(self.bytes, width),
            width: self.width.min(width),
        }
    }

    /// As [`Self::cut`], to a width of 1 to 8 that it has at least.
    #[inline]
    pub(crate) fn cut_known(self, width: u8) -> Self {
        Self::from_padded(self.bytes, width)
    }

    /// The bytes that are known, 1 to 8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.width)]
    }

    /// The interaction, where all 8 bytes are known (and not all zero).
    #[must_use]
    pub fn whole(&self) -> Option<Interaction> {
        if self.width == 8 {
            Interaction::from_bytes(self.bytes)
        } else {
            None
        }
    }

    /// How many bytes are known.
    #[must_use]
    #[inline]
    pub fn width(&self) -> u8 {
        self.width
    }

    /// The known bytes, then zeros, as one big-endian number: a fast key for equal widths.
    #[must_use]
    pub fn to_bits(&self) -> u64 {
        u64::from_be_bytes(self.bytes)
    }

    /// Whether both can be the same interaction: one is a prefix of the other.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let shared = u32::from(self.width.min(other.width)) * 8;
        (self.to_bits() ^ other.to_bits()) >> (64 - shared) == 0
    }
}

impl From<Interaction> for StackId {
    fn from(interaction: Interaction) -> Self {
        Self::of(interaction, 8)
    }
}

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first `width` bytes (1 to 8), then zeros.
#[inline]
fn masked(bytes: [u8; 8], width: u8) -> [u8; 8] {
    let mask = u64::MAX >> (64 - 8 * u32::from(width));
    (u64::from_le_bytes(bytes) & mask).to_le_bytes()
}
