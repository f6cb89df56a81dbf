//! The repository: keeps what every server did, builds trees and timelines, answers queries.
//!
//! It follows all journals on the bus, keeps their records for good in a [`Store`], and serves the
//! query API and the page on the admin port. What it answers is a fold over the records that are
//! here: it never changes an entry, and late, doubled and reordered deliveries end the same.
//!
//! Services without a journal send spans ([`SpanTaker`]); every answer is over both.
//!
//! Requirements: B3, D7 (real time), D8, D10, D11, E1, E2.

mod agents;
mod api;
#[cfg(test)]
mod fixture;
mod ingest;
mod judge;
mod metrics;
mod query;
mod repository;
mod request;
mod serve;
mod span_taker;
mod store;

pub use api::{Access, AdminExtras, IMPORT_BYTES_MAX, MoreMetrics, openapi, router};
pub use ingest::IngestState;
pub use query::{Cursor, LIMIT_DEFAULT, LIMIT_MAX, RequestQuery, SessionQuery};
pub use repository::{Repository, RepositoryError, RepositoryOptions};
pub use request::Request;
pub use serve::serve;
pub use span_taker::SpanTaker;
pub use store::{
    EpochView, GapView, JournalView, OPERATIONS_MAX, ServiceView, SessionView, Store, StoreCounts,
    StoreError, StoreOptions, Stored, TakenSpans,
};
