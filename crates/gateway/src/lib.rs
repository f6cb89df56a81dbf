//! The load balancer, with the log server in it.
//!
//! It takes every request (B1), gives it a session and a client where it has none (A3, A4), makes
//! it the root of a call tree, picks the server that handles it (B4) and brings the answer back.
//! It keeps no bodies and orders nothing: the session's order is advanced by the server it picks.
//! Only the gateway speaks cookies ([`cookies`], [`jar`]).
//!
//! Every path belongs to the users, but the one where broadcasts are told
//! ([`BroadcastOptions::path`]) and those of the channel ([`ChannelOptions::path`]); the gateway's own state is told by [`RunningGateway`].
//!
//! Requirements: A3, A4, A9 (cookies), A10, B1, B4.

mod broadcast;
mod channel;
pub mod cookies;
mod forward;
mod gateway;
mod health;
pub mod jar;
mod load;
mod log_server;
mod metrics;
mod options;
mod policy;
mod probe;
mod upstream;

pub use broadcast::{BroadcastOptions, Broadcaster};
pub use channel::ChannelOptions;
pub use gateway::{Gateway, GatewayError, GatewayMetrics, RunningGateway};
pub use health::{Health, HealthOptions, ProbeOptions};
pub use load::PeakEwma;
pub use metrics::{GatewayCounts, UpstreamCounts};
pub use options::{CookieOptions, GatewayOptions, UpstreamOptions};
pub use policy::{Chance, Picker, Policy};
pub use selvedge_relay::{ClientLimits, Limits};
pub use upstream::UpstreamStatus;
