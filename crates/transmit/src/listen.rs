//! Messages received over UDP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::{Assembler, AssemblerOptions, DATAGRAM_MAX, Heard, Message};

/// Bytes that the system should keep for a listener that is busy: repeats of a large message come
/// in a burst.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A socket on an address, joining its group if it is one's. A group can have several on one host.
/// `interface`: the address of the interface to join it by; without one the system chooses, and for
/// IPv6 it is the address's scope. Port 0, for a single address, takes a free one.
///
/// # Errors
/// When the address is not to be had, or the group cannot be joined.
pub fn bind(address: SocketAddr, interface: Option<Ipv4Addr>) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Less is granted where the system says so.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if address.ip().is_multicast() {
        socket.set_reuse_address(true)?;
    }
    // Bound to the group, not to any address: other groups of this port are not ours.
    socket.bind(&address.into())?;
    match address {
        SocketAddr::V4(group) if group.ip().is_multicast() => {
            let own = interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
            socket.join_multicast_v4(group.ip(), &own)?;
        }
        SocketAddr::V6(group) if group.ip().is_multicast() => {
            socket.join_multicast_v6(group.ip(), group.scope_id())?;
        }
        _ => {}
    }
    UdpSocket::from_std(socket.into())
}

/// A member of a group, or a single address.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    assembler: Assembler,
    began: Instant,
    buffer: Vec<u8>,
}

impl Listener {
    /// Listens on an address, as [`bind`] says.
    ///
    /// # Errors
    /// When the address is not to be had, or the group cannot be joined.
    pub fn start(
        address: SocketAddr,
        interface: Option<Ipv4Addr>,
        options: AssemblerOptions,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: bind(address, interface)?,
            assembler: Assembler::new(options),
            began: Instant::now(),
            buffer: vec![0; DATAGRAM_MAX],
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next message, each once. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn next(&mut self) -> io::Result<Message> {
        loop {
            let (length, _) = self.socket.recv_from(&mut self.buffer).await?;
            let now = self.began.elapsed();
            if let Some(message) = self.assembler.take(&self.buffer[..length], now) {
                return Ok(message);
            }
        }
    }

    /// What it heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.assembler.heard()
    }
}
