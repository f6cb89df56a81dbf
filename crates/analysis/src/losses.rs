//! What gaps in journals may hide.
//!
//! A service that handles a call writes at least one record of it into its own journal, and a
//! journal's records are numbered without holes. So calls that nobody has heard of can only stand
//! in the missing records of that service's journals: there are at most as many. That is a certain
//! bound, and a loose one: an entry mostly has two or three records, and most calls of a lost
//! journal are known from their callers.
//!
//! What the bound rests on: every journal of the service is known here (a server of which nothing
//! ever came hides what it likes), and an entry stands in its journal within [`SLACK_NS`] of the
//! time at which its request began. A service without a journal (its spans came from an exporter, or only its callers name
//! it) has no bound at all.

use std::collections::BTreeSet;

use selvedge_entry::{Text, Timestamp};

/// How long before or after its neighbours in a journal the request of an entry may have begun: 20
/// minutes. That is for entries of slow calls, which are written at their end, for calls late in a
/// long request, and for clocks that are apart.
pub const SLACK_NS: u64 = 1_200_000_000_000;

/// Missing records of one journal that stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The services that the journal's server is known to be; empty: nobody knows.
    pub services: BTreeSet<Text>,
    /// How many records are missing; `None`: nobody knows.
    pub records: Option<u64>,
    /// The time of the entry before them, if there is one.
    pub after: Option<Timestamp>,
    /// The time of the entry behind them, if there is one.
    pub before: Option<Timestamp>,
}

/// How many calls may be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hidden {
    /// At most so many.
    AtMost(u64),
    /// Nothing bounds it.
    Unbounded,
}

/// All that is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    losses: Vec<Loss>,
    journaled: BTreeSet<Text>,
}

impl Losses {
    /// The losses, and the services of which there is a journal.
    #[must_use]
    pub fn new(losses: Vec<Loss>, journaled: BTreeSet<Text>) -> Self {
        Self { losses, journaled }
    }

    /// How many calls of a service, in requests that began within `[from, to)`, may be hidden.
    #[must_use]
    pub fn hidden(&self, service: &str, from: Option<Timestamp>, to: Option<Timestamp>) -> Hidden {
        if !self.journaled.contains(service) {
            return Hidden::Unbounded;
        }
        let of_service = |loss: &&Loss| {
            let named = loss.services.is_empty() || loss.services.contains(service);
            named && loss.within(from, to)
        };
        self.losses
            .iter()
            .filter(of_service)
            .try_fold(0u64, |sum, loss| Some(sum.saturating_add(loss.records?)))
            .map_or(Hidden::Unbounded, Hidden::AtMost)
    }
}

impl Loss {
    /// Whether an entry among the missing records may be of this time.
    fn within(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        let earliest = |at: Timestamp| at.0.saturating_sub_unsigned(SLACK_NS);
        let latest = |at: Timestamp| at.0.saturating_add_unsigned(SLACK_NS);
        let too_late = to
            .zip(self.after)
            .is_some_and(|(to, after)| to.0 <= earliest(after));
        let too_early = from
            .zip(self.before)
            .is_some_and(|(from, before)| from.0 > latest(before));
        !too_late && !too_early
    }
}

impl Hidden {
    /// The sum with a number; none if nothing bounds it.
    #[must_use]
    pub fn plus(self, more: u64) -> Option<u64> {
        match self {
            Self::AtMost(hidden) => Some(hidden.saturating_add(more)),
            Self::Unbounded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn loss(services: &[&str], records: Option<u64>) -> Loss {
        Loss {
            services: services.iter().map(|name| (*name).into()).collect(),
            records,
            ..Loss::default()
        }
    }

    fn losses(list: Vec<Loss>) -> Losses {
        Losses::new(list, ["a".into(), "b".into()].into())
    }

    #[test]
    fn a_services_losses_add_up_and_those_of_nobody_count_for_all() {
        let losses = losses(vec![
            loss(&["a"], Some(3)),
            loss(&["a", "b"], Some(4)),
            loss(&[], Some(1)),
        ]);
        let hidden = |service| losses.hidden(service, None, None);
        assert_eq!(hidden("a"), Hidden::AtMost(8));
        assert_eq!(hidden("b"), Hidden::AtMost(5));
        assert_eq!(hidden("c"), Hidden::Unbounded, "it has no journal");
        assert_eq!(hidden("a").plus(2), Some(10));
        assert_eq!(hidden("c").plus(2), None);
    }

    #[test]
    fn a_loss_of_unknown_size_bounds_nothing() {
        let losses = losses(vec![loss(&["a"], None)]);
        assert_eq!(losses.hidden("a", None, None), Hidden::Unbounded);
        assert_eq!(losses.hidden("b", None, None), Hidden::AtMost(0));
    }

    #[test]
    fn a_loss_counts_where_its_neighbours_and_the_slack_leave_room() {
        let times = |after, before| Loss {
            after: Some(Timestamp(after)),
            before: Some(Timestamp(before)),
            ..loss(&["a"], Some(5))
        };
        let losses = losses(vec![times(10_000 * S, 10_010 * S)]);
        let hidden = |from: i64, to: i64| {
            let (from, to) = (Timestamp(from * S), Timestamp(to * S));
            losses.hidden("a", Some(from), Some(to)) == Hidden::AtMost(5)
        };
        assert!(hidden(10_001, 10_002));
        assert!(hidden(8_000, 8_801));
        assert!(!hidden(8_000, 8_800));
        assert!(hidden(11_210, 11_300));
        assert!(!hidden(11_211, 11_300));
    }
}
