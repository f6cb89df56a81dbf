//! Identifiers over channels that are not the sidecar's (D5): the application asks for what to
//! attach to a message, hands in what came with one, and says how each ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_entry::Data;
use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::metadata::Pairs;
use selvedge_identity::carrier::reference::{REFERENCE, Reference};
use selvedge_identity::carrier::separate::{self, Separate};
use selvedge_identity::carrier::{self, Headers};
use selvedge_node::{Beside, BesideOptions, End, Exchange, Inbound, Node, Outbound, Shelf};
use selvedge_relay::{Body, Request, Response, ResponseHead};
use serde::Deserialize;
use serde_json::json;

use super::references::{BODY_BYTES_MAX, References};
use super::{No, read};
use crate::counts::{Counters, count};
use crate::live::{Live, Ticket};
use crate::message::answer as json_answer;
use crate::open::Open;

/// Calls, and requests, that an application may have under way at once, and for how long: after
/// that they are written as given up.
const OPEN_MAX: usize = 4096;
const OPEN_LONGEST: Duration = Duration::from_secs(900);

/// The longest wait for an identifier that comes beside its request.
const WAIT_MS_MAX: u64 = 10_000;

/// The longest name of a service, host, method or path, in bytes.
const TEXT_MAX: usize = 1024;

/// A call that the application makes itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct NewCall {
    peer: Option<String>,
    host: Option<String>,
    method: String,
    path: String,
    /// What names the request at both sides: asks for a message of its own.
    about: Option<String>,
    /// Asks for a token, with the identifier put under it.
    reference: bool,
    /// Asks for the session, too. It is a secret of the client's.
    session: bool,
}

/// A request that came to the application itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct NewRequest {
    method: String,
    path: String,
    /// The metadata that came with it.
    headers: BTreeMap<String, String>,
    /// What names it at both sides: its identifier comes beside it.
    about: Option<String>,
    /// How long to wait for that.
    wait_ms: u64,
}

/// How a call, or a request, ended.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ended {
    status: u16,
    error: Option<String>,
    request_bytes: u64,
    response_bytes: u64,
}

impl Default for Ended {
    fn default() -> Self {
        Self {
            status: 200,
            error: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }
}

/// A request that the application received itself, while it works on it.
struct Received {
    exchange: Exchange,
    _ticket: Ticket,
}

impl Drop for Received {
    fn drop(&mut self) {
        // Does nothing where the end was written. The exchange stays findable for a while, so it
        // would not close itself.
        self.exchange.close(End {
            error: Some("the application never said how it ended".to_owned()),
            ..End::default()
        });
    }
}

/// The application's own channels.
pub(crate) struct Channels {
    node: Node,
    calls: Open<Outbound>,
    requests: Open<Received>,
    beside: Beside,
    shelf: Shelf,
    counters: Arc<Counters>,
}

impl Channels {
    pub(crate) fn new(node: Node, counters: Arc<Counters>) -> Self {
        Self {
            counters,
            calls: Open::new(OPEN_MAX, OPEN_LONGEST),
            requests: Open::new(OPEN_MAX, OPEN_LONGEST),
            beside: Beside::new(node.clone(), BesideOptions::default()),
            shelf: Shelf::default(),
            node,
        }
    }

    /// `POST call`.
    pub(super) async fn begin_call(
        &self,
        exchange: Exchange,
        request: &mut Request,
        references: Option<&References<'_>>,
    ) -> Result<Response, No> {
        let new: NewCall = read(&mut request.body).await?;
        let texts = [Some(&new.method), Some(&new.path)];
        short(
            texts
                .into_iter()
                .chain([new.peer.as_ref(), new.host.as_ref()]),
        )?;
        if let Some(about) = &new.about {
            named(about)?;
        }
        let call = exchange.call(
            new.peer.as_deref(),
            new.host.as_deref(),
            &new.method,
            &new.path,
        );
        let own = call.headers(new.session);
        let mut headers = json!({
            carrier::REQUEST: own.request.as_str(),
            carrier::TRACEPARENT: own.traceparent.as_str(),
            carrier::TRACESTATE: own.tracestate.as_str(),
            carrier::CALLER: &*own.caller,
        });
        own.wrapped
            .write(|name, value| headers[name] = value.into());
        if let Some(carried) = own.carried {
            headers[carrier::CARRIED] = carried.into();
        }
        let mut said = json!({});
        if let Some(about) = &new.about {
            let message = Separate::new(about.as_bytes(), call.identifier().clone());
            said["separate"] = message.map(|message| message.encode()).into();
        }
        if new.reference {
            let token = Reference::from_random(self.node.random());
            let kept = self.keep(token, own.request.as_bytes(), references).await;
            if !kept {
                // The call can be made without.
                count(&self.counters.references_unkept);
            }
            said["reference"] = kept.then(|| token.to_string()).into();
        }
        said["headers"] = headers;
        let number = self.number();
        if !self.calls.add(number, call) {
            return Err(crowded("calls"));
        }
        count(&self.counters.channel_calls);
        said["call"] = format!("{number:016x}").into();
        Ok(json_answer(201, &said))
    }

    /// `POST call/{call}`.
    pub(super) async fn end_call(&self, name: &str, request: &mut Request) -> Result<Response, No> {
        let ended: Ended = read(&mut request.body).await?;
        let call = number(name).and_then(|number| self.calls.take(number));
        call.ok_or_else(|| unknown("call"))?.close(ended.end()?);
        Ok(no_content())
    }

    /// `POST request`.
    pub(super) async fn begin_request(
        &self,
        live: &Arc<Live>,
        request: &mut Request,
        references: Option<&References<'_>>,
    ) -> Result<Response, No> {
        let new: NewRequest = read(&mut request.body).await?;
        short([Some(&new.method), Some(&new.path)])?;
        let found = self.find(&new, references).await?;
        let pairs = new.headers.iter();
        let pairs = Pairs::read(pairs.map(|(key, value)| (key.as_str(), value.as_bytes())));
        let headers = pairs.headers();
        let inbound = Inbound {
            carried: pairs.carried,
            headers: Headers {
                request: found.as_deref().map(str::as_bytes).or(headers.request),
                ..headers
            },
            b3: pairs.b3,
            caller: pairs.caller.and_then(|name| str::from_utf8(name).ok()),
            method: &new.method,
            path: &new.path,
            // Only the application reaches this address, and it knows its channels.
            vouched: true,
            received: self.node.now(),
            request: Data::default(),
            ..Inbound::default()
        };
        let exchange = self.node.take(inbound).await;
        let own = exchange.identifier().encode();
        let session = exchange.session();
        let received = Received {
            _ticket: live.begin(&exchange),
            exchange,
        };
        let number = self.number();
        if !self.requests.add(number, received) {
            return Err(crowded("requests"));
        }
        count(&self.counters.channel_requests);
        let said = json!({
            "id": format!("{number:016x}"),
            "request": own.as_str(),
            "session": session,
        });
        Ok(json_answer(201, &said))
    }

    /// The identifier that did not come with the request itself.
    async fn find(
        &self,
        new: &NewRequest,
        references: Option<&References<'_>>,
    ) -> Result<Option<String>, No> {
        let text = |own: RequestIdentifier| own.encode().to_string();
        let mut pairs = new.headers.iter();
        let token = pairs.find(|(key, _)| key.eq_ignore_ascii_case(REFERENCE));
        let found = match (&new.about, token, references) {
            (Some(about), _, _) => {
                named(about)?;
                let longest = Duration::from_millis(new.wait_ms.min(WAIT_MS_MAX));
                self.beside.of(about.as_bytes(), longest).await.map(text)
            }
            (None, Some((_, token)), Some(references)) => references.get(token).await,
            (None, Some((_, token)), None) => self.shelf.get(token).map(text),
            (None, None, _) => return Ok(None),
        };
        if found.is_none() {
            count(&self.counters.identifiers_missing);
        }
        Ok(found)
    }

    /// `POST request/{id}`.
    pub(super) async fn end_request(
        &self,
        name: &str,
        request: &mut Request,
    ) -> Result<Response, No> {
        let ended: Ended = read(&mut request.body).await?;
        let received = number(name).and_then(|number| self.requests.take(number));
        let received = received.ok_or_else(|| unknown("request"))?;
        received.exchange.finish(ended.end()?).await;
        Ok(no_content())
    }

    /// `POST separate`: a message that came to the application.
    pub(super) async fn separate(&self, request: &mut Request) -> Result<Response, No> {
        let message = request.body.collect(separate::TEXT_MAX + 2).await;
        let message = message.map_err(|error| No::bad(error.to_string()))?;
        let came = self.beside.came(&message, request.peer.ip());
        came.map_err(|error| No::bad(error.to_string()))?;
        Ok(no_content())
    }

    /// `PUT references/{token}`, into the sidecar's own store.
    pub(super) async fn put(&self, token: &str, request: &mut Request) -> Result<Response, No> {
        let body = request.body.collect(BODY_BYTES_MAX).await;
        let body = body.map_err(|error| No::bad(error.to_string()))?;
        let put = self.shelf.put(token, &body);
        put.map_err(|error| No::bad(error.to_string()))?;
        Ok(no_content())
    }

    /// `GET references/{token}`, from the sidecar's own store.
    pub(super) fn get(&self, token: &str) -> Result<Response, No> {
        let found = self.shelf.get(token);
        let identifier = found.ok_or_else(|| {
            let message = "nothing lies under this reference (any more): serve the request as a \
                           new root";
            No::new(404, "unknown_reference", message)
        })?;
        let mut response = Response {
            head: ResponseHead::new(200),
            body: Body::full(identifier.encode().as_bytes().to_vec()),
            tunnel: None,
        };
        response.head.fields.append("content-type", "text/plain");
        Ok(response)
    }

    async fn keep(
        &self,
        token: Reference,
        identifier: &[u8],
        references: Option<&References<'_>>,
    ) -> bool {
        match references {
            Some(references) => references.put(&token.to_string(), identifier).await,
            None => self.shelf.put(&token.to_string(), identifier).is_ok(),
        }
    }

    fn number(&self) -> u64 {
        u64::from_be_bytes(self.node.random())
    }
}

impl Ended {
    fn end(self) -> Result<End, No> {
        short([self.error.as_ref()])?;
        if self.error.is_none() && !(100..600).contains(&self.status) {
            return Err(No::bad(
                "the status is an HTTP status: 200 where the channel has none of its own",
            ));
        }
        Ok(End {
            status: if self.error.is_some() { 0 } else { self.status },
            error: self.error,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            ..End::default()
        })
    }
}

fn short<'a>(texts: impl IntoIterator<Item = Option<&'a String>>) -> Result<(), No> {
    let long = texts
        .into_iter()
        .flatten()
        .any(|text| text.len() > TEXT_MAX);
    match long {
        true => Err(No::bad(format!("each text has at most {TEXT_MAX} bytes"))),
        false => Ok(()),
    }
}

fn number(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok())?
}

fn no_content() -> Response {
    Response {
        head: ResponseHead::new(204),
        body: Body::empty(),
        tunnel: None,
    }
}

/// What names a request at both sides.
fn named(about: &str) -> Result<(), No> {
    let max = separate::ABOUT_MAX;
    match about.len() {
        length if (1..=max).contains(&length) => Ok(()),
        _ => Err(No::bad(format!(
            "what a request is about has 1 to {max} bytes"
        ))),
    }
}

fn unknown(what: &str) -> No {
    let message = format!("no such {what}: it was ended, or began too long ago");
    No::new(404, "unknown", &message)
}

fn crowded(what: &str) -> No {
    let message = format!("{OPEN_MAX} {what} are under way: say how they end");
    No::new(503, "crowded", &message)
}
