//! What a site answers our own client: where it serves, or its content itself (C6).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contest::{ANSWER_MAX, Answers, Asked, Kind};
use crate::wire::{Answer, ClientFrame, Wanted};

/// What is read of a server's answer at most: head and content.
const READ_MAX: usize = 16 * 1024;

/// Answers clients for one server.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Where clients reach it over HTTP.
    pub url: String,
    /// Where its content is fetched for a race; none: only its address is raced.
    pub content: Option<SocketAddr>,
    /// How long that may take: what is not there at the instant is late anyway.
    pub timeout: Duration,
}

impl Serving {
    /// With 250 ms for its content.
    #[must_use]
    pub fn new(url: &str, content: Option<SocketAddr>) -> Self {
        Self {
            url: url.to_owned(),
            content,
            timeout: Duration::from_millis(250),
        }
    }
}

impl Answers for Serving {
    fn answer(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        if asked.kind != Kind::Client {
            return None;
        }
        let Some(ClientFrame::Ask(ask)) = ClientFrame::decode(asked.request) else {
            return None;
        };
        let content = match ask.wanted {
            Wanted::Address => None,
            Wanted::Content => Some(fetch(self.content?, &ask.path, self.timeout)?),
        };
        let answer = ClientFrame::Answer(Answer {
            nonce: ask.nonce,
            race: asked.race,
            site: asked.site.unwrap_or_default().to_owned(),
            url: self.url.clone(),
            content,
        });
        let bytes = answer.encode();
        // More than a datagram holds is no content to race.
        (bytes.len() <= ANSWER_MAX).then_some(bytes)
    }
}

/// Status and body of `GET path`, by HTTP/1.0, whose end is the connection's.
fn fetch(server: SocketAddr, path: &str, timeout: Duration) -> Option<(u16, Vec<u8>)> {
    let until = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&server, timeout).ok()?;
    stream.set_write_timeout(Some(timeout)).ok()?;
    let request =
        format!("GET {path} HTTP/1.0\r\nhost: {server}\r\nuser-agent: selvedge-race\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let mut part = [0; 2048];
    loop {
        let left = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let length = stream.read(&mut part).ok()?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..length]);
        if bytes.len() > READ_MAX {
            return None;
        }
        if let Some(whole) = whole(&bytes) {
            return Some(whole);
        }
    }
    let (status, head, _) = head(&bytes)?;
    Some((status, bytes[head..].to_vec()))
}

/// The answer, once as much is there as its length says.
fn whole(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (status, head, length) = head(bytes)?;
    let body = bytes.get(head..head.checked_add(length?)?)?;
    Some((status, body.to_vec()))
}

/// Status, where the body begins, and its length if it is said.
fn head(bytes: &[u8]) -> Option<(u16, usize, Option<usize>)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).ok()? else {
        return None;
    };
    // HTTP/1.0 was asked for: chunks would be the server's fault.
    if response
        .headers
        .iter()
        .any(|h| h.name.eq_ignore_ascii_case("transfer-encoding"))
    {
        return None;
    }
    let length = response
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok());
    Some((response.code?, head, length))
}

/// Answers each kind by whom it is for.
#[derive(Clone, Default)]
pub struct ByKind {
    /// DNS queries.
    pub dns: Option<Arc<dyn Answers>>,
    /// Our own client's requests.
    pub client: Option<Arc<dyn Answers>>,
}

impl Answers for ByKind {
    fn answer(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        let answers = match asked.kind {
            Kind::Dns => self.dns.as_ref(),
            Kind::Client => self.client.as_ref(),
        };
        answers?.answer(asked)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::contest::RaceId;
    use crate::wire::{Ask, COOKIE_LENGTH};

    fn serve(answer: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("read");
            stream.write_all(answer).expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, thread)
    }

    fn answer(serving: &Serving, wanted: Wanted, path: &str) -> Option<Answer> {
        let ask = ClientFrame::Ask(Ask {
            nonce: 9,
            cookie: [0; COOKIE_LENGTH],
            wanted,
            path: path.to_owned(),
        });
        let bytes = serving.answer(&Asked {
            kind: Kind::Client,
            race: RaceId {
                epoch: 1,
                sequence: 2,
            },
            client: "127.0.0.1:1".parse().expect("address"),
            service: "127.0.0.1:2".parse().expect("address"),
            request: &ask.encode(),
            site: Some("site-1"),
        })?;
        match ClientFrame::decode(&bytes) {
            Some(ClientFrame::Answer(answer)) => Some(answer),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_site_answers_with_its_address_or_its_servers_content() {
        for said in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..],
            b"HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            let (address, thread) = serve(said);
            let serving = Serving::new("http://site-1", Some(address));
            let answer = answer(&serving, Wanted::Content, "/channel").expect("answers");
            assert_eq!(answer.content, Some((200, b"hello".to_vec())));
            assert!(
                thread
                    .join()
                    .expect("served")
                    .starts_with("GET /channel HTTP/1.0\r\n")
            );
        }
        let serving = Serving::new("http://site-1", None);
        let answer = answer(&serving, Wanted::Address, "").expect("answers");
        assert_eq!(
            (answer.site.as_str(), answer.url.as_str(), answer.nonce),
            ("site-1", "http://site-1", 9)
        );
    }

    #[test]
    fn what_a_datagram_cannot_hold_and_what_is_broken_is_silence() {
        static LONG: [u8; 3000] = [b'x'; 3000];
        let serving = |address| Serving::new("http://site-1", Some(address));
        for said in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"[..0],
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &LONG,
        ] {
            let (address, _thread) = serve(said);
            assert_eq!(answer(&serving(address), Wanted::Content, "/"), None);
        }
        let closed = TcpListener::bind("127.0.0.1:0")
            .expect("bound")
            .local_addr()
            .expect("address");
        assert_eq!(answer(&serving(closed), Wanted::Content, "/"), None);
    }
}
