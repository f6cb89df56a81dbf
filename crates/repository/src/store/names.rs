//! Names as small numbers: services, operations, versions and hosts repeat in every entry.
//!
//! Memory: each name once. Entries have none above [`NAME_BYTES_MAX`]; a span's may be longer, and
//! then it is not held: all of them share [`LONG`], and who wants to know reads the span.

use std::collections::HashMap;

use selvedge_entry::Text;

/// A name's number.
pub(crate) type NameId = u32;

/// The longest name that is held, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1 << 10;

/// Some name that is too long to be held.
pub(crate) const LONG: NameId = NameId::MAX;

/// Each name once, numbered in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Text, NameId>,
    names: Vec<Text>,
}

impl Names {
    /// The number of a name, a new one for a new name.
    pub(crate) fn intern(&mut self, name: &str) -> NameId {
        if name.len() > NAME_BYTES_MAX {
            return LONG;
        }
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = NameId::try_from(self.names.len())
            .ok()
            .filter(|id| *id != LONG)
            .expect("fewer than 2^32 names");
        let name = Text::from(name);
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    /// The number of a name that was seen before.
    pub(crate) fn find(&self, name: &str) -> Option<NameId> {
        if name.len() > NAME_BYTES_MAX {
            return Some(LONG);
        }
        self.ids.get(name).copied()
    }

    /// The name of a number; `None` for [`LONG`].
    pub(crate) fn get(&self, id: NameId) -> Option<&Text> {
        self.names.get(id as usize)
    }
}
