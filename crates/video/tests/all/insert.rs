//! Indications placed, against a plain model: what others sent is as it was, counters run on, the
//! clock is right to 0.5 µs, and every indication is found again (B8).

use crate::stream::{
    self, Made, PMT_PID, VIDEO, check, indication, map, pat, section_packet, through,
};
use proptest::prelude::*;
use selvedge_entry::Timestamp;
use selvedge_video::packet::{self, PACKET};
use selvedge_video::{
    Carried, Faults, InsertOptions, Inserter, Rate, Reader, Refusal, Seen, State, pts_distance,
};

fn inserter() -> Inserter {
    Inserter::new(InsertOptions::default())
}

fn seen(output: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    Reader::default().push(output, |seen| all.push(seen));
    all
}

/// First sights of indications: id, time stamp.
fn firsts(output: &[u8]) -> Vec<(String, u64)> {
    let tags = seen(output).into_iter().filter_map(|seen| match seen {
        Seen::Id3(placed) if !placed.repeat => Some((placed.indication.id, placed.pts)),
        _ => None,
    });
    tags.collect()
}

#[test]
fn an_indication_is_in_the_next_packets_in_both_forms_under_one_id_and_time() {
    let made = Made::default();
    let input = made.bytes();
    let mut inserter = inserter();
    let output = through(&mut inserter, &input, &[4000], 1).expect("taken");
    check(&input, &output, &inserter, Some(&made));
    let all = seen(&output);
    let tag = all.iter().find_map(|seen| match seen {
        Seen::Id3(placed) if !placed.repeat => Some(placed),
        _ => None,
    });
    let cue = all.iter().find_map(|seen| match seen {
        Seen::Cue(cue) => Some(cue),
        _ => None,
    });
    let (tag, cue) = (tag.expect("a tag"), cue.expect("a cue"));
    assert_eq!(tag.indication, indication(0));
    assert_eq!(
        (&cue.id, cue.pts, cue.starts),
        (&tag.indication.id, tag.pts, true)
    );
    // Its first packet stands where the next packet would have.
    let ours = inserter.ours().expect("known");
    let first = output.as_chunks::<PACKET>().0[4000..]
        .iter()
        .position(|p| packet::pid(p) == ours.id3);
    assert!(first.is_some_and(|at| at <= 1), "{first:?}");
    // The lead before its time, 40 ms, is counted from there.
    let here = selvedge_video::pcr_after(made.from, made.ticks(4000)) / 300;
    let lead = pts_distance(here, tag.pts);
    assert!((3600..=3640).contains(&lead), "{lead}");
    assert_eq!(inserter.faults(), Faults::default());
    assert_eq!(output.len(), input.len());
}

/// Whoever acknowledges what is told as placed would else acknowledge a tag that a crash cuts off.
#[test]
fn what_is_told_as_placed_is_out_whole_in_both_forms() {
    // More is placed than null packets make room for: it comes to wait.
    let made = Made {
        nulls: 3,
        ..Made::default()
    };
    let mut inserter = inserter();
    let mut output = Vec::new();
    let mut told = 0;
    for (number, packets) in made.bytes().chunks(7 * PACKET).enumerate() {
        if number % 10 == 0 {
            let placed = inserter.place(indication(number as u64));
            placed.expect("it fits");
        }
        let taken = inserter.push(packets, Timestamp(0), &mut output);
        taken.expect("taken");
        for placed in inserter.take_placed() {
            let id = placed.indication.id;
            let forms = seen(&output).into_iter().filter(|seen| match seen {
                Seen::Id3(placed) => !placed.repeat && placed.indication.id == id,
                Seen::Cue(cue) => cue.id == id,
                _ => false,
            });
            assert_eq!(forms.count(), 2, "{id}");
            told += 1;
        }
    }
    let all = made.packets.div_ceil(70);
    assert!((all / 2..all).contains(&told), "{told} of {all}");
}

#[test]
fn a_state_is_repeated_every_450_ms_with_its_first_id() {
    let made = Made {
        packets: 20_000,
        ..Made::default()
    };
    let output = through(&mut inserter(), &made.bytes(), &[5000], 7).expect("taken");
    let mut last: Option<u64> = None;
    let mut repeats = 0;
    for seen in seen(&output) {
        let pts = match seen {
            Seen::Id3(placed) => {
                assert_eq!(placed.indication.id, indication(0).id);
                repeats += u64::from(placed.repeat);
                placed.pts
            }
            Seen::Tag { pts } => pts.expect("a time"),
            Seen::Cue(_) | Seen::Carried(_) => continue,
        };
        let gap = last.map_or(0, |last| pts_distance(last, pts));
        // TR 101 290 wants a time stamp every 0.7 s.
        assert!((0..=50_000).contains(&gap), "{gap}");
        last = Some(pts);
    }
    // 15,000 packets at 5 Mb/s are 4.5 s.
    assert!((8..=10).contains(&repeats), "{repeats}");
}

#[test]
fn the_map_has_our_two_streams_and_a_later_version() {
    let made = Made {
        descriptors: 150,
        ..Made::default()
    };
    let mut inserter = inserter();
    let output = through(&mut inserter, &made.bytes(), &[], 7).expect("taken");
    let ours = inserter.ours().expect("known");
    let mut section = Vec::new();
    let mut last = None;
    for packet in output.as_chunks::<PACKET>().0 {
        if packet::pid(packet) != PMT_PID {
            continue;
        }
        let payload = &packet[4..];
        if packet::starts_unit(packet) {
            section = payload[1..].to_vec();
        } else {
            section.extend(payload);
        }
        let length = 3 + (usize::from(section[1] & 0x0F) << 8 | usize::from(section[2]));
        if section.len() >= length {
            last = Some(selvedge_video::Pmt::read(&section[..length]).expect("its CRC holds"));
        }
    }
    let (read, was) = (last.expect("a PMT"), map(150));
    assert_eq!(read.version, 0);
    assert_eq!(read.streams[..2], was.streams);
    let added: Vec<_> = read.streams[2..].iter().map(|s| (s.kind, s.pid)).collect();
    assert_eq!(added, [(0x15, ours.id3), (0x86, ours.scte35)]);
    assert!(read.descriptors.starts_with(&was.descriptors));
}

#[test]
fn a_flood_waits_for_room_and_nothing_is_lost_but_what_is_counted() {
    let made = Made {
        packets: 60_000,
        ..Made::default()
    };
    let input = made.bytes();
    let mut inserter = inserter();
    let at = vec![3000; 5000];
    let output = through(&mut inserter, &input, &at, 7).expect("taken");
    check(&input, &output, &inserter, Some(&made));
    let found = firsts(&output);
    let dropped = inserter.faults().dropped;
    assert_eq!(dropped, 5000 - 4096);
    // 5,700 null packets, three or four packets an indication: what was dropped came first.
    assert!(found.len() > 1000, "{}", found.len());
    for (number, (id, _)) in found.iter().enumerate() {
        assert_eq!(*id, indication(number as u64 + dropped).id);
    }
}

#[test]
fn a_variable_rate_is_not_restamped_and_needs_no_null_packets() {
    let made = Made {
        nulls: 0,
        ..Made::default()
    };
    let mut input = made.bytes();
    // References that wander by a millisecond are of no constant rate.
    let mut seed = 3;
    for packet in input.as_chunks_mut::<PACKET>().0 {
        if let Some(pcr) = packet::pcr(packet) {
            let by = stream::chance(&mut seed) % 27_000;
            packet::set_pcr(packet, selvedge_video::pcr_after(pcr, by));
        }
    }
    let mut inserter = inserter();
    let output = through(&mut inserter, &input, &[5000, 6000], 7).expect("taken");
    assert_eq!(inserter.rate(), Rate::Variable);
    check(&input, &output, &inserter, None);
    let pcrs = |bytes: &[u8]| -> Vec<u64> {
        bytes
            .as_chunks::<PACKET>()
            .0
            .iter()
            .filter_map(packet::pcr)
            .collect()
    };
    assert_eq!(pcrs(&input), pcrs(&output));
    assert_eq!(firsts(&output).len(), 2);
}

#[test]
fn what_it_cannot_do_is_refused_with_a_sentence() {
    let made = Made {
        nulls: 0,
        ..Made::default()
    };
    let refused = through(&mut inserter(), &made.bytes(), &[], 7);
    let Err(Refusal::Full(rate)) = refused else {
        panic!("{refused:?}")
    };
    assert!((4_999_000..5_001_000).contains(&rate), "{rate}");

    let several = section_packet(&pat(&[(1, 0x100), (2, 0x200)]), 0);
    let refused = inserter().push(&several, Timestamp(0), &mut Vec::new());
    assert_eq!(refused, Err(Refusal::Programs(2)));

    let one = section_packet(&pat(&[(1, PMT_PID)]), 0);
    let with = |change: &dyn Fn(&mut selvedge_video::Pmt)| {
        let mut inserter = inserter();
        let mut map = map(0);
        change(&mut map);
        let bytes = [one, section_packet(&map.write().expect("short"), PMT_PID)].concat();
        inserter.push(&bytes, Timestamp(0), &mut Vec::new())
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(
        with(&|map| map.pcr_pid = PMT_PID),
        Err(Refusal::PmtClock(PMT_PID))
    );

    let mut inserter = inserter();
    let other = section_packet(&[0x70, 0x30, 2, 1, 2], PMT_PID);
    let refused = inserter.push(&[one, other].concat(), Timestamp(0), &mut Vec::new());
    assert_eq!(refused, Err(Refusal::PmtShared(PMT_PID, 0x70)));
}

#[test]
fn a_clock_that_jumps_and_wraps_is_followed() {
    let made = Made::default();
    let mut input = made.bytes();
    for packet in &mut input.as_chunks_mut::<PACKET>().0[6000..] {
        if let Some(pcr) = packet::pcr(packet) {
            packet::set_pcr(packet, selvedge_video::pcr_after(pcr, 3_000_000_000));
        }
    }
    let mut inserter = inserter();
    let output = through(&mut inserter, &input, &[4000, 9000], 7).expect("taken");
    assert_eq!(
        inserter.faults(),
        Faults {
            pcr_jumps: 1,
            ..Faults::default()
        }
    );
    check(&input, &output, &inserter, None);
    let found = firsts(&output);
    let here = selvedge_video::pcr_after(made.from, made.ticks(9000) + 3_000_000_000) / 300;
    assert!(
        (3400..3800).contains(&pts_distance(here, found[1].1)),
        "{found:?}"
    );
}

#[test]
fn an_identifier_that_somebody_takes_from_us_is_given_up() {
    let made = Made::default();
    let mut input = made.bytes();
    let mut first = inserter();
    through(&mut first, &input, &[], 7).expect("taken");
    let taken = first.ours().expect("known").id3;
    for packet in &mut input.as_chunks_mut::<PACKET>().0[6000..] {
        if packet::pid(packet) == stream::AUDIO {
            packet::set_pid(packet, taken);
        }
    }
    let mut inserter = inserter();
    let output = through(&mut inserter, &input, &[4000, 9000], 7).expect("taken");
    assert_eq!(inserter.faults().pid_collisions, 1);
    assert_ne!(inserter.ours().expect("known").id3, taken);
    assert_eq!(firsts(&output).len(), 2);
}

#[test]
fn a_damaged_map_is_counted_and_ours_goes_on() {
    let made = Made::default();
    let mut input = made.bytes();
    let maps = input.as_chunks_mut::<PACKET>().0.iter_mut();
    for map in maps
        .filter(|packet| packet::pid(packet) == PMT_PID)
        .skip(12)
        .take(3)
    {
        map[20] ^= 1;
    }
    let mut inserter = inserter();
    let output = through(&mut inserter, &input, &[9000], 7).expect("taken");
    assert_eq!(
        inserter.faults(),
        Faults {
            crc: 3,
            ..Faults::default()
        }
    );
    check(&input, &output, &inserter, Some(&made));
    assert_eq!(firsts(&output).len(), 1);
}

#[test]
fn a_broadcast_is_carried_whole_and_again_and_one_that_is_too_long_is_refused() {
    let carried = |length: usize| Carried {
        broadcast: "content-1/1-0/7".to_owned(),
        content_type: "application/json".to_owned(),
        content: Some("{}".to_owned()),
        message: "A".repeat(length),
        part: [1, 1],
        pts: 0,
    };
    let made = Made {
        packets: 40_000,
        ..Made::default()
    };
    let input = made.bytes();
    let mut inserter = inserter();
    let mut output = through(&mut inserter, &input[..6000 * PACKET], &[], 7).expect("taken");
    assert!(inserter.carry(&carried(17_000)).is_err());
    assert_eq!(inserter.carry(&carried(8000)), Ok(()));
    let rest = &input[6000 * PACKET..];
    let pushed = inserter.push(rest, Timestamp(0), &mut output);
    assert_eq!(pushed, Ok(()));
    check(&input, &output, &inserter, Some(&made));
    let all = seen(&output).into_iter().filter_map(|seen| match seen {
        Seen::Carried(carried) => Some(carried),
        _ => None,
    });
    let all: Vec<Carried> = all.collect();
    // And again every two seconds, for those who come late.
    assert_eq!(all.len(), 4);
    for two in all.windows(2) {
        let later = pts_distance(two[0].pts, two[1].pts);
        assert!((2 * 90_000..3 * 90_000).contains(&later), "{later}");
    }
    for one in all {
        let pts = one.pts;
        assert_eq!(
            one,
            Carried {
                pts,
                ..carried(8000)
            }
        );
    }
}

#[test]
fn a_name_that_does_not_fit_is_refused() {
    let mut inserter = inserter();
    let mut long = indication(0);
    long.rule = "x".repeat(201);
    assert!(inserter.place(long).is_err());
    let mut nan = indication(0);
    nan.value = f64::NAN;
    assert!(inserter.place(nan).is_err());
    assert_eq!(indication(1).state, State::Cleared);
    assert_eq!(VIDEO, 0x101);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_constant_stream_stays_right(
        rate in 700_000_u64..60_000_000,
        from in 0..selvedge_video::PCR_WRAP,
        pcr_every in 5_usize..150,
        tables_every in 10_usize..500,
        nulls in 3_usize..60,
        descriptors in 0_usize..150,
        seed: u64,
        piece in 1_usize..50,
        mut at in proptest::collection::vec(0_usize..8000, 0..30),
    ) {
        // References at most 0.4 s apart; further ones are jumps.
        prop_assume!(pcr_every as u64 * 1504 * 5 / 2 < rate);
        let made = Made { packets: 8000, rate, from, pcr_every, tables_every, nulls, descriptors, seed };
        at.sort_unstable();
        let input = made.bytes();
        let mut inserter = inserter();
        let output = through(&mut inserter, &input, &at, piece).expect("taken");
        check(&input, &output, &inserter, Some(&made));
        prop_assert_eq!(inserter.faults().dropped, 0);
        // All but what waits for room at the end is found, in its order.
        let found = firsts(&output);
        for (number, (id, _)) in found.iter().enumerate() {
            prop_assert_eq!(id, &indication(number as u64).id);
        }
        let late = output.len().abs_diff(input.len()) / PACKET;
        prop_assert!(late <= 64, "{} packets late", late);
        if inserter.is_announced() {
            let early = at.iter().filter(|at| **at < 6000).count();
            prop_assert!(found.len() >= early || nulls < 10, "{} of {}", found.len(), early);
        }
    }
}
