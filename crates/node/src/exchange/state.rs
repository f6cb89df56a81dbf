//! A session's state: small named values that a request's code reads and writes (B2).
//!
//! A value is read as this server's memory has it, which holds what the request's client has seen
//! (E6), with what the request itself wrote on top. A value that is written rides in the effect of
//! the request's own entry, so it is durable before the answer and goes wherever the entry goes.
//! Where the request's own entry is not the right place (it is no action of the session; or other
//! actions of the request came since, which the write must follow), the write is an action of its
//! own, `set NAME`.
//!
//! What a write replaces is found when it is made (`selvedge_session::States`). Limits: a deeper
//! service sees what it follows after [`Exchange::catch_up`], and so does this one what a deeper
//! one wrote meanwhile; what is written after the answer has begun is in the log, but not in the
//! head that the answer carried.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_entry::{StateWrite, Text};
use selvedge_identity::{OrderingId, Position, SessionId};
use selvedge_session::Candidate;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Action, Exchange, Inner, Stage};

/// The longest name, in bytes.
pub const STATE_NAME_BYTES_MAX: usize = 64;
/// The longest value, in bytes of JSON.
pub const STATE_VALUE_BYTES_MAX: usize = 16 << 10;
/// Names that one session's state may have.
pub const STATE_NAMES_MAX: usize = 32;
/// Bytes of all values of one session's state.
pub const STATE_SESSION_BYTES_MAX: usize = 64 << 10;

/// Why state cannot be read or written.
#[derive(Debug, Error)]
pub enum StateError {
    /// The request belongs to no session.
    #[error("the request belongs to no session: it did not come through a gateway")]
    NoSession,
    /// The name is not one.
    #[error(
        "{0:?} is no name of state: it must be 1 to {STATE_NAME_BYTES_MAX} letters, digits, `-`, \
         `_` or `.`"
    )]
    Name(String),
    /// The value is too long.
    #[error(
        "the value has {0} bytes as JSON, of at most {STATE_VALUE_BYTES_MAX}: keep what is large \
         elsewhere, and its name here"
    )]
    TooLong(usize),
    /// The session has too much already.
    #[error(
        "the session's state would have more than {STATE_NAMES_MAX} names or \
         {STATE_SESSION_BYTES_MAX} bytes: clear what is not needed"
    )]
    Full,
    /// The request's end is written.
    #[error("the request has ended: write state before its answer")]
    Ended,
    /// It has recorded too many actions, or the server stops.
    #[error("no action can be recorded: the request has too many, or the server stops")]
    NoAction,
    /// The value is not of the type.
    #[error("the state {name:?} is not of the type asked for: {source}")]
    Value {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A name of a session's state, read and written as JSON of `T`.
pub struct State<T> {
    exchange: Exchange,
    name: String,
    of: PhantomData<fn(T) -> T>,
}

/// One of several values that are left of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateValue<T> {
    /// The value; `None`: it was cleared.
    pub value: Option<T>,
    /// The ordering id of the action that wrote it.
    pub ordering: OrderingId,
    /// That action.
    pub action: Position,
}

impl<T: Serialize + DeserializeOwned> State<T> {
    /// The value; `None` where there is none, or it was cleared. Of several, neither written
    /// before the other, the one with the greatest ordering id ([`State::candidates`] has all).
    ///
    /// # Errors
    /// When there is no session, or the value is not a `T`.
    pub fn get(&self) -> Result<Option<T>, StateError> {
        let shown = self.candidates()?.into_iter().next();
        Ok(shown.and_then(|shown| shown.value))
    }

    /// All values that are left, the one that is shown first: more than one are a conflict, of
    /// requests that did not know of each other. A write by a request that follows both resolves
    /// it.
    ///
    /// # Errors
    /// When there is no session, or a value is not a `T`.
    pub fn candidates(&self) -> Result<Vec<StateValue<T>>, StateError> {
        let candidates = self.exchange.state_candidates(&self.name)?;
        let read = |candidate: Candidate| {
            let value = candidate.value.as_deref().map(serde_json::from_slice);
            let value = value.transpose().map_err(|source| StateError::Value {
                name: self.name.clone(),
                source,
            })?;
            Ok(StateValue {
                value,
                ordering: candidate.ordering(),
                action: candidate.action,
            })
        };
        candidates.into_iter().map(read).collect()
    }

    /// Writes the value. It is durable before the request's answer, and there for whichever
    /// server takes the session's next request.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn set(&self, value: &T) -> Result<(), StateError> {
        let value = serde_json::to_vec(value).map_err(|source| StateError::Value {
            name: self.name.clone(),
            source,
        })?;
        self.exchange.write_state(&self.name, Some(value.into()))
    }

    /// Takes the value away.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn clear(&self) -> Result<(), StateError> {
        self.exchange.write_state(&self.name, None)
    }
}

impl Exchange {
    /// A name of the session's state: a small value that any server of the fleet reads and
    /// writes, such as a cart.
    #[must_use]
    pub fn state<T: Serialize + DeserializeOwned>(&self, name: &str) -> State<T> {
        State {
            exchange: self.clone(),
            name: name.to_owned(),
            of: PhantomData,
        }
    }

    /// The names of the session's state that have values, sorted.
    #[must_use]
    pub fn state_names(&self) -> Vec<Text> {
        let Some(session) = self.inner.session else {
            return Vec::new();
        };
        let mut names = self.inner.node.memory().state_names(session);
        let state = self.inner.lock();
        names.extend(state.written.list.iter().map(|own| own.write.name.clone()));
        drop(state);
        names.sort();
        names.dedup();
        names
    }

    /// The values that are left of a name, as JSON, the one that is shown first.
    ///
    /// # Errors
    /// When there is no session, or the name is none.
    pub fn state_candidates(&self, name: &str) -> Result<Vec<Candidate>, StateError> {
        let session = self.inner.session.ok_or(StateError::NoSession)?;
        check_name(name)?;
        let memory = self.inner.node.memory();
        let state = self.inner.lock();
        let mut candidates = memory.state(session, name, []).candidates;
        let newest = state.written.of(name).last();
        if let Some(newest) = newest
            && !newest.at.as_ref().is_some_and(|at| memory.has_seen(at))
        {
            let own: Vec<_> = state
                .written
                .of(name)
                .filter_map(|o| o.at.as_ref())
                .collect();
            candidates.retain(|candidate| {
                !newest.write.replaces.contains(&candidate.at) && !own.contains(&&candidate.at)
            });
            candidates.push(newest.candidate());
            Candidate::sort(&mut candidates);
        }
        Ok(candidates)
    }

    /// Writes a value, which is JSON; `None` takes it away.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn write_state(&self, name: &str, value: Option<Bytes>) -> Result<(), StateError> {
        self.inner.write_state(name, value)
    }
}

impl Inner {
    fn write_state(self: &Arc<Self>, name: &str, value: Option<Bytes>) -> Result<(), StateError> {
        let session = self.session.ok_or(StateError::NoSession)?;
        check_name(name)?;
        let length = value.as_ref().map_or(0, Bytes::len);
        if length > STATE_VALUE_BYTES_MAX {
            return Err(StateError::TooLong(length));
        }
        let mut state = self.lock();
        if matches!(state.stage, Stage::Closed) {
            return Err(StateError::Ended);
        }
        if let (Stage::Opened(at), Some(counter)) = (&state.stage, state.actions.only_own()) {
            let action = self.node.position(*at);
            let write = self.prepare(&state, session, counter, name, value)?;
            state.written.pend(write, action);
            return Ok(());
        }
        drop(state);
        let mut action = Action::begin(self.clone(), &format!("set {name}"));
        let counter = action.counter().ok_or(StateError::NoAction)?;
        let write = self.prepare(&self.lock(), session, counter, name, value);
        match write {
            Ok(write) => action.write(write),
            Err(error) => {
                action.fail(&error.to_string());
                return Err(error);
            }
        }
        action.finish();
        Ok(())
    }

    /// The write, with what it replaces: of what this server knows, what is before all that the
    /// request has done, and what the request itself wrote.
    fn prepare(
        &self,
        state: &super::State,
        session: SessionId,
        counter: u64,
        name: &str,
        value: Option<Bytes>,
    ) -> Result<StateWrite, StateError> {
        let heads = state.actions.past();
        let view = self.node.memory().state(session, name, heads);
        let (names, bytes) = view.others;
        let length = value.as_ref().map_or(0, Bytes::len);
        if names >= STATE_NAMES_MAX || bytes + length > STATE_SESSION_BYTES_MAX {
            return Err(StateError::Full);
        }
        let mut replaces = view.known;
        let own = state.written.of(name).filter_map(|own| own.at.clone());
        replaces.extend(own);
        replaces.sort_unstable();
        replaces.dedup();
        let hidden = value
            .as_ref()
            .is_some_and(|value| self.node.keep().hides_state(value));
        Ok(StateWrite {
            session,
            counter,
            name: name.into(),
            value,
            replaces,
            hidden,
        })
    }
}

fn check_name(name: &str) -> Result<(), StateError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > STATE_NAME_BYTES_MAX || !name.bytes().all(plain) {
        let name = name.chars().take(STATE_NAME_BYTES_MAX).collect();
        return Err(StateError::Name(name));
    }
    Ok(())
}

/// What a request has written, oldest first: there for its code before the journal has brought it
/// to the memory.
#[derive(Debug, Default)]
pub(super) struct Written {
    list: Vec<Own>,
}

#[derive(Debug)]
struct Own {
    write: StateWrite,
    action: Position,
    /// The record that it stands in; `None`: it will ride in the next of the request's own.
    at: Option<Position>,
}

impl Own {
    fn candidate(&self) -> Candidate {
        Candidate {
            at: self.at.clone().unwrap_or_else(|| self.action.clone()),
            action: self.action.clone(),
            counter: self.write.counter,
            value: self.write.value.clone(),
        }
    }
}

impl Written {
    fn of(&self, name: &str) -> impl Iterator<Item = &Own> {
        self.list.iter().filter(move |own| *own.write.name == *name)
    }

    /// A write that rides in the next record; one of the same name that waits already is gone.
    fn pend(&mut self, write: StateWrite, action: Position) {
        self.list
            .retain(|own| own.at.is_some() || own.write.name != write.name);
        self.list.push(Own {
            write,
            action,
            at: None,
        });
    }

    /// A write that stands in a record; one of the same name that waits is gone.
    pub(super) fn add(&mut self, write: StateWrite, action: Position, at: Position) {
        self.pend(write, action);
        if let Some(own) = self.list.last_mut() {
            own.at = Some(at);
        }
    }

    /// What rides in the record that is written now.
    pub(super) fn pending(&self) -> Vec<StateWrite> {
        let pending = self.list.iter().filter(|own| own.at.is_none());
        pending.map(|own| own.write.clone()).collect()
    }

    /// That record was written at `at`, or not at all.
    pub(super) fn settled(&mut self, at: Option<&Position>) {
        for own in self.list.iter_mut().filter(|own| own.at.is_none()) {
            own.at = at.cloned();
        }
        self.list.retain(|own| own.at.is_some());
    }
}
