//! When an answer may go out: how far its effect has to have got before (B2).
//!
//! In the own journal it outlives this process; in the memory of peers, or stored by the bus, also
//! this host and its disk. The wait beyond the journal is bounded, for a user is behind it: then
//! the answer goes out all the same, and is counted. Peers that are not there are not waited for.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_bus::{Holders, Tells, Terms};
use selvedge_identity::Epoch;
use selvedge_journal::Appended;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How far an effect has to have got before its answer's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// Durable in this server's journal.
    #[default]
    Journal,
    /// And in the memory of so many other servers.
    Peers(NonZeroU8),
    /// And stored by the bus.
    Bus,
}

/// The level, and the longest wait for it.
#[derive(Clone, Copy, Debug)]
pub struct AcknowledgeOptions {
    /// How far.
    pub level: Acknowledge,
    /// The longest wait of one answer, once its effect is in the journal. Default 100 ms.
    pub longest: Duration,
}

impl Default for AcknowledgeOptions {
    fn default() -> Self {
        Self {
            level: Acknowledge::default(),
            longest: Duration::from_millis(100),
        }
    }
}

impl Acknowledge {
    /// How many others' memory it asks for.
    #[must_use]
    pub fn peers(self) -> u8 {
        match self {
            Self::Peers(count) => count.get(),
            Self::Journal | Self::Bus => 0,
        }
    }

    /// Whether a bus that tells this, and a journal handed out on these terms, can keep it.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn check(self, tells: Tells, terms: Terms) -> Result<(), &'static str> {
        match self {
            Self::Peers(_) if !tells.held => Err("this bus does not tell what peers hold"),
            Self::Peers(_) if !terms.peers_at_once => {
                Err("its agent lets peers have records with its reports only")
            }
            Self::Bus if !tells.stored => Err("this bus stores nothing"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Acknowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => f.write_str("journal"),
            Self::Peers(count) => write!(f, "peers:{count}"),
            Self::Bus => f.write_str("bus"),
        }
    }
}

impl FromStr for Acknowledge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let peers = |count: &str| count.parse().ok().map(Self::Peers);
        match text {
            "journal" => Ok(Self::Journal),
            "bus" => Ok(Self::Bus),
            _ => text.strip_prefix("peers:").and_then(peers).ok_or_else(|| {
                format!("{text:?} is none of \"journal\", \"peers:1\" to \"peers:255\", \"bus\"")
            }),
        }
    }
}

/// How far the server's journal has got beyond its own disk.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    holders: Holders,
    stored: Option<(Epoch, u64)>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The effect is where it has to be.
    Level,
    /// All peers that are there hold it, but there are fewer than asked for.
    Fewer,
    /// It is not, and the time is over.
    InVain,
}

impl Spread {
    pub(crate) fn held(&self, holders: Holders) {
        self.lock().holders = holders;
        self.changed.notify_waiters();
    }

    pub(crate) fn stored(&self, epoch: Epoch, end: u64) {
        let mut state = self.lock();
        state.stored = state.stored.max(Some((epoch, end)));
        drop(state);
        self.changed.notify_waiters();
    }

    /// What the bus told last of peers.
    pub(crate) fn holders(&self) -> Holders {
        self.lock().holders
    }

    /// Waits until the record at `at`, and all before it, have got as far as `options` say.
    pub(crate) async fn until(&self, at: Appended, options: AcknowledgeOptions) -> Reached {
        let deadline = Instant::now() + options.longest;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(reached) = self.lock().reached(at, options.level) {
                return reached;
            }
            if timeout_at(deadline, changed).await.is_err() {
                let reached = self.lock().reached(at, options.level);
                return reached.unwrap_or(Reached::InVain);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None`: not yet.
    fn reached(&self, at: Appended, level: Acknowledge) -> Option<Reached> {
        let behind = |end: Option<(Epoch, u64)>| end > Some((at.epoch, at.sequence));
        let Holders { present, to } = self.holders;
        match level {
            Acknowledge::Journal => Some(Reached::Level),
            Acknowledge::Bus => behind(self.stored).then_some(Reached::Level),
            Acknowledge::Peers(count) if present >= count.get().into() => {
                behind(to).then_some(Reached::Level)
            }
            Acknowledge::Peers(_) => (present == 0 || behind(to)).then_some(Reached::Fewer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch {
        counter: 2,
        random: 5,
    };
    const AT: Appended = Appended {
        epoch: EPOCH,
        sequence: 7,
    };

    fn peers(count: u8) -> AcknowledgeOptions {
        AcknowledgeOptions {
            level: Acknowledge::Peers(NonZeroU8::new(count).expect("not none")),
            longest: Duration::from_millis(100),
        }
    }

    fn told(present: usize, to: Option<(Epoch, u64)>) -> Spread {
        let spread = Spread::default();
        spread.held(Holders { present, to });
        spread
    }

    #[test]
    fn levels_are_read_as_they_are_written() {
        for text in ["journal", "peers:1", "peers:255", "bus"] {
            let level: Acknowledge = text.parse().expect("a level");
            assert_eq!(level.to_string(), text);
        }
        for text in ["", "Journal", "peers", "peers:0", "peers:256", "peers:-1"] {
            let said = text.parse::<Acknowledge>().expect_err("no level");
            assert!(said.contains("peers:1"), "{said}");
        }
    }

    #[test]
    fn a_level_that_the_bus_cannot_keep_is_refused() {
        let terms = Terms::default();
        let with_reports = Terms {
            peers_at_once: false,
            ..terms
        };
        let (nothing, held) = (
            Tells::default(),
            Tells {
                held: true,
                stored: false,
            },
        );
        let level = peers(1).level;
        assert!(Acknowledge::Journal.check(nothing, with_reports).is_ok());
        assert!(level.check(held, terms).is_ok());
        assert!(level.check(nothing, terms).is_err());
        assert!(level.check(held, with_reports).is_err());
        assert!(Acknowledge::Bus.check(held, terms).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_itself_has_to_be_held() {
        let spread = told(2, Some((EPOCH, 7)));
        let begun = Instant::now();
        assert_eq!(spread.until(AT, peers(2)).await, Reached::InVain);
        assert_eq!(begun.elapsed(), Duration::from_millis(100));
        let held = async { spread.held(told(2, Some((EPOCH, 8))).holders()) };
        let (reached, ()) = tokio::join!(spread.until(AT, peers(2)), held);
        assert_eq!(reached, Reached::Level);
        let later = Epoch {
            counter: 3,
            random: 0,
        };
        let spread = told(2, Some((later, 1)));
        assert_eq!(spread.until(AT, peers(2)).await, Reached::Level);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_are_not_there_are_not_waited_for() {
        let begun = Instant::now();
        let alone = told(0, None);
        assert_eq!(alone.until(AT, peers(1)).await, Reached::Fewer);
        let one = told(1, Some((EPOCH, 8)));
        assert_eq!(one.until(AT, peers(2)).await, Reached::Fewer);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // The one that is there is.
        let one = told(1, Some((EPOCH, 7)));
        assert_eq!(one.until(AT, peers(2)).await, Reached::InVain);
        // One that goes while it is waited for ends the wait.
        let gone = async { one.held(Holders::default()) };
        let (reached, ()) = tokio::join!(one.until(AT, peers(2)), gone);
        assert_eq!(reached, Reached::Fewer);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_bus_stored_is_not_taken_back() {
        let spread = told(0, None);
        let bus = AcknowledgeOptions {
            level: Acknowledge::Bus,
            ..peers(1)
        };
        assert_eq!(spread.until(AT, bus).await, Reached::InVain);
        spread.stored(EPOCH, 8);
        spread.stored(EPOCH, 3);
        assert_eq!(spread.until(AT, bus).await, Reached::Level);
    }
}
