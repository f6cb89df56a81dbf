//! Where packets come from, at the time when they are due.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use selvedge_video::packet::PACKET;
use selvedge_video::{Due, Faults, Framer, Pace, Refusal, Repeat, TICKS_PER_SECOND};
use socket2::{Domain, Protocol, Socket, Type};

use crate::options::{EncoderOptions, Input, Udp};
use crate::{EncoderError, Output};

/// Packets that are handed on at once where time matters: as many as a datagram has.
const AT_ONCE: usize = 7 * PACKET;
/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Pieces of a pipe that wait to be taken, at most.
const PIECES_MAX: usize = 4;
/// How long is waited for a datagram or a piece before it is looked what else there is to do.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes of the longest file that is played in a loop, which lies in memory.
const REPEATED_MAX: u64 = 4 << 30;
/// What the kernel keeps of datagrams that come in a burst.
const RECEIVE_BUFFER: usize = 4 << 20;
/// So far behind its clock a source gives up catching up.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// What a source gave.
pub(crate) enum Given {
    /// Bytes, appended to the buffer. They may begin and end anywhere.
    Bytes,
    /// Whole packets, appended to the buffer.
    Packets,
    /// Nothing for now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// A source of packets.
pub(crate) enum Source {
    /// As fast as it can be read.
    Read(Box<dyn Read + Send>),
    /// As it comes through a pipe, whoever writes it: by a thread, so that silence is noticed.
    Pipe(Receiver<io::Result<Vec<u8>>>),
    /// Datagrams as they come.
    Udp(UdpSocket, Box<[u8; 65_536]>),
    /// At the speed of the stream's clock.
    Paced(Box<Paced>),
}

impl Source {
    pub(crate) fn open(options: &EncoderOptions) -> Result<Self, EncoderError> {
        let name = options.input.to_string();
        let failed = |error| EncoderError::Input(name.clone(), error);
        if !options.clips.is_empty() && !options.simulate_source {
            return Err(EncoderError::NoLoop);
        }
        let live = options.realtime || options.outputs.iter().any(Output::is_live);
        let read: Box<dyn Read + Send> = match &options.input {
            Input::Udp(udp) => {
                let socket = listen(udp).map_err(failed)?;
                return Ok(Self::Udp(socket, Box::new([0; 65_536])));
            }
            Input::Stdin => Box::new(io::stdin()),
            Input::File(path) => {
                let file = File::open(path).map_err(failed)?;
                if options.simulate_source {
                    let packets = whole(file).map_err(failed)?;
                    let repeat = Repeat::new(packets);
                    let mut repeat = repeat.map_err(|error| EncoderError::Repeat(name, error))?;
                    for (name, path) in &options.clips {
                        let packets = File::open(path).and_then(whole);
                        let packets = packets.map_err(|error| {
                            EncoderError::Clip(path.display().to_string(), error)
                        })?;
                        let added = repeat.add(name, packets);
                        added.map_err(|error| {
                            EncoderError::ClipUnfit(path.display().to_string(), error)
                        })?;
                    }
                    return Ok(Self::Paced(Box::new(Paced::new(Packets::Repeat(
                        Box::new(repeat),
                    )))));
                }
                // A pipe with a name is as live as whoever writes it.
                let file_type = file.metadata().map_err(failed)?.file_type();
                if live && file_type.is_file() {
                    let packets = Packets::Read(Box::new(file), Box::default());
                    return Ok(Self::Paced(Box::new(Paced::new(packets))));
                }
                Box::new(file)
            }
        };
        // Where nothing waits for its time, a pipe that is silent is waited for.
        let datagrams = |output: &Output| matches!(output, Output::Udp(_));
        if options.realtime || options.outputs.iter().any(datagrams) {
            return pipe(read).map(Self::Pipe).map_err(EncoderError::Thread);
        }
        Ok(Self::Read(read))
    }

    /// Waits for what comes next.
    pub(crate) fn next(
        &mut self,
        out: &mut Vec<u8>,
        faults: &mut Faults,
    ) -> Result<Given, Stopped> {
        match self {
            Self::Read(read) => {
                let before = out.len();
                out.resize(before + READ, 0);
                let result = read.read(&mut out[before..]);
                out.truncate(before + result.as_ref().copied().unwrap_or(0));
                match result {
                    Ok(0) => Ok(Given::End),
                    Ok(_) => Ok(Given::Bytes),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Given::Nothing),
                    Err(error) => Err(Stopped::Io(error)),
                }
            }
            Self::Pipe(pieces) => match pieces.recv_timeout(WAIT) {
                Ok(Ok(piece)) => {
                    out.extend_from_slice(&piece);
                    Ok(Given::Bytes)
                }
                Ok(Err(error)) => Err(Stopped::Io(error)),
                Err(RecvTimeoutError::Timeout) => Ok(Given::Nothing),
                Err(RecvTimeoutError::Disconnected) => Ok(Given::End),
            },
            Self::Udp(socket, buffer) => match socket.recv(&mut buffer[..]) {
                Ok(length) => {
                    out.extend_from_slice(payload(&buffer[..length]));
                    Ok(Given::Bytes)
                }
                Err(error) if is_nothing(&error) => Ok(Given::Nothing),
                Err(error) => Err(Stopped::Io(error)),
            },
            Self::Paced(paced) => paced.next(out, faults),
        }
    }

    /// Has a clip come on, where there is one of this name.
    pub(crate) fn show(&mut self, name: &str) -> bool {
        self.repeat().is_some_and(|(repeat, _)| repeat.show(name))
    }

    /// Whether something else came on in what was given last.
    pub(crate) fn take_cut(&mut self) -> bool {
        let repeat = self.repeat();
        repeat.is_some_and(|(repeat, given)| repeat.take_cut(given))
    }

    /// A file that is played again and again, and how many packets of it were given.
    fn repeat(&mut self) -> Option<(&mut Repeat, u64)> {
        match self {
            Self::Paced(paced) => match &mut paced.packets {
                Packets::Repeat(repeat) => Some((repeat, paced.given)),
                Packets::Read(..) => None,
            },
            Self::Read(_) | Self::Pipe(_) | Self::Udp(..) => None,
        }
    }

    /// Whether packets come at their time.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Udp(..) | Self::Paced(_))
    }
}

/// Why a source ended.
pub(crate) enum Stopped {
    Io(io::Error),
    Refused(Refusal),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        WouldBlock | TimedOut | Interrupted | ConnectionRefused
    )
}

/// What stands behind an RTP header, where there is one.
fn payload(datagram: &[u8]) -> &[u8] {
    match datagram {
        [first, ..] if first >> 6 == 2 && datagram.len() % PACKET == 12 => &datagram[12..],
        _ => datagram,
    }
}

fn listen(udp: &Udp) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(udp.address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // As large as the host allows; what it allows is not ours to say.
    _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    match udp.address {
        SocketAddr::V4(address) if udp.is_group() => {
            // Several may listen to one group.
            socket.set_reuse_address(true)?;
            socket.bind(&udp.address.into())?;
            let own = udp.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
            socket.join_multicast_v4(address.ip(), &own)?;
        }
        SocketAddr::V6(address) if udp.is_group() => {
            socket.set_reuse_address(true)?;
            socket.bind(&udp.address.into())?;
            socket.join_multicast_v6(address.ip(), address.scope_id())?;
        }
        _ => socket.bind(&udp.address.into())?,
    }
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(WAIT))?;
    Ok(socket)
}

/// Reads a pipe in pieces, by a thread that ends with it, or when nobody takes them any more.
fn pipe(mut read: Box<dyn Read + Send>) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, pieces) = sync_channel(PIECES_MAX);
    let thread = std::thread::Builder::new().name("pipe".to_owned());
    thread.spawn(move || {
        loop {
            let mut piece = vec![0; READ];
            let read = match read.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    piece.truncate(length);
                    Ok(piece)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.send(read).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(pieces)
}

/// The packets of a file.
fn whole(file: File) -> io::Result<Vec<u8>> {
    if file.metadata()?.len() > REPEATED_MAX {
        let what = "over 4 GiB; a file that is played in a loop lies in memory";
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    let mut file = file.take(REPEATED_MAX);
    file.read_to_end(&mut bytes)?;
    let mut framer = Framer::default();
    let mut faults = Faults::default();
    let mut packets = Vec::with_capacity(bytes.len());
    let mut each = |whole: &[u8], _: &mut Faults| -> Result<(), Refusal> {
        packets.extend_from_slice(whole);
        Ok(())
    };
    let framed = framer.push(&bytes, &mut faults, &mut each);
    let framed = framed.and_then(|()| framer.finish(&mut faults, &mut each));
    framed.map_err(io::Error::other)?;
    Ok(packets)
}

/// Packets as fast as they are asked for.
enum Packets {
    Repeat(Box<Repeat>),
    Read(Box<dyn Read + Send>, Box<Framer>),
}

/// Packets when the stream's clock says.
pub(crate) struct Paced {
    packets: Packets,
    pace: Pace,
    start: Option<Instant>,
    due: Option<(Due, usize)>,
    /// Packets that were given.
    given: u64,
    ended: bool,
}

impl Paced {
    fn new(packets: Packets) -> Self {
        Self {
            packets,
            pace: Pace::default(),
            start: None,
            due: None,
            given: 0,
            ended: false,
        }
    }

    fn next(&mut self, out: &mut Vec<u8>, faults: &mut Faults) -> Result<Given, Stopped> {
        while self.due.is_none() {
            if self.ended {
                return Ok(Given::End);
            }
            self.read(faults)?;
        }
        let Some((due, sent)) = &mut self.due else {
            return Ok(Given::Nothing);
        };
        let share = due.lasts as f64 * *sent as f64 / due.packets.len() as f64;
        let at = (due.at as f64 + share) / TICKS_PER_SECOND as f64;
        let at = Duration::from_secs_f64(at);
        let now = Instant::now();
        let start = self.start.get_or_insert(now);
        let when = *start + at;
        if now < when {
            std::thread::sleep(when - now);
        } else if now - when > BEHIND_MAX {
            // This host was held up: what is late is late, and not sent in a burst.
            *start += now - when;
        }
        let end = (*sent + AT_ONCE).min(due.packets.len());
        out.extend_from_slice(&due.packets[*sent..end]);
        self.given += ((end - *sent) / PACKET) as u64;
        *sent = end;
        if end == due.packets.len() {
            self.due = None;
        }
        Ok(Given::Packets)
    }

    /// Reads on until packets are due, or the end.
    fn read(&mut self, faults: &mut Faults) -> Result<(), Stopped> {
        match &mut self.packets {
            Packets::Repeat(repeat) => {
                for packet in repeat.by_ref() {
                    if let Some(due) = self.pace.push(&packet) {
                        self.due = Some((due, 0));
                        return Ok(());
                    }
                }
            }
            Packets::Read(read, framer) => {
                let mut dues = Vec::new();
                let mut bytes = [0; READ_PACED];
                let length = read.read(&mut bytes).map_err(Stopped::Io)?;
                let mut each = |packets: &[u8], _: &mut Faults| -> Result<(), Stopped> {
                    for packet in packets.as_chunks::<PACKET>().0 {
                        dues.extend(self.pace.push(packet));
                    }
                    Ok(())
                };
                if length == 0 {
                    framer.finish(faults, &mut each)?;
                    dues.extend(self.pace.finish());
                    self.ended = true;
                } else {
                    framer.push(&bytes[..length], faults, &mut each)?;
                }
                self.due = join(dues).map(|due| (due, 0));
            }
        }
        Ok(())
    }
}

/// Bytes read at once from a paced file: few, so that they hold one reference or none.
const READ_PACED: usize = 16 * PACKET;

/// Several in a row as one; within so few packets the rate is one.
fn join(dues: Vec<Due>) -> Option<Due> {
    dues.into_iter().reduce(|mut first, next| {
        first.lasts += next.lasts;
        first.packets.extend(next.packets);
        first
    })
}
