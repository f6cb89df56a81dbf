//! What many call trees tell together.
//!
//! Each analysis is a fold over trees: [`Paths`] (which ways a kind of request goes, how often and
//! how fast) and [`Audit`] (who consumed which service how often and how much). A fold takes trees
//! in any order, counts each origin once, can be split over several folds and merged, and holds a
//! bounded amount however many trees it takes.
//!
//! Pure: it knows nothing of where trees come from, nor of journals beyond what [`Losses`] is
//! told of them.
//!
//! Requirements: D13 (call paths), D14.

mod audit;
mod latency;
mod losses;
mod paths;
mod period;
mod request;
mod seen;
mod sight;

pub use audit::{Audit, Line, LineKey, Totals, Wanted, charges};
pub use latency::{Latency, LatencyJson};
pub use losses::{Hidden, Loss, Losses, SLACK_NS};
pub use paths::{Kind, PathRow, Paths, STEPS_MAX, Step};
pub use period::Period;
pub use request::{Request, Servers};
pub use seen::Overlap;
pub use sight::visible;
