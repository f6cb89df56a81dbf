//! How a node reads and writes request identifiers, beside their shape (D1, D3, D15).
//!
//! A fleet may say the depth in values of its own (D3): a table gives the value of each level. The
//! values stand in the identifiers, from hop to hop; entries have the level itself, so that trees
//! and whoever reads a journal need no table. All servers of a fleet have the same table, or the
//! same increment.

use std::sync::Arc;

use selvedge_identity::carrier::{b3, metadata};
use selvedge_identity::{DEPTH_MAX, RequestIdentifier};

/// How a node reads and writes identifiers.
#[derive(Clone, Debug, Default)]
pub struct IdentifierOptions {
    /// Whether one damaged character of a native identifier is repaired. Default no: see
    /// [`RequestIdentifier::parse_correcting`].
    pub correct: bool,
    /// What is written beside the native header and W3C Trace Context. All is read always.
    pub wrap: Wrap,
    /// What depths stand for.
    pub levels: Levels,
}

/// The forms of other systems in which a node writes identifiers, too (D15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrap {
    /// B3 in one header.
    pub b3: bool,
    /// B3 in several headers.
    pub b3_multi: bool,
}

impl Wrap {
    /// The forms that a request came in: B3's headers.
    #[must_use]
    pub fn of(headers: &b3::Headers<'_>) -> Self {
        Self {
            b3: headers.single.is_some(),
            b3_multi: headers.trace_id.is_some(),
        }
    }

    /// These forms and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            b3: self.b3 || other.b3,
            b3_multi: self.b3_multi || other.b3_multi,
        }
    }

    /// Whether any is written.
    #[must_use]
    pub fn any(self) -> bool {
        self.b3 || self.b3_multi
    }
}

/// An identifier in the forms of other systems.
#[derive(Clone, Debug)]
pub struct Wrapped {
    pub(crate) wrap: Wrap,
    pub(crate) b3: Option<b3::Injected>,
}

impl Wrapped {
    /// Gives each header to `write`.
    pub fn write(&self, mut write: impl FnMut(&'static str, &str)) {
        let Some(b3) = &self.b3 else { return };
        if self.wrap.b3 {
            write(b3::B3, &b3.single);
        }
        if self.wrap.b3_multi {
            metadata::inject_b3(b3, write);
        }
    }
}

/// Depth values and the levels that they stand for (D2, D3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Levels {
    /// The depth is the level.
    #[default]
    Depth,
    /// A level is this much in depth, at least 1.
    Step(u32),
    /// The depth of each level, from the root's on. Beyond its end the depths go on by ones from
    /// the greatest.
    Table(Arc<[u32]>),
}

/// The most levels that a table may have.
const TABLE_MAX: usize = 1024;

impl Levels {
    /// Levels of these depths; none for an empty list.
    ///
    /// # Errors
    /// A sentence, where two levels have one depth, one is over [`DEPTH_MAX`], or there are too
    /// many.
    pub fn table(depths: &[u32]) -> Result<Self, String> {
        if depths.is_empty() {
            return Ok(Self::Depth);
        }
        if depths.len() > TABLE_MAX {
            return Err(format!("has {} levels; at most {TABLE_MAX}", depths.len()));
        }
        for (at, depth) in depths.iter().enumerate() {
            if depths[..at].contains(depth) {
                return Err(format!("has the depth {depth} twice"));
            }
            if *depth > DEPTH_MAX / 2 {
                return Err(format!("has the depth {depth}; at most {}", DEPTH_MAX / 2));
            }
        }
        Ok(Self::Table(depths.into()))
    }

    /// The level of a depth; `None` if no level has it.
    #[must_use]
    pub fn level(&self, depth: u32) -> Option<u32> {
        match self {
            Self::Depth | Self::Step(0 | 1) => Some(depth),
            Self::Step(step) => depth.is_multiple_of(*step).then(|| depth / step),
            Self::Table(table) => match table.iter().position(|&at| at == depth) {
                Some(level) => Some(level as u32),
                None => {
                    let beyond = depth.checked_sub(greatest(table) + 1)?;
                    Some(table.len() as u32 + beyond)
                }
            },
        }
    }

    /// The depth of a level.
    #[must_use]
    pub fn depth(&self, level: u32) -> u32 {
        match self {
            Self::Depth => level,
            Self::Step(step) => level.saturating_mul((*step).max(1)),
            Self::Table(table) => match table.get(level as usize) {
                Some(depth) => *depth,
                None => (greatest(table) + 1).saturating_add(level - table.len() as u32),
            },
        }
    }

    /// What an entry says: the identifier at its level. The depth of one that has none stays;
    /// then the second is `false`.
    pub(crate) fn in_entry(&self, identifier: &RequestIdentifier) -> (RequestIdentifier, bool) {
        let own = identifier.clone();
        if matches!(self, Self::Depth) {
            return (own, true);
        }
        match self.level(own.depth()) {
            Some(level) => (own.at_depth(level), true),
            None => (own, false),
        }
    }

    /// The identifier of a call, advanced from one of this depth, at the depth that it says.
    pub(crate) fn next(&self, advanced: RequestIdentifier, depth: u32) -> RequestIdentifier {
        match (self, self.level(depth)) {
            // The shape's increment has done it.
            (Self::Depth | Self::Step(_), _) | (_, None) => advanced,
            (Self::Table(_), Some(level)) => advanced.at_depth(self.depth(level + 1)),
        }
    }
}

fn greatest(table: &[u32]) -> u32 {
    table.iter().copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_each_level_its_depth_and_goes_on_beyond_its_end() {
        let levels = Levels::table(&[10, 7, 300]).expect("valid");
        let depths: Vec<u32> = (0..6).map(|level| levels.depth(level)).collect();
        assert_eq!(depths, [10, 7, 300, 301, 302, 303]);
        for (level, depth) in (0..).zip(depths) {
            assert_eq!(levels.level(depth), Some(level));
        }
        for unknown in [0, 8, 299] {
            assert_eq!(levels.level(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_step_has_no_level_between_its_depths() {
        let levels = Levels::Step(3);
        assert_eq!([0, 3, 6].map(|d| levels.level(d)), [0, 1, 2].map(Some));
        assert_eq!(levels.level(4), None);
        assert_eq!(levels.depth(2), 6);
    }

    #[test]
    fn a_table_with_a_depth_twice_or_out_of_range_is_refused() {
        assert_eq!(Levels::table(&[]), Ok(Levels::Depth));
        assert!(Levels::table(&[1, 2, 1]).is_err());
        assert!(Levels::table(&[DEPTH_MAX]).is_err());
        let long: Vec<u32> = (0..=TABLE_MAX as u32).collect();
        assert!(Levels::table(&long).is_err());
    }
}
