//! Identifiers that do not ride in their request: as a message of their own, and by reference.

use proptest::prelude::*;
use selvedge_identity::carrier::reference::{Reference, ReferenceStore, Store};
use selvedge_identity::carrier::separate::{self, Separate, SeparateError};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, STACK_MAX, Shape};

fn identifier(n: u8) -> RequestIdentifier {
    let own = Interaction::from_random([n; 8]);
    RequestIdentifier::root(Origin::new(9, [3; 10]), own, Shape::default())
}

fn reference(n: u8) -> Reference {
    Reference::from_random([n; 16])
}

#[test]
fn a_message_names_its_request_and_carries_the_identifier() {
    let message = Separate::new(b"orders/3/512", identifier(1)).unwrap();
    let text = message.encode();
    for end in ["", "\n", "\r\n"] {
        let sent = format!("{text}{end}");
        assert_eq!(Separate::parse(sent.as_bytes()), Ok(message.clone()));
    }
    assert_eq!(message.about(), b"orders/3/512");
    assert_eq!(message.identifier(), &identifier(1));
    assert_eq!(Separate::new(b"", identifier(1)), None);
    assert_eq!(
        Separate::new(&[0; separate::ABOUT_MAX + 1], identifier(1)),
        None
    );
}

#[test]
fn the_longest_message_is_read_and_a_longer_refused() {
    let shape = Shape {
        k: 16,
        width: 8,
        depth_increment: u32::MAX,
    };
    let mut id = RequestIdentifier::root(
        Origin::new(9, [3; 10]),
        Interaction::from_random([1; 8]),
        shape,
    );
    for n in 0..STACK_MAX as u8 {
        id = id.advance(Interaction::from_random([n + 2; 8]), shape);
    }
    let message = Separate::new(&[0xff; separate::ABOUT_MAX], id).unwrap();
    let text = message.encode();
    assert!(text.len() <= separate::TEXT_MAX);
    assert_eq!(Separate::parse(text.as_bytes()), Ok(message));
    let long = "x".repeat(separate::TEXT_MAX + 1);
    assert_eq!(
        Separate::parse(long.as_bytes()),
        Err(SeparateError::Oversized)
    );
}

#[test]
fn what_is_no_message_is_refused() {
    let text = Separate::new(b"a", identifier(1)).unwrap().encode();
    let headless = text.strip_prefix("selvedge-request-of:").unwrap();
    for no_message in [
        "",
        "selvedge-request-of:1.",
        "selvedge-request-of:1..AAAA",
        headless,
        &text.replace(":1.", ":2."),
    ] {
        assert_eq!(
            Separate::parse(no_message.as_bytes()),
            Err(SeparateError::Malformed),
            "{no_message}"
        );
    }
    let other = text.replacen(":1.YQ.", ":1.Yg.", 1);
    assert_eq!(
        Separate::parse(other.as_bytes()),
        Err(SeparateError::Damaged)
    );
}

#[test]
fn an_identifier_is_taken_once_and_read_often() {
    let mut store = ReferenceStore::new(10, 1000);
    let token: Reference = reference(1).to_string().parse().unwrap();
    assert_eq!(store.insert(token, identifier(1), 0), None);
    assert_eq!(store.get(&token, 1), Some(&identifier(1)));
    assert_eq!(store.take(&token, 2), Some(identifier(1)));
    assert_eq!(store.take(&token, 3), None);
    assert!(store.is_empty());
}

#[test]
fn an_identifier_expires_even_if_the_clock_goes_back() {
    let mut store = ReferenceStore::new(10, 1000);
    store.insert(reference(1), identifier(1), 5000);
    store.insert(reference(2), identifier(2), 10);
    assert_eq!(store.get(&reference(2), 5999), Some(&identifier(2)));
    assert_eq!(store.get(&reference(2), 6000), None);
    assert_eq!((store.len(), store.dropped()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Take(u8),
    Get(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u8).prop_map(Step::Insert),
        1 => (0..12_u8).prop_map(Step::Take),
        1 => (0..12_u8).prop_map(Step::Get),
        1 => (0..60_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Against a plain list, oldest first.
    #[test]
    fn a_store_is_a_bounded_list_of_what_has_not_expired(
        steps in prop::collection::vec(step(), 0..80), capacity in 1..6_usize,
    ) {
        let mut store: Store<Vec<u8>> = Store::new(capacity, 100);
        let mut model: Vec<(u8, u64, u8)> = Vec::new();
        let (mut now, mut dropped) = (0, 0);
        for (n, step) in steps.into_iter().enumerate() {
            let n = n as u8;
            model.retain(|(_, expires, _)| *expires > now);
            let at = |model: &[(u8, u64, u8)], key| model.iter().position(|(k, ..)| *k == key);
            match step {
                Step::Wait(ms) => now += ms,
                Step::Insert(key) => {
                    let old = at(&model, key).map(|i| identifier(model.remove(i).2));
                    if model.len() == capacity {
                        model.remove(0);
                        dropped += 1;
                    }
                    model.push((key, now + 100, n));
                    prop_assert_eq!(store.insert(vec![key], identifier(n), now), old);
                }
                Step::Take(key) => {
                    let old = at(&model, key).map(|i| identifier(model.remove(i).2));
                    prop_assert_eq!(store.take(&vec![key], now), old);
                }
                Step::Get(key) => {
                    let kept = at(&model, key).map(|i| identifier(model[i].2));
                    prop_assert_eq!(store.get(&vec![key], now).cloned(), kept);
                }
            }
            prop_assert!(store.len() <= capacity);
            prop_assert_eq!(store.dropped(), dropped);
        }
    }

    #[test]
    fn messages_survive_and_any_one_damaged_byte_is_found(
        about in prop::collection::vec(any::<u8>(), 1..40), n: u8, damage in 1..=255_u8,
    ) {
        let message = Separate::new(&about, identifier(n)).unwrap();
        let mut text = message.encode().into_bytes();
        prop_assert_eq!(Separate::parse(&text), Ok(message));
        for at in 0..text.len() {
            text[at] ^= damage;
            prop_assert!(Separate::parse(&text).is_err());
            text[at] ^= damage;
        }
    }

    #[test]
    fn any_message_is_read_without_panic(text in "(selvedge-request-of:1\\.)?[A-Za-z0-9_.-]{0,80}") {
        let _ = Separate::parse(text.as_bytes());
    }
}
