//! Heads in broadcasts: of use to the session that they were sealed for, beside its own token, and
//! to nobody else (A10).

use proptest::prelude::*;
use selvedge_identity::{
    AddressedHead, Epoch, HEADS_MAX, Head, Key, KeyId, KeyRing, Position, ServerName, SessionId,
    SessionToken, TokenError, address,
};

fn keys() -> KeyRing {
    KeyRing::single([7; 32])
}

fn session(number: u8) -> SessionId {
    SessionId::from_random([number; 16])
}

fn head(server: &str, sequence: u64, counter: u64) -> Head {
    Head {
        position: Position {
            server: ServerName::new(server).unwrap(),
            epoch: Epoch {
                counter: 3,
                random: 0x9f8e_7d6c_5b4a_3f2e,
            },
            sequence,
        },
        effect: sequence.saturating_add(1),
        counter,
    }
}

fn heads() -> impl Strategy<Value = Head> {
    let number = || (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    ("[a-z0-9]{1,63}", number(), number())
        .prop_map(|(server, sequence, counter)| head(&server, sequence, counter))
}

#[test]
fn beside_its_own_sessions_token_it_is_one_of_the_heads() {
    let (before, sent) = (head("content-1", 4, 7), head("content-2", 9, 8));
    let token = SessionToken::new(session(1), [before.clone()]).sign(&keys());
    let sealed = AddressedHead::seal(session(1), &sent, &keys()).text();
    let both = SessionToken::new(session(1), [before, sent]);
    let joined = format!("{sealed} , {token}");
    for values in [
        vec![token.as_bytes(), sealed.as_bytes()],
        vec![sealed.as_bytes(), token.as_bytes()],
        vec![joined.as_bytes()],
    ] {
        let union = SessionToken::unite(values, &keys());
        assert_eq!(union.token.as_ref(), Some(&both));
        assert_eq!((union.heads_refused, union.refused.len()), (0, 0));
    }
}

#[test]
fn beside_another_sessions_token_it_is_refused_and_counted() {
    let own = SessionToken::new(session(1), [head("content-1", 4, 7)]);
    let stolen = AddressedHead::seal(session(2), &head("content-2", 9, 800), &keys()).text();
    let text = own.sign(&keys());
    let union = SessionToken::unite([stolen.as_bytes(), text.as_bytes()], &keys());
    assert_eq!(union.token, Some(own));
    assert_eq!(union.heads_refused, 1);
}

#[test]
fn alone_it_opens_no_session() {
    let sealed = AddressedHead::seal(session(1), &head("content-2", 9, 8), &keys()).text();
    let union = SessionToken::unite([sealed.as_bytes()], &keys());
    assert_eq!(union.token, None);
    assert_eq!((union.heads_refused, union.refused.len()), (1, 0));
}

#[test]
fn it_chooses_no_session_however_great_its_ordering_id() {
    let (mine, other) = (session(1), session(2));
    let tokens = [
        SessionToken::new(mine, [head("content-1", 4, 7)]).sign(&keys()),
        SessionToken::new(other, [head("content-1", 5, 9)]).sign(&keys()),
        AddressedHead::seal(mine, &head("content-2", 9, 100), &keys()).text(),
    ];
    let union = SessionToken::unite(tokens.iter().map(String::as_bytes), &keys());
    assert_eq!(union.token.unwrap().session, other);
    assert_eq!((union.other_sessions, union.heads_refused), (1, 1));
}

#[test]
fn many_heads_are_cut_to_the_greatest() {
    let mut texts: Vec<String> = (1..40)
        .map(|n| AddressedHead::seal(session(1), &head("content-2", n, n), &keys()).text())
        .collect();
    texts.push(SessionToken::new(session(1), [head("content-1", 4, 100)]).sign(&keys()));
    let union = SessionToken::unite(texts.iter().map(String::as_bytes), &keys());
    let heads = union.token.unwrap().heads;
    assert_eq!(heads.len(), HEADS_MAX);
    assert!(heads.iter().any(|head| head.counter == 100));
}

#[test]
fn a_head_of_another_fleet_or_of_a_key_that_went_is_refused() {
    let of = |ring: &KeyRing| AddressedHead::seal(session(1), &head("content-1", 1, 1), ring);
    let forged = of(&KeyRing::single([8; 32]));
    assert_eq!(forged.open(session(1), &keys()), Err(TokenError::Forged));
    let other = KeyRing::new(vec![(KeyId::new(5).unwrap(), Key::new([7; 32]))]).unwrap();
    let gone = of(&other).open(session(1), &keys());
    assert_eq!(gone, Err(TokenError::UnknownKey));
}

#[test]
fn a_sessions_addresses_in_two_broadcasts_have_nothing_in_common() {
    let one = address(session(1), &[1; 16]);
    assert_eq!(one, address(session(1), &[1; 16]));
    assert_ne!(one, address(session(1), &[2; 16]));
    assert_ne!(one, address(session(2), &[1; 16]));
}

#[test]
fn the_longest_head_fits() {
    let longest = Head {
        position: Position {
            server: ServerName::new(&"n".repeat(63)).unwrap(),
            epoch: Epoch {
                counter: u32::MAX,
                random: u64::MAX,
            },
            sequence: u64::MAX / 2,
        },
        effect: u64::MAX,
        counter: u64::MAX,
    };
    let sealed = AddressedHead::seal(session(1), &longest, &keys());
    assert_eq!(sealed.as_bytes().len(), AddressedHead::BYTES_MAX);
    assert_eq!(sealed.text().len(), AddressedHead::TEXT_MAX);
    let read = AddressedHead::parse(sealed.text().as_bytes()).unwrap();
    assert_eq!(read.open(session(1), &keys()), Ok(longest));
}

proptest! {
    #[test]
    fn what_is_sealed_opens_for_its_session_only(head in heads(), one: [u8; 16], other: [u8; 16]) {
        let (one, other) = (SessionId::from_random(one), SessionId::from_random(other));
        prop_assume!(one != other);
        let sealed = AddressedHead::seal(one, &head, &keys());
        let text = sealed.text();
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b',' && b != b';'));
        prop_assert_eq!(AddressedHead::from_bytes(sealed.as_bytes()), Some(sealed.clone()));
        prop_assert_eq!(AddressedHead::parse(text.as_bytes()), Ok(sealed.clone()));
        prop_assert_eq!(sealed.open(other, &keys()), Err(TokenError::Forged));
        prop_assert_eq!(sealed.open(one, &keys()), Ok(head));
    }

    #[test]
    fn one_damaged_byte_anywhere_is_refused(head in heads(), damage in 1..=255_u8) {
        let mut text = AddressedHead::seal(session(1), &head, &keys()).text().into_bytes();
        for at in 0..text.len() {
            text[at] ^= damage;
            let opened = AddressedHead::parse(&text).and_then(|head| head.open(session(1), &keys()));
            prop_assert!(opened.is_err(), "byte {at}");
            text[at] ^= damage;
        }
    }

    /// Neither the name of its server nor anything else of it stands in it, whoever's it is.
    #[test]
    fn equal_heads_of_two_sessions_look_like_nothing_alike(head in heads()) {
        let sealed = [1, 2].map(|n| AddressedHead::seal(session(n), &head, &keys()));
        let [one, two] = sealed.each_ref().map(|sealed| &sealed.as_bytes()[1..]);
        let same = one.iter().zip(two).filter(|(one, two)| one == two).count();
        prop_assert!(same < one.len() / 4, "{same} of {}", one.len());
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..220)) {
        let mut text = b"~".to_vec();
        text.extend(&bytes);
        for text in [&text, &bytes] {
            if let Ok(sealed) = AddressedHead::parse(text) {
                prop_assert_eq!(sealed.text().into_bytes(), text.clone());
                prop_assert!(sealed.open(session(1), &keys()).is_err());
            }
        }
        if let Some(sealed) = AddressedHead::from_bytes(&bytes) {
            prop_assert_eq!(sealed.as_bytes(), &bytes[..]);
        }
    }
}
