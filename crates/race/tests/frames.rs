//! Frames come back as they were sealed, and nothing else opens (C5).

use std::net::SocketAddr;

use proptest::prelude::*;
use selvedge_clock::{Common, Estimate, External, Local};
use selvedge_identity::KeyRing;
use selvedge_race::wire::{
    ASK_MIN, Answer, Ask, COOKIE_LENGTH, ClientFrame, Echo, Forward, Frame, FrameError, Header,
    Measured, Outcome, Probe, Report, Sent, Side, Silence, Wanted,
};
use selvedge_race::{Kind, RaceId, TransmitIdentifier};

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn estimate() -> impl Strategy<Value = Estimate> {
    (
        any::<i64>(),
        any::<i64>(),
        -0.0009..0.0009,
        0..i64::MAX,
        0..i64::MAX,
    )
        .prop_map(|(at, offset, rate, noise, bound)| Estimate {
            at: Local(at),
            offset,
            rate,
            noise,
            bound,
        })
}

fn external() -> impl Strategy<Value = External> {
    (any::<i64>(), any::<i64>(), 0..i64::MAX).prop_map(|(at, offset, bound)| External {
        at: Local(at),
        offset,
        bound,
    })
}

fn identifier() -> impl Strategy<Value = TransmitIdentifier> {
    prop_oneof![
        any::<i64>().prop_map(|at| TransmitIdentifier::At(Common(at))),
        any::<u64>().prop_map(TransmitIdentifier::Signal),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let probe = (any::<u64>(), any::<i64>(), proptest::option::of(estimate())).prop_map(
        |(nonce, sent, estimate)| {
            Frame::Probe(Probe {
                nonce,
                sent: Common(sent),
                estimate,
            })
        },
    );
    let echo = (
        any::<(u64, u64, bool, i64, i64, i64)>(),
        proptest::option::of(external()),
    )
        .prop_map(
            |((nonce, run, clocked, sent, received, answered), external)| {
                Frame::Echo(Echo {
                    nonce,
                    run,
                    clocked,
                    sent: Common(sent),
                    received: Local(received),
                    answered: Local(answered),
                    external,
                })
            },
        );
    let kind = prop_oneof![Just(Kind::Dns), Just(Kind::Client)];
    let request = proptest::collection::vec(any::<u8>(), 0..=1024);
    let forward = (
        any::<u64>(),
        identifier(),
        0..i64::MAX,
        kind,
        address(),
        address(),
        request,
    )
        .prop_map(
            |(race, identifier, handicap, kind, client, service, request)| {
                Frame::Forward(Forward {
                    race,
                    identifier,
                    handicap,
                    kind,
                    client,
                    service,
                    request,
                })
            },
        );
    let silence = proptest::sample::select(Silence::all().to_vec());
    let report = (
        any::<u64>(),
        any::<(i64, i64)>(),
        proptest::option::of(silence),
    )
        .prop_map(|(race, (due, at), silence)| {
            let outcome = silence.map_or(
                Ok(Sent {
                    due: Common(due),
                    at: Common(at),
                }),
                Err,
            );
            Frame::Report(Report { race, outcome })
        });
    prop_oneof![
        probe,
        echo,
        forward,
        any::<u64>().prop_map(Frame::Signal),
        report
    ]
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let cookie = || any::<[u8; COOKIE_LENGTH]>();
    let race = || any::<(u64, u64)>().prop_map(|(epoch, sequence)| RaceId { epoch, sequence });
    let ask = (
        any::<u64>(),
        cookie(),
        proptest::option::of("/[!-~]{0,254}"),
    )
        .prop_map(|(nonce, cookie, path)| {
            let wanted = if path.is_some() {
                Wanted::Content
            } else {
                Wanted::Address
            };
            ClientFrame::Ask(Ask {
                nonce,
                cookie,
                wanted,
                path: path.unwrap_or_default(),
            })
        });
    let challenge = (any::<u64>(), cookie())
        .prop_map(|(nonce, cookie)| ClientFrame::Challenge { nonce, cookie });
    let content =
        proptest::option::of((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..800)));
    let answer = (
        any::<u64>(),
        race(),
        "[a-z0-9-]{0,63}",
        "[!-~]{0,100}",
        content,
    )
        .prop_map(|(nonce, race, site, url, content)| {
            ClientFrame::Answer(Answer {
                nonce,
                race,
                site,
                url,
                content,
            })
        });
    let refused = (any::<u64>(), "[ -~]{0,100}")
        .prop_map(|(nonce, reason)| ClientFrame::Refused { nonce, reason });
    let measured = ("[a-z0-9-]{1,20}", any::<u64>()).prop_map(|(site, gap)| Measured { site, gap });
    let outcome = (
        race(),
        cookie(),
        proptest::collection::vec(measured, 0..10),
        proptest::option::of("[a-z]{1,20}"),
    )
        .prop_map(|(race, cookie, measured, dns)| {
            ClientFrame::Outcome(Outcome {
                race,
                cookie,
                measured,
                dns,
            })
        });
    prop_oneof![ask, challenge, answer, refused, outcome]
}

proptest! {
    #[test]
    fn a_frame_opens_as_it_was_sealed(frame in frame(), epoch: u64, sequence: u64) {
        let keys = KeyRing::single([1; 32]);
        let header = Header { epoch, sequence };
        let bytes = frame.seal(header, "site-1", &keys);
        prop_assert_eq!(Frame::open(&bytes, frame.side(), "site-1", &keys), Ok((header, frame)));
    }

    #[test]
    fn a_frame_that_was_changed_anywhere_does_not_open(frame in frame(), at: prop::sample::Index, to in 1..=255u8) {
        let keys = KeyRing::single([1; 32]);
        let side = frame.side();
        let mut bytes = frame.seal(Header { epoch: 1, sequence: 2 }, "site-1", &keys);
        let at = at.index(bytes.len());
        bytes[at] ^= to;
        prop_assert!(Frame::open(&bytes, side, "site-1", &keys).is_err());
        prop_assert!(Frame::open(&bytes[..at], side, "site-1", &keys).is_err());
    }

    #[test]
    fn a_frame_is_of_its_side_its_site_and_its_fleet(frame in frame()) {
        let keys = KeyRing::single([1; 32]);
        let bytes = frame.seal(Header { epoch: 1, sequence: 2 }, "site-1", &keys);
        let (side, other) = match frame.side() {
            Side::Master => (Side::Master, Side::Replica),
            Side::Replica => (Side::Replica, Side::Master),
        };
        prop_assert_eq!(Frame::open(&bytes, other, "site-1", &keys), Err(FrameError::Foreign));
        prop_assert_eq!(Frame::open(&bytes, side, "site-2", &keys), Err(FrameError::Forged));
        let strangers = KeyRing::single([2; 32]);
        prop_assert_eq!(Frame::open(&bytes, side, "site-1", &strangers), Err(FrameError::Forged));
    }

    #[test]
    fn a_clients_frame_reads_as_it_was_written(frame in client_frame()) {
        prop_assert_eq!(ClientFrame::decode(&frame.encode()), Some(frame));
    }

    #[test]
    fn what_reads_is_of_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut whole = b"SVA\x01".to_vec();
        whole.extend(bytes);
        if let Some(frame) = ClientFrame::decode(&whole) {
            prop_assert_eq!(frame.encode(), whole);
        }
    }
}

#[test]
fn an_echo_is_no_longer_than_its_probe_and_an_unproven_answer_shorter_than_the_question() {
    let keys = KeyRing::single([1; 32]);
    let header = Header {
        epoch: 1,
        sequence: 2,
    };
    let probe = Frame::Probe(Probe {
        nonce: 0,
        sent: Common(0),
        estimate: None,
    })
    .seal(header, "a", &keys);
    let echo = Frame::Echo(Echo {
        nonce: 0,
        run: 0,
        clocked: false,
        sent: Common(0),
        received: Local(0),
        answered: Local(0),
        external: None,
    });
    assert!(echo.seal(header, "a", &keys).len() <= probe.len());
    let challenge = ClientFrame::Challenge {
        nonce: 0,
        cookie: [0; COOKIE_LENGTH],
    };
    assert!(challenge.encode().len() < ASK_MIN);
}

/// Drawn in `docs/formats/race.md`: the bytes stay these.
#[test]
fn the_bytes_are_those_of_the_format() {
    let keys = KeyRing::single([0; 32]);
    let signal = Frame::Signal(0x0102).seal(
        Header {
            epoch: 0x0a0b,
            sequence: 3,
        },
        "site-1",
        &keys,
    );
    let hex: String = signal.iter().map(|byte| format!("{byte:02x}")).collect();
    let (signed, mac) = hex.split_at(hex.len() - 32);
    assert_eq!(
        signed,
        "53565201030".to_owned()
            + "0"
            + "0b0a000000000000"
            + "0300000000000000"
            + "0201000000000000"
    );
    assert_eq!(mac.len(), 32);
    let ask = ClientFrame::Ask(Ask {
        nonce: 5,
        cookie: [0; COOKIE_LENGTH],
        wanted: Wanted::Content,
        path: "/a".to_owned(),
    });
    let bytes = ask.encode();
    assert_eq!(&bytes[..13], b"SVA\x01\x01\x05\0\0\0\0\0\0\0");
    assert_eq!(&bytes[37..41], b"\x02\x02/a");
    assert_eq!(bytes.len(), ASK_MIN);
}
