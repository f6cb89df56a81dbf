//! A chain: an interaction's own id and those of its ancestors, as far as they are known.
//!
//! Ids are kept nearest first, so that two chains of one level line up at their start and a
//! parent's chain is its child's without the first id. Two chains can be of the same interaction
//! when every id that both know matches (the shorter id a prefix of the longer one); one *covers*
//! another when it knows all that the other does. The common case, up to seven ancestors of one
//! width, is compared as plain numbers; anything else goes the general way.

use arrayvec::ArrayVec;
use selvedge_identity::{STACK_MAX, StackId};

/// A chain with ids of any widths; nearest first, never empty.
pub(crate) type Chain = ArrayVec<StackId, STACK_MAX>;

/// Whether both can be of the same interaction.
pub(crate) fn fits(a: &[StackId], b: &[StackId]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.matches(b))
}

/// Whether `known` already says all that `chain` does (given that they fit).
pub(crate) fn covers(known: &[StackId], chain: &[StackId]) -> bool {
    known.len() >= chain.len()
        && known
            .iter()
            .zip(chain)
            .all(|(known, id)| known.width() >= id.width())
}

/// Adds to `known` what only `chain` knows (given that they fit).
pub(crate) fn unite(known: &mut Chain, chain: &[StackId]) {
    for (at, id) in chain.iter().enumerate() {
        match known.get_mut(at) {
            None => known.push(*id),
            Some(old) if old.width() < id.width() => *old = *id,
            Some(_) => {}
        }
    }
}

/// How many ids a packed chain holds in line.
const INLINE: usize = 8;

/// A chain packed for comparing: in line where all ids but the first have one width and are few.
/// The first id is apart, because its whole 8 bytes are often known while stacks hold fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    ids: [u64; INLINE],
    own_width: u8,
    /// The width of the ancestors' ids; 0: not of the plain form, see `long`.
    width: u8,
    len: u8,
    long: Option<Box<Chain>>,
}

/// How a chain that is being added relates to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// All of it is known.
    Covered,
    /// All but some bytes of its own id are known.
    OwnWider,
    /// It goes on where what is known ends.
    Longer,
    /// It differs, says more, or is not of the plain form: compare in general.
    Unclear,
}

impl Packed {
    pub(crate) fn new(chain: &[StackId]) -> Self {
        let width = chain.get(1).map_or(8, StackId::width);
        let simple = chain.len() <= INLINE && chain[1..].iter().all(|id| id.width() == width);
        let mut ids = [0; INLINE];
        for (slot, id) in ids.iter_mut().zip(chain) {
            *slot = id.to_bits();
        }
        Self {
            ids,
            own_width: chain[0].width(),
            width: if simple { width } else { 0 },
            len: chain.len() as u8,
            long: (!simple).then(|| Box::new(chain.iter().copied().collect())),
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn own(&self) -> StackId {
        id(self.ids[0], self.own_width)
    }

    /// The first id's bytes as a number.
    #[inline]
    pub(crate) fn own_bits(&self) -> u64 {
        self.ids[0]
    }

    /// The bytes of the `at`th id as a number.
    #[inline]
    pub(crate) fn bits(&self, at: usize) -> u64 {
        match self.ids.get(at) {
            Some(bits) => *bits,
            None => self.long.as_ref().map_or(0, |long| long[at].to_bits()),
        }
    }

    pub(crate) fn unpack(&self) -> Chain {
        match &self.long {
            Some(long) => (**long).clone(),
            None => (0..self.len())
                .map(|at| {
                    let width = if at == 0 { self.own_width } else { self.width };
                    id(self.ids[at], width)
                })
                .collect(),
        }
    }

    /// The chain without its first `at` ids.
    pub(crate) fn rest(&self, at: usize) -> Self {
        if self.width == 0 {
            return Self::new(&self.unpack()[at..]);
        }
        let mut ids = [0; INLINE];
        let len = self.len() - at;
        ids[..len].copy_from_slice(&self.ids[at..self.len()]);
        Self {
            ids,
            own_width: if at == 0 { self.own_width } else { self.width },
            width: self.width,
            len: len as u8,
            long: None,
        }
    }

    /// The chain's first `len` ids.
    pub(crate) fn first(&self, len: usize) -> Self {
        Self::new(&self.unpack()[..len])
    }

    /// Compares `other` without its first `at` ids, a chain of the same group, with this one.
    #[inline]
    pub(crate) fn compare(&self, other: &Self, at: usize) -> Compared {
        let simple = self.width != 0 && other.width != 0;
        let len = other.len() - at;
        if !simple || self.width != other.width && self.len > 1 && len > 1 {
            return Compared::Unclear;
        }
        let own_width = if at == 0 {
            other.own_width
        } else {
            other.width
        };
        let shift = 64 - u32::from(self.own_width.min(own_width)) * 8;
        let own = (self.ids[0] ^ other.ids[at]) >> shift == 0;
        let shared = len.min(self.len());
        if !own || self.ids[1..shared] != other.ids[at + 1..at + shared] {
            Compared::Unclear
        } else if len > self.len() {
            Compared::Longer
        } else if own_width > self.own_width {
            Compared::OwnWider
        } else {
            Compared::Covered
        }
    }

    /// Takes over the ancestors of `other` from `at` on, of which this chain knows fewer.
    pub(crate) fn lengthen(&mut self, other: &Self, at: usize) {
        let longer = other.rest(at);
        if longer.own_width > self.own_width {
            *self = longer;
        } else {
            let (own, own_width) = (self.ids[0], self.own_width);
            *self = longer;
            self.ids[0] = own;
            self.own_width = own_width;
        }
    }

    /// Takes over the id of `other` at `at`, which is this chain's own, but wider.
    pub(crate) fn widen_own(&mut self, other: &Self, at: usize) {
        self.ids[0] = other.ids[at];
        self.own_width = if at == 0 {
            other.own_width
        } else {
            other.width
        };
    }
}

fn id(bits: u64, width: u8) -> StackId {
    StackId::new(&bits.to_be_bytes()[..usize::from(width)]).expect("widths are 1 to 8")
}
