//! One request: all that is known of one origin, and the call tree that it makes.
//!
//! Every answer that shows or weighs a tree begins here, so all of them see entries and spans
//! alike.

use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::Entry;
use selvedge_identity::Origin;
use selvedge_spans::Span;

/// What a store holds of one origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Which.
    pub origin: Origin,
    /// Its entries, by position.
    pub entries: Vec<Entry>,
    /// Its spans, in their own order.
    pub spans: Vec<Span>,
}

impl Request {
    /// What its entries and spans are to a call tree.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let mut observations: Vec<Observation> =
            self.entries.iter().filter_map(Observation::of).collect();
        let observed = selvedge_spans::observe(&self.spans);
        observations.extend(observed.requests.into_values().flatten());
        observations
    }

    /// The builder of its call tree.
    #[must_use]
    pub fn builder(&self) -> TreeBuilder {
        TreeBuilder::batch(self.origin, self.observations())
    }

    /// The same; what it read is let go of as soon as it can be.
    #[must_use]
    pub fn into_builder(self) -> TreeBuilder {
        let (origin, observations) = (self.origin, self.observations());
        drop(self);
        TreeBuilder::batch(origin, observations)
    }
}
