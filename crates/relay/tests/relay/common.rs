//! Servers on free ports and raw bytes to and from them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_relay::{
    Body, Client, ClientLimits, Handler, Limits, Refusal, Request, Response, ResponseHead, Server,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers with what it was asked: line and fields in the body of `/head`, the body on `/echo`.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) refused: Mutex<Vec<Refusal>>,
}

impl Handler for Echo {
    async fn handle(&self, mut request: Request) -> Response {
        let mut response = Response::text(200, "");
        match request.head.path() {
            "/echo" => response.body = request.body,
            "/ignore" => response.body = Body::full("ignored"),
            "/204" => response.head = ResponseHead::new(204),
            "/304" => response.head = ResponseHead::new(304),
            "/unknown" => {
                let (sender, receiver) = tokio::sync::mpsc::channel(4);
                tokio::spawn(async move {
                    for part in ["one", "two"] {
                        let _ = sender.send(Ok(part.into())).await;
                    }
                });
                response.body = Body::channel(receiver);
            }
            "/read" => {
                response.body = match request.body.collect(1 << 20).await {
                    Ok(body) => Body::full(format!("{} bytes", body.len())),
                    Err(error) => return Response::text(400, &error.to_string()),
                };
            }
            _ => {
                let head = &request.head;
                let mut text = format!("{} {}\n", head.method(), head.target());
                for (name, value) in head.fields.iter() {
                    text += &String::from_utf8_lossy(name);
                    text += ": ";
                    text += &String::from_utf8_lossy(value);
                    text += "\n";
                }
                response.body = Body::full(text);
            }
        }
        response
    }

    fn refused(&self, refusal: Refusal, _peer: SocketAddr) {
        self.refused.lock().unwrap().push(refusal);
    }
}

/// Passes everything on to one upstream.
pub(crate) struct Relay(pub(crate) Client);

impl Handler for Relay {
    async fn handle(&self, mut request: Request) -> Response {
        match self.0.send(&request.head, &mut request.body).await {
            Ok(response) => response,
            Err(error) => Response::text(502, &error.to_string()),
        }
    }
}

pub(crate) async fn serve<H: Handler>(handler: H, limits: Limits) -> (Server, Arc<H>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handler = Arc::new(handler);
    let server = Server::start(listener, Arc::clone(&handler), limits).unwrap();
    (server, handler)
}

pub(crate) async fn echo() -> Server {
    serve(Echo::default(), Limits::default()).await.0
}

pub(crate) async fn relay_to(upstream: SocketAddr) -> Server {
    let client = Client::new(upstream.to_string(), ClientLimits::default());
    serve(Relay(client), Limits::default()).await.0
}

/// Sends bytes and returns everything until the server closes.
pub(crate) async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_all(&mut stream).await
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the server closes")
        .unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until the text has come.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    loop {
        let n = stream.read_buf(&mut all).await.unwrap();
        let got = String::from_utf8_lossy(&all).into_owned();
        if got.contains(text) {
            return got;
        }
        assert!(n > 0, "closed after {got:?}");
    }
}

/// An upstream that answers each connection by a script: it reads a head, then writes the answer.
pub(crate) async fn scripted(answers: Vec<Vec<&'static [u8]>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for script in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                for answer in script {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}
