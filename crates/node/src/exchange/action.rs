//! An action that a request's code records (A9).

use std::sync::Arc;

use selvedge_entry::{Direction, Fields, Opening, Outcome, Record, StateWrite};
use selvedge_identity::{Head, Position};
use selvedge_journal::Appended;

use super::actions::Begin;
use super::{End, Inner};

/// An action that a request's code records.
#[must_use = "an action ends when it is dropped"]
pub struct Action {
    exchange: Arc<Inner>,
    at: Option<Appended>,
    index: Option<usize>,
    began_ns: u64,
    attributes: Fields,
    state: Option<StateWrite>,
    end: Option<End>,
}

impl Action {
    pub(super) fn begin(exchange: Arc<Inner>, name: &str) -> Self {
        let node = &exchange.node;
        let began_ns = node.monotonic_ns();
        let (at, index) = {
            let mut state = exchange.lock();
            let begin = state.actions.begin();
            let mut opening = exchange.internal_opening(name, &begin);
            match exchange.session {
                Some(session) if !state.actions.is_full() => {
                    match node.append_action(session, begin.floor(), opening) {
                        Some((head, at)) => {
                            state.newest = Some(at);
                            (Some(at), Some(state.actions.add(&begin, head, false)))
                        }
                        None => (None, None),
                    }
                }
                _ => {
                    opening.flags.push("unordered_action".into());
                    (node.append(&Record::Opening(Box::new(opening))), None)
                }
            }
        };
        Self {
            exchange,
            at,
            index,
            began_ns,
            attributes: Fields::new(),
            state: None,
            end: None,
        }
    }

    /// Where its opening stands.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.at.map(|at| self.exchange.node.position(at))
    }

    pub(super) fn appended(&self) -> Option<Appended> {
        self.at
    }

    /// It did what it should; the head that it leaves, if it has an ordering id.
    pub(super) fn ended(self) -> Option<Head> {
        let (exchange, index) = (self.exchange.clone(), self.index);
        drop(self);
        let state = exchange.lock();
        index.map(|index| state.actions.head(index).clone())
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, key: &str, value: &str) {
        self.attributes.push((key.into(), value.into()));
    }

    /// The counter of its ordering id, if it has one.
    pub(super) fn counter(&self) -> Option<u64> {
        let index = self.index?;
        Some(self.exchange.lock().actions.head(index).counter)
    }

    /// It writes this of the session's state.
    pub(super) fn write(&mut self, write: StateWrite) {
        self.state = Some(write);
    }

    /// It did what it should.
    pub fn finish(self) {}

    /// It failed, for this reason.
    pub fn fail(mut self, reason: &str) {
        self.end = Some(End {
            error: Some(reason.to_owned()),
            ..End::default()
        });
    }
}

impl Drop for Action {
    fn drop(&mut self) {
        let Some(at) = self.at.take() else { return };
        let node = &self.exchange.node;
        let end = self.end.take().unwrap_or_default();
        let failed = end.error.is_some();
        let mut closing = node.closing(end, 0, self.began_ns, &mut self.attributes);
        if !failed {
            closing.outcome = Outcome::Ok;
        }
        closing.state = self.state.clone().into_iter().collect();
        let record = Record::Closing {
            opening: at.sequence,
            closing,
        };
        let closed = node.append_after(at, &record);
        if let Some(index) = self.index {
            let mut state = self.exchange.lock();
            state.newest = closed.or(state.newest);
            state
                .actions
                .finish(index, closed.map_or(at.sequence, |closed| closed.sequence));
            if let (Some(write), Some(closed)) = (self.state.take(), closed) {
                let (action, closed) = (node.position(at), node.position(closed));
                state.written.add(write, action, closed);
            }
        }
    }
}

impl Inner {
    fn internal_opening(&self, name: &str, begin: &Begin) -> Opening {
        let mut opening = self.node.opening(Direction::Internal, name);
        opening.service = self.service.clone();
        opening.session = self.session;
        opening.client = self.client;
        opening.after = begin.follows().collect();
        opening.call = Some(selvedge_entry::Call {
            identifier: self.identifier.clone(),
            interaction: self.interaction,
            peer: None,
            peer_host: None,
        });
        opening
    }
}
