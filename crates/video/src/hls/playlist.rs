//! The playlist: segments, indications as date ranges, a window that slides.

use std::collections::VecDeque;
use std::fmt::Write as _;

use selvedge_entry::Timestamp;

use crate::clock::pts_distance;
use crate::hls::Segment;
use crate::indication::{Placed, State};
use crate::scte35::Cue;

/// Date ranges kept, at most.
const RANGES_MAX: usize = 1000;

/// Which playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The newest segments.
    Live,
    /// All since the beginning.
    Event,
}

/// How a playlist is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaylistOptions {
    /// Live or event.
    pub kind: Kind,
    /// Segments in a live playlist.
    pub window: usize,
    /// What a segment lasts, in milliseconds, at least.
    pub segment_ms: u64,
}

/// A segment as the playlist names it.
#[derive(Clone, Debug)]
struct Named {
    number: u64,
    lasts: u64,
    pts: u64,
    at: Timestamp,
    jumps: bool,
}

/// An indication as the playlist says it.
#[derive(Clone, Debug)]
struct Range {
    placed: Placed,
    at: Timestamp,
}

/// A playlist that grows.
#[derive(Debug)]
pub struct Playlist {
    options: PlaylistOptions,
    /// The number of the next segment.
    next: u64,
    segments: VecDeque<Named>,
    /// Jumps before the first segment.
    jumps_gone: u64,
    target: u64,
    ranges: VecDeque<Range>,
    /// Indications of the segment that is being filled.
    coming: Vec<Placed>,
}

impl Playlist {
    /// A fresh one whose first segment has this number. Over 0: it goes on after another, with a
    /// jump.
    #[must_use]
    pub fn new(options: PlaylistOptions, next: u64) -> Self {
        Self {
            options,
            next,
            segments: VecDeque::new(),
            jumps_gone: 0,
            target: options.segment_ms.div_ceil(1000),
            ranges: VecDeque::new(),
            coming: Vec::new(),
        }
    }

    /// The file name of the segment of this number.
    #[must_use]
    pub fn file_name(number: u64) -> String {
        format!("segment-{number}.ts")
    }

    /// The number that the next segment gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes what was placed in the segment that is being filled.
    pub fn indicate(&mut self, placed: Placed) {
        if self.coming.len() < RANGES_MAX {
            self.coming.push(placed);
        }
    }

    /// Takes a segment that was written under [`Playlist::next_number`]. Gives the numbers of those
    /// that nobody may ask for any more.
    pub fn add(&mut self, segment: &Segment) -> Vec<u64> {
        let first = self.segments.is_empty();
        let named = Named {
            number: self.next,
            lasts: segment.lasts,
            pts: segment.pts,
            at: segment.at,
            jumps: segment.jumps || (first && self.next > 0),
        };
        self.next += 1;
        // Players round; what they round to must not be over the target.
        self.target = self.target.max((segment.lasts + 45_000) / 90_000);
        for placed in std::mem::take(&mut self.coming) {
            let ns = pts_distance(named.pts, placed.pts) * 100_000 / 9;
            let at = Timestamp(named.at.0.saturating_add(ns));
            self.ranges.push_back(Range { placed, at });
        }
        self.segments.push_back(named);
        let mut gone = Vec::new();
        if self.options.kind == Kind::Live {
            while self.segments.len() > self.options.window.max(3)
                && let Some(old) = self.segments.pop_front()
            {
                self.jumps_gone += u64::from(old.jumps);
                // Who has an older playlist may still ask for as many again.
                gone.extend(old.number.checked_sub(self.options.window as u64));
            }
        }
        self.forget();
        gone
    }

    /// Date ranges of before the window go, but for each rule's last.
    fn forget(&mut self) {
        let start = self.segments.front().map_or(Timestamp(0), |first| first.at);
        let mut kept = VecDeque::new();
        let ranges = std::mem::take(&mut self.ranges);
        for (number, range) in ranges.iter().enumerate() {
            let same = |other: &Range| class(&other.placed) == class(&range.placed);
            let last = !ranges.iter().skip(number + 1).any(same);
            if last || range.at >= start {
                kept.push_back(range.clone());
            }
        }
        while kept.len() > RANGES_MAX {
            kept.pop_front();
        }
        self.ranges = kept;
    }

    /// The playlist's text. `ended`: nothing more comes.
    #[must_use]
    pub fn text(&self, ended: bool) -> String {
        let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:6\n");
        let first = self
            .segments
            .front()
            .map_or(self.next, |first| first.number);
        // Writing to a string does not fail.
        _ = writeln!(out, "#EXT-X-TARGETDURATION:{}", self.target);
        _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}");
        if self.options.kind == Kind::Event {
            out += "#EXT-X-PLAYLIST-TYPE:EVENT\n";
        } else {
            _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.jumps_gone);
        }
        out += "#EXT-X-INDEPENDENT-SEGMENTS\n";
        for segment in &self.segments {
            if segment.jumps {
                out += "#EXT-X-DISCONTINUITY\n";
            }
            _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", millis(segment.at));
            let (seconds, rest) = (segment.lasts / 90_000, segment.lasts % 90_000 / 90);
            _ = writeln!(out, "#EXTINF:{seconds}.{rest:03},");
            out += &Self::file_name(segment.number);
            out.push('\n');
        }
        for range in &self.ranges {
            range.write(&mut out);
        }
        if ended {
            out += "#EXT-X-ENDLIST\n";
        }
        out
    }
}

impl Range {
    fn write(&self, out: &mut String) {
        let placed = &self.placed;
        let indication = &placed.indication;
        let raised = indication.state == State::Raised;
        let cue = Cue::new(&indication.id, raised, placed.pts).write();
        let cue: String = cue.iter().map(|byte| format!("{byte:02X}")).collect();
        let state = if raised { "raised" } else { "cleared" };
        _ = writeln!(
            out,
            "#EXT-X-DATERANGE:ID=\"{}\",CLASS=\"{}\",START-DATE=\"{}\",END-ON-NEXT=YES,\
             SCTE35-CMD=0x{cue},X-SELVEDGE-STATE=\"{state}\",X-SELVEDGE-VALUE={},\
             X-SELVEDGE-PTS={}",
            quoted(&indication.id),
            class(placed),
            millis(self.at),
            decimal(indication.value),
            placed.pts,
        );
    }
}

/// A range ends where the next of its class begins: so a class is one rule, or one of its groups.
fn class(placed: &Placed) -> String {
    let indication = &placed.indication;
    let group = indication.group.as_ref().map(|group| format!("/{group}"));
    quoted(&format!(
        "selvedge.{}{}",
        indication.rule,
        group.unwrap_or_default()
    ))
}

/// What may stand between quotation marks.
fn quoted(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// A number without an exponent, which the format does not have.
fn decimal(value: f64) -> String {
    format!("{value:.3}")
}

/// Three digits of a second are enough, and some players read no more.
fn millis(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", &text[..23.min(text.len() - 1)])
}
