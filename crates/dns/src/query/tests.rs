//! What is a query, what is answered with an error, and what is not answered.

use proptest::prelude::*;

use super::*;
use crate::build::{OptionOf, QueryBuilder};

fn told(message: &[u8]) -> u16 {
    match read(message) {
        Err(Malformed::Told { rcode, .. }) => rcode,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_is_read_as_it_was_written() {
    let message = QueryBuilder::new("wWw.Example.", kind::AAAA)
        .id(7)
        .edns(1232)
        .dnssec_ok()
        .option(OptionOf::Nsid)
        .option(OptionOf::Cookie(&[1; 24]))
        .build();
    let query = read(&message).expect("well formed");
    assert_eq!((query.id, query.kind, query.class), (7, kind::AAAA, 1));
    assert_eq!(query.name(), b"\x03wWw\x07Example\x00");
    let edns = query.edns.expect("EDNS");
    assert_eq!((edns.size, edns.version), (1232, 0));
    assert!(edns.nsid && edns.dnssec_ok);
    let cookie = edns.cookie.expect("a cookie");
    assert_eq!((cookie.client, cookie.server), ([1; 8], &[1; 16][..]));
}

#[test]
fn answers_and_scraps_are_never_answered() {
    let mut answer = QueryBuilder::new("a.", kind::A).build();
    answer[2] |= 0x80;
    assert_eq!(read(&answer), Err(Malformed::Silent));
    assert_eq!(read(&answer[..11]), Err(Malformed::Silent));
    assert_eq!(read(b""), Err(Malformed::Silent));
}

#[test]
fn what_is_malformed_is_told_so() {
    let good = QueryBuilder::new("a.b.", kind::A).edns(1232).build();
    for cut in HEADER..good.len() {
        assert_eq!(told(&good[..cut]), rcode::FORMAT_ERROR, "cut at {cut}");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(told(&longer), rcode::FORMAT_ERROR);
    // The counts of the four sections.
    for (at, count) in [(5, 0), (5, 2), (7, 1), (9, 1), (11, 2), (4, 1), (10, 1)] {
        let mut other = good.clone();
        other[at] = count;
        assert_eq!(told(&other), rcode::FORMAT_ERROR, "byte {at} = {count}");
    }
    let mut looped = good.clone();
    looped[12] = 0xc0;
    looped[13] = 0x0c;
    assert_eq!(told(&looped), rcode::FORMAT_ERROR);
    assert_eq!(
        told(&QueryBuilder::new("a.", kind::OPT).build()),
        rcode::FORMAT_ERROR
    );
    for length in [0, 7, 9, 15, 41] {
        let cookie = vec![1; length];
        let query = QueryBuilder::new("a.", kind::A)
            .edns(512)
            .option(OptionOf::Cookie(&cookie));
        assert_eq!(
            told(&query.build()),
            rcode::FORMAT_ERROR,
            "a cookie of {length}"
        );
    }
    let mut update = good;
    update[2] |= 5 << 3;
    assert_eq!(told(&update), rcode::NOT_IMPLEMENTED);
}

#[test]
fn a_query_without_a_question_is_one_for_a_cookie_or_none() {
    let cookie = QueryBuilder::bare()
        .edns(512)
        .option(OptionOf::Cookie(&[9; 8]))
        .build();
    let query = read(&cookie).expect("a query for a cookie");
    assert!(query.question.is_empty() && query.name().is_empty());
    assert_eq!(
        told(&QueryBuilder::bare().edns(512).build()),
        rcode::FORMAT_ERROR
    );
    assert_eq!(told(&QueryBuilder::bare().build()), rcode::FORMAT_ERROR);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(query) = read(&bytes) {
            prop_assert!(query.question.is_empty() || name::length(query.name()) == Some(query.name().len()));
        }
    }

    #[test]
    fn a_changed_byte_of_a_query_is_read_or_refused(at in 0_usize..80, byte: u8) {
        let mut message = QueryBuilder::new("www.example.", kind::A)
            .edns(1232)
            .option(OptionOf::Cookie(&[1; 24]))
            .build();
        let at = at % message.len();
        message[at] = byte;
        let _ = read(&message);
    }
}
