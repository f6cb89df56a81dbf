//! W3C Trace Context: `traceparent`, and the `sv` member of `tracestate` (E2).

use thiserror::Error;

use crate::{Interaction, Origin};

/// A `traceparent` header: origin, the interaction of this hop, flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace-id.
    pub origin: Origin,
    /// The parent-id: the call that this request is.
    pub interaction: Interaction,
    /// Bit 0 sampled, bit 1 random.
    pub flags: u8,
}

/// Why an `sv` member was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TraceStateError {
    /// Not of the form.
    #[error("malformed sv member")]
    Malformed,
    /// The check does not hold.
    #[error("damaged sv member")]
    Damaged,
}
