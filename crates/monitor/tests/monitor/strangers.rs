//! The threshold link and those who have no business on it.

use std::time::Duration;

use selvedge_monitor::link::{BODY_MAX, LinkListener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the listener says to these bytes before it hangs up.
async fn answer(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    let ended = tokio::time::timeout(Duration::from_secs(60), end).await;
    // A reset is as good an end as any.
    let _ = ended.expect("it hangs up");
    answer
}

#[tokio::test]
async fn strangers_learn_nothing_and_bring_nothing() {
    let mut listener = LinkListener::start("127.0.0.1:0".parse().unwrap(), [7; 32])
        .await
        .unwrap();
    let address = listener.address();
    assert_eq!(
        answer(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await,
        b""
    );
    let hello = [b"SVTL\x01".as_slice(), &[1; 16]].concat();
    // A frame with a code of its own invention; one that is too long; one cut off.
    let forged = [&hello[..], &3_u32.to_le_bytes(), &[0; 16], b"abc"].concat();
    assert_eq!(
        answer(address, &forged).await.len(),
        16,
        "its nonce, and no more"
    );
    let long = BODY_MAX as u32 + 1;
    let long = [&hello[..], &long.to_le_bytes(), &[0; 16]].concat();
    assert_eq!(answer(address, &long).await.len(), 16);
    let next = tokio::time::timeout(Duration::from_millis(1), listener.next()).await;
    assert!(next.is_err(), "nothing arrived");
}
