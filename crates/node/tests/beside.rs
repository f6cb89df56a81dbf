//! Identifiers and requests that come by different ways meet in any order, within bounds.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use selvedge_bus::Hub;
use selvedge_identity::carrier::separate::Separate;
use selvedge_identity::{Interaction, KeyRing, Origin, RequestIdentifier, ServerName, Shape};
use selvedge_node::{Beside, BesideError, BesideOptions, Node, NodeOptions};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn beside(options: BesideOptions) -> (Arc<Beside>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let name = ServerName::new("printer").unwrap();
    let keys = KeyRing::single([7; 32]);
    let node = NodeOptions::new(name, "printer", folder.path(), keys);
    let node = Node::start(node, Arc::new(Hub::default())).await.unwrap();
    (Arc::new(Beside::new(node, options)), folder)
}

fn identifier(number: u8) -> RequestIdentifier {
    let origin = Origin::new(1, [number; 10]);
    RequestIdentifier::root(
        origin,
        Interaction::from_random([number; 8]),
        Shape::default(),
    )
}

fn message(about: &[u8], number: u8) -> Vec<u8> {
    let message = Separate::new(about, identifier(number)).unwrap();
    message.encode().into_bytes()
}

#[tokio::test(start_paused = true)]
async fn whichever_comes_first_waits_for_the_other() {
    let (beside, _folder) = beside(BesideOptions::default()).await;
    beside.came(&message(b"job-1", 1), LOCAL).unwrap();
    assert_eq!(
        beside.of(b"job-1", Duration::ZERO).await,
        Some(identifier(1))
    );
    assert_eq!(
        beside.of(b"job-1", Duration::ZERO).await,
        None,
        "it is given once"
    );

    let waits =
        |beside: Arc<Beside>| async move { beside.of(b"job-2", Duration::from_secs(5)).await };
    let two = [(); 2].map(|()| tokio::spawn(waits(beside.clone())));
    tokio::time::sleep(Duration::from_secs(4)).await;
    beside.came(&message(b"job-3", 3), LOCAL).unwrap();
    beside.came(&message(b"job-2", 2), LOCAL).unwrap();
    for one in two {
        assert_eq!(
            one.await.unwrap(),
            Some(identifier(2)),
            "deliveries of one request"
        );
    }
    let counts = beside.counts();
    assert_eq!((counts.held, counts.awaited, counts.missing), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_it_was_told_and_an_identifier_no_longer_than_its_time() {
    let (beside, _folder) = beside(BesideOptions::default()).await;
    let began = tokio::time::Instant::now();
    assert_eq!(beside.of(b"job", Duration::from_millis(50)).await, None);
    assert!(
        began.elapsed() < Duration::from_millis(60),
        "{:?}",
        began.elapsed()
    );
    // It comes after all: for the next of its name, but not forever.
    beside.came(&message(b"job", 1), LOCAL).unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(beside.of(b"job", Duration::ZERO).await, None);
    assert_eq!(beside.counts().missing, 2);
}

#[tokio::test(start_paused = true)]
async fn too_many_of_either_are_turned_away_and_counted() {
    let options = BesideOptions {
        held_max: 2,
        waiters_max: 1,
        ..BesideOptions::default()
    };
    let (beside, _folder) = beside(options).await;
    for number in 1..=3 {
        beside.came(&message(&[number], number), LOCAL).unwrap();
    }
    assert_eq!(
        beside.of(&[1], Duration::ZERO).await,
        None,
        "the oldest was dropped"
    );
    assert_eq!(beside.of(&[3], Duration::ZERO).await, Some(identifier(3)));
    let waiter = beside.clone();
    let waiting = tokio::spawn(async move { waiter.of(b"job", Duration::from_secs(9)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    assert_eq!(beside.of(b"other", Duration::from_secs(9)).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO, "it does not wait");
    // One that goes away makes room.
    waiting.abort();
    assert!(waiting.await.is_err());
    assert_eq!(beside.of(b"other", Duration::from_secs(1)).await, None);
    let counts = beside.counts();
    assert_eq!((counts.dropped, counts.crowded, counts.missing), (1, 1, 2));
}

#[tokio::test]
async fn what_is_no_message_or_comes_from_a_stranger_is_refused_and_counted() {
    let (beside, _folder) = beside(BesideOptions::default()).await;
    let good = message(b"job", 1);
    let mut damaged = good.clone();
    damaged[30] ^= 1;
    for bad in [&damaged[..], b"", b"hello", &[b'x'; 4096]] {
        assert!(matches!(
            beside.came(bad, LOCAL),
            Err(BesideError::Message(_))
        ));
    }
    let stranger: IpAddr = [203, 0, 113, 7].into();
    assert_eq!(
        beside.came(&good, stranger),
        Err(BesideError::Source(stranger))
    );
    assert_eq!(beside.of(b"job", Duration::ZERO).await, None);
    assert_eq!(beside.counts().refused, 5);
}

#[tokio::test]
async fn messages_come_by_datagrams() {
    let (beside, _folder) = beside(BesideOptions::default()).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listening = beside.clone();
    let listening = tokio::spawn(async move { listening.listen(&socket).await });
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(&[b'x'; 2000], address).await.unwrap();
    sender.send_to(&message(b"job", 1), address).await.unwrap();
    let found = beside.of(b"job", Duration::from_secs(20)).await;
    assert_eq!(found, Some(identifier(1)));
    assert_eq!(beside.counts().refused, 1);
    listening.abort();
}

/// What happens, at which names.
#[derive(Clone, Debug)]
enum Step {
    Came(u8),
    Asked(u8),
    Waits(u8),
    Elapses,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8).prop_map(Step::Came),
        (0..4u8).prop_map(Step::Asked),
        (0..4u8).prop_map(Step::Waits),
        Just(Step::Elapses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Against a model that is a list: held identifiers by age, and who waits for which name.
    #[test]
    fn any_order_of_events_meets_as_in_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let options = BesideOptions {
                held_max: 3,
                held_for: Duration::from_secs(25),
                waiters_max: 100,
            };
            let (beside, _folder) = beside(options).await;
            // Each with the second it was put in.
            let mut held: VecDeque<(u8, u8, u64)> = VecDeque::new();
            let mut waiting: Vec<(u8, u64, tokio::task::JoinHandle<Option<RequestIdentifier>>)> = Vec::new();
            let mut second = 0;
            for (number, step) in (1..).zip(steps) {
                held.retain(|(_, _, since)| second - since < 25);
                match step {
                    Step::Came(name) => {
                        beside.came(&message(&[name], number), LOCAL).unwrap();
                        let (here, others) = waiting.into_iter().partition::<Vec<_>, _>(|w| w.0 == name);
                        waiting = others;
                        if here.is_empty() {
                            held.retain(|(other, _, _)| *other != name);
                            held.push_back((name, number, second));
                            if held.len() > 3 {
                                held.pop_front();
                            }
                        }
                        for (_, _, waiter) in here {
                            prop_assert_eq!(waiter.await.unwrap(), Some(identifier(number)));
                        }
                    }
                    Step::Asked(name) => {
                        let expected = held.iter().position(|(other, _, _)| *other == name);
                        let expected = expected.and_then(|at| held.remove(at));
                        let found = beside.of(&[name], Duration::ZERO).await;
                        prop_assert_eq!(found, expected.map(|(_, number, _)| identifier(number)));
                    }
                    Step::Waits(name) => {
                        let there = held.iter().position(|(other, _, _)| *other == name);
                        let waiter = beside.clone();
                        let waiter = tokio::spawn(async move {
                            waiter.of(&[name], Duration::from_millis(14_500)).await
                        });
                        tokio::task::yield_now().await;
                        match there.and_then(|at| held.remove(at)) {
                            Some((_, number, _)) => {
                                prop_assert_eq!(waiter.await.unwrap(), Some(identifier(number)));
                            }
                            None => waiting.push((name, second, waiter)),
                        }
                    }
                    Step::Elapses => {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        second += 5;
                        let (over, still) = waiting.into_iter().partition::<Vec<_>, _>(|w| second - w.1 >= 15);
                        waiting = still;
                        for (_, _, waiter) in over {
                            prop_assert_eq!(waiter.await.unwrap(), None);
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
