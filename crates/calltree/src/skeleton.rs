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

use selvedge_identity::StackId;

use crate::chain::{self, Compared, Packed};
use crate::chunks::Chunks;
use crate::index::{Index, tag};

/// No group, no entry.
pub(crate) const NONE: u32 = u32::MAX;

/// One interaction; or several that only their ancestors tell apart.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) chain: Packed,
    pub(crate) level: u32,
    /// The group of the parent's id, or [`NONE`].
    pub(crate) parent: u32,
    /// The first entry of each direction; more hang on it.
    pub(crate) heads: [u32; 3],
    pub(crate) conflicted: bool,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Skeleton {
    pub(crate) groups: Chunks<Group>,
    index: Index,
    /// The narrowest id, in bytes: groups are found by that many.
    width: u8,
    pub(crate) conflicts: usize,
}

impl Skeleton {
    pub(crate) fn with_capacity(groups: usize) -> Self {
        Self {
            groups: Chunks::with_capacity(groups),
            index: Index::with_capacity(groups),
            width: 8,
            conflicts: 0,
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
        self.groups.get(group as usize).map_or(0, |group| {
            group.chain.own_bits() ^ u64::from(group.heads[0])
        })
    }

    /// The group of an id.
    #[inline]
    pub(crate) fn find(&self, level: u32, bits: u64) -> Option<u32> {
        let key = self.cut(bits);
        self.index.find(tag(level, key), |group| {
            let group = &self.groups[group as usize];
            group.level == level && self.cut(group.chain.own_bits()) == key
        })
    }

    /// Adds a chain of a level, whose own group it returns.
    #[inline]
    pub(crate) fn add(&mut self, level: u32, chain: &Packed) -> u32 {
        let mut own = NONE;
        let mut child = NONE;
        for at in 0..chain.len() {
            let level = level - at as u32;
            let found = self.find(level, chain.bits(at));
            let group = found.unwrap_or_else(|| self.create(level, chain, at));
            if at == 0 {
                own = group;
            } else if self.groups[child as usize].parent == NONE {
                self.groups[child as usize].parent = group;
            }
            child = group;
            if found.is_some() && self.merge(group, chain, at) {
                break;
            }
        }
        own
    }

    /// Adds a chain to a group; whether the group's ancestors know all that it says of them.
    #[inline]
    fn merge(&mut self, group: u32, chain: &Packed, at: usize) -> bool {
        let known = &mut self.groups[group as usize];
        if !known.conflicted {
            match known.chain.compare(chain, at) {
                Compared::Covered => return true,
                Compared::OwnWider => {
                    known.chain.widen_own(chain, at);
                    return true;
                }
                Compared::Longer => {
                    known.chain.lengthen(chain, at);
                    return false;
                }
                Compared::Unclear => {}
            }
        }
        self.merge_in_general(group, &chain.unpack()[at..])
    }

    #[cold]
    fn merge_in_general(&mut self, group: u32, chain: &[StackId]) -> bool {
        let group = &mut self.groups[group as usize];
        let mut known = group.chain.unpack();
        if !chain::fits(&known, chain) {
            self.conflicts += usize::from(!group.conflicted);
            group.conflicted = true;
        } else if !chain::covers(&known, chain) {
            chain::unite(&mut known, chain);
            group.chain = Packed::new(&known);
        } else {
            return !group.conflicted;
        }
        false
    }

    fn create(&mut self, level: u32, chain: &Packed, at: usize) -> u32 {
        let group = u32::try_from(self.groups.len()).expect("fewer than 2^32 interactions");
        self.groups.push(Group {
            chain: chain.rest(at),
            level,
            parent: NONE,
            heads: [NONE; 3],
            conflicted: false,
        });
        self.index
            .insert(tag(level, self.cut(chain.bits(at))), group);
        group
    }

    #[inline]
    fn cut(&self, bits: u64) -> u64 {
        bits >> (64 - u32::from(self.width) * 8)
    }
}
