//! What a hop costs: read the identifier that came, advance it, write the one that goes (D1, D2,
//! E2); and what a session's token costs (A1, A2).
//!
//! Beside it the floor: copying the header's bytes twice and checking them twice with CRC-32C, as
//! every implementation must. Best of many short rounds, for the machine is shared.
//!
//! What was found when it was tuned. Reading and writing cost less than moving: an identifier has
//! 172 bytes and its text 260, sized for the greatest stack, and whoever copies by 64 bytes what
//! was just written by 8 waits for it (13 ns a move). So there are forms that work in place, and
//! what was read stays where it is.
//!
//! What is left is instructions, about 15 a nanosecond. Where a machine is shared, they say more
//! than times (`valgrind --tool=callgrind`, the difference of two lengths of run): in place 960 for
//! the native hop, 1050 for Trace Context, 930 for B3, the bench's own 70 among them. 1960, 2800 and
//! 1590 at first; 1460, 1620 and 990 before `crates/identity/src/wire/sse.rs`:
//! - Our member of `tracestate` is read before the grammar is looked at: it is stricter, and nearly
//!   always stands alone (190 saved). The text of the origin is taken as it came (120).
//! - The check by the machine's instruction, 40 for member and origin: the library takes 150, for it
//!   prepares for any length, and both in one piece (250 saved with the copies for that).
//! - Base64 of three ids at a time, for then no bits are left over: 90 to read six, 80 to write
//!   them, by instructions that look up sixteen bytes at once; 210 and 200 by tables.
//! - Hex of origin and interaction together: 45 to read both so (95 in pairs of digits as numbers of
//!   16 bits, which the oldest vectors can shift), 50 to write.
//! - A stack knows the width that all its ids have, as nearly always: so none is asked for its own
//!   when it is advanced and written (100). All its places are filled from the start, so that ids are
//!   put there without asking for room.
//! - What is seldom done is a call of its own: so what is often done is put together from small
//!   functions in place, and needs few registers saved (150).
//!
//! And of times, that what was just written is read in the same pieces. A read across two writes
//! waits until both are in the cache, which nothing else can hide if all that follows depends on it:
//! a stack's length of one byte, read with its neighbours as four, cost some 14 ns a hop by Trace
//! Context, and a check that took eight bytes from the text's start rather than from where the ids
//! start some 12.
//!
//! Of the hop by Trace Context `traceparent` is 135 to read, `sv` 265 (40 for its check), the rules of
//! continuation 170, advancing 115, both to write 305 (40 for the check). `lto = "fat"` gains 5
//! to 20 ns where identifiers are moved and nothing in place, so the release profile stays without
//! it.
//!
//! A session's token is two keyed hashes by BLAKE3 before all else: what is signed with one head has
//! 65 to 128 bytes, which are two of its blocks, 150 of the 285 ns to verify and again to sign. (One
//! block is 75; nothing of the text can be left out for that.) The rest is spread over base64, the
//! strings and lists that are allocated, and the heads.

use std::hint::black_box;
use std::time::Instant;

use selvedge_identity::carrier::{self, Extracted, Headers, TraceContext, b3};
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
    // Into places that are there, as whoever makes call after call has them.
    let (mut inbound, mut next, mut text) = (id.clone(), id.clone(), id.encode());
    let native_ns = best(|| {
        inbound
            .parse_to(black_box(header.as_bytes()))
            .expect("valid");
        inbound.advance_to(black_box(own), shape, &mut next);
        next.encode_to(black_box(&mut text));
    });
    row("hop, native header", native_ns, floor_ns);
    let native_ns = best(|| {
        let inbound = RequestIdentifier::parse(black_box(header.as_bytes())).expect("valid");
        inbound.advance(black_box(own), shape).encode()
    });
    row("hop, native header, as values", native_ns, floor_ns);

    let context = carrier::inject_trace_context(&id, interaction(9), 3, None);
    let (traceparent, tracestate) = (context.traceparent, context.tracestate);
    let headers = || Headers {
        request: None,
        traceparent: Some(black_box(traceparent.as_bytes())),
        tracestate: Some(black_box(tracestate.as_bytes())),
    };
    let mut said = Extracted::default();
    let mut context = TraceContext::default();
    let w3c_ns = best(|| {
        carrier::extract_to(&mut said, headers(), b3::Headers::default(), true, shape);
        let inbound = said.identifier.as_ref().expect("valid");
        inbound.advance_to(black_box(own), shape, &mut next);
        carrier::inject_trace_context_to(black_box(&mut context), &next, own, 3, None);
    });
    row("hop, Trace Context", w3c_ns, floor_ns);
    let all_ns = best(|| {
        let extracted = carrier::extract(headers(), true, shape);
        let next = extracted.identifier.expect("valid").advance(own, shape);
        carrier::inject(&next, own, 3, None)
    });
    row(
        "hop, Trace Context in and all headers out, as values",
        all_ns,
        floor_ns,
    );

    let before = Some(interaction(8));
    let wrapped = b3::inject(&id, interaction(9), before, b3::Form::of_flags(1));
    let single = b3::Headers {
        single: Some(wrapped.single.as_bytes()),
        ..b3::Headers::default()
    };
    let several = b3::Headers {
        trace_id: Some(wrapped.trace_id.as_bytes()),
        span_id: Some(wrapped.span_id.as_bytes()),
        parent_span_id: wrapped.parent_span_id.as_ref().map(|id| id.as_bytes()),
        sampled: wrapped.sampled.map(str::as_bytes),
        ..b3::Headers::default()
    };
    for (what, b3) in [
        ("hop, B3 in one header", single),
        ("hop, B3 in several", several),
    ] {
        let b3_ns = best(|| {
            carrier::extract_to(&mut said, Headers::default(), black_box(b3), true, shape);
            let inbound = said.identifier.as_ref().expect("valid");
            inbound.advance_to(black_box(own), shape, &mut next);
            b3::inject(&next, own, said.interaction, said.b3.expect("B3"))
        });
        row(what, b3_ns, floor_ns);
    }

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
    let text_of_token = token.sign(&keys);
    let token_ns = best(|| {
        let token =
            SessionToken::verify(black_box(text_of_token.as_bytes()), &keys).expect("valid");
        token.sign(&keys)
    });
    row(
        "session token, verified and signed anew",
        token_ns,
        floor_ns,
    );
    let line = |name: &str, value: &str| name.len() + ": ".len() + value.len();
    println!(
        "bytes of the lines: native {} (at most 110), traceparent {}, tracestate beyond it {} (at \
         most 60), b3 {}, x-b3 {}, token with one head {}",
        line(carrier::REQUEST, &header),
        line(carrier::TRACEPARENT, &traceparent),
        line(carrier::TRACESTATE, &tracestate),
        line(b3::B3, &wrapped.single),
        line(b3::TRACE_ID, &wrapped.trace_id)
            + line(b3::SPAN_ID, &wrapped.span_id)
            + line(b3::SAMPLED, "1"),
        line(carrier::SESSION, &text_of_token),
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
