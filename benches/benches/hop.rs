//! What a hop costs: read the identifier that came, advance it, write the one that goes (D1, D2,
//! E2); and what a session's token costs (A1, A2).
//!
//! Beside it the floor: copying the header's bytes twice and checking them twice with CRC-32C, as
//! every implementation must. Best of many short rounds, for the machine is shared. What was found
//! when it was tuned: half of a hop is moving the identifier and its text (172 and 260 bytes, sized
//! for the greatest stack); hex and base64 by tables brought parsing from 110 ns to 54.

use std::hint::black_box;
use std::time::Instant;

use selvedge_identity::carrier::{self, Headers};
use selvedge_identity::{
    Epoch, Head, Interaction, KeyRing, Origin, Position, RequestIdentifier, ServerName, SessionId,
    SessionToken, Shape,
};

const ROUNDS: u32 = 2_000;
const IN_ROUND: u32 = 500;

fn main() {
    let shape = Shape::default();
    let interaction = |n: u8| Interaction::from_random([n.wrapping_mul(37); 8]);
    let origin = Origin::new(1_800_000_000_000, [7; 10]);
    let mut id = RequestIdentifier::root(origin, interaction(1), shape);
    for n in 2..=9 {
        id = id.advance(interaction(n), shape);
    }
    let header = id.encode();
    let own = interaction(99);

    let floor_ns = best(|| {
        let mut copy = [0_u8; 128];
        for _ in 0..2 {
            copy[..header.len()].copy_from_slice(black_box(header.as_bytes()));
            black_box(crc32c::crc32c(&copy[..header.len()]));
        }
        copy
    });
    let native_ns = best(|| {
        let inbound = RequestIdentifier::parse(black_box(header.as_bytes())).expect("valid");
        inbound.advance(black_box(own), shape).encode()
    });
    row("hop, native header", native_ns, floor_ns);

    let w3c = carrier::inject(&id, interaction(9), 3, None);
    let (traceparent, tracestate) = (w3c.traceparent, w3c.tracestate);
    let w3c_ns = best(|| {
        let headers = Headers {
            request: None,
            traceparent: Some(black_box(traceparent.as_bytes())),
            tracestate: Some(black_box(tracestate.as_bytes())),
        };
        let extracted = carrier::extract(headers, true, shape);
        let next = extracted.identifier.expect("valid").advance(own, shape);
        carrier::inject(&next, own, 3, None)
    });
    row(
        "hop, Trace Context in and all headers out",
        w3c_ns,
        floor_ns,
    );

    let keys = KeyRing::single([3; 32]);
    let head = Head {
        position: Position {
            server: ServerName::new("content-1").expect("valid"),
            epoch: Epoch {
                counter: 3,
                random: 0x9f8e_7d6c_5b4a_3f2e,
            },
            sequence: 123_456,
        },
        effect: 123_460,
        counter: 17,
    };
    let token = SessionToken::new(SessionId::from_random([5; 16]), [head]);
    let text = token.sign(&keys);
    let token_ns = best(|| {
        let token = SessionToken::verify(black_box(text.as_bytes()), &keys).expect("valid");
        token.sign(&keys)
    });
    row(
        "session token, verified and signed anew",
        token_ns,
        floor_ns,
    );
    println!(
        "bytes: native {}, tracestate member {}, token with one head {}",
        header.len(),
        tracestate.len(),
        text.len()
    );
}

/// Nanoseconds a call, in the best round.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..IN_ROUND {
            // By reference: moving the result into the box would be measured with it.
            black_box(&work());
        }
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / f64::from(IN_ROUND));
    }
    best_ns
}

fn row(what: &str, ours_ns: f64, floor_ns: f64) {
    println!(
        "| {what} | {ours_ns:.0} ns | copy and check twice: {floor_ns:.0} ns | {:.1} |",
        ours_ns / floor_ns
    );
}
