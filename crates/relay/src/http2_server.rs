//! Cleartext HTTP/2 with prior knowledge: hyper speaks it, the requests become the same as those
//! of HTTP/1 and are held to the same rules.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::head::{Length, Request, RequestHead, Response, Version};
use crate::limits::millis;
use crate::parse::parse_request;
use crate::server::{Handler, State};
use crate::wire::{Sink, Source};
use crate::{Body, BodyError, Refusal};

/// What one stream may have under way: few streams are large, and there may be many.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves a connection whose preface was seen (and is still in the buffer).
pub(crate) async fn serve<H: Handler>(
    source: Source,
    sink: Sink,
    handler: Arc<H>,
    state: Arc<State>,
    peer: SocketAddr,
    local: SocketAddr,
) {
    let (read, ahead) = source.into_parts();
    let Ok(stream) = read.reunite(sink.into_half()) else {
        return;
    };
    let activity = Arc::new(Activity::default());
    let service = {
        let (state, activity) = (Arc::clone(&state), Arc::clone(&activity));
        service_fn(move |request: http::Request<Incoming>| {
            let (handler, state) = (Arc::clone(&handler), Arc::clone(&state));
            let stay = activity.begin();
            async move {
                let to_head = request.method() == http::Method::HEAD;
                let response = match translate(request, &state, peer, local) {
                    Ok(request) => handler.handle(request).await,
                    Err(refusal) => {
                        handler.refused(refusal, peer);
                        Response::text(refusal.status, &format!("{}\n", refusal.reason))
                    }
                };
                Ok::<_, Infallible>(answer(response, to_head, stay))
            }
        })
    };
    let limits = &state.limits;
    let idle = millis(limits.idle_timeout_ms);
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Some(idle / 2))
        .serve_connection(TokioIo::new(Ahead { ahead, stream }), service);
    let mut connection = std::pin::pin!(connection);
    let mut stop = state.stop_signal();
    let mut seen = activity.begun();
    let mut ending = *stop.borrow();
    if ending {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "http/2 connection failed");
                }
                return;
            }
            _ = stop.changed(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(idle) => {
                let now = activity.begun();
                if activity.is_idle() && now == seen {
                    if ending {
                        return;
                    }
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                seen = now;
            }
        }
    }
}

/// What is going on on a connection.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicU64,
    open: AtomicUsize,
}

/// Held while a stream is open.
struct Stay(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Self>) -> Stay {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Stay(Arc::clone(self))
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The request as HTTP/1 would have said it, read by the same parser.
fn translate(
    request: http::Request<Incoming>,
    state: &State,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<Request, Refusal> {
    let (parts, incoming) = request.into_parts();
    let limits = &state.limits;
    let target = match parts.uri.path_and_query() {
        Some(target) => target.as_str(),
        None => return Err(Refusal::new(405, "CONNECT is not served")),
    };
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(parts.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let mut put = |name: &str, value: &[u8]| {
        out.put_slice(name.as_bytes());
        out.put_slice(b": ");
        out.put_slice(value);
        out.put_slice(b"\r\n");
    };
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    if let Some(authority) = authority {
        put("host", authority.as_bytes());
    }
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" if authority.is_some() => {}
            // hyper has checked it against the stream; the body's length says the rest.
            "content-length" => {}
            "transfer-encoding" | "connection" => {
                return Err(Refusal::bad("connection field in HTTP/2"));
            }
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            name => put(name, value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        put("cookie", &cookies);
    }
    out.put_slice(b"\r\n");
    if out.len() > limits.head_bytes_max {
        return Err(Refusal::new(431, "head too large"));
    }
    let (mut head, _): (RequestHead, _) = parse_request(out.freeze(), limits)?;
    head.version = Version::Http2;
    let body = Body::http2(incoming, limits.body_bytes_max);
    if matches!(body.length(), Length::Known(n) if n > limits.body_bytes_max) {
        return Err(Refusal::new(413, "body too large"));
    }
    Ok(Request {
        head,
        body,
        peer,
        local,
    })
}

fn answer(response: Response, to_head: bool, stay: Stay) -> http::Response<OutBody> {
    let Response { head, mut body, .. } = response;
    // There is no 101 in HTTP/2.
    let status = match head.status {
        0..=199 => StatusCode::BAD_GATEWAY,
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
    };
    let bodiless = to_head || head.is_bodiless();
    let mut out = http::Response::new(());
    *out.status_mut() = status;
    for (name, value) in head.fields.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            out.headers_mut().append(name, value);
        }
    }
    let declared = match (bodiless, body.length()) {
        (true, _) => head.declared.filter(|_| head.status != 204),
        (false, Length::Known(length)) => Some(length),
        (false, Length::Unknown) => None,
    };
    if let Some(declared) = declared {
        out.headers_mut()
            .insert(http::header::CONTENT_LENGTH, HeaderValue::from(declared));
    }
    if bodiless || body.is_empty() {
        if body.is_empty() {
            body.finish_whole();
        }
        body = Body::empty();
    }
    out.map(|()| OutBody { body, _stay: stay })
}

struct OutBody {
    body: Body,
    _stay: Stay,
}

impl hyper::body::Body for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.body
            .poll_chunk(cx)
            .map(|part| part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.length() {
            Length::Known(length) => SizeHint::with_exact(length),
            Length::Unknown => SizeHint::default(),
        }
    }
}

/// A stream of which some was read ahead.
struct Ahead {
    ahead: BytesMut,
    stream: TcpStream,
}

impl AsyncRead for Ahead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let take = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..take]);
        self.ahead.advance(take);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
