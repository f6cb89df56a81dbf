//! Broadcasts for browsers, and for every client that speaks HTTP (A10): a stream of server-sent
//! events on a path of the gateway's own.
//!
//! *Down* (`GET`). Each client is told the content, and of all heads in a broadcast the one of its
//! own session, which the gateway knows by its token. What was told lately lies in a ring; a client
//! that comes back with `last-event-id` goes on there, and is told of a gap where the ring no
//! longer reaches back. Nobody is buffered for: a stream is a place in the ring, and one that falls
//! behind its end is closed, to come back.
//!
//! *Back* (`POST`). A page's script cannot touch the cookies. It posts the head that an event
//! brought, in `selvedge-session`; the answer sets a cookie in which it is united with what the
//! browser had. (A program needs no such step: its next request has token and head.)

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use selvedge_identity::SessionId;
use selvedge_relay::{Body, BodyError, Response, ResponseHead};
use selvedge_transmit::{Message, event};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

/// The stream of broadcasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BroadcastOptions {
    /// Where it is; empty: nowhere, and all paths are the servers'.
    pub path: String,
    /// Broadcasts that are kept for those who come back.
    pub kept_max: usize,
    /// Bytes of content and heads that are kept.
    pub kept_bytes_max: usize,
    /// How often a stream with nothing to tell shows that it lives, in milliseconds.
    pub alive_ms: u64,
    /// Streams at once; one more is answered 503.
    pub streams_max: usize,
}

impl Default for BroadcastOptions {
    fn default() -> Self {
        Self {
            path: "/selvedge/broadcast".to_owned(),
            kept_max: 256,
            kept_bytes_max: 8 << 20,
            alive_ms: 15_000,
            streams_max: 5_000,
        }
    }
}

/// Tells a gateway's clients what is broadcast. Cloning is cheap; it outlives the gateway.
#[derive(Clone, Debug)]
pub struct Broadcaster(Arc<Ring>);

impl Broadcaster {
    /// To be told to all, now.
    pub fn tell(&self, message: Message) {
        self.0.told.fetch_add(1, Relaxed);
        let cost = message.broadcast.content().len() + 80 * message.broadcast.addressed();
        let prepared = event::Prepared::new(message);
        self.0.push(Item::Told(Arc::new(prepared)), cost);
    }

    /// Broadcasts may have been missed before the next.
    pub fn gap(&self) {
        self.0.push(Item::Gap, 0);
    }
}

/// What was told lately, and the streams that tell it.
#[derive(Debug)]
pub(crate) struct Ring {
    options: BroadcastOptions,
    /// Tells ids of this gateway's run from those of another.
    run: u64,
    state: Mutex<State>,
    /// Changes whenever there is more to tell; true: nothing more comes.
    ended: watch::Sender<bool>,
    pub(crate) told: AtomicU64,
    pub(crate) streams: AtomicUsize,
    pub(crate) streams_slow: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Item, usize)>,
    /// The number of the first item.
    first: u64,
    cost: usize,
}

#[derive(Clone, Debug)]
enum Item {
    Told(Arc<event::Prepared>),
    Gap,
}

/// What a stream tells next.
enum Next {
    Piece(String),
    Wait,
    /// It fell behind.
    Behind,
}

impl Ring {
    /// `run`: drawn by chance.
    pub(crate) fn new(options: BroadcastOptions, run: u64) -> Self {
        Self {
            options,
            run,
            state: Mutex::default(),
            ended: watch::Sender::new(false),
            told: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
            streams_slow: AtomicU64::new(0),
        }
    }

    pub(crate) fn broadcaster(self: &Arc<Self>) -> Broadcaster {
        Broadcaster(Arc::clone(self))
    }

    /// Whether requests of this path are its own.
    pub(crate) fn serves(&self, path: &str) -> bool {
        !self.options.path.is_empty() && self.options.path == path
    }

    /// Ends all streams.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// A stream for a client of this session, from where `last_event_id` says.
    pub(crate) fn stream(
        self: &Arc<Self>,
        session: Option<SessionId>,
        last_event_id: Option<&str>,
    ) -> Response {
        let Some(open) = Open::new(self) else {
            let text = "all streams are taken; come back later\n";
            return Response::text(503, text);
        };
        let (sender, receiver) = mpsc::channel(1);
        let (place, missed) = self.place(last_event_id);
        let stream = Stream {
            open,
            session,
            place,
            changes: self.ended.subscribe(),
        };
        // The head goes out with the first piece, so that a client knows that it is heard.
        let first = match missed {
            true => event::gap(),
            false => ":\n\n".to_owned(),
        };
        tokio::spawn(stream.run(first, sender));
        let mut head = ResponseHead::new(200);
        head.fields.append("content-type", "text/event-stream");
        head.fields.append("cache-control", "no-store");
        Response {
            head,
            body: Body::channel(receiver),
            tunnel: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item, cost: usize) {
        let mut state = self.lock();
        state.items.push_back((item, cost));
        state.cost += cost;
        let BroadcastOptions {
            kept_max,
            kept_bytes_max,
            ..
        } = self.options;
        // The newest stays, whatever its size: it has yet to be told.
        while state.items.len() > 1 && (state.items.len() > kept_max || state.cost > kept_bytes_max)
        {
            if let Some((_, cost)) = state.items.pop_front() {
                state.cost -= cost;
                state.first += 1;
            }
        }
        drop(state);
        self.ended.send_modify(|_| {});
    }

    /// Where a stream begins, and whether something before that was missed.
    fn place(&self, last_event_id: Option<&str>) -> (u64, bool) {
        let state = self.lock();
        let end = state.first + state.items.len() as u64;
        let Some(id) = last_event_id.filter(|id| !id.is_empty()) else {
            return (end, false);
        };
        let number = id.split_once('-').and_then(|(run, number)| {
            let run = u64::from_str_radix(run, 16).ok()?;
            let number: u64 = number.parse().ok()?;
            (run == self.run && number < end).then_some(number)
        });
        match number {
            Some(number) if number + 1 >= state.first => (number + 1, false),
            // Of another gateway, or of long ago: all there is, and clients know by its name what
            // they have had.
            _ => (state.first, true),
        }
    }

    fn next(&self, place: &mut u64, session: Option<SessionId>) -> Next {
        let state = self.lock();
        let Some(index) = place.checked_sub(state.first) else {
            return Next::Behind;
        };
        let Some((item, _)) = state.items.get(index as usize) else {
            return Next::Wait;
        };
        let item = item.clone();
        drop(state);
        let id = format!("{:016x}-{place}", self.run);
        *place += 1;
        Next::Piece(match item {
            Item::Told(prepared) => prepared.event(&id, session),
            Item::Gap => event::gap(),
        })
    }
}

/// One stream, counted.
struct Open(Arc<Ring>);

impl Open {
    fn new(ring: &Arc<Ring>) -> Option<Self> {
        let before = ring.streams.fetch_add(1, Relaxed);
        // Dropped again where it is one too many.
        let open = Self(Arc::clone(ring));
        (before < ring.options.streams_max).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

struct Stream {
    open: Open,
    session: Option<SessionId>,
    /// The number of the next item.
    place: u64,
    changes: watch::Receiver<bool>,
}

impl Stream {
    async fn run(mut self, first: String, sender: mpsc::Sender<Result<Bytes, BodyError>>) {
        let alive = Duration::from_millis(self.open.0.options.alive_ms.max(1));
        let mut piece = first;
        loop {
            if sender.send(Ok(piece.into())).await.is_err() {
                return;
            }
            piece = loop {
                if *self.changes.borrow_and_update() {
                    return;
                }
                match self.open.0.next(&mut self.place, self.session) {
                    Next::Piece(piece) => break piece,
                    Next::Behind => {
                        self.open.0.streams_slow.fetch_add(1, Relaxed);
                        return;
                    }
                    Next::Wait => {}
                }
                tokio::select! {
                    changed = self.changes.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                    () = tokio::time::sleep(alive) => break ":\n\n".to_owned(),
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_identity::{Epoch, KeyRing, Position, ServerName};
    use selvedge_transmit::Broadcast;

    use super::*;

    fn message(number: u64, length: usize) -> Message {
        let content = vec![b'x'; length].into();
        let keys = KeyRing::single([7; 32]);
        Message {
            position: Position {
                server: ServerName::new("content-1").unwrap(),
                epoch: Epoch {
                    counter: 1,
                    random: 1,
                },
                sequence: number,
            },
            broadcast: Broadcast::new([0; 16], "text/plain", content, &[], &keys).unwrap(),
        }
    }

    fn ring(kept_max: usize, kept_bytes_max: usize) -> Arc<Ring> {
        let options = BroadcastOptions {
            kept_max,
            kept_bytes_max,
            streams_max: 2,
            ..BroadcastOptions::default()
        };
        Arc::new(Ring::new(options, 0xabc))
    }

    async fn pieces(response: &mut Response, count: usize) -> Vec<String> {
        let mut pieces = Vec::new();
        while pieces.len() < count {
            let piece = response.body.chunk().await.expect("goes on").unwrap();
            pieces.push(String::from_utf8(piece.to_vec()).unwrap());
        }
        pieces
    }

    #[tokio::test]
    async fn a_stream_tells_what_comes_from_now_on_and_goes_on_where_it_was() {
        let ring = ring(10, 1 << 20);
        let teller = ring.broadcaster();
        teller.tell(message(1, 1));
        let mut stream = ring.stream(None, None);
        teller.tell(message(2, 1));
        teller.tell(message(3, 1));
        let told = pieces(&mut stream, 3).await;
        assert_eq!(told[0], ":\n\n");
        assert!(told[1].starts_with("id: 0000000000000abc-1\nevent: broadcast\n"));
        assert!(
            told[2].contains("content-1/1-0000000000000001/3"),
            "{}",
            told[2]
        );
        drop(stream);
        teller.tell(message(4, 1));
        let mut stream = ring.stream(None, Some("0000000000000abc-1"));
        let told = pieces(&mut stream, 3).await;
        assert!(
            told[1].contains("/3\"") && told[2].contains("/4\""),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn who_was_away_for_too_long_or_at_another_gateway_is_told_of_a_gap() {
        let ring = ring(2, 1 << 20);
        for number in 0..5 {
            ring.broadcaster().tell(message(number, 1));
        }
        for id in [
            "0000000000000abc-0",
            "0000000000000abd-4",
            "nonsense",
            "abc-9",
        ] {
            let mut stream = ring.stream(None, Some(id));
            let told = pieces(&mut stream, 3).await;
            assert_eq!(told[0], "event: gap\ndata: {}\n\n", "{id}");
            assert!(
                told[1].contains("/3\"") && told[2].contains("/4\""),
                "{told:?}"
            );
        }
        let mut stream = ring.stream(None, Some("0000000000000abc-2"));
        let told = pieces(&mut stream, 2).await;
        assert!(told[0] == ":\n\n" && told[1].contains("/3\""), "{told:?}");
        ring.broadcaster().gap();
        assert!(pieces(&mut stream, 2).await[1].starts_with("event: gap"));
    }

    #[tokio::test]
    async fn a_stream_that_falls_behind_is_closed_and_buffers_nothing() {
        let ring = ring(100, 10_000);
        let mut slow = ring.stream(None, None);
        assert_eq!(pieces(&mut slow, 1).await, [":\n\n"]);
        for number in 0..100 {
            ring.broadcaster().tell(message(number, 1000));
            assert!(ring.lock().cost <= 10_000);
        }
        // At most what had been taken out of the ring for it before it fell behind.
        let mut rest = 0;
        while slow.body.chunk().await.is_some() {
            rest += 1;
        }
        assert!(rest < 10, "{rest}");
        assert_eq!(ring.streams_slow.load(Relaxed), 1);
        // One that is larger than all that may be kept is told all the same.
        let mut other = ring.stream(None, None);
        ring.broadcaster().tell(message(100, 20_000));
        assert!(pieces(&mut other, 2).await[1].len() > 20_000);
    }

    #[tokio::test]
    async fn streams_are_counted_bounded_and_ended_together() {
        let ring = ring(10, 1 << 20);
        let mut two = [ring.stream(None, None), ring.stream(None, None)];
        assert_eq!(ring.stream(None, None).head.status, 503);
        assert_eq!(ring.streams.load(Relaxed), 2);
        ring.end();
        for stream in &mut two {
            while stream.body.chunk().await.is_some() {}
        }
        while ring.streams.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ring.stream(None, None).head.status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_nothing_to_tell_shows_that_it_lives() {
        let ring = ring(10, 1 << 20);
        let mut stream = ring.stream(None, None);
        assert_eq!(pieces(&mut stream, 3).await, [":\n\n", ":\n\n", ":\n\n"]);
    }
}
