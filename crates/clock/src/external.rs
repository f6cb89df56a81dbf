//! A clock that something else already disciplines: PTP, or chrony.

use thiserror::Error;

use crate::{Estimate, Estimator, Local, Nanos};

/// What a host says of its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// The local instant that it is said of.
    pub at: Local,
    /// Wall clock minus local clock then.
    pub offset: Nanos,
    /// How far the wall clock may be from true time.
    pub bound: Nanos,
}

/// Which clock a replica is told by, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The exchanges.
    Exchange(Estimate),
    /// Its own disciplined clock, which is closer than the exchanges can tell.
    External(Estimate),
    /// The exchanges, because its own clock claims what they exclude. Said with the distance
    /// between the two.
    Contradicted(Estimate, Nanos),
}

impl Choice {
    /// What was chosen.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        match self {
            Self::Exchange(estimate)
            | Self::External(estimate)
            | Self::Contradicted(estimate, _) => *estimate,
        }
    }
}

/// Chooses between exchanges and external clocks. `master` is the bound of the master's own external
/// clock: without one the common clock is not the wall clock, and the replica's says nothing.
///
/// None before the exchanges suffice: an external clock that nobody could contradict is not taken.
#[must_use]
pub fn choose(
    estimator: &Estimator,
    replica: Option<External>,
    master: Option<Nanos>,
) -> Option<Choice> {
    let measured = estimator.estimate()?;
    let (Some(replica), Some(master)) = (replica, master) else {
        return Some(Choice::Exchange(measured));
    };
    let bound = replica.bound.saturating_add(master);
    let (least, most) = estimator.certain(replica.at)?;
    if replica.offset.saturating_add(bound) < least || replica.offset.saturating_sub(bound) > most {
        let apart = replica
            .offset
            .saturating_sub(measured.common(replica.at).0.saturating_sub(replica.at.0));
        return Some(Choice::Contradicted(measured, apart));
    }
    if bound >= measured.bound_at(replica.at) {
        return Some(Choice::Exchange(measured));
    }
    Some(Choice::External(Estimate {
        at: replica.at,
        offset: replica.offset,
        rate: measured.rate,
        noise: bound,
        bound,
    }))
}

/// Why chrony's report gives no bound.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChronyError {
    /// Fewer fields than `chronyc -c tracking` prints, or one that is no number.
    #[error(
        "field {0} of chronyc's tracking report is missing or no number: is it `chronyc -c tracking` of chrony 2 to 4?"
    )]
    Field(usize),
    /// The clock follows nothing.
    #[error("chrony is not synchronised: {0}")]
    Unsynchronised(String),
}

/// How well a host's wall clock is kept, by chrony's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChronyAccount {
    /// How far the clock may be from true time as this is told: the offset still to be corrected +
    /// root dispersion + half the root delay, which chrony's manual calls the clock's maximum error.
    pub bound: Nanos,
    /// How fast that grows until chrony is asked again, in nanoseconds a second: the skew of its
    /// frequency, and what it allows every clock (`maxclockerror`).
    pub growth: Nanos,
}

/// Reads what `chronyc -c tracking` prints, one line of fields between commas.
///
/// # Errors
/// No such line, or a clock that follows nothing.
pub fn chrony_account(report: &str) -> Result<ChronyAccount, ChronyError> {
    const OFFSET: usize = 4;
    /// In parts per million.
    const SKEW: usize = 9;
    const ROOT_DELAY: usize = 10;
    const ROOT_DISPERSION: usize = 11;
    const LEAP: usize = 13;
    /// chrony's default `maxclockerror`, in parts per million.
    const CLOCK_ERROR_MAX: f64 = 1.0;
    let fields: Vec<&str> = report.trim().split(',').take(32).collect();
    let leap = fields.get(LEAP).ok_or(ChronyError::Field(LEAP))?;
    if !matches!(*leap, "Normal" | "Insert second" | "Delete second") {
        return Err(ChronyError::Unsynchronised(
            (*leap).chars().take(40).collect(),
        ));
    }
    let number = |index: usize| {
        let value: f64 = fields[index]
            .parse()
            .map_err(|_| ChronyError::Field(index))?;
        if value.is_finite() {
            Ok(value.abs())
        } else {
            Err(ChronyError::Field(index))
        }
    };
    let seconds = number(OFFSET)? + number(ROOT_DELAY)? / 2.0 + number(ROOT_DISPERSION)?;
    let per_million = number(SKEW)? + CLOCK_ERROR_MAX;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from float stays at the ends of what an integer holds"
    )]
    Ok(ChronyAccount {
        bound: (seconds * 1e9).ceil() as Nanos,
        growth: (per_million * 1e3).ceil() as Nanos,
    })
}
