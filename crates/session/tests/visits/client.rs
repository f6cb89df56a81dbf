//! A simulated visit: one client with requests in flight over several servers, and the truth of
//! what it had received before it sent what.
//!
//! Time is the number of the event, so nothing ties. Every hop takes a random delay: messages
//! overtake each other. The servers order by the crate's own rule and write what a server writes;
//! the gateway's cookie slots follow the design.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use selvedge_entry::{Call, Closing, Direction, Entry, Follow, Opening, Outcome, Timestamp};
use selvedge_identity::{
    Epoch, Head, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId, Shape,
};
use selvedge_session::Orderer;

/// A small generator: the runs must be the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) requests: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) servers: usize,
    /// `None`: a program that holds its tokens; else a browser with so many cookie slots.
    pub(crate) slots: Option<usize>,
    /// One request in so many has more actions than one; 0: none has.
    pub(crate) several_actions: u64,
    /// One message in so many is slow on its way, so that others overtake it; 0: none is.
    pub(crate) overtaking: u64,
    /// One request in so many is slow in its server; 0: none is.
    pub(crate) slow: u64,
    /// Whether the client waits for all its answers and then sends one request more, so that the
    /// graph settles everything.
    pub(crate) settle: bool,
}

/// What happened, and what is true.
pub(crate) struct Visit {
    pub(crate) session: SessionId,
    pub(crate) entries: Vec<Entry>,
    /// By position: the request, and the action's place in it.
    pub(crate) of: BTreeMap<Position, Place>,
    pub(crate) sent: Vec<u64>,
    pub(crate) received: Vec<u64>,
    /// Heads that an answer's cookie overwrote, or that a late clearing took, before any request
    /// carried them.
    pub(crate) lost: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) request: usize,
    /// Its action's number within the request.
    pub(crate) number: usize,
    /// Recorded after the answer went out.
    pub(crate) late: bool,
}

impl Visit {
    /// The truth: whether `a`'s result was known when `b` was sent (or `b` follows `a` within
    /// their request).
    pub(crate) fn before(&self, a: &Position, b: &Position) -> bool {
        let (a, b) = (self.of[a], self.of[b]);
        if a.request == b.request {
            return a.number < b.number;
        }
        !a.late && self.received[a.request] < self.sent[b.request]
    }
}

/// A token as a client holds it: who made it, and its heads.
#[derive(Clone, Debug)]
struct Token {
    request: usize,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Gateway,
    Server,
    Answer,
    Late,
    Forwarded,
    Client,
}

#[derive(Default)]
struct Request {
    carried: Vec<(usize, Token)>,
    slot: Option<usize>,
    server: usize,
    answer: Option<Token>,
    opened: Option<usize>,
    actions: usize,
}

#[derive(Default, Clone)]
struct SlotState {
    /// The request whose head it was last set with or reserved for, and whether that came back.
    head: Option<usize>,
    came_back: bool,
    used: u64,
}

struct Server {
    name: ServerName,
    sequence: u64,
    orderer: Orderer,
}

pub(crate) fn visit(plan: Plan) -> Visit {
    let mut random = Random::new(plan.seed);
    let session = SessionId::from_random([5; 16]);
    let mut servers: Vec<Server> = (0..plan.servers)
        .map(|n| Server {
            name: ServerName::new(&format!("content-{n}")).unwrap(),
            sequence: 1,
            orderer: Orderer::new(4),
        })
        .collect();
    let mut visit = Visit {
        session,
        entries: Vec::new(),
        of: BTreeMap::new(),
        sent: Vec::new(),
        received: Vec::new(),
        lost: 0,
    };
    let mut requests: Vec<Request> = Vec::new();
    // Due time (negative: the heap gives the greatest), tie-break, step, request.
    let mut queue: BinaryHeap<(i64, i64, Step, usize)> = BinaryHeap::new();
    let mut held: BTreeMap<usize, Token> = BTreeMap::new();
    let mut slots = vec![SlotState::default(); plan.slots.unwrap_or(0)];
    let mut in_gateway: BTreeSet<usize> = BTreeSet::new();
    let mut returned: BTreeSet<usize> = BTreeSet::new();
    let (mut now, mut event, mut in_flight) = (0_i64, 0_u64, 0);
    let mut wanted = 1 + random.below(plan.in_flight_max as u64) as usize;

    loop {
        let total = plan.requests + usize::from(plan.settle);
        while requests.len() < total && in_flight < wanted {
            // The first alone: it opens the session. The last of a settled visit alone too.
            let alone = requests.len() <= 1 || requests.len() >= plan.requests;
            if alone && in_flight > 0 {
                break;
            }
            event += 1;
            let carried: Vec<(usize, Token)> = held.clone().into_iter().collect();
            returned.extend(carried.iter().map(|(_, token)| token.request));
            requests.push(Request {
                carried,
                server: random.below(plan.servers as u64) as usize,
                ..Request::default()
            });
            visit.sent.push(event);
            visit.received.push(u64::MAX);
            in_flight += 1;
            let due = now + 1 + random.below(4) as i64;
            queue.push((-due, -(event as i64), Step::Gateway, requests.len() - 1));
        }
        let Some((due, _, step, request)) = queue.pop() else {
            break;
        };
        now = -due;
        event += 1;
        // Servers are slow at times; on the way a message now and then overtakes others.
        let slow = if step == Step::Server {
            plan.slow
        } else {
            plan.overtaking
        };
        let slow = slow > 0 && random.one_in(slow);
        let mut next = |step, delay_max: u64| {
            let delay = 1 + random.below(delay_max * if slow { 8 } else { 1 }) as i64;
            queue.push((-(now + delay), -(event as i64), step, request));
        };
        match step {
            Step::Gateway => {
                if plan.slots.is_some() {
                    let slot = reserve(&mut slots, &requests, &in_gateway, request, event);
                    requests[request].slot = Some(slot);
                    in_gateway.insert(request);
                }
                next(Step::Server, 4);
            }
            Step::Server => {
                next(Step::Answer, 12);
                let several = plan.several_actions > 0 && random.one_in(plan.several_actions);
                let actions = 1 + if several { random.below(3) as usize } else { 0 };
                for _ in 0..actions {
                    act(
                        &mut visit,
                        &mut servers,
                        &mut requests[request],
                        request,
                        &mut random,
                    );
                }
            }
            Step::Answer => {
                let late = plan.several_actions > 0;
                next(Step::Forwarded, 4);
                if late && random.one_in(8) {
                    queue.push((-(now + 3), -(event as i64), Step::Late, request));
                }
                let server = &mut servers[requests[request].server];
                let opened = requests[request].opened.unwrap();
                let effect = server.sequence;
                server.sequence += 1;
                let last = visit.entries.len() - 1;
                let last = (0..=last)
                    .rev()
                    .find(|n| visit.of[&visit.entries[*n].position].request == request)
                    .unwrap();
                let entry = &mut visit.entries[opened];
                entry.closing = Some(closing());
                entry.effect = Some((effect, effect_of(1)));
                let entry = &visit.entries[last];
                requests[request].answer = Some(Token {
                    request,
                    heads: vec![Head {
                        position: entry.position.clone(),
                        effect,
                        counter: entry.opening.counter.unwrap(),
                    }],
                });
            }
            Step::Late => {
                act(
                    &mut visit,
                    &mut servers,
                    &mut requests[request],
                    request,
                    &mut random,
                );
                let last = visit.entries.last().unwrap().position.clone();
                visit.of.get_mut(&last).unwrap().late = true;
            }
            Step::Forwarded => {
                in_gateway.remove(&request);
                next(Step::Client, 4);
            }
            Step::Client => {
                visit.received[request] = event;
                in_flight -= 1;
                wanted = 1 + random.below(plan.in_flight_max as u64) as usize;
                receive(
                    &mut held,
                    &requests[request],
                    request,
                    &returned,
                    &mut visit.lost,
                );
            }
        }
    }
    visit
}

/// A free slot for the request's answer: one that nothing in flight carries or has reserved and
/// whose last head came back; else the oldest. What the request carries has come back.
fn reserve(
    slots: &mut [SlotState],
    requests: &[Request],
    in_gateway: &BTreeSet<usize>,
    request: usize,
    event: u64,
) -> usize {
    for (slot, token) in &requests[request].carried {
        if slots[*slot].head == Some(token.request) {
            slots[*slot].came_back = true;
        }
    }
    let busy = |slot: usize| {
        in_gateway.iter().chain([&request]).any(|other| {
            let other = &requests[*other];
            other.slot == Some(slot) || other.carried.iter().any(|(held, _)| *held == slot)
        })
    };
    let free = (0..slots.len())
        .find(|slot| !busy(*slot) && (slots[*slot].head.is_none() || slots[*slot].came_back));
    let oldest = || (0..slots.len()).min_by_key(|slot| slots[*slot].used);
    let slot = free.or_else(oldest).unwrap();
    slots[slot] = SlotState {
        head: Some(request),
        came_back: false,
        used: event,
    };
    slot
}

/// The answer reaches the client: what its request carried goes, its own head comes.
fn receive(
    held: &mut BTreeMap<usize, Token>,
    request: &Request,
    number: usize,
    returned: &BTreeSet<usize>,
    lost: &mut usize,
) {
    let mut gone: Vec<Token> = Vec::new();
    for (place, token) in &request.carried {
        match request.slot {
            // A program drops the token itself, a browser whatever the slot now holds.
            None => {
                held.remove(place);
            }
            Some(_) => gone.extend(
                held.remove(place)
                    .filter(|now| now.request != token.request),
            ),
        }
    }
    let place = request.slot.unwrap_or(number);
    gone.extend(held.insert(place, request.answer.clone().unwrap()));
    *lost += gone
        .iter()
        .filter(|token| !returned.contains(&token.request))
        .count();
}

/// The server records the request's next action.
fn act(
    visit: &mut Visit,
    servers: &mut [Server],
    request: &mut Request,
    number: usize,
    random: &mut Random,
) {
    let server = &mut servers[request.server];
    let heads: Vec<&Head> = request
        .carried
        .iter()
        .flat_map(|(_, token)| &token.heads)
        .collect();
    let greatest = heads.iter().map(|head| head.counter).max().unwrap_or(0);
    let counter = server.orderer.next(visit.session, greatest).unwrap();
    let position = Position {
        server: server.name.clone(),
        epoch: Epoch {
            counter: 1,
            random: 9,
        },
        sequence: server.sequence,
    };
    server.sequence += 1;
    let first = request.actions == 0;
    let mut place = Place {
        request: number,
        number: request.actions,
        late: false,
    };
    let after = if first {
        heads.into_iter().map(Follow::from).collect()
    } else {
        let before = visit
            .entries
            .iter()
            .rev()
            .find(|entry| visit.of[&entry.position].request == number)
            .unwrap();
        smallvec::smallvec![Follow {
            position: before.position.clone(),
            effect: before.position.sequence,
        }]
    };
    request.actions += 1;
    if first {
        request.opened = Some(visit.entries.len());
    }
    let origin = Origin::new(number as u64 + 1, [3; 10]);
    let own = Interaction::from_random((number as u64 + 1).to_be_bytes());
    let direction = if first {
        Direction::Inbound
    } else {
        Direction::Internal
    };
    visit.entries.push(Entry {
        position: position.clone(),
        opening: Opening {
            session: Some(visit.session),
            counter: Some(counter),
            after,
            call: Some(Call {
                identifier: RequestIdentifier::root(
                    origin,
                    own,
                    Shape {
                        width: 8,
                        ..Shape::default()
                    },
                ),
                interaction: Some(own),
                peer: None,
                peer_host: None,
            }),
            version: "1".into(),
            host: "h".into(),
            ..Opening::new(
                direction,
                "shop",
                "act",
                // Clocks hours apart: nothing may depend on them.
                Timestamp(random.below(1 << 50) as i64),
            )
        },
        effect: (!first).then(|| (position.sequence, effect_of(0))),
        closing: (!first).then(closing),
    });
    place.late = false;
    visit.of.insert(position, place);
}

fn effect_of(after_ns: u64) -> selvedge_entry::Effect {
    selvedge_entry::Effect {
        after_ns,
        status: 200,
        outcome: Outcome::Ok,
        attributes: Vec::new(),
        state: Vec::new(),
    }
}

fn closing() -> Closing {
    Closing {
        duration_ns: 1,
        status: 200,
        outcome: Outcome::Ok,
        ..Closing::default()
    }
}
