//! The packet path that gateway and sidecar share: strict HTTP in, pooled HTTP/1 out.
//!
//! A general HTTP library does much for each request that a relay does not need; this one keeps a
//! head as the bytes that came, edits a few fields and writes it on, and streams bodies in between
//! without a task or a copy. The price is that its framing must be proven, not assumed: what has
//! two readings is refused ([`parse`]), what goes out is framed anew, and a fuzz target holds
//! parser and writer against each other.
//!
//! In: HTTP/1.0, HTTP/1.1, cleartext HTTP/2 with prior knowledge. Out: HTTP/1.1 over kept-alive
//! connections. Trailers are dropped, CONNECT is not served, `Upgrade` (WebSocket) is tunnelled.
//!
//! Order of a request: `server` (accepts) → `http1_server` or `http2_server` (reads the head by
//! `parse`) → [`Handler`] (edits, decides) → [`Client`] → back the same way by `copy`.

mod answer;
mod body;
pub mod chunked;
mod client;
mod copy;
mod fields;
mod head;
mod http1_body;
mod http1_server;
mod http2_server;
mod limits;
pub mod parse;
mod pool;
mod refusal;
mod server;
mod timer;
mod wire;

pub use body::{Body, BodyEnd, BodyError, Observer};
pub use client::{Client, SendError};
pub use fields::{Fields, is};
pub use head::{Length, Request, RequestHead, Response, ResponseHead, Version};
pub use limits::{ClientLimits, FIELDS_MAX, Limits};
pub use refusal::{Refusal, phrase};
pub use server::{Handler, Server, ServerCounter, ServerCounts};
pub use wire::Tunnel;
