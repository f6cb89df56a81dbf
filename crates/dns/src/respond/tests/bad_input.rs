//! Hostile messages: nothing crashes, nothing grows, nobody is sent more than one answer for one.

use super::*;

/// The next of a row of numbers (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// A message that is malformed, or may be: random bytes, a query that is cut off, lengthened,
/// changed in some bytes, with counts that are wrong, with a name that points to itself.
fn message(good: &[Vec<u8>], state: &mut u64, out: &mut Vec<u8>) {
    out.clear();
    let mut random = || next(state);
    let kind = random() % 6;
    if kind == 0 {
        let length = random() as usize % 512;
        out.extend(std::iter::repeat_with(|| random() as u8).take(length));
        return;
    }
    out.extend_from_slice(&good[random() as usize % good.len()]);
    match kind {
        1 => out.truncate(random() as usize % out.len()),
        2 => {
            let length = 1 + random() as usize % 64;
            out.extend(std::iter::repeat_with(|| random() as u8).take(length));
        }
        3 => {
            for _ in 0..1 + random() % 4 {
                let at = random() as usize % out.len();
                out[at] = random() as u8;
            }
        }
        4 => out[4 + random() as usize % 8] = random() as u8,
        _ => {
            out[12] = 0xc0 | random() as u8;
            out[13] = 12;
        }
    }
}

fn good() -> Vec<Vec<u8>> {
    [
        QueryBuilder::new("ns1.example.", kind::A),
        QueryBuilder::new("www.example.", kind::A).edns(1232),
        QueryBuilder::new("a.b.wild.example.", kind::MX)
            .edns(4096)
            .dnssec_ok(),
        QueryBuilder::new("x.y.sub.example.", kind::AAAA)
            .edns(512)
            .option(OptionOf::Nsid),
        QueryBuilder::new("no.example.", kind::ANY)
            .edns(1232)
            .option(OptionOf::Cookie(&[3; 24])),
        QueryBuilder::new("big.example.", kind::TXT).edns(65535),
    ]
    .map(|query| query.build())
    .into()
}

#[test]
fn a_million_malformed_messages_neither_crash_nor_grow_memory() {
    let good = good();
    let mut responder = Responder::new(Arc::new(authority(zones(), AuthorityOptions::default())));
    let mut state = 7;
    let (mut bytes, mut out) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let mut answered = 0_u64;
    let mut run = |count: u64| {
        for _ in 0..count {
            message(&good, &mut state, &mut bytes);
            // Sources of few networks, so that their tables fill at once.
            let source = next(&mut state);
            let from = SocketAddr::from((
                [10, 0, source as u8 % 16, (source >> 8) as u8],
                1 + (source >> 16) as u16 % 60_000,
            ));
            let now = Now {
                unix_s: 1_800_000_000,
                steady_ms: 10_000 + answered,
            };
            let reply = responder.respond(&bytes, from, UDP, now, source, &mut out);
            if reply == Reply::Send {
                answered += 1;
                assert!(out.len() <= 1232 && out[2] & 0x80 != 0);
                assert!(Decoded::read(&out).is_some(), "{bytes:?} -> {out:?}");
            }
        }
    };
    // Every source has been seen after the first part.
    run(500_000);
    let rest = allocation_counter::measure(|| run(500_000));
    // What is left of it when it is over; asking allocates for a moment only.
    assert!(rest.bytes_current < 64 * 1024, "{rest:?}");
    assert!(answered > 100_000, "{answered}");
}

#[test]
fn a_source_that_has_proven_nothing_gets_one_answer_at_most_and_races_nobody() {
    use selvedge_race::contest::{Call, Evidence, RaceId, Races, Refused};
    struct Never;
    impl Races for Never {
        fn start(&self, call: Call) -> Result<RaceId, Refused> {
            panic!("a race for {}", call.client);
        }
        fn won(&self, _: RaceId, _: &str, _: Evidence) {}
        fn noise(&self, _: &str, _: &str) -> core::time::Duration {
            core::time::Duration::ZERO
        }
        fn sites(&self) -> Vec<String> {
            vec!["site-1".to_owned(), "site-2".to_owned()]
        }
    }
    let authority = Arc::new(authority(zones(), AuthorityOptions::default()));
    authority.set_races(Some(Arc::new(Never)));
    let mut responder = Responder::new(authority);
    let cookie = [9; 24];
    let queries = [
        www(),
        www().option(OptionOf::Cookie(&cookie)),
        www().option(OptionOf::Cookie(&cookie[..8])),
        QueryBuilder::new("x.raced.example.", kind::A),
    ]
    .map(|query| query.build());
    let mut out = Vec::new();
    let (mut sent, mut received, mut answers, mut asked) = (0, 0, 0, 0);
    let mut state = 1;
    for round in 0..20_000_u64 {
        // A spoofer: it names victims as sources, and sees no answer.
        let victim = next(&mut state);
        let from = SocketAddr::from((
            [198, 18, 0, victim as u8],
            1024 + (victim >> 8) as u16 % 1000,
        ));
        let now = Now {
            unix_s: 1_800_000_000,
            steady_ms: 10_000 + round,
        };
        let query = &queries[round as usize % queries.len()];
        let reply = responder.respond(query, from, UDP, now, victim, &mut out);
        asked += 1;
        received += query.len();
        if reply == Reply::Send {
            answers += 1;
            sent += out.len();
        }
    }
    // One answer for one query at most, none from a site, and hardly more bytes than came: an
    // address, a cookie, no more.
    assert!(answers <= asked && answers > 0);
    assert!(sent < 2 * received, "{sent} bytes for {received}");
    // At 200 equal answers a second and name for the one network, 20 s long.
    assert!(answers <= 2 * 200 * 21 * 2, "{answers}");
    assert_eq!(responder.counts.of(Count::Raced), 0);
}
