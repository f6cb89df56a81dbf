//! A viewer who votes: one connection to the gateway, and the tokens of his visit.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Requests of a visit; then the viewer is another, without tokens.
const VISIT: usize = 32;

/// A connection to the gateway, and the tokens of the visit that it is used for.
pub struct Viewer {
    stream: TcpStream,
    buffer: Vec<u8>,
    session: String,
    client: String,
    requests: usize,
}

impl Viewer {
    /// Connects.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn connect(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateway).await.expect("connected");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream,
            buffer: vec![0; 16 << 10],
            session: String::new(),
            client: String::new(),
            requests: 0,
        }
    }

    /// Votes, and returns once the whole answer is here.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn vote(&mut self, choice: &str) {
        if self.requests.is_multiple_of(VISIT) {
            self.session.clear();
            self.client.clear();
        }
        self.requests += 1;
        let body = format!("{{\"choice\":\"{choice}\"}}");
        let mut request = format!(
            "POST /vote HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, token) in [("session", &self.session), ("client", &self.client)] {
            if !token.is_empty() {
                request.push_str(&format!("selvedge-{name}: {token}\r\n"));
            }
        }
        request.push_str("\r\n");
        request.push_str(&body);
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.expect("sent");
        self.answer().await;
    }

    async fn answer(&mut self) {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await;
            let read = read.expect("an answer");
            assert_ne!(read, 0, "the gateway hung up");
            filled += read;
            let text = &self.buffer[..filled];
            let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&text[..end]).expect("text");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            if filled < end + 4 + length(head) {
                continue;
            }
            if let Some(token) = field(head, "selvedge-session") {
                token.clone_into(&mut self.session);
            }
            if let Some(token) = field(head, "selvedge-client") {
                token.clone_into(&mut self.client);
            }
            return;
        }
    }
}

fn length(head: &str) -> usize {
    let text = field(head, "content-length").expect("a length");
    text.parse().expect("a number")
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
