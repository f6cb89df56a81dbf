//! Made-up systems: who called whom, what each call's identifier was, what was logged, what is
//! lost.
//!
//! The shape is drawn once; identifiers are written by the code that services use
//! ([`RequestIdentifier::advance`]). No service calls itself, so none holds two consecutive levels.

use std::sync::Arc;

use fastrand::Rng;
use selvedge_calltree::{Handle, Observation, Place};
use selvedge_entry::{Direction, Outcome, Text, Timestamp};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

/// What a system looks like.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) calls: usize,
    /// Calls that one interaction may make.
    pub(crate) fan_out: usize,
    /// Calls between the root and the deepest.
    pub(crate) depth: usize,
    /// At least 2.
    pub(crate) services: usize,
    /// How often the newest call makes the next one, in percent; else any call makes it.
    pub(crate) chain: usize,
}

/// One interaction. Calls are numbered parents first; call 0 is the root.
pub(crate) struct Call {
    pub(crate) parent: Option<usize>,
    pub(crate) level: usize,
    /// The receiving service.
    pub(crate) service: usize,
    id: Interaction,
}

/// A request and all calls that it caused.
pub(crate) struct System {
    pub(crate) origin: Origin,
    pub(crate) calls: Vec<Call>,
    services: usize,
    names: Vec<Text>,
}

/// Which sides' logs there are at all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    Both,
    Outbound,
    Inbound,
}

/// What is lost of them.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    /// All that one service logged, one that got a call.
    OneService,
    /// All that so many percent of the services logged.
    Services(usize),
    /// Both sides' entries of about so many percent of the calls.
    Calls(usize),
}

impl System {
    /// Draws a system; it has fewer calls than planned if no more fit its depth and fan-out.
    pub(crate) fn new(plan: Plan, random: &mut Rng) -> Self {
        let mut calls: Vec<Call> = Vec::with_capacity(plan.calls);
        // Calls that may make more, with how many they made.
        let mut open: Vec<(usize, usize)> = Vec::new();
        for number in 0..plan.calls {
            let parent = match open.len() {
                0 if number > 0 => break,
                0 => None,
                // The newest is last, if it may call at all.
                some if random.usize(..100) < plan.chain => Some(some - 1),
                some => Some(random.usize(..some)),
            };
            let parent = parent.map(|at| {
                let (call, made) = open[at];
                open[at].1 = made + 1;
                if made + 1 == plan.fan_out {
                    open.swap_remove(at);
                }
                call
            });
            let level = parent.map_or(0, |parent| calls[parent].level + 1);
            let service = match parent.map(|parent| calls[parent].service) {
                None => random.usize(..plan.services),
                Some(caller) => (caller + 1 + random.usize(..plan.services - 1)) % plan.services,
            };
            calls.push(Call {
                parent,
                level,
                service,
                id: Interaction::from_random(random.u64(..).to_be_bytes()),
            });
            if level < plan.depth {
                open.push((number, 0));
            }
        }
        Self {
            origin: Origin::new(random.u64(..) & 0xffff_ffff, [7; 10]),
            calls,
            services: plan.services,
            names: (0..=plan.services)
                .map(|service| Arc::from(format!("service-{service}")))
                .collect(),
        }
    }

    /// The identifier of every call, as services of this shape write them.
    pub(crate) fn identifiers(&self, shape: Shape) -> Vec<RequestIdentifier> {
        let mut identifiers: Vec<RequestIdentifier> = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            identifiers.push(match call.parent {
                None => RequestIdentifier::root(self.origin, call.id, shape),
                Some(parent) => identifiers[parent].advance(call.id, shape),
            });
        }
        identifiers
    }

    /// The sides that are left, in the order of calls. The root was called from outside: it has
    /// no outbound side.
    pub(crate) fn kept(&self, logs: Logs, loss: Loss, random: &mut Rng) -> Vec<(usize, Direction)> {
        let mut gone = vec![false; self.services];
        match loss {
            Loss::OneService => gone[self.calls[random.usize(..self.calls.len())].service] = true,
            Loss::Services(percent) => {
                let mut all: Vec<usize> = (0..self.services).collect();
                for _ in 0..self.services * percent / 100 {
                    gone[all.swap_remove(random.usize(..all.len()))] = true;
                }
            }
            Loss::Calls(_) => {}
        }
        let mut kept = Vec::with_capacity(self.calls.len() * 2);
        for (number, call) in self.calls.iter().enumerate() {
            if matches!(loss, Loss::Calls(percent) if random.usize(..100) < percent) {
                continue;
            }
            let caller = call.parent.map(|parent| self.calls[parent].service);
            if logs != Logs::Inbound && caller.is_some_and(|caller| !gone[caller]) {
                kept.push((number, Direction::Outbound));
            }
            if logs != Logs::Outbound && !gone[call.service] {
                kept.push((number, Direction::Inbound));
            }
        }
        kept
    }

    /// The entry of one side. Its handle is the call's number: trees do not look into it, and
    /// checking does not look into ids.
    pub(crate) fn entry(
        &self,
        number: usize,
        direction: Direction,
        identifier: &RequestIdentifier,
    ) -> Observation {
        let call = &self.calls[number];
        let caller = call.parent.map_or(self.services, |p| self.calls[p].service);
        let outbound = direction == Direction::Outbound;
        let (own, peer) = if outbound {
            (caller, call.service)
        } else {
            (call.service, caller)
        };
        Observation {
            handle: Handle::Opaque(number as u128 * 2 + u128::from(outbound)),
            // A caller made the id, and knows it whole.
            place: Place::new(identifier, outbound.then_some(call.id)),
            direction,
            ignored_hop: false,
            one_way: false,
            outcome: Outcome::Ok,
            status: 200,
            service: self.names[own].clone(),
            host: self.names[own].clone(),
            action: self.names[call.service].clone(),
            peer: Some(self.names[peer].clone()),
            peer_host: None,
            generated: None,
            at: Timestamp(number as i64 * 1000),
            head_ns: Some(500),
            duration_ns: Some(800),
            work: Some(1),
            error: None,
            details: None,
        }
    }

    /// The call that an entry is of.
    pub(crate) fn call_of(entry: &Observation) -> usize {
        match entry.handle {
            Handle::Opaque(handle) => (handle / 2) as usize,
            Handle::Entry(_) => unreachable!("made-up entries have numbers"),
        }
    }
}
