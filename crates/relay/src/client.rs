//! Requests to one upstream over kept-alive HTTP/1 connections.
//!
//! A server may close an unused connection at the very moment we send on it. Then the request
//! goes out once more on a fresh connection, if that can do no harm: no byte of an answer came,
//! none of the body was consumed, and the method is safe or nothing was sent. Anything more than
//! that is the caller's decision ([`SendError`] tells what is known).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::net::TcpStream;

use crate::Refusal;
use crate::body::{Body, BodyError};
use crate::copy::CopyError;
use crate::head::{Length, RequestHead, Response, ResponseHead};
use crate::http1_body::{Giving, Http1Body};
use crate::limits::{ClientLimits, millis};
use crate::parse::{Framing, HeadScanner, ResponseFacts, parse_response};
use crate::wire::{Sink, Source, Tunnel};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// No connection was made; nothing was sent.
    #[error("cannot connect to {address}: {kind}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        kind: io::ErrorKind,
    },
    /// The connection closed, or broke, before a byte of an answer.
    #[error("connection closed before the answer: {kind}")]
    Closed {
        /// How.
        kind: io::ErrorKind,
        /// Whether the upstream may have got any of the request.
        sent: bool,
    },
    /// It broke within the answer's head.
    #[error("connection broke within the answer's head: {0}")]
    Broke(io::ErrorKind),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer breaks HTTP.
    #[error("malformed answer: {0}")]
    Malformed(Refusal),
    /// The request's own body failed: the client's fault, not the upstream's.
    #[error("request body: {0}")]
    RequestBody(BodyError),
}

impl SendError {
    /// Whether the upstream certainly did not get the request.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Closed { sent: false, .. }
        )
    }

    /// Whether no byte of an answer came, so that asking again elsewhere is possible for a
    /// request that may be repeated.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Closed { .. } | Self::Timeout
        )
    }

    /// Whether the client is at fault, not the upstream.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        matches!(self, Self::RequestBody(_))
    }
}

/// The connections to one upstream. Cloning is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `host:port`, resolved at each connect: addresses behind names change.
    address: String,
    limits: ClientLimits,
    idle: Mutex<Vec<Idle>>,
    connects: AtomicUsize,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Connection {
    source: Source,
    sink: Sink,
}

/// What brings a connection back to its pool once an answer's body was read.
#[derive(Debug)]
pub(crate) struct Checkin {
    pool: Arc<Shared>,
    sink: Sink,
}

impl Checkin {
    pub(crate) fn give(self, source: Source) {
        self.pool.give(Connection {
            source,
            sink: self.sink,
        });
    }
}

type Pump = Pin<Box<dyn Future<Output = (Result<(), CopyError>, Sink)> + Send>>;

/// Bodies up to this size are copied behind their head.
const SMALL: usize = 8 * 1024;
/// A connection in use so short a time ago is not closed for being unused.
const YOUNG: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);

impl Client {
    /// Connections to `address` (`host:port`); none is made yet.
    #[must_use]
    pub fn new(address: impl Into<String>, limits: ClientLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                address: address.into(),
                limits,
                idle: Mutex::default(),
                connects: AtomicUsize::new(0),
            }),
        }
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.shared.connects.load(Relaxed)
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.shared.idle().clear();
    }

    /// Sends a request and waits for its answer's head; the answer's body is read from the
    /// connection as it is asked for. Interim answers (1xx) are skipped. Trailers are dropped.
    ///
    /// After an error `body` tells by [`Body::is_untouched`] whether it can be sent elsewhere; a
    /// body that lies in memory always can.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, head: &RequestHead, body: &mut Body) -> Result<Response, SendError> {
        // A request that must not be repeated only takes a connection that was in use a moment
        // ago, which no server closes for being unused.
        if let Some(connection) = self.shared.take(head.is_safe()) {
            match self.shared.exchange(connection, head, body).await {
                // Its idle time was up; its fellows' may be too.
                Err(SendError::Closed { sent, .. })
                    if (head.is_safe() || !sent) && body.is_untouched() =>
                {
                    self.close_idle();
                }
                result => return result,
            }
        }
        let connection = self.shared.connect().await?;
        self.shared.exchange(connection, head, body).await
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if one is fit for use.
    fn take(&self, any_age: bool) -> Option<Connection> {
        let age_max = if any_age {
            millis(self.limits.idle_timeout_ms)
        } else {
            millis(self.limits.idle_timeout_ms).min(YOUNG)
        };
        let mut idle = self.idle();
        while let Some(mut last) = idle.pop() {
            if last.since.elapsed() > age_max {
                // The others are older still.
                if any_age {
                    idle.clear();
                } else {
                    idle.push(last);
                }
                return None;
            }
            if last.connection.source.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    fn give(&self, mut connection: Connection) {
        // Bytes behind the answer belong to nothing that we asked.
        if !connection.source.buffer.is_empty() {
            return;
        }
        connection.source.rest();
        let since = Instant::now();
        let age_max = millis(self.limits.idle_timeout_ms);
        let mut idle = self.idle();
        // The oldest stands first: those past their time go as new ones come.
        if idle.first().is_some_and(|i| since - i.since > age_max) {
            let fresh = idle.partition_point(|i| since - i.since > age_max);
            idle.drain(..fresh);
        }
        if idle.len() < self.limits.idle_max {
            idle.push(Idle { connection, since });
        }
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let failed = |kind| SendError::Connect {
            address: self.address.clone(),
            kind,
        };
        let limit = millis(self.limits.connect_timeout_ms);
        let stream = tokio::time::timeout(limit, TcpStream::connect(&self.address))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut))?
            .map_err(|error| failed(error.kind()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.kind()))?;
        self.connects.fetch_add(1, Relaxed);
        let (read, write) = stream.into_split();
        Ok(Connection {
            source: Source::new(read),
            sink: Sink::new(write, millis(self.limits.body_timeout_ms)),
        })
    }

    async fn exchange(
        self: &Arc<Self>,
        connection: Connection,
        head: &RequestHead,
        body: &mut Body,
    ) -> Result<Response, SendError> {
        let Connection {
            mut source,
            mut sink,
        } = connection;
        let mut out = BytesMut::new();
        let length = body.length();
        head.write(length, &mut out);
        sink.wrote = false;

        let mut answer = Answer::new(head, self);
        let (sink, pumping) = if let Some(whole) = body.whole() {
            let written = if whole.len() <= SMALL {
                out.extend_from_slice(&whole);
                sink.write(out).await
            } else {
                sink.write(out.chain(whole)).await
            };
            // A server that refuses early may have answered before it closed: look.
            let failed = written.err();
            if let Err(error) = answer.wait(&mut source).await {
                return Err(match (error, failed) {
                    (SendError::Closed { .. }, Some(failed)) => closed(&failed, sink.wrote),
                    (error, _) => error,
                });
            }
            body.finish_whole();
            (Some(sink), None)
        } else {
            let mut pump: Pump = Box::pin(pump(out, body.take(), length, sink));
            match answer.wait_pumping(&mut source, &mut pump).await? {
                Some(sink) => (Some(sink), None),
                None => (None, Some(pump)),
            }
        };
        if let Some(pump) = pumping {
            // The answer came before the request had ended: the rest goes on beside it. This
            // connection is not used again. Its end waits for the answer's: servers give up an
            // answer whose client seems to have gone (hyper does).
            tokio::spawn(async move {
                if let (Ok(()), sink) = pump.await {
                    sink.into_half().forget();
                }
            });
        }
        answer.response(source, sink, self)
    }
}

/// An answer's head on its way.
struct Answer<'a> {
    to_head: bool,
    upgrades: bool,
    limits: &'a ClientLimits,
    got: Option<(ResponseHead, ResponseFacts)>,
    scanner: HeadScanner,
}

impl<'a> Answer<'a> {
    fn new(head: &RequestHead, shared: &'a Shared) -> Self {
        Self {
            to_head: head.method() == "HEAD",
            upgrades: head.upgrade.is_some(),
            limits: &shared.limits,
            got: None,
            scanner: HeadScanner::default(),
        }
    }

    /// Looks for a whole head in the buffer.
    fn look(&mut self, source: &mut Source) -> Result<bool, SendError> {
        loop {
            let end = self
                .scanner
                .scan(&source.buffer)
                .map_err(SendError::Malformed)?;
            if end.unwrap_or(source.buffer.len()) > self.limits.head_bytes_max {
                let refusal = Refusal::new(502, "answer's head too large");
                return Err(SendError::Malformed(refusal));
            }
            let Some(end) = end else {
                return Ok(false);
            };
            self.scanner = HeadScanner::default();
            let bytes = source.buffer.split_to(end).freeze();
            let (head, facts) =
                parse_response(bytes, self.to_head).map_err(SendError::Malformed)?;
            match head.status {
                101 if self.upgrades && head.upgrade.is_some() => {}
                101 => {
                    let refusal = Refusal::new(502, "101 without an upgrade");
                    return Err(SendError::Malformed(refusal));
                }
                100..=199 => continue,
                _ => {}
            }
            self.got = Some((head, facts));
            return Ok(true);
        }
    }

    fn filled(&self, source: &Source, filled: io::Result<usize>) -> Result<(), SendError> {
        let kind = match filled {
            Ok(0) => io::ErrorKind::UnexpectedEof,
            Ok(_) => return Ok(()),
            Err(error) => error.kind(),
        };
        Err(match kind {
            io::ErrorKind::TimedOut => SendError::Timeout,
            kind if source.buffer.is_empty() => SendError::Closed { kind, sent: true },
            kind => SendError::Broke(kind),
        })
    }

    /// Waits for the head; the request was sent.
    async fn wait(&mut self, source: &mut Source) -> Result<(), SendError> {
        let limit = millis(self.limits.answer_timeout_ms);
        while !self.look(source)? {
            let filled = source.fill(limit).await;
            self.filled(source, filled)?;
        }
        Ok(())
    }

    /// Sends the request's body and waits for the head at the same time. Gives the sink back if
    /// the body was sent to its end.
    async fn wait_pumping(
        &mut self,
        source: &mut Source,
        pump: &mut Pump,
    ) -> Result<Option<Sink>, SendError> {
        enum Step {
            Pumped(Result<(), CopyError>, Sink),
            Filled(io::Result<usize>),
        }
        loop {
            // While the request is being sent its own limits hold; the answer may take as long.
            let step = poll_fn(|cx| {
                if let Poll::Ready((result, sink)) = pump.as_mut().poll(cx) {
                    return Poll::Ready(Step::Pumped(result, sink));
                }
                source.poll_fill(cx, SMALL, FOREVER).map(Step::Filled)
            })
            .await;
            match step {
                Step::Pumped(Ok(()), sink) => {
                    self.wait(source).await?;
                    return Ok(Some(sink));
                }
                Step::Pumped(Err(CopyError::Body(error)), _) => {
                    return Err(SendError::RequestBody(error));
                }
                Step::Pumped(Err(CopyError::Write(error)), sink) => {
                    return match self.wait(source).await {
                        Ok(()) => Ok(None),
                        Err(SendError::Closed { .. }) => Err(closed(&error, sink.wrote)),
                        Err(error) => Err(error),
                    };
                }
                Step::Filled(filled) => {
                    self.filled(source, filled)?;
                    if self.look(source)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn response(
        self,
        mut source: Source,
        sink: Option<Sink>,
        pool: &Arc<Shared>,
    ) -> Result<Response, SendError> {
        let Some((head, facts)) = self.got else {
            return Err(SendError::Broke(io::ErrorKind::UnexpectedEof));
        };
        if head.status == 101 {
            let tunnel = sink.map(|sink| Box::new(Tunnel { source, sink }));
            return Ok(Response {
                head,
                body: Body::empty(),
                tunnel,
            });
        }
        let checkin = match sink {
            Some(sink) if facts.keep_alive => Some(Checkin {
                pool: Arc::clone(pool),
                sink,
            }),
            // Not closed before the answer has ended, for the same reason as above.
            Some(sink) => {
                sink.into_half().forget();
                None
            }
            None => None,
        };
        let whole = match facts.framing {
            Framing::Length(length) if length <= source.buffer.len() as u64 => {
                Some(source.buffer.split_to(length as usize).freeze())
            }
            _ => None,
        };
        let body = if let Some(whole) = whole {
            if let Some(checkin) = checkin {
                checkin.give(source);
            }
            Body::full(whole)
        } else {
            Body::http1(Http1Body::new(
                source,
                facts.framing,
                u64::MAX,
                millis(self.limits.body_timeout_ms),
                Giving::Client(checkin),
            ))
        };
        Ok(Response {
            head,
            body,
            tunnel: None,
        })
    }
}

/// Sends head and body.
async fn pump(
    head: BytesMut,
    mut body: Body,
    length: Length,
    mut sink: Sink,
) -> (Result<(), CopyError>, Sink) {
    let chunked = length == Length::Unknown;
    (sink.copy(head, &mut body, chunked).await, sink)
}

fn closed(error: &io::Error, sent: bool) -> SendError {
    match error.kind() {
        io::ErrorKind::TimedOut => SendError::Timeout,
        kind => SendError::Closed { kind, sent },
    }
}
