//! The loop: messages in, answers out, over UDP and TCP, until it is told to stop.

mod batch;
mod tcp;
mod udp;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinHandle as Task;

use crate::authority::Authority;
use crate::respond::Now;

pub use tcp::TcpOptions;

/// Bytes of queries that the system may hold for a socket.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How often a thread looks whether it should stop, when nothing comes.
const STOP_LATENCY: Duration = Duration::from_millis(100);

/// How often a port is tried that is free for UDP and TCP alike, where any will do.
const PORTS_TRIED: usize = 32;

/// Where and with how much a name server serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// The addresses, for UDP and TCP alike.
    pub listen: Vec<SocketAddr>,
    /// Threads for each address's UDP.
    pub threads: usize,
    /// The bounds of TCP.
    pub tcp: TcpOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5300))],
            threads: 1,
            tcp: TcpOptions::default(),
        }
    }
}

/// A name server that serves.
#[derive(Debug)]
pub struct Server {
    authority: Arc<Authority>,
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<Task<()>>,
}

impl Server {
    /// Listens on all addresses, and serves from then on. Within a tokio runtime.
    ///
    /// # Errors
    /// That of the system, with the address that cannot be had.
    pub fn start(options: &ServerOptions, authority: Arc<Authority>) -> io::Result<Self> {
        let mut server = Self {
            authority,
            sockets: Vec::new(),
            stopping: Arc::default(),
            threads: Vec::new(),
            listeners: Vec::new(),
        };
        let places = tcp::Places::new(options.tcp);
        for listen in &options.listen {
            let (udp, tcp) = both(*listen, options.threads.max(1)).map_err(|error| {
                let sentence = format!("cannot listen on {listen} for DNS: {error}");
                io::Error::new(error.kind(), sentence)
            })?;
            let address = tcp.local_addr()?;
            for (number, socket) in udp.into_iter().enumerate() {
                let socket = Arc::new(socket);
                if number == 0 {
                    server.sockets.push((address, socket.clone()));
                }
                let (authority, stopping) = (server.authority.clone(), server.stopping.clone());
                let thread = std::thread::Builder::new().name("dns".to_owned());
                let seed = authority.seed() ^ number as u64;
                let run = move || udp::run(&socket, address, authority, &stopping, seed);
                server.threads.push(thread.spawn(run)?);
            }
            tcp.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(tcp)?;
            let listening = tcp::run(listener, server.authority.clone(), places.clone());
            server.listeners.push(tokio::spawn(listening));
        }
        Ok(server)
    }

    /// Where it listens, and the UDP sockets there: raced answers leave from them.
    #[must_use]
    pub fn sockets(&self) -> &[(SocketAddr, Arc<UdpSocket>)] {
        &self.sockets
    }

    /// What it answers from.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Ends it; what is being answered is answered.
    pub async fn stop(self) {
        self.stopping.store(true, Relaxed);
        for listener in self.listeners {
            listener.abort();
            let _ = listener.await;
        }
        let join = || {
            for thread in self.threads {
                let _ = thread.join();
            }
        };
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

/// The UDP sockets of an address, and its TCP listener; of one port where any will do.
fn both(listen: SocketAddr, threads: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    let mut tried = 0;
    loop {
        let tcp = tcp_listener(listen)?;
        let address = tcp.local_addr()?;
        let udp: io::Result<Vec<UdpSocket>> = (0..threads)
            .map(|_| udp_socket(address, threads > 1))
            .collect();
        tried += 1;
        match udp {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && listen.port() == 0
                    && tried < PORTS_TRIED => {}
            udp => return Ok((udp?, tcp)),
        }
    }
}

fn tcp_listener(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&listen.into())?;
    socket.listen(256)?;
    Ok(socket.into())
}

fn udp_socket(listen: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    // As much as the system allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_read_timeout(Some(STOP_LATENCY))?;
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// Tells the time; what is steady counts from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        // One origin for all threads of the process.
        static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Self(*ORIGIN.get_or_init(Instant::now))
    }

    pub(crate) fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            unix_s: unix.map_or(0, |since| since.as_secs()),
            // Never 0, which stands for "never" in tables.
            steady_ms: self.0.elapsed().as_millis() as u64 + 10_000,
        }
    }
}

#[cfg(test)]
mod tests;
