//! The bus as a program of its own sees it: one link to a hub, kept up.
//!
//! What survives a link is kept here: which journals are owned, and how far each subscription has
//! come. On a new link all of it is said again. No records are kept for the time in between: the
//! hub reads what it missed from the journals, so a hub that is down costs no memory.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::LinkOptions;
use super::client_link::{self, DialError};
use super::frame::{BODY_MAX, Frame};
use super::handshake::{self, NAME_MAX, Peer};
use super::message::{BATCH, Message, batch_body, batch_body_len};
use super::outbox::Outbox;
use crate::batch::split;
use crate::hub::{BATCH_BYTES_MAX, Begin};
use crate::{
    Batch, Bus, BusError, Event, Events, Extent, Publisher, Source, Start, Subscribe, Subscription,
};

/// A [`Bus`] over TCP. It connects again by itself, joins again, and resumes its subscriptions.
/// Cloning gives another handle on the same link; the link ends with the last handle, publisher
/// and subscription.
#[derive(Clone)]
pub struct TcpBus {
    keeper: Arc<Keeper>,
}

/// What happened to a program's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpBusMetrics {
    /// Links made.
    pub links: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Whether there is a link now.
    pub connected: bool,
}

impl TcpBus {
    /// Connects to the hub at `address` (`host:port`); `name` names this program to the hub.
    ///
    /// # Errors
    /// [`BusError::Refused`] by a hub with another key; [`BusError::Unreachable`].
    pub async fn connect(
        address: impl std::fmt::Display,
        key: [u8; 32],
        name: &str,
    ) -> Result<Self, BusError> {
        Self::connect_with(address, key, name, LinkOptions::default()).await
    }

    /// As [`TcpBus::connect`], with options.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_with(
        address: impl std::fmt::Display,
        key: [u8; 32],
        name: &str,
        options: LinkOptions,
    ) -> Result<Self, BusError> {
        let client = Client::new(address.to_string(), key, name, options)?;
        let stream = client_link::dial(&client).await.map_err(|error| {
            let address = client.address.clone();
            match error {
                DialError::Refused(reason) => BusError::Refused { address, reason },
                DialError::Unreachable(reason) => BusError::Unreachable { address, reason },
            }
        })?;
        Ok(Self::run(client, Some(stream)))
    }

    /// As [`TcpBus::connect_with`], but does not wait for the hub: it may be down, and will be
    /// connected to once it is there. A wrong key shows in the log only.
    ///
    /// # Errors
    /// [`BusError::Unreachable`] if the system has no random bytes.
    pub fn start(
        address: impl std::fmt::Display,
        key: [u8; 32],
        name: &str,
        options: LinkOptions,
    ) -> Result<Self, BusError> {
        let client = Client::new(address.to_string(), key, name, options)?;
        Ok(Self::run(client, None))
    }

    /// What happened to the link.
    #[must_use]
    pub fn metrics(&self) -> TcpBusMetrics {
        let client = &self.keeper.client;
        TcpBusMetrics {
            links: client.links.load(Ordering::Relaxed),
            failures: client.failures.load(Ordering::Relaxed),
            connected: client.state().link.is_some(),
        }
    }

    /// Ends the link for good: subscriptions end, publishers are told [`BusError::Closed`].
    pub fn stop(&self) {
        self.keeper.stop();
    }

    fn run(client: Arc<Client>, stream: Option<tokio::net::TcpStream>) -> Self {
        let task = tokio::spawn(client_link::run(Arc::clone(&client), stream)).abort_handle();
        Self {
            keeper: Arc::new(Keeper { client, task }),
        }
    }
}

impl std::fmt::Debug for TcpBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpBus")
            .field("address", &self.keeper.client.address)
            .finish_non_exhaustive()
    }
}

/// Ends the link with the last user of it.
struct Keeper {
    client: Arc<Client>,
    task: AbortHandle,
}

impl Keeper {
    fn stop(&self) {
        let link = {
            let mut state = self.client.state();
            state.stopped = true;
            state.subscriptions.clear();
            for join in state.joins.values_mut() {
                join.answer = None;
                join.room.notify_waiters();
            }
            state.link.take()
        };
        if let Some(link) = link {
            link.close();
        }
        self.task.abort();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the link's tasks and its users share.
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) key: [u8; 32],
    pub(crate) me: Peer,
    pub(crate) options: LinkOptions,
    state: Mutex<State>,
    pub(crate) links: AtomicU64,
    pub(crate) failures: AtomicU64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) link: Option<Arc<Outbox>>,
    pub(crate) joins: HashMap<u16, Join>,
    pub(crate) subscriptions: HashMap<u16, Following>,
    last_channel: u16,
    stopped: bool,
}

/// An owned journal.
pub(crate) struct Join {
    pub(crate) server: ServerName,
    pub(crate) source: Arc<dyn Source>,
    /// The first answer, as long as the one who joins waits for it.
    pub(crate) answer: Option<oneshot::Sender<Result<(), BusError>>>,
    /// The hub of this link takes announcements.
    pub(crate) joined: bool,
    /// The owner who has the name now, where it was lost between two links.
    pub(crate) taken_by: Option<String>,
    /// Announced on this link, and not yet taken.
    pub(crate) unacknowledged: u64,
    pub(crate) room: Arc<Notify>,
    /// The epoch last announced: at another one the ends are told first.
    announced: Option<Epoch>,
}

/// A subscription, as far as it has come.
pub(crate) struct Following {
    name: String,
    skip: Option<ServerName>,
    begin: Begin,
    pub(crate) positions: HashMap<ServerName, (Epoch, u64)>,
    pub(crate) present: HashSet<ServerName>,
    pub(crate) events: mpsc::UnboundedSender<(Event, u64)>,
    /// Bytes handed over and not yet read by the user.
    pub(crate) queued: i64,
    /// Bytes that the hub of this link may still send; below zero by at most one frame.
    pub(crate) allowed: i64,
    /// Turns true when the hub has said where the subscription begins.
    pub(crate) settled: watch::Sender<bool>,
    pub(crate) denied: Option<String>,
}

impl Following {
    /// The frames that open it on a new link.
    pub(crate) fn open(&mut self, window: usize) -> [Message; 2] {
        let position = |(server, (epoch, sequence)): (&ServerName, &(Epoch, u64))| Position {
            server: server.clone(),
            epoch: *epoch,
            sequence: *sequence,
        };
        let subscribe = Message::Subscribe {
            name: self.name.clone(),
            begin: self.begin,
            skip: self.skip.clone(),
            from: self.positions.iter().map(position).collect(),
        };
        self.allowed = 0;
        let bytes = self.allow(window, true).unwrap_or(0);
        [subscribe, Message::Credit { bytes }]
    }

    /// The hub has said where it begins: from now on it is resumed, not begun.
    pub(crate) fn settle(&mut self, from: Vec<Position>) {
        for position in from {
            let place = (position.epoch, position.sequence);
            self.positions.entry(position.server).or_insert(place);
        }
        if self.begin == Begin::Now {
            self.begin = Begin::Epoch;
        }
        self.settled.send_replace(true);
    }

    /// What more the hub may send, if that is worth a frame.
    fn allow(&mut self, window: usize, any: bool) -> Option<u64> {
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let more = window - self.queued - self.allowed;
        if more <= 0 || (!any && more < window / 4) {
            return None;
        }
        self.allowed += more;
        u64::try_from(more).ok()
    }

    /// Hands an event over and moves the positions.
    pub(crate) fn take(&mut self, event: Event, cost: usize) {
        match &event {
            Event::Batch(batch) => {
                let place = (batch.epoch, batch.end());
                self.positions.insert(batch.server.clone(), place);
            }
            Event::Gap {
                server, epoch, to, ..
            } => {
                self.positions.insert(server.clone(), (*epoch, *to));
            }
            Event::Joined { server, .. } => {
                self.present.insert(server.clone());
            }
            Event::Left { server } => {
                self.present.remove(server);
            }
        }
        let cost = cost as i64;
        self.allowed -= cost;
        self.queued += cost;
        let _ = self.events.send((event, cost as u64));
    }

    /// The link is down: nobody is known to be present.
    pub(crate) fn lose(&mut self) {
        for server in std::mem::take(&mut self.present) {
            let _ = self.events.send((Event::Left { server }, 0));
        }
    }
}

impl Client {
    fn new(
        address: String,
        key: [u8; 32],
        name: &str,
        options: LinkOptions,
    ) -> Result<Arc<Self>, BusError> {
        let instance = handshake::random().map_err(|error| BusError::Unreachable {
            address: address.clone(),
            reason: error.to_string(),
        })?;
        let mut cut = name.len().min(NAME_MAX);
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        let name = name[..cut].replace(char::is_control, " ");
        Ok(Arc::new(Self {
            address,
            key,
            me: Peer { name, instance },
            options,
            state: Mutex::default(),
            links: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free_channel(&mut self) -> Result<u16, BusError> {
        const MAX: usize = 1024; // as many as a hub takes
        if self.stopped {
            return Err(BusError::Closed);
        }
        if self.joins.len() + self.subscriptions.len() >= MAX {
            return Err(BusError::Full {
                what: "channels",
                limit: MAX,
            });
        }
        loop {
            self.last_channel = self.last_channel.wrapping_add(1).max(1);
            let channel = self.last_channel;
            if !self.joins.contains_key(&channel) && !self.subscriptions.contains_key(&channel) {
                return Ok(channel);
            }
        }
    }

    pub(crate) fn push(&self, frame: Frame) {
        if let Some(link) = &self.link {
            let _ = link.push(frame); // a link that has ended is noticed by its own tasks
        }
    }
}

#[async_trait]
impl Bus for TcpBus {
    async fn join(&self, source: Arc<dyn Source>) -> Result<Box<dyn Publisher>, BusError> {
        let server = source.server();
        let extents = source.epochs();
        let (sender, answer) = oneshot::channel();
        // Leaves again if this future is dropped, or the hub refuses.
        let publisher = {
            let mut state = self.keeper.client.state();
            if state.joins.values().any(|join| join.server == server) {
                let owner = "this process".to_owned();
                return Err(BusError::NameTaken { server, owner });
            }
            let channel = state.free_channel()?;
            let room = Arc::new(Notify::new());
            let join = Join {
                server: server.clone(),
                source,
                answer: Some(sender),
                joined: false,
                taken_by: None,
                unacknowledged: 0,
                room: Arc::clone(&room),
                announced: None,
            };
            state.joins.insert(channel, join);
            let message = Message::Join {
                server: server.clone(),
                extents,
            };
            state.push(message.frame(channel));
            TcpPublisher {
                keeper: Arc::clone(&self.keeper),
                channel,
                server,
                room,
            }
        };
        answer.await.unwrap_or(Err(BusError::Closed))?;
        Ok(Box::new(publisher))
    }

    async fn subscribe(&self, request: Subscribe) -> Result<Subscription, BusError> {
        let (events, receiver) = mpsc::unbounded_channel();
        let settled = watch::Sender::new(false);
        let mut settling = settled.subscribe();
        let begin = match request.start {
            Start::Oldest => Begin::Oldest,
            Start::Now => Begin::Now,
        };
        let subscription = {
            let mut state = self.keeper.client.state();
            let channel = state.free_channel()?;
            let place = |p: Position| (p.server, (p.epoch, p.sequence));
            let mut following = Following {
                name: request.name,
                skip: request.skip,
                begin,
                positions: request.from.into_iter().map(place).collect(),
                present: HashSet::new(),
                events,
                queued: 0,
                allowed: 0,
                settled,
                denied: None,
            };
            if state.link.is_some() {
                for message in following.open(self.keeper.client.options.window_bytes) {
                    state.push(message.frame(channel));
                }
            }
            state.subscriptions.insert(channel, following);
            TcpSubscription {
                keeper: Arc::clone(&self.keeper),
                channel,
                receiver,
            }
        };
        if begin == Begin::Now {
            let settled = settling.wait_for(|settled| *settled).await;
            settled.map_err(|_| BusError::Closed)?;
        }
        let state = self.keeper.client.state();
        let following = state.subscriptions.get(&subscription.channel);
        if let Some(reason) = following.and_then(|following| following.denied.clone()) {
            drop(state);
            return Err(BusError::Refused {
                address: self.keeper.client.address.clone(),
                reason,
            });
        }
        drop(state);
        Ok(Subscription::new(Box::new(subscription)))
    }
}

struct TcpPublisher {
    keeper: Arc<Keeper>,
    channel: u16,
    server: ServerName,
    room: Arc<Notify>,
}

impl TcpPublisher {
    /// Sends frames if the window has room; false if it has none.
    fn try_send(&self, epoch: Epoch, frame: &Frame) -> Result<bool, BusError> {
        let client = &self.keeper.client;
        let mut guard = client.state();
        let state = &mut *guard;
        if state.stopped {
            return Err(BusError::Closed);
        }
        let Some(join) = state.joins.get_mut(&self.channel) else {
            return Err(BusError::Closed);
        };
        if let Some(owner) = &join.taken_by {
            return Err(BusError::NameTaken {
                server: self.server.clone(),
                owner: owner.clone(),
            });
        }
        if !join.joined {
            return Ok(true); // the hub reads it from the journal once it is back
        }
        if join.unacknowledged >= client.options.window_bytes as u64 {
            return Ok(false);
        }
        if join.announced != Some(epoch) {
            // The end of the epoch before counts as announced too.
            join.announced = Some(epoch);
            let extents: Vec<Extent> = join.source.epochs();
            let frame = Message::Extents(extents).frame(self.channel);
            if let Some(link) = &state.link {
                let _ = link.push(frame);
            }
        }
        join.unacknowledged += frame.cost() as u64;
        state.push(frame.clone());
        Ok(true)
    }
}

#[async_trait]
impl Publisher for TcpPublisher {
    async fn announce(&self, batch: Batch) -> Result<(), BusError> {
        if batch.server != self.server {
            return Err(BusError::WrongServer {
                owned: self.server.clone(),
                announced: batch.server,
            });
        }
        if batch.records.is_empty() {
            return Ok(());
        }
        for part in split(batch, BATCH_BYTES_MAX) {
            let frame = if batch_body_len(&part) <= BODY_MAX {
                Frame::new(BATCH, self.channel, batch_body(&part))
            } else {
                // Too long for a link. The hub learns that it is there; reading it gives a gap.
                let source = {
                    let state = self.keeper.client.state();
                    state
                        .joins
                        .get(&self.channel)
                        .map(|j| Arc::clone(&j.source))
                };
                let extents = source.map(|source| source.epochs()).unwrap_or_default();
                Message::Extents(extents).frame(self.channel)
            };
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                if self.try_send(part.epoch, &frame)? {
                    break;
                }
                room.await;
            }
        }
        Ok(())
    }
}

impl Drop for TcpPublisher {
    fn drop(&mut self) {
        let mut state = self.keeper.client.state();
        if state.joins.remove(&self.channel).is_some() {
            state.push(Message::Leave.frame(self.channel));
        }
    }
}

struct TcpSubscription {
    keeper: Arc<Keeper>,
    channel: u16,
    receiver: mpsc::UnboundedReceiver<(Event, u64)>,
}

#[async_trait]
impl Events for TcpSubscription {
    async fn next(&mut self) -> Option<Event> {
        let (event, cost) = self.receiver.recv().await?;
        let client = &self.keeper.client;
        let mut guard = client.state();
        let state = &mut *guard;
        if let Some(following) = state.subscriptions.get_mut(&self.channel) {
            following.queued -= cost as i64;
            if state.link.is_some()
                && let Some(bytes) = following.allow(client.options.window_bytes, false)
            {
                state.push(Message::Credit { bytes }.frame(self.channel));
            }
        }
        Some(event)
    }
}

impl Drop for TcpSubscription {
    fn drop(&mut self) {
        let mut state = self.keeper.client.state();
        if state.subscriptions.remove(&self.channel).is_some() {
            state.push(Message::Unsubscribe.frame(self.channel));
        }
    }
}
