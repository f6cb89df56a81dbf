//! The JSON form of a timeline: `{"session", "client", "entries": […]}`, each entry with the
//! positions that it is concurrent with and unproven against. `complete` is false where a session
//! was too much without order for all of them.

use selvedge_entry::Entry;
use selvedge_identity::Position;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::Timeline;

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Timeline", 4)?;
        object.serialize_field("session", &self.session())?;
        object.serialize_field("client", &self.client())?;
        object.serialize_field("complete", &(self.related() == self.actions().len()))?;
        object.serialize_field("entries", &Actions(self))?;
        object.end()
    }
}

struct Actions<'a>(&'a Timeline);

impl Serialize for Actions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(timeline) = self;
        let names = |numbers| Positions { timeline, numbers };
        serializer.collect_seq(
            timeline
                .actions()
                .iter()
                .enumerate()
                .map(|(n, entry)| Action {
                    entry,
                    concurrent_with: names(timeline.concurrent_with(n)),
                    unproven_with: names(timeline.unproven_with(n)),
                }),
        )
    }
}

#[derive(serde::Serialize)]
struct Action<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    concurrent_with: Positions<'a>,
    unproven_with: Positions<'a>,
}

struct Positions<'a> {
    timeline: &'a Timeline,
    numbers: &'a [u32],
}

impl Serialize for Positions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position =
            |number: &u32| -> &Position { &self.timeline.actions()[*number as usize].position };
        serializer.collect_seq(self.numbers.iter().map(position))
    }
}
