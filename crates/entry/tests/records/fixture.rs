//! Records as version 0.1 wrote them, byte for byte. The files never change: journals on disks
//! hold such bytes. A newer format gets files of its own beside them.

use bytes::Bytes;
use selvedge_entry::{
    Call, Closing, Data, Direction, Effect, Follow, Link, Opening, Outcome, Record, StateWrite,
    Timestamp,
};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId,
    StackId,
};

const FIXTURES: [(&str, &str); 5] = [
    ("opening", include_str!("fixtures/opening.hex")),
    ("effect", include_str!("fixtures/effect.hex")),
    ("closing", include_str!("fixtures/closing.hex")),
    ("whole", include_str!("fixtures/whole.hex")),
    ("broadcast", include_str!("fixtures/broadcast.hex")),
];

#[test]
fn the_first_format_is_read_and_written_byte_for_byte() {
    for ((name, text), record) in FIXTURES.into_iter().zip(records()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(hex(&bytes), text, "{name}");
        let bytes = Bytes::from(unhex(text));
        assert_eq!(Record::decode(&bytes), Ok(record), "{name}");
    }
}

#[test]
fn state_is_read_and_written_byte_for_byte() {
    let text = include_str!("fixtures/state.hex");
    let mut bytes = Vec::new();
    state().encode(&mut bytes);
    assert_eq!(hex(&bytes), text);
    assert_eq!(Record::decode(&Bytes::from(unhex(text))), Ok(state()));
}

/// The opening, effect and closing of one order, with every field; a short entry; a broadcast.
pub(crate) fn records() -> [Record; 5] {
    let opening = opening();
    let closing = closing();
    let short = Opening {
        direction: Direction::Internal,
        session: None,
        client: None,
        counter: None,
        after: smallvec::SmallVec::new(),
        unseen: Vec::new(),
        call: None,
        generated: None,
        request: Data::default(),
        links: Vec::new(),
        flags: Vec::new(),
        attributes: Vec::new(),
        ..opening.clone()
    };
    let plain = Closing {
        error: None,
        work: 0,
        request_bytes: 0,
        response_bytes: 0,
        request: Data::default(),
        response: Data::default(),
        attributes: Vec::new(),
        ..closing.clone()
    };
    [
        Record::Opening(Box::new(opening)),
        Record::Effect {
            opening: 300,
            effect: Effect {
                after_ns: 1_500_000,
                status: 201,
                outcome: Outcome::Ok,
                attributes: vec![("order".into(), "17".into())],
                state: Vec::new(),
            },
        },
        Record::Closing {
            opening: 300,
            closing: Box::new(closing),
        },
        Record::Whole(Box::new(short), Box::new(plain)),
        Record::Broadcast {
            opening: 300,
            broadcast: Bytes::from_static(b"goal"),
        },
    ]
}

/// An effect with what version 0.2 can say: three writes of state.
pub(crate) fn state() -> Record {
    let write = |name: &str, value: Option<&'static [u8]>| StateWrite {
        session: SessionId::from_random([0x11; 16]),
        counter: 9,
        name: name.into(),
        value: value.map(Bytes::from_static),
        replaces: Vec::new(),
        hidden: false,
    };
    let replaced = position("content-1", 302);
    Record::Effect {
        opening: 300,
        effect: Effect {
            after_ns: 1_500_000,
            status: 201,
            outcome: Outcome::Ok,
            attributes: Vec::new(),
            state: vec![
                StateWrite {
                    replaces: vec![replaced],
                    ..write("cart", Some(br#"{"kettle":2}"#))
                },
                StateWrite {
                    hidden: true,
                    ..write("address", Some(b"\"here\""))
                },
                write("hint", None),
            ],
        },
    }
}

fn position(server: &str, sequence: u64) -> Position {
    Position {
        server: ServerName::new(server).unwrap(),
        epoch: Epoch {
            counter: 3,
            random: 0x9f8e_7d6c_5b4a_3f2e,
        },
        sequence,
    }
}

fn opening() -> Opening {
    let stack = [[1, 2, 3, 4], [5, 6, 7, 8]].map(|id| StackId::new(&id).unwrap());
    Opening {
        direction: Direction::Inbound,
        session: Some(SessionId::from_random([0x11; 16])),
        client: Some(ClientId::from_random([0x22; 16])),
        counter: Some(9),
        after: smallvec::smallvec![Follow {
            position: position("content-1", 300),
            effect: 302,
        }],
        unseen: vec![position("content-3", 4)],
        call: Some(Call {
            identifier: RequestIdentifier::from_parts(
                Origin::from_random([0x33; 16]),
                1,
                6,
                &stack,
            )
            .unwrap(),
            interaction: Some(Interaction::from_random([5, 6, 7, 8, 9, 10, 11, 12])),
            peer: Some("gateway".into()),
            peer_host: Some("10.0.0.1".into()),
        }),
        service: "shop".into(),
        version: "0.1.0".into(),
        host: "content-2".into(),
        action: "POST /orders".into(),
        generated: Some(Timestamp(1_000)),
        at: Timestamp(1_795_201_534_123_456_789),
        request: Data {
            fields: vec![
                ("method".into(), "POST".into()),
                ("path".into(), "/orders?x=1".into()),
                ("accept".into(), "a/b".into()),
                ("accept".into(), "c/d".into()),
            ],
            body: None,
            truncated: false,
        },
        links: vec![Link {
            origin: Origin::from_random([0x44; 16]),
            interaction: Interaction::from_random([0x55; 8]),
        }],
        flags: vec!["forged_token".into()],
        attributes: vec![("tier".into(), "gold".into())],
    }
}

fn closing() -> Closing {
    Closing {
        duration_ns: 2_000_000,
        status: 201,
        outcome: Outcome::Ok,
        error: Some("receiver left".into()),
        work: 1_800,
        request_bytes: 16,
        response_bytes: 4096,
        request: Data {
            fields: Vec::new(),
            body: Some(Bytes::from_static(br#"{"item":"a"}"#)),
            truncated: false,
        },
        response: Data {
            fields: vec![("body".into(), "a field's name".into())],
            body: Some(Bytes::from_static(&[0xff, 0xfe])),
            truncated: true,
        },
        attributes: vec![("tier".into(), "silver".into())],
        state: Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            text.push_str(&format!("{byte:02x}"));
        }
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    };
    digits.chunks(2).map(byte).collect()
}
