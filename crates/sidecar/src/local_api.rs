//! What the application can ask and tell its sidecar about the request that it is handling.

mod broadcast;
mod channels;
mod entries;
mod references;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_identity::{RequestIdentifier, carrier};
use selvedge_node::{Exchange, Node};
use selvedge_relay::{Body, Request, Response, ResponseHead};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use self::channels::Channels;
use self::references::References;
use crate::counts::Counters;
use crate::live::Live;
use crate::message::{answer as json_answer, refusal};
use crate::target::{Target, Targets};

/// Where the local API begins on the egress address.
pub(crate) const PREFIX: &str = "/selvedge/v1/";

/// The longest body of a question.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The most attributes of one question, and the longest name and value, in bytes.
const ATTRIBUTES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAction {
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// A question that gets no answer.
struct No {
    status: u16,
    code: &'static str,
    message: String,
}

impl No {
    fn new(status: u16, code: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
        }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: "bad_request",
            message: message.into(),
        }
    }
}

/// Answers the application's questions.
pub(crate) struct LocalApi {
    node: Node,
    /// Room for streams of entries.
    streams: Arc<Semaphore>,
    live: Arc<Live>,
    channels: Channels,
    /// Where references lie, if not here.
    references: Option<Target>,
}

impl LocalApi {
    pub(crate) fn new(
        node: Node,
        live: Arc<Live>,
        references: Option<Target>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            live,
            streams: Arc::new(Semaphore::new(entries::STREAMS_MAX)),
            channels: Channels::new(node.clone(), counters),
            node,
            references,
        }
    }

    pub(crate) async fn answer(&self, request: Request, targets: &Targets) -> Response {
        match self.route(request, targets).await {
            Ok(response) => response,
            Err(No {
                status,
                code,
                message,
            }) => refusal(status, code, &message),
        }
    }

    async fn route(&self, mut request: Request, targets: &Targets) -> Result<Response, No> {
        let references = self.references.as_ref();
        let references = references.map(|target| References { targets, target });
        let references = references.as_ref();
        let channels = &self.channels;
        let head = &request.head;
        let question = head.path().strip_prefix(PREFIX).unwrap_or("").to_owned();
        let (what, name) = match question.split_once('/') {
            Some((what @ ("call" | "request" | "references"), name)) => (what, Some(name)),
            _ => match question.strip_prefix("session/state/") {
                Some(name) => ("session/state", Some(name)),
                None => (&*question, None),
            },
        };
        match (head.method(), what, name) {
            ("GET", "entries", None) => {
                let room = self.streams.clone().try_acquire_owned();
                let permit = room.map_err(|_| {
                    let message = format!("{} streams are open; end one", entries::STREAMS_MAX);
                    No::new(503, "full", &message)
                })?;
                let question = entries::question(&request)?;
                entries::stream(&self.node, question, permit).await
            }
            ("GET", "session/history", _) => Ok(history(&self.named(&request)?).await),
            ("GET", "session/state", None) => state::list(&self.named(&request)?).await,
            ("GET", "session/state", Some(name)) => state::get(&self.named(&request)?, name).await,
            ("PUT", "session/state", Some(name)) => {
                let exchange = self.named(&request)?;
                state::put(&exchange, name, &mut request.body).await
            }
            ("DELETE", "session/state", Some(name)) => {
                state::delete(&self.named(&request)?, name).await
            }
            ("POST", "action", _) => {
                let exchange = self.named(&request)?;
                action(&exchange, read(&mut request.body).await?)
            }
            ("POST", "broadcast", _) => {
                let exchange = self.named(&request)?;
                broadcast::broadcast(&exchange, &mut request).await
            }
            ("POST", "attributes", _) => {
                let exchange = self.named(&request)?;
                attributes(&exchange, &read(&mut request.body).await?)
            }
            ("POST", "call", None) => {
                let exchange = self.named(&request)?;
                channels
                    .begin_call(exchange, &mut request, references)
                    .await
            }
            ("POST", "call", Some(name)) => channels.end_call(name, &mut request).await,
            ("POST", "request", None) => {
                channels
                    .begin_request(&self.live, &mut request, references)
                    .await
            }
            ("POST", "request", Some(name)) => channels.end_request(name, &mut request).await,
            ("POST", "separate", _) => channels.separate(&mut request).await,
            ("PUT" | "GET", "references", Some(_)) if let Some(references) = references => {
                references.pass(request).await
            }
            ("PUT", "references", Some(token)) => channels.put(token, &mut request).await,
            ("GET", "references", Some(token)) => channels.get(token),
            (
                _,
                "entries" | "session/history" | "session/state" | "action" | "attributes"
                | "broadcast" | "call" | "request" | "separate" | "references",
                _,
            ) => Err(No::new(
                405,
                "bad_method",
                "entries, history and state are asked for by GET; state is put by PUT and taken away \
                 by DELETE, under its name; references are put by PUT and asked for by GET, under a \
                 token; everything else is told by POST",
            )),
            _ => Err(No::new(
                404,
                "not_found",
                "the local API has entries, session/history, session/state, action, attributes, broadcast, call, \
                 request, separate and references",
            )),
        }
    }

    /// The request that the question is about.
    fn named(&self, request: &Request) -> Result<Exchange, No> {
        named(&self.live, request)
    }
}

fn named(live: &Live, request: &Request) -> Result<Exchange, No> {
    let head = &request.head;
    let query = head.target().split_once('?').map_or("", |(_, query)| query);
    let parameter = query
        .split('&')
        .find_map(|one| one.strip_prefix("request="));
    let value = head
        .fields
        .get(carrier::REQUEST)
        .or(parameter.map(str::as_bytes))
        .ok_or_else(|| {
            No::new(
                400,
                "no_request",
                "name the request: copy its header selvedge-request onto the question",
            )
        })?;
    let identifier = RequestIdentifier::parse(value).map_err(|error| No::bad(error.to_string()))?;
    live.find(&identifier).ok_or_else(|| {
        No::new(
            404,
            "unknown_request",
            "this sidecar does not know the request, or it ended long ago",
        )
    })
}

async fn history(exchange: &Exchange) -> Response {
    exchange.catch_up().await;
    json_answer(200, &json!(exchange.history()))
}

fn nothing() -> Response {
    Response {
        head: ResponseHead::new(204),
        body: Body::empty(),
        tunnel: None,
    }
}

fn attributes(exchange: &Exchange, attributes: &BTreeMap<String, String>) -> Result<Response, No> {
    check(attributes)?;
    for (name, value) in attributes {
        exchange.attribute(name, value);
    }
    Ok(nothing())
}

fn action(exchange: &Exchange, new: NewAction) -> Result<Response, No> {
    if new.name.trim().is_empty() || new.name.len() > NAME_BYTES_MAX {
        let message = format!("an action's name has 1 to {NAME_BYTES_MAX} bytes");
        return Err(No::bad(message));
    }
    check(&new.attributes)?;
    let mut action = exchange.action(&new.name);
    for (name, value) in &new.attributes {
        action.attribute(name, value);
    }
    let position = action.position();
    action.finish();
    Ok(json_answer(201, &json!({ "position": position })))
}

fn check(attributes: &BTreeMap<String, String>) -> Result<(), No> {
    let long = |(name, value): (&String, &String)| {
        name.is_empty() || name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX
    };
    if attributes.len() > ATTRIBUTES_MAX || attributes.iter().any(long) {
        let message = format!(
            "at most {ATTRIBUTES_MAX} attributes, names of 1 to {NAME_BYTES_MAX} bytes, values of \
             at most {VALUE_BYTES_MAX}"
        );
        return Err(No::bad(message));
    }
    Ok(())
}

async fn read<T: DeserializeOwned>(body: &mut Body) -> Result<T, No> {
    let body = body
        .collect(BODY_BYTES_MAX)
        .await
        .map_err(|error| No::bad(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| No::bad(format!("not such JSON: {error}")))
}
