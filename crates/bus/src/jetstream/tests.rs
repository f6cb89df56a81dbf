//! What is said over NATS, against its description.

use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};

use super::message::{Seal, State, Told, What};
use crate::{Batch, Extent, ReportMode, Terms};

const SUBJECT: &str = "selvedge.journal.content-1";

fn epoch() -> Epoch {
    Epoch {
        counter: 3,
        random: 0x9f8e_7d6c_5b4a_3f2e,
    }
}

fn told() -> Told {
    Told {
        instance: [9; 16],
        before: Some((epoch(), 300)),
        what: What::Batch(Batch {
            server: ServerName::new("content-1").unwrap(),
            epoch: epoch(),
            first: 300,
            records: vec![Bytes::from_static(b"hi"), Bytes::from_static(b"you")],
        }),
    }
}

#[test]
fn a_batch_is_written_as_the_description_says() {
    let payload = Seal::new([7; 32]).told(SUBJECT, &told());
    let shown = "\
        01 01 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 \
        01 03 00 00 00 2e 3f 4a 5b 6c 7d 8e 9f 2c 01 00 00 00 00 00 00 \
        09 63 6f 6e 74 65 6e 74 2d 31 03 00 00 00 2e 3f 4a 5b 6c 7d 8e 9f \
        2c 01 00 00 00 00 00 00 02 00 00 00 02 00 00 00 03 00 00 00 68 69 79 6f 75";
    let hex = |bytes: &[u8]| {
        let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        bytes.join(" ")
    };
    assert_eq!(hex(&payload[..payload.len() - 32]), shown);
}

#[test]
fn what_is_said_is_read_again() {
    let seal = Seal::new([7; 32]);
    let elsewhere = What::Elsewhere {
        epoch: epoch(),
        first: 7,
        end: 9,
    };
    for what in [told().what, elsewhere, What::Claim] {
        for before in [None, Some((epoch(), 7))] {
            let said = Told {
                what: what.clone(),
                before,
                ..told()
            };
            let payload = seal.told(SUBJECT, &said);
            assert_eq!(seal.open_told(SUBJECT, &payload).unwrap(), said);
        }
    }
    let server = ServerName::new("content-1").unwrap();
    let state = State {
        instance: [1; 16],
        name: "content-1".to_owned(),
        present: true,
        extents: vec![Extent {
            epoch: epoch(),
            first: 5,
            end: 7,
        }],
        terms: Terms {
            mode: ReportMode::Period,
            peers_at_once: false,
            holders: 2,
        },
        reported: Some((epoch(), 6)),
    };
    let payload = seal.state("o", &server, &state);
    assert_eq!(seal.open_state("o", &payload).unwrap(), (server, state));
}

#[test]
fn a_message_of_another_key_subject_or_content_is_refused() {
    let seal = Seal::new([7; 32]);
    let payload = seal.told(SUBJECT, &told());
    assert!(Seal::new([8; 32]).open_told(SUBJECT, &payload).is_err());
    assert!(
        seal.open_told("selvedge.journal.content-2", &payload)
            .is_err()
    );
    for at in 0..payload.len() {
        let mut changed = payload.to_vec();
        changed[at] ^= 1;
        assert!(
            seal.open_told(SUBJECT, &changed.into()).is_err(),
            "byte {at}"
        );
    }
    for length in 0..payload.len() {
        assert!(seal.open_told(SUBJECT, &payload.slice(..length)).is_err());
    }
}
