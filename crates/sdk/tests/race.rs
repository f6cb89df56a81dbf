//! A client of one's own lets sites race (C7).

use std::net::SocketAddr;
use std::sync::Arc;

use selvedge::race::{ClientError, fastest};
use selvedge_identity::KeyRing;
use selvedge_race::{
    Delay, Master, MasterOptions, Outlets, Pacer, Races as _, Replica, ReplicaAddress,
    ReplicaOptions, SPIN, Serving,
};

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn a_race_names_a_site_and_where_it_serves() {
    let keys = Arc::new(KeyRing::single([5; 32]));
    let (outlets, pacer) = (
        Arc::<Outlets>::default(),
        Pacer::start(SPIN).expect("a thread"),
    );
    let pacer = Arc::new(pacer);
    let start = |site: &str| {
        let replica = Replica {
            keys: Arc::clone(&keys),
            answers: Arc::new(Serving::new(&format!("http://{site}.test"), None)),
            outlets: Arc::clone(&outlets),
            pacer: Arc::clone(&pacer),
        };
        let mut options = ReplicaOptions::new(site, any());
        options.tolerance = i64::MAX;
        replica.start(options).expect("it starts")
    };
    let replicas = ["north", "south"].map(|site| (site, start(site)));
    let known = replicas.iter().map(|(site, replica)| ReplicaAddress {
        site: (*site).to_owned(),
        address: replica.address(),
    });
    let mut options = MasterOptions::new(any(), known.collect());
    options.noise_max = i64::MAX;
    options.timing.delay = Delay::Constant(250_000_000);
    let master = Master {
        answers: Arc::new(Serving::new("http://master.test", None)),
        keys,
        outlets,
    };
    let master = master.start(options).expect("it starts");
    while master.sites().len() < 2 {
        tokio::task::yield_now().await;
    }
    let raced = fastest(master.address()).await.expect("a race");
    let winner = raced.winner();
    assert!(replicas.iter().any(|(site, _)| *site == winner.site));
    assert_eq!(winner.url, format!("http://{}.test", winner.site));
    assert_eq!(raced.came.len(), 2);
}

#[tokio::test]
async fn who_asks_where_no_master_is_learns_it() {
    let nobody = std::net::UdpSocket::bind(any()).expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let error = fastest(address).await.expect_err("nobody is there");
    assert!(
        matches!(error, ClientError::Silent(at) if at == address),
        "{error}"
    );
}
