//! The channel watched on a terminal: indications in the video as they come, with how long they
//! took (B8).
//!
//! A stream is read from a file, from standard input, over UDP, or as HLS from the gateway. Each
//! indication is shown once, by its id; a heartbeat shows one that was missed. Of a live stream the
//! terminal also says when a viewer sees it: its time stamp against the programme clock.

use std::collections::{HashSet, VecDeque};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvedge_transmit::Message;
use selvedge_video::{Faults, Framer, Placed, Reader, Refusal, Seen, State, pts_distance};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::BrowseError;

/// Ids that are remembered, so that each is shown once.
const REMEMBERED_MAX: usize = 4096;
/// Bytes of the longest playlist, and of the longest segment, that are read.
const PLAYLIST_MAX: usize = 4 << 20;
const SEGMENT_MAX: usize = 128 << 20;
/// How often a playlist is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the gateway may take for a file.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Playlists that do not come in a row, and the watching ends.
const FAILURES_MAX: u32 = 40;

/// Where the stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
    /// Datagrams, of a group or to an address of this host.
    Udp {
        /// The address.
        address: SocketAddr,
        /// The interface by which a group is joined, by its own address.
        interface: Option<Ipv4Addr>,
    },
    /// HLS: the playlist's URL.
    Hls(String),
}

/// How it is watched.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Where the stream is.
    pub stream: Stream,
    /// JSON lines in place of text.
    pub json: bool,
    /// It ends after so many indications; none: at the end of the stream.
    pub count: Option<u64>,
}

/// Watches, and says what it sees.
///
/// # Errors
/// When the stream cannot be read, or `out` cannot be written.
pub async fn watch(options: WatchOptions, out: &mut impl Write) -> Result<u64, BrowseError> {
    let mut watching = Watching {
        json: options.json,
        left: options.count,
        framer: Framer::default(),
        faults: Faults::default(),
        reader: Reader::default(),
        live: matches!(options.stream, Stream::Udp { .. }),
        shown: HashSet::new(),
        order: VecDeque::new(),
        count: 0,
        out,
    };
    read_stream(&options.stream, |bytes| {
        watching.bytes(bytes)?;
        Ok(!watching.is_done())
    })
    .await?;
    Ok(watching.count)
}

struct Watching<'a, W> {
    json: bool,
    left: Option<u64>,
    framer: Framer,
    faults: Faults,
    reader: Reader,
    live: bool,
    shown: HashSet<String>,
    order: VecDeque<String>,
    count: u64,
    out: &'a mut W,
}

/// Reads a stream, until `each` says that it is enough (false) or the stream ends.
pub(crate) async fn read_stream(
    stream: &Stream,
    mut each: impl FnMut(&[u8]) -> Result<bool, BrowseError>,
) -> Result<(), BrowseError> {
    match stream {
        Stream::Stdin => read(tokio::io::stdin(), each).await,
        Stream::File(path) => {
            let file = tokio::fs::File::open(path).await;
            let named = |error| BrowseError::Watch(format!("{}: {error}", path.display()));
            read(file.map_err(named)?, each).await
        }
        Stream::Udp { address, interface } => udp(*address, *interface, each).await,
        Stream::Hls(url) => hls(url, &mut each).await,
    }
}

async fn read(
    mut from: impl AsyncRead + Unpin,
    mut each: impl FnMut(&[u8]) -> Result<bool, BrowseError>,
) -> Result<(), BrowseError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await;
        let length = length.map_err(|error| BrowseError::Watch(error.to_string()))?;
        if length == 0 || !each(&buffer[..length])? {
            return Ok(());
        }
    }
}

async fn udp(
    address: SocketAddr,
    interface: Option<Ipv4Addr>,
    mut each: impl FnMut(&[u8]) -> Result<bool, BrowseError>,
) -> Result<(), BrowseError> {
    let named = |error: std::io::Error| BrowseError::Watch(format!("udp://{address}: {error}"));
    let socket = selvedge_transmit::bind(address, interface).map_err(named)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(named)?;
        if !each(&buffer[..length])? {
            return Ok(());
        }
    }
}

async fn hls(
    url: &str,
    each: &mut impl FnMut(&[u8]) -> Result<bool, BrowseError>,
) -> Result<(), BrowseError> {
    let playlist: reqwest::Url = url
        .parse()
        .map_err(|error| BrowseError::Watch(format!("{url}: {error}")))?;
    let client = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .build()
        .map_err(|error| BrowseError::Watch(error.to_string()))?;
    let mut next = None;
    let mut failures = 0;
    loop {
        let text = match get(&client, playlist.clone(), PLAYLIST_MAX).await {
            Ok(text) => text,
            Err(error) if failures < FAILURES_MAX => {
                failures += 1;
                if failures == 1 {
                    eprintln!("selvedge: {error}; waiting for it");
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (first, files) = segments(&text);
        let end = first + files.len() as u64;
        // From the newest on; after that each.
        let from = next.unwrap_or(end.saturating_sub(1)).max(first);
        for (number, file) in (first..).zip(files).filter(|(number, _)| *number >= from) {
            let Ok(url) = playlist.join(file) else {
                continue;
            };
            // One that has left the window meanwhile is one that was missed.
            if let Ok(bytes) = get(&client, url, SEGMENT_MAX).await
                && !each(&bytes)?
            {
                return Ok(());
            }
            next = Some(number + 1);
        }
        if text.contains("#EXT-X-ENDLIST") {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Finds the broadcasts that a stream carries.
#[derive(Default)]
pub(crate) struct Broadcasts {
    framer: Framer,
    faults: Faults,
    reader: Reader,
}

impl Broadcasts {
    /// Those that end in these bytes; false: another part of the same is still to come.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Vec<(Message, bool)>, BrowseError> {
        let mut found = Vec::new();
        let reader = &mut self.reader;
        let framed: Result<(), Refusal> =
            self.framer.push(bytes, &mut self.faults, |packets, _| {
                reader.push(packets, |seen| {
                    if let Seen::Carried(carried) = seen {
                        let message = Message::from_base64(&carried.message);
                        found.extend(message.map(|message| (message, carried.is_last())));
                    }
                });
                Ok(())
            });
        framed.map_err(|refusal| BrowseError::Watch(refusal.to_string()))?;
        Ok(found)
    }
}

impl<W: Write> Watching<'_, W> {
    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), BrowseError> {
        let mut found = Vec::new();
        let reader = &mut self.reader;
        let framed: Result<(), Refusal> =
            self.framer.push(bytes, &mut self.faults, |packets, _| {
                for packet in packets.chunks(selvedge_video::packet::PACKET) {
                    reader.push(packet, |seen| {
                        if let Seen::Id3(placed) = seen {
                            found.push((placed, 0));
                        }
                    });
                    for (placed, until) in &mut found {
                        if *until == 0 {
                            let now = reader.now().unwrap_or(placed.pts * 300) / 300;
                            *until = pts_distance(now, placed.pts);
                        }
                    }
                }
                Ok(())
            });
        framed.map_err(|refusal| BrowseError::Watch(refusal.to_string()))?;
        for (placed, until) in found {
            self.show(&placed, until)?;
        }
        Ok(())
    }

    /// `until`: from now to its time, in 90 kHz.
    fn show(&mut self, placed: &Placed, until: i64) -> Result<(), BrowseError> {
        let indication = &placed.indication;
        if self.is_done() || !self.shown.insert(indication.id.clone()) {
            return Ok(());
        }
        self.order.push_back(indication.id.clone());
        if self.order.len() > REMEMBERED_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.shown.remove(&old);
        }
        self.count += 1;
        self.left = self.left.map(|left| left - 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_nanos() as i64);
        let packet = placed.placed.0 - indication.at.0;
        let came = now - indication.at.0;
        let playout = self.live.then_some(came + until * 100_000 / 9);
        let line = if self.json {
            let line = json!({
                "indication": placed,
                "pts": placed.pts,
                "crossing_to_packet_ns": packet,
                "crossing_to_arrival_ns": came,
                "crossing_to_playout_ns": playout,
            });
            line.to_string()
        } else {
            let state = match indication.state {
                State::Raised => "raised",
                State::Cleared => "cleared",
            };
            let group = indication.group.as_deref();
            let group = group.map(|group| format!(" ({group})")).unwrap_or_default();
            let mut line = format!(
                "{}{group} {state} at {}: in the stream {} ms after the crossing, here {} ms",
                indication.rule,
                indication.value,
                packet / 1_000_000,
                came / 1_000_000,
            );
            if let Some(playout) = playout {
                line += &format!(", on the screen {} ms", playout / 1_000_000);
            }
            if placed.repeat {
                line += " (from a heartbeat)";
            }
            line
        };
        writeln!(self.out, "{line}")
            .and_then(|()| self.out.flush())
            .map_err(BrowseError::Output)
    }
}

async fn get(
    client: &reqwest::Client,
    url: reqwest::Url,
    most: usize,
) -> Result<Vec<u8>, BrowseError> {
    let named = |error: reqwest::Error| BrowseError::Watch(error.without_url().to_string());
    let asked = url.to_string();
    let mut response = client.get(url).send().await.map_err(named)?;
    if !response.status().is_success() {
        let status = response.status();
        return Err(BrowseError::Watch(format!("{asked}: {status}")));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(named)? {
        if bytes.len() + piece.len() > most {
            return Err(BrowseError::Watch(format!("{asked}: over {most} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The number of a playlist's first segment, and all segments.
fn segments(text: &str) -> (u64, Vec<&str>) {
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0);
    let files = text.lines().map(str::trim);
    let files = files.filter(|line| !line.is_empty() && !line.starts_with('#'));
    (first, files.collect())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use selvedge_video::packet::PACKET;
    use selvedge_video::testing::{Made, indication};
    use selvedge_video::{InsertOptions, Inserter};

    use super::*;

    #[tokio::test]
    async fn several_watch_one_group() {
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = sender.local_addr().expect("its address").port();
        let group = SocketAddr::from(([239, 255, 17, 8], port));
        let options = WatchOptions {
            stream: Stream::Udp {
                address: group,
                interface: Some(Ipv4Addr::LOCALHOST),
            },
            json: true,
            count: Some(1),
        };
        let watching = [0, 1].map(|_| {
            let options = options.clone();
            tokio::spawn(async move {
                let mut out = Vec::new();
                let count = watch(options, &mut out).await.expect("it watches");
                (count, String::from_utf8(out).expect("text"))
            })
        });
        // On this one thread both go on until they wait for a datagram.
        tokio::task::yield_now().await;
        // So short that the system keeps it all.
        let made = Made {
            packets: 600,
            pcr_every: 7,
            tables_every: 30,
            ..Made::default()
        };
        let mut inserter = Inserter::new(InsertOptions::default());
        inserter.place(indication(0)).expect("it fits");
        let mut out = Vec::new();
        let pushed = inserter.push(&made.bytes(), indication(0).at, &mut out);
        pushed.expect("taken");
        for datagram in out.chunks(7 * PACKET) {
            sender.send_to(datagram, group).expect("sent");
        }
        for one in watching {
            let (count, text) = one.await.expect("it ended");
            assert_eq!(count, 1);
            assert!(text.contains(&indication(0).id), "{text}");
        }
    }
}
