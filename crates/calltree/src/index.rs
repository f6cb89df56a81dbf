//! Finds a group by its level and the first bytes of its id (and a clock by its epoch).
//!
//! Open addressing with linear probing over one flat table of (tag, group) pairs: a look-up is
//! one cache miss, and the caller confirms a tag's match in the group itself. A slot's place is its
//! tag's low bits, so growing reads no group. Interaction ids are random, so a cheap mixing is
//! enough; an origin's tree is bounded by its owner, and so is what a sender of chosen ids can
//! slow down.

/// The index. Groups are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    slots: Vec<u64>,
    mask: usize,
    used: usize,
    /// So many at most: a third of the slots stays empty.
    room: usize,
}

/// The tag of a level and an id's bits.
#[inline]
pub(crate) fn tag(level: u32, bits: u64) -> u32 {
    let mixed = u128::from(bits ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from((u64::from(level) << 1) ^ 0xd6e8_feb8_6659_fd93);
    let folded = (mixed as u64) ^ ((mixed >> 64) as u64);
    (folded.wrapping_mul(0xa076_1d64_78bd_642f) >> 32) as u32
}

impl Index {
    pub(crate) fn with_capacity(groups: usize) -> Self {
        let size = (groups.max(8) * 2).next_power_of_two();
        Self {
            slots: vec![0; size],
            mask: size - 1,
            used: 0,
            room: size / 3 * 2,
        }
    }

    /// The group of that tag which `is` confirms.
    #[inline]
    pub(crate) fn find(&self, tag: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = tag as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let group = (slot >> 32) as u32 - 1;
            if slot as u32 == tag && is(group) {
                return Some(group);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The same; where there is none, `group` stands there from now on.
    #[inline]
    pub(crate) fn find_or_add(
        &mut self,
        tag: u32,
        group: u32,
        is: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.used >= self.room {
            self.grow();
        }
        let mut at = tag as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = (u64::from(group) + 1) << 32 | u64::from(tag);
                self.used += 1;
                return None;
            }
            let group = (slot >> 32) as u32 - 1;
            if slot as u32 == tag && is(group) {
                return Some(group);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Reads the slot of a tag, so that a later look-up finds it in the cache.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> u64 {
        self.slots[tag as usize & self.mask]
    }

    #[cold]
    fn grow(&mut self) {
        let mut bigger = Self::with_capacity(self.slots.len());
        for &slot in self.slots.iter().filter(|&&slot| slot != 0) {
            bigger.place(slot);
        }
        *self = bigger;
    }

    fn place(&mut self, slot: u64) {
        let mut at = slot as u32 as usize & self.mask;
        while self.slots[at] != 0 {
            at = (at + 1) & self.mask;
        }
        self.slots[at] = slot;
        self.used += 1;
    }
}
