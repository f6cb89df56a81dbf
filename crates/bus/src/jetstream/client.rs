//! The bus over NATS JetStream as its users see it: one connection to NATS, kept up, and a hub of
//! this process that pictures what NATS carries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::{ConnectOptions, Event as NatsEvent, ServerAddr, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Position, ServerName};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::JetStreamOptions;
use super::asking::AskError;
use super::feed::Feed;
use super::message::{Instance, Seal};
use super::publisher::{JetStreamPublisher, Outgoing};
use super::subjects::Subjects;
use crate::hub::Begin;
use crate::metrics::Counter;
use crate::tcp::handshake::random;
use crate::tcp::message::Message;
use crate::{
    Bus, BusError, Event, Events, Found, Hub, HubMetrics, HubOptions, JournalStatus, Publisher,
    Source, Start, Subscribe, Subscription, Tells,
};

/// A [`Bus`] over NATS JetStream. It connects again by itself. Cloning gives another handle on the
/// same connection; it ends with the last handle, publisher and subscription.
#[derive(Clone)]
pub struct JetStreamBus {
    keeper: Arc<Keeper>,
}

/// What happened between a program and JetStream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JetStreamMetrics {
    /// Whether NATS is connected now.
    pub connected: bool,
    /// Connections made.
    pub connections: u64,
    /// Messages with records that JetStream acknowledged.
    pub messages: u64,
    /// Records in these.
    pub records: u64,
    /// Messages that JetStream refused or did not acknowledge in time; their records are sent
    /// again, if they are not there.
    pub failures: u64,
    /// Times that reading the streams began anew: after lost connections, lost servers, lost
    /// messages.
    pub restarts: u64,
    /// Reads of records from what JetStream keeps.
    pub stream_reads: u64,
    /// Reads of records from owners' journals.
    pub owner_reads: u64,
    /// Messages whose seal or form does not hold.
    pub refused: u64,
    /// Joins refused because a live owner has the name.
    pub names_refused: u64,
}

impl JetStreamMetrics {
    /// Name and value of each count, for metrics pages.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("connected", self.connected.into()),
            ("connections", self.connections),
            ("messages", self.messages),
            ("records", self.records),
            ("failures", self.failures),
            ("restarts", self.restarts),
            ("stream_reads", self.stream_reads),
            ("owner_reads", self.owner_reads),
            ("refused", self.refused),
            ("names_refused", self.names_refused),
        ]
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages: Counter,
    pub(super) records: Counter,
    pub(super) failures: Counter,
    pub(super) restarts: Counter,
    pub(super) stream_reads: Counter,
    pub(super) owner_reads: Counter,
    pub(super) refused: Counter,
    pub(super) names_refused: Counter,
}

impl JetStreamBus {
    /// What it tells owners: what JetStream has stored, by its acknowledgements.
    pub const TELLS: Tells = Tells {
        held: false,
        stored: true,
    };

    /// Connects, and makes the streams if they are not there; `name` names this program to others.
    ///
    /// # Errors
    /// [`BusError::Refused`] by NATS, or for options that make no sense; [`BusError::Unreachable`]
    /// within the time for an answer.
    pub async fn connect(
        options: JetStreamOptions,
        key: [u8; 32],
        name: &str,
    ) -> Result<Self, BusError> {
        let bus = Self::start(options, key, name).await?;
        let link = &bus.keeper.link;
        let ready = async {
            link.connected().await;
            link.ensure_streams().await
        };
        let why = match tokio::time::timeout(link.options.answer_max, ready).await {
            Ok(Ok(())) => return Ok(bus),
            Ok(Err(reason)) => reason,
            Err(_) => link.trouble().unwrap_or("no answer in time".to_owned()),
        };
        Err(BusError::Unreachable {
            address: link.address.clone(),
            reason: why,
        })
    }

    /// As [`JetStreamBus::connect`], but does not wait for NATS: it may be down, and will be
    /// connected to once it is there. A wrong password shows in the log only.
    ///
    /// # Errors
    /// [`BusError::Refused`] for options that make no sense.
    pub async fn start(
        options: JetStreamOptions,
        key: [u8; 32],
        name: &str,
    ) -> Result<Self, BusError> {
        let refused = |reason: String| BusError::Refused {
            address: without_secrets(&options.servers),
            reason,
        };
        options.check().map_err(refused)?;
        let subjects = options.subjects().map_err(refused)?;
        let instance = random().map_err(|error| refused(error.to_string()))?;
        let connected = watch::Sender::new(false);
        let events = Arc::new(Connection {
            connected: connected.clone(),
            connections: AtomicU64::new(0),
            trouble: Mutex::default(),
        });
        let (connecting, servers) = connecting(&options, name, Arc::clone(&events))
            .await
            .map_err(refused)?;
        let client = connecting
            .connect(servers)
            .await
            .map_err(|error| refused(error.to_string()))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(options.idle_max);
        let hub = Hub::new(HubOptions {
            ring_bytes: options.ring_bytes,
            ..HubOptions::default()
        });
        let link = Arc::new(Link {
            address: without_secrets(&options.servers),
            name: name.to_owned(),
            client,
            context,
            subjects,
            seal: Seal::new(key),
            instance,
            options,
            hub,
            events,
            settled: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            counters: Counters::default(),
            owned: Mutex::default(),
        });
        Ok(Self {
            keeper: Arc::new(Keeper {
                link,
                picturing: Mutex::new(None),
            }),
        })
    }

    /// What happened.
    #[must_use]
    pub fn metrics(&self) -> JetStreamMetrics {
        let link = &self.keeper.link;
        let counters = &link.counters;
        JetStreamMetrics {
            connected: *link.events.connected.borrow(),
            connections: link.events.connections.load(Ordering::Relaxed),
            messages: counters.messages.get(),
            records: counters.records.get(),
            failures: counters.failures.get(),
            restarts: counters.restarts.get(),
            stream_reads: counters.stream_reads.get(),
            owner_reads: counters.owner_reads.get(),
            refused: counters.refused.get(),
            names_refused: counters.names_refused.get(),
        }
    }

    /// What the picture of this process counted: what its subscribers got, among others.
    #[must_use]
    pub fn picture_metrics(&self) -> HubMetrics {
        self.keeper.link.hub.metrics()
    }

    /// The journals that this process has a picture of: none before its first subscription.
    #[must_use]
    pub fn journals(&self) -> Vec<JournalStatus> {
        self.keeper.link.hub.journals()
    }

    /// Ends it for good: what was announced is still published if NATS takes it, journals are
    /// left, subscriptions end, publishers are told [`BusError::Closed`].
    pub async fn stop(&self) {
        let link = &self.keeper.link;
        link.stopping.send_replace(true);
        let feeds = std::mem::take(&mut *lock(&link.owned));
        let ended = async {
            for mut owned in feeds {
                let _ = owned.ended.wait_for(|ended| *ended).await;
            }
        };
        let _ = tokio::time::timeout(link.options.idle_max, ended).await;
        self.keeper.end_picture();
        link.hub.stop().await;
        let _ = link.client.flush().await;
    }
}

impl std::fmt::Debug for JetStreamBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamBus")
            .field("address", &self.keeper.link.address)
            .finish_non_exhaustive()
    }
}

/// Ends the tasks with the last user of them.
pub(super) struct Keeper {
    pub(super) link: Arc<Link>,
    /// The task that pictures the streams, from the first subscription on.
    picturing: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    fn picture(&self) {
        let mut picturing = lock(&self.picturing);
        if picturing.is_none() {
            let task = tokio::spawn(super::picture::run(Arc::clone(&self.link)));
            *picturing = Some(task.abort_handle());
        }
    }

    fn end_picture(&self) {
        if let Some(task) = lock(&self.picturing).take() {
            task.abort();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.link.stopping.send_replace(true);
        self.end_picture();
    }
}

/// What the tasks and their users share.
pub(super) struct Link {
    /// For people.
    pub(super) address: String,
    pub(super) name: String,
    pub(super) client: async_nats::Client,
    pub(super) context: jetstream::Context,
    pub(super) subjects: Subjects,
    pub(super) seal: Seal,
    pub(super) instance: Instance,
    pub(super) options: JetStreamOptions,
    /// Pictures what NATS carries.
    pub(super) hub: Hub,
    events: Arc<Connection>,
    /// True once the picture has what the streams held when it began.
    pub(super) settled: watch::Sender<bool>,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) counters: Counters,
    /// The journals that this program owns.
    owned: Mutex<Vec<Owned>>,
}

struct Owned {
    server: ServerName,
    outgoing: Arc<Outgoing>,
    /// Whether its feed has ended.
    ended: watch::Receiver<bool>,
}

impl Link {
    /// Waits until NATS is connected.
    pub(super) async fn connected(&self) {
        let mut connected = self.events.connected.subscribe();
        let _ = connected.wait_for(|connected| *connected).await;
    }

    /// Whether NATS is connected, now and when it changes.
    pub(super) fn watch_connected(&self) -> watch::Receiver<bool> {
        self.events.connected.subscribe()
    }

    /// What NATS last complained of.
    fn trouble(&self) -> Option<String> {
        lock(&self.events.trouble).clone()
    }

    /// The longest payload that NATS takes.
    pub(super) fn payload_max(&self) -> usize {
        const LEAST: usize = 16 * 1024;
        self.client.max_payload().max(LEAST)
    }

    /// Makes this process the one that may claim a name, from its other parts. What is returned is
    /// to turn true once it no longer is.
    async fn own(
        &self,
        server: &ServerName,
        outgoing: &Arc<Outgoing>,
    ) -> Result<watch::Sender<bool>, BusError> {
        loop {
            let mut leaving = {
                let mut owned = lock(&self.owned);
                owned.retain(|owned| !*owned.ended.borrow());
                let Some(former) = owned.iter().find(|owned| owned.server == *server) else {
                    let (ended, watching) = watch::channel(false);
                    owned.push(Owned {
                        server: server.clone(),
                        outgoing: Arc::clone(outgoing),
                        ended: watching,
                    });
                    return Ok(ended);
                };
                if !former.outgoing.closed() {
                    self.counters.names_refused.add(1);
                    return Err(BusError::NameTaken {
                        server: server.clone(),
                        owner: "this process".to_owned(),
                    });
                }
                former.ended.clone()
            };
            // It was dropped, and is about to leave.
            let _ = leaving.wait_for(|ended| *ended).await;
        }
    }

    fn stopped(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// What the client of NATS says happened.
struct Connection {
    connected: watch::Sender<bool>,
    connections: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Connection {
    fn took(&self, event: &NatsEvent) {
        match event {
            NatsEvent::Connected => {
                tracing::debug!("nats connected");
                self.connections.fetch_add(1, Ordering::Relaxed);
                self.connected.send_replace(true);
            }
            NatsEvent::Disconnected | NatsEvent::Closed => {
                tracing::info!("nats connection down, connecting again");
                self.connected.send_replace(false);
            }
            NatsEvent::ServerError(_) | NatsEvent::ClientError(_) => {
                tracing::warn!(%event, "nats");
                *lock(&self.trouble) = Some(event.to_string());
            }
            _ => tracing::debug!(%event, "nats"),
        }
    }
}

/// How to connect, and to what.
async fn connecting(
    options: &JetStreamOptions,
    name: &str,
    events: Arc<Connection>,
) -> Result<(ConnectOptions, Vec<ServerAddr>), String> {
    let servers = options.addresses()?;
    let mut connecting = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .connection_timeout(options.idle_max)
        .ping_interval(options.idle_max)
        .request_timeout(Some(options.answer_max))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50 * (1 << attempts.min(5)) as u64)
        })
        .event_callback(move |event| {
            let events = Arc::clone(&events);
            async move { events.took(&event) }
        });
    let first = servers.first();
    match (
        first.and_then(ServerAddr::username),
        first.and_then(ServerAddr::password),
    ) {
        (Some(user), Some(password)) => {
            connecting = connecting.user_and_password(user.to_owned(), password.to_owned());
        }
        (Some(token), None) => connecting = connecting.token(token.to_owned()),
        (None, _) => {}
    }
    if let Some(seed) = &options.nkey {
        connecting = connecting.nkey(seed.clone());
    }
    if let Some(file) = &options.credentials {
        let credentials = connecting.credentials_file(file).await;
        connecting = credentials.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if let Some(file) = &options.ca {
        connecting = connecting.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &options.certificate {
        connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok((connecting, servers))
}

/// The servers as they may stand in logs.
fn without_secrets(servers: &[String]) -> String {
    let shown = servers.iter().map(|url| match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => url
            .rsplit_once('@')
            .map_or(url.as_str(), |(_, h)| h)
            .to_owned(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Bus for JetStreamBus {
    async fn join(&self, source: Arc<dyn Source>) -> Result<Box<dyn Publisher>, BusError> {
        let link = &self.keeper.link;
        if link.stopped() {
            return Err(BusError::Closed);
        }
        let server = source.server();
        let outgoing = Arc::new(Outgoing::default());
        let ended = link.own(&server, &outgoing).await?;
        // Leaves again if this future is dropped, or the name is taken.
        let publisher = JetStreamPublisher {
            keeper: Arc::clone(&self.keeper),
            server,
            outgoing: Arc::clone(&outgoing),
        };
        let (answer, answered) = oneshot::channel();
        let feed = Feed::new(Arc::clone(link), source, outgoing);
        tokio::spawn(async move {
            feed.run(answer).await;
            ended.send_replace(true);
        });
        answered.await.unwrap_or(Err(BusError::Closed))?;
        Ok(Box::new(publisher))
    }

    async fn subscribe(&self, request: Subscribe) -> Result<Subscription, BusError> {
        let link = &self.keeper.link;
        if link.stopped() {
            return Err(BusError::Closed);
        }
        self.keeper.picture();
        let begin = match request.start {
            Start::Oldest => Begin::Oldest,
            Start::Now => {
                let mut settled = link.settled.subscribe();
                let mut stopping = link.stopping.subscribe();
                tokio::select! {
                    _ = settled.wait_for(|settled| *settled) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return Err(BusError::Closed),
                }
                Begin::Now
            }
        };
        let (subscription, _): (_, Vec<Position>) = link.hub.inner().subscribe(request, begin)?;
        Ok(Subscription::new(Box::new(Following {
            _keeper: Arc::clone(&self.keeper),
            subscription,
        })))
    }

    fn tells(&self) -> Tells {
        Self::TELLS
    }

    async fn ask(&self, server: &ServerName, question: Bytes) -> Result<Found, BusError> {
        let link = &self.keeper.link;
        if link.stopped() {
            return Err(BusError::Closed);
        }
        let away = |reason: &str| BusError::Unreachable {
            address: link.address.clone(),
            reason: reason.to_owned(),
        };
        // A connection that was just lost, or is being made, is waited for.
        tokio::time::timeout(link.options.idle_max, link.connected())
            .await
            .map_err(|_| away("no connection now"))?;
        let find = Message::Find { id: 0, question };
        let unanswered = |reason: String| BusError::Unanswered {
            server: server.clone(),
            reason,
        };
        match link.ask(server, &find).await {
            Ok(Message::Answer { result, .. }) => result.map_err(|refusal| refusal.error(server)),
            Ok(_) => Err(unanswered("it answered something else".to_owned())),
            Err(AskError::Absent) => Err(BusError::Absent {
                server: server.clone(),
            }),
            Err(AskError::Failed(reason)) => Err(unanswered(reason)),
        }
    }
}

/// A subscription to the picture, which it keeps going.
struct Following {
    _keeper: Arc<Keeper>,
    subscription: crate::hub::HubSubscription,
}

#[async_trait]
impl Events for Following {
    async fn next(&mut self) -> Option<Event> {
        self.subscription.next().await
    }
}

/// A link that its own parts must not keep.
pub(super) type WeakLink = Weak<Link>;
