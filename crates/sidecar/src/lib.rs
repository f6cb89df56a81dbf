//! The sidecar: a proxy before a content server written in any language.
//!
//! It listens where the gateway sends requests, takes each one for its node (order, identifier,
//! entry), and passes it on to the server behind it, the *application*. The application tells its
//! own calls to other services by copying one header, `selvedge-request`, from the request that
//! it is handling, and by sending them to the sidecar's *egress* address; there each call gets its
//! identifier and its entry. The same address answers what the application wants to know of the
//! session ([local API](#local-api)). So the application does no tracking, and needs no library.
//!
//! What the application sees of an inbound request beside the request itself:
//! `selvedge-request`, `traceparent` and `tracestate`, and for information `selvedge-session-id`
//! and `selvedge-client-id`. Tokens stay in the sidecar.
//!
//! # Egress
//! Three ways name the callee, the first that is there counts: a header
//! `selvedge-target: http://host:port`; an absolute request target or a `Host` whose name stands
//! in [`SidecarOptions::routes`]; an absolute request target or a `Host` that is itself
//! `host[:port]`. So an HTTP client needs the egress address as its HTTP proxy, or as the base of
//! its URLs. Calls are plain HTTP.
//!
//! # Local API
//! On the egress address; the header `selvedge-request` (or `?request=`) names the request.
//! - `GET /selvedge/v1/session/history`: `{"session","client","complete","entries":[…]}`, what this
//!   server's memory holds of the session, in order: the fleet's actions, as the timeline of the
//!   query API shows them, with what is concurrent.
//! - `GET /selvedge/v1/session/state/{name}`: `{"name","value","candidates":[…]}`, a value of the
//!   session's state; more than one candidate `{"value","ordering","action"}` are a conflict, the
//!   first is shown. `PUT` with JSON writes it, `DELETE` takes it away: 204, before the answer to
//!   the request. `GET /selvedge/v1/session/state`: `{"session","states":[…]}`, all of them.
//!   (`docs/guide/sessions.md`)
//! - `GET /selvedge/v1/entries?filter=…`: the stream of the fleet's entries, as `crates/follow`
//!   writes it: for a monitor of the application's own (B6).
//! - `POST /selvedge/v1/action` `{"name","attributes":{…}}`: records an action with an ordering id
//!   of its own (A9): 201 `{"position"}`.
//! - `POST /selvedge/v1/broadcast`: its body goes to all receivers at once, with a head for each
//!   session named in `selvedge-to` (docs/guide/broadcast.md).
//! - `POST /selvedge/v1/attributes` `{name: value}`: adds them to the request's entry: 204.
//!
//! For channels that are not the sidecar's (D5; `docs/guide/carriers.md`):
//! - `POST /selvedge/v1/call` `{"peer","host","method","path","about","reference","session"}`: the
//!   request makes a call over such a channel: 201 `{"call","headers"}`, the pairs to attach, with
//!   `separate` (a message of its own) where `about` names the request at both sides, and
//!   `reference` (a token) where that is true. Everything may be left out.
//! - `POST /selvedge/v1/call/{call}` `{"status","error","request_bytes","response_bytes"}`: it ended.
//! - `POST /selvedge/v1/request` `{"method","path","headers","about","wait_ms"}`: a request came
//!   over such a channel, with these pairs: 201 `{"id","request","session"}`, where `request` names it
//!   in all other questions. With `about` its identifier comes beside it, and is awaited.
//! - `POST /selvedge/v1/request/{id}`: it ended, told as for a call.
//! - `POST /selvedge/v1/separate`: an identifier's message that came to the application: 204.
//! - `PUT` and `GET /selvedge/v1/references/{token}`: an identifier (as text) under a token.
//!
//! Requirements: A1, A3, A9, B2, D5, D6, E6.

mod counts;
mod egress;
mod error;
mod inbound;
mod live;
mod local_api;
mod message;
mod open;
mod options;
mod running;
mod soap;
mod target;

pub use counts::SidecarCounts;
pub use error::SidecarError;
pub use options::SidecarOptions;
pub use running::{RunningSidecar, Sidecar};
pub use soap::SoapOptions;
pub use target::Target;
