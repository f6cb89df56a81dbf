//! Messages over real sockets of this host: groups, single addresses, repeats, bounds.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use selvedge_identity::{Epoch, KeyRing, Position, ServerName};
use selvedge_transmit::{
    AssemblerOptions, Broadcast, Listener, Message, Sender, SenderCounts, SenderOptions,
};

fn message(number: u64, length: usize) -> Message {
    let content = Bytes::from(vec![number as u8; length]);
    let keys = KeyRing::single([7; 32]);
    Message {
        position: Position {
            server: ServerName::new("content-1").unwrap(),
            epoch: Epoch {
                counter: 1,
                random: 1,
            },
            sequence: number,
        },
        broadcast: Broadcast::new([0; 16], "text/plain", content, &[], &keys).unwrap(),
    }
}

fn listener(address: SocketAddr) -> Listener {
    let interface = Some(Ipv4Addr::LOCALHOST);
    Listener::start(address, interface, AssemblerOptions::default()).unwrap()
}

fn options(to: Vec<SocketAddr>) -> SenderOptions {
    SenderOptions {
        to,
        interface: Some(Ipv4Addr::LOCALHOST),
        spacing_ms: 1,
        ..SenderOptions::default()
    }
}

/// A group and a port that nobody else here uses.
fn group() -> SocketAddr {
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .unwrap()
        .port();
    let [high, low] = port.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(239, 255, high, low), port))
}

#[tokio::test]
async fn all_members_of_a_group_get_each_message_once() {
    let group = group();
    let mut members: Vec<Listener> = (0..5).map(|_| listener(group)).collect();
    let sender = Sender::start(options(vec![group]), 1).await.unwrap();
    let messages = [message(1, 10), message(2, 20_000), message(3, 0)];
    for message in &messages {
        assert!(sender.send(message.encode()));
    }
    for member in &mut members {
        let mut came = Vec::new();
        for _ in 0..messages.len() {
            came.push(member.next().await.unwrap());
        }
        came.sort_by_key(|message| message.position.sequence);
        assert_eq!(came, messages);
        assert_eq!((member.heard().missed, member.heard().refused), (0, 0));
    }
}

#[tokio::test]
async fn single_addresses_get_them_too_and_every_repeat_is_sent() {
    let mut listeners: Vec<Listener> = (0..3)
        .map(|_| listener("127.0.0.1:0".parse().unwrap()))
        .collect();
    let to = listeners.iter().map(|one| one.local_addr().unwrap());
    let sender = Sender::start(options(to.collect()), 1).await.unwrap();
    assert!(sender.send(message(1, 10).encode()));
    for listener in &mut listeners {
        assert_eq!(listener.next().await.unwrap(), message(1, 10));
    }
    // Each of the three addresses gets the one datagram four times: the next message's follow them.
    assert!(sender.send(message(2, 10).encode()));
    while sender.counts().datagrams < 24 {
        tokio::task::yield_now().await;
    }
    let expected = SenderCounts {
        messages: 2,
        datagrams: 24,
        ..SenderCounts::default()
    };
    assert_eq!(sender.counts(), expected);
}

#[tokio::test(start_paused = true)]
async fn sending_keeps_to_its_rate_and_what_waits_is_bounded() {
    let listener = listener("127.0.0.1:0".parse().unwrap());
    let options = SenderOptions {
        bytes_per_s: 100_000,
        repeats: 0,
        waiting_bytes_max: 130_000,
        ..options(vec![listener.local_addr().unwrap()])
    };
    let sender = Sender::start(options, 1).await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(sender.send(message(1, 60_000).encode()));
    assert!(sender.send(message(2, 60_000).encode()));
    assert!(!sender.send(message(3, 60_000).encode()));
    let datagrams = 2 * 60_000_u64.div_ceil(1152);
    while sender.counts().datagrams < datagrams {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // On the paused clock time passes only by what the sender itself waits.
    let took = began.elapsed().as_secs_f64();
    assert!((1.15..1.4).contains(&took), "{took}");
    assert_eq!(sender.counts().refused, 1);
}

#[tokio::test]
async fn settings_that_cannot_be_kept_to_are_named() {
    let wrong = |change: fn(&mut SenderOptions)| {
        let mut options = SenderOptions::default();
        change(&mut options);
        options.check().unwrap_err()
    };
    assert!(wrong(|o| o.datagram_bytes = 100).contains("datagram_bytes = 100"));
    assert!(wrong(|o| o.bytes_per_s = 0).contains("bytes_per_s"));
    assert!(wrong(|o| o.to = vec!["239.1.1.1:0".parse().unwrap()]).contains("239.1.1.1:0"));
    assert_eq!(SenderOptions::default().check(), Ok(()));
}
