//! A thousand crossings over the threshold link, whose two ends die and whose connection breaks
//! between the sending of a notification and its acknowledgement: none is missed, what is repeated
//! bears the same id, and the receiver acts on each once (B7).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use selvedge_system_tests::{Server, selvedge};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::processes::Fleet;
use crate::thresholds::{vote_for_all, write_config};

const BLOWS: usize = 20;
/// So many crossings happen about each.
const EACH_BLOW: usize = 50;
const CROSSINGS: usize = BLOWS * EACH_BLOW;

/// What befalls the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The monitor is killed, wherever it is.
    Monitor,
    /// The receiver has acted, its acknowledgement is under way, and the monitor is killed.
    MonitorUnacknowledged,
    /// The same, and the receiver is killed.
    ReceiverUnacknowledged,
    /// The same, and nobody is killed but the connection.
    LinkUnacknowledged,
    /// A notification has come through, and its receiver is killed, whether it has acted or not.
    ReceiverTold,
}

const EACH: [Blow; 5] = [
    Blow::Monitor,
    Blow::MonitorUnacknowledged,
    Blow::ReceiverUnacknowledged,
    Blow::LinkUnacknowledged,
    Blow::ReceiverTold,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_crossings_are_acted_on_once_though_both_ends_die_before_the_acknowledgement() {
    let fleet = Fleet::start();
    let mut receiver = Receiver::new(fleet.folder());
    let mut link = Link::start(receiver.address).await;
    let rule = "name = \"choice\"\nfilter = 'direction = inbound and service = content and action \
                = \"POST /vote\"'\ngroup_by = \"request.choice\"\ngroups_max = 2000\nraise = 2\n";
    let to = format!("link = \"{}\"", link.address);
    let config = write_config(fleet.folder(), &to, rule);
    let monitor = || {
        let bus = fleet.gateway.address("bus");
        let mut command = selvedge(&["monitor", "--bus", bus, "--admin-listen", "127.0.0.1:0"]);
        command.arg("--data").arg(fleet.folder());
        command.arg("--config").arg(&config);
        Server::start(command, fleet.folder())
    };
    // Its first life says where counting begins, and writes that down as it stops.
    let mut running = monitor();
    running.stop();
    let mut running = monitor();

    let mut heard = Heard::default();
    for number in 0..BLOWS {
        let blow = EACH[number % EACH.len()];
        if blow != Blow::Monitor {
            link.hold();
        }
        let choices = number * EACH_BLOW..(number + 1) * EACH_BLOW;
        let half = choices.start + EACH_BLOW / 2;
        let voting = tokio::spawn(vote_for_all(fleet.gateway.url("gateway"), choices));
        match blow {
            Blow::Monitor => {
                while heard.groups.len() < half {
                    heard.hear(receiver.says().await);
                }
            }
            Blow::ReceiverTold => link.sees(Seen::Notification).await,
            _ => link.sees(Seen::Acknowledgement).await,
        }
        match blow {
            Blow::Monitor | Blow::MonitorUnacknowledged => {
                running.kill();
                running = monitor();
            }
            Blow::ReceiverUnacknowledged | Blow::ReceiverTold => {
                let mut rest = receiver.kill();
                receiver.start();
                while let Some(said) = rest.recv().await {
                    heard.hear(said);
                }
            }
            Blow::LinkUnacknowledged => {}
        }
        let repeated = heard.repeated.len();
        link.mend(receiver.address);
        while heard.groups.len() < (number + 1) * EACH_BLOW {
            heard.hear(receiver.says().await);
        }
        if !matches!(blow, Blow::Monitor | Blow::ReceiverTold) {
            // What was acted on and not acknowledged came again, before all others.
            assert!(heard.repeated.len() > repeated, "{blow:?}");
        }
        voting.await.expect("votes");
    }

    let acts = std::fs::read_to_string(&receiver.acted).expect("readable");
    let acts: Vec<Value> = acts
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let distinct = |key: &str| -> BTreeSet<&str> {
        let each = acts.iter().map(|told| told[key].as_str());
        each.map(|value| value.expect("text")).collect()
    };
    assert_eq!(acts.len(), CROSSINGS, "each was acted on once");
    assert_eq!(distinct("id").len(), CROSSINGS);
    assert_eq!(distinct("group").len(), CROSSINGS, "none was missed");
    drop(running);
}

/// What the receiver said.
struct Said {
    /// It acted; else it had done so before.
    acted: bool,
    told: Value,
}

/// All that the receiver's lives said.
#[derive(Default)]
struct Heard {
    by_id: BTreeMap<String, Value>,
    groups: BTreeSet<String>,
    /// The ids of what came again.
    repeated: BTreeSet<String>,
}

impl Heard {
    fn hear(&mut self, said: Said) {
        let text = |key: &str| said.told[key].as_str().expect("text").to_owned();
        let id = text("id");
        self.groups.insert(text("group"));
        if !said.acted {
            self.repeated.insert(id.clone());
        }
        let first = self.by_id.entry(id).or_insert_with(|| said.told.clone());
        assert_eq!(*first, said.told, "a repeat says the same");
    }
}

/// The receiver, in a process of its own.
struct Receiver {
    keys: PathBuf,
    acted: PathBuf,
    address: SocketAddr,
    child: Child,
    said: mpsc::UnboundedReceiver<Said>,
}

impl Receiver {
    fn new(folder: &Path) -> Self {
        let (keys, acted) = (folder.join("keys"), folder.join("acted"));
        let (child, address, said) = serve(&keys, &acted);
        Self {
            keys,
            acted,
            address,
            child,
            said,
        }
    }

    async fn says(&mut self) -> Said {
        self.said.recv().await.expect("it runs")
    }

    /// Kills it; what it had said by then.
    fn kill(&mut self) -> mpsc::UnboundedReceiver<Said> {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ends");
        std::mem::replace(&mut self.said, mpsc::unbounded_channel().1)
    }

    /// Starts its next life.
    fn start(&mut self) {
        (self.child, self.address, self.said) = serve(&self.keys, &self.acted);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(keys: &Path, acted: &Path) -> (Child, SocketAddr, mpsc::UnboundedReceiver<Said>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acting-receiver"));
    command.arg(keys).arg(acted).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = out.lines().map_while(Result::ok);
    let first = lines.next().expect("it listens");
    let address = first.strip_prefix("listens ").expect("an address");
    let address = address.parse().expect("an address");
    let (sender, said) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines {
            let (did, told) = line.split_once(' ').expect("a word, and a notification");
            let said = Said {
                acted: did == "acted",
                told: serde_json::from_str(told).expect("JSON"),
            };
            let _ = sender.send(said);
        }
    });
    (child, address, said)
}

/// The way from the monitor to the receiver, which can be held up and cut.
struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// What came by while acknowledgements were held up.
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// Bytes that came by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// They went on to the receiver.
    Notification,
    /// They are the receiver's, and do not go on.
    Acknowledgement,
}

#[derive(Clone, Copy)]
struct State {
    to: SocketAddr,
    /// Acknowledgements do not come back.
    held: bool,
    /// Grows with each cut: connections of earlier times end.
    cuts: u64,
}

impl Link {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = watch::Sender::new(State {
            to,
            held: false,
            cuts: 0,
        });
        let (sender, seen) = mpsc::unbounded_channel();
        let watching = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut watched = watching.subscribe();
                let State { to, cuts, .. } = *watched.borrow_and_update();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let (held, mut cut) = (watched.clone(), watched);
                    tokio::select! {
                        () = pass(near, to, held, sender) => {}
                        _ = cut.wait_for(|state| state.cuts != cuts) => {}
                    }
                });
            }
        });
        Self {
            address,
            state,
            seen,
        }
    }

    /// Lets no acknowledgement back from now on.
    fn hold(&mut self) {
        while self.seen.try_recv().is_ok() {} // of an earlier time
        self.state.send_modify(|state| state.held = true);
    }

    /// Waits until this came by while acknowledgements are held up.
    async fn sees(&mut self, wanted: Seen) {
        while self.seen.recv().await.expect("the link stands") != wanted {}
    }

    /// Cuts the connections, and takes new ones to this address.
    fn mend(&mut self, to: SocketAddr) {
        self.state.send_modify(|state| {
            *state = State {
                to,
                held: false,
                cuts: state.cuts + 1,
            };
        });
    }
}

async fn pass(
    near: TcpStream,
    to: SocketAddr,
    mut state: watch::Receiver<State>,
    seen: mpsc::UnboundedSender<Seen>,
) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let cuts = state.borrow().cuts;
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let (held, sees) = (state.clone(), seen.clone());
    let there = async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = near_read.read(&mut bytes).await {
            if far_write.write_all(&bytes[..count]).await.is_err() {
                return;
            }
            if held.borrow().held {
                let _ = sees.send(Seen::Notification);
            }
        }
    };
    let back = async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = far_read.read(&mut bytes).await {
            if state.borrow().held {
                let _ = seen.send(Seen::Acknowledgement);
            }
            let open = state.wait_for(|state| !state.held || state.cuts != cuts);
            let open = open.await.is_ok_and(|state| state.cuts == cuts);
            // What was held up when the connection was cut is lost with it.
            if !open || near_write.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
