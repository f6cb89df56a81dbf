//! The contract of the bus: what every implementation keeps.
//!
//! Servers announce their journals; everybody else follows them. Durability belongs to the
//! journal: the bus keeps only a bounded window of what was announced, and reads what a subscriber
//! needs beyond it from the journal's owner ([`Source`]). Hence no announcement can be lost for
//! good: an owner that joins tells what its journal holds, and whatever of it a subscriber has not
//! had is read from there.
//!
//! Kept by every implementation: each record reaches each subscriber at least once, or is
//! reported as a gap; each journal's order holds; a late joiner catches up; a slow reader neither
//! blocks a publisher nor makes anything grow.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::Notify;

use crate::{Batch, BusError, Event, Extent, Found, Holders, SourceError, Tells, Terms};

/// A bus: the back-end network.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Becomes the owner of `source`'s journal on the bus. Everything that the source has counts
    /// as announced from now on; [`Publisher::announce`] tells of what comes. Dropping the
    /// publisher leaves the bus.
    ///
    /// Over a network this waits until the hub has answered, however long it is down.
    ///
    /// # Errors
    /// [`BusError::NameTaken`] while another live owner has the name.
    async fn join(&self, source: Arc<dyn Source>) -> Result<Box<dyn Publisher>, BusError>;

    /// Follows all journals, of now and of later. Over a network [`Start::Oldest`] returns at
    /// once, whether the hub is there or not; [`Start::Now`] waits for the hub to say where that
    /// is.
    ///
    /// # Errors
    /// When the bus is stopped or full.
    async fn subscribe(&self, request: Subscribe) -> Result<Subscription, BusError>;

    /// Asks the owner of `server`'s journal for records of it, whatever was reported so far. The
    /// bus does not look into the question: it is for [`Source::find`].
    ///
    /// # Errors
    /// [`BusError::Absent`] if the server is not on the bus, [`BusError::Unanswered`] if it does
    /// not answer or cannot; trying again later may help with both.
    async fn ask(&self, server: &ServerName, question: Bytes) -> Result<Found, BusError>;

    /// What it tells owners of where their records have got to; the same for as long as it runs.
    fn tells(&self) -> Tells {
        Tells::default()
    }
}

/// The owner's side of one journal on the bus.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Announces records; to be called in the journal's order, after they are durable, and only
    /// with records that the source can read. Waits where the link's window is full. While the
    /// hub is away it returns at once: on its return subscribers read from the source what they
    /// have not had. Records that were announced before do no harm; records left out are read
    /// from the source once something after them is announced.
    ///
    /// # Errors
    /// A batch of another journal, a lost ownership, a stopped bus.
    async fn announce(&self, batch: Batch) -> Result<(), BusError>;

    /// Lets subscribers who report go on up to `end` (exclusive) of `epoch`, where the source's
    /// [`Terms`] hold them back. [`Source::reported`] says so from before this call on: while the
    /// hub is away that is all, and it is told on its return.
    ///
    /// # Errors
    /// A lost ownership, a stopped bus.
    async fn report(&self, epoch: Epoch, end: u64) -> Result<(), BusError>;
}

/// What subscribers who need more than the bus keeps are served from: a journal, at its owner.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Whose journal.
    fn server(&self) -> ServerName;

    /// What it can still read, in the order of writing; the last is the epoch being written. Holds
    /// at least everything that was announced (and not dropped by retention since).
    fn epochs(&self) -> Vec<Extent>;

    /// Reads records of `epoch` from sequence `from` on, about `bytes_max` bytes of them, at least
    /// one.
    ///
    /// # Errors
    /// When it cannot read just now; it is asked again after a while.
    async fn read(
        &self,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<SourceRead, SourceError>;

    /// How the journal is handed out; the same for as long as it is on the bus.
    fn terms(&self) -> Terms {
        Terms::default()
    }

    /// How far subscribers who report may go, if [`Source::terms`] hold them back: an epoch, and
    /// the sequence after the last record. `None`: nothing was reported yet.
    fn reported(&self) -> Option<(Epoch, u64)> {
        None
    }

    /// Told when a subscriber who reports has got everything up to what was reported: `end`
    /// (exclusive) of `epoch`. Must return at once, and call nothing of the bus.
    fn taken(&self, epoch: Epoch, end: u64) {
        let _ = (epoch, end);
    }

    /// Told how far others hold the journal in their memory, whenever that changed, if its terms
    /// ask for holders and the bus [`Bus::tells`] of them. While the hub is away nobody is known to
    /// be present: that is told, too. Must return at once, and call nothing of the bus.
    fn held(&self, holders: Holders) {
        let _ = holders;
    }

    /// Told that the bus has stored everything before `end` of `epoch` for good, if it
    /// [`Bus::tells`] of that. Must return at once, and call nothing of the bus.
    fn stored(&self, epoch: Epoch, end: u64) {
        let _ = (epoch, end);
    }

    /// Answers a question of [`Bus::ask`], a page at a time, of bounded size and time.
    ///
    /// # Errors
    /// When it cannot read just now, or does not understand the question.
    async fn find(&self, question: Bytes) -> Result<Found, SourceError> {
        let _ = question;
        Err(SourceError("this owner answers no questions".to_owned()))
    }
}

/// What a [`Source`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRead {
    /// Records, the first of which is the one asked for.
    Batch(Batch),
    /// The records asked for, up to `to` (exclusive), are gone.
    Gap {
        /// The next sequence to ask for.
        to: u64,
    },
    /// It has nothing at or after that sequence in that epoch, or does not know the epoch.
    End,
}

/// Where a subscription begins in journals that it names no position of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that the owner still has; for a subscriber who reports with that
    /// record's epoch, so that what is gone of it is told as a gap.
    #[default]
    Oldest,
    /// After what is announced when the subscription is made. A journal that first appears later
    /// is followed from the first record of the epoch that it appears with.
    Now,
}

/// For a subscriber that need not have everything at once: what comes within a while comes
/// together, which costs both sides less. After a quiet while the first still comes at once.
///
/// Where its owner asks how far it is held, what comes comes at once all the same.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// How long may pass between two looks at what there is, while there always is something.
    pub every: Duration,
    /// To be notified when the subscriber wants what there is now.
    pub hurry: Arc<Notify>,
}

impl Pace {
    /// A pace that nobody hurries.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self {
            every,
            hurry: Arc::default(),
        }
    }
}

/// What to follow, and from where.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// Who follows, for logs and metrics; at most 63 bytes count.
    pub name: String,
    /// The next record wanted, for each journal that the subscriber knows already. One that the
    /// journal has not reached is waited for: what is before it the subscriber says to have.
    pub from: Vec<Position>,
    /// Where to begin in the others.
    pub start: Start,
    /// A journal not to be delivered at all: usually the subscriber's own.
    pub skip: Option<ServerName>,
    /// It keeps what it gets for good and answers for it, as the repository does: it gets each
    /// journal as the owner's [`Terms`] say. Others get what is announced.
    pub reports: bool,
    /// The server that holds what it gets in its memory. Owners who ask are told of it; of two
    /// subscriptions for one server the newer counts.
    pub holds: Option<ServerName>,
    /// Where it need not have everything at once. (A bus that is reached over a link may not look
    /// at it.)
    pub pace: Option<Pace>,
}

impl Subscribe {
    /// Follows everything from the oldest record on.
    #[must_use]
    pub fn oldest(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Follows what comes from now on.
    #[must_use]
    pub fn now(name: &str) -> Self {
        Self {
            start: Start::Now,
            ..Self::oldest(name)
        }
    }

    /// Leaves a journal out.
    #[must_use]
    pub fn skip(mut self, server: ServerName) -> Self {
        self.skip = Some(server);
        self
    }

    /// Gets each journal as its owner reports it.
    #[must_use]
    pub fn reports(mut self) -> Self {
        self.reports = true;
        self
    }

    /// Holds what it gets in the memory of `server`, whose own journal it leaves out: asking for
    /// the next event says that those before it are held.
    #[must_use]
    pub fn holds(mut self, server: ServerName) -> Self {
        self.holds = Some(server.clone());
        self.skip(server)
    }

    /// Takes what there is at this pace.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Resumes at positions: the next record wanted of each journal.
    #[must_use]
    pub fn from(mut self, positions: Vec<Position>) -> Self {
        self.from = positions;
        self
    }
}

/// A subscription; dropping it ends it.
pub struct Subscription {
    events: Box<dyn Events>,
}

impl Subscription {
    /// Wraps an implementation's events.
    #[must_use]
    pub fn new(events: Box<dyn Events>) -> Self {
        Self { events }
    }

    /// The next event; waits for one. `None` once the bus is stopped. Dropping the future loses
    /// nothing. Of a subscriber who holds ([`Subscribe::holds`]) it says that the events before
    /// are in its memory.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// What an implementation of the bus puts behind a [`Subscription`].
#[async_trait]
pub trait Events: Send {
    /// As [`Subscription::next`].
    async fn next(&mut self) -> Option<Event>;
}
