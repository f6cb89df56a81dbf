//! Bytes in any pieces, lost, damaged, or of something else.

use proptest::prelude::*;
use selvedge_video::packet::PACKET;
use selvedge_video::{Faults, Framer, Refusal, fuzz_stream};

use crate::stream::{Made, chance};

fn frame(pieces: &[&[u8]]) -> (Vec<u8>, Faults, Result<(), Refusal>) {
    let (mut out, mut faults) = (Vec::new(), Faults::default());
    let mut framer = Framer::default();
    let mut result = Ok(());
    for piece in pieces {
        result = result.and(framer.push(piece, &mut faults, |packets, _| {
            out.extend_from_slice(packets);
            Ok(())
        }));
    }
    let result = result.and(framer.finish(&mut faults, |packets, _| {
        out.extend_from_slice(packets);
        Ok(())
    }));
    (out, faults, result)
}

#[test]
fn packets_are_found_again_after_bytes_are_lost() {
    let made = Made {
        packets: 100,
        ..Made::default()
    };
    let bytes = made.bytes();
    let cut = [&bytes[50..30 * PACKET], &bytes[30 * PACKET + 7..]];
    let (out, faults, result) = frame(&cut);
    assert_eq!(result, Ok(()));
    // The first packet and the one that was hit are gone.
    assert_eq!(
        out,
        [&bytes[PACKET..30 * PACKET], &bytes[31 * PACKET..]].concat()
    );
    assert_eq!(faults.sync_lost, 1);
    assert_eq!(faults.bytes_skipped, (PACKET - 50 + PACKET - 7) as u64);
}

#[test]
fn other_framings_and_other_files_are_refused_by_name() {
    let made = Made {
        packets: 100,
        ..Made::default()
    };
    for (size, refusal) in [(204, Refusal::Framing(204)), (192, Refusal::Framing(192))] {
        let mut bytes = Vec::new();
        for packet in made.bytes().as_chunks::<PACKET>().0 {
            bytes.extend(packet);
            bytes.resize(bytes.len() + size - PACKET, 0);
        }
        assert_eq!(frame(&[&bytes]).2, Err(refusal));
    }
    let text = "no transport stream ".repeat(10_000);
    assert!(matches!(
        frame(&[text.as_bytes()]).2,
        Err(Refusal::NotTransport(_))
    ));
    assert!(matches!(
        frame(&[&text.as_bytes()[..50]]).2,
        Err(Refusal::NotTransport(50))
    ));
    assert_eq!(frame(&[]).2, Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pieces_change_nothing(sizes in proptest::collection::vec(1_usize..2000, 1..40), seed: u64) {
        let made = Made { packets: 80, seed, ..Made::default() };
        let bytes = made.bytes();
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let (out, faults, result) = frame(&pieces);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(faults, Faults::default());
        prop_assert!(out == bytes);
    }

    #[test]
    fn damage_anywhere_leaves_a_stream(seed: u64, hits in 0_usize..60, lost in 0_usize..5) {
        let made = Made { packets: 4000, tables_every: 50, pcr_every: 40, seed, ..Made::default() };
        let mut bytes = made.bytes();
        let mut seed = seed;
        for _ in 0..hits {
            let at = chance(&mut seed) as usize % bytes.len();
            bytes[at] = chance(&mut seed) as u8;
        }
        for _ in 0..lost {
            let at = chance(&mut seed) as usize % bytes.len();
            let end = (at + chance(&mut seed) as usize % 1000).min(bytes.len());
            bytes.drain(at..end);
        }
        fuzz_stream(&bytes);
    }
}
