//! The transaction processor: the real one, over a real SQLite database.
//!
//! The database lies in memory and outlives the process: what SQLite has committed stays, whatever
//! crashes, and what it has not is gone. That SQLite keeps this over a torn disk is its own matter;
//! the system tests kill the real program over a real one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use selvedge_bus::TcpBus;
use selvedge_journal::testing::Crash;
use selvedge_monitor::transaction::{RunningTransactions, Transaction, TransactionConfig};
use tokio::time::sleep;

use crate::Plant;
use crate::ledger::Tag;
use crate::world::{World, lock};

/// The processor, as the network names it.
pub(crate) const HOST: &str = "transactions";
/// The attribute that makes an entry an order.
pub(crate) const ORDER: &str = "order";
/// What nobody can deliver: the database refuses it.
const REFUSED: &str = "unicorn";
/// The rule's name.
const RULE: &str = "fulfil";
/// Between two tries to start.
const START_AGAIN: Duration = Duration::from_millis(250);

/// What a request orders, if anything.
pub(crate) fn order(tag: Tag) -> Option<&'static str> {
    match tag % 12 {
        0 => Some(REFUSED),
        4 | 8 => Some("wine"),
        _ => None,
    }
}

/// Whether its order must go to the dead letters.
pub(crate) fn is_refused(tag: Tag) -> bool {
    order(tag) == Some(REFUSED)
}

/// The machine that it runs on.
pub(crate) struct Machine {
    database: PathBuf,
    /// Keeps the database in memory.
    connection: Mutex<Connection>,
    live: Mutex<Option<Live>>,
}

/// Its process.
struct Live {
    running: RunningTransactions,
    bus: TcpBus,
}

/// What the database holds: by position, the requests of the effects there.
#[derive(Default)]
pub(crate) struct Effects {
    /// One for each time that an entry was carried out.
    pub(crate) fulfilled: BTreeMap<String, Vec<Tag>>,
    pub(crate) dead: Vec<String>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        // Runs of one process must not share one, whatever their seeds.
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let database = PathBuf::from(format!("file:/simulation-{run}?vfs=memdb"));
        let connection = Connection::open(&database).expect("a database in memory");
        Self {
            database,
            connection: Mutex::new(connection),
            live: Mutex::default(),
        }
    }

    pub(crate) fn lives(&self) -> bool {
        lock(&self.live).is_some()
    }

    /// The process ends at this instant; false if there is none.
    pub(crate) fn crash(&self, world: &World, crash: Crash) -> bool {
        let Some(live) = lock(&self.live).take() else {
            return false;
        };
        world.trace.event(HOST, format_args!("crash {crash:?}"));
        match crash {
            Crash::Process => world.network.reset(HOST),
            _ => world.network.vanish(HOST),
        }
        live.bus.stop();
        if world.options.plant == Plant::ForgottenEffects {
            let forget = "DELETE FROM selvedge_done; DELETE FROM selvedge_place";
            let forgot = lock(&self.connection).execute_batch(forget);
            forgot.expect("a database that nobody else uses");
        }
        true
    }

    /// How many orders it says that it has done, and how many it could not.
    pub(crate) fn counts(&self) -> Option<(u64, u64)> {
        let live = lock(&self.live);
        let counts = live.as_ref()?.running.transactions().counts().ok()?;
        counts.first().map(|(_, done, dead)| (*done, *dead))
    }

    /// What was carried out, and what could not be.
    pub(crate) fn effects(&self) -> rusqlite::Result<Effects> {
        let connection = lock(&self.connection);
        let mut effects = Effects::default();
        let mut fulfilled = connection.prepare("SELECT position, request FROM fulfilled")?;
        let mut rows = fulfilled.query([])?;
        while let Some(row) = rows.next()? {
            let request: String = row.get(1)?;
            let of_position = effects.fulfilled.entry(row.get(0)?).or_default();
            of_position.push(request.parse().unwrap_or_default());
        }
        let mut dead = connection.prepare("SELECT position FROM selvedge_dead")?;
        let mut rows = dead.query([])?;
        while let Some(row) = rows.next()? {
            effects.dead.push(row.get(0)?);
        }
        Ok(effects)
    }

    fn rule(&self) -> Transaction {
        let bind = [
            ("request", "attribute.request"),
            ("item", "attribute.order"),
        ];
        let rule = Transaction::new(TransactionConfig {
            name: RULE.to_owned(),
            filter: format!("has attribute.{ORDER}"),
            database: Some(self.database.clone()),
            // No key: what is done twice is to be seen.
            setup: format!(
                "CREATE TABLE IF NOT EXISTS fulfilled
                 (position TEXT, request TEXT, item TEXT CHECK (item <> '{REFUSED}'))"
            ),
            run: "INSERT INTO fulfilled VALUES (:position, :request, :item)".to_owned(),
            bind: bind
                .map(|(name, field)| (name.to_owned(), field.to_owned()))
                .into(),
        });
        rule.expect("a rule as the guide writes it")
    }
}

/// Starts it and keeps trying.
pub(crate) async fn start(world: &Arc<World>) {
    let machine = &world.transactions;
    loop {
        let bus = world.dial(HOST);
        let rules = vec![machine.rule()];
        let network = Arc::new(bus.clone());
        match RunningTransactions::start_in_tasks(rules, Path::new(""), network).await {
            Ok(running) => {
                world.trace.event(HOST, format_args!("lives"));
                *lock(&machine.live) = Some(Live { running, bus });
                return;
            }
            Err(error) => {
                world
                    .trace
                    .event(HOST, format_args!("does not start: {error}"));
                bus.stop();
                world.network.reset(HOST);
                sleep(START_AGAIN).await;
            }
        }
    }
}
