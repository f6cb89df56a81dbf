//! What a server's memory of its fleet costs (B2), and what a session's state adds.
//!
//! The first rows: one request of a peer, an opening and a closing, taken into the memory, beside
//! only decoding these records; without state, with a value of 100 bytes that replaces the one
//! before it, and what reading that value costs. The last: a whole request on a node of its own
//! (taken, answered, its records durable in memory, applied), without state and with a value read
//! and written. Best of many short rounds, for the machine is shared.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use selvedge_bus::Hub;
use selvedge_entry::{
    Call, Closing, Data, Direction, Follow, Opening, Outcome, Record, StateWrite, Timestamp,
};
use selvedge_identity::{
    Epoch, Interaction, KeyRing, Origin, Position, RequestIdentifier, ServerName, SessionId,
    SessionToken, Shape,
};
use selvedge_journal::Durability;
use selvedge_node::{End, Inbound, Memory, MemoryOptions, Node, NodeOptions, SystemClock};

const ROUNDS: usize = 60;
const REQUESTS: u64 = 2_000;
const SESSIONS: u64 = 500;
const EPOCH: Epoch = Epoch {
    counter: 1,
    random: 0x9f8e_7d6c_5b4a_3f2e,
};

fn main() {
    let server = ServerName::new("content-1").expect("valid");
    let plain = requests(&server, None);
    let value = format!("\"{}\"", "x".repeat(98));
    let state = requests(&server, Some(Bytes::from(value)));
    for (what, records) in [("", &plain), (", with 100 bytes of state", &state)] {
        let bytes: usize = records.iter().map(Bytes::len).sum();
        let decoded_ns = best(|| {
            for record in records {
                black_box(Record::decode(record).expect("ours"));
            }
        });
        let applied_ns = best(|| {
            let memory = memory();
            memory.apply(&server, EPOCH, 0, records);
            memory
        });
        println!(
            "| memory: a peer's request taken{what} ({} bytes) | {applied_ns:.0} ns | decoding it \
             {decoded_ns:.0} ns | {:.1} |",
            bytes as u64 / REQUESTS,
            applied_ns / decoded_ns
        );
    }
    let memory = memory();
    memory.apply(&server, EPOCH, 0, &state);
    let heads: Vec<Position> = (0..SESSIONS)
        .map(|n| position(&server, REQUESTS - SESSIONS + n))
        .collect();
    let read_ns = best(|| {
        for n in 0..REQUESTS {
            let n = n % SESSIONS;
            let head = std::iter::once(&heads[n as usize]);
            let view = memory.state(session(n), "cart", head);
            assert_eq!(view.known.len(), 1);
            black_box(view);
        }
    });
    println!("reading a value and what a write would replace: {read_ns:.0} ns");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let plain_ns = runtime.block_on(on_a_node(false));
    let state_ns = runtime.block_on(on_a_node(true));
    println!(
        "| a request on a node, with a value of state read and written | {state_ns:.0} ns | without \
         {plain_ns:.0} ns | {:.2} |",
        state_ns / plain_ns
    );
}

fn memory() -> Memory {
    Memory::new(MemoryOptions::default(), Arc::new(SystemClock::new(0)))
}

/// Nanoseconds a request, in the best round.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let result = work();
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / REQUESTS as f64);
        drop(result);
    }
    best_ns
}

fn session(n: u64) -> SessionId {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    SessionId::from_random(bytes)
}

fn position(server: &ServerName, request: u64) -> Position {
    Position {
        server: server.clone(),
        epoch: EPOCH,
        sequence: 2 * request,
    }
}

/// The records of requests, each session's one after the other.
fn requests(server: &ServerName, value: Option<Bytes>) -> Vec<Bytes> {
    let shape = Shape::default();
    let origin = Origin::new(1_800_000_000_000, [7; 10]);
    let root = RequestIdentifier::root(origin, Interaction::from_random([3; 8]), shape);
    let identifier = root.advance(Interaction::from_random([4; 8]), shape);
    let mut records = Vec::new();
    for number in 0..REQUESTS {
        let before = number.checked_sub(SESSIONS);
        let before = before.map(|before| position(server, before));
        let after = before.iter().map(|position| Follow {
            effect: position.sequence + 1,
            position: position.clone(),
        });
        let counter = 1 + number / SESSIONS;
        let opening = Opening {
            session: Some(session(number % SESSIONS)),
            counter: Some(counter),
            after: after.collect(),
            call: Some(Call {
                identifier: identifier.clone(),
                interaction: Some(Interaction::from_random([4; 8])),
                peer: Some("gateway".into()),
                peer_host: Some("10.0.0.1".into()),
            }),
            version: "0.1.0".into(),
            host: "content-1".into(),
            request: Data {
                fields: vec![
                    ("method".into(), "POST".into()),
                    ("path".into(), "/cart".into()),
                ],
                ..Data::default()
            },
            ..Opening::new(
                Direction::Inbound,
                "content",
                "POST /cart",
                Timestamp(1_795_201_534_123_456_789),
            )
        };
        let state = value.iter().map(|value| StateWrite {
            session: session(number % SESSIONS),
            counter,
            name: "cart".into(),
            value: Some(value.clone()),
            replaces: before.iter().map(closing_of).collect(),
            hidden: true,
        });
        let closing = Closing {
            duration_ns: 1_234_567,
            status: 200,
            outcome: Outcome::Ok,
            work: 1_234,
            request_bytes: 30,
            response_bytes: 60,
            state: state.collect(),
            ..Closing::default()
        };
        for record in [
            Record::Opening(Box::new(opening)),
            Record::Closing {
                opening: 2 * number,
                closing: Box::new(closing),
            },
        ] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            records.push(bytes.into());
        }
    }
    records
}

fn closing_of(opening: &Position) -> Position {
    Position {
        sequence: opening.sequence + 1,
        ..opening.clone()
    }
}

/// Nanoseconds a request of one session takes on a node.
async fn on_a_node(with_state: bool) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = KeyRing::single([7; 32]);
    let server = ServerName::new("content-1").expect("valid");
    let mut options = NodeOptions::new(server, "content", folder.path(), keys.clone());
    options.journal.durability = Durability::Memory;
    let node = Node::start(options, Arc::new(Hub::default()))
        .await
        .expect("started");
    let mut best_ns = f64::INFINITY;
    for round in 0..ROUNDS as u64 {
        let mut token = SessionToken::new(session(round), []).sign(&keys);
        let start = Instant::now();
        for _ in 0..REQUESTS / 10 {
            let inbound = Inbound {
                sessions: [token.as_bytes()].into_iter().collect(),
                method: "POST",
                path: "/cart",
                ..Inbound::default()
            };
            let exchange = node.take(inbound).await;
            if with_state {
                let cart = exchange.state::<Vec<u32>>("cart");
                let mut items = cart.get().expect("readable").unwrap_or_default();
                items.push(7);
                items.truncate(20);
                cart.set(&items).expect("written");
            }
            let answer = exchange.finish(End::status(200)).await;
            token = answer.session.expect("the session moved on");
        }
        let took_ns = start.elapsed().as_nanos() as f64;
        best_ns = best_ns.min(took_ns / (REQUESTS / 10) as f64);
    }
    node.stop().await;
    best_ns
}
