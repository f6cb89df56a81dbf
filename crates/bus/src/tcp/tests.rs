//! What a hub does with frames that no honest program sends, and the wire format itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::asking::Refusal;
use super::frame::{BODY_MAX, Frame, HEADER, VERSION, parse, read_frame};
use super::handshake::{Peer, greet};
use super::message::Message;
use crate::hub::Begin;
use crate::testing::MemoryJournal;
use crate::{
    Batch, Bus, Extent, Found, Holders, Hub, HubOptions, LinkOptions, ReportMode, SourceRead, Terms,
};

const KEY: [u8; 32] = [3; 32];
const LIMIT: Duration = Duration::from_secs(20);

async fn hub_with(link: LinkOptions) -> (Hub, SocketAddr) {
    let hub = Hub::new(HubOptions {
        link,
        ..HubOptions::default()
    });
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = hub.listen(anywhere, KEY).await.unwrap();
    (hub, address)
}

/// A hub, and a link to it that is ours to misuse.
async fn linked() -> (Hub, TcpStream) {
    let (hub, address) = hub_with(LinkOptions::default()).await;
    let stream = link(address).await;
    (hub, stream)
}

async fn link(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let me = Peer {
        name: "rogue".to_owned(),
        instance: [1; 16],
    };
    greet(&mut stream, &KEY, &me, LIMIT).await.unwrap();
    stream
}

fn bytes_of(message: &Message, channel: u16) -> Vec<u8> {
    let mut out = Vec::new();
    message.frame(channel).write(&mut out);
    out
}

/// Sends bytes, and reads until the hub ends the link: what it said last.
async fn until_ended(stream: &mut TcpStream, bytes: &[u8]) -> Option<Message> {
    stream.write_all(bytes).await.unwrap();
    let mut last = None;
    while let Ok(frame) = read_frame(stream, BODY_MAX, LIMIT).await {
        last = Message::parse(&frame).ok().or(last);
    }
    last
}

async fn is_refused(bytes: Vec<u8>, words: &str) {
    let (hub, mut stream) = linked().await;
    match until_ended(&mut stream, &bytes).await {
        Some(Message::Refused { reason }) => assert!(reason.contains(words), "{reason}"),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(hub.metrics().frames_refused, 1);
    // The hub goes on.
    hub.stop().await;
}

#[tokio::test]
async fn a_frame_longer_than_the_limit_is_refused_before_it_is_read() {
    let mut bytes = bytes_of(&Message::Alive, 0);
    bytes[..4].copy_from_slice(&(BODY_MAX as u32 + 1).to_le_bytes());
    is_refused(bytes, "frame of 16777217 bytes").await;
}

#[tokio::test]
async fn a_frame_of_another_version_is_refused() {
    let mut bytes = bytes_of(&Message::Alive, 0);
    bytes[4] = VERSION + 1;
    is_refused(bytes, "protocol version").await;
}

#[tokio::test]
async fn a_damaged_frame_is_refused() {
    let mut bytes = bytes_of(&Message::Credit { bytes: 1 }, 0);
    bytes[HEADER] ^= 1;
    is_refused(bytes, "checksum").await;
}

#[tokio::test]
async fn a_frame_of_unknown_kind_is_refused() {
    let mut bytes = Vec::new();
    Frame::new(200, 0, Vec::new()).write(&mut bytes);
    is_refused(bytes, "unknown kind").await;
}

#[tokio::test]
async fn bytes_after_a_message_are_refused() {
    let mut bytes = Vec::new();
    Frame::new(6, 0, vec![1]).write(&mut bytes);
    is_refused(bytes, "bytes after").await;
}

#[tokio::test]
async fn a_message_that_only_hubs_send_is_refused() {
    is_refused(bytes_of(&Message::Joined, 1), "not for a hub").await;
}

#[tokio::test]
async fn a_batch_of_a_journal_not_owned_is_refused() {
    let server = ServerName::new("a").unwrap();
    let join = Message::Join {
        server,
        extents: Vec::new(),
        terms: Terms::default(),
        reported: None,
    };
    let mut bytes = bytes_of(&join, 1);
    let batch = Batch {
        server: ServerName::new("b").unwrap(),
        epoch: Epoch {
            counter: 1,
            random: 1,
        },
        first: 0,
        records: vec![Bytes::from_static(b"x")],
    };
    bytes.extend(bytes_of(&Message::Batch(batch), 1));
    is_refused(bytes, "not owned").await;
}

#[tokio::test]
async fn a_join_under_no_server_name_is_refused() {
    let mut body = vec![3];
    body.extend(b"A b");
    body.extend([0; 8]);
    let mut bytes = Vec::new();
    Frame::new(10, 1, body).write(&mut bytes);
    is_refused(bytes, "not a server name").await;
}

/// What a subscriber or an owner that nobody knows may send: it changes nothing.
#[tokio::test]
async fn frames_of_channels_that_are_not_open_change_nothing() {
    let (hub, mut stream) = linked().await;
    let server = ServerName::new("a").unwrap();
    let epoch = Epoch {
        counter: 1,
        random: 1,
    };
    let batch = Batch {
        server: server.clone(),
        epoch,
        first: 0,
        records: vec![Bytes::from_static(b"x")],
    };
    let extent = Extent {
        epoch,
        first: 0,
        end: 9,
    };
    let held = Position {
        server,
        epoch,
        sequence: 9,
    };
    let bytes: Vec<u8> = [
        Message::Batch(batch),
        Message::Extents(vec![extent]),
        Message::Report { epoch, end: 9 },
        Message::Held(vec![held]),
        Message::Leave,
        // The first that the hub must refuse, so that it has read those before.
        Message::Joined,
    ]
    .iter()
    .flat_map(|message| bytes_of(message, 7))
    .collect();
    let last = until_ended(&mut stream, &bytes).await;
    assert!(matches!(last, Some(Message::Refused { .. })), "{last:?}");
    assert_eq!(hub.journals(), []);
    assert_eq!(hub.metrics().announced, 0);
}

/// A holder that says it holds more than there is, of a journal that there is not, or before it
/// subscribed as one.
#[tokio::test]
async fn a_holder_that_claims_too_much_is_cut_off_at_the_journals_end() {
    let (hub, mut stream) = linked().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.set_terms(Terms {
        holders: 1,
        ..Terms::default()
    });
    let _publisher = hub.join(journal.clone()).await.unwrap();
    let (epoch, end) = journal.next();
    let subscribe = |holds: Option<&str>| Message::Subscribe {
        name: "rogue".to_owned(),
        begin: Begin::Oldest,
        reports: false,
        skip: None,
        holds: holds.map(|name| ServerName::new(name).unwrap()),
        from: Vec::new(),
    };
    let held = |server: &str, sequence| Position {
        server: ServerName::new(server).unwrap(),
        epoch,
        sequence,
    };
    let claims = Message::Held(vec![held("nowhere", 5), held("a", u64::MAX)]);
    let mut bytes = bytes_of(&subscribe(None), 1);
    bytes.extend(bytes_of(&claims, 1));
    bytes.extend(bytes_of(&subscribe(Some("rogue")), 2));
    stream.write_all(&bytes).await.unwrap();
    while journal.holders().present == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(journal.holders().to, None, "channel 1 holds nothing");
    stream.write_all(&bytes_of(&claims, 2)).await.unwrap();
    while journal.holders().to.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(journal.holders().to, Some((epoch, end)));
    assert_eq!(hub.journals().len(), 1);
}

#[tokio::test]
async fn strangers_get_no_further_than_the_handshake() {
    let (hub, address) = hub_with(LinkOptions::default()).await;
    let hello = Message::Hello {
        nonce: [0; 32],
        instance: [0; 16],
        name: "stranger".to_owned(),
    };
    let openings = [
        bytes_of(&Message::Alive, 0),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // Announces a body that no handshake has.
        [
            &1_000_000_u32.to_le_bytes()[..],
            &[VERSION, 1, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
        [
            bytes_of(&hello, 0),
            bytes_of(&Message::Proof { mac: [0; 32] }, 0),
        ]
        .concat(),
    ];
    for (count, bytes) in (1..).zip(openings) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let metrics = hub.metrics();
        assert_eq!((metrics.links_refused, metrics.links), (count, 0));
    }
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_cut_off_in_time() {
    let (hub, address) = hub_with(LinkOptions {
        handshake_max: Duration::from_millis(20),
        ..LinkOptions::default()
    })
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    assert_eq!(hub.metrics().links_refused, 1);
}

#[tokio::test]
async fn a_link_that_falls_silent_is_cut_off_and_counted() {
    let (hub, address) = hub_with(LinkOptions {
        idle_max: Duration::from_millis(20),
        ..LinkOptions::default()
    })
    .await;
    let mut stream = link(address).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    hub.stop().await;
    assert_eq!(hub.metrics().links_timed_out, 1);
}

#[tokio::test]
async fn links_over_the_bound_are_refused() {
    let (hub, address) = hub_with(LinkOptions {
        links_max: 2,
        ..LinkOptions::default()
    })
    .await;
    let _first = link(address).await;
    let _second = link(address).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let _ = third.read_to_end(&mut rest).await;
    assert_eq!(hub.metrics().links_refused, 1);
}

#[test]
fn the_documented_frames_are_what_is_sent() {
    let page = include_str!("../../../../docs/formats/bus.md");
    let example = |after: &str| -> Vec<u8> {
        let text = page.split_once(after).unwrap().1;
        let text = text.split_once("```text\n").unwrap().1;
        let text = text.split_once("```").unwrap().0;
        let byte = |hex| u8::from_str_radix(hex, 16).unwrap();
        text.split_whitespace().map(byte).collect()
    };
    assert_eq!(example("`alive`, in full:"), bytes_of(&Message::Alive, 0));
    let batch = Batch {
        server: ServerName::new("content-1").unwrap(),
        epoch: "3-9f8e7d6c5b4a3f2e".parse().unwrap(),
        first: 300,
        records: vec![Bytes::from_static(b"hi"), Bytes::from_static(b"you")],
    };
    assert_eq!(
        example("A batch on channel 2"),
        bytes_of(&Message::Batch(batch), 2)
    );
}

fn server() -> impl Strategy<Value = ServerName> {
    "[a-z0-9][a-z0-9._-]{0,62}".prop_map(|name| ServerName::new(&name).unwrap())
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u32>(), any::<u64>()).prop_map(|(counter, random)| Epoch { counter, random })
}

fn batch() -> impl Strategy<Value = Batch> {
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20);
    (server(), epoch(), 0..u64::MAX - 20, records).prop_map(|(server, epoch, first, records)| {
        Batch {
            server,
            epoch,
            first,
            records: records.into_iter().map(Bytes::from).collect(),
        }
    })
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let extent = (epoch(), any::<u64>(), any::<u64>());
    prop::collection::vec(
        extent.prop_map(|(epoch, first, end)| Extent { epoch, first, end }),
        0..5,
    )
}

fn positions() -> impl Strategy<Value = Vec<Position>> {
    let position =
        (server(), epoch(), any::<u64>()).prop_map(|(server, epoch, sequence)| Position {
            server,
            epoch,
            sequence,
        });
    prop::collection::vec(position, 0..5)
}

fn read() -> impl Strategy<Value = Result<SourceRead, String>> {
    prop_oneof![
        batch().prop_map(|batch| Ok(SourceRead::Batch(batch))),
        any::<u64>().prop_map(|to| Ok(SourceRead::Gap { to })),
        Just(Ok(SourceRead::End)),
        "\\PC{0,60}".prop_map(Err),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn terms() -> impl Strategy<Value = Terms> {
    let mode = prop::sample::select(&ReportMode::ALL[..]);
    (mode, any::<bool>(), any::<u8>()).prop_map(|(mode, peers_at_once, holders)| Terms {
        mode,
        peers_at_once,
        holders,
    })
}

fn answer() -> impl Strategy<Value = Result<Found, Refusal>> {
    let batches = prop::collection::vec(batch(), 0..3);
    let found = (batches, extents(), extents(), prop::option::of(bytes()));
    prop_oneof![
        found.prop_map(|(batches, looked, gaps, next)| Ok(Found {
            batches,
            looked,
            gaps,
            next
        })),
        Just(Err(Refusal::Absent)),
        "\\PC{0,60}".prop_map(|reason| Err(Refusal::Unanswered(reason))),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let begin = prop_oneof![Just(Begin::Oldest), Just(Begin::Now), Just(Begin::Epoch)];
    prop_oneof![
        (any::<[u8; 32]>(), any::<[u8; 16]>(), "[a-z ]{0,63}").prop_map(
            |(nonce, instance, name)| Message::Hello {
                nonce,
                instance,
                name
            }
        ),
        any::<[u8; 32]>().prop_map(|mac| Message::Proof { mac }),
        (
            server(),
            extents(),
            terms(),
            prop::option::of((epoch(), any::<u64>()))
        )
            .prop_map(|(server, extents, terms, reported)| Message::Join {
                server,
                extents,
                terms,
                reported
            }),
        (epoch(), any::<u64>()).prop_map(|(epoch, end)| Message::Report { epoch, end }),
        (epoch(), any::<u64>()).prop_map(|(epoch, end)| Message::ReportTaken { epoch, end }),
        (any::<u32>(), server(), bytes()).prop_map(|(id, server, question)| Message::Ask {
            id,
            server,
            question
        }),
        (any::<u32>(), bytes()).prop_map(|(id, question)| Message::Find { id, question }),
        (any::<u32>(), answer()).prop_map(|(id, result)| Message::Answer { id, result }),
        extents().prop_map(Message::Extents),
        batch().prop_map(Message::Batch),
        (any::<u32>(), epoch(), any::<u64>(), any::<u32>()).prop_map(
            |(id, epoch, from, bytes_max)| Message::Read {
                id,
                epoch,
                from,
                bytes_max
            }
        ),
        (any::<u32>(), read()).prop_map(|(id, result)| Message::ReadDone { id, result }),
        (
            "\\PC{0,60}",
            begin,
            any::<bool>(),
            prop::option::of(server()),
            prop::option::of(server()),
            positions()
        )
            .prop_map(
                |(name, begin, reports, skip, holds, from)| Message::Subscribe {
                    name,
                    begin,
                    reports,
                    skip,
                    holds,
                    from
                }
            ),
        positions().prop_map(|from| Message::Subscribed { from }),
        positions().prop_map(Message::Held),
        (any::<u32>(), prop::option::of((epoch(), any::<u64>()))).prop_map(|(present, to)| {
            let present = present as usize;
            Message::Holders(Holders { present, to })
        }),
        (server(), epoch(), any::<u64>(), any::<u64>()).prop_map(|(server, epoch, from, to)| {
            Message::Gap {
                server,
                epoch,
                from,
                to,
            }
        }),
        (server(), epoch(), terms()).prop_map(|(server, epoch, terms)| Message::Present {
            server,
            epoch,
            terms
        }),
        server().prop_map(|server| Message::Absent { server }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn messages_come_out_as_they_went_in(message in message(), channel: u16) {
        let bytes = bytes_of(&message, channel);
        let frame = parse(&bytes, BODY_MAX).unwrap();
        prop_assert_eq!(frame.channel, channel);
        prop_assert_eq!(Message::parse(&frame).unwrap(), message);
    }

    #[test]
    fn every_damaged_bit_is_noticed(message in message(), bit: prop::sample::Index) {
        let mut bytes = bytes_of(&message, 1);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(parse(&bytes, BODY_MAX).is_err());
    }

    #[test]
    fn a_message_cut_short_is_refused(message in message(), cut: prop::sample::Index) {
        let frame = message.frame(1);
        let cut = cut.index(frame.body.len().max(1));
        if cut < frame.body.len() {
            let short = Frame::new(frame.kind, 1, frame.body.slice(..cut));
            prop_assert!(Message::parse(&short).is_err());
        }
    }

    #[test]
    fn any_bytes_are_survived(kind: u8, body: Vec<u8>) {
        super::fuzz_body(kind, &body);
        super::fuzz_frame(&body);
    }
}
