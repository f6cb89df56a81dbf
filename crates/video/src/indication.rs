//! What is placed in the stream: that a rule was raised or cleared; and what a receiver reads there.

use std::collections::{BTreeMap, VecDeque};

use selvedge_entry::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::scte35;

/// Bytes of the longest rule or group.
const NAME_MAX: usize = 200;
/// Bytes of the longest broadcast that is carried, as JSON: at 5 Mb/s it takes 30 ms.
const CARRIED_MAX: usize = 16 << 10;
/// Rules and groups whose state is repeated; of more, the one that changed longest ago makes room.
const STATES_MAX: usize = 1000;
/// States that one heartbeat repeats; of more, it goes on where the one before ended.
const STATES_PER_BEAT: usize = 4;

/// Which way a rule went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It fires.
    Raised,
    /// It does no more.
    Cleared,
}

/// That a rule crossed its level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Indication {
    /// The same however often it is seen, never another's. A raise and its clear differ in what
    /// stands after the last dot.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The group, where the rule has groups.
    #[serde(default)]
    pub group: Option<String>,
    /// Which way.
    pub state: State,
    /// The value at the crossing.
    pub value: f64,
    /// When, by the clock of whoever saw it.
    pub at: Timestamp,
}

/// An indication in the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// What is said.
    #[serde(flatten)]
    pub indication: Indication,
    /// When it was placed, by the encoder's clock.
    pub placed: Timestamp,
    /// It was placed before; this is a heartbeat.
    pub repeat: bool,
    /// Its time stamp in 90 kHz. Stands beside the value, not in it.
    #[serde(skip)]
    pub pts: u64,
}

/// A content server's broadcast, carried in the stream (A10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The broadcast's name, the same however often it is seen.
    pub broadcast: String,
    /// What the content is.
    pub content_type: String,
    /// The content, where it is text: for players.
    #[serde(default)]
    pub content: Option<String>,
    /// The message in base64, with the heads of those whom it addresses: for terminals that hold a
    /// session.
    pub message: String,
    /// Which part it is, and of how many: one that addresses many is carried in several, each with
    /// the whole content and some of the heads.
    #[serde(default = "whole")]
    pub part: [u16; 2],
    /// Its time stamp in 90 kHz. Stands beside the value, not in it.
    #[serde(skip)]
    pub pts: u64,
}

fn whole() -> [u16; 2] {
    [1, 1]
}

/// Why an indication is not placed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IndicationError {
    /// A name is too long for a packet's fields.
    #[error("the {0} of an indication has {1} bytes; at most {NAME_MAX} fit into the stream")]
    TooLong(&'static str, usize),
    /// A broadcast is too long.
    #[error("a broadcast of {0} bytes; the stream carries at most {CARRIED_MAX}")]
    Broadcast(usize),
    /// JSON has no such number.
    #[error("the value of an indication is not a finite number")]
    Value,
}

impl Indication {
    /// Whether it fits.
    ///
    /// # Errors
    /// Which of its members does not.
    pub fn check(&self) -> Result<(), IndicationError> {
        let group = self.group.as_deref().unwrap_or_default();
        for (what, text, most) in [
            ("id", self.id.as_str(), scte35::ID_MAX),
            ("rule", self.rule.as_str(), NAME_MAX),
            ("group", group, NAME_MAX),
        ] {
            if text.len() > most {
                return Err(IndicationError::TooLong(what, text.len()));
            }
        }
        if self.value.is_finite() {
            Ok(())
        } else {
            Err(IndicationError::Value)
        }
    }
}

impl Carried {
    /// Whether no other part is to come.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.part[0] >= self.part[1]
    }

    /// As it is placed.
    ///
    /// # Errors
    /// When it is too long.
    pub(crate) fn json(&self) -> Result<String, IndicationError> {
        // Texts alone: they are JSON.
        let json = serde_json::to_string(self).unwrap_or_else(|_| NOTHING.to_owned());
        if json.len() > CARRIED_MAX {
            return Err(IndicationError::Broadcast(json.len()));
        }
        Ok(json)
    }
}

/// What a heartbeat says when there is nothing to repeat.
pub(crate) const NOTHING: &str = "{}";

impl Placed {
    pub(crate) fn json(&self) -> String {
        // Names and numbers that `check` let pass.
        serde_json::to_string(self).unwrap_or_else(|_| NOTHING.to_owned())
    }
}

/// The current state of every rule and group, for heartbeats.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    states: BTreeMap<(String, Option<String>), (u64, Indication)>,
    changes: u64,
    /// What the heartbeats of this round have yet to say.
    round: VecDeque<(String, Option<String>)>,
}

impl Board {
    pub(crate) fn set(&mut self, indication: Indication) {
        let key = (indication.rule.clone(), indication.group.clone());
        self.changes += 1;
        self.states.insert(key, (self.changes, indication));
        if self.states.len() > STATES_MAX
            && let Some(oldest) = self.states.iter().min_by_key(|(_, (change, _))| *change)
        {
            let oldest = oldest.0.clone();
            self.states.remove(&oldest);
        }
    }

    /// What the next heartbeat repeats.
    pub(crate) fn beat(&mut self) -> Vec<Indication> {
        if self.round.is_empty() {
            self.round.extend(self.states.keys().cloned());
        }
        let count = self.round.len().min(STATES_PER_BEAT);
        let keys = self.round.drain(..count);
        keys.filter_map(|key| self.states.get(&key).map(|(_, state)| state.clone()))
            .collect()
    }
}
