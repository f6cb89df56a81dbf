//! Sockets: datagrams with the kernel's receive stamps, and sockets that send from the service's
//! address.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage, recvmsg, setsockopt,
};
use selvedge_clock::Local;
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::HostClock;

/// One datagram, in the buffer that was given.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its bytes; what did not fit is cut off.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel took it from the network, on the given clock; when it was read, if the kernel
    /// put no stamp on it that can be believed.
    pub at: Local,
}

/// A socket on which [`receive`] gives the kernel's stamps, and returns within `timeout`.
///
/// # Errors
/// The address is taken, or is not this machine's.
pub fn bind(address: SocketAddr, timeout: Duration) -> Result<UdpSocket, Error> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(timeout))?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// Waits for a datagram.
///
/// # Errors
/// What the socket says; `WouldBlock` after the time that it was given.
pub fn receive(
    socket: &UdpSocket,
    clock: &HostClock,
    buffer: &mut [u8],
) -> Result<Received, Error> {
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::empty(),
    )?;
    let stamp = message
        .cmsgs()
        .ok()
        .into_iter()
        .flatten()
        .find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
    let from = message.address.as_ref().and_then(socket_address);
    let from =
        from.ok_or_else(|| Error::new(ErrorKind::InvalidData, "a datagram from no address"))?;
    Ok(Received {
        length: message.bytes,
        from,
        at: stamp
            .and_then(|stamp| clock.at_wall(stamp))
            .unwrap_or_else(|| clock.now()),
    })
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    debug_assert!(address.family().is_some());
    address
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::V6((*v6).into()))
}

/// Whether anybody can be answered there: no port 0, unspecified, broadcast or multicast address.
#[must_use]
pub(crate) fn is_client(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let nobody = match ip {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(_) => false,
    };
    address.port() != 0 && !nobody && !ip.is_unspecified() && !ip.is_multicast()
}

/// Sockets by the service address that they send from. They are connected to nobody: an ICMP
/// message about one client must not reach the answer to the next.
#[derive(Debug, Default)]
pub struct Outlets {
    sockets: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
}

/// Different service addresses of one machine.
const OUTLETS_MAX: usize = 256;

impl Outlets {
    /// Answers from this address leave by the socket that receives there already: two sockets on
    /// one address would each get some of the requests.
    pub fn share(&self, service: SocketAddr, socket: Arc<UdpSocket>) {
        self.lock().insert(service, socket);
    }

    /// The socket for a service address, made at the first time.
    ///
    /// # Errors
    /// This machine can neither have the address nor send from it; the message says how to let it.
    pub fn get(&self, service: SocketAddr) -> Result<Arc<UdpSocket>, Error> {
        let mut sockets = self.lock();
        if let Some(socket) = sockets.get(&service) {
            return Ok(Arc::clone(socket));
        }
        if sockets.len() >= OUTLETS_MAX {
            return Err(Error::other("more service addresses than any machine has"));
        }
        let socket = Arc::new(outlet(service)?);
        sockets.insert(service, Arc::clone(&socket));
        Ok(socket)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outlet(service: SocketAddr) -> Result<UdpSocket, Error> {
    let socket = Socket::new(
        Domain::for_address(service),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_reuse_address(true)?;
    // Nobody reads here.
    socket.set_recv_buffer_size(1)?;
    socket.set_nonblocking(true)?;
    let bound = socket.bind(&service.into()).or_else(|error| {
        if error.kind() != ErrorKind::AddrNotAvailable {
            return Err(error);
        }
        match service {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => {
                return Err(error);
            }
        }
        socket.bind(&service.into())
    });
    bound.map_err(|error| {
        let ip = service.ip();
        Error::new(
            error.kind(),
            format!(
                "cannot send from the service address {service}: {error}; give this machine the address \
                 (`ip address add {ip} dev lo`) or let the program bind foreign ones (CAP_NET_ADMIN, IPv4)"
            ),
        )
    })?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_with_the_kernels_stamp() {
        let clock = HostClock::skewed(5_000_000_000, 30e-6);
        let socket = bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Duration::from_secs(5),
        )
        .expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let start = clock.now();
        loop {
            let before = clock.now();
            sender
                .send_to(b"hello", socket.local_addr().expect("address"))
                .expect("sent");
            let after = clock.now();
            // Read later than it came: the stamp is of its coming.
            while clock.now() - after < 20_000_000 {
                std::thread::yield_now();
            }
            let mut buffer = [0; 16];
            let received = receive(&socket, &clock, &mut buffer).expect("received");
            assert_eq!(&buffer[..received.length], b"hello");
            assert_eq!(received.from, sender.local_addr().expect("address"));
            // Two clocks are not read at one moment on a busy machine.
            let slack = 1_000_000;
            assert!(received.at >= before - slack);
            if received.at <= after + slack {
                return;
            }
            // The kernel turns its stamps on a moment after they are asked for; until then they are
            // of the reading.
            assert!(
                received.at - start < 20_000_000_000,
                "never stamped at its coming"
            );
        }
    }

    #[test]
    fn nobody_is_answered_at_addresses_that_no_client_has() {
        for address in [
            "1.2.3.4:0",
            "0.0.0.0:53",
            "255.255.255.255:53",
            "224.0.0.1:53",
            "0.1.2.3:9",
            "[::]:53",
            "[ff02::1]:53",
            "[::ffff:224.0.0.1]:53",
        ] {
            assert!(!is_client(address.parse().expect("address")), "{address}");
        }
        for address in ["127.0.0.1:1", "192.0.2.7:53", "[2001:db8::1]:53"] {
            assert!(is_client(address.parse().expect("address")), "{address}");
        }
    }

    #[test]
    fn a_foreign_address_is_refused_with_the_remedy_or_sent_from() {
        // With the right to (root), IP_TRANSPARENT binds it; without, the message says what to do.
        match Outlets::default().get("192.0.2.200:7700".parse().expect("address")) {
            Ok(socket) => assert_eq!(socket.local_addr().expect("address").port(), 7700),
            Err(error) => assert!(
                error
                    .to_string()
                    .contains("ip address add 192.0.2.200 dev lo"),
                "{error}"
            ),
        }
    }
}
