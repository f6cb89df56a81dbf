//! Cleartext HTTP/2 with prior knowledge on the same port.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use selvedge_relay::Limits;
use tokio::net::TcpStream;

use crate::common::{Echo, echo, relay_to, serve};

type Sender<B> = http2::SendRequest<B>;

async fn connect<B>(address: std::net::SocketAddr) -> Sender<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request<B>(method: &str, uri: &str, body: B) -> hyper::Request<B> {
    let builder = hyper::Request::builder().method(method).uri(uri);
    builder
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn requests_share_a_connection_and_look_like_any_other() {
    let upstream = echo().await;
    let relay = relay_to(upstream.local_addr()).await;
    let mut sender = connect::<Empty<Bytes>>(relay.local_addr()).await;
    let answers = (0..50).map(|i| {
        let uri = format!("http://real:81/head?{i}");
        sender.send_request(request("GET", &uri, Empty::new()))
    });
    let answers: Vec<_> = answers.collect();
    for (i, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert_eq!(
            body,
            format!("GET /head?{i}\nhost: real:81\ncookie: a=b; c=d\n")
        );
    }
    let head = sender.send_request(request("HEAD", "http://a/head", Empty::new()));
    let head = head.await.unwrap();
    assert!(head.headers().contains_key("content-length"));
    assert!(
        head.into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    let none = sender.send_request(request("GET", "http://a/204", Empty::new()));
    assert_eq!(none.await.unwrap().status(), 204);
    assert_eq!(relay.counts().connections, 1);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let upstream = echo().await;
    let relay = relay_to(upstream.local_addr()).await;
    let mut sender = connect::<Full<Bytes>>(relay.local_addr()).await;
    let sent = Bytes::from(
        (0..8_000_000u32)
            .map(|i| (i % 253) as u8)
            .collect::<Vec<_>>(),
    );
    let body = Full::new(sent.clone());
    let answer = sender.send_request(request("POST", "http://a/echo", body));
    let got = answer.await.unwrap().into_body().collect().await.unwrap();
    assert!(got.to_bytes() == sent);
}

#[tokio::test]
async fn limits_hold_as_in_http_1() {
    let limits = Limits {
        body_bytes_max: 10,
        target_bytes_max: 100,
        ..Limits::default()
    };
    let (server, handler) = serve(Echo::default(), limits).await;
    let mut sender = connect::<Full<Bytes>>(server.local_addr()).await;
    let status = async |sender: &mut Sender<_>, uri: &str, length: usize| {
        let body = Full::new(Bytes::from(vec![0; length]));
        sender
            .send_request(request("POST", uri, body))
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let long = format!("http://a/{}", "x".repeat(101));
    assert_eq!(status(&mut sender, &long, 0).await, 414);
    assert_eq!(status(&mut sender, "http://a/read", 11).await, 413);
    assert_eq!(status(&mut sender, "http://a/read", 10).await, 200);
    assert_eq!(handler.refused.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn stopping_lets_streams_finish() {
    let server = echo().await;
    let mut sender = connect::<Empty<Bytes>>(server.local_addr()).await;
    let answer = sender.send_request(request("GET", "http://a/head", Empty::new()));
    let answer = answer.await.unwrap();
    let stopping = tokio::spawn(server.stop(Duration::from_secs(20)));
    answer.into_body().collect().await.unwrap();
    stopping.await.unwrap();
    sender.ready().await.unwrap_err();
}
