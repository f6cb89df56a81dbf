//! The back-end network (B2, B10): each server announces its journal, every other follows it.
//!
//! [`Bus`] is the contract; [`Hub`] is the embedded implementation, for parts of the same process
//! and over TCP for others; `JetStreamBus` is the one over NATS JetStream, with the feature
//! `jetstream`. The bus carries opaque records and knows nothing of entries.

mod acknowledging;
mod announcing;
mod batch;
mod contract;
mod error;
mod event;
mod hub;
#[cfg(feature = "jetstream")]
mod jetstream;
mod metrics;
mod reporting;
mod tcp;
pub mod testing;

pub use acknowledging::{Holders, Tells};
pub use batch::{Batch, Extent};
pub use contract::{
    Bus, Events, Pace, Publisher, Source, SourceRead, Start, Subscribe, Subscription,
};
pub use error::{BusError, SourceError};
pub use event::Event;
pub use hub::{Hub, HubOptions};
#[cfg(feature = "jetstream")]
#[doc(hidden)]
pub use jetstream::fuzz_sealed;
#[cfg(feature = "jetstream")]
pub use jetstream::{JetStreamBus, JetStreamMetrics, JetStreamOptions};
pub use metrics::{HubMetrics, JournalStatus};
pub use reporting::{Found, ReportMode, Terms};
pub use tcp::{Dial, LinkOptions, LinkStream, TcpBus, TcpBusMetrics};
#[doc(hidden)]
pub use tcp::{fuzz_body, fuzz_frame};
