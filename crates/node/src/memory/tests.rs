//! A memory against a plain model, and its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use selvedge_entry::{Direction, Outcome, Timestamp};

use super::*;

/// A clock that a test moves.
#[derive(Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const EPOCH: Epoch = Epoch {
    counter: 1,
    random: 7,
};

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

fn server(n: usize) -> ServerName {
    ServerName::new(&format!("s{n}")).expect("valid")
}

fn at(server: &ServerName, sequence: u64) -> Position {
    Position {
        server: server.clone(),
        epoch: EPOCH,
        sequence,
    }
}

fn opening(session: SessionId, counter: u64, after: &[Follow]) -> Record {
    Record::Opening(Box::new(Opening {
        session: Some(session),
        counter: Some(counter),
        after: after.iter().cloned().collect(),
        version: "1".into(),
        host: "host".into(),
        ..Opening::new(Direction::Inbound, "content", "POST /cart", Timestamp(0))
    }))
}

fn effect(opening: u64, state: Vec<StateWrite>) -> Record {
    Record::Effect {
        opening,
        effect: Effect {
            after_ns: 1,
            status: 200,
            outcome: Outcome::Ok,
            attributes: Vec::new(),
            state,
        },
    }
}

fn write(session: SessionId, counter: u64, name: &str, value: &str) -> StateWrite {
    StateWrite {
        session,
        counter,
        name: name.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        replaces: Vec::new(),
        hidden: false,
    }
}

fn encoded(record: &Record) -> Bytes {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    bytes.into()
}

fn memory(options: MemoryOptions) -> (Memory, Arc<TestClock>) {
    let clock = Arc::<TestClock>::default();
    (Memory::new(options, clock.clone()), clock)
}

/// One request of a made-up visit.
#[derive(Clone, Debug)]
struct Step {
    server: usize,
    /// Which of the answers so far it carries, newest first.
    carries: Vec<usize>,
    /// What it writes: a name, and whether it takes it away.
    writes: Option<(bool, bool)>,
    /// The network was fast: its server has everything.
    fast: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let carries = prop::collection::vec(0..5_usize, 0..3);
    let writes = prop::option::weighted(0.7, any::<(bool, bool)>());
    (0..3_usize, carries, writes, any::<bool>()).prop_map(|(server, carries, writes, fast)| Step {
        server,
        carries,
        writes,
        fast,
    })
}

/// Servers with a journal and a memory each, and the truth of who knew whom.
struct World {
    servers: Vec<ServerName>,
    journals: Vec<Vec<Bytes>>,
    memories: Vec<Memory>,
    done: Vec<Done>,
}

struct Done {
    head: Follow,
    counter: u64,
    /// Numbers of all that is before it.
    past: BTreeSet<usize>,
    write: Option<StateWrite>,
}

impl World {
    fn new() -> Self {
        let servers: Vec<_> = (0..3).map(server).collect();
        Self {
            journals: vec![Vec::new(); 3],
            memories: servers
                .iter()
                .map(|_| memory(MemoryOptions::default()).0)
                .collect(),
            servers,
            done: Vec::new(),
        }
    }

    /// Brings a memory what it lacks of a journal up to there, with `again` records repeated.
    fn bring(&self, to: &Memory, from: usize, until: u64, again: u64) {
        let marks = to.watermarks();
        let mark = marks.iter().find(|mark| mark.0 == self.servers[from]);
        let mark = mark.map_or(0, |mark| mark.2);
        let first = mark.min(until).saturating_sub(again);
        let records = &self.journals[from][first as usize..until as usize];
        to.apply(&self.servers[from], EPOCH, first, records);
    }

    /// The server takes the request once it holds what the client has seen (E6).
    fn take(&mut self, step: &Step) {
        let number = self.done.len();
        let carried: BTreeSet<usize> = step
            .carries
            .iter()
            .filter_map(|back| number.checked_sub(back + 1))
            .collect();
        let mut past = carried.clone();
        past.extend(carried.iter().flat_map(|head| &self.done[*head].past));
        let heads: Vec<Follow> = carried.iter().map(|n| self.done[*n].head.clone()).collect();
        for before in &past {
            let Follow { position, effect } = &self.done[*before].head;
            let from = self.servers.iter().position(|s| *s == position.server);
            let (memory, from) = (&self.memories[step.server], from.expect("one of ours"));
            if from != step.server {
                self.bring(memory, from, effect + 1, 0);
            }
        }
        assert!(self.memories[step.server].missing(&heads).is_empty());
        for name in ["cart", "hint"] {
            let view = self.memories[step.server].state(session(1), name, []);
            self.none_was_replaced_for(&past, name, &view.candidates);
        }
        for from in (0..3).filter(|from| step.fast && *from != step.server) {
            let all = self.journals[from].len() as u64;
            self.bring(&self.memories[step.server], from, all, 0);
        }

        // Greater than all that it follows and than what its server gave.
        let own = self
            .done
            .iter()
            .filter(|done| done.head.position.server == self.servers[step.server]);
        let heads_counters = carried.iter().map(|n| self.done[*n].counter);
        let counter = 1 + heads_counters
            .chain(own.map(|d| d.counter))
            .max()
            .unwrap_or(0);
        let sequence = self.journals[step.server].len() as u64;
        let write = step.writes.map(|(name, clears)| {
            let name = if name { "cart" } else { "hint" };
            let known = self.memories[step.server].state(
                session(1),
                name,
                heads.iter().map(|head| &head.position),
            );
            let mut write = write(session(1), counter, name, &number.to_string());
            write.replaces = known.known;
            write.value = write.value.filter(|_| !clears);
            write
        });
        let records = [
            opening(session(1), counter, &heads),
            effect(sequence, write.clone().into_iter().collect()),
        ];
        let bytes: Vec<Bytes> = records.iter().map(encoded).collect();
        self.journals[step.server].extend(bytes.clone());
        let server = &self.servers[step.server];
        self.memories[step.server].apply(server, EPOCH, sequence, &bytes);
        self.done.push(Done {
            head: Follow {
                position: at(server, sequence),
                effect: sequence + 1,
            },
            counter,
            past,
            write,
        });
    }

    /// Of what a server shows a request nothing was replaced by a write in the request's past.
    fn none_was_replaced_for(&self, past: &BTreeSet<usize>, name: &str, shown: &[Candidate]) {
        for before in past.iter().map(|number| &self.done[*number]) {
            let same = |write: &&StateWrite| *write.name == *name;
            if before.write.as_ref().filter(same).is_some() {
                let replaced = before.past.iter().map(|number| &self.done[*number]);
                for replaced in replaced {
                    let position = &replaced.head.position;
                    assert!(shown.iter().all(|one| one.action != *position), "{shown:?}");
                }
            }
        }
    }

    /// The plain model: the writes of a name that are before no other, greatest ordering first.
    fn model(&self, name: &str) -> Vec<(Position, Option<Bytes>)> {
        let writes = || {
            let all = self.done.iter().enumerate();
            all.filter_map(|(n, done)| Some((n, done, done.write.as_ref()?)))
                .filter(|(.., write)| *write.name == *name)
        };
        let mut left: BTreeMap<_, _> = BTreeMap::new();
        for (number, done, write) in writes() {
            if !writes().any(|(_, other, _)| other.past.contains(&number)) {
                let position = done.head.position.clone();
                let place = (done.counter, position.server.clone());
                left.insert(place, (position, write.value.clone()));
            }
        }
        left.into_values().rev().collect()
    }
}

fn shown(memory: &Memory, name: &str) -> Vec<(Position, Option<Bytes>)> {
    let view = memory.state(session(1), name, []);
    let candidates = view.candidates.into_iter();
    candidates.map(|one| (one.action, one.value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_left_of_state_is_the_same_for_any_order_of_arrival(
        steps in prop::collection::vec(step(), 1..30),
        arrivals in prop::collection::vec((0..3_usize, 1..6_u64, 0..4_u64), 0..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        // A server that took no request gets everything, in pieces, some of it again.
        let (late, _) = memory(MemoryOptions::default());
        let mut come = [0_u64; 3];
        let rest = (0..3).map(|from| (from, u64::MAX, 2));
        for (from, more, again) in arrivals.into_iter().chain(rest) {
            let all = world.journals[from].len() as u64;
            come[from] = come[from].saturating_add(more).min(all);
            world.bring(&late, from, come[from], again);
        }
        for (own, memory) in world.memories.iter().enumerate() {
            for from in (0..3).filter(|from| *from != own) {
                world.bring(memory, from, world.journals[from].len() as u64, 1);
            }
        }
        for name in ["cart", "hint"] {
            let model = world.model(name);
            for memory in world.memories.iter().chain([&late]) {
                prop_assert_eq!(&shown(memory, name), &model);
            }
        }
    }
}

/// Applies an action that writes nothing or `state`.
fn act(memory: &Memory, id: SessionId, sequence: u64, state: Vec<StateWrite>) {
    let records = [opening(id, sequence + 1, &[]), effect(sequence, state)];
    let records: Vec<Bytes> = records.iter().map(encoded).collect();
    memory.apply(&server(0), EPOCH, sequence, &records);
}

#[test]
fn entries_go_by_age_and_are_counted_apart_from_those_that_go_by_bytes() {
    let (memory, clock) = memory(MemoryOptions {
        bytes_max: 10_000,
        age_max: Some(Duration::from_secs(60)),
        ..MemoryOptions::default()
    });
    for n in 0..100 {
        act(&memory, session(1), 2 * n, Vec::new());
    }
    let counts = memory.counts();
    assert!(counts.bytes <= 10_000 && counts.entries > 10, "{counts:?}");
    assert_eq!(counts.evicted, 100 - counts.entries as u64);
    assert_eq!(counts.expired, 0);

    clock.0.store(60_000_000_000, Ordering::Relaxed);
    act(&memory, session(2), 200, Vec::new());
    memory.expire();
    assert_eq!(memory.counts().expired, 0, "not older than that");
    clock.0.store(60_000_000_001, Ordering::Relaxed);
    memory.expire();
    let after = memory.counts();
    assert_eq!((after.entries, after.sessions), (1, 1));
    assert_eq!(after.expired + after.evicted, 100);
    assert!(memory.history(session(1)).is_empty());
    assert_eq!(memory.history(session(2)).len(), 1);
}

#[test]
fn without_a_bound_on_age_nothing_grows_too_old() {
    let (memory, clock) = memory(MemoryOptions {
        age_max: None,
        ..MemoryOptions::default()
    });
    act(&memory, session(1), 0, Vec::new());
    clock.0.store(u64::MAX, Ordering::Relaxed);
    memory.expire();
    assert_eq!(memory.counts().entries, 1);
}

#[test]
fn state_outlives_the_entries_that_wrote_it_and_what_they_follow() {
    let (memory, _) = memory(MemoryOptions {
        bytes_max: 1,
        ..MemoryOptions::default()
    });
    act(
        &memory,
        session(1),
        0,
        vec![write(session(1), 1, "cart", "[1]")],
    );
    // An action that follows the write, and is gone as well.
    let follow = Follow {
        position: at(&server(0), 0),
        effect: 1,
    };
    let next = opening(session(1), 2, &[follow]);
    memory.apply(&server(0), EPOCH, 2, &[encoded(&next)]);
    assert_eq!(memory.counts().entries, 0);
    let view = memory.state(session(1), "cart", [&at(&server(0), 2)]);
    assert_eq!(view.candidates.len(), 1);
    assert_eq!(view.known, [at(&server(0), 1)], "it is before what follows");
}

#[test]
fn of_too_much_state_the_session_goes_in_which_nothing_was_done_for_longest() {
    let (memory, clock) = memory(MemoryOptions {
        state_bytes_max: 5_000,
        age_max: Some(Duration::from_secs(60)),
        ..MemoryOptions::default()
    });
    let value = format!("\"{}\"", "x".repeat(1_000));
    let mut sequence = 0;
    let mut cart = |n: u8| {
        let written = write(session(n), sequence + 1, "cart", &value);
        act(&memory, session(n), sequence, vec![written]);
        sequence += 2;
    };
    cart(1);
    cart(2);
    cart(3);
    // An action alone keeps a session's state.
    act(&memory, session(1), 6, Vec::new());
    sequence = 8;
    let mut cart = |n: u8| {
        let written = write(session(n), sequence + 1, "cart", &value);
        act(&memory, session(n), sequence, vec![written]);
        sequence += 2;
    };
    cart(4);
    let held = |n: u8| !memory.state_names(session(n)).is_empty();
    let all: Vec<bool> = (1..=4).map(held).collect();
    assert_eq!(all, [true, false, true, true]);
    let counts = memory.counts();
    assert_eq!((counts.states, counts.states_evicted), (3, 1));
    assert!(counts.state_bytes <= 5_000, "{counts:?}");

    clock.0.store(60_000_000_001, Ordering::Relaxed);
    memory.expire();
    let counts = memory.counts();
    assert_eq!((counts.states, counts.states_expired), (0, 3));
    assert_eq!(counts.state_bytes, 0);
}

#[test]
fn a_session_that_does_much_takes_no_more_than_its_state() {
    let (memory, _) = memory(MemoryOptions::default());
    act(
        &memory,
        session(1),
        0,
        vec![write(session(1), 1, "cart", "1")],
    );
    act(&memory, session(1), 2, Vec::new());
    let mut follow = Follow {
        position: at(&server(0), 2),
        effect: 3,
    };
    for n in 2..2_000 {
        let record = opening(session(1), n + 1, std::slice::from_ref(&follow));
        memory.apply(&server(0), EPOCH, 2 * n, &[encoded(&record)]);
        memory.gap(&server(0), EPOCH, 2 * n + 1, 2 * n + 2);
        follow.position.sequence = 2 * n;
    }
    let counts = memory.counts();
    assert!(counts.state_bytes < 10_000, "{counts:?}");
    assert_eq!(counts.states, 1);
}
