//! A replica's threads: one receives, a few make answers that take a while, the pacer sends.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use selvedge_clock::{Local, Nanos};
use selvedge_identity::KeyRing;

use super::core::{Core, Due, Refusal, ReplicaCounts};
use crate::contest::{ANSWER_MAX, Answers, Asked, Kind, RaceId};
use crate::error::{RaceError, random};
use crate::external::{Disciplined, Source};
use crate::host::HostClock;
use crate::net::{self, Outlets};
use crate::pacer::{Paced, Pacer};
use crate::wire::{
    Echo, FRAME_MAX, Forward, Frame, FrameError, Header, Report, Sent, Side, Silence,
};

/// How often the receiving thread looks whether it shall end.
const LOOK: Duration = Duration::from_millis(200);

/// Threads that make answers which take a while.
const MAKERS: usize = 2;

/// How a replica works.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// Its name, the same as in the master's list.
    pub site: String,
    /// Where it hears the master.
    pub listen: SocketAddr,
    /// The addresses that it may send from; none: any that this machine lets it.
    pub services: Option<Vec<SocketAddr>>,
    /// Later than this after the instant it is silent.
    pub tolerance: Nanos,
    /// The most answers that wait for their instants.
    pub pending_max: usize,
    /// What disciplines this machine's wall clock.
    pub external: Source,
    /// This machine's clock.
    pub clock: HostClock,
}

impl ReplicaOptions {
    /// The usual: a millisecond's tolerance, 1024 answers, no external clock.
    #[must_use]
    pub fn new(site: &str, listen: SocketAddr) -> Self {
        Self {
            site: site.to_owned(),
            listen,
            services: None,
            tolerance: 1_000_000,
            pending_max: 1024,
            external: Source::None,
            clock: HostClock::default(),
        }
    }
}

/// What a replica needs from others.
#[derive(Clone)]
pub struct Replica {
    /// The fleet's keys.
    pub keys: Arc<KeyRing>,
    /// Makes the answers.
    pub answers: Arc<dyn Answers>,
    /// Sockets to send from.
    pub outlets: Arc<Outlets>,
    /// Sends at instants.
    pub pacer: Arc<Pacer>,
}

/// A replica at work. It ends when this is dropped.
pub struct RunningReplica {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    options: ReplicaOptions,
    with: Replica,
    socket: UdpSocket,
    run: u64,
    core: Mutex<Core<Ready>>,
    counts: Mutex<ReplicaCounts>,
    pending: AtomicUsize,
    disciplined: Disciplined,
    stopped: AtomicBool,
}

/// A race that this replica is in.
#[derive(Clone, Debug)]
struct Entered {
    header: Header,
    forward: Forward,
    master: SocketAddr,
    due: Due,
}

/// An answer that waits for a signal.
#[derive(Debug)]
struct Ready {
    entered: Entered,
    bytes: Vec<u8>,
}

impl Replica {
    /// Starts the threads. Service addresses that are named in the options are tried at once.
    ///
    /// # Errors
    /// An address cannot be had; the message says how to let it.
    pub fn start(self, options: ReplicaOptions) -> Result<RunningReplica, RaceError> {
        for service in options.services.iter().flatten() {
            self.outlets.get(*service).map_err(RaceError::Service)?;
        }
        let socket = net::bind(options.listen, LOOK)
            .map_err(|error| RaceError::Listen(options.listen, error))?;
        let address = socket
            .local_addr()
            .map_err(|error| RaceError::Listen(options.listen, error))?;
        let shared = Arc::new(Shared {
            run: random()?,
            core: Mutex::new(Core::new(random()?, options.services.clone())),
            counts: Mutex::default(),
            pending: AtomicUsize::new(0),
            disciplined: Disciplined::new(options.external, options.clock),
            stopped: AtomicBool::new(false),
            socket,
            with: self,
            options,
        });
        let (make, made) = sync_channel(shared.options.pending_max.clamp(1, 1024));
        let mut threads = Vec::new();
        let made = Arc::new(Mutex::new(made));
        for _ in 0..MAKERS {
            let (shared, made) = (Arc::clone(&shared), Arc::clone(&made));
            threads.push(spawn("race-answer", move || shared.make(&made))?);
        }
        let receives = Arc::clone(&shared);
        threads.push(spawn("race-replica", move || receives.receive(&make))?);
        Ok(RunningReplica {
            shared,
            address,
            threads,
        })
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, RaceError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(RaceError::Thread)
}

impl RunningReplica {
    /// Where it hears the master.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted so far.
    #[must_use]
    pub fn counts(&self) -> ReplicaCounts {
        *self.shared.counts()
    }

    /// The common clock as it knows it now, and its own.
    #[must_use]
    pub fn estimate(&self) -> Option<(selvedge_clock::Estimate, Local)> {
        let estimate = self.shared.core().estimate()?;
        Some((estimate, self.shared.options.clock.now()))
    }
}

impl Drop for RunningReplica {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core<Ready>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, ReplicaCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(self: &Arc<Self>, make: &SyncSender<Entered>) {
        let mut buffer = [0; FRAME_MAX + 1];
        while !self.stopped.load(Ordering::Relaxed) {
            let Ok(received) = net::receive(&self.socket, &self.options.clock, &mut buffer) else {
                continue;
            };
            let bytes = &buffer[..received.length];
            if let Err(refusal) = self.take(bytes, received.from, received.at, make) {
                self.counts().refused(refusal);
            }
        }
    }

    fn take(
        self: &Arc<Self>,
        bytes: &[u8],
        master: SocketAddr,
        at: Local,
        make: &SyncSender<Entered>,
    ) -> Result<(), Refusal> {
        let opened = Frame::open(bytes, Side::Master, &self.options.site, &self.with.keys);
        let (header, frame) = opened.map_err(|error| match error {
            FrameError::Foreign => Refusal::Foreign,
            FrameError::Forged => Refusal::Forged,
        })?;
        match frame {
            Frame::Probe(probe) => {
                let fresh = random().unwrap_or(0);
                let (nonce, clocked) = {
                    let mut core = self.core();
                    core.probe(header, &probe, self.options.clock.now(), fresh)?;
                    (core.nonce(), core.clocked(header))
                };
                let echo = Frame::Echo(Echo {
                    nonce,
                    run: self.run,
                    clocked,
                    sent: probe.sent,
                    received: at,
                    external: self.disciplined.now(),
                    answered: self.options.clock.now(),
                });
                self.counts().echoes += 1;
                self.tell(master, header, &echo);
            }
            Frame::Forward(forward) => {
                self.core().fresh(header)?;
                self.counts().forwards += 1;
                let race = forward.race;
                let entered = self.enter(header, forward, master, make);
                if let Err(silence) = entered {
                    self.silent(master, header, race, silence);
                }
            }
            Frame::Signal(number) => {
                let now = self.options.clock.now();
                let ready = {
                    let mut core = self.core();
                    core.fresh(header)?;
                    core.signal(number, now)
                };
                for ready in ready {
                    self.pace(ready, now);
                }
            }
            Frame::Echo(_) | Frame::Report(_) => return Err(Refusal::Foreign),
        }
        Ok(())
    }

    fn enter(
        self: &Arc<Self>,
        header: Header,
        forward: Forward,
        master: SocketAddr,
        make: &SyncSender<Entered>,
    ) -> Result<(), Silence> {
        let due = self.core().due(&forward, self.options.clock.now())?;
        if self.pending.load(Ordering::Relaxed) >= self.options.pending_max {
            return Err(Silence::Full);
        }
        let entered = Entered {
            header,
            forward,
            master,
            due,
        };
        self.pending.fetch_add(1, Ordering::Relaxed);
        match entered.forward.kind {
            Kind::Dns => self.answer(entered),
            Kind::Client => {
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    make.try_send(entered)
                {
                    self.pending.fetch_sub(1, Ordering::Relaxed);
                    return Err(Silence::Full);
                }
            }
        }
        Ok(())
    }

    fn make(self: &Arc<Self>, requests: &Mutex<Receiver<Entered>>) {
        while !self.stopped.load(Ordering::Relaxed) {
            let next = requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv_timeout(LOOK);
            if let Ok(entered) = next {
                self.answer(entered);
            }
            self.disciplined.ask();
        }
    }

    /// Makes the answer and hands it to the pacer, or keeps it for its signal.
    fn answer(self: &Arc<Self>, entered: Entered) {
        let bytes = self.with.answers.answer(&Asked {
            kind: entered.forward.kind,
            race: RaceId {
                epoch: entered.header.epoch,
                sequence: entered.forward.race,
            },
            client: entered.forward.client,
            service: entered.forward.service,
            request: &entered.forward.request,
            site: Some(&self.options.site),
        });
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= ANSWER_MAX) else {
            self.end(&entered, Err(Silence::Answer));
            return;
        };
        match entered.due {
            Due::At(at) => self.pace(Ready { entered, bytes }, at),
            Due::Signal(number) => {
                let (header, master, race) = (entered.header, entered.master, entered.forward.race);
                let now = self.options.clock.now();
                let waits = self.core().wait(number, Ready { entered, bytes }, now);
                // What waits for a signal is bounded there.
                self.pending.fetch_sub(1, Ordering::Relaxed);
                match waits {
                    Ok(Some(ready)) => self.pace(ready, now),
                    Ok(None) => {}
                    Err(silence) => self.silent(master, header, race, silence),
                }
            }
        }
    }

    fn pace(self: &Arc<Self>, ready: Ready, at: Local) {
        let Ready { entered, bytes } = ready;
        let at = match entered.due {
            Due::At(_) => at,
            Due::Signal(_) => {
                self.pending.fetch_add(1, Ordering::Relaxed);
                at + entered.forward.handicap
            }
        };
        let socket = match self.with.outlets.get(entered.forward.service) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "no answer");
                self.end(&entered, Err(Silence::Send));
                return;
            }
        };
        let shared = Arc::clone(self);
        self.with.pacer.send(Paced {
            due: at,
            clock: self.options.clock,
            socket,
            to: entered.forward.client,
            bytes,
            tolerance: self.options.tolerance,
            done: Box::new(move |outcome| shared.end(&entered, outcome.map(|sent| (at, sent)))),
        });
    }

    /// Tells the master when the answer was due here and when it left, or why it did not.
    fn end(&self, entered: &Entered, outcome: Result<(Local, Local), Silence>) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        let estimate = self.core().estimate();
        let race = entered.forward.race;
        match (outcome, estimate) {
            (Ok((due, at)), Some(estimate)) => {
                self.counts().sent += 1;
                let sent = Sent {
                    due: estimate.common(due),
                    at: estimate.common(at),
                };
                self.tell(
                    entered.master,
                    entered.header,
                    &Frame::Report(Report {
                        race,
                        outcome: Ok(sent),
                    }),
                );
            }
            // By a signal, a replica without a clock answers; its times say nothing.
            (Ok((due, at)), None) => {
                self.counts().sent += 1;
                let sent = Sent {
                    due: selvedge_clock::Common(due.0),
                    at: selvedge_clock::Common(at.0),
                };
                self.tell(
                    entered.master,
                    entered.header,
                    &Frame::Report(Report {
                        race,
                        outcome: Ok(sent),
                    }),
                );
            }
            (Err(silence), _) => self.silent(entered.master, entered.header, race, silence),
        }
    }

    fn silent(&self, master: SocketAddr, header: Header, race: u64, silence: Silence) {
        self.counts().silent(silence);
        self.tell(
            master,
            header,
            &Frame::Report(Report {
                race,
                outcome: Err(silence),
            }),
        );
    }

    fn tell(&self, master: SocketAddr, header: Header, frame: &Frame) {
        let bytes = frame.seal(header, &self.options.site, &self.with.keys);
        if let Err(error) = self.socket.send_to(&bytes, master) {
            tracing::debug!(%error, %master, "the master was not told");
        }
    }
}
