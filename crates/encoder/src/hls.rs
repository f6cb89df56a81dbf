//! Segments and playlist in a folder, by a thread of their own: a slow disk must not hold up what
//! is sent elsewhere.
//!
//! Files are replaced as a whole. The playlist goes on after the one that is there, so that players
//! stay over a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use selvedge_entry::Timestamp;
use selvedge_video::Placed;
use selvedge_video::hls::{Playlist, PlaylistOptions, Segment, Segmenter};

use crate::counts::Counted;

/// The playlist's file name.
const PLAYLIST: &str = "channel.m3u8";
/// Batches of packets that wait for the disk: some seconds.
const WAITING: usize = 4096;

enum Item {
    Packets(Vec<u8>, Timestamp),
    Placed(Placed),
    Cut,
    End(bool),
}

/// HLS in the making.
pub(crate) struct Hls {
    sender: SyncSender<Item>,
    thread: JoinHandle<()>,
    counted: Counted,
    live: bool,
}

impl Hls {
    pub(crate) fn start(
        folder: &Path,
        options: PlaylistOptions,
        counted: Counted,
        live: bool,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let next = next_number(&folder.join(PLAYLIST))?;
        sweep(folder, next.saturating_sub(options.window as u64));
        let (sender, receiver) = sync_channel(WAITING);
        let writer = Writer {
            folder: folder.to_owned(),
            segmenter: Segmenter::new(options.segment_ms),
            playlist: Playlist::new(options, next),
            counted: counted.clone(),
            failing: false,
        };
        let thread = std::thread::Builder::new().name("hls".to_owned());
        Ok(Self {
            sender,
            thread: thread.spawn(move || writer.run(&receiver))?,
            counted,
            live,
        })
    }

    pub(crate) fn packets(&self, packets: &[u8], now: Timestamp) {
        self.give(Item::Packets(packets.to_vec(), now));
    }

    pub(crate) fn placed(&self, placed: Placed) {
        self.give(Item::Placed(placed));
    }

    pub(crate) fn cut(&self) {
        self.give(Item::Cut);
    }

    fn give(&self, item: Item) {
        let given = if self.live {
            self.sender.try_send(item).is_ok()
        } else {
            self.sender.send(item).is_ok()
        };
        if !given {
            self.counted.change(|counts| counts.output_failed += 1);
        }
    }

    pub(crate) fn finish(self, ended: bool) {
        // A writer that is gone has nothing to finish.
        _ = self.sender.send(Item::End(ended));
        _ = self.thread.join();
    }
}

struct Writer {
    folder: PathBuf,
    segmenter: Segmenter,
    playlist: Playlist,
    counted: Counted,
    failing: bool,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        while let Ok(item) = items.recv() {
            match item {
                Item::Packets(packets, now) => {
                    let mut ended = Vec::new();
                    self.segmenter
                        .push(&packets, now, |segment| ended.push(segment));
                    for segment in ended {
                        self.segment(&segment, false);
                    }
                }
                Item::Placed(placed) => self.playlist.indicate(placed),
                Item::Cut => self.segmenter.cut(),
                Item::End(ended) => {
                    match self.segmenter.finish() {
                        Some(segment) => self.segment(&segment, ended),
                        None if ended => self.write_playlist(true),
                        None => {}
                    }
                    return;
                }
            }
        }
    }

    fn segment(&mut self, segment: &Segment, ended: bool) {
        let name = Playlist::file_name(self.playlist.next_number());
        self.write(&name, &segment.bytes);
        let gone = self.playlist.add(segment);
        self.write_playlist(ended);
        for number in gone {
            // It may be gone already, or never have been.
            _ = std::fs::remove_file(self.folder.join(Playlist::file_name(number)));
        }
    }

    fn write_playlist(&mut self, ended: bool) {
        self.write(PLAYLIST, self.playlist.text(ended).as_bytes());
    }

    fn write(&mut self, name: &str, bytes: &[u8]) {
        let part = self.folder.join(format!("{name}.part"));
        let written = std::fs::write(&part, bytes)
            .and_then(|()| std::fs::rename(&part, self.folder.join(name)));
        match written {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.counted.change(|counts| counts.output_failed += 1);
                if !std::mem::replace(&mut self.failing, true) {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, name, %error, "hls is not written");
                }
            }
        }
    }
}

/// Removes segments of before this number, which an encoder that was killed left.
fn sweep(folder: &Path, first: u64) {
    let Ok(files) = std::fs::read_dir(folder) else {
        return;
    };
    for file in files.flatten() {
        let name = file.file_name();
        let number = name.to_str().and_then(|name| {
            let number = name.strip_prefix("segment-")?.strip_suffix(".ts")?;
            number.parse::<u64>().ok()
        });
        if number.is_some_and(|number| number < first) {
            // It may be gone already.
            _ = std::fs::remove_file(file.path());
        }
    }
}

/// The number after the last segment of the playlist that is there.
fn next_number(playlist: &Path) -> io::Result<u64> {
    let text = match std::fs::read_to_string(playlist) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let first: u64 = first.and_then(|first| first.parse().ok()).unwrap_or(0);
    let count = text
        .lines()
        .filter(|line| line.starts_with("#EXTINF:"))
        .count();
    Ok(first + count as u64)
}
