//! Depth values and the levels they stand for (D2, D3).
//!
//! A stack position is one level; a depth value need not be: services may add more than one per
//! call, or use arbitrary level identifiers that a table maps. The tree is kept by level.

use std::sync::Arc;

/// How depth values map to levels.
#[derive(Clone, Debug)]
pub enum Levels {
    /// Every call adds this much (at least 1) to the depth.
    Step(u32),
    /// The depth value of each level, from the root's on.
    Table(Arc<[u32]>),
}

impl Default for Levels {
    fn default() -> Self {
        Self::Step(1)
    }
}

impl Levels {
    /// The level of a depth value; `None` if no level has it.
    #[must_use]
    pub fn level(&self, depth: u32) -> Option<u32> {
        match self {
            Self::Step(0 | 1) => Some(depth),
            Self::Step(step) => depth.is_multiple_of(*step).then(|| depth / step),
            Self::Table(table) => table
                .iter()
                .position(|&value| value == depth)
                .map(|level| level as u32),
        }
    }

    /// The depth value of a level.
    #[must_use]
    pub fn depth(&self, level: u32) -> u32 {
        match self {
            Self::Step(step) => level.saturating_mul((*step).max(1)),
            Self::Table(table) => table.get(level as usize).copied().unwrap_or(u32::MAX),
        }
    }
}
