//! Selvedge for services written in Rust: a tower layer for what comes in, a client for what
//! goes out.
//!
//! [`Layer`] stands in front of a service of any tower-based server (axum, tonic, hyper). For
//! each request it reads the session and the request identifier from the headers, waits until
//! this server's memory holds what the session has seen (bounded), gives the request its place in
//! the session's order, and writes its entry; the answer leaves with the session's new token once
//! the entry is durable. [`Client`] makes calls to other services that belong to the request:
//! they carry its identifier, one call deeper, and get entries of their own, so that one request
//! becomes one call tree.
//!
//! The handler finds its request as [`Session`]: there it can record actions with names of their
//! own ([`Exchange::action`]), add attributes, read what the whole fleet did in the session so
//! far ([`Exchange::history`]), read and write small values that go with the session to whichever
//! server takes its next request ([`Exchange::state`], `docs/guide/sessions.md`), and answer many
//! receivers at once ([`Exchange::broadcast`]).
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use axum::{Router, routing::post};
//! use selvedge::{Client, Layer, Node, NodeOptions, Session};
//! # use selvedge_identity::{KeyRing, ServerName};
//!
//! async fn order(session: Session, client: axum::Extension<Client>) -> Result<String, String> {
//!     let price = client
//!         .get(&session, "catalogue", "http://127.0.0.1:9001/items/kettle")
//!         .await
//!         .map_err(|error| error.to_string())?
//!         .text()
//!         .await
//!         .map_err(|error| error.to_string())?;
//!     let mut packing = session.action("pack");
//!     packing.attribute("boxes", "1");
//!     packing.finish();
//!     Ok(format!("ordered for {price}, {} orders so far", session.history().actions().len()))
//! }
//!
//! # async fn serve(bus: Arc<dyn selvedge_bus::Bus>, keys: KeyRing) -> Result<(), Box<dyn std::error::Error>> {
//! let server = ServerName::new("content-1")?;
//! let options = NodeOptions::new(server, "content", "data/journals/content-1", keys);
//! let node = Node::start(options, bus).await?;
//! let app: Router = Router::new()
//!     .route("/orders", post(order))
//!     .layer(axum::Extension(Client::new()?))
//!     .layer(Layer::new(node));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Work that no request caused (a timer, a batch) begins with [`begin`].
//!
//! # Beside HTTP
//! An identifier rides in whatever a channel has room for (D5). [`Channels`] gives an exchange
//! calls over any of them ([`Sending`]: pairs for a message's metadata, a SOAP envelope, a message
//! of its own), [`Arrival`] makes an exchange of what comes in, [`Batch`] one of many messages.
//! [`Beside`] lets identifiers meet their requests, [`References`] finds them by a token. gRPC is
//! HTTP: [`Layer`] stands before a tonic server as before any, [`CallLayer`] around its channel.
//! `docs/guide/carriers.md` shows each.
//!
//! # The fastest site
//! [`race::fastest`] lets the fleet's sites race to this client, and names the first.
//!
//! Requirements: A1, A5, A9, A10, C7, D1, D5, D6.

mod arrival;
mod batch;
mod calls;
#[cfg(feature = "client")]
mod client;
mod grpc;
mod inbound;
mod layer;
#[cfg(feature = "race")]
pub mod race;
mod record;
#[cfg(feature = "axum")]
mod reference_store;
#[cfg(feature = "client")]
mod references;
mod reply;
mod root;
mod sending;
#[cfg(feature = "axum")]
mod session;

pub use arrival::Arrival;
pub use batch::Batch;
pub use calls::{CallBody, CallLayer, Calls};
#[cfg(feature = "client")]
pub use client::{CallError, Client, Reply};
#[doc(hidden)]
pub use grpc::fuzz_grpc_status;
pub use layer::{Layer, Peer, Tracked};
pub use record::RequestBody;
#[cfg(feature = "axum")]
pub use reference_store::reference_store;
#[cfg(feature = "client")]
pub use references::{ReferenceCounts, References};
pub use reply::ReplyBody;
pub use root::begin;
pub use selvedge_node::{Action, Beside, BesideCounts, BesideError, BesideOptions};
pub use selvedge_node::{BroadcastError, End, Exchange, Node, NodeOptions, Sent, Shelf};
pub use selvedge_node::{Relation, SessionState, StateError, StateValue, Timeline};
pub use sending::{Channels, Pairs, Sending};
#[cfg(feature = "axum")]
pub use session::{NoSession, Session};
