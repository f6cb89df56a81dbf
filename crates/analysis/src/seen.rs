//! Which origins a fold has counted: each is counted once, and folds that both counted one cannot
//! be merged, for nobody could take its part out again.
//!
//! Limit: 16 bytes and their share of a table for each origin; who feeds a fold bounds how many.

use std::collections::HashSet;

use selvedge_identity::Origin;
use thiserror::Error;

/// Two folds counted the same origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("origin {0} was counted by both folds; split requests by origin before folding them")]
pub struct Overlap(pub Origin);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(HashSet<Origin>);

impl Seen {
    /// Whether it is new.
    pub(crate) fn insert(&mut self, origin: Origin) -> bool {
        self.0.insert(origin)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes all of another's. After an error nothing was taken.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), Overlap> {
        let common = self.0.intersection(&other.0).min();
        if let Some(origin) = common {
            return Err(Overlap(*origin));
        }
        self.0.extend(other.0);
        Ok(())
    }
}
