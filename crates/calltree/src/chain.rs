//! A chain: an interaction's own id and those of its ancestors, as far as they are known.
//!
//! Ids are kept nearest first, so that two chains of one level line up at their start and a
//! parent's chain is its child's without the first id. Two chains can be of the same interaction
//! when every id that both know matches (the shorter id a prefix of the longer one); one *covers*
//! another when it knows all that the other does. The common case, up to seven ancestors of one
//! width, is compared as plain numbers; anything else goes the general way.

use arrayvec::ArrayVec;
use selvedge_identity::{RequestIdentifier, STACK_MAX, StackId};

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

/// A chain as a group keeps it: in line where all ids but the first have one width and are few.
/// The first id is apart, because its whole 8 bytes are often known while stacks hold fewer.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    ids: [u64; INLINE],
    own_width: u8,
    /// The width of the ancestors' ids; 0: see `long`.
    width: u8,
    len: u8,
    long: Option<Box<Chain>>,
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

    /// From a plain form; `None` if it does not fit in line.
    #[inline]
    pub(crate) fn simple(chain: &[u64], own_width: u8, width: u8) -> Option<Self> {
        if chain.len() > INLINE || width == 0 {
            return None;
        }
        let mut ids = [0; INLINE];
        ids[..chain.len()].copy_from_slice(chain);
        Some(Self {
            ids,
            own_width,
            width,
            len: chain.len() as u8,
            long: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn own(&self) -> StackId {
        id(self.ids[0], self.own_width)
    }

    /// The first id's bytes as a number.
    pub(crate) fn own_bits(&self) -> u64 {
        self.ids[0]
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

    /// Compares with another chain of the same group.
    #[inline]
    pub(crate) fn compare(&self, other: &Simple<'_>) -> Compared {
        let ids = other.ids;
        let simple = self.width != 0 && other.width != 0;
        if !simple || self.width != other.width && self.len > 1 && ids.len() > 1 {
            return Compared::Unclear;
        }
        let shift = 64 - u32::from(self.own_width.min(other.own_width)) * 8;
        let own = (self.ids[0] ^ ids[0]) >> shift == 0;
        if !own || ids.len() > self.len() || self.ids[1..ids.len()] != ids[1..] {
            Compared::Unclear
        } else if other.own_width > self.own_width {
            Compared::OwnWider
        } else {
            Compared::Covered
        }
    }

    /// Takes over an own id that is wider.
    pub(crate) fn widen_own(&mut self, other: &Simple<'_>) {
        self.ids[0] = other.ids[0];
        self.own_width = other.own_width;
    }
}

/// How a chain that is being added relates to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// All of it is known.
    Covered,
    /// All but some bytes of its own id are known.
    OwnWider,
    /// It differs, says more, or is not of the plain form: compare in general.
    Unclear,
}

/// A chain that is being added, in its plain form.
#[derive(Clone, Copy)]
pub(crate) struct Simple<'a> {
    pub(crate) ids: &'a [u64],
    pub(crate) own_width: u8,
    pub(crate) width: u8,
}

/// The chain that an identifier says, cut at the root.
pub(crate) fn of(identifier: &RequestIdentifier, own: StackId, level: u32) -> Chain {
    let stack = identifier.stack();
    let known = stack.len().min(level as usize + 1);
    let mut chain = Chain::new();
    chain.push(own);
    chain.extend(
        stack[stack.len() - known..stack.len() - 1]
            .iter()
            .rev()
            .copied(),
    );
    chain
}

fn id(bits: u64, width: u8) -> StackId {
    StackId::new(&bits.to_be_bytes()[..usize::from(width)]).expect("widths are 1 to 8")
}
