//! Through client and server: bodies both ways, kept-alive connections, failures told apart.

use crate::common::{echo, read_all, read_until, relay_to, scripted, talk};
use selvedge_relay::{Body, Client, ClientLimits, RequestHead, SendError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn get(target: &str) -> RequestHead {
    let mut head = RequestHead::new("GET", target).unwrap();
    head.fields.append("host", "test");
    head
}

fn post(target: &str) -> RequestHead {
    let mut head = RequestHead::new("POST", target).unwrap();
    head.fields.append("host", "test");
    head
}

fn client(address: impl ToString) -> Client {
    Client::new(address.to_string(), ClientLimits::default())
}

#[tokio::test]
async fn large_bodies_pass_both_ways_while_they_are_sent() {
    const BYTES: usize = 40 << 20;
    let upstream = echo().await;
    let relay = relay_to(upstream.local_addr()).await;
    for chunked in [false, true] {
        let stream = TcpStream::connect(relay.local_addr()).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {BYTES}")
        };
        let head =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n");
        let sender = tokio::spawn(async move {
            write.write_all(head.as_bytes()).await.unwrap();
            let block: Vec<u8> = (0..65_536u32).map(|i| (i % 251) as u8).collect();
            for _ in 0..BYTES / block.len() {
                if chunked {
                    write.write_all(b"10000\r\n").await.unwrap();
                }
                write.write_all(&block).await.unwrap();
                if chunked {
                    write.write_all(b"\r\n").await.unwrap();
                }
            }
            if chunked {
                write.write_all(b"0\r\n\r\n").await.unwrap();
            }
            write
        });
        let mut total = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = read.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            total += n;
        }
        sender.await.unwrap();
        assert!(total > BYTES && total < BYTES + BYTES / 100, "{total}");
    }
}

#[tokio::test]
async fn one_connection_carries_request_after_request() {
    let upstream = echo().await;
    let client = client(upstream.local_addr());
    for i in 0..20 {
        let mut response = client.send(&get("/a"), &mut Body::empty()).await.unwrap();
        assert_eq!(response.head.status, 200);
        assert!(
            response
                .body
                .collect(1000)
                .await
                .unwrap()
                .starts_with(b"GET /a")
        );
        let mut body = Body::full(vec![b'x'; i * 1000]);
        let mut response = client.send(&post("/echo"), &mut body).await.unwrap();
        assert_eq!(
            response.body.collect(1 << 20).await.unwrap().len(),
            i * 1000
        );
    }
    assert_eq!(client.connects(), 1);
}

#[tokio::test]
async fn an_answer_dropped_half_way_does_not_go_back_to_the_pool() {
    let upstream = echo().await;
    let client = client(upstream.local_addr());
    for _ in 0..2 {
        let mut body = Body::full(vec![b'x'; 4 << 20]);
        let mut response = client.send(&post("/echo"), &mut body).await.unwrap();
        response.body.chunk().await.unwrap().unwrap();
    }
    assert_eq!(client.connects(), 2);
}

#[tokio::test]
async fn a_stale_connection_costs_a_safe_request_nothing() {
    const ONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // Each connection answers once and closes with the next request in hand.
    let address = scripted(vec![vec![ONE, b""], vec![ONE, b""], vec![ONE]]).await;
    let client = client(address);
    for _ in 0..3 {
        let mut response = client.send(&get("/"), &mut Body::empty()).await.unwrap();
        assert_eq!(&response.body.collect(10).await.unwrap()[..], b"ok");
    }
    assert_eq!(client.connects(), 3);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let error = async |address, head: RequestHead| {
        let limits = ClientLimits {
            answer_timeout_ms: 50,
            ..ClientLimits::default()
        };
        let client = Client::new(format!("{address}"), limits);
        client
            .send(&head, &mut Body::empty())
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(
        error(nobody, get("/")).await,
        SendError::Connect { .. }
    ));
    let closes = scripted(vec![vec![b""]]).await;
    assert!(matches!(
        error(closes, get("/")).await,
        SendError::Closed { .. }
    ));
    let breaks = scripted(vec![vec![b"HTTP/1.1 200 OK\r\nContent-"]]).await;
    assert!(matches!(error(breaks, get("/")).await, SendError::Broke(_)));
    let strange: [&[u8]; 6] = [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ];
    for bytes in strange {
        let strange = scripted(vec![vec![bytes]]).await;
        let error = error(strange, get("/")).await;
        assert!(matches!(error, SendError::Malformed(_)), "{error:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = error(silent.local_addr().unwrap(), get("/")).await;
    assert_eq!(error, SendError::Timeout);
}

#[tokio::test]
async fn interim_answers_are_skipped_and_old_framing_is_understood() {
    let address = scripted(vec![vec![
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nold",
    ]])
    .await;
    let client = client(address);
    let mut response = client.send(&get("/"), &mut Body::empty()).await.unwrap();
    assert_eq!(&response.body.collect(10).await.unwrap()[..], b"old");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_by_the_client_as_broken() {
    let upstream = scripted(vec![vec![
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ]])
    .await;
    let relay = relay_to(upstream).await;
    let answer = talk(relay.local_addr(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.contains("3\r\nabc\r\n"), "{answer}");
    assert!(!answer.contains("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn head_answers_keep_their_declared_length() {
    let upstream = scripted(vec![vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
    ]])
    .await;
    let relay = relay_to(upstream).await;
    let requests =
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = talk(relay.local_addr(), requests).await;
    assert!(answer.contains("content-length: 1000\r\n"), "{answer}");
    assert!(answer.contains("content-length: 77\r\n"), "{answer}");
}

#[tokio::test]
async fn a_changed_protocol_is_tunnelled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = relay_to(listener.local_addr().unwrap()).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(
            head.contains("connection: upgrade\r\nupgrade: websocket\r\n"),
            "{head}"
        );
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s\r\n\r\nhello")
            .await
            .unwrap();
        assert_eq!(read_until(&mut stream, "ping").await, "ping");
        stream.write_all(b"pong").await.unwrap();
    });
    let mut stream = TcpStream::connect(relay.local_addr()).await.unwrap();
    let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = read_until(&mut stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("Sec-WebSocket-Accept: s"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    read_until(&mut stream, "pong").await;
    upstream.await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn an_answer_on_a_closing_connection_ends_before_our_side_ends() {
    // Servers give an answer up when they see the end of a client that has asked: only a
    // connection that is closed by us too early would show one here.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let (got, first_part) = tokio::sync::oneshot::channel::<()>();
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabc";
        stream.write_all(head).await.unwrap();
        let mut byte = [0];
        tokio::select! {
            biased;
            read = stream.read(&mut byte) => panic!("the client ended first: {read:?}"),
            _ = first_part => {}
        }
        stream.write_all(b"def").await.unwrap();
    });
    let mut response = client.send(&get("/"), &mut Body::empty()).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "abc");
    got.send(()).unwrap();
    assert_eq!(response.body.collect(10).await.unwrap(), "def");
    upstream.await.unwrap();
}
