//! Reading one's own writes on any server (E6): a request waits until the memory holds what its
//! client has seen.

use std::sync::atomic::{AtomicUsize, Ordering};

use selvedge_entry::Follow;
use selvedge_identity::Position;
use tokio::time::{Instant, timeout_at};

use crate::{Memory, WaitOptions};

/// Counts the requests that wait now.
#[derive(Debug, Default)]
pub(crate) struct Waiters(AtomicUsize);

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Everything was held at once.
    NotAtAll,
    /// It came in time.
    InTime,
    /// These did not come in time, or too many requests were waiting already.
    InVain(Vec<Position>),
}

/// Waits until `memory` holds `heads` and what they follow, within the bounds of `options`.
pub(crate) async fn wait(
    memory: &Memory,
    heads: &[Follow],
    options: WaitOptions,
    waiters: &Waiters,
) -> Waited {
    let missing = memory.missing(heads);
    if missing.is_empty() {
        return Waited::NotAtAll;
    }
    let Some(_place) = waiters.enter(options.waiters_max) else {
        return Waited::InVain(positions(missing));
    };
    let deadline = Instant::now() + options.longest;
    loop {
        let changed = memory.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let missing = memory.missing(heads);
        if missing.is_empty() {
            return Waited::InTime;
        }
        memory.want();
        if timeout_at(deadline, changed).await.is_err() {
            return match memory.missing(heads) {
                missing if missing.is_empty() => Waited::InTime,
                missing => Waited::InVain(positions(missing)),
            };
        }
    }
}

fn positions(missing: Vec<Follow>) -> Vec<Position> {
    missing.into_iter().map(|follow| follow.position).collect()
}

impl Waiters {
    fn enter(&self, max: usize) -> Option<Place<'_>> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let place = Place(self);
        (before < max).then_some(place)
    }
}

/// One waiting request.
struct Place<'a>(&'a Waiters);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
