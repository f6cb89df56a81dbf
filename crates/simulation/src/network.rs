//! The back-end network: connections that bring bytes in order, late, in pieces, or not at all.
//!
//! What TCP makes of loss and reordering is what its users see: bytes come late (a lost segment
//! comes with a retransmission, and holds up what is behind it), a connection breaks, or it is
//! silent because the other side is cut off or has vanished. Duplication appears where it does in
//! life: what was sent over a connection that broke is sent again over the next.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use selvedge_bus::LinkStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::random::Random;

/// Bytes under way on a connection, each way; a writer waits for room.
const WINDOW: usize = 64 << 10;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Microseconds from end to end.
    pub(crate) latency_us: u64,
    /// More of them, at most.
    pub(crate) jitter_us: u64,
    /// Lost segments, of a thousand.
    pub(crate) loss: u64,
}

/// All connections.
pub(crate) struct Network {
    weather: Weather,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pipes: Vec<Weak<Mutex<Pipe>>>,
    cut: BTreeSet<String>,
    connections: u64,
}

/// One direction of a connection.
struct Pipe {
    ends: [String; 2],
    queue: VecDeque<(Instant, Bytes)>,
    under_way: usize,
    last_at: Instant,
    random: Random,
    weather: Weather,
    /// The writer has ended it.
    ended: bool,
    /// Broken: both sides get an error.
    reset: bool,
    /// Nothing passes until the network heals.
    cut: bool,
    /// Nothing passes ever again: one side has vanished without a word.
    vanished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            weather,
            seed,
            state: Mutex::default(),
        }
    }

    pub(crate) fn weather(&self) -> Weather {
        self.weather
    }

    pub(crate) fn is_cut(&self, host: &str) -> bool {
        self.lock().cut.contains(host)
    }

    /// A connection: the ends of `from` and of `to`.
    pub(crate) fn connect(&self, from: &str, to: &str) -> (LinkStream, LinkStream) {
        let mut state = self.lock();
        state.connections += 1;
        let number = state.connections;
        let cut = state.cut.contains(from) || state.cut.contains(to);
        let mut pipe = |a: &str, b: &str| {
            let pipe = Arc::new(Mutex::new(Pipe {
                ends: [a.to_owned(), b.to_owned()],
                queue: VecDeque::new(),
                under_way: 0,
                last_at: Instant::now(),
                random: Random::new(self.seed, &format!("pipe {number} {a} {b}")),
                weather: self.weather,
                ended: false,
                reset: false,
                cut,
                vanished: false,
                reader: None,
                writer: None,
            }));
            state.pipes.push(Arc::downgrade(&pipe));
            pipe
        };
        let (there, back) = (pipe(from, to), pipe(to, from));
        let stream = |read: &Arc<Mutex<Pipe>>, write: &Arc<Mutex<Pipe>>| {
            let read = ReadEnd {
                pipe: read.clone(),
                sleep: None,
            };
            LinkStream::new(read, WriteEnd(write.clone()))
        };
        (stream(&back, &there), stream(&there, &back))
    }

    /// Cuts a host off: its connections stay and are silent.
    pub(crate) fn cut(&self, host: &str) {
        self.lock().cut.insert(host.to_owned());
        self.change(host, |pipe| pipe.cut = true);
    }

    /// Undoes [`Network::cut`].
    pub(crate) fn heal(&self, host: &str) {
        self.lock().cut.remove(host);
        let cut = self.lock().cut.clone();
        self.change(host, |pipe| {
            pipe.cut = pipe.ends.iter().any(|end| cut.contains(end));
        });
    }

    /// Breaks a host's connections.
    pub(crate) fn reset(&self, host: &str) {
        self.change(host, |pipe| pipe.reset = true);
    }

    /// The host's connections end without a word.
    pub(crate) fn vanish(&self, host: &str) {
        self.change(host, |pipe| pipe.vanished = true);
    }

    fn change(&self, host: &str, change: impl Fn(&mut Pipe)) {
        let mut state = self.lock();
        state.pipes.retain(|pipe| pipe.strong_count() > 0);
        let pipes: Vec<_> = state.pipes.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        for pipe in pipes {
            let mut pipe = lock(&pipe);
            if pipe.ends.iter().any(|end| end == host) {
                change(&mut pipe);
                pipe.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()] {
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// When what is written now comes, not before what was written earlier.
    fn arrival(&mut self) -> Instant {
        let weather = self.weather;
        let mut delay_us = weather.latency_us + self.random.below(weather.jitter_us + 1);
        let mut again_us = 20_000;
        while self.random.per_mille(weather.loss) {
            delay_us += again_us;
            again_us *= 2;
        }
        self.last_at = self
            .last_at
            .max(Instant::now() + Duration::from_micros(delay_us));
        self.last_at
    }
}

struct ReadEnd {
    pipe: Arc<Mutex<Pipe>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for ReadEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut pipe = lock(&this.pipe);
            pipe.reader = Some(cx.waker().clone());
            if pipe.vanished || pipe.cut {
                return Poll::Pending;
            }
            if pipe.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let Some((at, bytes)) = pipe.queue.front_mut() else {
                return match pipe.ended {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            };
            let at = *at;
            if at <= Instant::now() {
                let part = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes[..part]);
                bytes.advance(part);
                if bytes.is_empty() {
                    pipe.queue.pop_front();
                }
                pipe.under_way -= part;
                pipe.writer.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(()));
            }
            drop(pipe);
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            sleep.as_mut().reset(at);
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.reset = true;
        pipe.wake();
    }
}

struct WriteEnd(Arc<Mutex<Pipe>>);

impl AsyncWrite for WriteEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.0);
        if pipe.reset && !pipe.vanished && !pipe.cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut part = bytes.len().min(WINDOW - pipe.under_way);
        if part == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if pipe.random.per_mille(100) {
            part = 1 + pipe.random.index(part);
        }
        let at = pipe.arrival();
        pipe.queue
            .push_back((at, Bytes::copy_from_slice(&bytes[..part])));
        pipe.under_way += part;
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(part))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        pipe.ended = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.ended = true;
        pipe.wake();
    }
}
