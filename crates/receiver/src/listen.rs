//! Broadcasts taken, and the session gone on with (A10).
//!
//! A terminal listens to a multicast group, or to the gateway's stream. Where a broadcast brings a
//! head for its session, it keeps that beside its tokens, and its next request carries both: so what
//! the viewer does next follows the broadcast, whichever server takes it.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, Url};
use selvedge_identity::{AddressedHead, Position, SessionId};
use selvedge_transmit::event::{self, EventReader, Told};
use selvedge_transmit::{AssemblerOptions, Listener, Message};
use tokio::sync::mpsc;

use crate::browse::{SESSION, Viewer, base};
use crate::{BrowseError, BrowseOptions, Summary, watch};

/// The time between two tries to reach the gateway's stream.
const AGAIN: Duration = Duration::from_secs(1);

/// A stream shows that it lives; one that is silent for so long does not.
const SILENT_MAX: Duration = Duration::from_secs(90);

/// Broadcasts that are remembered, so that each is shown once.
const REMEMBERED_MAX: usize = 4096;

/// What a receiver listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gateway's stream, at this path.
    Stream(String),
    /// A multicast group, or an address of its own.
    Udp {
        /// Which.
        address: SocketAddr,
        /// The address of the interface by which the group is joined.
        interface: Option<Ipv4Addr>,
    },
    /// The channel's video.
    Video(watch::Stream),
}

/// What a listening receiver does.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The gateway, the state file, and what to do after each broadcast that addresses the session:
    /// one round of the walk.
    pub browse: BrowseOptions,
    /// What it listens to.
    pub source: Source,
    /// It ends after so many broadcasts; none: it goes on.
    pub count: Option<u64>,
}

/// A broadcast, however it came.
pub(crate) struct Came {
    pub(crate) name: Position,
    pub(crate) content_type: String,
    pub(crate) content: Bytes,
    pub(crate) head: Option<String>,
}

impl Came {
    /// A message for everybody, as it addresses this viewer.
    fn of(message: Message, viewer: &Viewer<'_>) -> Self {
        let session = viewer.session().and_then(|id| id.parse().ok());
        let head = session.and_then(|id: SessionId| message.broadcast.head_for(id));
        Self {
            head: head.map(AddressedHead::text),
            content_type: message.broadcast.content_type().to_owned(),
            content: message.broadcast.content().clone(),
            name: message.position,
        }
    }
}

/// A broadcast of a video, and whether no part of it is to come any more.
type Found = Result<(Message, bool), BrowseError>;

/// Looks for broadcasts in a video, until it ends or nobody listens any more.
async fn look(stream: watch::Stream, sender: mpsc::Sender<Found>) {
    let mut broadcasts = watch::Broadcasts::default();
    let ended = watch::read_stream(&stream, |bytes| {
        for found in broadcasts.find(bytes)? {
            // Of more than fit the viewer misses the newest, as of a video that he does not watch.
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(Ok(found)) {
                return Ok(false);
            }
        }
        Ok(true)
    });
    if let Err(error) = ended.await {
        // Nobody need listen any more.
        _ = sender.send(Err(error)).await;
    }
}

/// Listens, shows what is broadcast, and goes on with the session. A viewer without a session
/// opens one first, by one round of the walk.
///
/// # Errors
/// When the gateway's URL or the state file is not usable, the address cannot be listened on, or
/// `out` is closed. Requests that fail are counted, and a stream that breaks off is opened again.
pub async fn listen(
    options: ListenOptions,
    out: &mut (dyn Write + Send),
) -> Result<Summary, BrowseError> {
    let ListenOptions {
        browse,
        source,
        count,
    } = options;
    let gateway = browse.gateway.clone();
    let viewer = Viewer::start(browse, out)?;
    viewer.open().await?;
    viewer.finish_round().await?;
    let mut ear = Ear::open(source, &viewer, &gateway).await?;
    let mut shown = Shown::default();
    while count.is_none_or(|count| viewer.summary().broadcasts < count) {
        let came = ear.next(&viewer).await?;
        if !shown.is_new(&came.name, came.head.is_some()) {
            continue;
        }
        let addressed = viewer.take_broadcast(&came, ear.missed())?;
        if addressed {
            viewer.begin_round();
            viewer.finish_round().await?;
        }
    }
    viewer.end()
}

/// Names of broadcasts that were shown, and whether they brought the viewer a head.
#[derive(Default)]
struct Shown {
    names: HashMap<Position, bool>,
    order: VecDeque<Position>,
}

impl Shown {
    /// One that was shown without a head is new with one: of a video, the part that brings it may
    /// have been lost the first time.
    fn is_new(&mut self, name: &Position, addressed: bool) -> bool {
        if let Some(had) = self.names.get_mut(name) {
            return addressed && !std::mem::replace(had, true);
        }
        self.names.insert(name.clone(), addressed);
        self.order.push_back(name.clone());
        if self.order.len() > REMEMBERED_MAX
            && let Some(forgotten) = self.order.pop_front()
        {
            self.names.remove(&forgotten);
        }
        true
    }
}

/// What it hears with.
enum Ear {
    Udp(Box<Listener>),
    Stream(Box<Stream>),
    Video(mpsc::Receiver<Found>),
}

impl Ear {
    async fn open(source: Source, viewer: &Viewer<'_>, gateway: &str) -> Result<Self, BrowseError> {
        match source {
            Source::Udp { address, interface } => {
                let failed = |source| BrowseError::Listen { address, source };
                let options = AssemblerOptions::default();
                let listener = Listener::start(address, interface, options).map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                viewer.say_listening(&address.to_string())?;
                Ok(Self::Udp(Box::new(listener)))
            }
            Source::Video(stream) => {
                viewer.say_listening("the video")?;
                let (sender, receiver) = mpsc::channel(16);
                tokio::spawn(look(stream, sender));
                Ok(Self::Video(receiver))
            }
            Source::Stream(path) => Ok(Self::Stream(Box::new(Stream::new(gateway, &path)?))),
        }
    }

    async fn next(&mut self, viewer: &Viewer<'_>) -> Result<Came, BrowseError> {
        match self {
            Self::Udp(listener) => {
                let message = listener.next().await;
                let message = message.map_err(|source| BrowseError::Heard { source })?;
                Ok(Came::of(message, viewer))
            }
            Self::Video(messages) => loop {
                let Some(found) = messages.recv().await else {
                    return Err(BrowseError::Watch("the video: it ended".to_owned()));
                };
                let (message, last) = found?;
                let came = Came::of(message, viewer);
                // What a part does not bring this viewer, a later one may.
                if last || came.head.is_some() {
                    return Ok(came);
                }
            },
            Self::Stream(stream) => stream.next(viewer).await,
        }
    }

    /// Over UDP, messages that were sent and never became whole; of the stream, its gaps.
    fn missed(&self) -> u64 {
        match self {
            Self::Udp(listener) => listener.heard().missed,
            Self::Stream(stream) => stream.gaps,
            // What a video loses, nobody counts.
            Self::Video(_) => 0,
        }
    }
}

/// The gateway's stream, opened again wherever it breaks off.
struct Stream {
    client: reqwest::Client,
    url: Url,
    open: Option<(Response, EventReader)>,
    last_id: String,
    ready: VecDeque<Came>,
    gaps: u64,
}

impl Stream {
    fn new(gateway: &str, path: &str) -> Result<Self, BrowseError> {
        let mut url = base(gateway)?;
        url.set_path(path);
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .read_timeout(SILENT_MAX)
            .build()
            .map_err(BrowseError::Client)?;
        Ok(Self {
            client,
            url,
            open: None,
            last_id: String::new(),
            ready: VecDeque::new(),
            gaps: 0,
        })
    }

    async fn next(&mut self, viewer: &Viewer<'_>) -> Result<Came, BrowseError> {
        loop {
            if let Some(came) = self.ready.pop_front() {
                return Ok(came);
            }
            match self.hear(viewer).await? {
                Ok(()) => {}
                Err(why) => {
                    self.open = None;
                    viewer.say_broken(&why)?;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Hears a piece. The inner error is the stream's own, in a sentence.
    async fn hear(&mut self, viewer: &Viewer<'_>) -> Result<Result<(), String>, BrowseError> {
        let Some((response, reader)) = &mut self.open else {
            return self.connect(viewer).await;
        };
        let piece = match response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Err("the stream ended".to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let (ready, last_id, gaps) = (&mut self.ready, &mut self.last_id, &mut self.gaps);
        let pushed = reader.push(&piece, |event| {
            event.id.clone_into(last_id);
            match event.event.as_str() {
                event::BROADCAST => ready.extend(came(&event.data)),
                event::GAP => *gaps += 1,
                _ => {}
            }
        });
        Ok(pushed.map_err(|error| error.to_string()))
    }

    async fn connect(&mut self, viewer: &Viewer<'_>) -> Result<Result<(), String>, BrowseError> {
        let mut request = self.client.get(self.url.clone());
        for token in viewer.tokens() {
            request = request.header(SESSION, token);
        }
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if !response.status().is_success() {
            return Ok(Err(format!("{} answered {}", self.url, response.status())));
        }
        viewer.say_listening(self.url.as_str())?;
        self.open = Some((response, EventReader::default()));
        Ok(Ok(()))
    }
}

/// The broadcast that an event tells; none if it is not of our form.
fn came(data: &str) -> Option<Came> {
    let told: Told = serde_json::from_str(data).ok()?;
    Some(Came {
        content: told.bytes()?,
        name: told.broadcast,
        content_type: told.content_type,
        head: told.head,
    })
}
