//! A running collector, a sink in memory, and clients that write what they are told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use selvedge_collector::{
    Collector, CollectorOptions, Limits, Listen, Protocol, SinkError, SpanSink,
};
use selvedge_spans::Span;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Keeps spans in memory; fails or waits where a test wants it to.
pub(crate) struct Memory {
    spans: Mutex<Vec<Span>>,
    fails: Mutex<bool>,
    pub(crate) gate: Semaphore,
    /// One permit for every call that waits at the gate.
    pub(crate) arrived: Semaphore,
}

#[async_trait]
impl SpanSink for Memory {
    async fn take(&self, spans: Vec<Span>) -> Result<(), SinkError> {
        self.arrived.add_permits(1);
        let permit = self.gate.acquire().await.expect("never closed");
        drop(permit);
        if *self.fails.lock().unwrap() {
            return Err(SinkError("the disk is full".to_owned()));
        }
        self.spans.lock().unwrap().extend(spans);
        Ok(())
    }
}

impl Memory {
    /// The spans that it keeps, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let spans = self.spans.lock().unwrap();
        let mut names: Vec<String> = spans.iter().map(|span| span.name.to_string()).collect();
        names.sort();
        names
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    pub(crate) fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }
}

/// A collector on free ports.
pub(crate) struct Running {
    pub(crate) collector: Collector,
    pub(crate) sink: Arc<Memory>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::with(|options| options.limits = limits).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut CollectorOptions)) -> Self {
        let free = Listen::At(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut options = CollectorOptions {
            otlp_grpc: free,
            otlp_http: free,
            zipkin: free,
            ..CollectorOptions::default()
        };
        change(&mut options);
        let sink = Arc::new(Memory {
            spans: Mutex::default(),
            fails: Mutex::default(),
            gate: Semaphore::new(1),
            arrived: Semaphore::new(0),
        });
        let collector = Collector::start(options, sink.clone()).await;
        Self {
            collector: collector.expect("it starts"),
            sink,
        }
    }

    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        let mut all = self.collector.addresses().iter();
        let found = all.find(|(one, _)| *one == protocol);
        found.expect("it listens").1
    }

    /// The value of a counter, as in `spans_total{protocol="zipkin"}`; 0 where it is not there.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let text = self.collector.counts().to_prometheus();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("selvedge_collector_{name} ")));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    pub(crate) async fn traces(&self, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let address = self.address(Protocol::OtlpHttp);
        post(address, "/v1/traces", headers, body).await
    }

    pub(crate) async fn zipkin(&self, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let address = self.address(Protocol::Zipkin);
        post(address, "/api/v2/spans", headers, body).await
    }

    /// Calls `Export` with a framed message.
    pub(crate) async fn grpc(&self, encoding: Option<&str>, framed: Bytes) -> Called {
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        self.call(path, "application/grpc", encoding, framed).await
    }

    pub(crate) async fn call(
        &self,
        path: &str,
        content_type: &str,
        encoding: Option<&str>,
        framed: Bytes,
    ) -> Called {
        let address = self.address(Protocol::OtlpGrpc);
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let mut request = Request::post(format!("http://{address}{path}"))
            .header("content-type", content_type)
            .header("te", "trailers");
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.body(Full::new(framed)).expect("a request");
        let answer = send.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let mut headers = answer.headers().clone();
        let body = answer.into_body().collect().await.expect("a body");
        headers.extend(body.trailers().cloned().unwrap_or_default());
        let code = headers.get("grpc-status").expect("a status");
        Called {
            status,
            code: code.to_str().unwrap().parse().unwrap(),
            headers,
            body: body.to_bytes(),
        }
    }
}

/// What a gRPC call answered.
pub(crate) struct Called {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) headers: HeaderMap,
    /// The framed message.
    pub(crate) body: Bytes,
}

/// What an HTTP request answered.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Got {
    let length = format!("content-length: {}\r\n", body.len());
    let head = head("POST", path, headers) + &length + "\r\n";
    raw(address, &[head.as_bytes(), body].concat()).await
}

pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head
}

/// Sends these bytes, ends the sending, and reads the answer to its end.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Got {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request).await.expect("it reads");
    read(&mut stream).await
}

/// Reads an answer until the connection ends.
pub(crate) async fn read(stream: &mut TcpStream) -> Got {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("readable");
    let end = all.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&all)));
    let text = std::str::from_utf8(&all[..end]).expect("text");
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(": "));
    Got {
        status: status.expect("a status").parse().expect("a number"),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: all[end + 4..].to_vec(),
    }
}

/// A gRPC message in its frame.
pub(crate) fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(u8::from(compressed));
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}
