//! A made-up system and what it logs: the ground truth that tests hold trees against.

use std::sync::Arc;

use fastrand::Rng;
use selvedge_calltree::{Handle, Observation, Place};
use selvedge_entry::{Direction, Outcome, Timestamp};
use selvedge_identity::{
    Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, StackId,
};

/// How a service writes identifiers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) k: usize,
    pub(crate) width: u8,
    /// Whether it cuts the ids that it passes on to its own width.
    pub(crate) cuts: bool,
}

/// What a system looks like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) calls: usize,
    pub(crate) fan_out: usize,
    pub(crate) depth: usize,
    pub(crate) services: usize,
    pub(crate) styles: Vec<Style>,
    /// How many of an id's 8 bytes are random; the others are equal for all.
    pub(crate) id_bytes: usize,
    /// Ids are known whole by those that log them.
    pub(crate) whole_ids: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            calls: 50,
            fan_out: 3,
            depth: 8,
            services: 10,
            styles: vec![Style {
                k: 6,
                width: 4,
                cuts: true,
            }],
            id_bytes: 8,
            whole_ids: false,
        }
    }
}

/// One interaction as it really was.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) parent: Option<usize>,
    pub(crate) depth: u32,
    /// The receiving service.
    pub(crate) service: usize,
    pub(crate) id: Interaction,
    pub(crate) identifier: RequestIdentifier,
    pub(crate) sent: i64,
    pub(crate) received: i64,
    pub(crate) answered: i64,
    pub(crate) returned: i64,
}

/// A request and all calls it caused.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) origin: Origin,
    pub(crate) calls: Vec<Call>,
    /// Each service's clock, ahead of the truth by so many nanoseconds.
    pub(crate) skews: Vec<i64>,
}

pub(crate) fn epoch(service: usize) -> Epoch {
    Epoch {
        counter: 1,
        random: 0x1234_5678 + service as u64 * 0x0101_0101,
    }
}

impl World {
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let origin = Origin::new(seed & 0xffff_ffff, [7; 10]);
        let mut calls: Vec<Call> = Vec::new();
        while calls.len() < plan.calls {
            // Some grow chains, some grow bushes.
            let parent = (!calls.is_empty()).then(|| {
                let tail = calls.len().min(plan.fan_out);
                if random.usize(..100) < 60 {
                    calls.len() - 1 - random.usize(..tail)
                } else {
                    random.usize(..calls.len())
                }
            });
            let depth = parent.map_or(0, |p| calls[p].depth + 1);
            if depth as usize > plan.depth {
                continue;
            }
            let mut bytes = [0x55; 8];
            let fresh = random.u64(..).to_be_bytes();
            bytes[..plan.id_bytes].copy_from_slice(&fresh[..plan.id_bytes]);
            let id = Interaction::from_random(bytes);
            let caller = parent.map_or(0, |p| calls[p].service);
            let style = plan.styles[caller % plan.styles.len()];
            let mut stack: Vec<StackId> =
                parent.map_or(Vec::new(), |p| calls[p].identifier.stack().to_vec());
            if style.cuts {
                for id in &mut stack {
                    *id = id.cut(style.width);
                }
            }
            stack.push(StackId::of(id, style.width));
            let stack = &stack[stack.len().saturating_sub(style.k)..];
            let identifier = RequestIdentifier::from_parts(origin, depth, style.k as u8, stack);
            calls.push(Call {
                parent,
                depth,
                service: random.usize(..plan.services),
                id,
                identifier: identifier.expect("a stack of at most k"),
                sent: 0,
                received: 0,
                answered: 0,
                returned: 0,
            });
        }
        let skews = vec![0; plan.services + 1];
        let mut world = Self {
            plan,
            origin,
            calls,
            skews,
        };
        world.time(&mut random);
        world
    }

    /// Gives every call its times: a call takes its own work and its children's, one by one.
    fn time(&mut self, random: &mut Rng) {
        let mut inner = vec![0i64; self.calls.len()];
        let mut paths = vec![(0i64, 0i64); self.calls.len()];
        for at in (0..self.calls.len()).rev() {
            let path = (
                random.usize(..900_000) as i64 + 1000,
                random.usize(..900_000) as i64 + 1000,
            );
            paths[at] = path;
            let whole = path.0 + path.1 + inner[at] + 50_000;
            if let Some(parent) = self.calls[at].parent {
                inner[parent] += whole + 10_000;
            }
        }
        let mut next = vec![0i64; self.calls.len()];
        for at in 0..self.calls.len() {
            let sent = match self.calls[at].parent {
                None => 1_700_000_000_000_000_000,
                Some(parent) => next[parent],
            };
            let received = sent + paths[at].0;
            let answered = received + inner[at] + 50_000;
            let returned = answered + paths[at].1;
            if let Some(parent) = self.calls[at].parent {
                next[parent] = returned + 10_000;
            }
            next[at] = received + 5_000;
            let call = &mut self.calls[at];
            (call.sent, call.received, call.answered, call.returned) =
                (sent, received, answered, returned);
        }
    }

    /// What everybody logs: each call's two entries, named (call, direction).
    pub(crate) fn entries(&self) -> Vec<(usize, Observation)> {
        let names: Vec<Arc<str>> = (0..=self.plan.services)
            .map(|s| format!("service-{s}").into())
            .collect();
        let hosts: Vec<Arc<str>> = (0..=self.plan.services)
            .map(|s| format!("host-{s}").into())
            .collect();
        let servers: Vec<ServerName> = names
            .iter()
            .map(|n| ServerName::new(n).expect("a name"))
            .collect();
        let mut sequences = vec![0u64; self.plan.services + 1];
        let mut entries = Vec::new();
        for (at, call) in self.calls.iter().enumerate() {
            let caller = call
                .parent
                .map_or(self.plan.services, |p| self.calls[p].service);
            let sides = [
                (
                    Direction::Outbound,
                    caller,
                    call.service,
                    call.sent,
                    call.returned,
                ),
                (
                    Direction::Inbound,
                    call.service,
                    caller,
                    call.received,
                    call.answered,
                ),
            ];
            for (direction, own, peer, from, to) in sides {
                if direction == Direction::Outbound && call.parent.is_none() {
                    continue;
                }
                sequences[own] += 1;
                let position = Position {
                    server: servers[own].clone(),
                    epoch: epoch(own),
                    sequence: sequences[own],
                };
                entries.push((
                    at,
                    Observation {
                        handle: Handle::Entry(position),
                        place: Place::new(&call.identifier, self.plan.whole_ids.then_some(call.id)),
                        direction,
                        ignored_hop: false,
                        one_way: false,
                        outcome: Outcome::Ok,
                        status: 200,
                        service: names[own].clone(),
                        host: hosts[own].clone(),
                        action: "GET /".into(),
                        peer: Some(names[peer].clone()),
                        peer_host: None,
                        generated: None,
                        at: Timestamp(from + self.skews[own]),
                        head_ns: Some((to - from) as u64),
                        duration_ns: Some((to - from) as u64 + 1000),
                        work: Some(1),
                        error: None,
                        details: None,
                    },
                ));
            }
        }
        entries
    }
}
