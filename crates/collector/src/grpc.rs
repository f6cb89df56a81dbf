//! OTLP over gRPC: one unary method, spoken over HTTP/2 by hand.
//!
//! gRPC is HTTP/2 with a frame of five bytes before a message (compressed or not, length) and the
//! status in the trailers. A framework would buffer messages before anything of ours could count
//! them; this way a request's bytes are bounded from the first one on, and its compression is
//! undone by the same code as over HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::{Pipeline, Taken};
use crate::{Encoding, Fault, Form, Protocol, otlp};

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Compressed or not, and the message's length in four bytes.
const FRAME_BYTES: usize = 5;

/// What can be sent.
const CONTENT_TYPES: &str = "application/grpc";

/// Answers a request.
pub(crate) async fn answer(pipeline: Arc<Pipeline>, request: Request<Incoming>) -> Answer {
    match export(&pipeline, request).await {
        Ok(taken) => {
            let (spans, refused) = (taken.spans, &taken.refused);
            pipeline.counts.taken(Protocol::OtlpGrpc, spans, refused);
            success(&taken)
        }
        Err(fault) => {
            pipeline.counts.fault(Protocol::OtlpGrpc, &fault);
            failure(&fault)
        }
    }
}

async fn export(pipeline: &Pipeline, request: Request<Incoming>) -> Result<Taken, Fault> {
    let (head, mut body) = request.into_parts();
    let content_type = text(&head.headers, "content-type").unwrap_or("");
    if !matches!(
        content_type.strip_prefix(CONTENT_TYPES),
        Some("" | "+proto")
    ) {
        return Err(Fault::ContentType {
            given: content_type.chars().take(64).collect(),
            known: CONTENT_TYPES,
        });
    }
    if head.method != Method::POST {
        return Err(Fault::Method);
    }
    if head.uri.path() != PATH {
        return Err(Fault::Path(head.uri.path().chars().take(128).collect()));
    }
    let encoding = Encoding::of_name(text(&head.headers, "grpc-encoding"))?;
    let collected = pipeline.collect(&mut body, FRAME_BYTES).await?;
    let (message, compressed) = message(&collected.bytes)?;
    let encoding = match (compressed, encoding) {
        (false, _) => Encoding::Identity,
        (true, Encoding::Identity) => return Err(Fault::Frame("compressed, but not said how")),
        (true, encoding) => encoding,
    };
    pipeline
        .take(collected, message, encoding, Form::OtlpProtobuf)
        .await
}

/// The one message, and whether it is compressed.
fn message(body: &Bytes) -> Result<(Bytes, bool), Fault> {
    let Some((frame, message)) = body.split_first_chunk::<FRAME_BYTES>() else {
        return Err(Fault::Frame("no message"));
    };
    let [flag, length @ ..] = *frame;
    if flag > 1 {
        return Err(Fault::Frame("unknown flags"));
    }
    if message.len() != u32::from_be_bytes(length) as usize {
        return Err(Fault::Frame("cut off, or more than one message"));
    }
    Ok((body.slice(FRAME_BYTES..), flag == 1))
}

fn success(taken: &Taken) -> Answer {
    let message = otlp::response_protobuf(taken);
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + message.len());
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut answer = Response::new(body.boxed_unsync());
    content_type(&mut answer);
    answer
}

fn failure(fault: &Fault) -> Answer {
    let mut answer = Response::new(Empty::new().boxed_unsync());
    if matches!(fault, Fault::ContentType { .. }) {
        // What does not speak gRPC gets HTTP's own status.
        *answer.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    content_type(&mut answer);
    let headers = answer.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(fault.code() as u64));
    let message = percent_encoded(&fault.to_string());
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", message);
    }
    if fault.retry_after_s().is_some() {
        let details = base64(&otlp::status_protobuf(fault));
        if let Ok(details) = HeaderValue::from_str(&details) {
            headers.insert("grpc-status-details-bin", details);
        }
    }
    answer
}

fn content_type(answer: &mut Answer) {
    let headers = answer.headers_mut();
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    let known = HeaderValue::from_static("gzip,zstd,deflate");
    headers.insert("grpc-accept-encoding", known);
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// gRPC's form of a message in a header: printable ASCII as it is, but for `%`.
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Base64 of the standard alphabet, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for n in 0..3 {
            bits = bits << 8 | u32::from(group.get(n).copied().unwrap_or(0));
        }
        for n in 0..=group.len() {
            let digit = bits >> (18 - 6 * n) & 0x3f;
            out.push(DIGITS[digit as usize] as char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_is_taken_and_nothing_else() {
        let body = |bytes: &'static [u8]| message(&Bytes::from_static(bytes));
        let taken = body(b"\0\0\0\0\x03abc").expect("a message");
        assert_eq!(taken, (Bytes::from_static(b"abc"), false));
        assert!(body(b"\x01\0\0\0\0").expect("a message").1);
        for broken in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\0a",
            b"\x02\0\0\0\0",
        ] {
            assert!(matches!(body(broken), Err(Fault::Frame(_))), "{broken:?}");
        }
    }

    #[test]
    fn headers_carry_any_text_and_bytes() {
        assert_eq!(percent_encoded("a b%\n\u{e4}~"), "a b%25%0A%C3%A4~");
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg");
        assert_eq!(base64(b"fo"), "Zm8");
        assert_eq!(base64(b"foo\xff\xfe"), "Zm9v//4");
    }
}
