//! The threshold link: notifications over a TCP connection of their own, to an encoder.
//!
//! The encoder listens, monitors connect. Both prove that they have the fleet's key: from it and
//! a nonce of each side a key for this connection is made, and every frame bears a code (keyed
//! BLAKE3) over its direction, its number and its body; so nothing can be forged, repeated, turned
//! around or left out. The link is not encrypted. Drawn in `docs/formats/threshold-link.md`:
//!
//! ```text
//! monitor → encoder   "SVTL" version 1, nonce (16)
//! encoder → monitor   nonce (16)
//! monitor → encoder   frame: the monitor's instance id     (and back: an empty frame)
//! monitor → encoder   frame: a notification as JSON
//! encoder → monitor   frame: its id, once it is taken
//! frame: length of the body (4, little-endian), code (16), body
//! ```
//!
//! A monitor whose acknowledgement does not come connects anew and repeats; so the receiver keeps
//! the ids that it has acted on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::outbox::Notification;

const MAGIC: [u8; 5] = *b"SVTL\x01";
const NONCE: usize = 16;
const CODE: usize = 16;
/// Bytes of the longest body.
pub const BODY_MAX: usize = 64 << 10;
/// How long connecting and proving may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How long the rest of a frame may take once its first byte has come.
const FRAME_WITHIN: Duration = Duration::from_secs(5);
/// Monitors connected at once.
const CONNECTIONS_MAX: usize = 64;

/// Why a link ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The connection failed.
    #[error("threshold link: {0}")]
    Io(#[from] io::Error),
    /// Not a link, or another version of it.
    #[error("threshold link: the other side speaks another protocol")]
    Protocol,
    /// A code that does not hold: another key, or bytes that were changed.
    #[error("threshold link: wrong key; give both sides the same key file")]
    Forged,
    /// Over [`BODY_MAX`].
    #[error("threshold link: frame of {0} bytes")]
    TooLong(usize),
    /// Too slow.
    #[error("threshold link: not in time")]
    Late,
    /// No random bytes.
    #[error("threshold link: no random bytes: {0}")]
    Random(String),
}

/// Which way a frame goes; part of its code.
#[derive(Clone, Copy)]
enum Side {
    Monitor = 0,
    Encoder = 1,
}

/// A proven connection.
struct Frames {
    stream: TcpStream,
    key: [u8; 32],
    ours: Side,
    theirs: Side,
    sent: u64,
    received: u64,
}

impl Frames {
    fn new(stream: TcpStream, secret: &[u8; 32], nonces: [[u8; NONCE]; 2], ours: Side) -> Self {
        let mut seed = Vec::with_capacity(2 * NONCE);
        seed.extend_from_slice(&nonces[0]);
        seed.extend_from_slice(&nonces[1]);
        Self {
            stream,
            key: *blake3::keyed_hash(secret, &seed).as_bytes(),
            ours,
            theirs: match ours {
                Side::Monitor => Side::Encoder,
                Side::Encoder => Side::Monitor,
            },
            sent: 0,
            received: 0,
        }
    }

    fn code(&self, side: Side, number: u64, body: &[u8]) -> [u8; CODE] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[side as u8]);
        hasher.update(&number.to_le_bytes());
        hasher.update(body);
        let mut code = [0; CODE];
        code.copy_from_slice(&hasher.finalize().as_bytes()[..CODE]);
        code
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), LinkError> {
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= BODY_MAX);
        let length = length.ok_or(LinkError::TooLong(body.len()))?;
        let mut frame = Vec::with_capacity(4 + CODE + body.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&self.code(self.ours, self.sent, body));
        frame.extend_from_slice(body);
        self.sent += 1;
        self.stream.write_all(&frame).await?;
        Ok(())
    }

    /// The next frame's body. Waits for its first byte for ever, for the rest not.
    async fn receive(&mut self) -> Result<Vec<u8>, LinkError> {
        let mut head = [0; 4 + CODE];
        self.stream.read_exact(&mut head[..1]).await?;
        tokio::time::timeout(FRAME_WITHIN, self.rest(head))
            .await
            .unwrap_or(Err(LinkError::Late))
    }

    async fn rest(&mut self, mut head: [u8; 4 + CODE]) -> Result<Vec<u8>, LinkError> {
        self.stream.read_exact(&mut head[1..]).await?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > BODY_MAX {
            return Err(LinkError::TooLong(length));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let code = self.code(self.theirs, self.received, &body);
        if !constant_time_eq::constant_time_eq_16(
            &code,
            head[4..].first_chunk().unwrap_or(&[0; CODE]),
        ) {
            return Err(LinkError::Forged);
        }
        self.received += 1;
        Ok(body)
    }
}

/// The monitor's side: connects when something is to be sent, and again after a failure.
pub(crate) struct LinkSender {
    address: String,
    instance: String,
    secret: [u8; 32],
    frames: Option<Frames>,
}

impl LinkSender {
    pub(crate) fn new(address: String, instance: String, secret: [u8; 32]) -> Self {
        Self {
            address,
            instance,
            secret,
            frames: None,
        }
    }

    /// Done once the other side has acknowledged. Dropped before that, the connection is not used
    /// again: what its next frame would be is not known.
    pub(crate) async fn send(&mut self, notification: &Notification) -> Result<(), String> {
        let frames = self.frames.take();
        let sent = self.try_send(frames, notification).await;
        match sent {
            Ok(frames) => {
                self.frames = Some(frames);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn try_send(
        &self,
        frames: Option<Frames>,
        notification: &Notification,
    ) -> Result<Frames, LinkError> {
        let mut frames = match frames {
            Some(frames) => frames,
            None => tokio::time::timeout(HANDSHAKE_WITHIN, self.connect())
                .await
                .unwrap_or(Err(LinkError::Late))?,
        };
        let body = serde_json::to_vec(notification).map_err(io::Error::other)?;
        frames.send(&body).await?;
        loop {
            // An acknowledgement of what was sent before is passed over.
            if frames.receive().await? == notification.id.as_bytes() {
                return Ok(frames);
            }
        }
    }

    async fn connect(&self) -> Result<Frames, LinkError> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let ours = nonce()?;
        let mut hello = MAGIC.to_vec();
        hello.extend_from_slice(&ours);
        stream.write_all(&hello).await?;
        let mut theirs = [0; NONCE];
        stream.read_exact(&mut theirs).await?;
        let mut frames = Frames::new(stream, &self.secret, [ours, theirs], Side::Monitor);
        frames.send(self.instance.as_bytes()).await?;
        frames.receive().await.map_err(|error| match error {
            // An encoder with another key hangs up without a word.
            LinkError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                LinkError::Forged
            }
            other => other,
        })?;
        Ok(frames)
    }
}

/// A notification that came over the link. Acknowledge it once it was acted on (or was acted on
/// before): until then it is repeated.
#[derive(Debug)]
pub struct Arrived {
    /// What was crossed.
    pub notification: Notification,
    acknowledge: oneshot::Sender<()>,
}

impl Arrived {
    /// It was taken.
    pub fn acknowledge(self) {
        // A sender that is gone repeats it.
        let _ = self.acknowledge.send(());
    }
}

/// The encoder's side: takes notifications from any number of monitors.
#[derive(Debug)]
pub struct LinkListener {
    address: SocketAddr,
    arrived: mpsc::Receiver<Arrived>,
    task: JoinHandle<()>,
}

impl LinkListener {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, secret: [u8; 32]) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, arrived) = mpsc::channel(64);
        let task = tokio::spawn(listen(listener, secret, sender));
        Ok(Self {
            address,
            arrived,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next notification. The same may come several times, under the same id.
    pub async fn next(&mut self) -> Option<Arrived> {
        self.arrived.recv().await
    }
}

impl Drop for LinkListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, secret: [u8; 32], sender: mpsc::Sender<Arrived>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "threshold link: cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let sender = sender.clone();
        connections.spawn(async move {
            let _permit = permit;
            match attend(stream, secret, sender).await {
                Ok(()) => {}
                Err(LinkError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => tracing::warn!(%peer, %error, "monitor hung up on"),
            }
        });
    }
}

async fn attend(
    stream: TcpStream,
    secret: [u8; 32],
    sender: mpsc::Sender<Arrived>,
) -> Result<(), LinkError> {
    let mut frames = tokio::time::timeout(HANDSHAKE_WITHIN, welcome(stream, secret))
        .await
        .unwrap_or(Err(LinkError::Late))?;
    loop {
        let body = frames.receive().await?;
        let notification: Notification =
            serde_json::from_slice(&body).map_err(|_| LinkError::Protocol)?;
        let id = notification.id.clone();
        let (acknowledge, acknowledged) = oneshot::channel();
        let arrived = Arrived {
            notification,
            acknowledge,
        };
        if sender.send(arrived).await.is_err() {
            return Ok(());
        }
        // One that is dropped unacknowledged was not taken: the monitor repeats it elsewhere in
        // time, over a fresh connection.
        if acknowledged.await.is_err() {
            return Ok(());
        }
        frames.send(id.as_bytes()).await?;
    }
}

async fn welcome(mut stream: TcpStream, secret: [u8; 32]) -> Result<Frames, LinkError> {
    stream.set_nodelay(true)?;
    let mut hello = [0; MAGIC.len() + NONCE];
    stream.read_exact(&mut hello).await?;
    let (magic, theirs) = hello.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(LinkError::Protocol);
    }
    let theirs = *theirs.first_chunk().ok_or(LinkError::Protocol)?;
    let ours = nonce()?;
    stream.write_all(&ours).await?;
    let mut frames = Frames::new(stream, &secret, [theirs, ours], Side::Encoder);
    frames.receive().await?;
    frames.send(b"").await?;
    Ok(frames)
}

fn nonce() -> Result<[u8; NONCE], LinkError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| LinkError::Random(error.to_string()))?;
    Ok(nonce)
}
