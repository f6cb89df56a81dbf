//! The bus as a program of its own sees it: one link to a hub, kept up.
//!
//! What survives a link is kept here: which journals are owned, and how far each subscription has
//! come. On a new link all of it is said again. No records are kept for the time in between: the
//! hub reads what it missed from the journals, so a hub that is down costs no memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Position, ServerName};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::LinkOptions;
use super::asking::Refusal;
use super::client_link::{self, DialError};
use super::following::{Following, TcpSubscription};
use super::frame::Frame;
use super::handshake::{self, NAME_MAX, Peer};
use super::message::Message;
use super::outbox::Outbox;
use super::publisher::{Join, TcpPublisher};
use super::stream::{Dial, DialTcp, LinkStream};
use crate::acknowledging::Holding;
use crate::hub::Begin;
use crate::{Bus, BusError, Found, Hub, Publisher, Source, Start, Subscribe, Subscription, Tells};

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
        let address = address.to_string();
        let dial = Arc::new(DialTcp(address.clone()));
        let client = Client::new(address, dial, key, name, options)?;
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
        let address = address.to_string();
        let dial = Arc::new(DialTcp(address.clone()));
        let client = Client::new(address, dial, key, name, options)?;
        Ok(Self::run(client, None))
    }

    /// As [`TcpBus::start`], over other connections than TCP's.
    ///
    /// # Errors
    /// As there.
    pub fn start_over(
        dial: Arc<dyn Dial>,
        key: [u8; 32],
        name: &str,
        options: LinkOptions,
    ) -> Result<Self, BusError> {
        let client = Client::new("the hub".to_owned(), dial, key, name, options)?;
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

    fn run(client: Arc<Client>, stream: Option<LinkStream>) -> Self {
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
pub(crate) struct Keeper {
    pub(crate) client: Arc<Client>,
    task: AbortHandle,
}

impl Keeper {
    fn stop(&self) {
        let link = {
            let mut state = self.client.state();
            state.stopped = true;
            state.subscriptions.clear();
            state.asked.clear();
            for join in state.joins.values_mut() {
                join.answer = None;
                join.room.notify_waiters();
            }
            state.link.take()
        };
        if let Some(link) = link {
            link.close();
        }
        self.client.link_up.notify_waiters();
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
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) key: [u8; 32],
    pub(crate) me: Peer,
    pub(crate) options: LinkOptions,
    state: Mutex<State>,
    pub(crate) link_up: Notify,
    pub(crate) links: AtomicU64,
    pub(crate) failures: AtomicU64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) link: Option<Arc<Outbox>>,
    pub(crate) joins: HashMap<u16, Join>,
    pub(crate) subscriptions: HashMap<u16, Following>,
    last_channel: u16,
    /// Questions that wait for the hub's answer.
    pub(crate) asked: HashMap<u32, oneshot::Sender<Result<Found, Refusal>>>,
    last_question: u32,
    pub(crate) stopped: bool,
}

impl Client {
    fn new(
        address: String,
        dial: Arc<dyn Dial>,
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
            dial,
            key,
            me: Peer { name, instance },
            options,
            state: Mutex::default(),
            link_up: Notify::new(),
            links: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    /// Waits until there is a link, or it is stopped.
    async fn linked(&self) {
        loop {
            let link_up = self.link_up.notified();
            tokio::pin!(link_up);
            link_up.as_mut().enable();
            {
                let state = self.state();
                if state.link.is_some() || state.stopped {
                    return;
                }
            }
            link_up.await;
        }
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
        let (terms, reported) = (source.terms(), source.reported());
        let (sender, answer) = oneshot::channel();
        // Leaves again if this future is dropped, or the hub refuses.
        let publisher = {
            let mut state = self.keeper.client.state();
            if state.joins.values().any(|join| join.server == server) {
                let owner = "this process".to_owned();
                return Err(BusError::NameTaken { server, owner });
            }
            let channel = state.free_channel()?;
            let join = Join::new(source, sender);
            let room = Arc::clone(&join.room);
            state.joins.insert(channel, join);
            let message = Message::Join {
                server: server.clone(),
                extents,
                terms,
                reported,
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
            let holding = request.holds.is_some().then(Holding::default);
            let mut following = Following {
                name: request.name,
                skip: request.skip,
                reports: request.reports,
                holds: request.holds,
                begin,
                positions: request.from.into_iter().map(place).collect(),
                present: BTreeSet::new(),
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
                holding,
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

    async fn ask(&self, server: &ServerName, question: Bytes) -> Result<Found, BusError> {
        let client = &self.keeper.client;
        let away = |reason: &str| BusError::Unreachable {
            address: client.address.clone(),
            reason: reason.to_owned(),
        };
        let (sender, answer) = oneshot::channel();
        // A link that was just lost, or is being made, is waited for.
        let linked = tokio::time::timeout(client.options.idle_max, client.linked());
        linked.await.map_err(|_| away("no link now"))?;
        let asked = {
            let mut state = client.state();
            if state.stopped {
                return Err(BusError::Closed);
            }
            if state.link.is_none() {
                return Err(away("no link now"));
            }
            state.last_question = state.last_question.wrapping_add(1);
            let id = state.last_question;
            state.asked.insert(id, sender);
            let server = server.clone();
            let message = Message::Ask {
                id,
                server,
                question,
            };
            state.push(message.frame(0));
            Asked { client, id }
        };
        // The hub waits as long for the owner; its answer has a way to go, too.
        let wait = client.options.read_max + client.options.idle_max;
        let answered = tokio::time::timeout(wait, answer).await;
        drop(asked);
        match answered {
            Ok(Ok(result)) => result.map_err(|refusal| refusal.error(server)),
            Ok(Err(_)) => Err(away("the link ended")),
            Err(_) => Err(away("no answer in time")),
        }
    }

    fn tells(&self) -> Tells {
        Hub::TELLS
    }
}

/// Takes a question back when nobody waits for its answer any more.
struct Asked<'a> {
    client: &'a Client,
    id: u32,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.client.state().asked.remove(&self.id);
    }
}
