//! The hub's door: accepts connections, bounds their number, lets the handshake decide.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::handshake;
use super::hub_link;
use crate::BusError;
use crate::hub::Inner;

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
    let door = Arc::new(Door {
        handshakes: Arc::new(Semaphore::new(options.handshakes_max)),
        links: Arc::new(Semaphore::new(options.links_max)),
        key,
    });
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
                links.spawn(link(Arc::clone(&inner), Arc::clone(&door), stream, peer));
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

async fn link(inner: Arc<Inner>, door: Arc<Door>, mut stream: TcpStream, peer: SocketAddr) {
    let refused = |reason: &dyn std::fmt::Display| {
        inner.counters.links_refused.add(1);
        tracing::warn!(%peer, %reason, "bus link refused");
    };
    let (Ok(handshaking), Ok(_link)) = (
        Arc::clone(&door.handshakes).try_acquire_owned(),
        Arc::clone(&door.links).try_acquire_owned(),
    ) else {
        return refused(&"too many links");
    };
    if let Err(error) = stream.set_nodelay(true) {
        return refused(&error);
    }
    let limit = inner.options.link.handshake_max;
    match handshake::accept(&mut stream, &door.key, limit).await {
        Ok(who) => {
            drop(handshaking);
            inner.counters.links.add(1);
            hub_link::serve(&inner, stream, peer, who).await;
            inner.counters.links.sub(1);
        }
        Err(error) => refused(&error),
    }
}
