//! Whether the machine itself stood still.
//!
//! A virtual machine's processors are taken away now and then, for milliseconds; whoever is due on
//! one of them meanwhile is late, whatever its priority. A race of 1 ms that met such a pause says
//! nothing about who raced. So each processor gets a thread that wakes four times a millisecond,
//! before all else that runs there: when it wakes late, nothing could have run.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use crate::{LabError, system};

/// So often each thread wakes.
const BEAT: Duration = Duration::from_micros(250);

/// Its priority among the real-time ones, of 99; what else is to come late stays below.
const PRIORITY: &str = "90";

/// How many pauses are kept.
const KEPT: usize = 100_000;

/// A time in which a processor ran nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Which, from 0.
    pub processor: usize,
    /// When a thread should have woken.
    pub from: Instant,
    /// When it did, or when it was asked for, if it still had not.
    pub until: Instant,
}

impl Pause {
    /// How long it was.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// The threads. They end when this is dropped.
pub struct Pulse {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Shorter ones are not kept.
    least: Duration,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    pauses: VecDeque<Pause>,
    /// When each processor's thread woke last.
    beats: BTreeMap<usize, Instant>,
}

impl Pulse {
    /// Watches every processor that this thread may run on for pauses of at least so long.
    ///
    /// # Errors
    /// The user may not give threads a real-time priority, or there is no `chrt` (util-linux).
    pub fn start(least: Duration) -> Result<Self, LabError> {
        let mine = sched_getaffinity(Pid::from_raw(0))
            .map_err(|error| system("the processors")(&error))?;
        let shared = Arc::new(Shared {
            least,
            state: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let mut pulse = Self {
            shared,
            threads: Vec::new(),
        };
        for processor in 0..CpuSet::count() {
            if mine.is_set(processor).unwrap_or(false) {
                pulse.watch(processor)?;
            }
        }
        Ok(pulse)
    }

    fn watch(&mut self, processor: usize) -> Result<(), LabError> {
        let shared = Arc::clone(&self.shared);
        let (ready, started) = std::sync::mpsc::channel();
        let watches = move || {
            let outcome = ahead_on(processor);
            let watching = outcome.is_ok();
            let _ = ready.send(outcome);
            if watching {
                shared.beat(processor);
            }
        };
        let thread = std::thread::Builder::new().name(format!("lab-pulse-{processor}"));
        let thread = thread
            .spawn(watches)
            .map_err(|error| system("a thread")(&error))?;
        self.threads.push(thread);
        let what = format!("a thread before all others on processor {processor}");
        started
            .recv()
            .map_err(|error| error.to_string())
            .flatten()
            .map_err(|why| system(what)(&why))
    }

    /// The pauses that overlap a time, with those that still go on.
    #[must_use]
    pub fn between(&self, from: Instant, until: Instant) -> Vec<Pause> {
        let state = self.shared.state();
        let now = Instant::now();
        let goes_on =
            |(&processor, &last): (&usize, &Instant)| self.shared.pause(processor, last, now);
        let pauses = state.pauses.iter().copied();
        let pauses = pauses.chain(state.beats.iter().filter_map(goes_on));
        let overlap = |pause: &Pause| pause.from <= until && pause.until >= from;
        pauses.filter(overlap).collect()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Binds the calling thread to a processor, before all others there.
fn ahead_on(processor: usize) -> Result<(), String> {
    let mut only = CpuSet::new();
    only.set(processor).map_err(|error| error.to_string())?;
    sched_setaffinity(Pid::from_raw(0), &only).map_err(|error| error.to_string())?;
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", PRIORITY, &gettid().to_string()]);
    let said = chrt.output().map_err(|error| format!("chrt: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&said.stderr).trim().to_owned())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self, processor: usize) {
        let mut last = Instant::now();
        while !self.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(BEAT);
            let now = Instant::now();
            let mut state = self.state();
            if let Some(pause) = self.pause(processor, last, now) {
                if state.pauses.len() == KEPT {
                    state.pauses.pop_front();
                }
                state.pauses.push_back(pause);
            }
            state.beats.insert(processor, now);
            last = now;
        }
    }

    /// What it was between two beats, if it was long enough.
    fn pause(&self, processor: usize, last: Instant, now: Instant) -> Option<Pause> {
        let from = last + BEAT;
        let pause = Pause {
            processor,
            from,
            until: now.max(from),
        };
        (pause.length() >= self.least).then_some(pause)
    }
}
