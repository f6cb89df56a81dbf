//! Where packets go.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use selvedge_entry::Timestamp;
use selvedge_video::Placed;
use selvedge_video::packet::PACKET;
use socket2::{Domain, Protocol, Socket, Type};

use crate::EncoderError;
use crate::counts::Counted;
use crate::hls::Hls;
use crate::options::{EncoderOptions, Output, Udp};

/// Packets of a datagram: as many as an Ethernet frame holds.
const DATAGRAM: usize = 7 * PACKET;
/// Datagrams sent with one system call.
const BATCH: usize = 32;

/// An output at work.
pub(crate) enum Sink {
    Write(String, Box<dyn Write + Send>),
    Udp(Datagrams),
    Hls(Hls),
}

impl Sink {
    pub(crate) fn open(
        output: &Output,
        options: &EncoderOptions,
        counted: &Counted,
        live: bool,
    ) -> Result<Self, EncoderError> {
        let name = output.to_string();
        let failed = |error| EncoderError::Output(name.clone(), error);
        Ok(match output {
            Output::Stdout => Self::Write(name, Box::new(io::stdout())),
            Output::File(path) => {
                let file = File::create(path).map_err(failed)?;
                Self::Write(name, Box::new(file))
            }
            Output::Udp(udp) => {
                let datagrams = Datagrams::new(udp, counted.clone());
                Self::Udp(datagrams.map_err(failed)?)
            }
            Output::Hls(folder) => {
                let hls = Hls::start(folder, options.playlist, counted.clone(), live);
                Self::Hls(hls.map_err(failed)?)
            }
        })
    }

    /// Sends packets; where they go to a file, they are with the operating system when it returns.
    pub(crate) fn send(&mut self, packets: &[u8], now: Timestamp) -> Result<(), EncoderError> {
        match self {
            Self::Write(name, write) => {
                let written = write.write_all(packets).and_then(|()| write.flush());
                written.map_err(|error| EncoderError::Output(name.clone(), error))?;
            }
            Self::Udp(datagrams) => datagrams.send(packets),
            Self::Hls(hls) => hls.packets(packets, now),
        }
        Ok(())
    }

    /// Tells what was placed in the packets that come next.
    pub(crate) fn placed(&mut self, placed: &Placed) {
        if let Self::Hls(hls) = self {
            hls.placed(placed.clone());
        }
    }

    /// Tells that something else comes on in the packets that come next.
    pub(crate) fn cut(&mut self) {
        if let Self::Hls(hls) = self {
            hls.cut();
        }
    }

    /// Sends what is held, now that nothing comes for a while.
    pub(crate) fn flush(&mut self) {
        if let Self::Udp(datagrams) = self {
            datagrams.flush();
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(self, ended: bool) {
        match self {
            Self::Write(..) => {}
            Self::Udp(mut datagrams) => datagrams.flush(),
            Self::Hls(hls) => hls.finish(ended),
        }
    }
}

/// Packets as datagrams.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    held: Vec<u8>,
    counted: Counted,
    failing: bool,
}

impl Datagrams {
    fn new(udp: &Udp, counted: Counted) -> io::Result<Self> {
        let domain = Domain::for_address(udp.address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        match udp.address {
            SocketAddr::V4(_) if udp.is_group() => {
                socket.set_multicast_ttl_v4(u32::from(udp.ttl))?;
                socket.set_multicast_if_v4(&udp.interface.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
            }
            SocketAddr::V6(address) if udp.is_group() => {
                socket.set_multicast_hops_v6(u32::from(udp.ttl))?;
                socket.set_multicast_if_v6(address.scope_id())?;
            }
            _ => {}
        }
        let socket: UdpSocket = socket.into();
        socket.connect(udp.address)?;
        Ok(Self {
            socket,
            held: Vec::with_capacity(2 * DATAGRAM),
            counted,
            failing: false,
        })
    }

    fn send(&mut self, packets: &[u8]) {
        self.held.extend_from_slice(packets);
        let whole = self.held.len() / DATAGRAM * DATAGRAM;
        let mut held = std::mem::take(&mut self.held);
        self.datagrams(&held[..whole]);
        held.drain(..whole);
        self.held = held;
    }

    fn flush(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.datagrams(&held);
    }

    /// Sends packets as datagrams, of which the last may be shorter.
    fn datagrams(&mut self, packets: &[u8]) {
        let slices: Vec<[IoSlice<'_>; 1]> = packets
            .chunks(DATAGRAM)
            .map(|datagram| [IoSlice::new(datagram)])
            .collect();
        let mut from = 0;
        while from < slices.len() {
            let batch = &slices[from..(from + BATCH).min(slices.len())];
            // To where the socket is connected.
            let to = [None::<SockaddrStorage>; BATCH];
            let mut headers = MultiHeaders::preallocate(batch.len(), None);
            let (fd, none) = (self.socket.as_raw_fd(), MsgFlags::empty());
            match sendmmsg(fd, &mut headers, batch, to, [], none) {
                Ok(sent) => {
                    from += sent.count().max(1);
                    self.failing = false;
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    from += 1;
                    self.failed(error);
                }
            }
        }
    }

    /// Nobody need be there: a receiver that is not is no reason to stop for the others.
    fn failed(&mut self, error: Errno) {
        if error == Errno::ECONNREFUSED {
            return;
        }
        self.counted.change(|counts| counts.output_failed += 1);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "a datagram of video was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_packets_leave_in_order_by_sevens_and_what_is_left_when_it_is_flushed() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = receiver.local_addr().expect("its address");
        let udp = format!("{address}").parse().expect("right");
        let mut output = Datagrams::new(&udp, Counted::default()).expect("opens");
        // More than one batch, begun in the middle of a datagram, and fewer than the system keeps.
        let count = 7 * (BATCH + 3) + 5;
        let packets: Vec<u8> = (0..count).flat_map(|n| [n as u8; PACKET]).collect();
        output.send(&packets[..3 * PACKET]);
        output.send(&packets[3 * PACKET..]);
        output.flush();
        output.flush();
        let mut came = Vec::new();
        let mut buffer = [0; 4096];
        while came.len() < packets.len() {
            let length = receiver.recv(&mut buffer).expect("a datagram");
            let left = packets.len() - came.len();
            assert_eq!(length, left.min(DATAGRAM));
            came.extend_from_slice(&buffer[..length]);
        }
        assert!(came == packets);
    }

    #[test]
    fn a_group_is_sent_to_as_far_and_over_the_interface_that_was_asked_for() {
        let udp = "239.1.2.3:5000?ttl=5&iface=127.0.0.1"
            .parse()
            .expect("right");
        let output = Datagrams::new(&udp, Counted::default()).expect("opens");
        let socket = socket2::SockRef::from(&output.socket);
        assert_eq!(socket.multicast_ttl_v4().expect("known"), 5);
        let own = socket.multicast_if_v4().expect("known");
        assert_eq!(own, Ipv4Addr::LOCALHOST);
    }
}
