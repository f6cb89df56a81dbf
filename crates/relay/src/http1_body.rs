//! A body that is being read from an HTTP/1 connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::chunked::{ChunkDecoder, Decoded};
use crate::parse::Framing;
use crate::pool::Checkin;
use crate::wire::{LARGE, Source};
use crate::{BodyError, Length};

/// A body and the reading half it comes from. When it ends, or is dropped, the half goes back.
pub(crate) struct Http1Body {
    /// `None` once given back.
    source: Option<Source>,
    state: State,
    length: Length,
    left_max: u64,
    limit: Duration,
    giving: Giving,
}

enum State {
    Length(u64),
    Chunked(ChunkDecoder),
    UntilClose,
}

/// Where the reading half goes.
pub(crate) enum Giving {
    /// To the server's connection, with whether the body was read to its end.
    Server {
        back: Option<oneshot::Sender<Returned>>,
        continues: Option<Continue>,
    },
    /// To the client's pool, if the body was read to its end.
    Client(Option<Checkin>),
}

/// What a server's connection gets back.
pub(crate) struct Returned {
    pub(crate) source: Source,
    /// Read to its end: the next request follows.
    pub(crate) complete: bool,
}

impl Http1Body {
    pub(crate) fn new(
        source: Source,
        framing: Framing,
        left_max: u64,
        limit: Duration,
        giving: Giving,
    ) -> Self {
        let (state, length) = match framing {
            Framing::Length(length) => (State::Length(length), Length::Known(length)),
            Framing::Chunked => (State::Chunked(ChunkDecoder::default()), Length::Unknown),
            Framing::UntilClose => (State::UntilClose, Length::Unknown),
        };
        Self {
            source: Some(source),
            state,
            length,
            left_max,
            limit,
            giving,
        }
    }

    pub(crate) fn length(&self) -> Length {
        self.length
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let part = ready!(self.poll_part(cx));
        match part {
            Ok(Some(data)) => {
                let Some(left) = self.left_max.checked_sub(data.len() as u64) else {
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                };
                self.left_max = left;
                // With the last byte the half goes back at once: the next request need not wait
                // for somebody to ask for the end.
                if matches!(self.state, State::Length(0)) {
                    self.give_back(true);
                }
                Poll::Ready(Some(Ok(data)))
            }
            Ok(None) => {
                self.give_back(!matches!(self.state, State::UntilClose));
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if matches!(self.state, State::Length(0)) {
            return Poll::Ready(Ok(None));
        }
        let Some(source) = &mut self.source else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let buffer = &mut source.buffer;
            match &mut self.state {
                State::Length(left) => {
                    if !buffer.is_empty() {
                        let take =
                            usize::try_from(*left).map_or(buffer.len(), |n| n.min(buffer.len()));
                        *left -= take as u64;
                        return Poll::Ready(Ok(Some(buffer.split_to(take).freeze())));
                    }
                }
                State::Chunked(decoder) => match decoder.decode(buffer) {
                    Ok(Decoded::Data(data)) => return Poll::Ready(Ok(Some(data))),
                    Ok(Decoded::End) => return Poll::Ready(Ok(None)),
                    Ok(Decoded::More) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::UntilClose => {
                    if !buffer.is_empty() {
                        return Poll::Ready(Ok(Some(buffer.split().freeze())));
                    }
                }
            }
            if let Giving::Server { continues, .. } = &mut self.giving
                && let Some(continues) = continues.take()
            {
                continues.say(source);
            }
            let room = match self.state {
                State::Length(left) => usize::try_from(left).map_or(LARGE, |n| n.min(LARGE)),
                _ => LARGE,
            };
            match ready!(source.poll_fill(cx, room, self.limit)) {
                Ok(0) if matches!(self.state, State::UntilClose) => return Poll::Ready(Ok(None)),
                Ok(0) => return Poll::Ready(Err(BodyError::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn give_back(&mut self, complete: bool) {
        let Some(source) = self.source.take() else {
            return;
        };
        match &mut self.giving {
            Giving::Server { back, .. } => {
                if let Some(back) = back.take() {
                    // The connection may be gone; then the half goes with it.
                    let _ = back.send(Returned { source, complete });
                }
            }
            Giving::Client(checkin) => {
                if let (Some(checkin), true) = (checkin.take(), complete) {
                    checkin.give(source);
                }
            }
        }
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        let complete = matches!(self.state, State::Length(0));
        self.give_back(complete);
    }
}

/// Says `100 Continue` to a client that waits for it, unless the answer has begun.
#[derive(Clone, Default)]
pub(crate) struct Continue {
    closed: Arc<Mutex<bool>>,
}

impl Continue {
    /// Called when the body is first read. The answers before this request's are out, so the
    /// socket has room; where it has none the word is left out, and the client goes on by itself
    /// after a while, as it has to.
    fn say(&self, source: &Source) {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*closed {
            *closed = true;
            let _ = source.half().as_ref().try_write(CONTINUE);
        }
    }

    /// From here on nothing is said. Returns whether nothing was said before: then the client may
    /// or may not send the body.
    pub(crate) fn close(&self) -> bool {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut *closed, true)
    }
}
