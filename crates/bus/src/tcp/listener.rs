//! The hub's door: accepts connections, bounds their number, lets the handshake decide.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::handshake;
use super::hub_link;
use super::stream::LinkStream;
use crate::hub::Inner;
use crate::{BusError, LinkOptions};

/// Listens on `address` until the hub is stopped.
pub(crate) async fn listen(
    inner: Arc<Inner>,
    address: SocketAddr,
    key: [u8; 32],
) -> Result<(SocketAddr, JoinHandle<()>), BusError> {
    let failed = |source| BusError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((local, tokio::spawn(accept(inner, listener, key))))
}

async fn accept(inner: Arc<Inner>, listener: TcpListener, key: [u8; 32]) {
    let options = &inner.options.link;
    let door = Arc::new(Door::new(options, key));
    let mut links = JoinSet::new();
    let mut stopping = inner.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = links.join_next() => continue,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let door = Arc::clone(&door);
                links.spawn(link_tcp(Arc::clone(&inner), door, stream, peer.to_string()));
            }
            Err(error) => {
                // Out of file descriptors, most often: give others time to end.
                tracing::warn!(%error, "bus hub cannot accept");
                tokio::time::sleep(options.heartbeat).await;
            }
        }
    }
    links.shutdown().await;
}

struct Door {
    handshakes: Arc<Semaphore>,
    links: Arc<Semaphore>,
    key: [u8; 32],
}

impl Door {
    fn new(options: &LinkOptions, key: [u8; 32]) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(options.handshakes_max)),
            links: Arc::new(Semaphore::new(options.links_max)),
            key,
        }
    }
}

/// Serves one connection that was accepted elsewhere, until it ends or the hub is stopped.
pub(crate) async fn serve(inner: Arc<Inner>, stream: LinkStream, peer: String, key: [u8; 32]) {
    let door = Arc::new(Door::new(&inner.options.link, key));
    let mut stopping = inner.stopping.subscribe();
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = link(Arc::clone(&inner), door, stream, peer) => {}
    }
}

async fn link_tcp(inner: Arc<Inner>, door: Arc<Door>, stream: TcpStream, peer: String) {
    match LinkStream::tcp(stream) {
        Ok(stream) => link(inner, door, stream, peer).await,
        Err(error) => {
            inner.counters.links_refused.add(1);
            tracing::warn!(peer, %error, "bus link refused");
        }
    }
}

async fn link(inner: Arc<Inner>, door: Arc<Door>, mut stream: LinkStream, peer: String) {
    let refused = |reason: &dyn std::fmt::Display| {
        inner.counters.links_refused.add(1);
        tracing::warn!(peer, %reason, "bus link refused");
    };
    let (Ok(handshaking), Ok(_link)) = (
        Arc::clone(&door.handshakes).try_acquire_owned(),
        Arc::clone(&door.links).try_acquire_owned(),
    ) else {
        return refused(&"too many links");
    };
    let limit = inner.options.link.handshake_max;
    match handshake::accept(&mut stream, &door.key, limit).await {
        Ok(who) => {
            drop(handshaking);
            inner.counters.links.add(1);
            hub_link::serve(&inner, stream, &peer, who).await;
            inner.counters.links.sub(1);
        }
        Err(error) => refused(&error),
    }
}
