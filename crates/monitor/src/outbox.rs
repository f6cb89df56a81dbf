//! Notifications that wait for their receivers.
//!
//! Each receiver gets all notifications in their order, one after the other, and again until it
//! acknowledges: at least once, always under the same id. What waits is part of the monitor's
//! written state, so a notification that was decided is sent, whatever dies in between.

use std::collections::{BTreeMap, VecDeque};

use selvedge_entry::Timestamp;
use selvedge_identity::Position;
use serde::{Deserialize, Serialize};

use crate::threshold::{Change, Crossing};

/// Notifications that wait for one receiver at most; beyond, the oldest is given up.
const WAITING_MAX: usize = 100_000;

/// What a receiver is told of a crossing. Its JSON is drawn in `docs/formats/threshold-link.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The receiver's key: the same however often it is sent, and never another's.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The group, where the rule has groups.
    pub group: Option<String>,
    /// Which way.
    pub change: Change,
    /// Counts the rule's raises from 1; a clear bears the number of its raise.
    pub number: u64,
    /// When, by the monitor's clock.
    pub at: Timestamp,
    /// The value at the crossing.
    pub value: f64,
    /// Its standard error as a share of it; 0: exact.
    pub error: f64,
    /// The window's first instant; `None`: since the start.
    pub window: Option<Timestamp>,
    /// The entry that crossed it, as `server/epoch/sequence`; `None` where time did.
    pub cause: Option<Position>,
}

impl Notification {
    /// Of a crossing of a rule; `instance` names this life of the rule.
    #[must_use]
    pub fn new(instance: &str, crossing: Crossing) -> Self {
        let change = match crossing.change {
            Change::Raised => "raised",
            Change::Cleared => "cleared",
        };
        Self {
            id: format!("{}.{instance}.{}.{change}", crossing.rule, crossing.number),
            rule: crossing.rule.into(),
            group: crossing.group.map(Into::into),
            change: crossing.change,
            number: crossing.number,
            at: crossing.at,
            value: crossing.value,
            error: crossing.error,
            window: crossing.window,
            cause: crossing.cause,
        }
    }
}

/// What waits, by receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    waiting: BTreeMap<String, VecDeque<Notification>>,
    /// Given up because too many waited.
    given_up: u64,
}

impl Outbox {
    /// Makes the receivers these: new ones get what comes from now on, what waits for others is
    /// dropped.
    pub fn set_receivers<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut old = std::mem::take(&mut self.waiting);
        for name in names {
            let kept = old.remove(name).unwrap_or_default();
            self.waiting.insert(name.to_owned(), kept);
        }
    }

    /// Puts a notification behind what waits for every receiver.
    pub fn push(&mut self, notification: &Notification) {
        for waiting in self.waiting.values_mut() {
            if waiting.len() == WAITING_MAX {
                waiting.pop_front();
                self.given_up += 1;
            }
            waiting.push_back(notification.clone());
        }
    }

    /// The next notification for a receiver.
    #[must_use]
    pub fn front(&self, receiver: &str) -> Option<&Notification> {
        self.waiting.get(receiver)?.front()
    }

    /// The receiver acknowledged the notification with this id: the next is its next. Another id
    /// (of one that was given up meanwhile) changes nothing.
    pub fn acknowledge(&mut self, receiver: &str, id: &str) {
        if let Some(waiting) = self.waiting.get_mut(receiver)
            && waiting.front().is_some_and(|front| front.id == id)
        {
            waiting.pop_front();
        }
    }

    /// How many wait, by receiver.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, usize)> {
        let each = self.waiting.iter();
        each.map(|(name, waiting)| (name.as_str(), waiting.len()))
    }

    /// How many were given up because too many waited.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}
