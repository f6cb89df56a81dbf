//! Thresholds: something that entries show is counted, and a level is crossed.
//!
//! A [`Rule`] says which entries count (a filter), what is counted of them, over which window of
//! time, and at which level it raises and clears. A [`Threshold`] is a rule at work: it takes
//! entries as they come, late and from many servers, and tells each [`Crossing`].
//!
//! Time. An entry counts at its own time (the instant its server wrote, [`Opening::at`]), so that
//! a monitor that was away and catches up does not see a burst that never was. The window ends at
//! the caller's `now`, which only a clock moves and never an entry: so a source that is idle, or
//! gone, stalls nothing. An entry from the future (a clock ahead) counts now; one that comes after
//! its window was given up, or before the rule began, counts nowhere; both are counted as such.
//!
//! Pure: a fold over entries and instants. Its state is bounded by the rule's own limits (groups,
//! panes, exact members) and can be written and read back.
//!
//! Requirement: B7. The words raise, clear, `for`, `keep_firing_for` are those of Prometheus'
//! alerting rules.
//!
//! [`Opening::at`]: selvedge_entry::Opening::at

mod alarm;
mod count;
mod distinct;
mod latency;
mod panes;
mod rule;
mod state;

pub use alarm::Change;
pub use rule::{Counted, Level, Rule, RuleConfig, RuleError, Side, Window};
pub use state::{Crossing, GroupView, Taking, Threshold, ThresholdCounts};
