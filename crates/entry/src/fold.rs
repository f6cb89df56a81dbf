//! Entries from records that may come late, twice and in any order.

use std::collections::HashMap;

use crate::{Entry, Record};

/// Folds the records of one journal epoch into entries.
#[derive(Debug, Default)]
pub struct Fold {
    _parts: HashMap<u64, Vec<Record>>,
    _entries: HashMap<u64, Entry>,
}
