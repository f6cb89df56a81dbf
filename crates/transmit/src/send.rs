//! Messages sent over UDP, to groups and single addresses, each several times.
//!
//! Nobody acknowledges: what is lost is made good by repeating. A message goes out at once and
//! then again after each spacing, its repeats between those of others, so that a burst of loss does
//! not take all of them. All of it keeps to a rate. What waits is bounded in bytes; a message too
//! many is refused and counted, and whoever waits for it still finds it at the gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::datagram::cut;
use crate::{DATAGRAM_MAX, DATAGRAM_MIN};

/// How far sending may run ahead of its rate, in seconds of it: wake-ups come late.
const AHEAD_S: f64 = 0.005;

/// Where and how messages are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SenderOptions {
    /// Groups and single addresses; none: nothing is sent.
    pub to: Vec<SocketAddr>,
    /// The address of the interface that groups are reached by; without one the system chooses.
    pub interface: Option<Ipv4Addr>,
    /// Routers that a message to a group may pass, plus one.
    pub hops: u32,
    /// Bytes of a datagram at most.
    pub datagram_bytes: usize,
    /// How often each message is sent again.
    pub repeats: u32,
    /// The time between, in milliseconds.
    pub spacing_ms: u64,
    /// Bytes a second to each address.
    pub bytes_per_s: u64,
    /// Bytes of messages that wait, or have repeats to come, at most.
    pub waiting_bytes_max: usize,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            interface: None,
            hops: 1,
            datagram_bytes: 1200,
            repeats: 3,
            spacing_ms: 20,
            bytes_per_s: 12_500_000,
            waiting_bytes_max: 16 << 20,
        }
    }
}

impl SenderOptions {
    /// Whether they can be kept to.
    ///
    /// # Errors
    /// Names the one that cannot, and what can.
    pub fn check(&self) -> Result<(), String> {
        if !(DATAGRAM_MIN..=DATAGRAM_MAX).contains(&self.datagram_bytes) {
            return Err(format!(
                "datagram_bytes = {}: it must be {DATAGRAM_MIN} to {DATAGRAM_MAX}",
                self.datagram_bytes
            ));
        }
        if self.bytes_per_s == 0 {
            return Err("bytes_per_s = 0: nothing could be sent".to_owned());
        }
        if let Some(to) = self.to.iter().find(|to| to.port() == 0) {
            return Err(format!("to: {to} has no port"));
        }
        Ok(())
    }
}

/// What a sender counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderCounts {
    /// Messages taken.
    pub messages: u64,
    /// Messages refused, because too much waited.
    pub refused: u64,
    /// Datagrams sent, repeats and all addresses counted.
    pub datagrams: u64,
    /// Datagrams that the system did not take.
    pub failed: u64,
}

/// Sends messages. Dropped, it sends no more.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    sending: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    options: SenderOptions,
    sender: u64,
    state: Mutex<State>,
    more: Notify,
    messages: AtomicU64,
    refused: AtomicU64,
    datagrams: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By when they are due, and by number.
    jobs: BTreeMap<(Instant, u64), Job>,
    numbered: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Job {
    message: Bytes,
    rounds_left: u32,
}

impl Sender {
    /// Opens sockets. `run`: drawn by chance for this run; receivers tell runs apart by it.
    ///
    /// # Errors
    /// When an address cannot be sent to from here.
    pub async fn start(options: SenderOptions, run: u64) -> io::Result<Self> {
        let sockets = Sockets::open(&options).await?;
        let shared = Arc::new(Shared {
            options,
            sender: run,
            state: Mutex::default(),
            more: Notify::new(),
            messages: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        Ok(Self {
            sending: tokio::spawn(send(Arc::clone(&shared), sockets)),
            shared,
        })
    }

    /// Takes a message to be sent; false if too much waits.
    pub fn send(&self, message: Bytes) -> bool {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.bytes + message.len() > shared.options.waiting_bytes_max {
            drop(state);
            shared.refused.fetch_add(1, Relaxed);
            tracing::warn!("broadcast not sent: too much waits; see transmitter.bytes_per_s");
            return false;
        }
        state.bytes += message.len();
        let key = (Instant::now(), state.numbered);
        state.numbered += 1;
        let rounds_left = shared.options.repeats.saturating_add(1);
        let job = Job {
            message,
            rounds_left,
        };
        state.jobs.insert(key, job);
        drop(state);
        shared.messages.fetch_add(1, Relaxed);
        shared.more.notify_one();
        true
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> SenderCounts {
        let shared = &self.shared;
        SenderCounts {
            messages: shared.messages.load(Relaxed),
            refused: shared.refused.load(Relaxed),
            datagrams: shared.datagrams.load(Relaxed),
            failed: shared.failed.load(Relaxed),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job and when it is due.
    fn next(&self) -> Option<(Instant, u64, Bytes)> {
        let state = self.lock();
        let (&(due, number), job) = state.jobs.first_key_value()?;
        Some((due, number, job.message.clone()))
    }

    /// A round of a job is done.
    fn done(&self, due: Instant, number: u64) {
        let mut state = self.lock();
        let Some(mut job) = state.jobs.remove(&(due, number)) else {
            return;
        };
        job.rounds_left -= 1;
        if job.rounds_left == 0 {
            state.bytes -= job.message.len();
            return;
        }
        let again = Instant::now() + Duration::from_millis(self.options.spacing_ms);
        state.jobs.insert((again, number), job);
    }
}

async fn send(shared: Arc<Shared>, sockets: Sockets) {
    let mut pace = Pace::new(shared.options.bytes_per_s);
    loop {
        let Some((due, number, message)) = shared.next() else {
            shared.more.notified().await;
            continue;
        };
        if due > Instant::now() {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = shared.more.notified() => {}
            }
            continue;
        }
        let size = shared.options.datagram_bytes;
        for datagram in cut(shared.sender, number, &message, size) {
            pace.wait(datagram.len()).await;
            for to in &shared.options.to {
                let sent = sockets.send(&datagram, *to).await;
                shared.datagrams.fetch_add(1, Relaxed);
                if let Err(error) = sent {
                    shared.failed.fetch_add(1, Relaxed);
                    tracing::debug!(%to, %error, "datagram not sent");
                }
            }
        }
        shared.done(due, number);
    }
}

/// Keeps to a rate.
struct Pace {
    bytes_per_s: f64,
    /// When the rate allows the next byte.
    free: Instant,
}

impl Pace {
    fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s: bytes_per_s as f64,
            free: Instant::now(),
        }
    }

    async fn wait(&mut self, bytes: usize) {
        let now = Instant::now();
        self.free = self.free.max(now);
        if self.free > now + Duration::from_secs_f64(AHEAD_S) {
            tokio::time::sleep_until(self.free).await;
        }
        self.free += Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
    }
}

/// One socket for each family of addresses.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    async fn open(options: &SenderOptions) -> io::Result<Self> {
        let any = |wanted: fn(&SocketAddr) -> bool| options.to.iter().any(wanted);
        let mut sockets = Self { v4: None, v6: None };
        if any(SocketAddr::is_ipv4) {
            let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0)).await?;
            socket.set_multicast_ttl_v4(options.hops)?;
            if let Some(interface) = &options.interface {
                SockRef::from(&socket).set_multicast_if_v4(interface)?;
            }
            sockets.v4 = Some(socket);
        }
        if any(SocketAddr::is_ipv6) {
            let socket = UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), 0)).await?;
            SockRef::from(&socket).set_multicast_hops_v6(options.hops)?;
            sockets.v6 = Some(socket);
        }
        Ok(sockets)
    }

    async fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        match socket {
            Some(socket) => socket.send_to(datagram, to).await,
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}
