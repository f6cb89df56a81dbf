//! The connections to one upstream: made, kept while they are unused, taken again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

use crate::answer::{Answer, Pump, closed, pump};
use crate::body::Body;
use crate::client::SendError;
use crate::head::{RequestHead, Response};
use crate::limits::{ClientLimits, millis};
use crate::wire::{Sink, Source};

#[derive(Debug)]
pub(crate) struct Pool {
    /// `host:port`, resolved at each connect: addresses behind names change.
    pub(crate) address: String,
    pub(crate) limits: ClientLimits,
    idle: Mutex<Vec<Idle>>,
    pub(crate) connects: AtomicUsize,
    /// A task closes what was unused for too long.
    reaped: AtomicBool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
pub(crate) struct Connection {
    source: Source,
    sink: Sink,
}

/// What brings a connection back to its pool once an answer's body was read.
#[derive(Debug)]
pub(crate) struct Checkin {
    pub(crate) pool: Arc<Pool>,
    pub(crate) sink: Sink,
}

impl Checkin {
    pub(crate) fn give(self, source: Source) {
        self.pool.give(Connection {
            source,
            sink: self.sink,
        });
    }
}

/// Bodies up to this size are copied behind their head.
const SMALL: usize = 8 * 1024;
/// A connection in use so short a time ago is not closed for being unused.
const YOUNG: Duration = Duration::from_secs(1);

impl Pool {
    pub(crate) fn new(address: String, limits: ClientLimits) -> Self {
        Self {
            address,
            limits,
            idle: Mutex::default(),
            connects: AtomicUsize::new(0),
            reaped: AtomicBool::new(false),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if one is fit for use.
    pub(crate) fn take(&self, any_age: bool) -> Option<Connection> {
        let age_max = if any_age {
            millis(self.limits.idle_timeout_ms)
        } else {
            millis(self.limits.idle_timeout_ms).min(YOUNG)
        };
        let mut idle = self.idle();
        while let Some(mut last) = idle.pop() {
            if last.since.elapsed() > age_max {
                // The others are older still.
                if any_age {
                    idle.clear();
                } else {
                    idle.push(last);
                }
                return None;
            }
            if last.connection.source.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Closes the connections that are not in use.
    pub(crate) fn close_idle(&self) {
        self.idle().clear();
    }

    fn give(&self, mut connection: Connection) {
        // Bytes behind the answer belong to nothing that we asked.
        if !connection.source.buffer.is_empty() {
            return;
        }
        connection.source.rest();
        let since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < self.limits.idle_max {
            idle.push(Idle { connection, since });
        }
    }

    /// Closes connections that were unused for too long, and those that the other side closed.
    fn reap(&self) {
        let age_max = millis(self.limits.idle_timeout_ms);
        self.idle()
            .retain_mut(|i| i.since.elapsed() <= age_max && i.connection.source.is_quiet());
    }

    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Connection, SendError> {
        let failed = |kind| SendError::Connect {
            address: self.address.clone(),
            kind,
        };
        let limit = millis(self.limits.connect_timeout_ms);
        let stream = tokio::time::timeout(limit, TcpStream::connect(&self.address))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut))?
            .map_err(|error| failed(error.kind()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.kind()))?;
        self.connects.fetch_add(1, Relaxed);
        if !self.reaped.swap(true, Relaxed) {
            tokio::spawn(reap(Arc::downgrade(self)));
        }
        let (read, write) = stream.into_split();
        Ok(Connection {
            source: Source::new(read),
            sink: Sink::new(write, millis(self.limits.body_timeout_ms)),
        })
    }

    pub(crate) async fn exchange(
        self: &Arc<Self>,
        connection: Connection,
        head: &RequestHead,
        body: &mut Body,
    ) -> Result<Response, SendError> {
        let Connection {
            mut source,
            mut sink,
        } = connection;
        let mut out = BytesMut::new();
        let length = body.length();
        head.write(length, &mut out);
        sink.wrote = false;

        let mut answer = Answer::new(head, self);
        let (sink, pumping) = if let Some(whole) = body.whole() {
            let written = if whole.len() <= SMALL {
                out.extend_from_slice(&whole);
                sink.write(out).await
            } else {
                sink.write(out.chain(whole)).await
            };
            // A server that refuses early may have answered before it closed: look.
            let failed = written.err();
            if let Err(error) = answer.wait(&mut source).await {
                return Err(match (error, failed) {
                    (SendError::Closed { .. }, Some(failed)) => closed(&failed, sink.wrote),
                    (error, _) => error,
                });
            }
            body.finish_whole();
            (Some(sink), None)
        } else {
            let mut pump: Pump = Box::pin(pump(out, body.take(), length, sink));
            match answer.wait_pumping(&mut source, &mut pump).await? {
                Some(sink) => (Some(sink), None),
                None => (None, Some(pump)),
            }
        };
        if let Some(pump) = pumping {
            // The answer came before the request had ended: the rest goes on beside it. This
            // connection is not used again. Its end waits for the answer's: servers give up an
            // answer whose client seems to have gone (hyper does).
            tokio::spawn(async move {
                if let (Ok(()), sink) = pump.await {
                    sink.into_half().forget();
                }
            });
        }
        answer.response(source, sink, self)
    }
}

/// Reaps a pool as long as it lives, from its first connection on.
async fn reap(pool: Weak<Pool>) {
    loop {
        let Some(pause) = pool.upgrade().map(|pool| pool.limits.idle_timeout_ms) else {
            return;
        };
        tokio::time::sleep(millis(pause.max(100))).await;
        if let Some(pool) = pool.upgrade() {
            pool.reap();
        }
    }
}
