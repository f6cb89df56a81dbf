//! Where packets go.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};

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
        if udp.is_group() && udp.address.is_ipv4() {
            socket.set_multicast_ttl_v4(u32::from(udp.ttl))?;
            if let Some(own) = udp.interface {
                socket.set_multicast_if_v4(&own)?;
            } else {
                socket.set_multicast_if_v4(&Ipv4Addr::UNSPECIFIED)?;
            }
        } else if udp.is_group() {
            socket.set_multicast_hops_v6(u32::from(udp.ttl))?;
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
        let held = std::mem::take(&mut self.held);
        for datagram in held[..whole].chunks(DATAGRAM) {
            self.datagram(datagram);
        }
        self.held.extend_from_slice(&held[whole..]);
    }

    fn flush(&mut self) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.datagram(&held);
        }
    }

    /// Nobody need be there: a receiver that is not is no reason to stop for the others.
    fn datagram(&mut self, datagram: &[u8]) {
        match self.socket.send(datagram) {
            Ok(_) => self.failing = false,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                self.counted.change(|counts| counts.output_failed += 1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "a datagram of video was not sent");
                }
            }
        }
    }
}
