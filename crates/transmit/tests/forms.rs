//! The forms of a broadcast: what is written reads back, everything else is refused, and what was
//! lost, doubled, shuffled or tampered with on its way comes out right or not at all (A10).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_identity::{Epoch, Head, KeyRing, Position, ServerName, SessionId};
use selvedge_transmit::event::{Event, EventReader, Prepared, Told};
use selvedge_transmit::{
    ADDRESSED_MAX, Assembler, AssemblerOptions, Broadcast, BroadcastError, CONTENT_MAX,
    CONTENT_TYPE_MAX, Datagram, DatagramError, Message, cut,
};

const NOW: Duration = Duration::from_secs(100);

fn keys() -> KeyRing {
    KeyRing::single([7; 32])
}

fn session(number: u16) -> SessionId {
    let mut bytes = [9; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SessionId::from_random(bytes)
}

fn position(sequence: u64) -> Position {
    Position {
        server: ServerName::new("content-1").unwrap(),
        epoch: Epoch {
            counter: 3,
            random: 0x9f8e_7d6c_5b4a_3f2e,
        },
        sequence,
    }
}

fn head(sequence: u64) -> Head {
    Head {
        position: position(sequence),
        effect: sequence,
        counter: sequence + 1,
    }
}

fn heads(count: u16) -> Vec<(SessionId, Head)> {
    (0..count).map(|n| (session(n), head(n.into()))).collect()
}

fn message(number: u64, content: &[u8], addressed: u16) -> Message {
    let content = Bytes::copy_from_slice(content);
    let broadcast = Broadcast::new(
        [number as u8; 16],
        "text/plain; charset=utf-8",
        content,
        &heads(addressed),
        &keys(),
    );
    Message {
        position: position(number),
        broadcast: broadcast.unwrap(),
    }
}

fn encoded(broadcast: &Broadcast) -> Bytes {
    let mut out = Vec::new();
    broadcast.encode(&mut out);
    out.into()
}

/// Numbers that a seed gives (xorshift).
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    }
}

#[test]
fn every_addressed_session_finds_its_own_head_and_nobody_elses() {
    let broadcast = message(1, b"goal", 100).broadcast;
    assert_eq!(broadcast.addressed(), 100);
    for number in 0..100 {
        let sealed = broadcast.head_for(session(number)).unwrap();
        assert_eq!(
            sealed.open(session(number), &keys()),
            Ok(head(number.into()))
        );
        assert!(sealed.open(session(number + 1), &keys()).is_err());
    }
    assert_eq!(broadcast.head_for(session(100)), None);
}

#[test]
fn two_broadcasts_to_the_same_sessions_share_no_address() {
    let [one, two] = [1, 2].map(|n| encoded(&message(n, b"", 50).broadcast));
    let addresses = |bytes: &Bytes| -> BTreeSet<Vec<u8>> {
        let entry = 8 + 1 + 49;
        let list = &bytes[bytes.len() - 50 * entry..];
        list.chunks(entry).map(|one| one[..8].to_vec()).collect()
    };
    assert_eq!(addresses(&one).len(), 50);
    assert!(addresses(&one).is_disjoint(&addresses(&two)));
}

#[test]
fn what_is_too_much_is_refused_with_the_most_there_may_be() {
    let new = |content_type: &str, content: usize, addressed| {
        let content = vec![0; content].into();
        Broadcast::new([0; 16], content_type, content, &heads(addressed), &keys())
    };
    let most = ADDRESSED_MAX as u16;
    let longest = new(&"t".repeat(CONTENT_TYPE_MAX), CONTENT_MAX, most).unwrap();
    assert!(encoded(&longest).len() <= Broadcast::BYTES_MAX);
    assert_eq!(Broadcast::decode(&encoded(&longest)), Some(longest));
    let refused = |result: Result<Broadcast, BroadcastError>| result.unwrap_err();
    let content = refused(new("a/b", CONTENT_MAX + 1, 0));
    assert_eq!(content, BroadcastError::Content(CONTENT_MAX + 1));
    let addressed = refused(new("a/b", 0, most + 1));
    assert_eq!(addressed, BroadcastError::Addressed(ADDRESSED_MAX + 1));
    for kind in ["", "a\nb", " a", "ä", &"t".repeat(CONTENT_TYPE_MAX + 1)] {
        assert_eq!(refused(new(kind, 0, 0)), BroadcastError::ContentType);
    }
}

#[test]
fn a_message_that_takes_too_long_is_given_up_and_comes_with_its_repeats() {
    let sent = message(1, &[5; 3000], 3);
    let datagrams = cut(1, 0, &sent.encode(), 1200);
    let mut assembler = Assembler::new(AssemblerOptions::default());
    assert_eq!(assembler.take(&datagrams[0], NOW), None);
    let later = NOW + Duration::from_secs(11);
    for datagram in &datagrams[1..] {
        assert_eq!(assembler.take(datagram, later), None);
    }
    assert_eq!(assembler.heard().given_up, 1);
    assert_eq!(assembler.take(&datagrams[0], later), Some(sent));
}

#[test]
fn messages_that_crowd_each_other_keep_to_the_bound() {
    let options = AssemblerOptions {
        bytes_max: 50_000,
        ..AssemblerOptions::default()
    };
    let mut assembler = Assembler::new(options);
    let sent: Vec<_> = (0..100)
        .map(|n| message(n, &[n as u8; 10_000], 0))
        .collect();
    let cuts: Vec<_> = sent
        .iter()
        .map(|message| cut(1, message.position.sequence, &message.encode(), 1200))
        .collect();
    for datagrams in &cuts {
        assert_eq!(assembler.take(&datagrams[0], NOW), None);
    }
    // The four that began last are still there; of the others all has to come again.
    assert_eq!(assembler.heard().given_up, 96);
    for (sent, datagrams) in sent.iter().zip(&cuts).skip(96) {
        let whole = datagrams[1..]
            .iter()
            .filter_map(|one| assembler.take(one, NOW));
        assert_eq!(whole.collect::<Vec<_>>(), std::slice::from_ref(sent));
    }
    let long = cut(1, 200, &message(200, &[0; 60_000], 0).encode(), 1200);
    assert_eq!(assembler.take(&long[0], NOW), None);
    assert_eq!(assembler.heard().refused, 1);
}

#[test]
fn a_part_that_somebody_put_in_the_place_of_another_spoils_one_try_and_not_the_next() {
    let sent = message(1, &[5; 3000], 3);
    let datagrams = cut(1, 0, &sent.encode(), 1200);
    let genuine = Datagram::decode(&datagrams[1]).unwrap();
    let other = vec![6; genuine.bytes.len()];
    let forged = Datagram {
        bytes: &other,
        ..genuine
    };
    let mut assembler = Assembler::new(AssemblerOptions::default());
    let came = |assembler: &mut Assembler, datagrams: &[Vec<u8>]| {
        let whole = datagrams.iter().filter_map(|one| assembler.take(one, NOW));
        whole.collect::<Vec<_>>()
    };
    assert!(came(&mut assembler, &[forged.encode()]).is_empty());
    assert!(came(&mut assembler, &datagrams).is_empty());
    assert_eq!(assembler.heard().given_up, 1);
    assert_eq!(came(&mut assembler, &datagrams), [sent]);
}

#[test]
fn what_a_sender_numbered_and_never_came_is_counted_as_missed() {
    let mut assembler = Assembler::new(AssemblerOptions::default());
    for number in [4, 5, 9, 7] {
        let datagrams = cut(1, number, &message(number, b"x", 0).encode(), 1200);
        assert!(assembler.take(&datagrams[0], NOW).is_some());
    }
    assert_eq!(assembler.heard().missed, 2);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let datagrams = cut(1, 0, &message(1, &[5; 3000], 0).encode(), 1200);
    let genuine = Datagram::decode(&datagrams[1]).unwrap();
    let with = |change: &dyn Fn(&mut Datagram<'_>)| {
        let mut changed = genuine;
        change(&mut changed);
        Datagram::decode(&changed.encode()).map(drop)
    };
    let sizes = Err(DatagramError::Sizes);
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|d| d.index = 99), sizes);
    assert_eq!(with(&|d| d.bytes = &d.bytes[1..]), sizes);
    assert_eq!(with(&|d| d.whole.part = 255), sizes);
    assert_eq!(with(&|d| d.whole.length = 0), sizes);
    let long = Message::BYTES_MAX as u32 + 1;
    assert_eq!(with(&|d| d.whole.length = long), sizes);
}

#[test]
fn an_event_holds_the_head_of_its_session_only() {
    let sent = message(7, "Tor für \"A\"\nund B".as_bytes(), 3);
    let told = Told::of(&sent, Some(session(1)));
    let sealed = sent.broadcast.head_for(session(1)).unwrap();
    assert_eq!(told.head, Some(sealed.text()));
    assert_eq!(told.bytes().as_ref(), Some(sent.broadcast.content()));
    for stranger in [None, Some(session(9))] {
        assert_eq!(Told::of(&sent, stranger).head, None);
    }
    let bare = Told::of(&message(7, &[0xff, 0], 0), None);
    assert_eq!(bare.content_base64.as_deref(), Some("/wA="));
    assert_eq!(bare.bytes().as_deref(), Some(&[0xff, 0][..]));
}

#[test]
fn events_are_read_as_the_standard_says() {
    let read = |text: &str| {
        let mut events = Vec::new();
        let mut reader = EventReader::default();
        let pushed = reader.push(text.as_bytes(), |event| events.push(event));
        pushed.map(|()| events).unwrap()
    };
    let event = |id: &str, event: &str, data: &str| Event {
        id: id.to_owned(),
        event: event.to_owned(),
        data: data.to_owned(),
    };
    assert_eq!(
        read(
            "\u{feff}:hello\n\nid: 1\r\nevent:gap\r\ndata: a\r\ndata:  b\r\n\r\ndata\n\nnot: us\rdata:c\r\r"
        ),
        [
            event("1", "gap", "a\n b"),
            event("1", "message", ""),
            event("1", "message", "c")
        ]
    );
    // Without data, or without its end, it is none.
    assert_eq!(read("event: x\n\ndata: y\n"), []);
    let mut reader = EventReader::default();
    let endless = vec![b'x'; 4 << 20];
    assert!(reader.push(&endless, |_| {}).is_err());
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        content in prop::collection::vec(any::<u8>(), 0..3000),
        addressed in 0..20_u16,
        sequence: u64,
    ) {
        let mut sent = message(1, &content, addressed);
        sent.position.sequence = sequence;
        let bytes = sent.encode();
        prop_assert_eq!(Message::decode(&bytes), Some(sent));
        for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            prop_assert_eq!(Message::decode(&bytes.slice(..end)), None);
        }
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        prop_assert_eq!(Message::decode(&longer), None);
    }

    #[test]
    fn any_bytes_read_as_the_one_form_of_something_or_not_at_all(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        value: u8,
    ) {
        prop_assert!(Datagram::decode(&bytes).is_err());
        let mut near = message(1, b"hello", 2).encode().to_vec();
        let at = at.index(near.len());
        near[at] = value;
        for bytes in [std::mem::take(&mut bytes), near] {
            let bytes = Bytes::from(bytes);
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }

    #[test]
    fn one_damaged_byte_anywhere_of_a_datagram_is_noticed(
        content in prop::collection::vec(any::<u8>(), 0..300),
        damage in 1..=255_u8,
    ) {
        let mut datagram = cut(1, 2, &message(1, &content, 1).encode(), 1200).remove(0);
        for at in 0..datagram.len() {
            datagram[at] ^= damage;
            prop_assert!(Datagram::decode(&datagram).is_err(), "byte {at}");
            datagram[at] ^= damage;
        }
    }

    /// Against a model: a message comes exactly once if each of its parts came at least once
    /// before anything was given up, however they were lost, doubled and shuffled.
    #[test]
    fn lost_doubled_and_shuffled_parts_make_each_message_once_or_not_at_all(
        seed: u64,
        lengths in prop::collection::vec(0..9000_usize, 1..8),
        copies in 1..5_usize,
        loss_percent in 0..60_usize,
        size in 304..2000_usize,
    ) {
        let mut draw = numbers(seed);
        let messages: Vec<Message> = (0..).zip(&lengths)
            .map(|(n, length)| message(n, &vec![n as u8; *length], 3))
            .collect();
        let mut on_the_way = Vec::new();
        let mut arrives: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); messages.len()];
        let mut parts = Vec::new();
        for (n, message) in messages.iter().enumerate() {
            let datagrams = cut(7, n as u64, &message.encode(), size);
            parts.push(datagrams.len());
            for _ in 0..copies {
                for (index, datagram) in datagrams.iter().enumerate() {
                    if draw(100) >= loss_percent {
                        arrives[n].insert(index);
                        on_the_way.push(datagram.clone());
                    }
                }
            }
        }
        for at in (1..on_the_way.len()).rev() {
            on_the_way.swap(at, draw(at + 1));
        }
        let mut assembler = Assembler::new(AssemblerOptions::default());
        let mut came: Vec<Message> = on_the_way.iter()
            .filter_map(|datagram| assembler.take(datagram, NOW))
            .collect();
        came.sort_by_key(|message| message.position.sequence);
        let expected: Vec<Message> = messages.into_iter().enumerate()
            .filter(|(n, _)| arrives[*n].len() == parts[*n])
            .map(|(_, message)| message)
            .collect();
        let heard = assembler.heard();
        prop_assert_eq!(heard.messages, expected.len() as u64);
        prop_assert_eq!((heard.refused, heard.given_up), (0, 0));
        prop_assert_eq!(came, expected);
    }

    #[test]
    fn events_read_the_same_in_pieces_of_any_size(
        contents in prop::collection::vec(any::<String>(), 0..4),
        sizes in prop::collection::vec(1..40_usize, 1..200),
    ) {
        let messages: Vec<Message> = (0..).zip(&contents)
            .map(|(n, content)| message(n, content.as_bytes(), n as u16 % 2))
            .collect();
        let told: Vec<Told> = messages.iter()
            .map(|message| Told::of(message, Some(session(0))))
            .collect();
        let text: String = messages.into_iter().map(|message| Prepared::new(message).event("ring-1", Some(session(0)))).collect();
        let mut reader = EventReader::default();
        let mut read = Vec::new();
        let mut rest = text.as_bytes();
        for size in sizes.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            reader.push(piece, |event| read.push(event)).unwrap();
            rest = after;
        }
        let back: Vec<Told> = read.iter()
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect();
        prop_assert_eq!(back, told);
        prop_assert!(read.iter().all(|event| event.id == "ring-1" && event.event == "broadcast"));
    }
}
