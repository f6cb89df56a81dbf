//! What is particular to gRPC calls: the outcome comes after the body (D5).
//!
//! gRPC rides on HTTP/2, so its metadata are HTTP headers and its identifiers need nothing of
//! their own. But the HTTP status is always 200: how a call ended stands in `grpc-status`, in the
//! trailers, or in the headers of an answer that has no body. Entries hold the HTTP status that
//! gRPC's own mapping gives (`google/rpc/code.proto`), so that outcomes, searches and diagnosis
//! mean the same for both, and the code itself as the answer's field `grpc-status`.
//!
//! Only `application/grpc` is looked at. gRPC-Web has its trailers in its body, which is not read.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use selvedge_node::{End, outcome_of};

/// How the call ended.
const STATUS: &str = "grpc-status";
/// Why, percent-encoded.
const MESSAGE: &str = "grpc-message";

/// The longest reason that an entry keeps, in bytes.
const REASON_MAX: usize = 512;

/// The names of the codes, as the gRPC specification writes them, and their HTTP statuses.
const CODES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

/// Whether a message with these headers is of a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| {
        let (start, rest) = kind.split_at_checked(b"application/grpc".len())?;
        start
            .eq_ignore_ascii_case(b"application/grpc")
            .then_some(rest)
    });
    matches!(rest, Some([] | [b'+' | b';' | b' ', ..]))
}

/// How a gRPC call ended, as its last headers say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    code: u16,
    message: Option<String>,
}

impl Status {
    /// `None` if these headers (or trailers) do not tell. What is no number reads as UNKNOWN, as
    /// gRPC's clients read it.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(STATUS)?.to_str().ok();
        let code = code.and_then(|code| code.parse().ok()).unwrap_or(2);
        let message = headers.get(MESSAGE).map(HeaderValue::as_bytes);
        Some(Self {
            code,
            message: message
                .map(decode)
                .filter(|message| !message.trim().is_empty()),
        })
    }

    /// What an answer's end is to say. `status`: how it ended, if anything told.
    pub(crate) fn tell(status: Option<&Self>, end: &mut End) {
        let Some(Self { code, message }) = status else {
            end.status = 500;
            let missing = "the answer ended without a grpc-status";
            end.error.get_or_insert_with(|| missing.to_owned());
            return;
        };
        let known = CODES.get(usize::from(*code));
        let (name, http) = known.map_or_else(
            || (format!("code {code}"), 500),
            |(name, http)| ((*name).to_owned(), *http),
        );
        end.status = http;
        let field = (STATUS.into(), code.to_string().into());
        end.response.fields.push(field);
        if outcome_of(http) == selvedge_entry::Outcome::Error {
            end.error.get_or_insert_with(|| match message {
                Some(message) => format!("{name}: {message}"),
                None => name,
            });
        }
    }
}

/// For the fuzz target: whatever stands in these headers, an end is told, and within bounds.
#[doc(hidden)]
pub fn fuzz_grpc_status(headers: &HeaderMap) {
    let mut end = End::status(200);
    let status = Status::read(headers);
    Status::tell(status.as_ref(), &mut end);
    assert!((200..600).contains(&end.status), "{}", end.status);
    // Three bytes may stand for one that is no text; the code's name comes before.
    assert!(
        end.error
            .is_none_or(|error| error.len() <= 3 * REASON_MAX + 32)
    );
    assert_eq!(end.response.fields.len(), usize::from(status.is_some()));
}

/// Undoes the percent-encoding of a reason; what is none stays as it is.
fn decode(value: &[u8]) -> String {
    let mut out = Vec::with_capacity(value.len().min(REASON_MAX));
    let mut rest = value;
    while let [first, tail @ ..] = rest
        && out.len() < REASON_MAX
    {
        let hex = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        let digits = tail.get(..2).filter(|_| *first == b'%').filter(hex);
        let byte = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    fn end_of(pairs: &[(&'static str, &'static str)]) -> End {
        let mut end = End::status(200);
        Status::tell(Status::read(&headers(pairs)).as_ref(), &mut end);
        end
    }

    #[test]
    fn only_grpc_itself_counts_as_grpc() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grpcx", false),
        ] {
            assert_eq!(is_grpc(&headers(&[("content-type", kind)])), is, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn codes_read_as_http_statuses_and_errors_say_why() {
        let ok = end_of(&[("grpc-status", "0")]);
        assert_eq!((ok.status, ok.error), (200, None));
        let refused = end_of(&[("grpc-status", "5"), ("grpc-message", "no such item")]);
        assert_eq!((refused.status, refused.error), (404, None));
        assert_eq!(&*refused.response.fields[0].1, "5");
        let failed = end_of(&[("grpc-status", "14"), ("grpc-message", "db%20is%zz%F0%9F")]);
        assert_eq!(failed.status, 503);
        assert!(failed.error.unwrap().starts_with("UNAVAILABLE: db is%zz"));
        assert_eq!(end_of(&[("grpc-status", "99")]).status, 500);
        assert_eq!(end_of(&[("grpc-status", "none")]).status, 500);
        assert!(end_of(&[]).error.unwrap().contains("without"));
    }

    #[test]
    fn a_reason_is_cut() {
        let long = "x".repeat(10_000);
        assert_eq!(decode(long.as_bytes()).len(), REASON_MAX);
    }

    proptest::proptest! {
        #[test]
        fn any_status_and_reason_end_a_call_within_bounds(
            code in ".{0,4}",
            reason in proptest::collection::vec(32u8..=255, 0..2000),
        ) {
            let mut headers = HeaderMap::new();
            let values = [HeaderValue::from_bytes(code.as_bytes()), HeaderValue::from_bytes(&reason)];
            for (name, value) in [STATUS, MESSAGE].into_iter().zip(values) {
                if let Ok(value) = value {
                    headers.insert(name, value);
                }
            }
            fuzz_grpc_status(&headers);
        }
    }
}
