//! What a content server does with a request: the real node's work, with some of its own between.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use selvedge_identity::carrier::Headers;
use selvedge_identity::{Epoch, Head, Position, SessionToken};
use selvedge_journal::{Appended, JournalState, Kept};
use selvedge_node::{Acknowledge, End, Exchange, Inbound, Node, OutboundHeaders};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::Plant;
use crate::ledger::{Promise, Tag, Unheld};
use crate::random::Random;
use crate::server::Server;
use crate::thresholds::VISIT;
use crate::transactions::{ORDER, order};
use crate::world::World;

/// Whoever waits longer for an answer gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The attribute by which every part of an entry says whose it is.
pub(crate) const TAG: &str = "request";

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) tag: Tag,
    pub(crate) visit: usize,
    /// Its session tokens, if its gateway sent it.
    pub(crate) tokens: Vec<String>,
    /// The carried token, if a content server sent it.
    pub(crate) carried: Option<String>,
    /// The caller's part of the call tree.
    pub(crate) identified: Option<Identified>,
}

/// The headers by which a call is known.
#[derive(Clone, Debug)]
pub(crate) struct Identified {
    request: String,
    traceparent: String,
    tracestate: String,
}

impl Identified {
    pub(crate) fn of(headers: &OutboundHeaders) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            request: text(headers.request.as_bytes()),
            traceparent: text(headers.traceparent.as_bytes()),
            tracestate: text(headers.tracestate.as_bytes()),
        }
    }

    fn headers(&self) -> Headers<'_> {
        Headers {
            request: Some(self.request.as_bytes()),
            traceparent: Some(self.traceparent.as_bytes()),
            tracestate: Some(self.tracestate.as_bytes()),
        }
    }
}

/// The token of the answer.
pub(crate) type Reply = Option<String>;

/// Sends a request to a server and waits for its answer; `None` if none comes.
///
/// In a box, because a server that handles a request calls others.
pub(crate) fn call<'a>(
    world: &'a Arc<World>,
    at: usize,
    request: Request,
    random: &'a mut Random,
) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send + 'a>> {
    Box::pin(carry(world, at, request, random))
}

async fn carry(
    world: &Arc<World>,
    at: usize,
    request: Request,
    random: &mut Random,
) -> Option<Reply> {
    let front = world.front;
    sleep(random.ms(0, front.latency_ms)).await;
    if random.per_mille(front.loss) {
        sleep(PATIENCE / 4).await;
        return None;
    }
    let (sender, answer) = oneshot::channel();
    let own = random.split();
    let accepted =
        world.servers[at].spawn(|node| handle(world.clone(), at, node, request, own, sender));
    if !accepted {
        return None;
    }
    let reply = timeout(PATIENCE, answer).await.ok()?.ok()?;
    if random.per_mille(front.loss) {
        sleep(PATIENCE / 4).await;
        return None;
    }
    sleep(random.ms(0, front.latency_ms)).await;
    Some(reply)
}

async fn handle(
    world: Arc<World>,
    at: usize,
    node: Node,
    request: Request,
    mut random: Random,
    answer: oneshot::Sender<Reply>,
) {
    let tag = request.tag;
    let mut tokens: Vec<&str> = request.tokens.iter().map(String::as_str).collect();
    if world.options.plant == Plant::DroppedToken {
        tokens.truncate(1);
    }
    let path = match request.carried {
        Some(_) => format!("/deep/{tag}"),
        None => format!("/visit/{tag}"),
    };
    let identified = request.identified.as_ref();
    let inbound = Inbound {
        sessions: tokens.iter().map(|token| token.as_bytes()).collect(),
        carried: request.carried.as_deref().map(str::as_bytes),
        method: "GET",
        path: &path,
        peer: Some([10, 0, 0, 1].into()),
        headers: identified.map(Identified::headers).unwrap_or_default(),
        received: node.now(),
        ..Inbound::default()
    };
    let exchange = node.take(inbound).await;
    exchange.attribute(TAG, &tag.to_string());
    exchange.attribute(VISIT, &request.visit.to_string());
    if request.carried.is_none()
        && let Some(item) = order(tag)
    {
        exchange.attribute(ORDER, item);
    }
    let epoch = node.journal().epoch();
    if request.carried.is_none() {
        look_for_heads(&world, at, &node, &exchange, &request);
    }
    sleep(random.ms(0, 20)).await;
    match request.carried {
        Some(_) => {
            let mut action = exchange.action(&format!("deep {tag}"));
            action.attribute(TAG, &tag.to_string());
            sleep(random.ms(0, 5)).await;
            action.finish();
        }
        None => work(&world, at, &exchange, &request, &mut random).await,
    }
    let whole = random.per_mille(300);
    let given = match whole {
        true => exchange.finish(End::status(200)).await,
        false => exchange.answer(200).await,
    };
    if let Some(token) = &given.session {
        if let Acknowledge::Peers(count) = given.acknowledged {
            look_for_holders(&world, at, token, count.get().into());
        }
        promise(&world, at, &node, &request, epoch, token);
    }
    world
        .trace
        .event(&world.servers[at].host, format_args!("answers {path}"));
    let _ = answer.send(given.session);
    if !whole && random.per_mille(900) {
        sleep(random.ms(0, 150)).await;
        exchange.close(End::status(200));
    }
}

/// Actions of its own, and a call to another server.
async fn work(
    world: &Arc<World>,
    at: usize,
    exchange: &Exchange,
    request: &Request,
    random: &mut Random,
) {
    let tag = request.tag;
    match random.below(10) {
        0 | 1 => {
            for step in 0..random.between(1, 3) {
                let mut action = exchange.action(&format!("step {tag} {step}"));
                action.attribute(TAG, &tag.to_string());
                sleep(random.ms(0, 5)).await;
                action.finish();
            }
        }
        2 => {
            world.ledger.book().attempt(tag).sequential = false;
            let first = exchange.action(&format!("step {tag} 0"));
            let second = exchange.action(&format!("step {tag} 1"));
            sleep(random.ms(0, 5)).await;
            first.finish();
            second.finish();
        }
        3 => {
            let other = random.index(world.servers.len());
            if other == at {
                return;
            }
            let call = exchange.call(Some("content"), None, "GET", &format!("/deep/{tag}"));
            let headers = call.headers(true);
            let deeper = Request {
                tokens: Vec::new(),
                identified: Some(Identified::of(&headers)),
                carried: headers.carried,
                ..request.clone()
            };
            if deeper.carried.is_none() {
                return;
            }
            if let Some(Some(token)) = self::call(world, other, deeper, random).await {
                call.answered(token.as_bytes());
                world.ledger.book().attempt(tag).deep_known = true;
                call.close(End::status(200));
            }
        }
        _ => {}
    }
}

/// Read your own writes: which of the request's heads this server's memory does not hold.
fn look_for_heads(world: &World, at: usize, node: &Node, exchange: &Exchange, request: &Request) {
    let tokens = request.tokens.iter().map(|token| token.as_bytes());
    let Some(token) = SessionToken::unite(tokens, &world.keys).token else {
        return world
            .trace
            .violation(format!("request {}: its tokens are refused", request.tag));
    };
    if exchange.session() != Some(token.session) {
        world.trace.violation(format!(
            "request {}: taken into another session",
            request.tag
        ));
    }
    let history = node.memory().history(token.session);
    for head in token.heads {
        let held = history
            .iter()
            .any(|entry| entry.position == head.position && entry.effect.is_some());
        if held {
            continue;
        }
        let calm = |server: &Arc<Server>| world.is_calm(server);
        let owner = world.server(head.position.server.as_str());
        let unheld = Unheld {
            tag: request.tag,
            excused: !(calm(&world.servers[at]) && owner.is_some_and(calm)),
            head: head.position,
        };
        world.ledger.book().unheld.push(unheld);
    }
}

/// An answer that went out as held by so many others is in the memory of so many others, but of
/// those whose process has ended since.
fn look_for_holders(world: &World, at: usize, token: &str, count: usize) {
    let Ok(token) = SessionToken::verify(token.as_bytes(), &world.keys) else {
        return;
    };
    world.ledger.book().spread += 1;
    let others = world.servers.iter().enumerate();
    let others: Vec<_> = others.filter(|(other, _)| *other != at).collect();
    for head in token.heads {
        if head.position.server != world.servers[at].name {
            continue;
        }
        let effect = Position {
            sequence: head.effect,
            ..head.position.clone()
        };
        let holds = |server: &Server| {
            let node = server.node();
            server.ended_lately() || node.is_some_and(|node| node.memory().has_seen(&effect))
        };
        let held = others.iter().filter(|(_, server)| holds(server)).count();
        if held < count {
            world.trace.violation(format!(
                "{} was answered as held by {count} others, and {held} hold it",
                head.position
            ));
        }
    }
}

/// Notes what the answer's token proves.
fn promise(world: &World, at: usize, node: &Node, request: &Request, taken_in: Epoch, token: &str) {
    // The disk failed meanwhile: what was written is partly in memory only.
    let volatile = matches!(node.journal().state(), JournalState::Volatile { .. });
    let failed = volatile || taken_in != node.journal().epoch();
    if failed {
        world.ledger.book().visits[request.visit].lossy = true;
    }
    let token = match SessionToken::verify(token.as_bytes(), &world.keys) {
        Ok(token) => token,
        Err(error) => return world.trace.violation(format!("an answer's token: {error}")),
    };
    for Head {
        position, effect, ..
    } in token.heads
    {
        if position.server != world.servers[at].name {
            continue; // promised where it was written
        }
        let written = |epoch: Epoch, sequence| node.journal().kept(Appended { epoch, sequence });
        let kept = written(position.epoch, effect);
        let opening = written(position.epoch, position.sequence);
        if kept.is_none() || opening.is_none() {
            world.trace.violation(format!(
                "{position} was answered while its effect was only queued"
            ));
        }
        world.ledger.book().promises.push(Promise {
            tag: request.tag,
            visit: request.visit,
            position,
            effect,
            durable: !failed && kept == Some(Kept::Durable) && opening == Some(Kept::Durable),
        });
    }
}
