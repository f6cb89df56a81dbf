//! The worked examples in `docs/formats/` are what the crate writes and reads.

use selvedge_identity::carrier::{self, Headers, b3, metadata, soap};
use selvedge_identity::{
    AddressedHead, ClientId, Epoch, Head, Interaction, KeyRing, Origin, Position,
    RequestIdentifier, ServerName, SessionToken, Shape, address,
};

const IDENTIFIER_PAGE: &str = include_str!("../../../docs/formats/request-identifier.md");
const CARRIERS_PAGE: &str = include_str!("../../../docs/formats/carriers.md");
const TOKEN_PAGE: &str = include_str!("../../../docs/formats/session-token.md");

#[track_caller]
fn stands_in(page: &str, example: &str) {
    assert!(page.contains(example), "not on the page: {example}");
}

/// The example of the page: a root of 2026-11-20T12:00:00Z, then two calls deeper.
fn identifier() -> (RequestIdentifier, Interaction) {
    let origin = Origin::new(
        1_795_176_000_000,
        [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18, 0x29, 0x3a],
    );
    let interaction = |n: u8| Interaction::from_random([n, n, n, n, 0xaa, 0xbb, 0xcc, 0xdd]);
    let shape = Shape::default();
    let id = RequestIdentifier::root(origin, interaction(0x11), shape)
        .advance(interaction(0x22), shape)
        .advance(interaction(0x33), shape);
    (id, interaction(0x33))
}

#[test]
fn the_identifier_of_the_page() {
    let (id, own) = identifier();
    let out = carrier::inject(&id, own, 3, Some("rojo=00f067aa0ba902b7"));
    stands_in(
        IDENTIFIER_PAGE,
        &format!("selvedge-request: {}\n", out.request),
    );
    stands_in(
        IDENTIFIER_PAGE,
        &format!("traceparent: {}\n", out.traceparent),
    );
    stands_in(
        IDENTIFIER_PAGE,
        &format!("tracestate: {}\n", out.tracestate),
    );
    let sent = Headers {
        request: Some(out.request.as_bytes()),
        traceparent: Some(out.traceparent.as_bytes()),
        tracestate: Some(out.tracestate.as_bytes()),
    };
    let extracted = carrier::extract(sent, true, Shape::default());
    assert_eq!(extracted.identifier, Some(id.clone()));

    let narrow = Shape {
        k: 16,
        width: 3,
        depth_increment: 1,
    };
    let mixed = RequestIdentifier::from_parts(
        id.origin(),
        1024,
        narrow.k,
        &[id.stack()[0], id.own().cut(narrow.width)],
    );
    stands_in(IDENTIFIER_PAGE, &format!("`{}`", mixed.unwrap().encode()));
}

#[test]
fn the_carriers_of_the_page() {
    let (id, own) = identifier();
    let before = Interaction::parse(b"22222222aabbccdd").unwrap();
    let form = b3::Form::of_flags(3);
    let out = b3::inject(&id, own, Some(before), form);
    stands_in(CARRIERS_PAGE, &format!("b3: {}\n", out.single));
    metadata::inject_b3(&out, |key, value| {
        stands_in(CARRIERS_PAGE, &format!("{key}: {value}\n"));
    });

    let envelope = b"<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\">\
        <soap:Body/></soap:Envelope>";
    let written = String::from_utf8(soap::write(envelope, &id).unwrap()).unwrap();
    stands_in(CARRIERS_PAGE, &format!("\n{written}\n"));
}

fn keys() -> KeyRing {
    let secret: [u8; 32] = std::array::from_fn(|n| n as u8);
    KeyRing::single(secret)
}

fn token() -> SessionToken {
    let head = |server: &str, sequence, effect, counter| Head {
        position: Position {
            server: ServerName::new(server).unwrap(),
            epoch: Epoch {
                counter: 3,
                random: 0x9f8e_7d6c_5b4a_3f2e,
            },
            sequence,
        },
        effect,
        counter,
    };
    SessionToken::new(
        "00112233445566778899aabbccddeeff".parse().unwrap(),
        [
            head("content-1", 300, 301, 7),
            head("content-1", 304, 304, 8),
        ],
    )
}

#[test]
fn the_token_of_the_page() {
    let text = token().sign(&keys());
    stands_in(TOKEN_PAGE, &format!("selvedge-session: {text}\n"));
    assert_eq!(SessionToken::verify(text.as_bytes(), &keys()), Ok(token()));
    assert_eq!(SessionToken::TEXT_MAX, 2340);
    stands_in(TOKEN_PAGE, "2,340 bytes");
    let fresh = SessionToken::new(token().session, []).sign(&keys());
    stands_in(TOKEN_PAGE, &format!("selvedge-session: {fresh}\n"));
}

#[test]
fn the_client_token_and_the_key_file_of_the_page() {
    let client: ClientId = "c0ffee00c0ffee00c0ffee00c0ffee00".parse().unwrap();
    stands_in(
        TOKEN_PAGE,
        &format!("selvedge-client: {}\n", client.sign(&keys())),
    );
    let line = "A 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    stands_in(TOKEN_PAGE, line);
    assert_eq!(KeyRing::parse(line), Ok(keys()));
}

#[test]
fn the_addressed_head_of_the_page() {
    let session = "00112233445566778899aabbccddeeff".parse().unwrap();
    let head = Head {
        position: Position {
            server: ServerName::new("content-1").unwrap(),
            epoch: Epoch {
                counter: 3,
                random: 0x9f8e_7d6c_5b4a_3f2e,
            },
            sequence: 304,
        },
        effect: 304,
        counter: 8,
    };
    let secret = std::array::from_fn(|at| at as u8);
    let sealed = AddressedHead::seal(session, &head, &KeyRing::single(secret));
    stands_in(
        TOKEN_PAGE,
        &format!("selvedge-session: {}\n", sealed.text()),
    );
    let salt = std::array::from_fn(|at| at as u8);
    let address = u64::from_be_bytes(address(session, &salt));
    stands_in(TOKEN_PAGE, &format!("`{address:016x}`"));
}
