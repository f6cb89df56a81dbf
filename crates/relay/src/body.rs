//! Bodies: streamed, whatever they come from.
//!
//! A body owns what it reads from (for HTTP/1: the connection's reading half) and gives it back
//! when it ends or is dropped, so nothing is copied and no task stands between. It reads only
//! when asked: a slow receiver slows the sender down, and one buffer is all that lies between.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::Length;
use crate::http1_body::Http1Body;

/// Why a body did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The connection ended first.
    #[error("the connection closed within the body")]
    Closed,
    /// The framing was broken.
    #[error("malformed body: {0}")]
    Malformed(&'static str),
    /// More than allowed.
    #[error("body too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("timed out within the body")]
    Timeout,
    /// The connection failed.
    #[error("connection failed within the body: {0}")]
    Io(io::ErrorKind),
    /// HTTP/2 said so.
    #[error("stream failed within the body: {0}")]
    Stream(String),
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            kind => Self::Io(kind),
        }
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd<'a> {
    /// All of it was read.
    Complete,
    /// Its sender failed.
    Failed(&'a BodyError),
    /// Its receiver dropped it before the end.
    Abandoned,
}

/// Watches a body pass by.
pub trait Observer: Send {
    /// A part was read, in order.
    fn data(&mut self, part: &Bytes) {
        let _ = part;
    }

    /// It ended; called once.
    fn end(self: Box<Self>, end: BodyEnd<'_>);
}

/// A message's body.
#[derive(Default)]
pub struct Body {
    inner: Inner,
    touched: bool,
    observer: Option<Box<dyn Observer>>,
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Http1(Box<Http1Body>),
    Http2(Box<Http2Body>),
    Channel(mpsc::Receiver<Result<Bytes, BodyError>>),
}

struct Http2Body {
    incoming: hyper::body::Incoming,
    left: u64,
    length: Length,
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// All of it at once.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(if bytes.is_empty() {
            Inner::Empty
        } else {
            Inner::Full(bytes)
        })
    }

    /// What is sent into a channel, until its sender is dropped.
    #[must_use]
    pub fn channel(receiver: mpsc::Receiver<Result<Bytes, BodyError>>) -> Self {
        Self::of(Inner::Channel(receiver))
    }

    pub(crate) fn http1(body: Http1Body) -> Self {
        Self::of(Inner::Http1(Box::new(body)))
    }

    /// A stream of HTTP/2, at most `max` bytes.
    pub(crate) fn http2(incoming: hyper::body::Incoming, max: u64) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let length = incoming
            .size_hint()
            .exact()
            .map_or(Length::Unknown, Length::Known);
        Self::of(Inner::Http2(Box::new(Http2Body {
            incoming,
            left: max,
            length,
        })))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            touched: false,
            observer: None,
        }
    }

    /// Has the rest of the body watched. An observer that was there before is replaced, unheard.
    #[must_use]
    pub fn observed(mut self, observer: Box<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How long the whole body is, as far as is known before it is read.
    #[must_use]
    pub fn length(&self) -> Length {
        match &self.inner {
            Inner::Empty => Length::Known(0),
            Inner::Full(bytes) => Length::Known(bytes.len() as u64),
            Inner::Http1(body) => body.length(),
            Inner::Http2(body) => body.length,
            Inner::Channel(_) => Length::Unknown,
        }
    }

    /// Whether it is known to have nothing (more) to give.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.inner, Inner::Empty)
    }

    /// Whether none of it was read yet, so that it can still be sent anywhere.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// The whole body where it lies in memory, without reading it.
    #[must_use]
    pub fn whole(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Empty => Some(Bytes::new()),
            Inner::Full(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Takes the body away to be read; what is left counts as read.
    pub(crate) fn take(&mut self) -> Self {
        let taken = std::mem::take(self);
        self.touched = true;
        taken
    }

    /// Reads a body that lies in memory, now that what [`Self::whole`] gave was used.
    pub(crate) fn finish_whole(&mut self) {
        if let Inner::Full(bytes) = std::mem::take(&mut self.inner)
            && let Some(observer) = &mut self.observer
        {
            observer.data(&bytes);
        }
        self.end(BodyEnd::Complete);
    }

    /// The next part; `None` at the end. After an error comes the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Self::chunk`].
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.touched = true;
        let part = match &mut self.inner {
            Inner::Empty => None,
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Some(Ok(bytes))
            }
            Inner::Http1(body) => ready!(body.poll_chunk(cx)),
            Inner::Http2(body) => ready!(body.poll_chunk(cx)),
            Inner::Channel(receiver) => ready!(receiver.poll_recv(cx)),
        };
        match &part {
            Some(Ok(data)) => {
                if let Some(observer) = &mut self.observer {
                    observer.data(data);
                }
            }
            Some(Err(error)) => self.end(BodyEnd::Failed(error)),
            None => self.end(BodyEnd::Complete),
        }
        Poll::Ready(part)
    }

    /// Reads all of it, at most `max` bytes.
    ///
    /// # Errors
    /// Where it breaks off or is larger.
    pub async fn collect(&mut self, max: usize) -> Result<Bytes, BodyError> {
        let mut all = Vec::new();
        let mut first = Bytes::new();
        while let Some(part) = self.chunk().await {
            let part = part?;
            if first.len() + all.len() + part.len() > max {
                return Err(BodyError::TooLarge);
            }
            if first.is_empty() && all.is_empty() {
                first = part;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&part);
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }

    fn end(&mut self, end: BodyEnd<'_>) {
        self.inner = Inner::Empty;
        if let Some(observer) = self.observer.take() {
            observer.end(end);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.end(BodyEnd::Abandoned);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.length())
    }
}

impl Http2Body {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(BodyError::Stream(error.to_string()))));
                }
                Some(Ok(frame)) => frame,
            };
            // Trailers are dropped.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            };
            self.left = left;
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}
