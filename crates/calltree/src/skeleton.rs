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

use selvedge_identity::{STACK_MAX, StackId};

use crate::chain::{self, Chain, Compared, Packed, Simple};
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
    pub(crate) groups: Vec<Group>,
    index: Index,
    /// The narrowest id, in bytes: groups are found by that many.
    width: u8,
    pub(crate) conflicts: usize,
}

/// An identifier's chain, ready to be added.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) level: u32,
    ids: [u64; STACK_MAX],
    len: u8,
    own_width: u8,
    /// The width of all ancestors' ids; 0: they differ.
    width: u8,
    narrowest: u8,
}

impl Prepared {
    /// `own` is the newest id as wide as it is known; `stack` is oldest first and includes it.
    /// Ids beyond the root are left out.
    #[inline]
    pub(crate) fn new(level: u32, own: StackId, stack: &[StackId]) -> Self {
        let len = stack.len().min(level as usize + 1);
        let mut ids = [0; STACK_MAX];
        ids[0] = own.to_bits();
        let mut narrowest = stack[stack.len() - 1].width();
        let mut width = 8;
        let mut mixed = false;
        for (at, id) in stack.iter().rev().enumerate().take(len).skip(1) {
            ids[at] = id.to_bits();
            mixed |= at > 1 && id.width() != width;
            width = id.width();
            narrowest = narrowest.min(width);
        }
        Self {
            level,
            ids,
            len: len as u8,
            own_width: own.width(),
            width: if mixed { 0 } else { width },
            narrowest,
        }
    }
}

impl Skeleton {
    pub(crate) fn with_capacity(groups: usize) -> Self {
        Self {
            groups: Vec::with_capacity(groups),
            index: Index::with_capacity(groups),
            width: 8,
            conflicts: 0,
        }
    }

    /// Whether the chain has an id that is narrower than the index: call [`Self::narrow`] and add
    /// everything anew.
    #[inline]
    pub(crate) fn is_too_wide_for(&self, prepared: &Prepared) -> bool {
        prepared.narrowest < self.width
    }

    /// Empties it and finds groups by fewer bytes from now on.
    pub(crate) fn narrow(&mut self, prepared: &Prepared) {
        let capacity = self.groups.capacity();
        *self = Self {
            width: prepared.narrowest,
            ..Self::with_capacity(capacity)
        };
    }

    /// The tag under which the group of a chain's `at`th id stands.
    #[inline]
    pub(crate) fn tag(&self, prepared: &Prepared, at: usize) -> u32 {
        tag(
            prepared.level.wrapping_sub(at as u32),
            self.cut(prepared.ids[at]),
        )
    }

    /// Reads what a look-up of that tag reads first.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> u64 {
        self.index.touch(tag)
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

    /// Adds a chain, whose own group it returns. `full` makes the chain in its general form, for
    /// the cases that need it.
    #[inline]
    pub(crate) fn add(&mut self, prepared: &Prepared, full: impl Fn() -> Chain) -> u32 {
        let len = usize::from(prepared.len);
        let mut own = NONE;
        let mut child = NONE;
        let mut known_full: Option<Chain> = None;
        for at in 0..len {
            let level = prepared.level - at as u32;
            let found = self.find(level, prepared.ids[at]);
            let group = found.unwrap_or_else(|| self.create(level, prepared, at, &full));
            if at == 0 {
                own = group;
            } else if self.groups[child as usize].parent == NONE {
                self.groups[child as usize].parent = group;
            }
            child = group;
            if found.is_none() {
                continue;
            }
            let simple = Simple {
                ids: &prepared.ids[at..len],
                own_width: if at == 0 {
                    prepared.own_width
                } else {
                    prepared.width
                },
                width: prepared.width,
            };
            let known = &mut self.groups[group as usize];
            if !known.conflicted {
                match known.chain.compare(&simple) {
                    Compared::Covered => break,
                    Compared::OwnWider => {
                        known.chain.widen_own(&simple);
                        break;
                    }
                    Compared::Unclear => {}
                }
            }
            let full = known_full.get_or_insert_with(&full);
            if self.merge(group, &full[at..]) {
                break;
            }
        }
        own
    }

    /// Whether the group said all of it before, so that its ancestors do too.
    fn merge(&mut self, group: u32, chain: &[StackId]) -> bool {
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

    fn create(
        &mut self,
        level: u32,
        prepared: &Prepared,
        at: usize,
        full: impl Fn() -> Chain,
    ) -> u32 {
        let group = u32::try_from(self.groups.len()).expect("fewer than 2^32 interactions");
        let len = usize::from(prepared.len);
        let own_width = if at == 0 {
            prepared.own_width
        } else {
            prepared.width
        };
        let chain = Packed::simple(&prepared.ids[at..len], own_width, prepared.width)
            .unwrap_or_else(|| Packed::new(&full()[at..]));
        self.groups.push(Group {
            chain,
            level,
            parent: NONE,
            heads: [NONE; 3],
            conflicted: false,
        });
        self.index
            .insert(tag(level, self.cut(prepared.ids[at])), group);
        group
    }

    #[inline]
    fn cut(&self, bits: u64) -> u64 {
        bits >> (64 - u32::from(self.width) * 8)
    }
}
