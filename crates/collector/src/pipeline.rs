//! What every protocol does with a request: collect, decompress, read, store.
//!
//! Memory: a request's bytes are charged as they arrive; what they become is charged before it is
//! stored. In between, while it is decompressed and read, only a few requests at a time may be
//! ([`READERS`]), each bounded by its decompressed size.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use selvedge_spans::{Refusal, Span};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::flight::{Flight, Flights};
use crate::{Counts, Encoding, Fault, Form, Limits, SpanSink, decode, decompress};

/// Requests that are read at once: reading is work for a core, and what a hostile one needs
/// meanwhile is many times its size.
const READERS: usize = 2;

/// What the listeners share.
pub(crate) struct Pipeline {
    sink: Arc<dyn SpanSink>,
    flights: Flights,
    readers: Arc<Semaphore>,
    pub(crate) limits: Limits,
    pub(crate) counts: Arc<Counts>,
}

/// A request that is here as a whole, still as it was sent.
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    flight: Flight,
}

/// What became of a request.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Spans that are durable.
    pub(crate) spans: u64,
    /// Spans that were refused.
    pub(crate) refused: BTreeMap<Refusal, u64>,
}

impl Taken {
    /// What is said of refused spans; `None` where there are none.
    pub(crate) fn complaint(&self) -> Option<(u64, String)> {
        if self.refused.is_empty() {
            return None;
        }
        let reasons = self.refused.iter();
        let reasons: Vec<String> = reasons
            .map(|(reason, n)| format!("{} {n}", reason.as_str()))
            .collect();
        let all = self.refused.values().sum();
        Some((all, format!("spans refused: {}", reasons.join(", "))))
    }
}

impl Pipeline {
    pub(crate) fn new(limits: Limits, sink: Arc<dyn SpanSink>) -> Self {
        Self {
            sink,
            flights: Flights::new(&limits),
            readers: Arc::new(Semaphore::new(READERS)),
            limits,
            counts: Arc::default(),
        }
    }

    /// Waits for the whole of a request. `extra` bytes of framing come on top of its bound.
    pub(crate) async fn collect<B>(&self, body: &mut B, extra: usize) -> Result<Collected, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut flight = self.flights.take()?;
        let collect = self.read_body(body, &mut flight, extra);
        let bytes = timeout(self.limits.request_timeout(), collect)
            .await
            .map_err(|_| Fault::Slow(self.limits.request_timeout_ms))??;
        Ok(Collected { bytes, flight })
    }

    async fn read_body<B>(
        &self,
        body: &mut B,
        flight: &mut Flight,
        extra: usize,
    ) -> Result<Bytes, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let bytes_max = self.limits.request_bytes_max;
        let too_large = || Fault::TooLarge {
            bytes_max,
            what: "",
        };
        // The announced length decides at once, before anything is read.
        let announced = body.size_hint().exact().unwrap_or(0);
        if announced > (bytes_max + extra) as u64 {
            return Err(too_large());
        }
        let mut chunks: Vec<Bytes> = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fault::Cut)?;
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            length += chunk.len();
            if length > bytes_max + extra {
                return Err(too_large());
            }
            flight.hold(length)?;
            chunks.push(chunk);
        }
        Ok(match chunks.len() {
            1 => chunks.swap_remove(0),
            _ => chunks.concat().into(),
        })
    }

    /// Reads the spans of `bytes`, which are of `collected`, and stores them.
    pub(crate) async fn take(
        &self,
        collected: Collected,
        bytes: Bytes,
        encoding: Encoding,
        form: Form,
    ) -> Result<Taken, Fault> {
        let Collected { mut flight, .. } = collected;
        let reader = Arc::clone(&self.readers).acquire_owned().await;
        let reader = reader.expect("never closed");
        let bytes_max = self.limits.decompressed_bytes_max;
        // What it holds goes along: a sender that leaves does not end this work.
        let work = move || {
            let read = || {
                let input = decompress(encoding, &bytes, bytes_max)?;
                let intake = decode(form, &input)?;
                let held = input.len() + intake.spans.len() * size_of::<Span>();
                flight.hold(held)?;
                Ok((intake, flight))
            };
            let read = read();
            drop(reader);
            read
        };
        let read: Result<_, Fault> = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Fault::Internal(error.to_string()))?;
        let (intake, _flight) = read?;
        let taken = Taken {
            spans: intake.spans.len() as u64,
            refused: intake.refused,
        };
        if !intake.spans.is_empty() {
            timeout(self.limits.store_timeout(), self.sink.take(intake.spans))
                .await
                .map_err(|_| {
                    let waited = self.limits.store_timeout_ms;
                    Fault::Storage(crate::SinkError(format!("not done after {waited} ms")))
                })??;
        }
        Ok(taken)
    }
}
