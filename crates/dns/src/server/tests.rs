//! The loop, over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};

use super::*;
use crate::authority::AuthorityOptions;
use crate::build::{Decoded, QueryBuilder};
use crate::query::kind;
use crate::respond::tests::{authority, zones};

const LONG: Duration = Duration::from_secs(60);

fn start(options: &ServerOptions) -> (Server, SocketAddr) {
    let authority = authority(zones(), AuthorityOptions::default());
    let server = Server::start(options, Arc::new(authority)).expect("a server");
    let address = server.sockets()[0].0;
    (server, address)
}

fn ephemeral() -> ServerOptions {
    ServerOptions {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        ..ServerOptions::default()
    }
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("set");
    socket
}

fn ns1(id: u16) -> Vec<u8> {
    QueryBuilder::new("ns1.example.", kind::A)
        .id(id)
        .edns(1232)
        .build()
}

fn tcp_ask(stream: &mut TcpStream, query: &[u8]) -> io::Result<Decoded> {
    stream.write_all(&(query.len() as u16).to_be_bytes())?;
    stream.write_all(query)?;
    tcp_read(stream)
}

fn tcp_read(stream: &mut TcpStream) -> io::Result<Decoded> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(Decoded::read(&answer).expect("well-formed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queries_at_once_each_get_their_answer() {
    for (threads, listen) in [(1, "127.0.0.1:0"), (2, "127.0.0.1:0"), (1, "[::1]:0")] {
        let options = ServerOptions {
            listen: vec![listen.parse().expect("an address")],
            threads,
            ..ServerOptions::default()
        };
        let (server, address) = start(&options);
        let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).expect("a socket");
        socket.set_read_timeout(Some(LONG)).expect("set");
        let mut seen = [false; 100];
        for id in 0..100 {
            socket.send_to(&ns1(id), address).expect("sent");
        }
        let mut answer = [0; 2048];
        for _ in 0..100 {
            let (length, from) = socket.recv_from(&mut answer).expect("an answer");
            assert_eq!(from, address);
            let got = Decoded::read(&answer[..length]).expect("well-formed");
            assert_eq!(got.answers().len(), 1);
            seen[usize::from(got.id)] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_many_queries() {
    let (server, address) = start(&ephemeral());
    let mut stream = TcpStream::connect(address).expect("connected");
    for id in 0..5 {
        let got = tcp_ask(&mut stream, &ns1(id)).expect("an answer");
        assert_eq!((got.id, got.answers().len()), (id, 1));
    }
    // Two at once, cut anywhere.
    let two: Vec<u8> = [7, 8]
        .iter()
        .flat_map(|id| [&[0, ns1(*id).len() as u8][..], &ns1(*id)].concat())
        .collect();
    for byte in &two {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(tcp_read(&mut stream).expect("an answer").id, 7);
    assert_eq!(tcp_read(&mut stream).expect("an answer").id, 8);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_or_too_much_is_closed() {
    let mut options = ephemeral();
    options.tcp.idle_ms = 50;
    let (server, address) = start(&options);
    let mut scraps = [0; 16];
    for said in [&[][..], &[0], &[0, 40, 1, 2], &[0xff, 0xff], &[0, 2, 1, 2]] {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(said).expect("sent");
        let read = stream.read(&mut scraps);
        assert!(matches!(read, Ok(0) | Err(_)), "{said:?}: {read:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_by_address() {
    let mut options = ephemeral();
    options.tcp.connections_per_address_max = 2;
    let (server, address) = start(&options);
    let mut first = TcpStream::connect(address).expect("connected");
    let mut second = TcpStream::connect(address).expect("connected");
    for stream in [&mut first, &mut second] {
        tcp_ask(stream, &ns1(1)).expect("an answer");
    }
    let mut third = TcpStream::connect(address).expect("connected");
    assert!(tcp_ask(&mut third, &ns1(1)).is_err());
    tcp_ask(&mut first, &ns1(2)).expect("an answer");
    assert_eq!(
        server
            .authority()
            .counts()
            .of(crate::Count::ConnectionsRefused),
        1
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_that_is_too_long_is_counted_and_others_answered() {
    let (server, address) = start(&ephemeral());
    let socket = client();
    socket.send_to(&[0; 9000], address).expect("sent");
    socket.send_to(b"", address).expect("sent");
    socket.send_to(&ns1(1), address).expect("sent");
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!(Decoded::read(&answer[..length]).expect("well-formed").id, 1);
    // Counters are handed in after each batch, and a thread that has stopped has handed in all.
    let authority = server.authority().clone();
    server.stop().await;
    let counts = authority.counts();
    assert_eq!(counts.of(crate::Count::Malformed), 1);
    assert_eq!(counts.of(crate::Count::NoQuery), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named() {
    let (server, address) = start(&ephemeral());
    let again = ServerOptions {
        listen: vec![address],
        ..ServerOptions::default()
    };
    let authority = Arc::new(authority(zones(), AuthorityOptions::default()));
    let error = Server::start(&again, authority)
        .expect_err("taken")
        .to_string();
    assert!(
        error.contains(&format!("cannot listen on {address} for DNS")),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_looked_up() {
    let (server, address) = start(&ephemeral());
    let found = crate::lookup(address, "alias.example", LONG).expect("found");
    assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
    let none = crate::lookup(address, "no.example", LONG).expect_err("none");
    assert!(none.to_string().contains("no such name"), "{none}");
    let wrong = crate::lookup(address, "a..b", LONG).expect_err("no name");
    assert!(matches!(wrong, crate::LookupError::Name(_)));
    let silent = client();
    let silence = silent.local_addr().expect("an address");
    let none = crate::lookup(silence, "a.example", Duration::from_millis(10));
    assert!(matches!(none, Err(crate::LookupError::Io { .. })));
    server.stop().await;
}
