//! What a replica takes and what it refuses, without sockets or clocks: times are arguments.

use std::collections::VecDeque;
use std::net::SocketAddr;

use selvedge_clock::{Estimate, Local, Nanos};

use crate::identifier::{DELAY_MAX, TransmitIdentifier};
use crate::net::is_client;
use crate::window::Window;
use crate::wire::{Forward, Header, Probe, Silence};

/// No handicap is longer: a tenth of a second.
pub(crate) const HANDICAP_MAX: Nanos = 100_000_000;

/// Without a probe for so long, the common clock is no longer known: ten seconds.
const ESTIMATE_AGE_MAX: Nanos = 10_000_000_000;

/// So long an answer waits for a signal: two seconds.
const SIGNAL_WAIT_MAX: Nanos = 2_000_000_000;

/// The most answers that wait for signals.
const WAITING_MAX: usize = 1024;

/// Why a frame is dropped, with no answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No frame.
    Foreign,
    /// Not proven.
    Forged,
    /// Of another run of the master than the one that showed this replica's nonce.
    Epoch,
    /// Taken before, or far behind.
    Replayed,
}

impl Refusal {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::Epoch => "epoch",
            Self::Replayed => "replayed",
        }
    }
}

/// What a replica counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaCounts {
    /// Exchanges of stamps answered.
    pub echoes: u64,
    /// Requests taken.
    pub forwards: u64,
    /// Answers sent.
    pub sent: u64,
    /// Frames dropped: no frames.
    pub foreign: u64,
    /// Frames dropped: not proven.
    pub forged: u64,
    /// Frames dropped: of another run of the master.
    pub epoch: u64,
    /// Frames dropped: recorded and sent again.
    pub replayed: u64,
    /// Races in which it was silent, as [`Silence::all`] names the reasons.
    pub silent: [u64; 8],
}

impl ReplicaCounts {
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::Foreign => &mut self.foreign,
            Refusal::Forged => &mut self.forged,
            Refusal::Epoch => &mut self.epoch,
            Refusal::Replayed => &mut self.replayed,
        } += 1;
    }

    pub(crate) fn silent(&mut self, silence: Silence) {
        if let Some(at) = Silence::all().iter().position(|one| *one == silence) {
            self.silent[at] += 1;
        }
    }
}

/// When an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    At(Local),
    Signal(u64),
}

/// An answer that waits for a signal.
#[derive(Debug)]
struct Waiting<T> {
    signal: u64,
    until: Local,
    answer: T,
}

/// A replica's memory: which master it follows, what it took, how the common clock runs.
#[derive(Debug)]
pub(crate) struct Core<T> {
    epoch: Option<u64>,
    window: Window,
    nonce: u64,
    estimate: Option<(Estimate, Local)>,
    /// None: any.
    services: Option<Vec<SocketAddr>>,
    waiting: VecDeque<Waiting<T>>,
    /// Signals that came before their forwards were done.
    signalled: VecDeque<u64>,
}

impl<T> Core<T> {
    pub(crate) fn new(nonce: u64, services: Option<Vec<SocketAddr>>) -> Self {
        Self {
            epoch: None,
            window: Window::default(),
            nonce,
            estimate: None,
            services,
            waiting: VecDeque::new(),
            signalled: VecDeque::new(),
        }
    }

    /// What a probe must hold for its master to be followed.
    pub(crate) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Whether it can tell the clock of this frame's master.
    pub(crate) fn clocked(&self, header: Header) -> bool {
        self.epoch == Some(header.epoch) && self.estimate.is_some()
    }

    pub(crate) fn estimate(&self) -> Option<Estimate> {
        self.estimate.map(|(estimate, _)| estimate)
    }

    /// Takes a proven probe. An unknown epoch is answered, and followed only if the probe holds the
    /// nonce; then `fresh` is the next nonce.
    ///
    /// # Errors
    /// A replay: no answer.
    pub(crate) fn probe(
        &mut self,
        header: Header,
        probe: &Probe,
        now: Local,
        fresh: u64,
    ) -> Result<(), Refusal> {
        if self.epoch != Some(header.epoch) {
            if probe.nonce != self.nonce {
                return Ok(());
            }
            self.epoch = Some(header.epoch);
            self.window = Window::default();
            self.nonce = fresh;
            self.estimate = None;
            self.waiting.clear();
            self.signalled.clear();
        }
        if !self.window.take(header.sequence) {
            return Err(Refusal::Replayed);
        }
        self.estimate = probe.estimate.map(|estimate| (estimate, now));
        Ok(())
    }

    /// Whether a proven frame is of the master's run and new.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn fresh(&mut self, header: Header) -> Result<(), Refusal> {
        if self.epoch != Some(header.epoch) {
            return Err(Refusal::Epoch);
        }
        if !self.window.take(header.sequence) {
            return Err(Refusal::Replayed);
        }
        Ok(())
    }

    /// When to answer a fresh forward.
    ///
    /// # Errors
    /// Why not at all.
    pub(crate) fn due(&self, forward: &Forward, now: Local) -> Result<Due, Silence> {
        if !is_client(forward.client) {
            return Err(Silence::Client);
        }
        let same_family = forward.client.is_ipv4() == forward.service.is_ipv4();
        let served = self
            .services
            .as_ref()
            .is_none_or(|services| services.contains(&forward.service));
        if !served || !same_family {
            return Err(Silence::Service);
        }
        if !(0..=HANDICAP_MAX).contains(&forward.handicap) {
            return Err(Silence::Far);
        }
        let at = match forward.identifier {
            TransmitIdentifier::At(at) => at,
            TransmitIdentifier::Signal(number) => return Ok(Due::Signal(number)),
        };
        let (estimate, told) = self.estimate.as_ref().ok_or(Silence::Clock)?;
        if now - *told > ESTIMATE_AGE_MAX {
            return Err(Silence::Clock);
        }
        let due = estimate.local(at + forward.handicap);
        if due <= now {
            Err(Silence::Late)
        } else if due - now > DELAY_MAX + HANDICAP_MAX {
            Err(Silence::Far)
        } else {
            Ok(Due::At(due))
        }
    }

    /// Keeps an answer until its signal; gives it back if that came already.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) fn wait(
        &mut self,
        signal: u64,
        answer: T,
        now: Local,
    ) -> Result<Option<T>, Silence> {
        self.waiting.retain(|waiting| waiting.until > now);
        if self.signalled.contains(&signal) {
            return Ok(Some(answer));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(Silence::Full);
        }
        self.waiting.push_back(Waiting {
            signal,
            until: now + SIGNAL_WAIT_MAX,
            answer,
        });
        Ok(None)
    }

    /// The answers that waited for a signal.
    pub(crate) fn signal(&mut self, signal: u64, now: Local) -> Vec<T> {
        self.waiting.retain(|waiting| waiting.until > now);
        self.signalled.push_back(signal);
        if self.signalled.len() > WAITING_MAX {
            self.signalled.pop_front();
        }
        let (now_due, kept) = self
            .waiting
            .drain(..)
            .partition::<Vec<_>, _>(|waiting| waiting.signal == signal);
        self.waiting = kept.into();
        now_due.into_iter().map(|waiting| waiting.answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use selvedge_clock::Common;

    use super::*;
    use crate::contest::Kind;

    const MS: Nanos = 1_000_000;

    fn probe(nonce: u64) -> Probe {
        let estimate = Estimate {
            at: Local(0),
            offset: 5_000 * MS,
            rate: 0.0,
            noise: 1,
            bound: 1,
        };
        Probe {
            nonce,
            sent: Common(0),
            estimate: Some(estimate),
        }
    }

    fn header(epoch: u64, sequence: u64) -> Header {
        Header { epoch, sequence }
    }

    fn followed() -> Core<u8> {
        let mut core = Core::new(7, Some(vec!["192.0.2.1:53".parse().expect("address")]));
        core.probe(header(1, 1), &probe(7), Local(0), 8)
            .expect("taken");
        core
    }

    fn forward(at: Nanos) -> Forward {
        Forward {
            race: 1,
            identifier: TransmitIdentifier::At(Common(at)),
            handicap: 0,
            kind: Kind::Dns,
            client: "198.51.100.9:4000".parse().expect("address"),
            service: "192.0.2.1:53".parse().expect("address"),
            request: vec![1],
        }
    }

    #[test]
    fn a_master_is_followed_by_the_nonce_alone_and_never_again_by_the_same() {
        let mut core = Core::<u8>::new(7, None);
        assert_eq!(
            core.probe(header(1, 5), &probe(0), Local(0), 8),
            Ok(()),
            "answered"
        );
        assert_eq!(
            core.fresh(header(1, 6)),
            Err(Refusal::Epoch),
            "but not followed"
        );
        core.probe(header(1, 6), &probe(7), Local(0), 8)
            .expect("followed");
        assert_eq!(core.fresh(header(1, 7)), Ok(()));
        // A new master shows the new nonce; the old one's recorded probe then changes nothing.
        core.probe(header(2, 1), &probe(8), Local(0), 9)
            .expect("followed");
        assert_eq!(core.probe(header(1, 6), &probe(7), Local(0), 10), Ok(()));
        assert_eq!(core.fresh(header(1, 8)), Err(Refusal::Epoch));
        assert_eq!(core.fresh(header(2, 2)), Ok(()));
    }

    #[test]
    fn what_was_taken_is_refused_when_it_comes_again() {
        let mut core = followed();
        assert_eq!(core.fresh(header(1, 2)), Ok(()));
        assert_eq!(core.fresh(header(1, 2)), Err(Refusal::Replayed));
        assert_eq!(
            core.probe(header(1, 1), &probe(7), Local(0), 9),
            Err(Refusal::Replayed)
        );
    }

    #[test]
    fn the_instant_is_told_by_the_common_clock_and_within_its_limits() {
        let core = followed();
        let due = |at, now| core.due(&forward(at), Local(now));
        assert_eq!(due(5_100 * MS, 50 * MS), Ok(Due::At(Local(100 * MS))));
        assert_eq!(due(5_100 * MS, 100 * MS), Err(Silence::Late));
        assert_eq!(due(-1, 100 * MS), Err(Silence::Late));
        assert_eq!(due(Nanos::MIN, 0), Err(Silence::Late));
        assert_eq!(due(5_401 * MS, 0), Err(Silence::Far));
        assert_eq!(due(Nanos::MAX, 0), Err(Silence::Far));
        assert_eq!(
            due(25_100 * MS, 20_000 * MS),
            Err(Silence::Clock),
            "no probe for ten seconds"
        );
        let unknown = Core::<u8>::new(7, None);
        assert_eq!(unknown.due(&forward(1), Local(0)), Err(Silence::Clock));
    }

    #[test]
    fn nobody_elses_address_is_sent_from_and_nobody_is_flooded() {
        let core = followed();
        let with = |client: &str, service: &str, handicap| {
            let forward = Forward {
                client: client.parse().expect("address"),
                service: service.parse().expect("address"),
                handicap,
                ..forward(5_100 * MS)
            };
            core.due(&forward, Local(0))
        };
        assert_eq!(
            with("198.51.100.9:4000", "192.0.2.2:53", 0),
            Err(Silence::Service)
        );
        assert_eq!(
            with("[2001:db8::1]:4000", "192.0.2.1:53", 0),
            Err(Silence::Service)
        );
        assert_eq!(
            with("198.51.100.9:0", "192.0.2.1:53", 0),
            Err(Silence::Client)
        );
        assert_eq!(
            with("255.255.255.255:9", "192.0.2.1:53", 0),
            Err(Silence::Client)
        );
        assert_eq!(
            with("198.51.100.9:4000", "192.0.2.1:53", -1),
            Err(Silence::Far)
        );
        assert_eq!(
            with("198.51.100.9:4000", "192.0.2.1:53", HANDICAP_MAX + 1),
            Err(Silence::Far)
        );
        assert_eq!(
            with("198.51.100.9:4000", "192.0.2.1:53", 5),
            Ok(Due::At(Local(100 * MS + 5)))
        );
    }

    #[test]
    fn answers_wait_for_their_signal_within_bounds() {
        let mut core = followed();
        for answer in 0..3 {
            assert_eq!(core.wait(u64::from(answer % 2), answer, Local(0)), Ok(None));
        }
        assert_eq!(core.signal(0, Local(1)), [0, 2]);
        assert_eq!(
            core.wait(0, 9, Local(2)),
            Ok(Some(9)),
            "the signal was first"
        );
        assert_eq!(
            core.signal(1, Local(SIGNAL_WAIT_MAX)),
            [0; 0],
            "waited too long"
        );
        for _ in 0..WAITING_MAX {
            assert_eq!(core.wait(5, 0, Local(0)), Ok(None));
        }
        assert_eq!(core.wait(5, 0, Local(0)), Err(Silence::Full));
    }
}
