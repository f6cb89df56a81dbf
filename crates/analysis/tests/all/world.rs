//! Made-up requests of a made-up fleet, what its servers log of them, and what is lost of that.

use std::collections::BTreeMap;

use fastrand::Rng;
use selvedge_analysis::{Loss, Losses, Request, Servers};
use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::{Call, Closing, Direction, Effect, Entry, Opening, Outcome, Timestamp};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, StackId,
};

/// One call as it really was.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) parent: Option<usize>,
    pub(crate) service: usize,
    pub(crate) operation: usize,
    pub(crate) depth: u32,
    pub(crate) identifier: RequestIdentifier,
    pub(crate) id: Interaction,
    pub(crate) at: i64,
    pub(crate) duration: u64,
    pub(crate) outcome: Outcome,
    pub(crate) work: u64,
    /// Whether it came to the service. If not, only its caller tells of it, and got no answer.
    pub(crate) reached: bool,
    /// Whether the two sides name each other.
    pub(crate) named: bool,
}

/// One request as it really was.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) origin: Origin,
    pub(crate) client: Option<ClientId>,
    pub(crate) calls: Vec<Truth>,
}

/// A fleet's requests, and all its journals' entries with the request that each is of.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) requests: Vec<Made>,
    pub(crate) entries: Vec<(usize, Entry)>,
    pub(crate) services: usize,
}

pub(crate) const SECOND: i64 = 1_000_000_000;

pub(crate) fn service(n: usize) -> String {
    format!("service-{n}")
}

pub(crate) fn operation(n: usize) -> String {
    format!("GET /{n}")
}

pub(crate) fn client(n: u8) -> ClientId {
    ClientId::from_random([n; 16])
}

impl World {
    /// `requests` requests over `hours` hours, of up to `calls` calls each.
    pub(crate) fn new(seed: u64, requests: usize, calls: usize, hours: i64) -> Self {
        let mut random = Rng::with_seed(seed);
        let services = 2 + random.usize(..5);
        let mut made = Vec::new();
        for n in 0..requests {
            let at = random.usize(..(hours * 3600) as usize) as i64 * SECOND;
            made.push(request(&mut random, n as u64, at, services, calls));
        }
        Self::of(made, services)
    }

    /// The same, where some calls do not come to their services, and some callers and callees do
    /// not know each other's names.
    pub(crate) fn rough(seed: u64, requests: usize, calls: usize, hours: i64) -> Self {
        let whole = Self::new(seed, requests, calls, hours);
        let mut random = Rng::with_seed(seed ^ 2);
        let mut made = whole.requests;
        for call in made.iter_mut().flat_map(|made| &mut made.calls) {
            call.named = random.usize(..100) < 60;
        }
        for made in &mut made {
            for at in 1..made.calls.len() {
                if random.usize(..100) < 15 && made.calls.iter().all(|call| call.parent != Some(at))
                {
                    made.calls[at].reached = false;
                    made.calls[at].outcome = Outcome::Error;
                }
            }
        }
        Self::of(made, whole.services)
    }

    /// These requests, logged whole.
    pub(crate) fn of(requests: Vec<Made>, services: usize) -> Self {
        let mut world = Self {
            requests,
            entries: Vec::new(),
            services,
        };
        world.log();
        world
    }

    /// Every server writes its entries in the order of their times.
    fn log(&mut self) {
        let mut all = Vec::new();
        for (at, made) in self.requests.iter().enumerate() {
            for call in &made.calls {
                if call.reached {
                    let received = entry(made, call, Direction::Inbound);
                    all.push((call.at, at, call.service, received));
                }
                if let Some(parent) = call.parent {
                    let caller = made.calls[parent].service;
                    all.push((call.at, at, caller, entry(made, call, Direction::Outbound)));
                }
            }
        }
        all.sort_by_key(|(at, request, ..)| (*at, *request));
        let mut sequences = vec![0; self.services];
        for (_, request, writer, mut entry) in all {
            entry.position = position(writer, sequences[writer]);
            sequences[writer] += 1;
            self.entries.push((request, entry));
        }
    }

    /// Loses stretches of journals, and says what a reader knows of that.
    pub(crate) fn lose(&mut self, random: &mut Rng, percent: usize) -> Losses {
        let mut by_server: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, (_, entry)) in self.entries.iter().enumerate() {
            let server = (0..self.services).find(|n| server(*n) == entry.position.server.as_str());
            by_server
                .entry(server.expect("a server"))
                .or_default()
                .push(at);
        }
        let mut lost = vec![false; self.entries.len()];
        let mut losses = Vec::new();
        let mut journaled = std::collections::BTreeSet::new();
        for (server, rows) in by_server {
            if random.bool() {
                journaled.insert(service(server).into());
                continue;
            }
            // Stretches of up to eight records.
            let mut kept_any = false;
            let mut at = 0;
            while at < rows.len() {
                let stretch = (1 + random.usize(..8)).min(rows.len() - at);
                if random.usize(..100) < percent {
                    rows[at..at + stretch]
                        .iter()
                        .for_each(|row| lost[*row] = true);
                } else {
                    kept_any = true;
                }
                at += stretch;
            }
            if kept_any {
                journaled.insert(service(server).into());
            }
            let mut from = 0;
            while let Some(start) = (from..rows.len()).find(|at| lost[rows[*at]]) {
                let end = (start..rows.len())
                    .find(|at| !lost[rows[*at]])
                    .unwrap_or(rows.len());
                let time = |at: Option<usize>| {
                    at.and_then(|at| rows.get(at))
                        .map(|row| self.entries[*row].1.opening.at)
                };
                losses.push(Loss {
                    services: if kept_any {
                        [service(server).into()].into()
                    } else {
                        [].into()
                    },
                    records: Some((end - start) as u64),
                    after: time(start.checked_sub(1)),
                    before: time(Some(end)),
                });
                from = end;
            }
        }
        let mut lost = lost.into_iter();
        self.entries.retain(|_| lost.next() == Some(false));
        Losses::new(losses, journaled)
    }

    /// What is left of each request that left anything, in the order of requests.
    pub(crate) fn left(&self) -> Vec<(Origin, Vec<Entry>)> {
        let mut left: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        for (request, entry) in &self.entries {
            left.entry(*request).or_default().push(entry.clone());
        }
        let origin = |at: usize| self.requests[at].origin;
        left.into_iter()
            .map(|(at, entries)| (origin(at), entries))
            .collect()
    }
}

/// Hands a request's tree to `take`.
pub(crate) fn with_request(origin: Origin, entries: &[Entry], take: impl FnOnce(&Request<'_>)) {
    let observations = entries.iter().filter_map(Observation::of).collect();
    let builder = TreeBuilder::batch(origin, observations);
    let tree = builder.tree();
    let start = entries.iter().map(|entry| entry.opening.at).min();
    let servers = Servers::default();
    let start = start.expect("an entry");
    take(&Request::new(&tree, start, entries, &servers));
}

fn request(random: &mut Rng, n: u64, at: i64, services: usize, calls: usize) -> Made {
    let origin = Origin::new(n, [3; 10]);
    let client = (random.usize(..100) < 80).then(|| client(1 + random.usize(..3) as u8));
    let count = 1 + random.usize(..calls);
    let mut calls: Vec<Truth> = Vec::new();
    for _ in 0..count {
        let parent = (!calls.is_empty()).then(|| random.usize(..calls.len()));
        let above = parent.map(|parent| &calls[parent]);
        let depth = above.map_or(0, |call| call.depth + 1);
        let id = Interaction::from_random(random.u64(..).to_be_bytes());
        let mut stack = above.map_or(Vec::new(), |call| call.identifier.stack().to_vec());
        stack.push(StackId::of(id, 8));
        let stack = &stack[stack.len().saturating_sub(8)..];
        let identifier = RequestIdentifier::from_parts(origin, depth, 8, stack);
        let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Refused, Outcome::Error];
        calls.push(Truth {
            parent,
            service: random.usize(..services),
            operation: random.usize(..2),
            depth,
            identifier: identifier.expect("a stack of at most k"),
            id,
            at: above.map_or(at, |call| call.at + 1 + random.usize(..1000) as i64),
            duration: random.usize(..1_000_000) as u64,
            outcome: outcome[random.usize(..4)],
            work: random.usize(..100) as u64,
            reached: true,
            named: true,
        });
    }
    Made {
        origin,
        client,
        calls,
    }
}

fn server(n: usize) -> String {
    format!("server-{n}")
}

fn position(writer: usize, sequence: u64) -> Position {
    Position {
        server: server(writer).parse().expect("a name"),
        epoch: Epoch {
            counter: 1,
            random: writer as u64,
        },
        sequence,
    }
}

fn entry(made: &Made, call: &Truth, direction: Direction) -> Entry {
    let caller = call
        .parent
        .map(|parent| service(made.calls[parent].service).into());
    let callee = service(call.service).into();
    let (own, peer) = match direction {
        Direction::Outbound => (caller.expect("a caller"), Some(callee)),
        _ => (callee, caller),
    };
    let peer = peer.filter(|_| call.named);
    let status = match call.outcome {
        _ if !call.reached => 0,
        Outcome::Ok => 200,
        Outcome::Refused => 404,
        _ => 500,
    };
    let opening = Opening {
        client: made.client,
        call: Some(Call {
            identifier: call.identifier.clone(),
            interaction: Some(call.id),
            peer,
            peer_host: None,
        }),
        version: "1".into(),
        host: "10.0.0.1".into(),
        flags: vec!["odd".into()],
        attributes: vec![("secret".into(), "value".into())],
        ..Opening::new(
            direction,
            own,
            operation(call.operation),
            Timestamp(call.at),
        )
    };
    let closing = Closing {
        duration_ns: call.duration,
        status,
        outcome: call.outcome,
        error: (call.outcome == Outcome::Error).then(|| "it broke".into()),
        work: call.work,
        request_bytes: 10,
        response_bytes: 20,
        ..Closing::default()
    };
    let effect = Effect {
        status,
        outcome: call.outcome,
        ..Effect::default()
    };
    Entry {
        position: position(call.service, 0),
        opening,
        effect: Some((0, effect)),
        closing: Some(closing),
    }
}
