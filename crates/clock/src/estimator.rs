//! Exchanges in, an estimate out: a window of what was measured, and what is certain of it.

use std::collections::VecDeque;

use crate::fit::{Point, fit};
use crate::{DRIFT_MAX, Estimate, Exchange, ExchangeError, Local, Nanos};

/// Limits of an [`Estimator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimatorOptions {
    /// How long an exchange counts, in nanoseconds of the replica's clock.
    pub window: Nanos,
    /// How many are kept at most.
    pub exchanges_max: usize,
    /// How many it takes before there is an estimate.
    pub exchanges_min: usize,
}

impl Default for EstimatorOptions {
    /// A minute; 512; 8.
    fn default() -> Self {
        Self {
            window: 60_000_000_000,
            exchanges_max: 512,
            exchanges_min: 8,
        }
    }
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It counts.
    Taken,
    /// It contradicts what was certain: a clock jumped. All before it is forgotten.
    Jumped,
    /// It cannot be.
    Refused(ExchangeError),
}

/// One replica's clock as the master measures it. Memory is bounded by the options.
#[derive(Clone, Debug)]
pub struct Estimator {
    options: EstimatorOptions,
    window: VecDeque<Exchange>,
}

impl Estimator {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(options: EstimatorOptions) -> Self {
        Self {
            options,
            window: VecDeque::new(),
        }
    }

    /// Forgets everything: the replica runs anew, with another clock perhaps.
    pub fn forget(&mut self) {
        self.window.clear();
    }

    /// Takes an exchange. They may come in any order, but each only once.
    pub fn add(&mut self, exchange: Exchange) -> Added {
        if let Err(error) = exchange.check() {
            return Added::Refused(error);
        }
        let jumped = self.contradicts(&exchange);
        if jumped {
            self.forget();
        }
        self.window.push_back(exchange);
        let newest = self.newest();
        while self.window.len() > self.options.exchanges_max
            || self
                .window
                .front()
                .is_some_and(|first| newest - first.answered > self.options.window)
        {
            self.window.pop_front();
        }
        if jumped { Added::Jumped } else { Added::Taken }
    }

    /// Offset, rate and margins by what is in the window; none before there is enough. It costs a
    /// walk over the window.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        if self.window.len() < self.options.exchanges_min {
            return None;
        }
        let at = self.newest();
        let shortest = self.round_trip_min()?;
        let reference = self.window.back()?.offset();
        let points: Vec<Point> = self
            .window
            .iter()
            .map(|exchange| point(exchange, at, reference, shortest))
            .collect();
        let line = fit(&points);
        let (least, most) = self.certain(at)?;
        // The truth is between, so the estimate need not be outside.
        let offset = reference
            .saturating_add(whole(line.offset))
            .clamp(least, most.max(least));
        Some(Estimate {
            at,
            offset,
            rate: (line.rate / 1e9).clamp(-DRIFT_MAX, DRIFT_MAX),
            // What is certain is certain on symmetric paths, too.
            noise: whole(line.noise).min((most - offset).max(offset - least)),
            bound: (most - offset).max(offset - least),
        })
    }

    /// How many exchanges are in the window.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.window.len()
    }

    /// The shortest way round in the window.
    #[must_use]
    pub fn round_trip_min(&self) -> Option<Nanos> {
        self.window.iter().map(Exchange::round_trip).min()
    }

    /// The longest way there in the window, told by the estimated clock, for a delay that no path
    /// exceeds (C4). The slowest twentieth is left out: a moment's pause is no path.
    #[must_use]
    pub fn longest_one_way(&self) -> Option<Nanos> {
        let estimate = self.estimate()?;
        let mut ways: Vec<Nanos> = self
            .window
            .iter()
            .map(|e| estimate.common(e.received) - e.sent)
            .collect();
        ways.sort_unstable();
        let longest = *ways.get((ways.len() - 1) - ways.len() / 20)?;
        Some(longest.max(0).saturating_add(estimate.noise))
    }

    /// What is certain of common minus local at a local instant: at least, at most.
    #[must_use]
    pub fn certain(&self, at: Local) -> Option<(Nanos, Nanos)> {
        self.window
            .iter()
            .map(|exchange| limits(exchange, at))
            .reduce(|one, other| (one.0.max(other.0), one.1.min(other.1)))
    }

    fn newest(&self) -> Local {
        self.window
            .iter()
            .map(|exchange| exchange.answered)
            .max()
            .unwrap_or_default()
    }

    fn contradicts(&self, exchange: &Exchange) -> bool {
        let at = exchange.received;
        let (least, most) = limits(exchange, at);
        self.certain(at)
            .is_some_and(|certain| least > certain.1 || most < certain.0)
    }
}

/// What one exchange says of common minus local at a local instant.
fn limits(exchange: &Exchange, at: Local) -> (Nanos, Nanos) {
    let apart = |from: Local| whole(seconds(at - from).abs() * DRIFT_MAX * 1e9) + 1;
    (
        exchange.at_least().saturating_sub(apart(exchange.received)),
        exchange.at_most().saturating_add(apart(exchange.answered)),
    )
}

fn point(exchange: &Exchange, at: Local, reference: Nanos, shortest: Nanos) -> Point {
    let middle = exchange.received + (exchange.answered - exchange.received) / 2;
    Point {
        time: seconds(middle - at),
        offset: seconds(exchange.offset().saturating_sub(reference)) * 1e9,
        excess: seconds(exchange.round_trip() - shortest) * 1e9,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "differences within a window: far below 2^53 nanoseconds"
)]
fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from float stays at the ends of what an integer holds"
)]
fn whole(nanos: f64) -> Nanos {
    nanos.round() as Nanos
}
