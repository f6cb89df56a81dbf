//! Bodies of a gigabyte pass without being held.

use std::convert::Infallible;

use futures_util::StreamExt as _;
use selvedge_system_tests::Up;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const GIGABYTE: u64 = 1 << 30;
const CHUNK: usize = 64 << 10;
const GROWTH_MAX: u64 = 16 << 20;

/// A server that sends a gigabyte to a GET and counts what a POST sends.
async fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    format!("http://{address}")
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let mut chunk = vec![b'x'; CHUNK];
    if head.starts_with("get ") {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIGABYTE}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        for _ in 0..GIGABYTE / CHUNK as u64 {
            stream.write_all(&chunk).await?;
        }
    } else {
        // What comes in frames of its own ends with an empty one; lengths are told ahead.
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
        let mut left: u64 = length.expect("a length");
        while left > 0 {
            left -= stream.read(&mut chunk).await? as u64;
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_each_way_grows_the_relay_by_at_most_16_megabytes() {
    let origin = origin().await;
    let up = Up::start(&["--upstream", &origin]);
    let client = reqwest::Client::new();
    let url = format!("{}/big", up.gateway());
    // The first connections and pages are there anyway.
    let small = client.post(&url).body("x").send().await.expect("an answer");
    assert_eq!(small.status(), 204);
    let before = up.server().resident_bytes();
    let mut peak = before;

    let answer = client.get(&url).send().await.expect("an answer");
    let mut body = answer.bytes_stream();
    let (mut got, mut looked) = (0, 0);
    while let Some(part) = body.next().await {
        got += part.expect("a part").len() as u64;
        if got - looked > GIGABYTE / 32 {
            looked = got;
            peak = peak.max(up.server().resident_bytes());
        }
    }
    assert_eq!(got, GIGABYTE);

    let chunk = bytes::Bytes::from(vec![b'x'; CHUNK]);
    let parts = (0..GIGABYTE / CHUNK as u64).map(move |_| Ok::<_, Infallible>(chunk.clone()));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let sending = client
        .post(&url)
        .header("content-length", GIGABYTE)
        .body(body)
        .send();
    tokio::pin!(sending);
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let answer = loop {
        tokio::select! {
            answer = &mut sending => break answer.expect("an answer"),
            _ = look.tick() => peak = peak.max(up.server().resident_bytes()),
        }
    };
    assert_eq!(answer.status(), 204);
    peak = peak.max(up.server().resident_bytes());
    println!("resident {before} bytes, at most {peak}");
    assert!(
        peak - before <= GROWTH_MAX,
        "grew by {} bytes",
        peak - before
    );
}
