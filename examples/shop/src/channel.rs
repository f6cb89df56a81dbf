//! What this server knows of the channel: votes it took, content ordered for broadcast.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use selvedge_identity::SessionId;
use serde::{Deserialize, Serialize};

/// The longest choice or name of content, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// Different choices that are counted by name; votes for more of them are taken, not counted.
const CHOICES_MAX: usize = 1000;

/// Visits that voted and are remembered; the first make room.
const VOTERS_MAX: usize = 1000;

/// Content waiting to be broadcast; the oldest make room, as if they had been shown.
const SCHEDULE_MAX: usize = 100;

/// Content that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    pub(crate) content: String,
    /// Its number among all that this server scheduled.
    pub(crate) number: u64,
}

/// One server's view.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    votes: BTreeMap<String, u64>,
    voters: VecDeque<SessionId>,
    schedule: VecDeque<Scheduled>,
    scheduled: u64,
}

impl Channel {
    /// Counts a vote of this visit.
    pub(crate) fn vote(&self, choice: &str, session: Option<SessionId>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = session.filter(|session| !state.voters.contains(session)) {
            if state.voters.len() == VOTERS_MAX {
                state.voters.pop_front();
            }
            state.voters.push_back(session);
        }
        if let Some(count) = state.votes.get_mut(choice) {
            *count += 1;
        } else if state.votes.len() < CHOICES_MAX {
            state.votes.insert(choice.to_owned(), 1);
        }
    }

    /// The votes that this server took.
    pub(crate) fn votes(&self) -> BTreeMap<String, u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.votes.clone()
    }

    /// The visits whose votes this server took.
    pub(crate) fn voters(&self) -> Vec<SessionId> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.voters.iter().copied().collect()
    }

    /// Puts content on the schedule.
    pub(crate) fn schedule(&self, content: String) -> Scheduled {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.scheduled += 1;
        let scheduled = Scheduled {
            content,
            number: state.scheduled,
        };
        if state.schedule.len() == SCHEDULE_MAX {
            state.schedule.pop_front();
        }
        state.schedule.push_back(scheduled.clone());
        scheduled
    }

    /// What is on the schedule, first the one that is on now.
    pub(crate) fn scheduled(&self) -> Vec<Scheduled> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.schedule.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_counted_up_to_a_bounded_number_of_choices() {
        let channel = Channel::default();
        for choice in 0..CHOICES_MAX + 10 {
            let session = SessionId::from_random((choice as u128 + 1).to_be_bytes());
            channel.vote(&choice.to_string(), Some(session));
            channel.vote("0", Some(session));
        }
        assert_eq!(channel.voters().len(), VOTERS_MAX);
        assert_eq!(channel.votes().len(), CHOICES_MAX);
        assert_eq!(channel.votes()["0"], 1 + CHOICES_MAX as u64 + 10);
    }

    #[test]
    fn the_schedule_is_bounded_and_keeps_its_order() {
        let channel = Channel::default();
        for content in 1..=SCHEDULE_MAX + 3 {
            channel.schedule(content.to_string());
        }
        let scheduled = channel.scheduled();
        assert_eq!(scheduled.len(), SCHEDULE_MAX);
        assert_eq!(scheduled[0].content, "4");
        assert!(
            scheduled
                .windows(2)
                .all(|two| two[0].number + 1 == two[1].number)
        );
    }
}
