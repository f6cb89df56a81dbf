//! Requests as the relay takes them. A head that is taken is written and read again, and both must
//! agree in everything; so must the body behind it, decoded, coded anew and decoded.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use selvedge_relay::chunked::{ChunkDecoder, Decoded};
use selvedge_relay::parse::{Framing, HeadScanner, RequestFacts, parse_request, parse_response};
use selvedge_relay::{Length, Limits, RequestHead};

fn read(bytes: &[u8], head_fields_max: usize) -> Option<(RequestHead, RequestFacts, usize)> {
    let end = HeadScanner::default().scan(bytes).ok()??;
    let head = Bytes::copy_from_slice(&bytes[..end]);
    let limits = Limits {
        head_fields_max,
        ..Limits::default()
    };
    let (head, facts) = parse_request(head, &limits).ok()?;
    Some((head, facts, end))
}

/// The body, and how many bytes stand behind it.
fn decode(bytes: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = ChunkDecoder::default();
    let mut buffer = BytesMut::new();
    let mut body = Vec::new();
    let mut fed = 0;
    loop {
        match decoder.decode(&mut buffer).ok()? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::End => return Some((body, bytes.len() - fed + buffer.len())),
            Decoded::More if fed == bytes.len() => return None,
            Decoded::More => {
                let next = bytes.len().min(fed + step);
                buffer.extend_from_slice(&bytes[fed..next]);
                fed = next;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(answer) = bytes.strip_prefix(b"HTTP/") {
        let _ = answer;
        let end = HeadScanner::default().scan(bytes).ok().flatten();
        let _ = end.map(|end| parse_response(Bytes::copy_from_slice(&bytes[..end]), false));
        return;
    }
    let Some((head, facts, end)) = read(bytes, 128) else {
        return;
    };
    let length = match facts.framing {
        Framing::Length(length) => Length::Known(length),
        Framing::Chunked => Length::Unknown,
        Framing::UntilClose => panic!("a request cannot end with its connection"),
    };
    let mut out = BytesMut::new();
    head.write(length, &mut out);
    // The writer adds its own fields to those that were within the limit.
    let (again, facts_again, end_again) = read(&out, 256).expect("what is written is valid");
    assert_eq!(end_again, out.len());
    assert_eq!(again.method(), head.method());
    assert_eq!(again.target(), head.target());
    assert_eq!(again.upgrade, head.upgrade);
    // Of HTTP/1.0, which may lack it, HTTP/1.1 is made, which may not.
    let host: Option<(&[u8], &[u8])> = (!head.fields.has("host")).then_some((b"host", b""));
    assert!(again.fields.iter().eq(head.fields.iter().chain(host)));
    assert_eq!(facts_again.framing, facts.framing);

    if facts.framing == Framing::Chunked {
        let whole = decode(&bytes[end..], usize::MAX / 2);
        assert_eq!(decode(&bytes[end..], 1), whole);
        if let Some((body, _)) = whole {
            let mut coded = Vec::new();
            for part in body.chunks(7) {
                coded.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                coded.extend_from_slice(part);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            assert_eq!(decode(&coded, 3), Some((body, 0)));
        }
    }
});
