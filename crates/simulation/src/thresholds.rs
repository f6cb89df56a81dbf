//! The threshold monitor: the real one, over the simulation's disk, telling crossings in the
//! journal of a server of its own.

use std::sync::{Arc, Mutex};

use selvedge_bus::Bus;
use selvedge_monitor::threshold::{Level, RuleConfig, Side};
use selvedge_monitor::{
    Aside, Disk, MonitorError, MonitorOptions, ReceiverConfig, RunningMonitor, StatusAsker,
    start_on,
};
use selvedge_node::{Clock as _, Node};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::random::Random;
use crate::server::Server;
use crate::service::TAG;
use crate::transactions::ORDER;
use crate::world::{World, lock};

/// The monitor and its server, as the network names them.
pub(crate) const HOST: &str = "thresholds";
/// The attribute with the visit that a request is of.
pub(crate) const VISIT: &str = "visit";
/// Raises once for each visit that orders so often.
pub(crate) const ORDERS: (&str, u64) = ("orders", 3);

/// The monitor's part of its server's process.
pub(crate) struct Watching {
    monitor: RunningMonitor,
    /// Writes under way.
    asides: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Watching {
    pub(crate) fn asker(&self) -> StatusAsker {
        self.monitor.asker()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for aside in lock(&self.asides).iter() {
            aside.abort();
        }
    }
}

/// Starts the monitor on a server's machine.
pub(crate) async fn watch(
    world: &World,
    server: &Server,
    node: Node,
    network: Arc<dyn Bus>,
) -> Result<Watching, MonitorError> {
    let clock = server.clock.clone();
    let purpose = format!("writes of {}", node.journal().epoch());
    let random = Mutex::new(Random::new(world.seed, &purpose));
    let asides = Arc::<Mutex<Vec<AbortHandle>>>::default();
    let under_way = asides.clone();
    // A write takes its time, and the monitor goes on meanwhile.
    let aside = move |work: Aside| {
        let pause = lock(&random).ms(0, 20);
        let task = tokio::spawn(async move {
            sleep(pause).await;
            work();
        });
        let mut asides = lock(&under_way);
        asides.retain(|task| !task.is_finished());
        asides.push(task.abort_handle());
    };
    let options = MonitorOptions {
        name: HOST.to_owned(),
        data: "/monitor".into(),
        rules: rules(),
        receivers: vec![ReceiverConfig::Bus(HOST.to_owned())],
        link_key: [0; 32],
        nodes: vec![node],
        now: Arc::new(move || clock.now()),
    };
    let began = server.clock.now();
    let disk = Disk {
        storage: Arc::new(server.storage.clone()),
        aside: Arc::new(aside),
    };
    let monitor = start_on(disk, options, network).await?;
    lock(&world.counts_from).get_or_insert(began);
    Ok(Watching { monitor, asides })
}

fn rules() -> Vec<RuleConfig> {
    let rule = |name: &str, attribute: &str, count: &str, window: &str, raise: u64| RuleConfig {
        name: name.to_owned(),
        filter: format!("has attribute.{attribute}"),
        count: count.to_owned(),
        window: window.to_owned(),
        side: Side::Above,
        raise: Level::Number(raise as f64),
        clear: None,
        hold: None,
        keep_firing_for: None,
        group_by: None,
        groups_max: None,
        lateness: None,
    };
    let by_visit = Some(format!("attribute.{VISIT}"));
    vec![
        RuleConfig {
            group_by: by_visit.clone(),
            ..rule(ORDERS.0, ORDER, "events", "since start", ORDERS.1)
        },
        RuleConfig {
            clear: Some(Level::Number(2.0)),
            hold: Some("50ms".to_owned()),
            group_by: by_visit,
            ..rule("busy", TAG, "events", "sliding 1s step 100ms", 5)
        },
        RuleConfig {
            lateness: Some("3s".to_owned()),
            ..rule("many", TAG, "distinct attribute.visit", "tumbling 500ms", 2)
        },
    ]
}
