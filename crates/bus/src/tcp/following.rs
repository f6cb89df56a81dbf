//! A subscription over a link, which it outlives: how far it has come, what is known to be present,
//! and how much the hub may send.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::{mpsc, watch};

use super::client::Keeper;
use super::message::Message;
use crate::acknowledging::Holding;
use crate::hub::Begin;
use crate::{Event, Events};

/// A subscription, as far as it has come.
pub(crate) struct Following {
    pub(crate) name: String,
    pub(crate) skip: Option<ServerName>,
    pub(crate) reports: bool,
    pub(crate) holds: Option<ServerName>,
    pub(crate) begin: Begin,
    pub(crate) positions: HashMap<ServerName, (Epoch, u64)>,
    /// Sorted, so that a lost link tells of its losses in the same order each time.
    pub(crate) present: BTreeSet<ServerName>,
    pub(crate) events: mpsc::UnboundedSender<(Event, u64)>,
    /// Bytes handed over and not yet read by the user.
    pub(crate) queued: i64,
    /// Bytes that the hub of this link may still send; below zero by at most one frame.
    pub(crate) allowed: i64,
    /// Turns true when the hub has said where the subscription begins.
    pub(crate) settled: watch::Sender<bool>,
    pub(crate) denied: Option<String>,
}

impl Following {
    /// The frames that open it on a new link.
    pub(crate) fn open(&mut self, window: usize) -> [Message; 2] {
        let position = |(server, (epoch, sequence)): (&ServerName, &(Epoch, u64))| Position {
            server: server.clone(),
            epoch: *epoch,
            sequence: *sequence,
        };
        let subscribe = Message::Subscribe {
            name: self.name.clone(),
            begin: self.begin,
            reports: self.reports,
            skip: self.skip.clone(),
            holds: self.holds.clone(),
            from: self.positions.iter().map(position).collect(),
        };
        self.allowed = 0;
        let bytes = self.allow(window, true).unwrap_or(0);
        [subscribe, Message::Credit { bytes }]
    }

    /// The hub has said where it begins: from now on it is resumed, not begun.
    pub(crate) fn settle(&mut self, from: Vec<Position>) {
        for position in from {
            let place = (position.epoch, position.sequence);
            self.positions.entry(position.server).or_insert(place);
        }
        if self.begin == Begin::Now {
            self.begin = Begin::Epoch;
        }
        self.settled.send_replace(true);
    }

    /// What more the hub may send, if that is worth a frame.
    fn allow(&mut self, window: usize, any: bool) -> Option<u64> {
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let more = window - self.queued - self.allowed;
        if more <= 0 || (!any && more < window / 4) {
            return None;
        }
        self.allowed += more;
        u64::try_from(more).ok()
    }

    /// Hands an event over and moves the positions.
    pub(crate) fn take(&mut self, event: Event, cost: usize) {
        match &event {
            Event::Batch(batch) => {
                let place = (batch.epoch, batch.end());
                self.positions.insert(batch.server.clone(), place);
            }
            Event::Gap {
                server, epoch, to, ..
            } => {
                self.positions.insert(server.clone(), (*epoch, *to));
            }
            Event::Joined { server, .. } => {
                self.present.insert(server.clone());
            }
            Event::Left { server } => {
                self.present.remove(server);
            }
        }
        let cost = cost as i64;
        self.allowed -= cost;
        self.queued += cost;
        let _ = self.events.send((event, cost as u64));
    }

    /// The link is down: nobody is known to be present.
    pub(crate) fn lose(&mut self) {
        for server in std::mem::take(&mut self.present) {
            let _ = self.events.send((Event::Left { server }, 0));
        }
    }
}

/// The user's side of a subscription.
pub(crate) struct TcpSubscription {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) channel: u16,
    pub(crate) receiver: mpsc::UnboundedReceiver<(Event, u64)>,
    /// Of one who holds what it gets.
    pub(crate) holding: Option<Holding>,
}

impl TcpSubscription {
    /// Says how far it holds the journals whose owners ask, as far as that is new.
    fn tell_held(&mut self) {
        let Some(holding) = &mut self.holding else {
            return;
        };
        let held = holding.asks(!self.receiver.is_empty());
        if !held.is_empty() {
            // Without a link it goes nowhere; on the next one the owners' presence is told anew,
            // and then it is said again.
            let state = self.keeper.client.state();
            state.push(Message::Held(held).frame(self.channel));
        }
    }
}

#[async_trait]
impl Events for TcpSubscription {
    async fn next(&mut self) -> Option<Event> {
        self.tell_held();
        let (event, cost) = self.receiver.recv().await?;
        if let Some(holding) = &mut self.holding {
            holding.give(&event);
        }
        let client = &self.keeper.client;
        let mut guard = client.state();
        let state = &mut *guard;
        if let Some(following) = state.subscriptions.get_mut(&self.channel) {
            following.queued -= cost as i64;
            if state.link.is_some()
                && let Some(bytes) = following.allow(client.options.window_bytes, false)
            {
                state.push(Message::Credit { bytes }.frame(self.channel));
            }
        }
        Some(event)
    }
}

impl Drop for TcpSubscription {
    fn drop(&mut self) {
        let mut state = self.keeper.client.state();
        if state.subscriptions.remove(&self.channel).is_some() {
            state.push(Message::Unsubscribe.frame(self.channel));
        }
    }
}
