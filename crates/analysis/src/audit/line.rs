//! A line of an audit as it is shown.

use selvedge_entry::{Text, Timestamp};
use selvedge_identity::Consumer;
use serde::{Deserialize, Serialize};

use super::{LineKey, Totals};
use crate::{Hidden, Losses, Period};

/// What one consumer took of one service in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who consumed.
    pub consumer: Consumer,
    /// What; `None`: calls to a service that nobody names.
    pub service: Option<Text>,
    /// Of requests that began at this time or later; `None`: since ever.
    pub from: Option<Timestamp>,
    /// Of requests that began before this time; `None`: until now.
    pub to: Option<Timestamp>,
    /// What the calls add up to.
    #[serde(flatten)]
    pub totals: Totals,
    /// Calls that the service is proven to have handled.
    pub calls_min: u64,
    /// Calls that it can have handled at most; `None`: nothing bounds it.
    pub calls_max: Option<u64>,
    /// Calls that gaps in the service's journals may hide at most; `None`: nothing bounds it.
    pub hidden_max: Option<u64>,
}

impl Line {
    pub(super) fn new(
        key: &LineKey,
        totals: &Totals,
        open: u64,
        period: Period,
        losses: &Losses,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Self {
        let stretch = key.from.and_then(|from| period.around(from));
        let (start, end) = stretch.map_or((None, None), |(from, to)| (Some(from), Some(to)));
        let from = from.max(start);
        let to = match (to, end) {
            (Some(to), Some(end)) => Some(to.min(end)),
            (to, end) => to.or(end),
        };
        let hidden = match &key.service {
            Some(service) => losses.hidden(service, from, to),
            None => Hidden::Unbounded,
        };
        Self {
            consumer: key.consumer.clone(),
            service: key.service.clone(),
            from,
            to,
            totals: *totals,
            calls_min: totals.calls - totals.unproven,
            calls_max: hidden.plus(totals.calls.saturating_add(open)),
            hidden_max: hidden.plus(0),
        }
    }
}
