//! Tokens from outside: what was signed reads back, nothing else does, several become one.

use proptest::prelude::*;
use selvedge_identity::{
    ClientId, ClientTokenError, Epoch, HEADS_MAX, Head, Key, KeyId, KeyRing, KeyRingError,
    Position, ServerName, SessionId, SessionToken, TOKENS_MAX, TokenError, purpose,
};

fn keys() -> KeyRing {
    KeyRing::single([7; 32])
}

fn head(server: &str, epoch: u32, sequence: u64, counter: u64) -> Head {
    Head {
        position: Position {
            server: ServerName::new(server).unwrap(),
            epoch: Epoch {
                counter: epoch,
                random: u64::from(epoch) * 0x0123_4567_89ab_cdef,
            },
            sequence,
        },
        effect: sequence + 1,
        counter,
    }
}

fn sessions() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_random)
}

/// Few servers, epochs and sequences, so that neighbours and repeats are common.
fn heads() -> impl Strategy<Value = Vec<Head>> {
    let numbers = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    let one =
        (0..4_usize, 1..4_u32, 0..6_u64, numbers).prop_map(|(server, epoch, sequence, counter)| {
            head(
                ["a", "content-1", "content-2", "z.z_z-9"][server],
                epoch,
                sequence,
                counter,
            )
        });
    prop::collection::vec(one, 0..40)
}

/// What a token keeps, by sets and sorting alone.
fn model(heads: &[Head]) -> Vec<Head> {
    let mut kept: Vec<Head> = Vec::new();
    for head in heads {
        match kept.iter_mut().find(|h| h.position == head.position) {
            Some(same) => {
                if (head.effect, head.counter) > (same.effect, same.counter) {
                    *same = head.clone();
                }
            }
            None => kept.push(head.clone()),
        }
    }
    kept.sort_by_key(|h| std::cmp::Reverse((h.ordering(), h.position.clone())));
    kept.truncate(HEADS_MAX);
    kept.sort_by_key(|h| h.position.clone());
    kept
}

/// A token with these bytes as heads, signed rightly: what a fleet of a wrong version might send.
fn signed(session: &str, heads: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let base64 = |bytes: &[u8]| -> String {
        let bits: Vec<u8> = bytes
            .iter()
            .flat_map(|b| (0..8).rev().map(move |i| b >> i & 1))
            .collect();
        let digit =
            |six: &[u8]| (0..6).fold(0, |sum, i| sum * 2 + six.get(i).copied().unwrap_or(0));
        bits.chunks(6)
            .map(|six| char::from(alphabet[usize::from(digit(six))]))
            .collect()
    };
    let body = format!("{session}.{}.A", base64(heads));
    let (_, mac) = keys().mac(purpose::SESSION, body.as_bytes());
    format!("{body}{}", base64(&mac))
}

proptest! {
    #[test]
    fn what_is_signed_verifies(session in sessions(), heads in heads()) {
        let token = SessionToken::new(session, heads.clone());
        prop_assert_eq!(&token.heads[..], &model(&heads)[..]);
        let text = token.sign(&keys());
        prop_assert!(text.len() <= SessionToken::TEXT_MAX);
        prop_assert_eq!(SessionToken::verify(text.as_bytes(), &keys()), Ok(token));
        let loose = SessionToken { session, heads: heads.into() };
        prop_assert_eq!(loose.sign(&keys()), text);
    }

    #[test]
    fn one_damaged_byte_anywhere_is_refused(session in sessions(), heads in heads(), damage in 1..=255_u8) {
        let mut text = SessionToken::new(session, heads.into_iter().take(3)).sign(&keys()).into_bytes();
        for at in 0..text.len() {
            text[at] ^= damage;
            prop_assert!(SessionToken::verify(&text, &keys()).is_err(), "byte {at}");
            text[at] ^= damage;
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(SessionToken::verify(&bytes, &keys()).is_err());
        prop_assert!(ClientId::verify(&bytes, &keys()).is_err());
    }

    /// Signed rightly, of any content: what is accepted at all has one text only.
    #[test]
    fn whatever_verifies_is_signed_back_the_same(
        heads in heads(),
        at in any::<prop::sample::Index>(),
        value: u8,
        longer in any::<bool>(),
    ) {
        let session = SessionId::from_random([1; 16]);
        let token = SessionToken::new(session, heads.into_iter().take(4));
        let text = token.sign(&keys());
        let mut bytes = decode(text.split('.').nth(1).unwrap());
        if longer {
            bytes.insert(at.index(bytes.len() + 1), value);
        } else if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let text = signed(&session.text(), &bytes);
        if let Ok(token) = SessionToken::verify(text.as_bytes(), &keys()) {
            prop_assert_eq!(token.sign(&keys()), text);
        }
    }

    #[test]
    fn tokens_unite_as_the_model_does(
        tokens in prop::collection::vec((0..3_usize, heads(), 0..4_u8), 0..10),
        joined in any::<bool>(),
    ) {
        let ids = [[1; 16], [2; 16], [3; 16]].map(SessionId::from_random);
        let mut texts = Vec::new();
        let mut valid: Vec<SessionToken> = Vec::new();
        let mut refused = 0;
        for (session, heads, kind) in tokens {
            let token = SessionToken::new(ids[session], heads);
            if kind == 0 {
                texts.push(token.sign(&KeyRing::single([8; 32])));
                refused += 1;
            } else {
                texts.push(token.sign(&keys()));
                valid.push(token);
            }
        }
        let rank = |t: &SessionToken| (t.heads.iter().map(Head::ordering).max(), t.session);
        let expected = valid.iter().max_by_key(|t| rank(t)).map(|winner| {
            let all: Vec<Head> = valid
                .iter()
                .filter(|t| t.session == winner.session)
                .flat_map(|t| t.heads.to_vec())
                .collect();
            SessionToken { session: winner.session, heads: model(&all).into() }
        });
        let others = expected.as_ref().map_or(0, |winner| {
            valid.iter().filter(|t| t.session != winner.session).count()
        });

        let joined_text = texts.join(" , ");
        let unite = |reversed: bool| {
            let mut values: Vec<&[u8]> = if joined {
                vec![joined_text.as_bytes(), b""]
            } else {
                texts.iter().map(String::as_bytes).collect()
            };
            if reversed {
                values.reverse();
            }
            SessionToken::unite(values, &keys())
        };
        let union = unite(false);
        prop_assert_eq!(&union.token, &expected);
        prop_assert_eq!(union.other_sessions, others);
        prop_assert_eq!(union.refused.len(), refused);
        prop_assert_eq!(unite(true), union);
    }

    #[test]
    fn a_client_token_holds_for_its_client_only(a: [u8; 16], damage in 1..=255_u8) {
        let client = ClientId::from_random(a);
        let mut token = client.sign(&keys()).into_bytes();
        prop_assert_eq!(ClientId::verify(&token, &keys()), Ok(client));
        for at in 0..token.len() {
            token[at] ^= damage;
            prop_assert!(ClientId::verify(&token, &keys()).is_err());
            token[at] ^= damage;
        }
    }
}

fn decode(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = text
        .bytes()
        .map(|c| alphabet.iter().position(|a| *a == c).unwrap())
        .flat_map(|digit| (0..6).rev().map(move |i| (digit >> i & 1) as u8))
        .collect();
    bits.chunks_exact(8)
        .map(|eight| eight.iter().fold(0, |sum, bit| sum * 2 + bit))
        .collect()
}

const SESSION: &str = "000102030405060708090a0b0c0d0e0f";

#[test]
fn a_fresh_session_has_no_heads() {
    let session: SessionId = SESSION.parse().unwrap();
    let text = SessionToken::new(session, []).sign(&keys());
    assert_eq!(text.len(), 32 + 1 + 1 + 1 + 22);
    assert_eq!(
        SessionToken::verify(text.as_bytes(), &keys())
            .unwrap()
            .heads
            .len(),
        0
    );
}

#[test]
fn the_longest_token_fits_and_one_longer_is_refused_unread() {
    let name = "n".repeat(63);
    let heads = (0..16).map(|n| Head {
        position: Position {
            server: ServerName::new(&name).unwrap(),
            epoch: Epoch {
                counter: u32::MAX - n,
                random: u64::MAX,
            },
            sequence: u64::MAX / 2,
        },
        effect: u64::MAX,
        counter: u64::MAX,
    });
    let longest = SessionToken::new(SESSION.parse().unwrap(), heads);
    let text = longest.sign(&keys());
    assert!(text.len() <= SessionToken::TEXT_MAX);
    const { assert!(SessionToken::TEXT_MAX < 4096, "a cookie's room") };
    assert_eq!(SessionToken::verify(text.as_bytes(), &keys()), Ok(longest));
    let oversized = vec![b'A'; SessionToken::TEXT_MAX + 1];
    assert_eq!(
        SessionToken::verify(&oversized, &keys()),
        Err(TokenError::Oversized)
    );
}

#[test]
fn what_is_signed_rightly_but_not_of_the_form_is_refused() {
    let epoch = [1, 9, 9, 9, 9, 9, 9, 9, 9];
    let full = |name: &[u8], rest: &[u8]| [&[name.len() as u8], name, &epoch, rest].concat();
    let check = |heads: &[u8], error| {
        let token = signed(SESSION, heads);
        assert_eq!(
            SessionToken::verify(token.as_bytes(), &keys()),
            error,
            "{heads:?}"
        );
    };
    let malformed = Err(TokenError::Malformed);
    let first = full(b"a", &[5, 1, 3]);
    assert!(SessionToken::verify(signed(SESSION, &first).as_bytes(), &keys()).is_ok());
    // Cut short, a name that is none, an effect past the last number, a needless byte.
    check(&first[..first.len() - 1], malformed.clone());
    check(&full(b"A", &[5, 1, 3]), malformed.clone());
    let over = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    check(
        &full(b"a", &[&over[..], &[1, 3]].concat()),
        malformed.clone(),
    );
    check(&full(b"a", &[0x85, 0, 1, 3]), malformed.clone());
    // An epoch's counter over 32 bits.
    let wide = [
        &[1, b'a', 255, 255, 255, 255, 31][..],
        &epoch[1..],
        &[5, 1, 3],
    ]
    .concat();
    check(&wide, malformed.clone());
    // The same server and epoch as one before that is not there; spelled out twice; backwards;
    // twice the same.
    check(&[0, 5, 1, 3], malformed.clone());
    check(
        &[&first[..], &full(b"a", &[6, 1, 3])].concat(),
        malformed.clone(),
    );
    check(&[&first[..], &[0, 4, 1, 3]].concat(), malformed.clone());
    check(&[&first[..], &[0, 5, 1, 3]].concat(), malformed.clone());
    check(
        &[&full(b"b", &[5, 1, 3])[..], &first].concat(),
        malformed.clone(),
    );
    // Seventeen heads.
    let mut many = first.clone();
    for sequence in 6..6 + 16 {
        many.extend([0, sequence, 1, 3]);
    }
    check(&many, Err(TokenError::Oversized));
    // A session of zeros, a short one.
    for session in [
        "0".repeat(32),
        SESSION[2..].to_string(),
        SESSION.to_uppercase(),
    ] {
        let token = signed(&session, &first);
        assert_eq!(SessionToken::verify(token.as_bytes(), &keys()), malformed);
    }
}

#[test]
fn a_forged_token_is_told_from_one_of_an_unknown_key() {
    let token = SessionToken::new(SESSION.parse().unwrap(), [head("a", 1, 2, 3)]);
    let text = token.sign(&KeyRing::single([8; 32]));
    assert_eq!(
        SessionToken::verify(text.as_bytes(), &keys()),
        Err(TokenError::Forged)
    );
    let other = KeyRing::new(vec![(KeyId::new(5).unwrap(), Key::new([7; 32]))]).unwrap();
    let text = token.sign(&other);
    assert_eq!(
        SessionToken::verify(text.as_bytes(), &keys()),
        Err(TokenError::UnknownKey)
    );
    let client = ClientId::from_random([3; 16]);
    let text = client.sign(&other);
    assert_eq!(
        ClientId::verify(text.as_bytes(), &keys()),
        Err(ClientTokenError::UnknownKey)
    );
}

#[test]
fn keys_change_under_traffic() {
    let [old, new] = [7, 8].map(|secret| Key::new([secret; 32]));
    let [a, b] = [0, 1].map(|id| KeyId::new(id).unwrap());
    let before = KeyRing::new(vec![(a, old.clone()), (b, new.clone())]).unwrap();
    let after = KeyRing::new(vec![(b, new), (a, old)]).unwrap();
    let token = SessionToken::new(SESSION.parse().unwrap(), [head("a", 1, 2, 3)]);
    for (signer, verifier) in [(&before, &after), (&after, &before)] {
        let text = token.sign(signer);
        assert_eq!(
            SessionToken::verify(text.as_bytes(), verifier).as_ref(),
            Ok(&token)
        );
    }
    assert_eq!(KeyRing::new(vec![]), Err(KeyRingError::Empty));
    let twice = vec![(a, Key::new([1; 32])), (a, Key::new([2; 32]))];
    assert_eq!(KeyRing::new(twice), Err(KeyRingError::Twice(a)));
}

#[test]
fn a_code_for_one_purpose_is_worth_nothing_for_another() {
    let ring = keys();
    let (key, mac) = ring.mac(purpose::BUS, b"hello");
    assert_eq!(ring.verify_mac(purpose::BUS, key, b"hello", &mac), Ok(()));
    for other in [purpose::SESSION, purpose::CLIENT] {
        assert!(ring.verify_mac(other, key, b"hello", &mac).is_err());
    }
    assert!(ring.verify_mac(purpose::BUS, key, b"hellp", &mac).is_err());
    let secrets = [purpose::BUS, purpose::CLIENT, purpose::SESSION].map(|p| ring.derive(p, key));
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0].is_some());
}

#[test]
fn a_key_does_not_show_itself() {
    let shown = format!("{:?}", KeyRing::single([0xab; 32]));
    assert!(
        !shown.contains("171") && !shown.to_lowercase().contains("ab, ab"),
        "{shown}"
    );
}

#[test]
fn tokens_past_the_most_are_not_looked_at() {
    let token = SessionToken::new(SESSION.parse().unwrap(), []).sign(&keys());
    let line = vec![token.as_str(); TOKENS_MAX + 40].join(",");
    let union = SessionToken::unite([line.as_bytes()], &keys());
    assert_eq!(&union.refused[..], &[TokenError::Oversized]);
    assert!(union.token.is_some());
}
