//! Votes that cross a threshold: when each was answered, and when it was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long what is told late may take, before it counts as missed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rule that the first vote for each choice `crossing-…` crosses.
pub const RULE: &str = "[[threshold]]\n\
    name = \"choices\"\n\
    filter = 'service = content and direction = inbound and request.choice ~ \"crossing-*\"'\n\
    group_by = \"request.choice\"\n\
    groups_max = 100000\n\
    raise = 1\n";

/// When crossing votes were answered, and when they were told in each way.
#[derive(Default)]
pub struct Crossings {
    all: Mutex<HashMap<String, Crossing>>,
    came: Notify,
}

#[derive(Default)]
struct Crossing {
    answered: Option<Instant>,
    told: BTreeMap<&'static str, Instant>,
}

impl Crossings {
    /// The vote for this choice was answered just now.
    ///
    /// # Panics
    /// When another user of it panicked; so do the others.
    pub fn answered(&self, choice: &str) {
        let now = Instant::now();
        let mut all = self.all.lock().expect("whole");
        all.entry(choice.to_owned()).or_default().answered = Some(now);
    }

    /// Its crossing was told at this time; what was told before holds.
    ///
    /// # Panics
    /// As [`Self::answered`].
    pub fn told(&self, way: &'static str, choice: &str, at: Instant) {
        {
            let mut all = self.all.lock().expect("whole");
            let told = &mut all.entry(choice.to_owned()).or_default().told;
            told.entry(way).or_insert(at);
        }
        self.came.notify_waiters();
    }

    /// Begins anew.
    ///
    /// # Panics
    /// As [`Self::answered`].
    pub fn forget(&self) {
        self.all.lock().expect("whole").clear();
    }

    /// Milliseconds from each answer to when it was told in this way, once so many are here or
    /// given up. Below 0: it was told first.
    ///
    /// # Panics
    /// As [`Self::answered`].
    pub async fn latencies_ms(&self, way: &str, expected: usize) -> Vec<f64> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let came = self.came.notified();
            let known = self.known_ms(way);
            if known.len() >= expected || tokio::time::timeout_at(deadline, came).await.is_err() {
                return known;
            }
        }
    }

    fn known_ms(&self, way: &str) -> Vec<f64> {
        let all = self.all.lock().expect("whole");
        let known = all.values().filter_map(|crossing| {
            let (answered, told) = (crossing.answered?, *crossing.told.get(way)?);
            let after = told.saturating_duration_since(answered).as_secs_f64();
            let before = answered.saturating_duration_since(told).as_secs_f64();
            Some((after - before) * 1e3)
        });
        known.collect()
    }
}
