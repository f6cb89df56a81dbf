//! A head that is taken has one reading: what is written from it reads the same, and holds nothing
//! that another parser could see differently.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::head::Length;

fn read(bytes: &[u8]) -> Option<(RequestHead, RequestFacts)> {
    let end = HeadScanner::default().scan(bytes).ok()??;
    parse_request(Bytes::copy_from_slice(&bytes[..end]), &Limits::default()).ok()
}

fn fields(head: &RequestHead) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = head.fields.iter();
    fields.map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}

fn assert_one_reading(bytes: &[u8]) {
    let Some((head, facts)) = read(bytes) else {
        return;
    };
    let length = match facts.framing {
        Framing::Length(length) => Length::Known(length),
        Framing::Chunked => Length::Unknown,
        Framing::UntilClose => panic!("a request cannot end with its connection"),
    };
    let mut out = BytesMut::new();
    head.write(length, &mut out);
    let (again, facts_again) = read(&out).expect("what is written is valid");
    assert_eq!(HeadScanner::default().scan(&out), Ok(Some(out.len())));
    assert_eq!(again.method(), head.method());
    assert_eq!(again.target(), head.target());
    assert_eq!(again.upgrade, head.upgrade);
    let mut expected = fields(&head);
    if !head.fields.has("host") {
        expected.push((b"host".to_vec(), Vec::new()));
    }
    assert_eq!(fields(&again), expected);
    assert_eq!(facts_again.framing, facts.framing);
    let text = String::from_utf8_lossy(&out).to_ascii_lowercase();
    let count = |name: &str| text.matches(&format!("\r\n{name}:")).count();
    assert!(
        count("content-length") + count("transfer-encoding") <= 1,
        "{text}"
    );
    assert!(count("host") <= 1, "{text}");
    assert!(!out.contains(&0));
    for (at, &byte) in out.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(out[at - 1], b'\r'),
            b'\r' => assert_eq!(out[at + 1], b'\n'),
            _ => {}
        }
    }
}

/// Pieces that smuggling is made of.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"GET ",
        b"POST ",
        b"OPTIONS ",
        b"/",
        b"*",
        b"http://a",
        b"/x?y",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b":",
        b": ",
        b"Host: a",
        b"host:b",
        b"Content-Length: ",
        b"content-length:",
        b"3",
        b"4",
        b"+",
        b"Transfer-Encoding: ",
        b"chunked",
        b"gzip",
        b",",
        b"Connection: ",
        b"close",
        b"upgrade",
        b"Upgrade: websocket",
        b"content-length",
        b"X: y",
        b"Expect: 100-continue",
        b"Cookie: a=b",
        b"\x0b",
        b"\xff",
        b"#",
        b"\r\n\r\n",
    ];
    prop_oneof![
        8 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn a_request_that_is_taken_reads_the_same_when_written(
        pieces in prop::collection::vec(piece(), 0..20),
        lead in any::<bool>(),
    ) {
        let mut bytes = if lead { b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec() } else { Vec::new() };
        for piece in pieces {
            bytes.extend_from_slice(&piece);
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        assert_one_reading(&bytes);
    }

    #[test]
    fn a_damaged_request_is_refused_or_reads_the_same_when_written(
        at in 0usize..200, byte in any::<u8>(), insert in any::<bool>(),
    ) {
        let mut bytes = b"POST /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nContent-Length: 10\r\n\
            Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nCookie: sv0=abc; d=e\r\n\r\n".to_vec();
        let at = at % bytes.len();
        if insert {
            bytes.insert(at, byte);
        } else {
            bytes[at] = byte;
        }
        assert_one_reading(&bytes);
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_arrives(
        bytes in prop::collection::vec(prop::sample::select(&b"\r\na:"[..]), 0..30),
        cuts in prop::collection::vec(0usize..30, 0..5),
    ) {
        let whole = HeadScanner::default().scan(&bytes);
        let mut scanner = HeadScanner::default();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut found = Ok(None);
        for cut in cuts {
            found = scanner.scan(&bytes[..cut]);
            if found != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn any_answer_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..100), to_head in any::<bool>()) {
        let mut head = b"HTTP/1.1 ".to_vec();
        head.extend(bytes);
        head.extend(b"\r\n\r\n");
        let _ = parse_response(head.into(), to_head);
    }
}

fn response(text: &str) -> Result<ResponseFacts, Refusal> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    parse_response(bytes, false).map(|(_, facts)| facts)
}

#[test]
fn answers_are_framed_by_the_rules() {
    let facts = |framing, keep_alive| {
        Ok(ResponseFacts {
            framing,
            keep_alive,
        })
    };
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            facts(Framing::Length(5), true),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            facts(Framing::Length(5), true),
        ),
        (
            "HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n",
            facts(Framing::Chunked, true),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", facts(Framing::UntilClose, false)),
        ("HTTP/1.1 204 No\r\n\r\n", facts(Framing::Length(0), true)),
        (
            "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
            facts(Framing::Length(0), true),
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            facts(Framing::Length(5), false),
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            facts(Framing::Length(5), true),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n",
            facts(Framing::Length(5), false),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(response(text), expected, "{text:?}");
    }
    for bad in [
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 2000 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert_eq!(
            response(bad).map_err(|refusal| refusal.status),
            Err(502),
            "{bad:?}"
        );
    }
}

#[test]
fn added_fields_cannot_break_a_head() {
    let mut head = RequestHead::new("GET", "/").unwrap();
    assert!(!head.fields.append("x", "a\r\nb: c"));
    assert!(!head.fields.append("x y", "a"));
    assert!(!head.fields.append("", "a"));
    assert!(head.fields.append("x", "a\tb \u{e4}"));
    assert_eq!(head.fields.len(), 1);
    assert!(RequestHead::new("GET", "/a b").is_err());
    assert!(RequestHead::new("G T", "/").is_err());
    assert!(RequestHead::new("GET", "a").is_err());
    assert!(head.set_target("/\r\n").is_err());
}
