//! An answer's head on its way, while the request may still be going out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;

use crate::Refusal;
use crate::body::Body;
use crate::client::SendError;
use crate::copy::CopyError;
use crate::head::{Length, RequestHead, Response, ResponseHead};
use crate::http1_body::{Giving, Http1Body};
use crate::limits::{ClientLimits, millis};
use crate::parse::{Framing, HeadScanner, ResponseFacts, parse_response};
use crate::pool::{Checkin, Pool};
use crate::wire::{SMALL, Sink, Source, Tunnel};

/// Sends a request's body.
pub(crate) type Pump = Pin<Box<dyn Future<Output = (Result<(), CopyError>, Sink)> + Send>>;

const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// An answer's head on its way.
pub(crate) struct Answer<'a> {
    to_head: bool,
    upgrades: bool,
    limits: &'a ClientLimits,
    got: Option<(ResponseHead, ResponseFacts)>,
    scanner: HeadScanner,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(head: &RequestHead, pool: &'a Pool) -> Self {
        Self {
            to_head: head.method() == "HEAD",
            upgrades: head.upgrade.is_some(),
            limits: &pool.limits,
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
    pub(crate) async fn wait(&mut self, source: &mut Source) -> Result<(), SendError> {
        let limit = millis(self.limits.answer_timeout_ms);
        while !self.look(source)? {
            let filled = source.fill(limit).await;
            self.filled(source, filled)?;
        }
        Ok(())
    }

    /// Sends the request's body and waits for the head at the same time. Gives the sink back if
    /// the body was sent to its end.
    pub(crate) async fn wait_pumping(
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

    pub(crate) fn response(
        self,
        mut source: Source,
        sink: Option<Sink>,
        pool: &Arc<Pool>,
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
pub(crate) async fn pump(
    head: BytesMut,
    mut body: Body,
    length: Length,
    mut sink: Sink,
) -> (Result<(), CopyError>, Sink) {
    let chunked = length == Length::Unknown;
    (sink.copy(head, &mut body, chunked).await, sink)
}

pub(crate) fn closed(error: &io::Error, sent: bool) -> SendError {
    match error.kind() {
        io::ErrorKind::TimedOut => SendError::Timeout,
        kind => SendError::Closed { kind, sent },
    }
}
