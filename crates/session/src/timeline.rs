//! A session's actions in order, from any journals.
//!
//! **Before** means reachable over `after`. Two actions of which neither is before the other are
//! **concurrent**, unless a head may have been lost between them: then they are **unproven**
//! (module `loss` says when exactly). The order shown is that of the ordering ids; it extends
//! "before", and between actions that are concurrent or unproven it means nothing.
//!
//! Entries come in any order and with repeats, and all end in the same timeline. What an action
//! follows and is not among the entries (evicted, lost, not here yet) is an unknown ancestor: an
//! action that may have come before it is unproven, not concurrent.

use std::cmp::Reverse;

use selvedge_entry::Entry;
use selvedge_identity::{ClientId, SessionId};

use crate::graph::Graph;
use crate::loss::Losses;

/// Pairs of actions that are concurrent or unproven, in one timeline. Four million take 32 MiB;
/// a session of 1,000 actions without any order has half a million.
const PAIRS_MAX: usize = 4 << 20;

/// How two actions stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first was known to the client when it sent the second.
    Before,
    /// The second was known to the client when it sent the first.
    After,
    /// Each was sent before the other was answered; or both are of one request and neither
    /// follows the other.
    Concurrent,
    /// Ordered or concurrent: what would tell was lost.
    Unproven,
}

/// A session's actions in order. The default is that of no session: empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    session: Option<SessionId>,
    actions: Vec<Entry>,
    concurrent: Vec<Vec<u32>>,
    unproven: Vec<Vec<u32>>,
    related: usize,
}

/// Makes the timeline of `session`. Of the entries it takes the session's actions (those with a
/// counter) and leaves the rest; of two with one position it takes the one that tells more.
#[must_use]
pub fn timeline(session: SessionId, entries: impl IntoIterator<Item = Entry>) -> Timeline {
    let is_action =
        |entry: &Entry| entry.opening.session == Some(session) && entry.opening.counter.is_some();
    // Entries are large: sort their numbers, then move each entry once.
    let found: Vec<Entry> = entries.into_iter().filter(is_action).collect();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_unstable_by(|a, b| place(&found[*a]).cmp(&place(&found[*b])));
    let mut found: Vec<Option<Entry>> = found.into_iter().map(Some).collect();
    let mut actions: Vec<Entry> = Vec::with_capacity(order.len());
    for entry in order.into_iter().filter_map(|number| found[number].take()) {
        if actions
            .last()
            .is_none_or(|last| last.position != entry.position)
        {
            actions.push(entry);
        }
    }
    let graph = Graph::new(&actions, PAIRS_MAX);
    let losses = Losses::find(&actions, &graph);
    Timeline {
        session: Some(session),
        related: losses.related,
        actions,
        concurrent: losses.concurrent,
        unproven: losses.unproven,
    }
}

/// What actions are sorted by: ordering id, and of two with one position first what tells more.
fn place(entry: &Entry) -> impl Ord {
    let told = (entry.closing.is_some(), entry.effect.is_some());
    (entry.opening.counter, &entry.position, Reverse(told))
}

impl Timeline {
    /// The session; `None` for the timeline of none.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Who visited, as the first action that knows says.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.actions.iter().find_map(|action| action.opening.client)
    }

    /// The actions, by ordering id.
    #[must_use]
    pub fn actions(&self) -> &[Entry] {
        &self.actions
    }

    /// The actions, by ordering id.
    #[must_use]
    pub fn into_actions(self) -> Vec<Entry> {
        self.actions
    }

    /// Which actions are concurrent with the one of that number, ascending.
    #[must_use]
    pub fn concurrent_with(&self, action: usize) -> &[u32] {
        self.concurrent.get(action).map_or(&[], Vec::as_slice)
    }

    /// Which actions are unproven against the one of that number, ascending.
    #[must_use]
    pub fn unproven_with(&self, action: usize) -> &[u32] {
        self.unproven.get(action).map_or(&[], Vec::as_slice)
    }

    /// How many actions, from the first, have their concurrency told. All, but for a session so
    /// much without order that it would take more than 32 MiB.
    #[must_use]
    pub fn related(&self) -> usize {
        self.related
    }

    /// How action number `a` stands to number `b`; `None` for the same, and where it is not told
    /// (see [`Timeline::related`]).
    #[must_use]
    pub fn relation(&self, a: usize, b: usize) -> Option<Relation> {
        if a == b || a.max(b) >= self.related {
            return None;
        }
        let number = u32::try_from(b).ok()?;
        let told = |list: &[u32]| list.binary_search(&number).is_ok();
        Some(if told(self.concurrent_with(a)) {
            Relation::Concurrent
        } else if told(self.unproven_with(a)) {
            Relation::Unproven
        } else if a < b {
            Relation::Before
        } else {
            Relation::After
        })
    }
}
