//! What valid requests get: keep-alive, pipelining, bodies, versions, 100 Continue, shutdown.

use std::time::Duration;

use crate::common::{echo, read_all, read_until, talk};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let server = echo().await;
    let bytes = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
        POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
        \r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for cut in [1, 20, 60, 100, 150, bytes.len()] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for part in bytes.chunks(cut) {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = read_all(&mut stream).await;
        let at = |text: &str| {
            answer
                .find(text)
                .unwrap_or_else(|| panic!("{text} in {answer}"))
        };
        assert!(at("GET /a") < at("abc"));
        assert!(at("abc") < at("3 bytes"));
        assert!(at("3 bytes") < at("GET /b"));
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4);
        assert_eq!(answer.matches("connection: close").count(), 1);
    }
}

#[tokio::test]
async fn old_clients_get_what_they_understand() {
    let server = echo().await;
    let address = server.local_addr();
    let answer = talk(address, b"GET /unknown HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.contains("connection: close\r\n\r\nonetwo"),
        "{answer}"
    );
    let answer = talk(
        address,
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
    )
    .await;
    assert!(answer.contains("connection: keep-alive"), "{answer}");
    assert!(answer.ends_with("GET /b\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_chunked() {
    let server = echo().await;
    let request = b"GET /unknown HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = talk(server.local_addr(), request).await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(
        answer.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let server = echo().await;
    let request = b"HEAD /unknown HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /204 HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /304 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = talk(server.local_addr(), request).await;
    let heads: Vec<&str> = answer.split("\r\n\r\n").collect();
    assert_eq!(heads.len(), 4, "{answer}");
    assert!(heads[0].starts_with("HTTP/1.1 200"));
    assert_eq!(heads[1], "HTTP/1.1 204 No Content");
    assert!(heads[2].starts_with("HTTP/1.1 304"));
    assert_eq!(heads[3], "");
}

#[tokio::test]
async fn fields_between_hops_end_here() {
    let server = echo().await;
    let request = b"GET http://real:81?q HTTP/1.1\r\nHost: claimed\r\nX-Keep: 1\r\nX-Drop: 2\r\n\
        Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
        Connection: close, x-drop, host, cookie\r\nCookie: a=b\r\n\r\n";
    let answer = talk(server.local_addr(), request).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, "GET /?q\nX-Keep: 1\nCookie: a=b\nhost: real:81\n");
}

#[tokio::test]
async fn the_client_is_told_to_continue_when_the_body_is_wanted() {
    let server = echo().await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let head =
        b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let interim = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    read_until(&mut stream, "3 bytes").await;
    // Not wanted: no word, the answer, the end.
    let head =
        b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_taken_for_a_request() {
    let server = echo().await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream
        .write_all(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n")
        .await
        .unwrap();
    stream
        .write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn stopping_closes_unused_connections_and_lets_requests_finish() {
    let server = echo().await;
    let address = server.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        .await
        .unwrap();
    read_until(&mut busy, "abc").await;
    let stopping = tokio::spawn(server.stop(Duration::from_secs(20)));
    assert_eq!(read_all(&mut idle).await, "");
    busy.write_all(b"def").await.unwrap();
    assert_eq!(read_all(&mut busy).await, "def");
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
