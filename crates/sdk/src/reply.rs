//! An answer's body on its way out: counted, gathered where kept, and the entry closed at its end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use selvedge_node::{End, Exchange, Gathered, Keep};

use crate::grpc::{Status, is_grpc};
use crate::record::{gather, kept_headers};

/// An answer of at most this many bytes that is there at once is written as one record.
const READY_BYTES_MAX: u64 = 64 * 1024;

/// An answer's body. It closes the request's entry when it ends, or when it is dropped before
/// (the client has gone).
#[derive(Debug)]
pub struct ReplyBody<B>
where
    B: Body,
{
    /// What was ready before the answer's head went out.
    ready: VecDeque<Result<Frame<Bytes>, B::Error>>,
    ready_bytes: u64,
    body: B,
    ended: Option<Ended>,
}

/// What the end of an answer needs.
#[derive(Debug)]
pub(crate) struct Ended {
    exchange: ExchangeHandle,
    status: u16,
    request: Arc<Mutex<Gathered>>,
    response: Gathered,
    fields: selvedge_entry::Fields,
    /// Of a gRPC call: how it ended, once that came.
    grpc: Option<Option<Status>>,
}

/// The exchange, whose `Debug` says nothing.
struct ExchangeHandle(Exchange);

impl std::fmt::Debug for ExchangeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

impl Ended {
    pub(crate) fn new(
        exchange: Exchange,
        request: Arc<Mutex<Gathered>>,
        parts: &Parts,
        keep: &Keep,
    ) -> Self {
        Self {
            exchange: ExchangeHandle(exchange),
            status: parts.status.as_u16(),
            request,
            response: gather(keep, &parts.headers),
            fields: kept_headers(keep, &parts.headers).fields,
            grpc: is_grpc(&parts.headers).then(|| Status::read(&parts.headers)),
        }
    }

    fn pass(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.response.push(data);
        }
        if let (Some(trailers), Some(status)) = (frame.trailers_ref(), &mut self.grpc) {
            *status = Status::read(trailers).or(status.take());
        }
    }

    fn end(&mut self, error: Option<&str>) -> End {
        let keep = self.exchange.0.node().keep();
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        let mut response = self.response.data(keep);
        response.fields = std::mem::take(&mut self.fields);
        let mut end = End {
            status: self.status,
            error: error.map(str::to_owned),
            request_bytes: request.bytes(),
            response_bytes: self.response.bytes(),
            request: request.data(keep),
            response,
            work: None,
        };
        if let Some(status) = &self.grpc
            && (error.is_none() || status.is_some())
        {
            Status::tell(status.as_ref(), &mut end);
        }
        end
    }

    fn close(mut self, error: Option<&str>) {
        let end = self.end(error);
        self.exchange.0.close(end);
    }
}

impl<B> ReplyBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(crate) fn new(body: B, ended: Ended) -> Self {
        Self {
            ready: VecDeque::new(),
            ready_bytes: 0,
            body,
            ended: Some(ended),
        }
    }

    /// Takes what is ready without waiting. Where that is the whole answer, its end is returned
    /// for the caller to write; else this body writes it later.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) -> Option<End> {
        while self.ready_bytes <= READY_BYTES_MAX {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return None,
                Poll::Ready(None) => return self.ended.take().map(|mut ended| ended.end(None)),
                Poll::Ready(Some(Ok(frame))) => {
                    self.ready_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                    if let Some(ended) = &mut self.ended {
                        ended.pass(&frame);
                    }
                    self.ready.push_back(Ok(frame));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ready.push_back(Err(error));
                    return None;
                }
            }
        }
        None
    }

    fn close(&mut self, error: Option<&str>) {
        if let Some(ended) = self.ended.take() {
            ended.close(error);
        }
    }
}

impl<B> Body for ReplyBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (polled, counted) = match self.ready.pop_front() {
            Some(ready) => {
                let bytes = ready
                    .as_ref()
                    .ok()
                    .and_then(Frame::data_ref)
                    .map(Bytes::len);
                self.ready_bytes -= bytes.unwrap_or(0) as u64;
                (Poll::Ready(Some(ready)), true)
            }
            None => (Pin::new(&mut self.body).poll_frame(cx), false),
        };
        match &polled {
            Poll::Ready(None) => self.close(None),
            Poll::Ready(Some(Err(_))) => self.close(Some("the answer's body failed")),
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(ended), false) = (&mut self.ended, counted) {
                    ended.pass(frame);
                }
                // A server that knows the length does not ask again after the last byte, nor
                // one that has the trailers.
                if self.is_end_stream() || frame.is_trailers() {
                    self.close(None);
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(self.ready_bytes));
        }
        hint.set_lower(rest.lower().saturating_add(self.ready_bytes));
        hint
    }
}

impl<B> Drop for ReplyBody<B>
where
    B: Body,
{
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.close(Some("the client went away before the answer's end"));
        }
    }
}
