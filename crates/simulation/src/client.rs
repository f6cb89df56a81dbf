//! Viewers: programs that hold their tokens, and browsers with the gateways' cookies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use selvedge_gateway::jar::{Carried, Name, fingerprint};
use selvedge_identity::{HEADS_MAX, SessionToken};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gateway::{Passed, pass};
use crate::ledger::Tag;
use crate::random::Random;
use crate::service::Request;
use crate::world::{World, lock};

/// Tries of the last request of a visit.
const LAST_TRIES: u32 = 200;

/// What a client holds.
#[derive(Clone, Debug)]
struct Holds {
    visit: usize,
    jar: bool,
    /// A program's tokens; the cookies of a browser.
    tokens: Vec<String>,
    cookies: BTreeMap<Name, String>,
}

type Client = Arc<Mutex<Holds>>;

/// Visits the fleet for a while.
pub(crate) async fn run(world: Arc<World>, visit: usize, mut random: Random) {
    let client = begin(&world, visit);
    // The first request alone, so that a browser gets its first cookie.
    until_answered(&world, &client, &mut random).await;
    let in_flight_max = random.between(1, 5) as usize;
    let mut in_flight = JoinSet::new();
    for _ in 0..random.between(15, 40) {
        while in_flight.len() >= in_flight_max {
            in_flight.join_next().await;
        }
        let (world, client, mut own) = (world.clone(), client.clone(), random.split());
        in_flight.spawn(async move {
            visit_once(&world, &client, &mut own).await;
        });
        let pause = match random.below(10) {
            0 => random.ms(50, 400),
            1..5 => random.ms(1, 40),
            _ => random.ms(0, 2),
        };
        sleep(pause).await;
    }
    while in_flight.join_next().await.is_some() {}
    until_answered(&world, &client, &mut random).await;
}

fn begin(world: &World, visit: usize) -> Client {
    let (session, jar) = {
        let book = world.ledger.book();
        (book.visits[visit].session, book.visits[visit].jar)
    };
    // As the gateway's log server begins a session.
    let token = SessionToken::new(session, []).sign(&world.keys);
    Arc::new(Mutex::new(Holds {
        visit,
        jar,
        tokens: vec![token],
        cookies: BTreeMap::new(),
    }))
}

async fn until_answered(world: &Arc<World>, client: &Client, random: &mut Random) {
    for _ in 0..LAST_TRIES {
        if visit_once(world, client, random).await {
            return;
        }
        sleep(random.ms(20, 200)).await;
    }
    let visit = lock(client).visit;
    world
        .trace
        .violation(format!("visit {visit} gets no answer any more"));
}

/// One request; whether an answer with a token came.
async fn visit_once(world: &Arc<World>, client: &Client, random: &mut Random) -> bool {
    let jar = lock(client).jar;
    match jar {
        true => visit_as_browser(world, client, random).await,
        false => visit_as_program(world, client, random).await,
    }
}

fn send(world: &World, client: &Holds, again_of: Option<u64>) -> (Tag, u64) {
    let visit = client.visit;
    let sent = again_of.unwrap_or_else(|| world.trace.event(&name(visit), format_args!("sends")));
    let tag = world.ledger.book().send(visit, sent);
    world
        .trace
        .event(&name(visit), format_args!("request {tag}"));
    (tag, sent)
}

fn receive(world: &World, visit: usize, tag: Tag) {
    let event = world
        .trace
        .event(&name(visit), format_args!("receives the answer of {tag}"));
    world.ledger.book().attempt(tag).received = Some(event);
}

fn name(visit: usize) -> String {
    format!("visit-{visit}")
}

async fn visit_as_program(world: &Arc<World>, client: &Client, random: &mut Random) -> bool {
    let (visit, carried, tag, sent) = {
        let client = lock(client);
        let (tag, sent) = send(world, &client, None);
        (client.visit, client.tokens.clone(), tag, sent)
    };
    note_heads(world, visit, &carried);
    let request = Request {
        tag,
        visit,
        tokens: carried.clone(),
        carried: None,
        identified: None,
    };
    let mut twin = None;
    if random.per_mille(world.front.twice) {
        let mut request = request.clone();
        request.tag = send(world, &lock(client), Some(sent)).0;
        let (world, client, mut own) = (world.clone(), client.clone(), random.split());
        let carried = carried.clone();
        let taken = own.per_mille(500);
        twin = Some(tokio::spawn(async move {
            let at = own.index(world.servers.len());
            let tag = request.tag;
            let reply = pass(&world, at, request, None, &mut own).await;
            if taken {
                take_tokens(&world, &client, tag, &carried, reply);
            }
        }));
    }
    let at = random.index(world.servers.len());
    let reply = pass(world, at, request, None, random).await;
    let answered = take_tokens(world, client, tag, &carried, reply);
    if let Some(twin) = twin {
        let _ = twin.await;
    }
    answered
}

/// The answer's token takes the place of those that its request carried.
fn take_tokens(
    world: &World,
    client: &Client,
    tag: Tag,
    carried: &[String],
    reply: Option<Passed>,
) -> bool {
    let Some(Passed { token, .. }) = reply else {
        return false;
    };
    let mut client = lock(client);
    receive(world, client.visit, tag);
    client.tokens.retain(|held| !carried.contains(held));
    client.tokens.push(token);
    true
}

/// More heads than a token holds: the fabric keeps the greatest, so order may be lost.
fn note_heads(world: &World, visit: usize, tokens: &[String]) {
    let verified = tokens
        .iter()
        .filter_map(|token| SessionToken::verify(token.as_bytes(), &world.keys).ok());
    let heads: usize = verified.map(|token| token.heads.len()).sum();
    if heads > HEADS_MAX {
        world.ledger.book().visits[visit].lossy = true;
    }
}

async fn visit_as_browser(world: &Arc<World>, client: &Client, random: &mut Random) -> bool {
    let (visit, cookies, first, tag) = {
        let client = lock(client);
        let (tag, _) = send(world, &client, None);
        (
            client.visit,
            client.cookies.clone(),
            client.tokens.clone(),
            tag,
        )
    };
    let carried: Carried = cookies
        .iter()
        .map(|(name, token)| (*name, fingerprint(token.as_bytes())))
        .collect();
    let tokens: Vec<String> = match cookies.is_empty() {
        true => first,
        false => cookies.into_values().collect(),
    };
    note_heads(world, visit, &tokens);
    let at = random.index(world.servers.len());
    let request = Request {
        tag,
        visit,
        tokens,
        carried: None,
        identified: None,
    };
    let passed = pass(world, at, request, Some(carried), random).await;
    let Some(Passed {
        token,
        cookies: Some(change),
    }) = passed
    else {
        return false;
    };
    let mut client = lock(client);
    receive(world, visit, tag);
    client.cookies.insert(change.set, token);
    for name in change.clear {
        client.cookies.remove(&name);
    }
    true
}
