//! Records survive their binary form, and no bytes make reading panic.

use std::sync::Arc;

use crate::any;
use bytes::Bytes;
use proptest::prelude::*;
use selvedge_entry::{Closing, Data, Glance, Opening, Outcome, Record, RecordError};

fn encode(record: &Record) -> Bytes {
    let mut out = Vec::new();
    record.encode(&mut out);
    Bytes::from(out)
}

fn closing(data: Data) -> Record {
    Record::Closing {
        opening: 3,
        closing: Box::new(Closing {
            duration_ns: 1,
            status: 200,
            outcome: Outcome::Ok,
            request: data,
            ..Closing::default()
        }),
    }
}

fn request_of(record: Record) -> Data {
    match record {
        Record::Closing { closing, .. } => closing.request,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_glance_sees_what_the_record_says(record in any::record()) {
        let bytes = encode(&record);
        let seen = Record::glance(&bytes).expect("it can be read");
        let begins = |opening: &Opening, state| {
            let Glance::Begins(begins) = seen else { panic!("{seen:?}") };
            assert_eq!(begins.direction, opening.direction);
            let texts = [begins.service, begins.version, begins.host, begins.action];
            let said = [&opening.service, &opening.version, &opening.host, &opening.action];
            assert_eq!(texts, said.map(|text| &**text));
            assert_eq!(begins.acts, opening.session.is_some() && opening.counter.is_some());
            assert_eq!(begins.state, state);
        };
        let continues = |opening, state| assert_eq!(seen, Glance::Continues { opening, state });
        match &record {
            Record::Opening(opening) => begins(opening, false),
            Record::Whole(opening, closing) => begins(opening, !closing.state.is_empty()),
            Record::Effect { opening, effect } => continues(*opening, !effect.state.is_empty()),
            Record::Closing { opening, closing } => continues(*opening, !closing.state.is_empty()),
            Record::Broadcast { .. } => assert_eq!(seen, Glance::Broadcast),
        }
    }

    #[test]
    fn a_record_survives_its_binary_form(record in any::record()) {
        let bytes = encode(&record);
        prop_assert!((1..=5).contains(&bytes[0]));
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn encode_appends(record in any::record()) {
        let mut out = vec![9, 9];
        record.encode(&mut out);
        prop_assert_eq!(&out[..2], &[9, 9]);
        prop_assert_eq!(&out[2..], &encode(&record)[..]);
    }

    #[test]
    fn a_damaged_record_never_panics_and_what_it_reads_as_survives(
        record in any::record(),
        at in any::<prop::sample::Index>(),
        damage in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encode(&record).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = damage;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(read) = Record::decode(&Bytes::from(bytes)) {
            let again = Record::decode(&encode(&read));
            prop_assert_eq!(again, Ok(read));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..7_u8) {
        let mut all = vec![kind];
        all.extend(bytes);
        if let Ok(read) = Record::decode(&Bytes::from(all)) {
            let again = Record::decode(&encode(&read));
            prop_assert_eq!(again, Ok(read));
        }
    }

    #[test]
    fn unknown_fields_are_skipped(record in any::record(), field in 0..4_usize) {
        let unknown: [&[u8]; 4] = [
            &[0x80, 0x7d, 0x2a],                 // number 2000, varint
            &[0x81, 0x7d, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x82, 0x7d, 3, 1, 2, 3],
            &[0x85, 0x7d, 1, 2, 3, 4],
        ];
        let mut bytes = encode(&record).to_vec();
        bytes.extend_from_slice(unknown[field]);
        prop_assert_eq!(Record::decode(&Bytes::from(bytes)), Ok(record));
    }
}

#[test]
fn kind_0_and_kinds_to_come_are_unknown() {
    for kind in [0, 6, 255] {
        let bytes = Bytes::from(vec![kind, 1, 2]);
        assert_eq!(Record::decode(&bytes), Err(RecordError::UnknownKind(kind)));
    }
    assert_eq!(Record::decode(&Bytes::new()), Err(RecordError::Truncated));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        Record::decode(&Bytes::from_static(&[1])),
        Err(RecordError::Bad("direction"))
    );
    assert_eq!(
        Record::decode(&Bytes::from_static(&[3, 0x20, 1])),
        Err(RecordError::Bad("opening"))
    );
    assert_eq!(
        Record::decode(&Bytes::from_static(&[4])),
        Err(RecordError::Bad("opening"))
    );
    assert_eq!(
        Record::decode(&Bytes::from_static(&[5, 0x08, 1])),
        Err(RecordError::Bad("broadcast"))
    );
}

#[test]
fn what_is_over_the_limits_is_cut_so_that_it_can_be_read() {
    let long: Arc<str> = "\u{e9}".repeat(40_000).into();
    let record = closing(Data {
        fields: vec![(long.clone(), long); 5000],
        body: Some(Bytes::from(vec![7; (16 << 20) + 1])),
        truncated: false,
    });
    let read = request_of(Record::decode(&encode(&record)).unwrap());
    assert_eq!(read.fields.len(), 4096);
    assert_eq!(read.fields[0].0.len(), 1024);
    assert_eq!(read.fields[0].1.len(), 65_536);
    assert_eq!(read.body.unwrap().len(), 16 << 20);
    assert!(read.truncated);
}

#[test]
fn one_element_over_a_list_s_limit_is_refused() {
    let data = Data {
        fields: vec![("".into(), "".into()); 4096],
        ..Data::default()
    };
    // Kind, opening, outcome, request: 4097 fields of 4 bytes (two empty texts) in 6 bytes each.
    let mut bytes = vec![3, 0x08, 3, 0x20, 1, 0x4a];
    let field = [0x0a, 4, 0x0a, 0, 0x12, 0];
    let length = 4097 * field.len();
    bytes.extend([
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
    ]);
    for _ in 0..4097 {
        bytes.extend(field);
    }
    assert_eq!(
        Record::decode(&Bytes::from(bytes)),
        Err(RecordError::Bad("field"))
    );
    let read = Record::decode(&encode(&closing(data.clone()))).unwrap();
    assert_eq!(request_of(read), data);
}

#[test]
fn a_long_body_shares_the_record_s_memory_and_a_short_one_does_not() {
    for (length, shared) in [(4095, false), (4096, true)] {
        let bytes = encode(&closing(Data {
            body: Some(Bytes::from(vec![1; length])),
            ..Data::default()
        }));
        let body = request_of(Record::decode(&bytes).unwrap()).body.unwrap();
        assert_eq!(bytes.as_ptr_range().contains(&body.as_ptr()), shared);
    }
}
