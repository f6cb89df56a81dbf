//! A gateway: a real node, which writes its side of each request, and what it knows of cookie jars.
//! Its process dies with the requests in it.

use std::sync::{Arc, Mutex};

use selvedge_gateway::jar::{Carried, Change, Jars};
use selvedge_identity::SessionId;
use selvedge_journal::testing::Crash;
use selvedge_node::{End, Inbound, Node};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::random::Random;
use crate::server::Server;
use crate::service::{Identified, PATIENCE, Request, call};
use crate::world::{World, lock};

/// The gateways, as the network names them.
pub(crate) const HOSTS: [&str; 2] = ["gateway-1", "gateway-2"];
/// Sessions that a gateway remembers.
const SESSIONS: usize = 64;

pub(crate) struct Gateway {
    pub(crate) server: Arc<Server>,
    jars: Mutex<Jars<SessionId>>,
}

/// An answer that a gateway brings its client.
pub(crate) struct Passed {
    pub(crate) token: String,
    /// What becomes of a browser's cookies.
    pub(crate) cookies: Option<Change>,
}

impl Gateway {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server: Arc::new(server),
            jars: Mutex::new(Jars::new(SESSIONS)),
        }
    }

    /// It forgets what it knows of its browsers.
    pub(crate) fn forget(&self) {
        *lock(&self.jars) = Jars::new(SESSIONS);
    }

    /// Its process ends at this instant; false if there is none.
    pub(crate) fn crash(&self, world: &World, crash: Crash) -> bool {
        self.forget();
        self.server.crash(world, crash)
    }
}

/// Sends a client's request through a gateway to a server, and waits for the answer. `cookies`: a
/// browser's.
pub(crate) async fn pass(
    world: &Arc<World>,
    at: usize,
    request: Request,
    cookies: Option<Carried>,
    random: &mut Random,
) -> Option<Passed> {
    let front = world.front;
    let gateway = world.gateways[random.index(world.gateways.len())].clone();
    sleep(random.ms(0, front.latency_ms)).await;
    let (sender, answer) = oneshot::channel();
    let asked = Asked {
        at,
        request,
        cookies,
        random: random.split(),
    };
    let task = |node| relay(world.clone(), gateway.clone(), node, asked, sender);
    let taken = gateway.server.spawn(task);
    if !taken {
        return None;
    }
    let passed = timeout(PATIENCE * 2, answer).await.ok()?.ok()?;
    if random.per_mille(front.loss) {
        return None;
    }
    sleep(random.ms(0, front.latency_ms)).await;
    passed
}

/// What a gateway is to pass on, and to whom.
struct Asked {
    at: usize,
    request: Request,
    cookies: Option<Carried>,
    random: Random,
}

async fn relay(
    world: Arc<World>,
    gateway: Arc<Gateway>,
    node: Node,
    asked: Asked,
    answer: oneshot::Sender<Option<Passed>>,
) {
    let Asked {
        at,
        mut request,
        cookies,
        mut random,
    } = asked;
    let session = world.ledger.book().visits[request.visit].session;
    if let Some(carried) = &cookies {
        lock(&gateway.jars).came(session, carried);
    }
    let path = format!("/visit/{}", request.tag);
    let inbound = Inbound {
        method: "GET",
        path: &path,
        peer: Some([10, 0, 0, 9].into()),
        received: node.now(),
        ..Inbound::default()
    };
    let exchange = node.enter(&inbound, Some(session), None);
    let outbound = exchange.call(Some("content"), None, "GET", &path);
    request.identified = Some(Identified::of(&outbound.headers(false)));
    let reply = call(&world, at, request, &mut random).await;
    let end = || match &reply {
        Some(_) => End::status(200),
        None => End {
            error: Some("no answer".to_owned()),
            ..End::default()
        },
    };
    outbound.close(end());
    exchange.close(end());
    let token = reply.clone().flatten();
    let passed = token.map(|token| Passed {
        cookies: cookies.map(|carried| lock(&gateway.jars).answered(session, &carried, &token)),
        token,
    });
    // A client that went away hears nothing.
    _ = answer.send(passed);
}
