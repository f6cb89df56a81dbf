//! Every shape that two parsers could read differently is answered with an error and the
//! connection is closed: nothing behind it is ever taken for a request.

use crate::common::{Echo, echo, serve, talk};
use selvedge_relay::Limits;

const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

async fn refused(request: &[u8], status: u16) {
    let server = echo().await;
    let mut bytes = request.to_vec();
    bytes.extend_from_slice(SMUGGLED);
    let answer = talk(server.local_addr(), &bytes).await;
    let shown = String::from_utf8_lossy(request);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{shown:?} gave {answer:?}"
    );
    assert!(answer.contains("connection: close"), "{shown:?}");
    assert!(!answer.contains("smuggled"), "{shown:?} gave {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}");
}

#[tokio::test]
async fn malformed_heads_are_answered_400_and_closed() {
    let bad: &[&[u8]] = &[
        // Lengths
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        // Transfer codings
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        // Lines
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
        // Request lines
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        // Host
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        // Not HTTP
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in bad {
        refused(request, 400).await;
    }
}

#[tokio::test]
async fn what_is_not_served_has_its_own_status() {
    refused(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        501,
    )
    .await;
    refused(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    )
    .await;
    refused(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        501,
    )
    .await;
    refused(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505).await;
    refused(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505).await;
    refused(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405).await;
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417).await;
}

#[tokio::test]
async fn sizes_over_their_limit_have_their_own_status() {
    let limits = Limits {
        head_bytes_max: 1024,
        head_fields_max: 8,
        target_bytes_max: 100,
        body_bytes_max: 10,
        ..Limits::default()
    };
    let (server, handler) = serve(Echo::default(), limits).await;
    let status = async |request: String| {
        let answer = talk(server.local_addr(), request.as_bytes()).await;
        answer[9..12].to_owned()
    };
    let long = "x".repeat(101);
    let huge = "x".repeat(2000);
    let many = "a: b\r\n".repeat(9);
    assert_eq!(
        status(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).await,
        "414"
    );
    assert_eq!(status(format!("GET /{huge}")).await, "414");
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {huge}")).await,
        "431"
    );
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {huge}\r\n\r\n")).await,
        "431"
    );
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).await,
        "431"
    );
    let post = "POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    assert_eq!(
        status(format!("{post}Content-Length: 11\r\n\r\n")).await,
        "413"
    );
    assert_eq!(
        status(format!("{post}Content-Length: 10\r\n\r\n0123456789")).await,
        "200"
    );
    // Only seen while it is read: the handler hears of it.
    let chunked = "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    let answer = talk(server.local_addr(), format!("{post}{chunked}").as_bytes()).await;
    assert!(answer.ends_with("body too large"), "{answer}");
    assert_eq!(handler.refused.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn bad_chunks_reach_the_handler_as_an_error_and_close_the_connection() {
    for chunks in [
        "x\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "2\nab\r\n",
        "2;\x01\r\nab\r\n",
    ] {
        let server = echo().await;
        let request = format!(
            "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}\
             GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = talk(server.local_addr(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunks:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{chunks:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_slow_head_is_answered_408_and_silence_is_closed() {
    let limits = Limits {
        head_timeout_ms: 30,
        idle_timeout_ms: 30,
        ..Limits::default()
    };
    let (server, _) = serve(Echo::default(), limits).await;
    let answer = talk(server.local_addr(), b"GET / HTTP/1.1\r\nHo").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(talk(server.local_addr(), b"").await, "");
    let answer = talk(server.local_addr(), b"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 204 No Content\r\n\r\n");
}

#[tokio::test]
async fn one_connection_too_many_is_answered_503() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let (server, _) = serve(Echo::default(), limits).await;
    let mut first = tokio::net::TcpStream::connect(server.local_addr())
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut first, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    crate::common::read_until(&mut first, "Host: a").await;
    let answer = talk(server.local_addr(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(server.counts().open, 1);
}
