//! Times of a host's clock.

/// Nanoseconds since the Unix epoch, on the clock of the host that wrote it. Shown as RFC 3339
/// with nanoseconds, in UTC. Times of different hosts are never compared for order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);
