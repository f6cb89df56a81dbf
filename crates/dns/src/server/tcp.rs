//! DNS over TCP (RFC 7766): messages with their lengths before them, one after the other, on
//! connections that are bounded in number and in the time they may idle.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Clock;
use super::batch::DATAGRAM;
use crate::authority::Authority;
use crate::counts::{Count, Counts};
use crate::respond::{Reply, Responder, Via};

/// The bounds of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpOptions {
    /// Connections at once.
    pub connections_max: usize,
    /// Connections of one address at once.
    pub connections_per_address_max: usize,
    /// How long a message may take to come, or an answer to be taken, in milliseconds.
    pub idle_ms: u64,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            connections_max: 512,
            connections_per_address_max: 32,
            idle_ms: 10_000,
        }
    }
}

/// The places for connections, shared by all listeners.
#[derive(Clone, Debug)]
pub(super) struct Places {
    options: TcpOptions,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place that a connection has, until it is dropped.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(options: TcpOptions) -> Self {
        Self {
            options,
            taken: Arc::default(),
        }
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let of_address = taken.get(&address).copied().unwrap_or(0);
        if all >= self.options.connections_max
            || of_address >= self.options.connections_per_address_max
        {
            return None;
        }
        taken.insert(address, of_address + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.address);
            }
        }
    }
}

/// Takes connections until it is dropped, and theirs with it.
pub(super) async fn run(listener: TcpListener, authority: Arc<Authority>, places: Places) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection for DNS");
                tokio::time::sleep(super::STOP_LATENCY).await;
                continue;
            }
        };
        let Some(place) = places.take(from.ip().to_canonical()) else {
            let mut counts = Counts::default();
            counts.add(Count::ConnectionsRefused);
            authority.count(&mut counts);
            continue;
        };
        let authority = authority.clone();
        connections.spawn(async move {
            let idle = Duration::from_millis(place.places.options.idle_ms);
            let mut responder = Responder::unlimited(authority);
            // Whoever breaks off, breaks off.
            let _ = serve(stream, from, &mut responder, idle).await;
            responder.hand_in();
            drop(place);
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    responder: &mut Responder,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let clock = Clock::new();
    let mut message = vec![0; DATAGRAM];
    let (mut answer, mut framed) = (Vec::new(), Vec::new());
    loop {
        let length = usize::from(timeout(idle, stream.read_u16()).await??);
        // No query is longer; what follows cannot be told apart from it.
        let Some(room) = message.get_mut(..length) else {
            responder.count(Count::Malformed);
            return Ok(());
        };
        timeout(idle, stream.read_exact(room)).await??;
        let now = clock.now();
        let random = now.steady_ms ^ u64::from(from.port()) << 32;
        let reply = responder.respond(room, from, Via::Tcp, now, random, &mut answer);
        responder.hand_in();
        if reply == Reply::Silent {
            return Ok(());
        }
        framed.clear();
        framed.extend((answer.len() as u16).to_be_bytes());
        framed.extend_from_slice(&answer);
        timeout(idle, stream.write_all(&framed)).await??;
    }
}
