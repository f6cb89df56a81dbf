//! Viewers who vote, at a rate or as fast as they may. Now and then a vote crosses a threshold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::crossings::Crossings;
use crate::program::{Running, cpu_s};
use crate::viewer::Viewer;

const VIEWERS: u64 = 64;
/// Every so many votes one crosses a threshold.
const CROSSING_EVERY: u64 = 100;

/// What came of some seconds of votes.
pub struct Votes {
    requests: u64,
    seconds: f64,
    /// Votes that crossed.
    pub crossings: usize,
    /// From when each was due to the end of its answer.
    pub answers_ms: Vec<f64>,
    /// Processor time of the program a request.
    pub program_us: f64,
    /// Processor time of this process a request.
    pub own_us: f64,
}

impl Votes {
    /// Requests a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Votes for so long, after a quarter of it for warming up; `rate` in requests a second, or as many
/// as the viewers may.
///
/// # Panics
/// When a vote is not answered with 200.
pub async fn votes(
    up: &Running,
    crossed: &Arc<Crossings>,
    rate: Option<f64>,
    time: Duration,
) -> Votes {
    let numbers = Arc::new(AtomicU64::new(0));
    let start = tokio::time::Instant::now();
    // Connections are made and caches warm before anything counts.
    let (from, until) = (start + time / 4, start + time / 4 + time);
    let mut viewers = JoinSet::new();
    for viewer in 0..VIEWERS {
        let (crossed, numbers) = (crossed.clone(), numbers.clone());
        let gateway: SocketAddr = up.address("gateway");
        viewers.spawn(async move {
            let mut connection = Viewer::connect(gateway).await;
            let mut answers_ms = Vec::new();
            let mut crossings = 0;
            let mut turn = viewer;
            loop {
                let due = match rate {
                    Some(rate) => start + Duration::from_secs_f64(turn as f64 / rate),
                    None => tokio::time::Instant::now(),
                };
                if due >= until {
                    return (answers_ms, crossings);
                }
                tokio::time::sleep_until(due).await;
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number.is_multiple_of(CROSSING_EVERY) {
                    let choice = format!("crossing-{}-{number}", rate.unwrap_or_default());
                    connection.vote(&choice).await;
                    if due >= from {
                        crossed.answered(&choice);
                        crossings += 1;
                    }
                } else {
                    connection.vote("plain").await;
                }
                if due >= from {
                    answers_ms.push(due.elapsed().as_secs_f64() * 1e3);
                }
                turn += VIEWERS;
            }
        });
    }
    tokio::time::sleep_until(from).await;
    let cpu = [cpu_s(up.pid()), cpu_s(std::process::id())];
    tokio::time::sleep_until(until).await;
    let cpu_after = [cpu_s(up.pid()), cpu_s(std::process::id())];
    let done = viewers.join_all().await;
    let answers_ms: Vec<f64> = done.iter().flat_map(|(ms, _)| ms).copied().collect();
    let requests = answers_ms.len() as u64;
    let each = |index: usize| (cpu_after[index] - cpu[index]) * 1e6 / requests as f64;
    Votes {
        requests,
        seconds: time.as_secs_f64(),
        crossings: done.iter().map(|(_, crossings)| crossings).sum(),
        answers_ms,
        program_us: each(0),
        own_us: each(1),
    }
}

/// Of values in any order, the one that so many percent do not exceed.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
