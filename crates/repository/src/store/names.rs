//! Names as small numbers: services, operations, versions and hosts repeat in every entry.

use std::collections::HashMap;

use selvedge_entry::Text;

/// A name's number.
pub(crate) type NameId = u32;

/// Each name once, numbered in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Text, NameId>,
    names: Vec<Text>,
}

impl Names {
    /// The number of a name, a new one for a new name.
    pub(crate) fn intern(&mut self, name: &Text) -> NameId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = NameId::try_from(self.names.len()).expect("fewer than 2^32 names");
        self.names.push(name.clone());
        self.ids.insert(name.clone(), id);
        id
    }

    /// The number of a name that was seen before.
    pub(crate) fn find(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, id: NameId) -> &Text {
        &self.names[id as usize]
    }
}
