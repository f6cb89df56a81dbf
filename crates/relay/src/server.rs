//! Listening, and the life of a connection before its first request: counted, refused where
//! there are too many, told apart by protocol, ended gently at shutdown.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::head::{Request, Response};
use crate::limits::millis;
use crate::wire::{Sink, Source, linger};
use crate::{Limits, Refusal, http1_server};

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Requests of one HTTP/1 connection come one after the other.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// A request, or a connection, was refused before it became one.
    fn refused(&self, refusal: Refusal, peer: SocketAddr) {
        let _ = (refusal, peer);
    }
}

/// A listener at work. Dropping it closes everything at once; [`Server::stop`] is gentle.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

/// Tells a server's counts; cloning is cheap.
#[derive(Clone, Debug)]
pub struct ServerCounter(Arc<State>);

impl ServerCounter {
    /// Connections so far and now.
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        ServerCounts {
            connections: self.0.accepted.load(Ordering::Relaxed),
            open: self.0.open.load(Ordering::Relaxed),
        }
    }
}

/// Counters of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServerCounts {
    /// Connections accepted so far.
    pub connections: u64,
    /// Connections that are open.
    pub open: usize,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    accepted: AtomicU64,
    open: AtomicUsize,
    /// Connections being refused, which linger a moment.
    refusing: AtomicUsize,
    stopping: AtomicBool,
    stop: watch::Sender<bool>,
    closed: Notify,
    connections: Mutex<HashMap<u64, (Arc<Phase>, AbortHandle)>>,
}

/// Whether a connection may be cut: between requests, and only once.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    const IDLE: u8 = 0;
    const BUSY: u8 = 1;
    const CUT: u8 = 2;

    /// A request has begun; false if the connection was cut before.
    pub(crate) fn begin(&self) -> bool {
        let swap =
            self.0
                .compare_exchange(Self::IDLE, Self::BUSY, Ordering::AcqRel, Ordering::Acquire);
        swap != Err(Self::CUT)
    }

    pub(crate) fn end(&self) {
        self.0.store(Self::IDLE, Ordering::Release);
    }

    fn cut(&self) -> bool {
        self.0
            .compare_exchange(Self::IDLE, Self::CUT, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Server {
    /// Serves the listener's connections until it is stopped or dropped.
    ///
    /// # Errors
    /// Where the listener's own address cannot be told.
    pub fn start<H: Handler>(
        listener: TcpListener,
        handler: Arc<H>,
        limits: Limits,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            limits,
            accepted: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            closed: Notify::new(),
            connections: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, handler, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far and now.
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        self.counter().counts()
    }

    /// What tells the counts, without the server.
    #[must_use]
    pub fn counter(&self) -> ServerCounter {
        ServerCounter(Arc::clone(&self.state))
    }

    /// Stops listening, closes unused connections, lets requests in flight finish for at most
    /// `grace`, then closes all.
    pub async fn stop(self, grace: Duration) {
        self.accepting.abort();
        self.state.stopping.store(true, Ordering::Release);
        self.state.stop.send_replace(true);
        self.state.cut(|phase| phase.cut());
        let gone = async {
            loop {
                let closed = self.state.closed.notified();
                if self.state.open.load(Ordering::Acquire) == 0 {
                    break;
                }
                closed.await;
            }
        };
        let _ = tokio::time::timeout(grace, gone).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.stopping.store(true, Ordering::Release);
        self.state.cut(|_| true);
    }
}

impl State {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Becomes true at shutdown.
    pub(crate) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    fn cut(&self, which: impl Fn(&Phase) -> bool) {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (phase, abort) in connections.values() {
            if which(phase) {
                abort.abort();
            }
        }
    }
}

/// Counts a connection out, however its task ends.
struct Open {
    state: Arc<State>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.state.open.fetch_sub(1, Ordering::AcqRel);
        self.state.closed.notify_waiters();
    }
}

async fn accept<H: Handler>(listener: TcpListener, handler: Arc<H>, state: Arc<State>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a connection that died in the queue. The pause keeps the
                // first from burning the processor.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let id = state.accepted.fetch_add(1, Ordering::Relaxed);
        if state.open.load(Ordering::Acquire) >= state.limits.connections_max {
            let refusal = Refusal::new(503, "too many connections");
            handler.refused(refusal, peer);
            refuse(stream, refusal, &state);
            continue;
        }
        state.open.fetch_add(1, Ordering::AcqRel);
        let open = Open {
            state: Arc::clone(&state),
            id,
        };
        let phase = Arc::new(Phase::default());
        let (handler, shared) = (Arc::clone(&handler), Arc::clone(&phase));
        let mut connections = state
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let task = tokio::spawn(async move {
            let state = Arc::clone(&open.state);
            let (read, write) = stream.into_split();
            let sink = Sink::new(write, millis(state.limits.write_timeout_ms));
            http1_server::serve(Source::new(read), sink, handler, state, shared).await;
            drop(open);
        });
        connections.insert(id, (phase, task.abort_handle()));
    }
}

/// Answers a connection that is one too many. Where even these are many it is just closed.
fn refuse(stream: TcpStream, refusal: Refusal, state: &Arc<State>) {
    const REFUSING_MAX: usize = 256;
    if state.refusing.fetch_add(1, Ordering::AcqRel) >= REFUSING_MAX {
        state.refusing.fetch_sub(1, Ordering::AcqRel);
        return;
    }
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let (read, write) = stream.into_split();
        let mut sink = Sink::new(write, Duration::from_secs(1));
        let answer = http1_server::refusal_answer(refusal);
        if sink.write(answer).await.is_ok() {
            linger(Source::new(read), sink).await;
        }
        state.refusing.fetch_sub(1, Ordering::AcqRel);
    });
}
