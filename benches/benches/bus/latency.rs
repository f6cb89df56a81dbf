//! Records at a pace, and how long each was under way.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// About as often as a journal commits under load.
const EVERY: Duration = Duration::from_micros(250);
/// What comes before that is not counted.
const WARM_UP: Duration = Duration::from_millis(500);
const TIME: Duration = Duration::from_secs(4);

/// A rate, as batches of one size.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Records of a batch.
    pub(crate) batch: usize,
}

impl Pace {
    /// Of this many records a second.
    pub(crate) fn of(rate: usize) -> Self {
        let batch = rate as f64 * EVERY.as_secs_f64();
        Self {
            batch: batch.ceil() as usize,
        }
    }

    /// Begins a little later, so that all are there.
    pub(crate) fn begin(self) -> Begun {
        Begun {
            pace: self,
            at: Instant::now() + Duration::from_millis(50),
        }
    }
}

/// A pace with its first instant.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pace: Pace,
    at: Instant,
}

impl Begun {
    const BATCHES: usize = ((WARM_UP.as_micros() + TIME.as_micros()) / EVERY.as_micros()) as usize;

    fn due(&self, batch: usize) -> Instant {
        self.at + EVERY * batch as u32
    }

    /// Sends each batch when it is due, or as soon as may be after that. To be called where the
    /// thread may sleep: a runtime's timer is too coarse.
    pub(crate) async fn drive(&self, mut send: impl AsyncFnMut(usize)) {
        for batch in 0..Self::BATCHES {
            let wait = self.due(batch).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            send(self.pace.batch).await;
        }
    }
}

/// How long batches were under way to one subscriber, or to all.
pub(crate) struct Latencies {
    begun: Begun,
    batches: usize,
    ms: Vec<f64>,
}

impl Latencies {
    pub(crate) fn new(begun: Begun) -> Self {
        Self {
            begun,
            batches: 0,
            ms: Vec::new(),
        }
    }

    /// So many records have come by now; true once these are all.
    pub(crate) fn came(&mut self, records: usize) -> bool {
        let now = Instant::now();
        let warm = self.begun.at + WARM_UP;
        while (self.batches + 1) * self.begun.pace.batch <= records {
            let due = self.begun.due(self.batches);
            if due >= warm {
                self.ms
                    .push(now.saturating_duration_since(due).as_secs_f64() * 1e3);
            }
            self.batches += 1;
        }
        self.batches >= Begun::BATCHES
    }

    /// Those of all subscribers.
    pub(crate) async fn of_all(reading: Vec<JoinHandle<Self>>) -> Self {
        let mut all: Option<Self> = None;
        for reading in reading {
            let one = reading.await.expect("read");
            match &mut all {
                Some(all) => all.ms.extend(one.ms),
                None => all = Some(one),
            }
        }
        let mut all = all.expect("a subscriber");
        all.ms.sort_by(f64::total_cmp);
        all
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.percentile(99.0)
    }

    fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.ms.len() as f64).ceil() as usize;
        self.ms[rank.clamp(1, self.ms.len()) - 1]
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [50.0, 99.0].map(|p| self.percentile(p));
        write!(f, "{p50:.2} ms; {p99:.2} ms")
    }
}
