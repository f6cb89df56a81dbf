//! The encoder at work: one thread reads, places and sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use selvedge_monitor::link::LinkListener;
use selvedge_video::{Carried, Faults, Framer, Indication, Inserter, Refusal, TICKS_PER_SECOND};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::counts::{Counted, EncoderCounts};
use crate::input::{Given, Source, Stopped};
use crate::output::Sink;
use crate::taken::Taken;
use crate::{EncoderError, EncoderOptions, link};

/// Broadcasts that wait to be placed.
const BROADCASTS_MAX: usize = 256;
/// Clips whose names wait to be looked for.
const CLIPS_MAX: usize = 64;
/// An input that stays out so long is said to be lost, and its stream is kept up without it: TR
/// 101 290 wants tables within this time.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// The most that is made up for when this host was held up.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// What is missing is made up for at this multiple of the stream's rate: all at once would be more
/// than a receiver's socket holds.
const CATCH_UP: u64 = 2;

/// An encoder at work. Dropped, it goes on to the end of its input.
pub struct RunningEncoder {
    link: SocketAddr,
    counted: Counted,
    carrier: Carrier,
    stop: Arc<AtomicBool>,
    /// None once it has been told.
    ended: Option<oneshot::Receiver<Result<(), EncoderError>>>,
    serving: JoinHandle<()>,
}

/// Opens input and outputs, listens for monitors, and begins.
///
/// # Errors
/// When one of them cannot be had.
pub async fn start(options: EncoderOptions) -> Result<RunningEncoder, EncoderError> {
    let taken = Taken::open(&options.data)
        .map_err(|error| EncoderError::Taken(options.data.display().to_string(), error))?;
    let listener = LinkListener::start(options.listen, options.link_key)
        .await
        .map_err(|error| EncoderError::Link(options.listen, error))?;
    let address = listener.address();
    let counted = Counted::default();
    let source = Source::open(&options)?;
    let live = source.is_live();
    let sinks = options.outputs.iter();
    let sinks = sinks.map(|output| Sink::open(output, &options, &counted, live));
    let sinks = sinks.collect::<Result<Vec<_>, _>>()?;
    let mut inserter = Inserter::new(options.insert);
    for state in taken.states() {
        // What was placed did fit.
        _ = inserter.remember(state);
    }
    let (to_place, waiting) = sync_channel(link::WAITING_MAX);
    let (carry, broadcasts) = sync_channel(BROADCASTS_MAX);
    let (show, clips) = sync_channel(CLIPS_MAX);
    let (placed, done) = unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        source,
        sinks,
        inserter,
        framer: Framer::default(),
        waiting,
        broadcasts,
        clips,
        placed,
        stop: Arc::clone(&stop),
        counted: counted.clone(),
        last_came: Instant::now(),
        lost: false,
        filled: 0,
        filled_at: Instant::now(),
        out: Vec::new(),
        held: Vec::new(),
        options,
    };
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("encoder".to_owned())
        // Whoever started it may be gone.
        .spawn(move || _ = end.send(worker.run()))
        .map_err(EncoderError::Thread)?;
    let serving = tokio::spawn(link::serve(
        listener,
        taken,
        to_place,
        done,
        counted.clone(),
    ));
    Ok(RunningEncoder {
        link: address,
        counted,
        carrier: Carrier { carry, show },
        stop,
        ended: Some(ended),
        serving,
    })
}

impl RunningEncoder {
    /// Where monitors connect.
    #[must_use]
    pub fn link_address(&self) -> SocketAddr {
        self.link
    }

    /// What it counts: a function that outlives it.
    pub fn counter(&self) -> impl Fn() -> EncoderCounts + Clone + Send + Sync + 'static {
        let counted = self.counted.clone();
        move || counted.now()
    }

    /// Carries broadcasts in the stream.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.carrier.clone()
    }

    /// Waits until its input ends; done at once when it is asked again.
    ///
    /// # Errors
    /// Why it ended before.
    pub async fn ended(&mut self) -> Result<(), EncoderError> {
        let Some(ended) = &mut self.ended else {
            return Ok(());
        };
        let told = ended.await;
        self.ended = None;
        // A thread that panicked says nothing more than it has said.
        told.unwrap_or(Ok(()))
    }

    /// Ends it: what it has taken is sent.
    pub async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        if let Err(error) = self.ended().await {
            tracing::warn!(%error, "encoder");
        }
        self.serving.abort();
    }
}

/// Carries broadcasts in an encoder's stream (A10), and has clips come on in it (A6). Cloning is
/// cheap; it outlives the encoder.
#[derive(Clone, Debug)]
pub struct Carrier {
    carry: SyncSender<Carried>,
    show: SyncSender<String>,
}

impl Carrier {
    /// Has it placed before the next packet; false: too many wait, or the encoder has ended.
    #[must_use]
    pub fn carry(&self, carried: Carried) -> bool {
        self.carry.try_send(carried).is_ok()
    }

    /// Has the clip of this name come on at the next key frame, if there is one; false: too many
    /// wait, or the encoder has ended.
    #[must_use]
    pub fn show(&self, name: &str) -> bool {
        self.show.try_send(name.to_owned()).is_ok()
    }
}

struct Worker {
    options: EncoderOptions,
    source: Source,
    sinks: Vec<Sink>,
    inserter: Inserter,
    framer: Framer,
    waiting: Receiver<Indication>,
    broadcasts: Receiver<Carried>,
    clips: Receiver<String>,
    placed: UnboundedSender<Vec<Indication>>,
    stop: Arc<AtomicBool>,
    counted: Counted,
    last_came: Instant,
    lost: bool,
    /// Packets that were made since something came, and when the last were.
    filled: u64,
    filled_at: Instant,
    out: Vec<u8>,
    /// Bytes that were held before the last that came.
    held: Vec<u8>,
}

impl Worker {
    fn run(mut self) -> Result<(), EncoderError> {
        let result = self.work();
        let ended = result.as_ref().is_ok_and(|ended| *ended);
        for sink in self.sinks {
            sink.finish(ended);
        }
        result.map(|_| ())
    }

    /// True: the input ended. False: it was told to stop.
    fn work(&mut self) -> Result<bool, EncoderError> {
        let mut taken = Vec::new();
        let mut faults = Faults::default();
        while !self.stop.load(Relaxed) {
            taken.clear();
            let given = self.source.next(&mut taken, &mut faults);
            self.inserter.faults_mut().bytes_skipped += std::mem::take(&mut faults).bytes_skipped;
            let refused = match given {
                Ok(Given::End) => {
                    self.send_rest()?;
                    return Ok(true);
                }
                Ok(Given::Nothing) => {
                    self.nothing_came()?;
                    continue;
                }
                Ok(Given::Packets) => self.packets(&taken),
                Ok(Given::Bytes) => self.bytes(&taken),
                Err(Stopped::Refused(refusal)) => Err(refusal),
                Err(Stopped::Io(error)) => {
                    return Err(EncoderError::Input(self.options.input.to_string(), error));
                }
            };
            self.something_came();
            if let Err(refusal) = refused {
                return self.untouched(refusal, &taken);
            }
            self.send()?;
        }
        Ok(false)
    }

    fn packets(&mut self, packets: &[u8]) -> Result<(), Refusal> {
        self.take_waiting();
        let now = (self.options.now)();
        self.counted.change(|counts| {
            counts.packets_in += (packets.len() / selvedge_video::packet::PACKET) as u64;
        });
        self.inserter.push(packets, now, &mut self.out)
    }

    /// Takes what is to be placed and shown.
    fn take_waiting(&mut self) {
        for indication in self.waiting.try_iter() {
            // The link lets through only what fits.
            _ = self.inserter.place(indication);
        }
        for carried in self.broadcasts.try_iter() {
            let unfit = self.inserter.carry(&carried).err();
            if let Some(error) = &unfit {
                tracing::warn!(broadcast = carried.broadcast, %error, "not carried");
            }
            self.counted.change(|counts| match unfit {
                None => counts.carried += 1,
                Some(_) => counts.unfit += 1,
            });
        }
        for clip in self.clips.try_iter() {
            if self.source.show(&clip) {
                tracing::info!(clip, "comes on");
                self.counted.change(|counts| counts.shown += 1);
            } else {
                tracing::debug!(clip, "no such clip, or too many wait");
            }
        }
        if self.source.take_cut() {
            for sink in &mut self.sinks {
                sink.cut();
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut framer = std::mem::take(&mut self.framer);
        if self.options.pass_unsupported {
            self.held = framer.held().to_vec();
        }
        let mut faults = Faults::default();
        let result = framer.push(bytes, &mut faults, |packets, _| self.packets(packets));
        self.framer = framer;
        let counted = self.inserter.faults_mut();
        counted.sync_lost += faults.sync_lost;
        counted.bytes_skipped += faults.bytes_skipped;
        result
    }

    /// Sends what was made, and says what was placed in it.
    fn send(&mut self) -> Result<(), EncoderError> {
        let placed = self.inserter.take_placed();
        for sink in &mut self.sinks {
            for placed in &placed {
                sink.placed(placed);
            }
        }
        let now = (self.options.now)();
        for sink in &mut self.sinks {
            sink.send(&self.out, now)?;
        }
        let faults = self.inserter.faults();
        self.counted.change(|counts| {
            counts.packets_out += (self.out.len() / selvedge_video::packet::PACKET) as u64;
            counts.placed += placed.len() as u64;
            counts.faults = faults;
        });
        self.out.clear();
        if !placed.is_empty() {
            // What waits for a whole datagram would be acknowledged before it is sent.
            for sink in &mut self.sinks {
                sink.flush();
            }
            let placed = placed.into_iter().map(|placed| placed.indication);
            // The link's task ends after this thread.
            _ = self.placed.send(placed.collect());
        }
        Ok(())
    }

    fn send_rest(&mut self) -> Result<(), EncoderError> {
        let mut framer = std::mem::take(&mut self.framer);
        let mut faults = Faults::default();
        let rest = framer.finish(&mut faults, |packets, _| self.packets(packets));
        self.inserter.faults_mut().bytes_skipped += faults.bytes_skipped;
        match rest {
            Ok(()) => self.send(),
            Err(refusal) if self.options.pass_unsupported => {
                tracing::warn!(%refusal, "passed on untouched");
                Ok(())
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn nothing_came(&mut self) -> Result<(), EncoderError> {
        for sink in &mut self.sinks {
            sink.flush();
        }
        if !self.lost && self.last_came.elapsed() > LOST_AFTER {
            self.lost = true;
            self.filled_at = Instant::now();
            self.counted.change(|counts| counts.input_lost += 1);
            tracing::warn!(input = %self.options.input, "the input stays out");
        }
        if self.lost { self.fill() } else { Ok(()) }
    }

    /// Keeps the stream up while its input is out: as many packets as would have come.
    fn fill(&mut self) -> Result<(), EncoderError> {
        let Some(ticks) = self.inserter.packet_ticks() else {
            return Ok(());
        };
        let count = |time: Duration| (time.as_secs_f64() * TICKS_PER_SECOND as f64 / ticks) as u64;
        let due = count(self.last_came.elapsed());
        self.filled = self.filled.max(due.saturating_sub(count(IDLE_MAX)));
        let most = CATCH_UP * count(self.filled_at.elapsed());
        let packets = due.saturating_sub(self.filled).min(most);
        if packets == 0 {
            return Ok(());
        }
        self.filled += packets;
        self.filled_at = Instant::now();
        self.take_waiting();
        let now = (self.options.now)();
        self.inserter.idle(packets, now, &mut self.out)?;
        self.counted.change(|counts| counts.filled += packets);
        self.send()
    }

    fn something_came(&mut self) {
        self.last_came = Instant::now();
        self.filled = 0;
        if std::mem::take(&mut self.lost) {
            tracing::info!(input = %self.options.input, "the input is back");
        }
    }

    /// The stream is refused: passed on as it comes where that was asked for.
    fn untouched(&mut self, refusal: Refusal, taken: &[u8]) -> Result<bool, EncoderError> {
        if !self.options.pass_unsupported {
            return Err(refusal.into());
        }
        tracing::warn!(%refusal, "passed on untouched: no indication is placed");
        self.counted.change(|counts| counts.untouched = true);
        // What was made of these bytes already is not sent.
        self.out.clear();
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(taken);
        let mut faults = Faults::default();
        while !self.stop.load(Relaxed) {
            let now = (self.options.now)();
            for sink in &mut self.sinks {
                sink.send(&bytes, now)?;
            }
            bytes.clear();
            match self.source.next(&mut bytes, &mut faults) {
                Ok(Given::End) => return Ok(true),
                Ok(_) => self.something_came(),
                Err(Stopped::Refused(refusal)) => return Err(refusal.into()),
                Err(Stopped::Io(error)) => {
                    return Err(EncoderError::Input(self.options.input.to_string(), error));
                }
            }
        }
        Ok(false)
    }
}
