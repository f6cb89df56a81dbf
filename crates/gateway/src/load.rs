//! How loaded an upstream is: what a request sent to it now would probably cost.
//!
//! The cost is the upstream's latency times the requests it has in flight, this one counted. The
//! latency is a peak-sensitive moving average: a slow answer counts at once, fast ones win the
//! trust back over a few seconds, and an upstream nobody asks is forgiven by time alone, so that
//! it is tried again: the sooner, the less is known of it, since a first answer often pays for a
//! connection or a cold cache. A failure counts as a slow answer, else a server that fails fast
//! would draw all the traffic.
//!
//! Pure: the clock is an argument, nanoseconds since any fixed instant.

/// A peak-sensitive, decaying average of latencies.
#[derive(Clone, Debug)]
pub struct PeakEwma {
    decay_ns: f64,
    /// `None` until the first answer.
    latency_ns: Option<f64>,
    at_ns: u64,
    answers: u32,
}

/// So many answers make an average that is trusted for half the decay time.
const ANSWERS_HALF: f64 = 10.0;

/// What an upstream that has not answered yet is taken to cost for each request in flight: it
/// gets one request, and the next one when that was answered.
const UNKNOWN_NS: f64 = 1e9;

impl PeakEwma {
    /// An average that forgets within about `decay_ns`.
    #[must_use]
    pub fn new(decay_ns: u64) -> Self {
        Self {
            decay_ns: (decay_ns.max(1)) as f64,
            latency_ns: None,
            at_ns: 0,
            answers: 0,
        }
    }

    /// An answer took so long.
    pub fn observe(&mut self, now_ns: u64, latency_ns: u64) {
        let latency = latency_ns as f64;
        let averaged = match self.latency_ns {
            Some(average) if latency < average => {
                let keep = self.keep(now_ns);
                average * keep + latency * (1.0 - keep)
            }
            _ => latency,
        };
        self.latency_ns = Some(averaged);
        self.at_ns = self.at_ns.max(now_ns);
        self.answers = self.answers.saturating_add(1);
    }

    /// The cost of one more request, with `in_flight` others on their way.
    #[must_use]
    pub fn cost(&self, now_ns: u64, in_flight: usize) -> f64 {
        let in_flight = in_flight as f64;
        match self.latency_ns {
            Some(latency) => latency * self.keep(now_ns) * (in_flight + 1.0),
            None => UNKNOWN_NS * in_flight,
        }
    }

    fn keep(&self, now_ns: u64) -> f64 {
        let passed = now_ns.saturating_sub(self.at_ns) as f64;
        let answers = f64::from(self.answers);
        let decay = self.decay_ns * answers / (answers + ANSWERS_HALF);
        (-passed / decay).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_slow_answer_counts_at_once_and_fast_ones_win_trust_back_slowly() {
        let mut load = PeakEwma::new(5_000 * MS);
        for _ in 0..1000 {
            load.observe(0, 10 * MS);
        }
        load.observe(0, 1_000 * MS);
        assert!(load.cost(0, 0) >= 1e9);
        load.observe(MS, 10 * MS);
        assert!(load.cost(MS, 0) > 0.9e9, "one fast answer proves little");
        for second in 1..60 {
            load.observe(second * 1_000 * MS, 10 * MS);
        }
        let cost = load.cost(59_000 * MS, 0);
        assert!((9e6..12e6).contains(&cost), "{cost}");
    }

    #[test]
    fn an_unknown_upstream_is_tried_with_one_request_first() {
        let load = PeakEwma::new(5_000 * MS);
        assert!(load.cost(0, 0) <= 0.0);
        assert!(load.cost(0, 1) >= 1e9);
    }

    #[test]
    fn one_slow_answer_at_the_start_is_soon_forgotten() {
        let mut load = PeakEwma::new(5_000 * MS);
        load.observe(0, 10 * MS);
        assert!(load.cost(1_000 * MS, 0) < 2e6);
    }

    #[test]
    fn an_upstream_nobody_asks_is_forgiven_by_time() {
        let mut load = PeakEwma::new(5_000 * MS);
        load.observe(0, 5_000 * MS);
        assert!(load.cost(60_000 * MS, 0) < load.cost(0, 0) / 1e4);
    }
}
