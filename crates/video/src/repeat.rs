//! A file as a source without an end: played again and again, with clocks and counters that run
//! on as if it were one stream. And clips that come on in it when they are asked for: from the next
//! key frame on, and after them the file goes on where it was left.
//!
//! What follows another may not begin before the other's last pictures and sounds have been shown.
//! So between them lie null packets, with tables and clock, until then.
//!
//! Every packet that goes out takes the same time, the file's; a clip of a lower rate gets null
//! packets between its own, and the channel's packet identifiers and tables.

use std::collections::VecDeque;

use crate::clip::Clip;
pub use crate::clip::RepeatError;
use crate::clock::{PCR_WRAP, PTS_WRAP, pcr_after, pts_distance};
use crate::filler::Filler;
use crate::hls::starts_key_frame;
use crate::packet::{self, Bytes, NULL_PID, PIDS};
use crate::pes;

/// Longest that lies between two: 2 s.
const BETWEEN_MAX: i64 = 2 * 90_000;
/// Clips that wait to come on, at most.
const WANTED_MAX: usize = 16;

/// A clip that can come on.
#[derive(Debug)]
struct Named {
    name: String,
    clip: Clip,
    /// Its packet identifiers, and the channel's for each.
    pids: Vec<(u16, u16)>,
}

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The file, from a packet on.
    File(usize),
    /// The clip of this number, from its beginning.
    Clip(usize),
}

/// Plays packets in a loop.
#[derive(Debug)]
pub struct Repeat {
    file: Clip,
    clips: Vec<Named>,
    wanted: VecDeque<usize>,
    /// The packets that went out.
    sent: u64,
    on: On,
    /// The next packet of what is on, and how many went out before its first.
    at: usize,
    begun: u64,
    /// What is added to the clock of what is on, in ticks.
    offset: u64,
    /// Packets of units that were begun when a clip came on.
    rest: VecDeque<Bytes>,
    /// Up to which packets the streams of what is on are left out: they have gone out, or belong to
    /// no unit.
    gone: Vec<(u16, usize)>,
    /// Where the file goes on after clips, and what is left out of it then.
    resume: usize,
    resume_gone: Vec<(u16, usize)>,
    filler: Filler,
    counters: Box<[u8; PIDS]>,
    cuts: VecDeque<u64>,
}

impl Repeat {
    /// Of whole packets.
    ///
    /// # Errors
    /// When they do not say how long they last.
    pub fn new(packets: Vec<u8>) -> Result<Self, RepeatError> {
        let file = Clip::new(packets)?;
        Ok(Self {
            filler: Filler::new(file.tables(), file.clock_pid),
            file,
            clips: Vec::new(),
            wanted: VecDeque::new(),
            sent: 0,
            on: On::File(0),
            at: 0,
            begun: 0,
            offset: 0,
            rest: VecDeque::new(),
            gone: Vec::new(),
            resume: 0,
            resume_gone: Vec::new(),
            counters: Box::new([u8::MAX; PIDS]),
            cuts: VecDeque::new(),
        })
    }

    /// Takes a clip that [`Repeat::show`] can bring on, of whole packets.
    ///
    /// # Errors
    /// When it cannot be shown in this stream.
    pub fn add(&mut self, name: &str, packets: Vec<u8>) -> Result<(), RepeatError> {
        let clip = Clip::new(packets)?;
        let pids = clip.pids_in(&self.file)?;
        self.clips.push(Named {
            name: name.to_owned(),
            clip,
            pids,
        });
        Ok(())
    }

    /// Has a clip come on at the next key frame, after those that were asked for before. False:
    /// there is none of this name, or too many wait.
    pub fn show(&mut self, name: &str) -> bool {
        let found = self.clips.iter().position(|clip| clip.name == name);
        match found.filter(|_| self.wanted.len() < WANTED_MAX) {
            Some(number) => {
                self.wanted.push_back(number);
                true
            }
            None => false,
        }
    }

    /// Whether something else came on before the packet of this number; asked once for each.
    pub fn take_cut(&mut self, before: u64) -> bool {
        let mut cut = false;
        while self.cuts.front().is_some_and(|at| *at < before) {
            self.cuts.pop_front();
            cut = true;
        }
        cut
    }

    fn clip(&self) -> &Clip {
        match self.on {
            On::File(_) => &self.file,
            On::Clip(number) => &self.clips[number].clip,
        }
    }

    /// The clock where the packet of this number goes out.
    fn clock(&self, sent: u64) -> u64 {
        let ticks = sent as f64 * self.file.ticks_per_packet;
        pcr_after(self.file.clock_at(0), ticks.round() as u64)
    }

    /// The packet that goes out now, but for its counter.
    fn packet(&mut self) -> Bytes {
        if self.rest.is_empty() && self.sent >= self.begun {
            if self.at >= self.clip().len() {
                self.end();
            } else if !self.wanted.is_empty() && self.is_key_frame() {
                self.cut();
            }
        }
        let now = self.clock(self.sent);
        if let Some(packet) = self.rest.pop_front() {
            return packet;
        }
        let packet = match self.sent >= self.begun {
            true => self.take(),
            false => None,
        };
        match packet {
            Some(packet) => {
                self.filler.pass(&packet, now);
                packet
            }
            None => self.filler.next(now),
        }
    }

    /// The next packet of what is on, if it is due and not left out.
    fn take(&mut self) -> Option<Bytes> {
        let clip = self.clip();
        let first = match self.on {
            On::File(at) => at,
            On::Clip(_) => 0,
        };
        // How much later it goes out than it would by itself.
        let slot = (self.sent - self.begun) as f64 * self.file.ticks_per_packet;
        let late = slot - (self.at - first) as f64 * clip.ticks_per_packet;
        if late < 0.0 {
            return None;
        }
        let at = self.at;
        let mut packet = *clip.packet(at)?;
        self.at += 1;
        let pid = packet::pid(&packet);
        if self
            .gone
            .iter()
            .any(|(gone, until)| *gone == pid && at < *until)
        {
            return None;
        }
        if let On::Clip(number) = self.on {
            packet::set_pid(&mut packet, own(&self.clips[number].pids, pid)?);
        }
        if pid != NULL_PID && (self.offset > 0 || late > 0.0) {
            if let Some(pcr) = packet::pcr(&packet) {
                let by = self.offset + late.round() as u64;
                packet::set_pcr(&mut packet, pcr_after(pcr, by));
            }
            if packet::starts_unit(&packet) && !packet::is_scrambled(&packet) {
                pes::move_stamps(&mut packet, self.offset / 300 % PTS_WRAP);
            }
        }
        Some(packet)
    }

    /// Whether the file's next packet begins a picture that needs none before it.
    fn is_key_frame(&self) -> bool {
        let (On::File(_), Some(map)) = (self.on, &self.file.map) else {
            return false;
        };
        let packet = self.file.packet(self.at);
        packet.is_some_and(|packet| starts_key_frame(map, packet))
    }

    /// What is on has ended.
    fn end(&mut self) {
        let spans = self.clip().spans.iter().map(|span| (span.pid, span.to));
        let mut ended: Vec<(u16, u64)> = spans.collect();
        match self.on {
            On::File(_) => (self.resume, self.resume_gone) = (0, self.file.begins()),
            On::Clip(number) => {
                let pids = &self.clips[number].pids;
                ended = ended
                    .into_iter()
                    .filter_map(|(pid, to)| Some((own(pids, pid)?, to)))
                    .collect();
            }
        }
        let next = match self.wanted.pop_front() {
            Some(number) => On::Clip(number),
            None => On::File(self.resume),
        };
        self.begin(next, &ended);
    }

    /// A clip comes on in the midst of the file: what was begun of other streams is sent first.
    fn cut(&mut self) {
        let Some(number) = self.wanted.pop_front() else {
            return;
        };
        let due = self.file.due_from(self.at);
        self.resume = self.at;
        // Of the pictures nothing has begun: the next packet begins one.
        let leading = self.file.packet(self.at).map(packet::pid);
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|(_, until)| *until > self.at);
        for (pid, _) in due.iter().filter(|(pid, _)| Some(*pid) != leading) {
            if gone.iter().any(|(gone, _)| gone == pid) {
                // It was sent before a clip that came on right here.
                continue;
            }
            let rest = (self.at..).map_while(|at| Some((at, self.file.packet(at)?)));
            let own = rest.filter(|(_, packet)| packet::pid(packet) == *pid);
            let begun = own.take_while(|(_, packet)| !packet::starts_unit(packet));
            let mut until = self.at;
            for (at, packet) in begun {
                self.rest.push_back(*packet);
                until = at + 1;
            }
            gone.push((*pid, until));
        }
        self.resume_gone = gone;
        self.begin(On::Clip(number), &due);
    }

    /// Something else comes on, once what was before it has been shown: `shown` says of each stream
    /// when what would follow is due.
    fn begin(&mut self, next: On, shown: &[(u16, u64)]) {
        let before = self.offset / 300;
        let (clip, at) = match next {
            On::File(at) => (&self.file, at),
            On::Clip(number) => (&self.clips[number].clip, 0),
        };
        let due = clip.due_from(at);
        let due: Vec<(u16, u64)> = match next {
            On::File(_) => due,
            On::Clip(number) => {
                let pids = &self.clips[number].pids;
                let due = due.into_iter();
                due.filter_map(|(pid, from)| Some((own(pids, pid)?, from)))
                    .collect()
            }
        };
        let offset = |begun: u64| {
            let clock = clip.clock_at(at);
            pcr_after(self.clock(begun), PCR_WRAP - clock)
        };
        let soonest = self.sent + self.rest.len() as u64;
        let after = offset(soonest) / 300;
        let overlap = shown.iter().filter_map(|(pid, to)| {
            let (_, from) = due.iter().find(|(own, _)| own == pid)?;
            Some(pts_distance(
                from.wrapping_add(after),
                to.wrapping_add(before),
            ))
        });
        let overlap = overlap.max().unwrap_or(0).clamp(0, BETWEEN_MAX);
        let packets = overlap as f64 * 300.0 / self.file.ticks_per_packet;
        let begun = soonest + packets.ceil() as u64;
        let offset = offset(begun);
        // The file after itself is no other.
        if !matches!((self.on, next), (On::File(_), On::File(_))) {
            self.cuts.push_back(begun);
        }
        self.gone = match next {
            On::File(_) => self.resume_gone.clone(),
            On::Clip(_) => clip.begins(),
        };
        (self.on, self.at, self.begun, self.offset) = (next, at, begun, offset);
    }
}

/// The channel's packet identifier for one of a clip's.
fn own(pids: &[(u16, u16)], pid: u16) -> Option<u16> {
    let found = pids.iter().find(|(own, _)| *own == pid);
    found.map(|(_, wanted)| *wanted)
}

impl Iterator for Repeat {
    type Item = Bytes;

    /// The next packet; there always is one.
    fn next(&mut self) -> Option<Bytes> {
        let mut packet = self.packet();
        self.sent += 1;
        let pid = packet::pid(&packet);
        if pid == NULL_PID {
            return Some(packet);
        }
        let counter = &mut self.counters[usize::from(pid)];
        if *counter > 15 {
            *counter = packet::continuity(&packet);
        } else if packet::has_payload(&packet) {
            *counter = (*counter + 1) & 0x0F;
        }
        packet::set_continuity(&mut packet, *counter);
        Some(packet)
    }
}
