//! The stream of the fleet's entries, for a monitor beside the application (B6).

use selvedge_follow::{Lines, Question, http};
use selvedge_node::Node;
use selvedge_relay::{Body, Request, Response, ResponseHead};
use tokio::sync::mpsc;

use super::No;

/// Pieces that wait between the stream and its reader.
const WAITING: usize = 16;

/// Streams at once; the local API is for one application.
pub(super) const STREAMS_MAX: usize = 16;

/// What the request asks for.
pub(super) fn question(request: &Request) -> Result<Question, No> {
    let head = &request.head;
    let query = head.target().split_once('?').map_or("", |(_, query)| query);
    let field = |name: &str| str::from_utf8(head.fields.get(name)?).ok();
    Question::parse(query, field("accept"), field("last-event-id"))
        .map_err(|error| No::bad(error.to_string()))
}

/// Begins the stream that was asked for.
pub(super) async fn stream(
    node: &Node,
    question: Question,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response, No> {
    let content_type = http::content_type(question.form);
    let mut lines = Lines::begin(&**node.bus(), question)
        .await
        .map_err(|error| No::new(503, "unavailable", &error.to_string()))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let piece = tokio::select! {
                piece = lines.next() => piece,
                () = sender.closed() => None,
            };
            let Some(piece) = piece else { break };
            if sender.send(Ok(piece)).await.is_err() {
                break;
            }
        }
    });
    let mut head = ResponseHead::new(200);
    head.fields.append("content-type", content_type);
    head.fields.append("cache-control", "no-store");
    Ok(Response {
        head,
        body: Body::channel(receiver),
        tunnel: None,
    })
}
