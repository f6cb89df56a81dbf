//! The lab against its own plan: packets take as long as their path, are lost and overtaken as
//! planned, and nothing is left behind. Skipped, saying so, without root.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use selvedge_lab::{Lab, Plan, Shape, possible};

fn lab(plan: &Plan) -> Option<Lab> {
    if let Err(error) = possible() {
        eprintln!("skipped: {error}");
        return None;
    }
    Some(Lab::start(plan).expect("the lab starts"))
}

fn socket(lab: &Lab, host: &str) -> UdpSocket {
    let address = lab.address(host);
    let socket = lab.host(host).inside(move || UdpSocket::bind((address, 0)));
    let socket = socket.expect("bound");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("address")
}

#[test]
fn a_packet_takes_at_least_its_path_and_the_way_back_may_be_another() {
    let plan = Plan::default()
        .host("a", [10, 1, 0, 1])
        .host("b", [10, 1, 0, 2])
        .path("a", "b", 20.0);
    let Some(lab) = lab(&plan) else { return };
    lab.shape("b", "a", Shape::delay(Duration::from_millis(5)));
    let (a, b) = (socket(&lab, "a"), socket(&lab, "b"));
    let start = Instant::now();
    a.send_to(b"there", address(&b)).expect("sent");
    let mut buffer = [0; 16];
    let (_, from) = receive(&b, &mut buffer);
    let there = start.elapsed();
    assert_eq!(from, address(&a));
    let start = Instant::now();
    b.send_to(b"back", from).expect("sent");
    receive(&a, &mut buffer);
    let back = start.elapsed();
    assert!(there >= Duration::from_millis(20), "{there:?}");
    assert!(
        back >= Duration::from_millis(5) && back < there,
        "{back:?} {there:?}"
    );
    assert!(lab.lateness().packets >= 2);
}

/// A receive with a time limit is interrupted when a child of this process's ends, and other tests have
/// children.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.expect("received"),
        }
    }
}

/// However late the lab reads it: the kernel says when it left, during the call that sent it.
#[test]
fn a_packet_is_due_by_when_it_left() {
    let plan = Plan::default()
        .host("a", [10, 1, 0, 1])
        .host("b", [10, 1, 0, 2])
        .path("a", "b", 2.0);
    let Some(lab) = lab(&plan) else { return };
    let (a, b) = (socket(&lab, "a"), socket(&lab, "b"));
    // The two clocks that are compared are not read at one moment.
    let apart = Duration::from_micros(20);
    // On a busy machine a packet leaves after the call now and then.
    let mut during = 0;
    for _ in 0..200 {
        let before = Instant::now();
        a.send_to(b"there", address(&b)).expect("sent");
        let after = Instant::now();
        receive(&b, &mut [0; 16]);
        let passages = lab.delivered_since("b", before);
        let passage = passages.first().expect("it was delivered");
        assert_eq!(&*passage.from, "a");
        let ends = passage.ends.map(|(from, to)| (from.into(), to.into()));
        assert_eq!(ends, Some((address(&a), address(&b))));
        during += usize::from(passage.left + apart >= before && passage.left <= after + apart);
        let due = passage.left + Duration::from_millis(2);
        assert_eq!(passage.came, due + passage.late);
    }
    assert!(during > 150, "{during} of 200 left during the call");
}

#[test]
fn losses_are_as_planned_and_the_same_every_time() {
    let mut plan = Plan::default()
        .host("a", [10, 1, 0, 1])
        .host("b", [10, 1, 0, 2])
        .path("a", "b", 1.0);
    plan.seed = 4;
    plan.paths[0].loss = 0.3;
    let run = || -> Option<Vec<u8>> {
        let lab = lab(&plan)?;
        let (a, b) = (socket(&lab, "a"), socket(&lab, "b"));
        for number in 0..100 {
            a.send_to(&[number], address(&b)).expect("sent");
        }
        // One of these comes, with this seed.
        for _ in 0..10 {
            a.send_to(&[200], address(&b)).expect("sent");
        }
        let mut came = Vec::new();
        loop {
            let mut buffer = [0];
            receive(&b, &mut buffer);
            if buffer[0] == 200 {
                return Some(came);
            }
            came.push(buffer[0]);
        }
    };
    let Some(first) = run() else { return };
    assert!((50..90).contains(&first.len()), "{first:?}");
    assert!(first.is_sorted(), "none overtakes another");
    assert_eq!(run(), Some(first));
}

#[test]
fn packets_are_overtaken_where_it_is_planned() {
    let mut plan = Plan::default()
        .host("a", [10, 1, 0, 1])
        .host("b", [10, 1, 0, 2])
        .path("a", "b", 20.0);
    plan.paths[0].reorder = 0.2;
    let Some(lab) = lab(&plan) else { return };
    let (a, b) = (socket(&lab, "a"), socket(&lab, "b"));
    for number in 0..50 {
        a.send_to(&[number], address(&b)).expect("sent");
    }
    let came: Vec<u8> = (0..50)
        .map(|_| {
            let mut buffer = [0];
            receive(&b, &mut buffer);
            buffer[0]
        })
        .collect();
    assert!(!came.is_sorted(), "{came:?}");
}

#[test]
fn hosts_have_their_own_networks_and_a_process_started_there_too() {
    let plan = Plan::default()
        .host("a", [10, 1, 0, 1])
        .host("b", [10, 1, 0, 2]);
    let Some(lab) = lab(&plan) else { return };
    let shown = lab.host("b").inside(|| {
        std::process::Command::new("ip")
            .args(["-4", "address"])
            .output()
    });
    let shown = String::from_utf8(shown.expect("ran").stdout).expect("text");
    assert!(
        shown.contains("10.1.0.2/8") && !shown.contains("10.1.0.1"),
        "{shown}"
    );
    assert!(
        UdpSocket::bind("10.1.0.2:0").is_err(),
        "outside there is no such address"
    );
}
