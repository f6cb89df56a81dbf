//! The paths: packets held until they are due at the other end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tun_rs::SyncDevice;

use crate::host::Device;
use crate::plan::Plan;
use crate::tap::Tap;
use crate::{LabError, system};

/// From so long before a packet is due on, the thread that delivers spins.
const SPIN: Duration = Duration::from_micros(100);

/// Packets on their way at most; one more is lost, as in a full queue.
const PACKETS_MAX: usize = 65_536;

/// One direction of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// How long a packet takes.
    pub delay: Duration,
    /// Up to so much more, by chance.
    pub jitter: Duration,
    /// The share that is lost.
    pub loss: f64,
    /// The share that takes as long again, and is overtaken.
    pub reorder: f64,
}

impl Shape {
    /// Nothing but a delay.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }
}

/// How late packets were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Packets delivered.
    pub packets: usize,
    /// Half were at most so late.
    pub p50: Duration,
    /// Of a hundred, 99 were.
    pub p99: Duration,
}

/// A packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Who sent it.
    pub from: Arc<str>,
    /// When it left there, by the kernel.
    pub left: Instant,
    /// When it came.
    pub came: Instant,
    /// How late that was.
    pub late: Duration,
    /// Its bytes, from the IP header on.
    pub length: usize,
    /// Its source and destination, if it is a whole UDP datagram.
    pub ends: Option<(SocketAddrV4, SocketAddrV4)>,
}

struct Path {
    shape: Shape,
    random: u64,
    /// When the last packet that keeps its place is due.
    last: Option<Instant>,
}

/// A packet on its way; the first to come is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    left: Instant,
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

struct State {
    heap: BinaryHeap<Reverse<Packet>>,
    paths: HashMap<(usize, usize), Path>,
    number: u64,
    /// The last so many, in nanoseconds.
    late: Vec<u64>,
    /// The last so many, and where they went.
    delivered: VecDeque<(usize, Passage)>,
}

/// How many latenesses are kept.
const LATE_KEPT: usize = 100_000;

/// How many deliveries.
const DELIVERED_KEPT: usize = 100_000;

pub(crate) struct Star {
    devices: Vec<SyncDevice>,
    hosts: Vec<Arc<str>>,
    names: HashMap<String, usize>,
    routes: HashMap<Ipv4Addr, usize>,
    seed: u64,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl Star {
    pub(crate) fn start(plan: &Plan, devices: Vec<Device>) -> Result<Arc<Self>, LabError> {
        let mut names = HashMap::new();
        let mut routes = HashMap::new();
        for (at, host) in plan.hosts.iter().enumerate() {
            names.insert(host.name.clone(), at);
            for address in host.also.iter().chain([&host.address]) {
                routes.insert(*address, at);
            }
        }
        let (devices, taps): (Vec<_>, Vec<_>) = devices
            .into_iter()
            .map(|device| (device.tun, device.tap))
            .unzip();
        let star = Arc::new(Self {
            devices,
            hosts: plan
                .hosts
                .iter()
                .map(|host| host.name.as_str().into())
                .collect(),
            names,
            routes,
            seed: plan.seed,
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        for path in &plan.paths {
            let (there, back) = path.shapes();
            star.shape(&path.from, &path.to, there);
            star.shape(&path.to, &path.from, back);
        }
        // A read of a device cannot be broken off: a packet from its host ends it, after `stop`.
        for (at, tap) in taps.into_iter().enumerate() {
            let reads = Arc::clone(&star);
            let thread = std::thread::Builder::new().name(format!("lab-read-{at}"));
            thread
                .spawn(move || reads.read(at, tap))
                .map_err(|error| system("a thread")(&error))?;
        }
        let delivers = Arc::clone(&star);
        let thread = std::thread::Builder::new().name("lab-deliver".to_owned());
        thread
            .spawn(move || delivers.deliver())
            .map_err(|error| system("a thread")(&error))?;
        Ok(star)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(crate) fn shape(&self, from: &str, to: &str, shape: Shape) {
        let (Some(from), Some(to)) = (self.names.get(from), self.names.get(to)) else {
            return;
        };
        let mut state = self.lock();
        let path = state
            .paths
            .entry((*from, *to))
            .or_insert_with(|| fresh(self.seed, *from, *to));
        path.shape = shape;
    }

    pub(crate) fn lateness(&self) -> Lateness {
        let mut late = self.lock().late.clone();
        late.sort_unstable();
        let at = |share: usize| {
            Duration::from_nanos(late.get(late.len() * share / 100).copied().unwrap_or(0))
        };
        Lateness {
            packets: late.len(),
            p50: at(50),
            p99: at(99),
        }
    }

    pub(crate) fn delivered_since(&self, host: &str, since: Instant) -> Vec<Passage> {
        let state = self.lock();
        let before = state.delivered.partition_point(|(_, p)| p.came < since);
        let kept = state.delivered.range(before..);
        kept.filter(|(to, _)| *self.hosts[*to] == *host)
            .map(|(_, passage)| passage.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: usize, mut tap: Tap) {
        let mut buffer = vec![0; 65_536];
        while !self.stopped.load(Ordering::Relaxed) {
            let Ok(length) = self.devices[from].recv(&mut buffer) else {
                return;
            };
            let packet = &buffer[..length];
            let left = tap.left(packet);
            if let Some(to) = destination(packet).and_then(|address| self.routes.get(&address)) {
                self.send(from, *to, packet, left);
            }
        }
    }

    fn send(&self, from: usize, to: usize, packet: &[u8], left: Instant) {
        let mut state = self.lock();
        let path = state
            .paths
            .entry((from, to))
            .or_insert_with(|| fresh(self.seed, from, to));
        let (lost, more, overtaken) = (path.chance(), path.chance(), path.chance());
        if lost < path.shape.loss {
            return;
        }
        let mut due = left + path.shape.delay + path.shape.jitter.mul_f64(more);
        if overtaken < path.shape.reorder {
            due += path.shape.delay.max(Duration::from_micros(100));
        } else {
            due = path.last.map_or(due, |last| due.max(last));
            path.last = Some(due);
        }
        if state.heap.len() >= PACKETS_MAX {
            return;
        }
        state.number += 1;
        let packet = Packet {
            due,
            number: state.number,
            left,
            from,
            to,
            bytes: packet.to_vec(),
        };
        state.heap.push(Reverse(packet));
        drop(state);
        self.changed.notify_one();
    }

    fn deliver(&self) {
        let mut state = self.lock();
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(due) = state.heap.peek().map(|first| first.0.due) else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if now < due {
                let ahead = due - now;
                if ahead > SPIN {
                    let waited = self.changed.wait_timeout(state, ahead - SPIN);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                } else {
                    // Others may add packets meanwhile.
                    drop(state);
                    std::hint::spin_loop();
                    state = self.lock();
                }
                continue;
            }
            let Some(Reverse(packet)) = state.heap.pop() else {
                continue;
            };
            state.delivered(&packet, now, &self.hosts[packet.from]);
            drop(state);
            // A host whose queue is full loses packets, as hosts do.
            let _ = self.devices[packet.to].send(&packet.bytes);
            state = self.lock();
        }
    }
}

impl State {
    /// With room for all that is kept: a list that grows holds packets up for as long as it is copied.
    fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            paths: HashMap::new(),
            number: 0,
            late: Vec::with_capacity(LATE_KEPT),
            delivered: VecDeque::with_capacity(DELIVERED_KEPT),
        }
    }

    fn delivered(&mut self, packet: &Packet, came: Instant, from: &Arc<str>) {
        let late = came - packet.due;
        if self.late.len() == LATE_KEPT {
            self.late.clear();
        }
        self.late
            .push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        if self.delivered.len() == DELIVERED_KEPT {
            self.delivered.pop_front();
        }
        let passage = Passage {
            from: Arc::clone(from),
            left: packet.left,
            came,
            late,
            length: packet.bytes.len(),
            ends: ends(&packet.bytes),
        };
        self.delivered.push_back((packet.to, passage));
    }
}

impl Path {
    /// From 0 to 1, by splitmix64.
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let chance = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        chance
    }
}

fn fresh(seed: u64, from: usize, to: usize) -> Path {
    let pair = (from as u64) << 32 | to as u64;
    Path {
        shape: Shape::default(),
        random: seed ^ pair.wrapping_mul(0x2545_f491_4f6c_dd1d),
        last: None,
    }
}

/// Where an IPv4 packet goes.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let head = packet.get(..20)?;
    (head[0] >> 4 == 4).then(|| Ipv4Addr::new(head[16], head[17], head[18], head[19]))
}

/// Where a UDP datagram comes from and goes; a fragment does not say.
fn ends(packet: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    const UDP: u8 = 17;
    let to = destination(packet)?;
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    if fragment || packet[9] != UDP {
        return None;
    }
    let from = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
    let ports = packet.get(usize::from(packet[0] & 0xf) * 4..)?.get(..4)?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Some((
        SocketAddrV4::new(from, port(0)),
        SocketAddrV4::new(to, port(2)),
    ))
}
