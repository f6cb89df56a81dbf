//! A master's threads: one receives ([`super::receive`]), one hands out races and keeps time, one
//! answers when all replicas are silent.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use selvedge_clock::{Common, Local, Nanos};
use selvedge_identity::KeyRing;

use super::asks::Asks;
use super::options::{Event, MasterOptions};
use super::record::{Record, Records, Stage};
use super::roster::{EXCHANGES_SETTLED, Entry};
use super::state::State;
use super::status::{Counts, Status};
use crate::contest::{Answers, Asked, Call, Evidence, REQUEST_MAX, RaceId, Races, Refused};
use crate::error::{RaceError, random};
use crate::external::Disciplined;
use crate::host::HostClock;
use crate::identifier::TransmitIdentifier;
use crate::net::{self, Outlets, is_client};
use crate::replica::HANDICAP_MAX;
use crate::wire::{Forward, Frame, Header, Probe};

/// How often threads look whether they shall end, and whether a probe is due.
const LOOK: Duration = Duration::from_millis(20);

/// How long after an instant and the longest way reports are awaited.
const GRACE: Nanos = 50_000_000;

/// Between the first probes to a replica.
const PROBE_FAST: Nanos = 50_000_000;

/// What a master needs from others.
#[derive(Clone)]
pub struct Master {
    /// The fleet's keys.
    pub keys: Arc<KeyRing>,
    /// Makes the answer when all replicas are silent.
    pub answers: Arc<dyn Answers>,
    /// Sockets to send that from. The master's own is added.
    pub outlets: Arc<Outlets>,
}

/// A master at work. It ends when the last of its clones is dropped.
#[derive(Clone)]
pub struct RunningMaster {
    shared: Arc<Shared>,
    _threads: Arc<Threads>,
}

struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) options: MasterOptions,
    pub(super) with: Master,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) address: SocketAddr,
    pub(super) epoch: u64,
    /// Common minus local. It changes only as an external clock is followed.
    offset: AtomicI64,
    pub(super) disciplined: Disciplined,
    queue: SyncSender<Queued>,
    state: Mutex<State>,
    pub(super) stopped: AtomicBool,
}

struct Queued {
    race: RaceId,
    call: Call,
    received: Local,
}

impl Master {
    /// Starts the threads.
    ///
    /// # Errors
    /// Options that do not fit together, an address that cannot be had.
    pub fn start(self, options: MasterOptions) -> Result<RunningMaster, RaceError> {
        options.check()?;
        let listen = |error| RaceError::Listen(options.listen, error);
        let socket = Arc::new(net::bind(options.listen, LOOK * 10).map_err(listen)?);
        let address = socket.local_addr().map_err(listen)?;
        self.outlets.share(address, Arc::clone(&socket));
        let handicap = |site: &str| options.handicaps.get(site).copied().unwrap_or(0);
        let roster = options
            .replicas
            .iter()
            .map(|r| Entry::new(&r.site, r.address, handicap(&r.site)));
        let (queue, queued) = sync_channel(options.queue_max.max(1));
        let shared = Arc::new(Shared {
            epoch: random()?,
            offset: AtomicI64::new(options.clock.wall_offset()),
            disciplined: Disciplined::new(options.external, options.clock),
            state: Mutex::new(State {
                frames: 0,
                races: 0,
                roster: roster.collect(),
                records: Records::new(options.races_kept),
                asks: Asks::new(options.asks_per_second),
                counts: Counts::default(),
                signals: Vec::new(),
                short: false,
            }),
            stopped: AtomicBool::new(false),
            queue,
            socket,
            address,
            with: self,
            options,
        });
        let (make, made) = channel();
        let mut threads = Threads {
            shared: Arc::clone(&shared),
            handles: Vec::new(),
        };
        let receives = Arc::clone(&shared);
        threads.run("race-receive", move || receives.receive())?;
        let works = Arc::clone(&shared);
        threads.run("race-master", move || works.work(&queued, &make))?;
        let answers = Arc::clone(&shared);
        threads.run("race-itself", move || answers.answer(&made))?;
        Ok(RunningMaster {
            shared,
            _threads: Arc::new(threads),
        })
    }
}

impl Threads {
    fn run(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), RaceError> {
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(RaceError::Thread)?;
        self.handles.push(handle);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

impl RunningMaster {
    /// Where it hears replicas and clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Everything at this moment, with at most so many races.
    #[must_use]
    pub fn status(&self, races_max: usize) -> Status {
        let shared = &self.shared;
        let now = shared.options.clock.now();
        shared
            .state()
            .status(&shared.options, shared.epoch, now, races_max)
    }

    /// The common clock now.
    #[must_use]
    pub fn now(&self) -> Common {
        self.shared.common(self.shared.options.clock.now())
    }
}

impl Races for RunningMaster {
    fn start(&self, call: Call) -> Result<RaceId, Refused> {
        self.shared.start(call)
    }

    fn won(&self, race: RaceId, site: &str, evidence: Evidence) {
        if race.epoch == self.shared.epoch {
            self.shared.state().won(race.sequence, site, evidence);
        }
    }

    fn noise(&self, one: &str, other: &str) -> Duration {
        let state = self.shared.state();
        let noise = state.noise(one).saturating_add(state.noise(other));
        Duration::from_nanos(u64::try_from(noise.min(HANDICAP_MAX)).unwrap_or(0))
    }

    fn sites(&self) -> Vec<String> {
        let now = self.shared.options.clock.now();
        let state = self.shared.state();
        let racing = state.racing(now, self.shared.options.noise_max);
        racing
            .into_iter()
            .map(|at| state.roster[at].site.clone())
            .collect()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn common(&self, local: Local) -> Common {
        Common(local.0) + self.offset.load(Ordering::Relaxed)
    }

    pub(super) fn clock(&self) -> HostClock {
        self.options.clock
    }

    pub(super) fn start(&self, call: Call) -> Result<RaceId, Refused> {
        let now = self.clock().now();
        let mut state = self.state();
        let racing = state.racing(now, self.options.noise_max).len();
        let refused = if !is_client(call.client) {
            Some(Refused::Client)
        } else if call.client.is_ipv4() != call.service.is_ipv4() {
            Some(Refused::Family)
        } else if call.request.len() > REQUEST_MAX {
            Some(Refused::TooLong)
        } else if racing < 2 {
            Some(Refused::TooFew)
        } else {
            None
        };
        if let Some(refused) = refused {
            state.counts.refused(refused);
            return Err(refused);
        }
        state.races += 1;
        let race = RaceId {
            epoch: self.epoch,
            sequence: state.races,
        };
        let received = call.received.unwrap_or(now);
        // Inside the lock, so that races stand in the queue in the order of their numbers.
        match self.queue.try_send(Queued {
            race,
            call,
            received,
        }) {
            Ok(()) => {
                state.counts.races += 1;
                Ok(race)
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                state.counts.refused(Refused::Busy);
                Err(Refused::Busy)
            }
        }
    }

    fn work(&self, queued: &Receiver<Queued>, make: &Sender<(RaceId, Call)>) {
        while !self.stopped.load(Ordering::Relaxed) {
            if let Ok(queued) = queued.recv_timeout(self.patience()) {
                self.forward(queued);
            }
            self.signal();
            self.probe();
            self.close(make);
        }
    }

    /// How long nothing is to be done but for races.
    fn patience(&self) -> Duration {
        let next = self.state().signals.iter().map(|(due, _)| *due).min();
        let Some(next) = next else { return LOOK };
        let left = next - self.common(self.clock().now());
        Duration::from_nanos(u64::try_from(left).unwrap_or(0)).min(LOOK)
    }

    /// Hands a race to every replica that can race (C5).
    fn forward(&self, queued: Queued) {
        let Queued {
            race,
            call,
            received,
        } = queued;
        let left = self.clock().now();
        let mut state = self.state();
        let racing = state.racing(left, self.options.noise_max);
        let longest = racing
            .iter()
            .filter_map(|at| state.roster[*at].longest())
            .max()
            .unwrap_or(0);
        let (at, chosen) =
            self.options
                .timing
                .instant(self.common(received), self.common(left), longest);
        state.short(chosen.warning);
        let TransmitIdentifier::At(instant) = at else {
            return;
        };
        let identifier = match self.options.event {
            Event::Time => at,
            Event::Signal => {
                state.signals.push((instant, race.sequence));
                TransmitIdentifier::Signal(race.sequence)
            }
        };
        let incumbent = call
            .incumbent
            .as_deref()
            .filter(|site| state.roster.iter().any(|e| e.site == *site));
        let head_start = incumbent.map(|site| (site.to_owned(), state.noise(site)));
        for at in &racing {
            let entry = &state.roster[*at];
            let later = match &head_start {
                Some((site, noise)) if *site != entry.site => {
                    noise.saturating_add(state.noise(&entry.site))
                }
                _ => 0,
            };
            let forward = Frame::Forward(Forward {
                race: race.sequence,
                identifier,
                handicap: entry.handicap.saturating_add(later).min(HANDICAP_MAX),
                kind: call.kind,
                client: call.client,
                service: call.service,
                request: call.request.clone(),
            });
            self.tell(&mut state, *at, &forward);
        }
        let until = instant.max(self.common(left)) + longest + GRACE;
        state.records.add(Record {
            race,
            call,
            identifier,
            instant,
            delay: chosen.delay,
            until,
            entered: racing.into_iter().map(|at| (at, None)).collect(),
            stage: Stage::Open,
            by_master: false,
            winner: None,
            measured: Vec::new(),
            dns: None,
        });
    }

    /// The signals whose time has come.
    fn signal(&self) {
        let mut state = self.state();
        if state.signals.is_empty() {
            return;
        }
        let now = self.common(self.clock().now());
        let due: Vec<u64> = state
            .signals
            .iter()
            .filter(|(due, _)| *due <= now)
            .map(|(_, race)| *race)
            .collect();
        state.signals.retain(|(due, _)| *due > now);
        for race in due {
            let entered = state
                .records
                .get_mut(race)
                .map(|record| record.entered.clone());
            for (at, _) in entered.unwrap_or_default() {
                self.tell(&mut state, at, &Frame::Signal(race));
            }
        }
    }

    fn probe(&self) {
        if let Some(external) = self.disciplined.now() {
            self.offset.store(external.offset, Ordering::Relaxed);
        }
        let mut state = self.state();
        for at in 0..state.roster.len() {
            let now = self.clock().now();
            let entry = &state.roster[at];
            let usual = Nanos::try_from(self.options.probe_every.as_nanos()).unwrap_or(Nanos::MAX);
            let settling = entry.exchanges() > 0 && entry.exchanges() < EXCHANGES_SETTLED;
            let every = if settling {
                usual.min(PROBE_FAST)
            } else {
                usual
            };
            if entry.probed.is_some_and(|probed| now - probed < every) {
                continue;
            }
            let nonce = entry.nonce;
            let estimate = entry.estimate();
            let sent = self.common(self.clock().now());
            let sequence = self.tell(
                &mut state,
                at,
                &Frame::Probe(Probe {
                    nonce,
                    sent,
                    estimate,
                }),
            );
            state.roster[at].probing(sequence, sent, now);
        }
    }

    /// Seals a frame for one replica and sends it; its number.
    fn tell(&self, state: &mut State, at: usize, frame: &Frame) -> u64 {
        state.frames += 1;
        let header = Header {
            epoch: self.epoch,
            sequence: state.frames,
        };
        let entry = &state.roster[at];
        let bytes = frame.seal(header, &entry.site, &self.with.keys);
        if let Err(error) = self.socket.send_to(&bytes, entry.address) {
            tracing::debug!(%error, site = entry.site, "a replica was not told");
        }
        header.sequence
    }

    /// Ends the races whose reports are in or overdue; where nobody answered, the master does.
    fn close(&self, make: &Sender<(RaceId, Call)>) {
        let local = self.clock().now();
        let now = self.common(local);
        let left_out = Nanos::try_from(self.options.left_out.as_nanos()).unwrap_or(Nanos::MAX);
        let mut state = self.state();
        let state = &mut *state;
        for _ in 0..state.records.open.len() {
            let Some(sequence) = state.records.open.pop_front() else {
                break;
            };
            let Some(record) = state.records.get_mut(sequence) else {
                continue;
            };
            let all = record.entered.iter().all(|(_, report)| report.is_some());
            if !record.all_silent() && !all && now <= record.until {
                state.records.open.push_back(sequence);
                continue;
            }
            record.stage = Stage::Closed;
            if !record.answered() {
                record.by_master = true;
                state.counts.by_master += 1;
                let _ = make.send((record.race, record.call.clone()));
            }
            for (at, report) in &record.entered {
                if report.is_none() {
                    state.roster[*at].missed(local, self.options.misses_max, left_out);
                }
            }
        }
    }

    /// Answers for silent replicas.
    fn answer(&self, made: &Receiver<(RaceId, Call)>) {
        while !self.stopped.load(Ordering::Relaxed) {
            if let Ok((race, call)) = made.recv_timeout(LOOK * 10) {
                let bytes = self.with.answers.answer(&Asked {
                    kind: call.kind,
                    race,
                    client: call.client,
                    service: call.service,
                    request: &call.request,
                    site: None,
                });
                let sent = bytes.map(|bytes| {
                    self.with
                        .outlets
                        .get(call.service)?
                        .send_to(&bytes, call.client)
                });
                if let Some(Err(error)) = sent {
                    tracing::warn!(%error, "no replica answered, and the master could not");
                }
            }
            self.disciplined.ask();
        }
    }
}
