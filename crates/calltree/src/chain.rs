//! A chain: an interaction's own id and those of its ancestors, as far as they are known.
//!
//! Ids are kept nearest first, so that two chains of one level line up at their start and a
//! parent's chain is its child's without the first id. Two chains can be of the same interaction
//! when every id that both know matches (the shorter id a prefix of the longer one); one *covers*
//! another when it knows all that the other does. The common case, up to six ancestors of one
//! width (of more than four bytes: three), is compared as plain numbers; anything else goes the
//! general way.

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

/// How many words of ancestors' ids a packed chain holds in line: an id of up to four bytes takes
/// one, a wider one two.
const WORDS: usize = 6;

/// A chain packed for comparing: in line where all ids but the first have one width and are few.
/// The first id is apart, because its whole 8 bytes are often known while stacks hold fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    own: u64,
    ancestors: [u32; WORDS],
    /// The level of the first id (in a place: the depth that the identifier says).
    level: u32,
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
    pub(crate) fn new(level: u32, chain: &[StackId]) -> Self {
        let width = chain.get(1).map_or(8, StackId::width);
        let fitting = (chain.len() - 1) * words(width) <= WORDS;
        let simple = fitting && chain[1..].iter().all(|id| id.width() == width);
        let mut ancestors = [0; WORDS];
        if simple {
            let ids = chain[1..].iter().map(StackId::to_bits);
            for (slot, bits) in ancestors.chunks_mut(words(width)).zip(ids) {
                slot[0] = (bits >> 32) as u32;
                if let Some(slot) = slot.get_mut(1) {
                    *slot = bits as u32;
                }
            }
        }
        Self {
            own: chain[0].to_bits(),
            ancestors,
            level,
            own_width: chain[0].width(),
            width: if simple { width } else { 0 },
            len: chain.len() as u8,
            long: (!simple).then(|| Box::new(chain.iter().copied().collect())),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The level of its first id; the next are each one up.
    #[inline]
    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// The same at another level, whose root ends it.
    pub(crate) fn at_level(&self, level: u32) -> Self {
        let ids = self.unpack();
        Self::new(level, &ids[..ids.len().min(level as usize + 1)])
    }

    /// Makes sure that [`Self::compare`] leaves it to the general way.
    pub(crate) fn compare_in_general(&mut self) {
        if self.width != 0 {
            self.long = Some(Box::new(self.unpack()));
            self.width = 0;
        }
    }

    pub(crate) fn own(&self) -> StackId {
        id(self.own, self.own_width)
    }

    /// The first id's bytes as a number.
    #[inline]
    pub(crate) fn own_bits(&self) -> u64 {
        self.own
    }

    /// The bytes of the `at`th id as a number; 0 where there is none.
    #[inline]
    pub(crate) fn bits(&self, at: usize) -> u64 {
        if at == 0 {
            return self.own;
        }
        let word = |at: usize| u64::from(self.ancestors.get(at).copied().unwrap_or(0));
        match self.width {
            0 => {
                let id = self.long.as_ref().and_then(|long| long.get(at));
                id.map_or(0, StackId::to_bits)
            }
            1..=4 => word(at - 1) << 32,
            _ => word(2 * at - 2) << 32 | word(2 * at - 1),
        }
    }

    pub(crate) fn unpack(&self) -> Chain {
        match &self.long {
            Some(long) => (**long).clone(),
            None => (0..self.len())
                .map(|at| id(self.bits(at), self.width_at(at)))
                .collect(),
        }
    }

    /// The chain without its first `at` ids.
    pub(crate) fn rest(&self, at: usize) -> Self {
        if at == 0 {
            return self.clone();
        }
        if self.width == 0 {
            return Self::new(self.level - at as u32, &self.unpack()[at..]);
        }
        let len = self.len() - at;
        let words = words(self.width);
        let (from, count) = (at * words, (len - 1) * words);
        let mut ancestors = [0; WORDS];
        ancestors[..count].copy_from_slice(&self.ancestors[from..from + count]);
        Self {
            own: self.bits(at),
            ancestors,
            level: self.level - at as u32,
            own_width: self.width,
            width: self.width,
            len: len as u8,
            long: None,
        }
    }

    /// Compares `other` without its first `at` ids, a chain of the same group, with this one.
    #[inline]
    pub(crate) fn compare(&self, other: &Self, at: usize) -> Compared {
        let simple = self.width != 0 && other.width != 0;
        let len = other.len() - at;
        if !simple || self.width != other.width && self.len > 1 && len > 1 {
            return Compared::Unclear;
        }
        let own_width = other.width_at(at);
        let shift = 64 - u32::from(self.own_width.min(own_width)) * 8;
        let own = (self.own ^ other.bits(at)) >> shift == 0;
        let words = words(other.width);
        let shared = (len.min(self.len()) - 1) * words;
        let known = self.ancestors[..shared].iter();
        if !own || !known.eq(other.ancestors[at * words..].iter().take(shared)) {
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
            let (own, own_width) = (self.own, self.own_width);
            *self = longer;
            self.own = own;
            self.own_width = own_width;
        }
    }

    /// Takes over the id of `other` at `at`, which is this chain's own, but wider.
    pub(crate) fn widen_own(&mut self, other: &Self, at: usize) {
        self.own = other.bits(at);
        self.own_width = other.width_at(at);
    }

    /// How many bytes of the `at`th id are known, if the chain is of the plain form.
    #[inline]
    fn width_at(&self, at: usize) -> u8 {
        if at == 0 { self.own_width } else { self.width }
    }
}

/// How many words an ancestor's id takes.
#[inline]
fn words(width: u8) -> usize {
    if width > 4 { 2 } else { 1 }
}

fn id(bits: u64, width: u8) -> StackId {
    StackId::new(&bits.to_be_bytes()[..usize::from(width)]).expect("widths are 1 to 8")
}
