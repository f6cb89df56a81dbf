//! What an owner hears of where its records have got to, so that it can answer a client only once
//! they would outlive it (B2).
//!
//! A server that keeps what it is told in its memory is a *holder*. It says how far it holds each
//! journal, and the bus tells each owner that asks ([`Terms::holders`](crate::Terms)) one
//! position: how far as many as it asked for hold all of its journal. That is one small message a
//! batch at most, whatever the number of records and of holders, and none at all where no owner
//! asks.

use std::collections::{BTreeSet, HashMap};

use selvedge_identity::{Epoch, Position, ServerName};

use crate::Event;

/// What a bus can tell owners of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tells {
    /// How far others hold a journal in their memory: it calls [`Source::held`](crate::Source).
    pub held: bool,
    /// How far the bus itself has stored a journal: it calls [`Source::stored`](crate::Source).
    pub stored: bool,
}

/// How far others hold a journal in their memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// The holders on the bus, this journal's own server not among them.
    pub present: usize,
    /// So many of them as the owner asked for (all, where there are fewer) hold every record
    /// before this sequence of this epoch, and of those before it. `None`: they hold nothing yet.
    pub to: Option<(Epoch, u64)>,
}

/// Events after which a holder says how far it has come, though more are at hand.
const EVENTS_MAX: usize = 32;

/// What a subscription of a holder keeps of how far it holds which journal, and which of it the
/// bus does not know yet. Pure.
///
/// A holder says nothing by itself: asking for the next event says that it holds those before.
/// Positions gather while more events are at hand.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// What the last event brought, held once the next is asked for.
    given: Option<Position>,
    held: HashMap<ServerName, (Epoch, u64)>,
    /// Journals whose owners ask.
    asked: BTreeSet<ServerName>,
    untold: BTreeSet<ServerName>,
    events: usize,
}

impl Holding {
    /// The user gets this event.
    pub(crate) fn give(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Batch(batch) => {
                self.given = Some(Position {
                    server: batch.server.clone(),
                    epoch: batch.epoch,
                    sequence: batch.end(),
                });
            }
            // What is gone for good does not hold up what follows it.
            Event::Gap { .. } => {}
            Event::Joined { server, terms, .. } if terms.holders > 0 => {
                self.asked.insert(server.clone());
                // A hub that is new, or forgot, hears it again.
                if self.held.contains_key(server) {
                    self.untold.insert(server.clone());
                }
            }
            Event::Joined { server, .. } | Event::Left { server } => {
                self.asked.remove(server);
                self.untold.remove(server);
            }
        }
    }

    /// Whether an owner asks how far its journal is held.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The user asks for the next event; whether one is `at_hand`. What the bus is to be told now:
    /// of each journal the sequence after the last record held.
    pub(crate) fn asks(&mut self, at_hand: bool) -> Vec<Position> {
        if let Some(given) = self.given.take() {
            if self.asked.contains(&given.server) {
                self.untold.insert(given.server.clone());
            }
            self.held
                .insert(given.server, (given.epoch, given.sequence));
        }
        if self.untold.is_empty() || (at_hand && self.events < EVENTS_MAX) {
            return Vec::new();
        }
        self.events = 0;
        let held = &self.held;
        let position = |server: ServerName| {
            let (epoch, sequence) = *held.get(&server)?;
            Some(Position {
                server,
                epoch,
                sequence,
            })
        };
        let untold = std::mem::take(&mut self.untold);
        untold.into_iter().filter_map(position).collect()
    }
}
