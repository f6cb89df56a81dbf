//! What a request's headers say, handed to the node.

use std::net::IpAddr;

use http::HeaderMap;
use http::request::Parts;
use selvedge_identity::carrier::{self, b3};
use selvedge_node::{Exchange, Inbound, Node};

use crate::grpc::is_grpc;
use crate::record::kept_headers;

/// The server takes the request: waits for what its session has seen, and orders it.
pub(crate) async fn take(node: &Node, parts: &Parts, peer: Option<IpAddr>) -> Exchange {
    let headers = &parts.headers;
    let tracestate = tracestate(headers);
    let path = parts.uri.path_and_query();
    node.take(Inbound {
        sessions: headers
            .get_all(carrier::SESSION)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect(),
        carried: value(headers, carrier::CARRIED),
        client: value(headers, carrier::CLIENT),
        headers: carrier::Headers {
            request: value(headers, carrier::REQUEST),
            traceparent: carrier::sole(
                headers
                    .get_all(carrier::TRACEPARENT)
                    .iter()
                    .map(http::HeaderValue::as_bytes),
            ),
            tracestate: tracestate.as_deref(),
        },
        b3: b3::Headers::among(
            headers
                .iter()
                .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
        ),
        caller: value(headers, carrier::CALLER).and_then(|name| std::str::from_utf8(name).ok()),
        // A gRPC call is named by its service and method, which are its path.
        method: if is_grpc(headers) {
            ""
        } else {
            parts.method.as_str()
        },
        path: path.map_or("/", |path| path.as_str()),
        peer,
        received: node.now(),
        request: kept_headers(node.keep(), headers),
        ..Inbound::default()
    })
    .await
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

/// Several lines of `tracestate` are one list.
fn tracestate(headers: &HeaderMap) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers
        .get_all(carrier::TRACESTATE)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    (!lines.is_empty()).then(|| lines.join(&b","[..]))
}
