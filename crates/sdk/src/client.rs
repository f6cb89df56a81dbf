//! Calls to other services that belong to the request being handled.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Method, Request, Url};
use selvedge_identity::carrier;
use selvedge_node::{End, Exchange, Gathered, Outbound};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::record::{gather, kept_headers};
use crate::sending::put_headers;

/// How long a call may take, body and all, unless its request says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The longest answer that [`Reply::bytes`], [`Reply::text`] and [`Reply::json`] read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// An HTTP client whose calls carry the request's identifier, one call deeper, and are written as
/// outbound entries. Each call, so also each retry, is an interaction of its own. Cloning is
/// cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
}

/// Why a call gave no usable answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The request could not be made from what was given: the caller's fault.
    #[error("cannot call {peer}: {reason}")]
    Request {
        /// The service that was to be called.
        peer: String,
        /// What is wrong.
        reason: String,
    },
    /// It could not be sent, or no whole answer came. Whether the service acted on it is unknown
    /// unless [`CallError::is_connect`].
    #[error("{peer} did not answer: {source}")]
    Transport {
        /// The service that was called.
        peer: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is longer than this client reads.
    #[error("the answer of {peer} is longer than {BODY_BYTES_MAX} bytes")]
    TooLong {
        /// The service that was called.
        peer: String,
    },
    /// The answer is not what was asked for.
    #[error("cannot read the answer of {peer}: {reason}")]
    Answer {
        /// The service that was called.
        peer: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// Whether no connection was made: the service did nothing, the call may be made again.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.is_connect())
    }
}

impl Client {
    /// A client with a pool of its own, 30 s a call, no redirects followed, no proxy.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new() -> Result<Self, CallError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME_LIMIT)
            .tcp_nodelay(true)
            .build()
            .map_err(|source| CallError::Transport {
                peer: "any service".to_owned(),
                source,
            })?;
        Ok(Self { http })
    }

    /// A client that uses this one's connections and settings. It should follow no redirects:
    /// they would be calls without entries.
    #[must_use]
    pub fn with(http: reqwest::Client) -> Self {
        Self { http }
    }

    /// `GET url`, as a call to the service `peer`.
    ///
    /// # Errors
    /// See [`CallError`]. An answer of any status is an answer.
    pub async fn get(
        &self,
        exchange: &Exchange,
        peer: &str,
        url: &str,
    ) -> Result<Reply, CallError> {
        self.call(exchange, peer, request(Method::GET, peer, url)?)
            .await
    }

    /// `POST url` with a JSON body, as a call to the service `peer`.
    ///
    /// # Errors
    /// See [`CallError`]. An answer of any status is an answer.
    pub async fn post_json<T: Serialize + ?Sized>(
        &self,
        exchange: &Exchange,
        peer: &str,
        url: &str,
        body: &T,
    ) -> Result<Reply, CallError> {
        let mut request = request(Method::POST, peer, url)?;
        let body = serde_json::to_vec(body).map_err(|error| CallError::Request {
            peer: peer.to_owned(),
            reason: error.to_string(),
        })?;
        *request.body_mut() = Some(body.into());
        let json = HeaderValue::from_static("application/json");
        request
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, json);
        self.call(exchange, peer, request).await
    }

    /// Sends any request as a call to the service `peer`, made while handling `exchange`.
    ///
    /// # Errors
    /// See [`CallError`]. An answer of any status is an answer.
    pub async fn call(
        &self,
        exchange: &Exchange,
        peer: &str,
        mut request: Request,
    ) -> Result<Reply, CallError> {
        let host = host(request.url());
        let path = match request.url().query() {
            Some(query) => format!("{}?{query}", request.url().path()),
            None => request.url().path().to_owned(),
        };
        let outbound = exchange.call(
            Some(peer),
            host.as_deref(),
            request.method().as_str(),
            &path,
        );
        put_headers(&outbound, request.headers_mut());
        let sent = request.body().and_then(reqwest::Body::as_bytes);
        let mut gathered = gather(exchange.node().keep(), request.headers());
        gathered.push(sent.unwrap_or_default());
        let answer = self.http.execute(request).await;
        let mut reply = Reply {
            peer: peer.to_owned(),
            exchange: exchange.clone(),
            outbound: Some(outbound),
            sent: gathered,
            received: Gathered::default(),
            response: None,
        };
        match answer {
            Ok(response) => {
                let keep = exchange.node().keep();
                reply.received = gather(keep, response.headers());
                if let (Some(token), Some(outbound)) =
                    (response.headers().get(carrier::SESSION), &reply.outbound)
                {
                    outbound.answered(token.as_bytes());
                }
                reply.response = Some(response);
                Ok(reply)
            }
            Err(source) => Err(reply.failed(source)),
        }
    }
}

/// The answer to a call. The call's entry is closed when the body is read to its end, or when
/// this is dropped.
pub struct Reply {
    peer: String,
    exchange: Exchange,
    outbound: Option<Outbound>,
    sent: Gathered,
    received: Gathered,
    response: Option<reqwest::Response>,
}

impl Reply {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response
            .as_ref()
            .map_or(StatusCode::BAD_GATEWAY, reqwest::Response::status)
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.response.as_ref().map(reqwest::Response::headers)
    }

    /// The next part of its body; `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        match response.chunk().await {
            Ok(Some(chunk)) => {
                self.received.push(&chunk);
                Ok(Some(chunk))
            }
            Ok(None) => {
                self.close(None);
                Ok(None)
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Its whole body.
    ///
    /// # Errors
    /// When the body breaks off, or is longer than 1 MiB.
    pub async fn bytes(&mut self) -> Result<Bytes, CallError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > BODY_BYTES_MAX {
                self.close(Some("the answer is too long"));
                self.response = None;
                return Err(CallError::TooLong {
                    peer: self.peer.clone(),
                });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Its whole body as text.
    ///
    /// # Errors
    /// As [`Reply::bytes`], and when it is not UTF-8.
    pub async fn text(mut self) -> Result<String, CallError> {
        let body = self.bytes().await?;
        String::from_utf8(body.into()).map_err(|error| self.unreadable(&error))
    }

    /// Its whole body, read as JSON.
    ///
    /// # Errors
    /// As [`Reply::bytes`], and when it is not such JSON.
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, CallError> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Answer {
            peer: self.peer.clone(),
            reason: error.to_string(),
        }
    }

    fn failed(&mut self, source: reqwest::Error) -> CallError {
        self.close(Some(&source.to_string()));
        CallError::Transport {
            peer: self.peer.clone(),
            source,
        }
    }

    fn close(&mut self, error: Option<&str>) {
        let Some(outbound) = self.outbound.take() else {
            return;
        };
        let keep = self.exchange.node().keep();
        let mut response = self.received.data(keep);
        if let Some(answer) = &self.response {
            response.fields = kept_headers(keep, answer.headers()).fields;
        }
        outbound.close(End {
            status: self.response.as_ref().map_or(0, |r| r.status().as_u16()),
            error: error.map(str::to_owned),
            request_bytes: self.sent.bytes(),
            response_bytes: self.received.bytes(),
            request: self.sent.data(keep),
            response,
            work: None,
        });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.close(None);
    }
}

fn request(method: Method, peer: &str, url: &str) -> Result<Request, CallError> {
    let url = Url::parse(url).map_err(|error| CallError::Request {
        peer: peer.to_owned(),
        reason: format!("{url} is not a URL: {error}"),
    })?;
    Ok(Request::new(method, url))
}

fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}
