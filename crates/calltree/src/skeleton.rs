//! The skeleton: every interaction that some identifier names, and who called it.
//!
//! Each identifier says a chain of ids: its own interaction at its level, the parent's one level
//! up, and so on. A *group* stands for a level and an id's first bytes; each chain is added to
//! its own group, its rest to the parent's group, and so on up until a group already says all of
//! it. So one entry costs at most its stack's length, and a lost interaction is simply a group
//! that chains mention and no entry is of.
//!
//! All chains of a group that fit together are one interaction. If two do not fit (short ids met
//! by chance, or damage), the group is *conflicted*, and `resolve` takes it apart when a tree is
//! asked for. Everything here is a union, so the order of arrival and repeats change nothing.
//!
//! Ids of different widths are found by the narrowest width seen so far; a narrower one rebuilds
//! the index, at most seven times in all.

use std::collections::HashSet;

use selvedge_identity::StackId;

use crate::chain::{self, Compared, Packed};
use crate::index::{Index, tag};

/// No group, no entry.
pub(crate) const NONE: u32 = u32::MAX;

/// One interaction; or several that only their ancestors tell apart.
/// It is one line of a cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group {
    pub(crate) chain: Packed,
    /// The group of the parent's id, or [`NONE`].
    pub(crate) parent: u32,
    /// The first entry of each direction; more hang on it.
    pub(crate) heads: [u32; 3],
}

const _: () = assert!(size_of::<Group>() == 64);

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Skeleton {
    pub(crate) groups: Vec<Group>,
    index: Index,
    /// The narrowest id, in bytes: groups are found by that many.
    width: u8,
    /// The groups of which some chains do not fit together. Their own is never of the plain form.
    pub(crate) conflicted: HashSet<u32>,
}

impl Skeleton {
    pub(crate) fn with_capacity(groups: usize) -> Self {
        Self {
            groups: Vec::with_capacity(groups),
            index: Index::with_capacity(groups),
            width: 8,
            conflicted: HashSet::new(),
        }
    }

    /// Whether an id of so many bytes is narrower than those groups are found by: then call
    /// [`Self::narrow`] and add everything anew.
    #[inline]
    pub(crate) fn is_wider_than(&self, narrowest: u8) -> bool {
        narrowest < self.width
    }

    /// Empties it and finds groups by fewer bytes from now on.
    pub(crate) fn narrow(&mut self, narrowest: u8) {
        let capacity = self.groups.capacity();
        *self = Self {
            width: narrowest,
            ..Self::with_capacity(capacity)
        };
    }

    /// The tag under which an id's group stands.
    #[inline]
    pub(crate) fn tag(&self, level: u32, bits: u64) -> u32 {
        tag(level, self.cut(bits))
    }

    /// Reads the slot that a look-up of this tag reads first.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> u64 {
        self.index.touch(tag)
    }

    /// Reads the group that a slot names.
    #[inline]
    pub(crate) fn touch_group(&self, slot: u64) -> u64 {
        let group = ((slot >> 32) as u32).wrapping_sub(1);
        let group = self.groups.get(group as usize);
        group.map_or(0, |group| group.chain.own_bits())
    }

    /// The group of an id.
    #[inline]
    pub(crate) fn find(&self, level: u32, bits: u64) -> Option<u32> {
        let key = self.cut(bits);
        self.index.find(tag(level, key), |group| {
            let chain = &self.groups[group as usize].chain;
            chain.level() == level && self.cut(chain.own_bits()) == key
        })
    }

    /// Adds a chain, whose own group it returns.
    #[inline]
    pub(crate) fn add(&mut self, chain: &Packed) -> u32 {
        let (own, known) = self.add_one(chain, 0);
        if !known {
            self.add_ancestors(own, chain);
        }
        own
    }

    fn add_ancestors(&mut self, own: u32, chain: &Packed) {
        let mut child = own;
        for at in 1..chain.len() {
            let (group, known) = self.add_one(chain, at);
            let child_group = &mut self.groups[child as usize];
            if child_group.parent == NONE {
                child_group.parent = group;
            }
            if known {
                break;
            }
            child = group;
        }
    }

    /// Adds what a chain says of its `at`th id on to that id's group: which it is, and whether
    /// its ancestors know all that the chain says of them.
    #[inline(always)]
    fn add_one(&mut self, chain: &Packed, at: usize) -> (u32, bool) {
        let level = chain.level() - at as u32;
        let key = self.cut(chain.bits(at));
        let width = self.width;
        let groups = &self.groups;
        let next = groups.len() as u32;
        let found = self.index.find_or_add(tag(level, key), next, |group| {
            let chain = &groups[group as usize].chain;
            chain.level() == level && cut(chain.own_bits(), width) == key
        });
        if let Some(group) = found {
            return (group, self.merge(group, chain, at));
        }
        assert!(next < NONE - 1, "fewer than 2^32 interactions");
        self.groups.push(Group {
            chain: chain.rest(at),
            parent: NONE,
            heads: [NONE; 3],
        });
        (next, false)
    }

    /// Adds a chain to a group; whether the group's ancestors know all that it says of them.
    #[inline]
    fn merge(&mut self, group: u32, chain: &Packed, at: usize) -> bool {
        let known = &mut self.groups[group as usize];
        match known.chain.compare(chain, at) {
            Compared::Covered => true,
            Compared::OwnWider => {
                known.chain.widen_own(chain, at);
                true
            }
            Compared::Longer => {
                known.chain.lengthen(chain, at);
                false
            }
            Compared::Unclear => self.merge_in_general(group, &chain.unpack()[at..]),
        }
    }

    #[cold]
    fn merge_in_general(&mut self, number: u32, chain: &[StackId]) -> bool {
        let group = &mut self.groups[number as usize];
        let mut known = group.chain.unpack();
        if !chain::fits(&known, chain) {
            self.conflicted.insert(number);
        } else if !chain::covers(&known, chain) {
            chain::unite(&mut known, chain);
            group.chain = Packed::new(group.chain.level(), &known);
        } else {
            return !self.conflicted.contains(&number);
        }
        if self.conflicted.contains(&number) {
            group.chain.compare_in_general();
        }
        false
    }

    #[inline]
    fn cut(&self, bits: u64) -> u64 {
        cut(bits, self.width)
    }
}

/// The first `width` bytes of an id's bits.
#[inline]
fn cut(bits: u64, width: u8) -> u64 {
    bits >> (64 - u32::from(width) * 8)
}
