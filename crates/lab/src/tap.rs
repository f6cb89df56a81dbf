//! When packets left their host: the kernel's stamp, not the moment at which somebody got round to
//! reading them.
//!
//! A TUN device stamps nothing. But a packet socket in the same namespace is given a copy of what the
//! device is about to send, with the time; so a packet is read at the device and its stamp is looked
//! up here. However late a busy machine reads, the packet is due when it is due, and packets that
//! meet at a host meet in their true order.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_ALL`: only such sockets see what is sent.
const EVERYTHING: u16 = 3;

/// `PACKET_OUTGOING`.
const OUTGOING: u8 = 4;

/// Copies that wait to be looked up.
const BUFFER: usize = 8 << 20;

/// A stamp that is older belongs to a wall clock that was stepped since.
const MOMENT: Duration = Duration::from_secs(1);

/// The stamps of one device.
pub(crate) struct Tap {
    socket: Socket,
    device: usize,
    copy: Vec<u8>,
}

impl Tap {
    /// For the device of that name, in the network namespace of the calling thread.
    pub(crate) fn open(device: &str) -> std::io::Result<Self> {
        let protocol = Protocol::from(i32::from(EVERYTHING.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        Ok(Self {
            socket,
            device: nix::net::if_::if_nametoindex(device)? as usize,
            copy: vec![0; 65_536],
        })
    }

    /// When this packet left; now, if the kernel's copy of it was lost.
    pub(crate) fn left(&mut self, packet: &[u8]) -> Instant {
        while let Some((length, stamp)) = self.next() {
            if self.copy[..length] == *packet {
                let (now, wall) = both();
                let ago = stamp.and_then(|stamp| wall.duration_since(stamp).ok());
                return now - ago.filter(|ago| *ago < MOMENT).unwrap_or_default();
            }
        }
        Instant::now()
    }

    /// The next packet that the device sent.
    fn next(&mut self) -> Option<(usize, Option<SystemTime>)> {
        let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
        loop {
            let mut slices = [IoSliceMut::new(&mut self.copy)];
            let flags = MsgFlags::empty();
            let message = recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut space),
                flags,
            );
            let message = message.ok()?;
            let here = message
                .address
                .is_some_and(|from| from.ifindex() == self.device && from.pkttype() == OUTGOING);
            if here {
                let stamp = message.cmsgs().ok()?.find_map(|part| match part {
                    ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                    _ => None,
                });
                return Some((message.bytes, stamp.map(|at| SystemTime::UNIX_EPOCH + at)));
            }
        }
    }
}

/// Both clocks at one moment: of three tries the quickest, for a thread may be held up in between.
fn both() -> (Instant, SystemTime) {
    let once = || {
        let before = Instant::now();
        let wall = SystemTime::now();
        (before.elapsed(), before, wall)
    };
    let [first, second, third] = [once(), once(), once()];
    let (_, now, wall) = first.min(second).min(third);
    (now, wall)
}
