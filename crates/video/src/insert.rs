//! Places indications in a transport stream of one programme.
//!
//! A packet path: what is not the PMT, a null packet or ours goes out as it came. What is to be
//! placed goes out *at once*, before the next packet, since a null packet may be a second away. In
//! a stream of constant rate all that follows is then late by a packet; so null packets are taken
//! out until that is made good, and every programme clock reference between is moved on by the time
//! that it is late (to 0.5 µs). In a stream of variable rate nothing is late, since nothing but
//! the references says when a packet is due.
//!
//! Nothing is changed until the rate is known (eight references). All memory is bounded: what waits
//! for room in numbers, tables by the standard's limits.

use std::collections::VecDeque;

use selvedge_entry::Timestamp;

use crate::clock::{Clock, PTS_WRAP, Rate, Reference, TICKS_PER_SECOND, pcr_after, pcr_distance};
use crate::fault::{Faults, Refusal};
use crate::filler::Filler;
use crate::indication::{Board, Carried, Indication, IndicationError, NOTHING, Placed};
use crate::packet::{self, Bytes, NULL, NULL_PID, PACKET, PAT_PID, PIDS};
use crate::program::{OurPids, Program};
use crate::scte35::{self, Cue};
use crate::{id3, pes, psi};

/// The stream may be late by so many packets before what is placed has to wait for null packets.
const LATE_MAX: u64 = 64;
/// Packets of ours that wait before further indications wait in their own form, which is shorter.
const QUEUE_MAX: usize = 64;
/// Indications that wait; of more, the oldest are dropped.
const WAITING_MAX: usize = 4096;
/// A constant-rate stream without a null packet in its first second is refused.
const NULL_WITHIN: i64 = TICKS_PER_SECOND as i64;
/// A broadcast is carried again so many times, at least so long after the last time, for those who
/// come late or lost a packet.
const CARRIED_AGAIN: u8 = 3;
const CARRIED_EVERY: i64 = 2 * TICKS_PER_SECOND as i64;
/// Broadcasts that are carried again, at most; of more, the oldest are not.
const CARRIED_MAX: usize = 256;
/// How often an SCTE-35 section that says nothing shows that the stream is there.
const SPLICE_EVERY: i64 = 4 * TICKS_PER_SECOND as i64;

/// How indications are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertOptions {
    /// An indication's time stamp is so much later than its packet, in milliseconds.
    pub lead_ms: u64,
    /// How often the state of the rules is repeated, in milliseconds.
    pub heartbeat_ms: u64,
}

impl Default for InsertOptions {
    fn default() -> Self {
        Self {
            lead_ms: 40,
            heartbeat_ms: 450,
        }
    }
}

/// What a packet identifier is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Never seen.
    Free,
    /// Passed through.
    Plain,
    /// Looked at: PAT, PMT, null packets, the clock, ours.
    Special,
}

/// What waits to be placed.
enum Waiting {
    Indication(Indication),
    /// A broadcast, as JSON.
    Carried(String),
}

/// Places indications in a stream.
pub struct Inserter {
    options: InsertOptions,
    faults: Faults,
    clock: Clock,
    first_pcr: Option<u64>,
    program: Program,
    kinds: Box<[Kind; PIDS]>,
    /// The last continuity counter, or over 15.
    counters: Box<[u8; PIDS]>,
    ours: Option<OurPids>,
    /// The next continuity counters: PMT, ID3, SCTE-35.
    next: [u8; 3],
    /// The PMT with our streams has gone out.
    announced: bool,
    nulls: u64,
    late: u64,
    board: Board,
    waiting: VecDeque<Waiting>,
    maps: VecDeque<Bytes>,
    queue: VecDeque<Bytes>,
    /// The PAT as it came last.
    pat: Option<Bytes>,
    /// The next continuity counter of the PAT, once we made some.
    pat_next: Option<u8>,
    /// Makes what is sent while nothing comes.
    filler: Option<Filler>,
    /// The last counters of PAT and PMT before that.
    before: Option<[(u16, u8); 2]>,
    /// Broadcasts to carry again: how often yet, when they were carried last, and as JSON.
    again: VecDeque<(u8, u64, String)>,
    last_beat: Option<u64>,
    last_splice: Option<u64>,
    /// Packets of `queue` that have gone out.
    sent: u64,
    /// What was placed, each with what `sent` is once its last packet has gone out.
    placed: VecDeque<(u64, Placed)>,
}

impl Inserter {
    /// For one stream.
    #[must_use]
    pub fn new(options: InsertOptions) -> Self {
        let mut kinds = Box::new([Kind::Free; PIDS]);
        for pid in [PAT_PID, NULL_PID] {
            kinds[usize::from(pid)] = Kind::Special;
        }
        Self {
            options,
            faults: Faults::default(),
            clock: Clock::new(),
            first_pcr: None,
            program: Program::new(),
            kinds,
            counters: Box::new([u8::MAX; PIDS]),
            ours: None,
            next: [0; 3],
            announced: false,
            nulls: 0,
            late: 0,
            board: Board::default(),
            waiting: VecDeque::new(),
            maps: VecDeque::new(),
            queue: VecDeque::new(),
            pat: None,
            pat_next: None,
            filler: None,
            before: None,
            again: VecDeque::new(),
            last_beat: None,
            last_splice: None,
            sent: 0,
            placed: VecDeque::new(),
        }
    }

    /// Has an indication placed before the next packet that comes, and its state repeated.
    ///
    /// # Errors
    /// When it does not fit into the stream.
    pub fn place(&mut self, indication: Indication) -> Result<(), IndicationError> {
        indication.check()?;
        self.wait(Waiting::Indication(indication));
        Ok(())
    }

    /// Has a broadcast placed likewise, as timed ID3 alone, and again with later heartbeats.
    ///
    /// # Errors
    /// When it is too long.
    pub fn carry(&mut self, carried: &Carried) -> Result<(), IndicationError> {
        self.wait(Waiting::Carried(carried.json()?));
        Ok(())
    }

    fn wait(&mut self, what: Waiting) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
            self.faults.dropped += 1;
        }
        self.waiting.push_back(what);
    }

    /// Has a state repeated that was placed before this stream began.
    ///
    /// # Errors
    /// When it does not fit into the stream.
    pub fn remember(&mut self, indication: Indication) -> Result<(), IndicationError> {
        indication.check()?;
        self.board.set(indication);
        Ok(())
    }

    /// What was placed since it was last asked for, each once its last packet has gone out;
    /// heartbeats left out.
    pub fn take_placed(&mut self) -> Vec<Placed> {
        let out = self.placed.iter().take_while(|(end, _)| *end <= self.sent);
        let out = out.count();
        self.placed.drain(..out).map(|(_, placed)| placed).collect()
    }

    /// The faults so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// The faults, for those who count more of them.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The stream's kind of rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.clock.rate()
    }

    /// The packet identifiers that we took; `None` until the programme is known.
    #[must_use]
    pub fn ours(&self) -> Option<OurPids> {
        self.ours
    }

    /// Where the programme's map is.
    pub(crate) fn pmt_pid(&self) -> Option<u16> {
        self.program.pmt_pid()
    }

    /// Whether the stream says that our streams are there.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced
    }

    /// Takes packets (a multiple of 188 bytes) and appends what goes out. `now` is the time that
    /// indications are said to be placed at.
    ///
    /// # Errors
    /// When nothing can be placed in this stream; what went before it went out.
    pub fn push(
        &mut self,
        packets: &[u8],
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        // What we made meanwhile does not count as lost.
        for (pid, counter) in self.before.take().into_iter().flatten() {
            self.counters[usize::from(pid)] = counter;
        }
        self.pass(packets, now, out)
    }

    fn pass(&mut self, packets: &[u8], now: Timestamp, out: &mut Vec<u8>) -> Result<(), Refusal> {
        out.reserve(packets.len() + self.queue.len() * PACKET);
        // What goes out as it came is copied in long runs.
        let mut run = 0;
        for (number, packet) in packets.as_chunks::<PACKET>().0.iter().enumerate() {
            let at = number * PACKET;
            let pid = packet::pid(packet);
            if !self.waiting.is_empty() {
                self.fill(now);
            }
            let insert = pid != NULL_PID && self.has_own() && self.has_room();
            if !insert && self.kinds[usize::from(pid)] == Kind::Plain {
                self.check(packet, pid);
                self.clock.pass(1);
                continue;
            }
            out.extend_from_slice(&packets[run..at]);
            run = at + PACKET;
            if insert {
                self.insert(out);
            }
            self.one(packet, pid, now, out)?;
        }
        out.extend_from_slice(&packets[run..packets.len() / PACKET * PACKET]);
        Ok(())
    }

    /// How long a packet takes, in ticks of 27 MHz; `None` until it is known, and the stream
    /// announces ours.
    #[must_use]
    pub fn packet_ticks(&self) -> Option<f64> {
        let ticks = self.clock.ticks_per_packet();
        Some(ticks).filter(|ticks| *ticks > 0.0 && self.announced)
    }

    /// Nothing comes: what goes out is as if so many packets had come, null packets with the tables
    /// and the clock between them, and what is to be placed. The first reference that comes after
    /// that is marked as one that jumps.
    ///
    /// # Errors
    /// As [`Inserter::push`].
    pub fn idle(&mut self, packets: u64, now: Timestamp, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (Some(map), Some(pat), Some(pmt)) =
            (self.program.map(), self.pat, self.program.pmt_pid())
        else {
            return Ok(());
        };
        if self.packet_ticks().is_none() {
            return Ok(());
        }
        let clock = map.pcr_pid;
        if self.filler.is_none() {
            let mut tables = vec![pat];
            let section = map.write().unwrap_or_default();
            psi::packetise(&section, pmt, &mut 0, |packet| tables.push(packet));
            self.filler = Some(Filler::new(tables, clock));
        }
        self.pat_next
            .get_or_insert((packet::continuity(&pat) + 1) & 0x0F);
        let counters = [PAT_PID, pmt].map(|pid| (pid, self.counters[usize::from(pid)]));
        self.before.get_or_insert(counters);
        for _ in 0..packets {
            let Some(filler) = &mut self.filler else {
                break;
            };
            let mut packet = filler.next(self.clock.now(0).unwrap_or(0));
            let pid = packet::pid(&packet);
            let counter = self.counters[usize::from(pid)];
            let step = u8::from(packet::has_payload(&packet));
            packet::set_continuity(&mut packet, (counter.min(15) + step) & 0x0F);
            let filler = self.filler.take();
            self.pass(&packet, now, out)?;
            self.filler = filler;
        }
        Ok(())
    }

    /// Whether something of ours is to go out.
    fn has_own(&self) -> bool {
        !(self.maps.is_empty() && self.queue.is_empty())
    }

    fn has_room(&self) -> bool {
        self.clock.rate() == Rate::Variable || self.late < LATE_MAX
    }

    /// Sends what is ours before a packet.
    fn insert(&mut self, out: &mut Vec<u8>) {
        while self.has_room() {
            let Some(own) = self.own() else { return };
            out.extend_from_slice(&own);
            if self.clock.rate() == Rate::Constant {
                self.late += 1;
            }
        }
    }

    fn own(&mut self) -> Option<Bytes> {
        if let Some(map) = self.maps.pop_front() {
            return Some(map);
        }
        let own = self.queue.pop_front()?;
        self.sent += 1;
        Some(own)
    }

    /// Handles a packet that is looked at, or seen for the first time.
    fn one(
        &mut self,
        packet: &Bytes,
        pid: u16,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if pid == NULL_PID {
            self.nulls += 1;
            self.clock.pass(1);
            match self.own() {
                Some(own) => out.extend_from_slice(&own),
                None if self.late > 0 => self.late -= 1,
                None => out.extend_from_slice(packet),
            }
            return Ok(());
        }
        self.check(packet, pid);
        let index = usize::from(pid);
        if self.kinds[index] == Kind::Free {
            self.kinds[index] = Kind::Plain;
        }
        let ours = self
            .ours
            .is_some_and(|ours| pid == ours.id3 || pid == ours.scte35);
        if ours {
            self.collide(pid)?;
        }
        if pid == PAT_PID {
            self.clock.pass(1);
            let mut own = *packet;
            if let Some(next) = &mut self.pat_next {
                packet::set_continuity(&mut own, *next);
                *next = (*next + 1) & 0x0F;
            }
            out.extend_from_slice(&own);
            self.pat = Some(*packet);
            if self.program.take_pat(packet, &mut self.faults)? {
                self.announced = false;
                let pmt = self.program.pmt_pid();
                if let Some(pmt) = pmt {
                    self.kinds[usize::from(pmt)] = Kind::Special;
                }
            }
            return Ok(());
        }
        if Some(pid) == self.program.pmt_pid() {
            self.clock.pass(1);
            return self.map(packet, out);
        }
        let clock = self.program.map().is_some_and(|map| map.pcr_pid == pid);
        let Some(pcr) = packet::pcr(packet).filter(|_| clock && !packet::is_damaged(packet)) else {
            self.clock.pass(1);
            out.extend_from_slice(packet);
            return Ok(());
        };
        let mut packet = *packet;
        if self.filler.take().is_some() {
            packet::set_discontinuity(&mut packet);
        }
        self.reference(&packet, pcr)?;
        if self.late > 0 {
            let late = self.late as f64 * self.clock.ticks_per_packet();
            packet::set_pcr(&mut packet, pcr_after(pcr, late.round() as u64));
        }
        out.extend_from_slice(&packet);
        if self.announced {
            self.beat(pcr, now);
        }
        Ok(())
    }

    /// Counts what is wrong with a packet.
    fn check(&mut self, packet: &Bytes, pid: u16) {
        let index = usize::from(pid);
        if packet[1] & 0x80 != 0 {
            self.faults.damaged += 1;
        } else if packet::has_payload(packet) {
            let counter = packet::continuity(packet);
            let before = std::mem::replace(&mut self.counters[index], counter);
            // Twice the same is a packet that was sent twice, which is allowed.
            if before <= 15
                && counter != (before + 1) & 0x0F
                && counter != before
                && !packet::is_discontinuity(packet)
            {
                self.faults.continuity += 1;
            }
        }
    }

    fn reference(&mut self, packet: &Bytes, pcr: u64) -> Result<(), Refusal> {
        let announced = packet::is_discontinuity(packet);
        let first = *self.first_pcr.get_or_insert(pcr);
        match self.clock.reference(pcr, announced) {
            Reference::Fine => {}
            Reference::Off => self.faults.pcr_off += 1,
            Reference::Jump => {
                self.faults.pcr_jumps += u64::from(!announced);
                self.first_pcr = Some(pcr);
                self.last_beat = None;
                self.last_splice = None;
            }
        }
        match self.clock.rate() {
            Rate::Variable => self.late = 0,
            Rate::Constant if self.nulls == 0 && pcr_distance(first, pcr) > NULL_WITHIN => {
                let bits = PACKET as f64 * 8.0 * TICKS_PER_SECOND as f64;
                let rate = bits / self.clock.ticks_per_packet();
                return Err(Refusal::Full(rate.round() as u64));
            }
            Rate::Unknown | Rate::Constant => {}
        }
        Ok(())
    }

    /// A packet of the PMT: ours goes out in its place.
    fn map(&mut self, packet: &Bytes, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (ended, changed) = self.program.take_pmt(packet, &mut self.faults)?;
        if changed {
            self.learn()?;
        }
        let known = match self.clock.rate() {
            Rate::Unknown => false,
            Rate::Constant => self.nulls > 0,
            Rate::Variable => true,
        };
        let Some(ours) = self.ours.filter(|_| known && self.program.map().is_some()) else {
            self.next[0] = (packet::continuity(packet) + 1) & 0x0F;
            out.extend_from_slice(packet);
            return Ok(());
        };
        if !self.announced && !ended {
            // The section that began untouched ends untouched.
            self.next[0] = (packet::continuity(packet) + 1) & 0x0F;
            out.extend_from_slice(packet);
            return Ok(());
        }
        if ended && self.maps.is_empty() {
            self.queue_map(ours)?;
        }
        self.announced = true;
        let own = self.maps.pop_front().unwrap_or(NULL);
        out.extend_from_slice(&own);
        Ok(())
    }

    fn queue_map(&mut self, ours: OurPids) -> Result<(), Refusal> {
        let pid = self.program.pmt_pid().unwrap_or(NULL_PID);
        if let Some(section) = self.program.section(ours)? {
            let maps = &mut self.maps;
            psi::packetise(&section, pid, &mut self.next[0], |packet| {
                maps.push_back(packet);
            });
        }
        Ok(())
    }

    /// Takes the packet identifiers of a new map into account.
    fn learn(&mut self) -> Result<(), Refusal> {
        let Some(map) = self.program.map() else {
            return Ok(());
        };
        let clock = map.pcr_pid;
        let mut clash = None;
        for pid in map.streams.iter().map(|stream| stream.pid) {
            let kind = &mut self.kinds[usize::from(pid)];
            if *kind == Kind::Free {
                *kind = Kind::Plain;
            }
            if self
                .ours
                .is_some_and(|ours| pid == ours.id3 || pid == ours.scte35)
            {
                clash = Some(pid);
            }
        }
        self.kinds[usize::from(clock)] = Kind::Special;
        if self.ours.is_none() {
            let id3 = self.free(None)?;
            let scte35 = self.free(Some(id3))?;
            self.take(id3, scte35);
        }
        match clash {
            Some(pid) => self.collide(pid),
            None => Ok(()),
        }
    }

    fn free(&self, not: Option<u16>) -> Result<u16, Refusal> {
        let pids = (0x1E00..0x1FF0).chain(0x20..0x1E00);
        let free = |pid: &u16| self.kinds[usize::from(*pid)] == Kind::Free && Some(*pid) != not;
        pids.into_iter().find(free).ok_or(Refusal::NoPid)
    }

    fn take(&mut self, id3: u16, scte35: u16) {
        self.ours = Some(OurPids { id3, scte35 });
        self.kinds[usize::from(id3)] = Kind::Special;
        self.kinds[usize::from(scte35)] = Kind::Special;
    }

    /// Somebody else sends under an identifier of ours: we take another, and say so.
    fn collide(&mut self, pid: u16) -> Result<(), Refusal> {
        let Some(ours) = self.ours else { return Ok(()) };
        self.faults.pid_collisions += 1;
        self.kinds[usize::from(pid)] = Kind::Plain;
        let fresh = self.free(None)?;
        for packet in &mut self.queue {
            if packet::pid(packet) == pid {
                packet::set_pid(packet, fresh);
            }
        }
        match ours.id3 == pid {
            true => self.take(fresh, ours.scte35),
            false => self.take(ours.id3, fresh),
        }
        self.program.bump();
        if let Some(ours) = self.ours.filter(|_| self.announced) {
            self.queue_map(ours)?;
        }
        Ok(())
    }

    /// Makes packets of what waits.
    fn fill(&mut self, now: Timestamp) {
        while self.announced && self.queue.len() < QUEUE_MAX {
            let Some(waiting) = self.waiting.pop_front() else {
                return;
            };
            let Some(pts) = self.stamp() else {
                self.waiting.push_front(waiting);
                return;
            };
            let indication = match waiting {
                Waiting::Indication(indication) => indication,
                Waiting::Carried(json) => {
                    self.tag(pts, std::slice::from_ref(&json));
                    self.carry_again(CARRIED_AGAIN, json);
                    continue;
                }
            };
            let cue = Cue::new(
                &indication.id,
                indication.state == crate::State::Raised,
                pts,
            );
            let placed = Placed {
                indication: indication.clone(),
                placed: now,
                repeat: false,
                pts,
            };
            self.tag(pts, &[placed.json()]);
            self.splice(&cue.write());
            self.board.set(indication);
            let end = self.sent + self.queue.len() as u64;
            self.placed.push_back((end, placed));
        }
    }

    /// Keeps a broadcast that goes out now to carry it so many times again.
    fn carry_again(&mut self, times: u8, json: String) {
        let Some(now) = self.clock.now(0).filter(|_| times > 0) else {
            return;
        };
        if self.again.len() == CARRIED_MAX {
            self.again.pop_front();
        }
        self.again.push_back((times, now, json));
    }

    /// The time stamp of what goes out next.
    fn stamp(&self) -> Option<u64> {
        let now = self.clock.now(self.late)?;
        Some((now / 300 + self.options.lead_ms * 90) % PTS_WRAP)
    }

    fn tag(&mut self, pts: u64, values: &[String]) {
        let tag = id3::write(values.iter().map(String::as_str));
        let (Some(ours), Some(pes)) = (self.ours, pes::write(pts, &tag)) else {
            return;
        };
        let queue = &mut self.queue;
        pes::packetise(&pes, ours.id3, &mut self.next[1], |packet| {
            queue.push_back(packet);
        });
    }

    fn splice(&mut self, section: &[u8]) {
        let Some(ours) = self.ours else { return };
        let queue = &mut self.queue;
        let counter = &mut self.next[2];
        psi::packetise(section, ours.scte35, counter, |packet| {
            queue.push_back(packet);
        });
        self.last_splice = self.clock.now(0);
    }

    /// Repeats the rules' states where it is time.
    fn beat(&mut self, pcr: u64, now: Timestamp) {
        let due = |last: Option<u64>, every: i64| {
            last.is_none_or(|last| !(0..every).contains(&pcr_distance(last, pcr)))
        };
        let every = self.options.heartbeat_ms as i64 * (TICKS_PER_SECOND / 1000) as i64;
        let splice = due(self.last_splice, SPLICE_EVERY);
        if !due(self.last_beat, every) && !splice {
            return;
        }
        if !self.queue.is_empty() {
            // What is new goes first; the next reference tries again.
            self.faults.heartbeats_skipped += 1;
            return;
        }
        if due(self.last_beat, every)
            && let Some(pts) = self.stamp()
        {
            self.last_beat = Some(pcr);
            let placed = |indication| Placed {
                indication,
                placed: now,
                repeat: true,
                pts,
            };
            let states = self.board.beat().into_iter();
            let mut values: Vec<String> = states.map(|state| placed(state).json()).collect();
            if values.is_empty() {
                values.push(NOTHING.to_owned());
            }
            self.tag(pts, &values);
            if self
                .again
                .front()
                .is_some_and(|(_, last, _)| due(Some(*last), CARRIED_EVERY))
                && let Some((times, _, json)) = self.again.pop_front()
            {
                self.tag(pts, std::slice::from_ref(&json));
                self.carry_again(times - 1, json);
            }
        }
        if splice {
            self.splice(&scte35::nothing());
        }
    }
}
