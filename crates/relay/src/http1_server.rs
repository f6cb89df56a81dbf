//! The inbound side of an HTTP/1 connection: request after request, each answered before the next
//! is looked at, so pipelined ones queue in the socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::body::Body;
use crate::head::{Length, Request, RequestHead, Response, Version, write_content_length};
use crate::http1_body::{Continue, Giving, Http1Body, Returned};
use crate::limits::millis;
use crate::parse::{Framing, HeadScanner, RequestFacts, is_method_start, parse_request};
use crate::server::{Handler, Phase, State};
use crate::wire::{Sink, Source, Tunnel, addresses, linger};
use crate::{Refusal, http2_server, phrase};

/// How a client that speaks HTTP/2 without asking begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends.
pub(crate) async fn serve<H: Handler>(
    source: Source,
    sink: Sink,
    handler: Arc<H>,
    state: Arc<State>,
    phase: Arc<Phase>,
) {
    let Ok((peer, local)) = addresses(source.half()) else {
        return;
    };
    let mut connection = Connection {
        source: Some(source),
        sink,
        handler,
        state,
        phase,
        peer,
        local,
        fresh: true,
    };
    let next = loop {
        match connection.request().await {
            Next::Request => {}
            next => break next,
        }
    };
    let Connection {
        source,
        mut sink,
        handler,
        state,
        ..
    } = connection;
    let Some(source) = source else {
        return;
    };
    match next {
        Next::Request | Next::Drop => {}
        Next::Linger => linger(source, sink).await,
        Next::Refuse(refusal) => {
            handler.refused(refusal, peer);
            if sink.write(refusal_answer(refusal)).await.is_ok() {
                linger(source, sink).await;
            }
        }
        Next::Http2 => {
            http2_server::serve(source, sink, handler, state, peer, local).await;
        }
        Next::Tunnel(tunnel, mut body) => {
            let idle = millis(state.limits.idle_timeout_ms).max(TUNNEL_IDLE_MIN);
            tunnel.join((source, sink), idle).await;
            body.finish_whole();
        }
    }
}

/// Both sides of a changed protocol may be silent for long.
const TUNNEL_IDLE_MIN: Duration = Duration::from_secs(600);

struct Connection<H> {
    /// `None` while a request's body has it.
    source: Option<Source>,
    sink: Sink,
    handler: Arc<H>,
    state: Arc<State>,
    phase: Arc<Phase>,
    peer: SocketAddr,
    local: SocketAddr,
    /// No request came yet.
    fresh: bool,
}

/// What comes after a request, or in its place.
enum Next {
    /// Another request.
    Request,
    /// The connection is over.
    Drop,
    /// It is over, but the client may still be sending.
    Linger,
    Refuse(Refusal),
    Http2,
    Tunnel(Box<Tunnel>, Body),
}

/// What counts of a request while it is answered.
struct Asked {
    to_head: bool,
    version: Version,
    keep_alive: bool,
}

/// A source that a request's body has.
struct Lent {
    back: oneshot::Receiver<Returned>,
    continues: Option<Continue>,
}

impl<H: Handler> Connection<H> {
    /// Takes one request from the connection and answers it.
    async fn request(&mut self) -> Next {
        let head = match self.head().await {
            Ok(head) => head,
            Err(next) => return next,
        };
        let (head, facts) = head;
        self.fresh = false;
        let asked = Asked {
            to_head: head.method() == "HEAD",
            version: head.version,
            keep_alive: facts.keep_alive,
        };
        let (body, lent) = self.body(facts);
        let request = Request {
            head,
            body,
            peer: self.peer,
            local: self.local,
        };
        let response = self.handler.handle(request).await;
        self.answer(response, &asked, lent).await
    }

    async fn head(&mut self) -> Result<(RequestHead, RequestFacts), Next> {
        let limits = &self.state.limits;
        let Some(source) = &mut self.source else {
            return Err(Next::Drop);
        };
        let mut scanner = HeadScanner::default();
        let mut deadline = None;
        let mut begun = false;
        let end = loop {
            // One empty line before a request is forgiven (RFC 9112, 2.2).
            if !begun && source.buffer.starts_with(b"\r\n") {
                let _ = source.buffer.split_to(2);
            }
            if !source.buffer.is_empty() {
                if !begun && !self.phase.begin() {
                    return Err(Next::Drop);
                }
                begun = true;
                let buffer = &source.buffer;
                let start = &buffer[..buffer.len().min(PREFACE.len())];
                if self.fresh && start == PREFACE {
                    return Err(Next::Http2);
                }
                if !self.fresh || !PREFACE.starts_with(start) {
                    if !is_method_start(buffer) {
                        return Err(Next::Refuse(Refusal::bad("bad method")));
                    }
                    if let Some(end) = scanner.scan(buffer).map_err(Next::Refuse)? {
                        break end;
                    }
                    let target_max = limits.target_bytes_max + 64;
                    if !scanner.has_line() && buffer.len() > target_max {
                        return Err(Next::Refuse(Refusal::new(414, "target too long")));
                    }
                    if buffer.len() > limits.head_bytes_max {
                        return Err(Next::Refuse(Refusal::new(431, "head too large")));
                    }
                }
            }
            let wait = if begun {
                let head_timeout = millis(limits.head_timeout_ms);
                let at = *deadline.get_or_insert_with(|| Instant::now() + head_timeout);
                at.saturating_duration_since(Instant::now())
            } else if self.fresh {
                millis(limits.head_timeout_ms)
            } else {
                source.rest();
                millis(limits.idle_timeout_ms)
            };
            match source.fill(wait).await {
                Ok(0) => return Err(Next::Drop),
                Ok(_) => {}
                Err(error) if begun && error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Next::Refuse(Refusal::new(408, "head too slow")));
                }
                Err(_) => return Err(Next::Drop),
            }
        };
        if end > limits.head_bytes_max {
            return Err(Next::Refuse(Refusal::new(431, "head too large")));
        }
        let bytes = source.buffer.split_to(end).freeze();
        let (head, facts) = parse_request(bytes, limits).map_err(Next::Refuse)?;
        if matches!(facts.framing, Framing::Length(n) if n > limits.body_bytes_max) {
            return Err(Next::Refuse(Refusal::new(413, "body too large")));
        }
        Ok((head, facts))
    }

    /// The request's body. Where it has not come as a whole it takes the source along.
    fn body(&mut self, facts: RequestFacts) -> (Body, Option<Lent>) {
        let Some(mut source) = self.source.take() else {
            return (Body::empty(), None);
        };
        if let Framing::Length(length) = facts.framing
            && length <= source.buffer.len() as u64
        {
            let body = Body::full(source.buffer.split_to(length as usize).freeze());
            self.source = Some(source);
            return (body, None);
        }
        let (giving, back) = oneshot::channel();
        let continues = facts.expects_continue.then(Continue::default);
        let body = Body::http1(Http1Body::new(
            source,
            facts.framing,
            self.state.limits.body_bytes_max,
            millis(self.state.limits.body_timeout_ms),
            Giving::Server {
                back: Some(giving),
                continues: continues.clone(),
            },
        ));
        (body, Some(Lent { back, continues }))
    }

    async fn answer(&mut self, response: Response, asked: &Asked, lent: Option<Lent>) -> Next {
        let Response {
            head,
            mut body,
            tunnel,
        } = response;
        let unasked = lent
            .as_ref()
            .and_then(|lent| lent.continues.as_ref())
            .is_some_and(Continue::close);
        let bodiless = asked.to_head || head.is_bodiless();
        let length = body.length();
        let until_close =
            !bodiless && length == Length::Unknown && asked.version == Version::Http10;
        let keep_alive = asked.keep_alive && !until_close && !unasked && !self.state.is_stopping();

        let mut out = BytesMut::new();
        head.write(&mut out);
        match (head.status, length) {
            (101, _) => {
                if let (Some(protocol), Some(_)) = (&head.upgrade, &tunnel) {
                    out.put_slice(b"connection: upgrade\r\nupgrade: ");
                    out.put_slice(protocol);
                    out.put_slice(b"\r\n");
                }
            }
            (100..=199 | 204, _) => {}
            (304, _) | (_, Length::Known(0)) if bodiless => {
                if let Some(declared) = head.declared {
                    write_content_length(declared, &mut out);
                }
            }
            (_, Length::Unknown) if bodiless || until_close => {}
            (_, length) => length.write(&mut out),
        }
        match (&tunnel, keep_alive) {
            (Some(_), _) => {}
            (None, false) => out.put_slice(b"connection: close\r\n"),
            (None, true) if asked.version == Version::Http10 => {
                out.put_slice(b"connection: keep-alive\r\n");
            }
            (None, true) => {}
        }
        out.put_slice(b"\r\n");

        if let Some(tunnel) = tunnel {
            return match self.sink.write(out).await {
                Ok(()) => Next::Tunnel(tunnel, body),
                Err(_) => Next::Drop,
            };
        }
        let sent = if bodiless {
            let sent = self.sink.write(out).await.is_ok();
            if sent && body.is_empty() {
                body.finish_whole();
            }
            sent
        } else {
            let chunked = length == Length::Unknown && !until_close;
            self.sink.copy(out, &mut body, chunked).await.is_ok()
        };
        drop(body);
        if !sent {
            // The client has gone, or must see that the answer is not whole.
            return Next::Drop;
        }
        if let Some(lent) = lent {
            match lent.back.await {
                Ok(Returned { source, complete }) => {
                    self.source = Some(source);
                    if !complete {
                        return Next::Linger;
                    }
                }
                Err(_) => return Next::Drop,
            }
        }
        if !keep_alive {
            return Next::Linger;
        }
        self.phase.end();
        // The server may have begun to stop between the head and now.
        if self.state.is_stopping() {
            return Next::Linger;
        }
        Next::Request
    }
}

/// The whole answer to a request that is refused.
pub(crate) fn refusal_answer(refusal: Refusal) -> BytesMut {
    let Refusal { status, reason } = refusal;
    let phrase = phrase(status);
    let length = phrase.len() + reason.len() + 3;
    BytesMut::from(
        format!(
            "HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{phrase}: {reason}\n"
        )
        .as_str(),
    )
}
