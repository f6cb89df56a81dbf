//! What of a request and its answer goes into entries.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame, SizeHint};
use selvedge_entry::Data;
use selvedge_node::{Gathered, Keep};

/// Begins to gather a body with these headers.
pub(crate) fn gather(keep: &Keep, headers: &HeaderMap) -> Gathered {
    let content_type = headers.get(CONTENT_TYPE);
    Gathered::new(keep, content_type.and_then(|value| value.to_str().ok()))
}

/// The headers that an entry keeps.
pub(crate) fn kept_headers(keep: &Keep, headers: &HeaderMap) -> Data {
    let fields = headers
        .iter()
        .filter(|(name, _)| keep.wants_header(name.as_str()))
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().into(), value.as_ref().into())
        })
        .collect();
    Data {
        fields,
        ..Data::default()
    }
}

/// A request's body that counts what its service reads of it, and gathers it where the node's
/// settings say that it is kept. It passes everything on unchanged.
#[derive(Debug)]
pub struct RequestBody<B> {
    body: B,
    gathered: Arc<Mutex<Gathered>>,
}

impl<B> RequestBody<B> {
    pub(crate) fn new(body: B, gathered: Arc<Mutex<Gathered>>) -> Self {
        Self { body, gathered }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let gathered = self.gathered.lock();
            gathered.unwrap_or_else(PoisonError::into_inner).push(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
