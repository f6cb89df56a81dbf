//! The encoder's side of a link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::frames::{greet, welcome};
use super::{HANDSHAKE_WITHIN, LinkError};
use crate::outbox::Notification;

/// Monitors connected at once.
const CONNECTIONS_MAX: usize = 64;

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

    /// Ends it: when this returns, its address is free again.
    pub async fn stop(mut self) {
        self.task.abort();
        // It ends as aborted.
        let _ = (&mut self.task).await;
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
    stream.set_nodelay(true)?;
    attend_stream(stream, secret, sender).await
}

async fn attend_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    secret: [u8; 32],
    sender: mpsc::Sender<Arrived>,
) -> Result<(), LinkError> {
    let mut frames = tokio::time::timeout(HANDSHAKE_WITHIN, welcome(stream, &secret))
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

/// For the fuzz target: these bytes of a stranger bring nothing; behind a proof, as bytes and as a
/// frame's body, they bring at most a notification that reads the same again.
#[doc(hidden)]
pub fn fuzz_link(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        assert!(attended(bytes, None).await.is_none());
        assert!(attended(bytes, Some(false)).await.is_none());
        if let Some(notification) = attended(bytes, Some(true)).await {
            let again = serde_json::to_vec(&notification).expect("it is JSON");
            assert_eq!(
                serde_json::from_slice::<Notification>(&again).ok(),
                Some(notification)
            );
        }
    });
}

/// What the listener hands on of these bytes; after a proof where `framed` is given, in a frame
/// where it is true.
async fn attended(bytes: &[u8], framed: Option<bool>) -> Option<Notification> {
    const SECRET: [u8; 32] = [7; 32];
    let (mut ours, theirs) = tokio::io::duplex(256 << 10);
    let (sender, mut arrived) = mpsc::channel(1);
    let attending = attend_stream(theirs, SECRET, sender);
    let speaking = async {
        match framed {
            None => ours.write_all(bytes).await.ok()?,
            Some(framed) => {
                let mut frames = greet(&mut ours, &SECRET, "fuzz").await.ok()?;
                if framed {
                    frames.send(bytes).await.ok()?;
                } else {
                    ours.write_all(bytes).await.ok()?;
                }
            }
        }
        drop(ours);
        arrived
            .recv()
            .await
            .map(|arrived: Arrived| arrived.notification)
    };
    tokio::join!(attending, speaking).1
}
