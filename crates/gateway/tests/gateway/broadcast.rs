//! Broadcasts through the gateway (A10): each client is told its own session's head, programs give
//! it back beside their token, browsers by a post of the page's script.

use std::net::SocketAddr;

use bytes::Bytes;
use selvedge_gateway::Broadcaster;
use selvedge_identity::{Head, KeyRing, SessionId, SessionToken};
use selvedge_transmit::{Broadcast, Message, event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fleet::{Fleet, Jar, ask};

const PATH: &str = "/selvedge/broadcast";

fn session_of(token: &str, keys: &KeyRing) -> SessionToken {
    SessionToken::verify(token.as_bytes(), keys).unwrap()
}

/// Broadcasts a head for each of these tokens' sessions, one after the one that it shows.
fn broadcast(to: &Broadcaster, tokens: &[&str], keys: &KeyRing) -> Vec<Head> {
    let mut heads: Vec<(SessionId, Head)> = Vec::new();
    for token in tokens {
        let token = session_of(token, keys);
        let mut head = token.heads[0].clone();
        head.position.sequence += 1000;
        head.effect = head.position.sequence;
        head.counter += 1;
        heads.push((token.session, head));
    }
    let content = Bytes::from_static(b"goal");
    let message = Message {
        position: heads[0].1.position.clone(),
        broadcast: Broadcast::new([5; 16], "text/plain", content, &heads, keys).unwrap(),
    };
    to.tell(message);
    heads.into_iter().map(|(_, head)| head).collect()
}

/// A stream of broadcasts, read by hand.
struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    /// Opens one, and waits until it is heard.
    async fn open(address: SocketAddr, field: (&str, &str)) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (name, value) = field;
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: x\r\n{name}: {value}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut this = Self {
            stream,
            text: String::new(),
        };
        this.until("\r\n:\n\n").await;
        assert!(this.text.starts_with("HTTP/1.1 200"), "{}", this.text);
        assert!(this.text.contains("text/event-stream"), "{}", this.text);
        this
    }

    async fn until(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.text.contains(wanted) {
            let length = self.stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "ended before {wanted:?}: {}", self.text);
            self.text += str::from_utf8(&buffer[..length]).unwrap();
        }
    }

    async fn told(&mut self) -> event::Told {
        self.until("event: broadcast\n").await;
        self.until("}\n\n").await;
        let (_, data) = self.text.split_once("data: ").unwrap();
        let (data, _) = data.split_once('\n').unwrap();
        serde_json::from_str(data).unwrap()
    }
}

#[tokio::test]
async fn each_program_is_told_its_own_head_and_goes_on_from_it() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet.gateway(&[&content], |_| ()).await;
    let address = gateway.local_addr();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = ask(address, "GET /", &[]).await;
        tokens.push(answer.get("selvedge-session").unwrap().to_owned());
    }
    let mut streams = Vec::new();
    for token in &tokens {
        streams.push(Stream::open(address, ("selvedge-session", token)).await);
    }
    let mut stranger = Stream::open(address, ("x", "y")).await;
    assert_eq!(gateway.metrics().counts().broadcast_streams, 3);
    let both: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let heads = broadcast(&gateway.broadcaster(), &both, &fleet.keys);
    assert_eq!(stranger.told().await.head, None);
    let mut own = Vec::new();
    for stream in &mut streams {
        let told = stream.told().await;
        assert_eq!(told.bytes().as_deref(), Some(&b"goal"[..]));
        own.push(told.head.unwrap());
    }
    assert_ne!(own[0], own[1]);
    // Beside its own token the head goes on; beside the other's it is refused, and the request is
    // served as if it had not come.
    for (token, head, taken) in [(0, 0, true), (1, 0, false)] {
        let fields = [
            ("selvedge-session", tokens[token].as_str()),
            ("selvedge-session", &own[head]),
        ];
        let answer = ask(address, "GET /next", &fields).await;
        let answer = session_of(answer.get("selvedge-session").unwrap(), &fleet.keys);
        assert_eq!(
            answer.session,
            session_of(&tokens[token], &fleet.keys).session
        );
        assert_eq!(answer.heads[0].counter > heads[token].counter, taken);
        let went = content.seen().pop().unwrap();
        assert!(!went.contains('~'), "the server gets one token: {went}");
    }
    assert_eq!(node.metrics().counts().heads_refused, 1);
    assert_eq!(gateway.metrics().counts().broadcasts, 1);
}

#[tokio::test]
async fn a_page_posts_its_head_and_the_browser_has_it_in_its_cookies() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet.gateway(&[&content], |_| ()).await;
    let address = gateway.local_addr();
    let mut jars = [Jar::default(), Jar::default()];
    let mut tokens = Vec::new();
    for jar in &mut jars {
        jar.take(&ask(address, "GET /", &[]).await);
        tokens.push(jar.tokens()[0].1.to_owned());
    }
    let mut stream = Stream::open(address, ("cookie", &jars[0].field())).await;
    let heads = broadcast(&gateway.broadcaster(), &[&tokens[0]], &fleet.keys);
    let head = stream.told().await.head.unwrap();
    let post = format!("POST {PATH}");
    let give = async |jar: &Jar, head: &str| {
        let fields = [
            ("cookie", jar.field()),
            ("selvedge-session", head.to_owned()),
        ];
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        ask(address, &post, &fields).await
    };
    let answer = give(&jars[0], &head).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.get("selvedge-session"),
        None,
        "cookies are hidden from scripts"
    );
    jars[0].take(&answer);
    let held = jars[0].tokens();
    assert_eq!(held.len(), 1, "{held:?}");
    let held = session_of(held[0].1, &fleet.keys);
    assert!(held.heads.contains(&heads[0]) && held.heads.len() == 2);
    // Any next request of the browser goes on from there, whatever made it.
    jars[0].take(&ask(address, "GET /next", &[("cookie", &jars[0].field())]).await);
    let went = session_of(jars[0].tokens()[0].1, &fleet.keys);
    assert!(went.heads[0].counter > heads[0].counter);

    // Another browser's page gains nothing by it, nor does one without a session.
    let answer = give(&jars[1], &head).await;
    assert_eq!((answer.status, answer.all("set-cookie").len()), (403, 0));
    assert_eq!(node.metrics().counts().heads_refused, 1);
    assert_eq!(give(&Jar::default(), &head).await.status, 403);
    assert_eq!(give(&jars[1], &tokens[0]).await.status, 400);
    assert_eq!(content.requests(), 3, "none of it is the servers' concern");
}

#[tokio::test]
async fn without_a_path_all_paths_are_the_servers() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet
        .gateway(&[&content], |options| options.broadcast.path.clear())
        .await;
    let address = gateway.local_addr();
    assert_eq!(ask(address, &format!("GET {PATH}"), &[]).await.body, "a 0");
}

#[tokio::test]
async fn stopping_ends_the_streams_at_once() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet.gateway(&[&content], |_| ()).await;
    let mut stream = Stream::open(gateway.local_addr(), ("x", "y")).await;
    assert_eq!(
        ask(gateway.local_addr(), &format!("PUT {PATH}"), &[])
            .await
            .status,
        405
    );
    gateway.stop().await;
    let mut rest = Vec::new();
    stream.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "an end, not a cut: {rest:?}");
}
