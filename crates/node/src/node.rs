//! The node: one server's journal, memory and agent, held together.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_bus::{Bus, BusError, Holders};
use selvedge_entry::{Closing, Direction, Fields, Opening, Outcome, Record, Text, Timestamp};
use selvedge_identity::{
    Head, Interaction, KeyRing, Position, RequestIdentifier, ServerName, SessionId, Shape,
};
use selvedge_journal::{
    AppendError, Appended, Delivery, Durability, Journal, JournalError, Kept, Reader,
};
use selvedge_session::Orderer;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::acknowledge::{Reached, Spread};
use crate::identifiers::IdentifierOptions;
use crate::late::Late;
use crate::metrics::count;
use crate::wait::Waiters;
use crate::{
    Acknowledge, AgentMode, AgentOptions, AgentStatus, Keep, Memory, NodeMetrics, NodeOptions,
    WaitOptions, agent,
};

/// Sessions whose greatest counter a server remembers; of a forgotten one it takes the greatest
/// that it has given in any, so the rule holds all the same.
const SESSIONS_REMEMBERED: usize = 1 << 16;

/// Bytes of the journal that are read at once at the start.
const REPLAY_BYTES: usize = 1 << 20;

/// How long a stop waits until the last records are announced.
const STOP_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// The same of an agent that reports on a period: its last report may be long.
const STOP_REPORT_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The back-end network.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// How its answers are to be acknowledged.
    #[error("answers cannot be acknowledged as {level:?}: {reason}")]
    Acknowledge {
        /// The level asked for.
        level: String,
        /// Why it cannot be kept.
        reason: &'static str,
    },
}

/// Why a node has not noted something for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is stopped.
    #[error("its journal is closed")]
    Closed,
    /// It is in memory, and announced.
    #[error("its journal's disk fails; what it notes is in memory only")]
    Volatile,
}

/// One server's part of the fabric. Clones are the same node.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    options: NodeOptions,
    bus: Arc<dyn Bus>,
    service: Text,
    version: Text,
    host: Text,
    journal: Arc<Journal>,
    memory: Arc<Memory>,
    orderer: Mutex<Orderer>,
    waiters: Waiters,
    late: Late,
    metrics: Arc<NodeMetrics>,
    source: Arc<agent::JournalSource>,
    spread: Arc<Spread>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Opens the journal, joins the back-end network as its owner, and begins to remember what
    /// everyone else does, from the oldest that is to be had.
    ///
    /// # Errors
    /// When the journal cannot be opened, or the server's name is taken on the network.
    pub async fn start(mut options: NodeOptions, bus: Arc<dyn Bus>) -> Result<Self, NodeError> {
        if let AgentMode::PastJournal { bytes_max } = options.agent.mode {
            options.journal.durability = Durability::Memory;
            options.journal.volatile_bytes = bytes_max;
        }
        let terms = options.terms();
        let level = options.acknowledge.level;
        level
            .check(bus.tells(), terms)
            .map_err(|reason| NodeError::Acknowledge {
                level: level.to_string(),
                reason,
            })?;
        let entropy = options.entropy.clone();
        let journal = Journal::open(
            options.storage.clone(),
            &options.journal_dir,
            options.server.clone(),
            Box::new(move || {
                let mut bytes = [0; 8];
                entropy.fill(&mut bytes);
                u64::from_le_bytes(bytes)
            }),
            options.journal.clone(),
        )?;
        let journal = Arc::new(journal);
        let metrics = Arc::<NodeMetrics>::default();
        let spread = Arc::<Spread>::default();
        let source = agent::JournalSource::new(
            options.server.clone(),
            journal.clone(),
            metrics.clone(),
            terms,
            spread.clone(),
        );
        let node = Self {
            inner: Arc::new(Inner {
                service: options.service.as_str().into(),
                version: options.version.as_str().into(),
                host: options.host.as_str().into(),
                journal,
                memory: Arc::new(Memory::new(options.memory, options.clock.clone())),
                orderer: Mutex::new(Orderer::new(SESSIONS_REMEMBERED)),
                waiters: Waiters::default(),
                late: Late::default(),
                metrics,
                source: Arc::new(source),
                spread,
                tasks: Mutex::default(),
                bus: bus.clone(),
                options,
            }),
        };
        let reader = node.replay()?;
        let mut tasks = agent::start(&node, bus, reader).await?;
        tasks.push(tokio::spawn(sweep(Arc::downgrade(&node.inner))));
        *node.lock_tasks() = tasks;
        Ok(node)
    }

    /// The back-end network that it is on.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.inner.bus
    }

    /// Reads what this server wrote in earlier runs: what its memory held, and which counters it
    /// gave, none of which it may give again.
    fn replay(&self) -> Result<Reader, NodeError> {
        let mut reader = self.inner.journal.reader(None);
        let mut orderer = self.lock_orderer();
        while let Some(delivery) = reader.try_next(REPLAY_BYTES)? {
            let batch = match delivery {
                Delivery::Batch(batch) => batch,
                Delivery::Gap(gap) => {
                    let memory = self.memory();
                    memory.gap(self.server(), gap.epoch, gap.from, gap.to);
                    continue;
                }
                Delivery::Closed => break,
            };
            for payload in &batch.records {
                if let Ok(Record::Opening(opening) | Record::Whole(opening, _)) =
                    Record::decode(payload)
                    && let (Some(session), Some(counter)) = (opening.session, opening.counter)
                {
                    orderer.given(session, counter);
                }
            }
            self.memory()
                .apply(self.server(), batch.epoch, batch.first, &batch.records);
        }
        drop(orderer);
        Ok(reader)
    }

    /// Leaves the network, and closes the journal once everything appended is durable.
    pub async fn stop(&self) {
        let journal = self.inner.journal.clone();
        // Closing waits for the last commit, on a thread that may block.
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        if let Err(error) = closed {
            tracing::error!(server = %self.server(), %error, "journal not closed");
        }
        let tasks: Vec<_> = self.lock_tasks().drain(..).collect();
        let mut tasks = tasks.into_iter();
        // The first follows the journal to its end: what was written last is announced, too.
        if let Some(own) = tasks.next() {
            let wait = match self.agent_options().mode {
                AgentMode::Period(_) => STOP_REPORT_WAIT,
                _ => STOP_WAIT,
            };
            let _ = tokio::time::timeout(wait, own).await;
        }
        for task in tasks {
            task.abort();
        }
    }

    /// The server's name.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.inner.options.server
    }

    /// The service it runs.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// The keys that the fleet shares.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.inner.options.keys
    }

    /// Which data its entries keep.
    #[must_use]
    pub fn keep(&self) -> &Keep {
        &self.inner.options.keep
    }

    /// How it writes identifiers.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.inner.options.shape
    }

    /// How it reads and writes them beside that.
    #[must_use]
    pub fn identifiers(&self) -> &IdentifierOptions {
        &self.inner.options.identifiers
    }

    /// The identifier of a call made while handling a request of this one (D2, D3).
    #[must_use]
    pub fn advance(&self, identifier: &RequestIdentifier, own: Interaction) -> RequestIdentifier {
        let advanced = identifier.advance(own, self.shape());
        let levels = &self.identifiers().levels;
        levels.next(advanced, identifier.depth())
    }

    /// What it knows of its fleet's sessions.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// Its journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &NodeMetrics {
        &self.inner.metrics
    }

    /// How its agent reports, and how far it has.
    #[must_use]
    pub fn agent(&self) -> AgentStatus {
        self.inner.source.status()
    }

    /// The servers that hold in their memory what this one does, as far as it asks for that.
    #[must_use]
    pub fn holders(&self) -> Holders {
        self.inner.spread.holders()
    }

    /// The time on its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.options.clock.now()
    }

    /// Fresh random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.inner.options.entropy.fill(&mut bytes);
        bytes
    }

    /// Whether the identifiers of requests from this address are continued.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.inner.options.trusts(peer)
    }

    /// Writes down what this server found by itself: an internal entry of no session and no request,
    /// in one record. Done once it is as durable as the journal is told to make it, and announced.
    ///
    /// # Errors
    /// Once the node is stopped; and where the disk fails: then the entry is announced, and is
    /// gone with the process. Whoever needs it to last notes it again.
    pub async fn note(&self, action: &str, attributes: Fields) -> Result<Position, NoteError> {
        let mut opening = self.opening(Direction::Internal, action);
        opening.attributes = attributes;
        let closing = Closing {
            outcome: Outcome::Ok,
            attributes: Fields::new(),
            ..Closing::default()
        };
        let record = Record::Whole(Box::new(opening), Box::new(closing));
        let at = self.append(&record).ok_or(NoteError::Closed)?;
        let kept = self.inner.journal.durable(at).await;
        let in_memory = self.inner.options.journal.durability == Durability::Memory;
        if kept != Kept::Durable && !in_memory {
            return Err(NoteError::Volatile);
        }
        Ok(self.position(at))
    }

    pub(crate) fn monotonic_ns(&self) -> u64 {
        self.inner.options.clock.monotonic_ns()
    }

    pub(crate) fn wait_options(&self) -> WaitOptions {
        self.inner.options.wait
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.inner.waiters
    }

    pub(crate) fn source(&self) -> Arc<agent::JournalSource> {
        self.inner.source.clone()
    }

    pub(crate) fn agent_options(&self) -> AgentOptions {
        self.inner.options.agent
    }

    /// Whether what peers did stays in its memory.
    pub(crate) fn holds_entries(&self) -> bool {
        self.inner.options.memory.bytes_max > 0
    }

    pub(crate) fn shared_memory(&self) -> Arc<Memory> {
        self.inner.memory.clone()
    }

    pub(crate) fn shared_metrics(&self) -> Arc<NodeMetrics> {
        self.inner.metrics.clone()
    }

    /// An opening with what the node itself knows.
    pub(crate) fn opening(&self, direction: Direction, action: &str) -> Opening {
        Opening {
            version: self.inner.version.clone(),
            host: self.inner.host.clone(),
            ..Opening::new(direction, self.inner.service.clone(), action, self.now())
        }
    }

    /// Gives an action its ordering id and appends its opening, as one step: so in this server's
    /// journal a session's entries stand in ordering-id order (A1).
    pub(crate) fn append_action(
        &self,
        session: SessionId,
        floor: u64,
        opening: Opening,
    ) -> Option<(Head, Appended)> {
        self.append_ordered(session, floor, opening, Record::Opening)
    }

    /// As [`Self::append_action`], as the record that `record` makes of the opening.
    pub(crate) fn append_ordered(
        &self,
        session: SessionId,
        floor: u64,
        mut opening: Opening,
        record: impl FnOnce(Box<Opening>) -> Record,
    ) -> Option<(Head, Appended)> {
        let mut orderer = self.lock_orderer();
        let counter = orderer.next(session, floor)?;
        opening.counter = Some(counter);
        let at = self.append(&record(Box::new(opening)))?;
        drop(orderer);
        let head = Head {
            position: self.position(at),
            effect: at.sequence,
            counter,
        };
        Some((head, at))
    }

    /// `None` once the node is stopped: what a request does after that stands nowhere.
    pub(crate) fn append(&self, record: &Record) -> Option<Appended> {
        self.encoded(record, |bytes| self.inner.journal.append(bytes).map(Some))
    }

    /// Appends a record that names its opening, which is at `opening`. Where the disk failed
    /// meanwhile, another epoch has begun, in which the same sequence is another record: then the
    /// entry stays as it is, and reads "outcome unknown".
    pub(crate) fn append_after(&self, opening: Appended, record: &Record) -> Option<Appended> {
        let journal = &self.inner.journal;
        let at = self.encoded(record, |bytes| journal.append_in(opening.epoch, bytes));
        if at.is_none() {
            count(&self.inner.metrics.records_orphaned);
        }
        at
    }

    fn encoded(
        &self,
        record: &Record,
        append: impl FnOnce(&[u8]) -> Result<Option<Appended>, AppendError>,
    ) -> Option<Appended> {
        thread_local! {
            static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        let appended = BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            record.encode(buffer);
            append(buffer)
        });
        appended.unwrap_or_else(|error| {
            tracing::error!(server = %self.server(), %error, "record not written");
            None
        })
    }

    pub(crate) async fn durable(&self, at: Appended) {
        // Volatile is as good as it gets while the disk fails: the journal's state says so.
        let _kept = self.inner.journal.durable(at).await;
    }

    /// Waits until what was appended at `at` is where it has to be before an answer tells of it.
    /// Answers how far it has got.
    pub(crate) async fn acknowledged(&self, at: Appended) -> Acknowledge {
        self.durable(at).await;
        let options = self.inner.options.acknowledge;
        let metrics = self.metrics();
        if options.level == Acknowledge::Journal {
            count(&metrics.answers_journal);
            return Acknowledge::Journal;
        }
        let began_ns = self.monotonic_ns();
        let reached = self.inner.spread.until(at, options).await;
        let waited_ns = self.monotonic_ns().saturating_sub(began_ns);
        metrics.acknowledge_waits.add(waited_ns);
        match (reached, options.level) {
            (Reached::Level, Acknowledge::Bus) => count(&metrics.answers_bus),
            (Reached::Level, _) => count(&metrics.answers_peers),
            (Reached::Fewer, _) => {
                count(&metrics.answers_journal);
                count(&metrics.acknowledgements_short);
            }
            (Reached::InVain, level) => {
                count(&metrics.answers_journal);
                count(&metrics.acknowledgements_in_vain);
                tracing::debug!(%level, "acknowledgement waited for in vain");
            }
        }
        match reached {
            Reached::Level => options.level,
            Reached::Fewer | Reached::InVain => Acknowledge::Journal,
        }
    }

    pub(crate) fn position(&self, at: Appended) -> Position {
        Position {
            server: self.server().clone(),
            epoch: at.epoch,
            sequence: at.sequence,
        }
    }

    pub(crate) fn write_later(&self, write: Box<dyn FnOnce() + Send>) {
        self.inner.late.push(self.monotonic_ns(), write);
    }

    fn lock_orderer(&self) -> std::sync::MutexGuard<'_, Orderer> {
        self.inner
            .orderer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(inner: std::sync::Weak<Inner>) {
    let mut tick = tokio::time::interval(Late::PERIOD);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.late.sweep(inner.options.clock.monotonic_ns());
        inner.memory.expire();
    }
}
