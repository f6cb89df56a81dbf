//! A content server: what a viewer's requests reach.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, SERVER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use selvedge::{Client, Session};
use selvedge_node::Node;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cart::{Cart, Line};
use crate::channel::{Channel, NAME_BYTES_MAX};
use crate::json::{BODY_BYTES_MAX, Body};
use crate::order::{self, Wanted};
use crate::refusal::Refusal;
use crate::visit;
use crate::{Services, ShopError, ShopOptions};

const PAGE: &str = include_str!("page.html");

/// The page is its own style and script, and calls nobody but its own server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; base-uri 'none'";

/// The channel's page has its script beside it, and plays what its own server streams.
const CHANNEL_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; media-src 'self' blob:; img-src 'self' data:; form-action 'none'; \
     base-uri 'none'";

struct Content {
    name: String,
    services: Services,
    client: Client,
    channel: Channel,
    slow: Option<Duration>,
}

type Shared = State<Arc<Content>>;

#[derive(Deserialize)]
struct Broadcast {
    content: String,
}

#[derive(Deserialize)]
struct Vote {
    choice: String,
}

pub(crate) fn router(options: &ShopOptions, node: Node) -> Result<Router, ShopError> {
    let content = Arc::new(Content {
        name: node.server().to_string(),
        services: options.services.clone(),
        client: Client::new()?,
        channel: Channel::default(),
        slow: options.slow,
    });
    Ok(Router::new()
        .route("/", get(page))
        .route("/orders", get(orders).post(place_order))
        .route("/cart", get(cart).post(put_in_cart))
        .route("/broadcast", post(broadcast))
        .route("/vote", post(vote))
        .route("/channel", get(channel))
        .route("/channel.js", get(asset))
        .route("/channel.css", get(asset))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(content.clone(), name_server))
        .layer(selvedge::Layer::new(node))
        .layer(middleware::map_request(call_it_json))
        .with_state(content))
}

async fn page() -> Response {
    let policy = HeaderValue::from_static(PAGE_POLICY);
    ([(CONTENT_SECURITY_POLICY, policy)], Html(PAGE)).into_response()
}

async fn place_order(
    State(content): Shared,
    session: Session,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let order = wanted
        .place(&session, &content.client, &content.services)
        .await?;
    session.attribute("order", &order.id);
    let placed = json!({ "order": order, "server": content.name });
    Ok((StatusCode::CREATED, Json(placed)))
}

async fn orders(State(content): Shared, session: Session) -> Json<Value> {
    let orders = visit::orders(session.history().actions());
    Json(json!({ "orders": orders, "server": content.name }))
}

async fn cart(State(content): Shared, session: Session) -> Result<Json<Value>, Refusal> {
    let cart = Cart::of(&session)?;
    Ok(Json(json!({ "cart": cart, "server": content.name })))
}

async fn put_in_cart(
    State(content): Shared,
    session: Session,
    Body(line): Body<Line>,
) -> Result<Json<Value>, Refusal> {
    let cart = Cart::of(&session)?.put(line, &session)?;
    Ok(Json(json!({ "cart": cart, "server": content.name })))
}

/// An order for content (A6). It does two things, so two actions stand in the session (A9),
/// beside the request's own.
async fn broadcast(
    State(content): Shared,
    session: Session,
    Body(wanted): Body<Broadcast>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut accept = session.action("accept content");
    accept.attribute(
        "content",
        &wanted.content.chars().take(64).collect::<String>(),
    );
    if let Err(refusal) = name(&wanted.content, "content") {
        accept.fail("not a name of content");
        return Err(refusal);
    }
    accept.finish();
    let scheduled = content.channel.schedule(wanted.content);
    let told = json!({ "now": scheduled, "server": content.name }).to_string();
    // To everybody; who ordered it, and who voted here, goes on from it in the own session.
    let mut to = content.channel.voters();
    to.extend(session.session());
    let sent = session.broadcast("broadcast content", "application/json", told.into(), &to);
    sent.await?;
    let accepted = json!({ "scheduled": scheduled, "server": content.name });
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn vote(
    State(content): Shared,
    session: Session,
    Body(vote): Body<Vote>,
) -> Result<Json<Value>, Refusal> {
    name(&vote.choice, "choice")?;
    content.channel.vote(&vote.choice, session.session());
    Ok(Json(
        json!({ "choice": vote.choice, "server": content.name }),
    ))
}

/// The interactive content (B5): for a browser the page that plays the channel, for everybody else
/// what is on, the votes, and what can be ordered.
async fn channel(
    State(content): Shared,
    session: Session,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepted.is_some_and(|accept| accept.contains("text/html")) {
        return Ok(file("/channel", &headers));
    }
    let url = format!("{}/items", content.services.catalogue);
    let reply = content.client.get(&session, "catalogue", &url).await?;
    let items = order::said(reply, "catalogue").await?;
    let mut votes = content.channel.votes();
    let mut scheduled = content.channel.scheduled();
    // What other servers did is known of this visit; of others only what this server did.
    let history = session.history();
    let history = history.actions();
    for choice in visit::votes_elsewhere(history, &content.name) {
        *votes.entry(choice).or_default() += 1;
    }
    scheduled.extend(visit::scheduled_elsewhere(history, &content.name));
    Ok(Json(json!({
        "now": scheduled.first(),
        "schedule": scheduled,
        "votes": votes,
        "items": items["items"],
        "server": content.name,
    }))
    .into_response())
}

/// A part of the channel's page.
async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    file(uri.path(), &headers)
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = selvedge_ui::channel(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let same = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|tag| tag == asset.etag);
    let head = [
        (CONTENT_TYPE, asset.content_type),
        (CONTENT_SECURITY_POLICY, CHANNEL_POLICY),
        (ETAG, asset.etag),
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept"),
    ];
    if same {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, asset.bytes).into_response()
}

async fn nothing_here() -> Refusal {
    let message = "there is nothing here: try /, /orders, /cart, /vote, /broadcast or /channel";
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}

/// Every answer names its server; a slow server is slow in every request.
async fn name_server(State(content): Shared, request: Request, next: Next) -> Response {
    if let Some(slow) = content.slow {
        tokio::time::sleep(slow).await;
    }
    let mut response = next.run(request).await;
    if let Ok(name) = HeaderValue::from_str(&content.name) {
        response.headers_mut().insert(SERVER, name);
    }
    response
}

/// Bodies are JSON here whatever they are called (curl calls them a form), and entries keep JSON:
/// so they are called by their name before the entry is made.
async fn call_it_json(mut request: Request) -> Request {
    if request.method() == Method::POST {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    request
}

fn name(text: &str, what: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(Refusal::bad(format!(
            "the {what} must have 1 to {NAME_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}
