//! Fills a repository with made-up visits, says how fast it takes, reopens and answers, and serves
//! the page over them.
//!
//! ```text
//! cargo run --release -p selvedge-repository --example fill -- [VISITS] [ACTIONS] [ADDRESS]
//! ```
//! Each visit has its actions on three servers, some side by side; each action is a request of the
//! gateway, a content server and what an order calls. Some requests fail, and the stock service's
//! logs are lost, so that its calls are known from one side only.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use selvedge_entry::{
    Call, Closing, Data, Direction, Effect, Follow, Opening, Outcome, Record, Timestamp,
};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId, Shape,
};
use selvedge_journal::{DiskStorage, EpochStart};
use selvedge_repository::{AdminExtras, IngestState, Store, StoreOptions, router, serve};

const MS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let visits: u64 = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let actions: u64 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("selvedge-fill-{}", std::process::id()));
    let mut world = World::new();
    for visit in 0..visits {
        world.visit(visit, visits, actions);
    }

    let open = || Store::open(Arc::new(DiskStorage), &dir, StoreOptions::default());
    let store = open()?;
    let begun = Instant::now();
    let mut records = 0;
    for journal in &world.journals {
        for (n, batch) in journal.records.chunks(64).enumerate() {
            store.append(&journal.server, journal.epoch, n as u64 * 64, batch)?;
            records += batch.len();
        }
    }
    store.sync()?;
    say("taken", records, begun);
    let entries = store.counts().entries;
    drop(store);

    let begun = Instant::now();
    let store = open()?;
    say("read back", records, begun);
    assert_eq!(store.counts().entries, entries);

    let begun = Instant::now();
    for visit in 0..visits.min(1000) {
        store.session(session(visit))?;
    }
    say("visits answered", visits.min(1000) as usize, begun);

    if let Some(address) = arguments.next() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(&address).await?;
            println!("serving http://{}", listener.local_addr()?);
            let state = Arc::new(IngestState::default());
            let routes = router(Arc::new(store), state, AdminExtras::default());
            serve(listener, routes, std::future::pending()).await;
            Ok::<_, std::io::Error>(())
        })?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn say(what: &str, count: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{what}: {count} in {seconds:.3} s, {:.0}/s",
        count as f64 / seconds
    );
}

struct Journal {
    server: ServerName,
    epoch: Epoch,
    host: &'static str,
    records: Vec<Bytes>,
}

struct World {
    journals: Vec<Journal>,
    /// SplitMix64.
    random: u64,
    start: i64,
}

/// The journals by number: gateway, three content servers, catalogue, payment.
const GATEWAY: usize = 0;
const CATALOGUE: usize = 4;
const PAYMENT: usize = 5;

struct Work {
    duration: u64,
    status: u16,
    error: Option<&'static str>,
}

impl World {
    fn new() -> Self {
        let server = |(name, host): (&str, &'static str)| {
            let epoch = Epoch {
                counter: 1,
                random: 0x5eed,
            };
            let start = EpochStart {
                epoch,
                volatile: false,
                previous: None,
            };
            Journal {
                server: name.parse().expect("a name"),
                epoch,
                host,
                records: vec![start.encode().into()],
            }
        };
        let servers = [
            ("gateway", "10.0.0.1"),
            ("content-1", "10.0.0.11"),
            ("content-2", "10.0.0.12"),
            ("content-3", "10.0.0.13"),
            ("catalogue", "10.0.0.21"),
            ("payment", "10.0.0.22"),
        ];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            journals: servers.into_iter().map(server).collect(),
            random: 7,
            start: now.map_or(0, |now| now.as_nanos() as i64),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn interaction(&mut self) -> Interaction {
        Interaction::from_random(self.below(u64::MAX).to_be_bytes())
    }

    fn visit(&mut self, visit: u64, visits: u64, actions: u64) {
        let begun = self.start - ((visits - visit) * 3_000 * MS) as i64;
        let mut heads: Vec<(Position, u64)> = Vec::new();
        let mut counter = 0;
        let mut at = begun;
        let mut done = 0;
        while done < actions {
            // Some actions are sent side by side: all follow the same heads.
            let beside = [1, 1, 1, 2, 3, 4][self.below(6) as usize].min(actions - done);
            counter += 1;
            let mut next = Vec::new();
            for n in 0..beside {
                next.push(self.action(visit, counter, &heads, at + (n * 2 * MS) as i64));
            }
            heads = next;
            done += beside;
            at += ((30 + self.below(200)) * MS) as i64;
        }
    }

    fn action(
        &mut self,
        visit: u64,
        counter: u64,
        heads: &[(Position, u64)],
        at: i64,
    ) -> (Position, u64) {
        let random = self.below(u64::MAX).to_be_bytes();
        let mut tail = [0; 10];
        tail[..8].copy_from_slice(&random);
        let origin = Origin::new(at as u64 / MS, tail);
        let shape = Shape::default();
        let (root, sent) = (self.interaction(), self.interaction());
        let enter = RequestIdentifier::root(origin, root, shape);
        let hop = enter.advance(sent, shape);
        let content = 1 + self.below(3) as usize;
        let kind = self.below(5);
        let name = [
            "POST /orders",
            "GET /orders",
            "GET /",
            "POST /vote",
            "GET /channel",
        ][kind as usize];
        let fails = kind == 0 && self.below(8) == 0;
        let took = (2 + self.below(30)) * MS;
        let result = |slower: u64| Work {
            duration: took + slower * MS,
            status: if fails { 502 } else { 200 },
            error: fails.then_some("payment answered 500"),
        };
        let base = Opening {
            session: Some(session(visit)),
            client: Some(ClientId::from_random([(visit % 50) as u8 + 1; 16])),
            ..blank("gateway", name)
        };
        let gateway = self.opening(GATEWAY, &base, Direction::Inbound, &enter, root, at);
        self.write(GATEWAY, gateway, &result(2));
        let out = self.opening(
            GATEWAY,
            &base,
            Direction::Outbound,
            &hop,
            sent,
            at + MS as i64 / 2,
        );
        self.write(GATEWAY, out, &result(1));
        let taken = Opening {
            counter: Some(counter),
            after: heads
                .iter()
                .map(|(position, effect)| Follow {
                    position: position.clone(),
                    effect: *effect,
                })
                .collect(),
            service: "shop".into(),
            ..base.clone()
        };
        let taken = self.opening(
            content,
            &taken,
            Direction::Inbound,
            &hop,
            sent,
            at + MS as i64,
        );
        let head = self.write(content, taken, &result(0));
        if kind == 0 {
            self.order(content, &base, &hop, at + 2 * MS as i64, fails);
        }
        head
    }

    /// What an order calls: the catalogue, the payment, and a stock service without logs.
    fn order(
        &mut self,
        content: usize,
        base: &Opening,
        hop: &RequestIdentifier,
        at: i64,
        fails: bool,
    ) {
        let calls = [
            (CATALOGUE, "catalogue", "GET /items/7"),
            (PAYMENT, "payment", "POST /charge"),
            (usize::MAX, "stock", "POST /reserve"),
        ];
        for (n, (callee, service, action)) in calls.into_iter().enumerate() {
            let failed = fails && service == "payment";
            let work = Work {
                duration: (1 + self.below(4)) * MS,
                status: if failed { 500 } else { 200 },
                error: failed.then_some("card refused by the bank"),
            };
            let own = self.interaction();
            let down = hop.advance(own, Shape::default());
            let at = at + (n as u64 * 5 * MS) as i64;
            let call = Opening {
                service: "shop".into(),
                action: action.into(),
                ..base.clone()
            };
            let mut sent = self.opening(content, &call, Direction::Outbound, &down, own, at);
            if let Some(call) = &mut sent.call {
                call.peer = Some(service.into());
            }
            self.write(content, sent, &work);
            if callee != usize::MAX {
                let call = Opening {
                    service: service.into(),
                    ..call
                };
                let at = at + MS as i64 / 4;
                let received = self.opening(callee, &call, Direction::Inbound, &down, own, at);
                self.write(callee, received, &work);
            }
        }
    }

    fn opening(
        &self,
        server: usize,
        base: &Opening,
        direction: Direction,
        identifier: &RequestIdentifier,
        own: Interaction,
        at: i64,
    ) -> Opening {
        let (method, path) = base.action.split_once(' ').unwrap_or(("GET", "/"));
        Opening {
            direction,
            call: Some(Call {
                identifier: identifier.clone(),
                interaction: Some(own),
                peer: None,
                peer_host: None,
            }),
            host: self.journals[server].host.into(),
            at: Timestamp(at),
            request: Data {
                fields: vec![
                    (Data::METHOD.into(), method.into()),
                    (Data::PATH.into(), path.into()),
                ],
                ..Data::default()
            },
            ..base.clone()
        }
    }

    /// Writes an entry as its three records; its position and its effect's sequence.
    fn write(&mut self, server: usize, opening: Opening, work: &Work) -> (Position, u64) {
        let outcome = match work.status {
            500.. => Outcome::Error,
            400.. => Outcome::Refused,
            _ => Outcome::Ok,
        };
        let journal = &mut self.journals[server];
        let at = journal.records.len() as u64;
        let effect = Effect {
            after_ns: work.duration * 9 / 10,
            status: work.status,
            outcome,
            attributes: Vec::new(),
            state: Vec::new(),
        };
        let closing = Closing {
            duration_ns: work.duration,
            status: work.status,
            outcome,
            error: work.error.map(Into::into),
            work: work.duration / 1000,
            request_bytes: 40,
            response_bytes: 300,
            attributes: vec![("region".into(), "north".into())],
            ..Closing::default()
        };
        let records = [
            Record::Opening(Box::new(opening)),
            Record::Effect {
                opening: at,
                effect,
            },
            Record::Closing {
                opening: at,
                closing: Box::new(closing),
            },
        ];
        for record in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            journal.records.push(bytes.into());
        }
        let position = Position {
            server: journal.server.clone(),
            epoch: journal.epoch,
            sequence: at,
        };
        (position, at + 1)
    }
}

fn session(visit: u64) -> SessionId {
    let mut bytes = [0x5e; 16];
    bytes[8..].copy_from_slice(&visit.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    SessionId::from_random(bytes)
}

fn blank(service: &str, action: &str) -> Opening {
    Opening {
        version: "1.0".into(),
        host: "".into(),
        ..Opening::new(Direction::Inbound, service, action, Timestamp(0))
    }
}
