//! What both HTTP protocols share: who may send, what is sent, how answers look.
//!
//! Scripts of web pages may send only where their page's origin is configured. A request that
//! says no origin comes from no browser.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::{Pipeline, Taken};
use crate::{Encoding, Fault, Form};

/// How long a browser may remember what it was allowed, in seconds.
const CORS_MAX_AGE_S: &str = "600";

/// How much of a refused request is read on, and for how long.
const DRAIN_BYTES_MAX: usize = 256 << 20;
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Whether the page that a request comes from, if it comes from one, may send.
///
/// # Errors
/// When it may not.
pub(crate) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Fault> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or("");
    if allowed.iter().any(|one| one == "*" || one == origin) {
        return Ok(());
    }
    Err(Fault::Origin(origin.chars().take(128).collect()))
}

/// The answer to a browser that asks whether its page may send; it may.
pub(crate) fn preflight(headers: &HeaderMap) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let out = answer.headers_mut();
    let methods = HeaderValue::from_static("POST");
    out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    let age = HeaderValue::from_static(CORS_MAX_AGE_S);
    out.insert(header::ACCESS_CONTROL_MAX_AGE, age);
    answer
}

/// Lets the page read the answer, if a page asked and may.
pub(crate) fn allow_origin(answer: &mut Answer, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    let out = answer.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    out.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// The content type without its parameters, in lower case; empty where there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let given = text(headers, header::CONTENT_TYPE).unwrap_or("");
    let kind = given.split(';').next().unwrap_or("").trim();
    kind.chars()
        .take(64)
        .collect::<String>()
        .to_ascii_lowercase()
}

/// What the body is compressed with.
///
/// # Errors
/// When that is not read here.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Fault> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Fault::Encoding("several at once".to_owned()));
    }
    let name = first.map(|name| name.to_str().unwrap_or("not text"));
    Encoding::of_name(name)
}

/// Takes the spans of a request for that path, whose headers say that form. The body is read to its
/// end, or as far as [`drained`] goes, whatever the answer.
pub(crate) async fn post(
    pipeline: &Pipeline,
    path: &str,
    request: Request<Incoming>,
    form: Result<Form, Fault>,
) -> Result<Taken, Fault> {
    let (head, mut body) = request.into_parts();
    let collected = async {
        if head.uri.path() != path {
            return Err(Fault::Path(head.uri.path().chars().take(128).collect()));
        }
        check_method(&head.method)?;
        let form = form?;
        let encoding = encoding(&head.headers)?;
        Ok((pipeline.collect(&mut body, 0).await?, form, encoding))
    };
    match collected.await {
        Ok((collected, form, encoding)) => {
            let bytes = collected.bytes.clone();
            pipeline.take(collected, bytes, encoding, form).await
        }
        Err(fault) => Err(drained(fault, &head.headers, &mut body).await),
    }
}

/// Reads on what is still on its way of a refused request, and throws it away: who is sent an
/// answer while it still sends would find its connection reset, and never read why. Returns the
/// fault.
pub(crate) async fn drained(fault: Fault, headers: &HeaderMap, body: &mut Incoming) -> Fault {
    // A slow or broken body brings nothing more; who asks first has not begun to send.
    let gone = matches!(fault, Fault::Slow(_) | Fault::Cut);
    if !gone && !headers.contains_key(header::EXPECT) {
        let drain = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DRAIN_BYTES_MAX {
                    break;
                }
            }
        };
        _ = tokio::time::timeout(DRAIN_WAIT, drain).await;
    }
    fault
}

/// Only POST takes spans.
///
/// # Errors
/// For every other method.
pub(crate) fn check_method(method: &Method) -> Result<(), Fault> {
    if method == Method::POST {
        Ok(())
    } else {
        Err(Fault::Method)
    }
}

/// An answer with a body.
pub(crate) fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// An answer without one.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// What belongs to a fault beside its body.
pub(crate) fn fault_headers(answer: &mut Answer, fault: &Fault) {
    let headers = answer.headers_mut();
    if let Some(seconds) = fault.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match fault {
        Fault::Method => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Fault::Encoding(_) => {
            let known = HeaderValue::from_static("gzip, zstd, deflate");
            headers.insert(header::ACCEPT_ENCODING, known);
        }
        // What is still on its way of such a request would be taken for the next one's head.
        Fault::TooLarge { .. } | Fault::Slow(_) | Fault::Cut | Fault::Busy => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
