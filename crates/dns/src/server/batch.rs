//! Many datagrams with one system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrLike as _, SockaddrStorage, recvmmsg, sendmmsg,
};

/// Datagrams at a time.
pub(crate) const BATCH: usize = 32;

/// Bytes of a datagram that are taken; no query is longer.
pub(crate) const DATAGRAM: usize = 4096;

/// Room for datagrams, and for those that answer them.
pub(crate) struct Batch {
    incoming: Box<[[u8; DATAGRAM]; BATCH]>,
    /// Length and source of each that came; of one that did not fit, no length.
    came: Vec<(Option<usize>, SocketAddr)>,
    receiving: MultiHeaders<SockaddrStorage>,
    sending: MultiHeaders<SockaddrStorage>,
    /// Answers, the first `answered` of them to be sent.
    pub(crate) outgoing: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            incoming: Box::new([[0; DATAGRAM]; BATCH]),
            came: Vec::with_capacity(BATCH),
            receiving: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
            outgoing: (0..BATCH).map(|_| Vec::with_capacity(DATAGRAM)).collect(),
            to: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for datagrams and takes those that are there; their number. 0 when nothing came for as
    /// long as the socket waits.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.came.clear();
        self.to.clear();
        let mut rooms = self.incoming.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            let room = rooms.next().expect("as many rooms as slices");
            [IoSliceMut::new(room)]
        });
        let flags = MsgFlags::MSG_WAITFORONE;
        let fd = socket.as_raw_fd();
        let got = recvmmsg(fd, &mut self.receiving, slices.iter_mut(), flags, None);
        let got = match got {
            Ok(got) => got,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for message in got {
            let from = message.address.as_ref().and_then(address);
            // Without a source it is counted as one that nobody can have.
            let from = from.unwrap_or_else(|| SocketAddr::from(([0; 4], 0)));
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            self.came.push((whole.then_some(message.bytes), from));
        }
        Ok(self.came.len())
    }

    /// A datagram that came, its source, and room for its answer; a datagram that was too long is
    /// `None`.
    pub(crate) fn message(&mut self, at: usize) -> (Option<&[u8]>, SocketAddr, &mut Vec<u8>) {
        let (length, from) = self.came[at];
        let message = length.map(|length| &self.incoming[at][..length.min(DATAGRAM)]);
        (message, from, &mut self.outgoing[self.to.len()])
    }

    /// The answer that was written last is to be sent to that address.
    pub(crate) fn answered(&mut self, to: SocketAddr) {
        self.to.push(Some(to.into()));
    }

    /// Sends all answers; how many the system would not send.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        let mut unsent = 0;
        let mut from = 0;
        while from < self.to.len() {
            let outgoing = &self.outgoing;
            let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|at| {
                let answer = outgoing.get(from + at);
                [IoSlice::new(answer.map_or(&[], Vec::as_slice))]
            });
            let to = &self.to[from..];
            let none = MsgFlags::empty();
            match sendmmsg(
                socket.as_raw_fd(),
                &mut self.sending,
                slices.iter(),
                to,
                [],
                none,
            ) {
                Ok(sent) => from += sent.count().max(1),
                Err(Errno::EINTR) => {}
                Err(_) => {
                    unsent += 1;
                    from += 1;
                }
            }
        }
        self.to.clear();
        unsent
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in();
    let v4 = v4.map(|v4| SocketAddr::V4(SocketAddrV4::new(v4.ip(), v4.port())));
    v4.or_else(|| {
        let v6 = storage.as_sockaddr_in6()?;
        let (flow, scope) = (v6.flowinfo(), v6.scope_id());
        let v6 = SocketAddrV6::new(v6.ip(), v6.port(), flow, scope);
        (storage.len() > 0).then_some(SocketAddr::V6(v6))
    })
}
