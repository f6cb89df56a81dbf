//! The transaction processor at work: one thread a rule, because databases are written.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use selvedge_bus::{Bus, Event, Pace, Start, Subscribe, Subscription};
use selvedge_entry::Begins;
use selvedge_follow::{Follow, SavedFollow};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ledger::{Ledger, LedgerError, Letter, Tried};
use super::rule::{Transaction, Values};
use crate::error::MonitorError;

/// What comes within this goes into one transaction of the database.
const PACE: Duration = Duration::from_millis(5);
/// How long to wait before a refused write is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the place may go unwritten while nothing is to be carried out. After a crash what came
/// since is looked at again, and found to be nothing to carry out, again.
const PLACE_AFTER: Duration = Duration::from_secs(1);

/// The rules of this process, for answers. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    rules: Arc<Vec<Shared>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    ledger: Arc<Mutex<Ledger>>,
}

impl Transactions {
    /// The rules' names, how many entries each has done, and how many are dead letters.
    ///
    /// # Errors
    /// What a database says.
    pub fn counts(&self) -> Result<Vec<(String, u64, u64)>, LedgerError> {
        let each = self.rules.iter().map(|rule| {
            let (done, dead) = lock(&rule.ledger).counts()?;
            Ok((rule.name.clone(), done, dead))
        });
        each.collect()
    }

    /// The dead letters of a rule, by position, after `after`; `None` if there is no such rule.
    ///
    /// # Errors
    /// What the database says.
    pub fn dead(&self, rule: &str, after: &str) -> Result<Option<Vec<Letter>>, LedgerError> {
        let ledger = self.ledger(rule);
        ledger.map(|ledger| lock(ledger).dead(after)).transpose()
    }

    /// Tries a dead letter again.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn retry(&self, rule: &str, position: &str) -> Result<Tried, LedgerError> {
        match self.ledger(rule) {
            Some(ledger) => lock(ledger).retry(position),
            None => Ok(Tried::Unknown),
        }
    }

    fn ledger(&self, rule: &str) -> Option<&Mutex<Ledger>> {
        let found = self.rules.iter().find(|shared| shared.name == rule);
        found.map(|shared| &*shared.ledger)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running rules; dropped, they end after the transaction in hand.
#[derive(Debug)]
pub struct RunningTransactions {
    transactions: Transactions,
    stop: watch::Sender<bool>,
    work: Vec<Work>,
}

#[derive(Debug)]
enum Work {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl RunningTransactions {
    /// Starts the rules, each from where its database says, or from the oldest entries that are
    /// to be had. Databases without a path of their own lie in `data`.
    ///
    /// # Errors
    /// When a database cannot be used as its rule says, or the bus refuses.
    pub async fn start(
        rules: Vec<Transaction>,
        data: &Path,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, MonitorError> {
        let runtime = Handle::current();
        Self::start_each(rules, data, bus, |work| {
            let runtime = runtime.clone();
            let thread = std::thread::Builder::new().name("transactions".to_owned());
            let thread = thread.spawn(move || runtime.block_on(work));
            thread.map(Work::Thread)
        })
        .await
    }

    /// The same in tasks of the caller's runtime, which wait for their databases where they run:
    /// for seeded simulation. Dropped, they end between two steps, as a crash ends them.
    ///
    /// # Errors
    /// As there.
    pub async fn start_in_tasks(
        rules: Vec<Transaction>,
        data: &Path,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, MonitorError> {
        let spawn = |work| Ok(Work::Task(tokio::spawn(work)));
        Self::start_each(rules, data, bus, spawn).await
    }

    async fn start_each(
        rules: Vec<Transaction>,
        data: &Path,
        bus: Arc<dyn Bus>,
        spawn: impl Fn(Working) -> std::io::Result<Work>,
    ) -> Result<Self, MonitorError> {
        let (stop, stopped) = watch::channel(false);
        let mut running = Self {
            transactions: Transactions::default(),
            stop,
            work: Vec::new(),
        };
        let mut shared = Vec::new();
        for rule in rules {
            let path = match &rule.config.database {
                Some(path) => path.clone(),
                None => data.join(format!("{}.db", rule.name())),
            };
            if let Some(folder) = path.parent() {
                let made = std::fs::create_dir_all(folder);
                made.map_err(|source| MonitorError::State {
                    path: folder.to_owned(),
                    source,
                })?;
            }
            let ledger = Ledger::open(&path, &rule)?;
            let follow = match ledger.place()? {
                None => Follow::default(),
                Some(place) => {
                    let saved: SavedFollow = postcard::from_bytes(&place).unwrap_or_default();
                    Follow::restore(saved)
                }
            };
            let subscription = bus
                .subscribe(Subscribe {
                    name: rule.name().to_owned(),
                    from: follow.positions(),
                    start: Start::Oldest,
                    pace: Some(Pace::every(PACE)),
                    ..Subscribe::default()
                })
                .await?;
            let ledger = Arc::new(Mutex::new(ledger));
            shared.push(Shared {
                name: rule.name().to_owned(),
                ledger: ledger.clone(),
            });
            let worker = Worker {
                rule,
                ledger,
                follow,
                moved_at: None,
                stopped: stopped.clone(),
            };
            let work = spawn(Box::pin(worker.run(subscription)));
            running
                .work
                .push(work.map_err(|source| MonitorError::State { path, source })?);
        }
        running.transactions = Transactions {
            rules: Arc::new(shared),
        };
        Ok(running)
    }

    /// What the rules did, for answers.
    #[must_use]
    pub fn transactions(&self) -> Transactions {
        self.transactions.clone()
    }

    /// Ends them after the transaction in hand.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for work in self.work.drain(..) {
            // A panic in it was logged by the hook.
            match work {
                Work::Thread(thread) => {
                    _ = tokio::task::spawn_blocking(move || thread.join()).await;
                }
                Work::Task(task) => _ = task.await,
            }
        }
    }
}

impl Drop for RunningTransactions {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for work in &self.work {
            if let Work::Task(task) = work {
                task.abort();
            }
        }
    }
}

/// What a rule does from its start to its end.
type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A rule at work. It waits for its database where it is polled, so nothing else may need to be.
struct Worker {
    rule: Transaction,
    ledger: Arc<Mutex<Ledger>>,
    follow: Follow,
    /// Since when the place has been another than the one written.
    moved_at: Option<Instant>,
    stopped: watch::Receiver<bool>,
}

enum Next {
    Event(Event),
    PlaceDue,
    Stop,
}

impl Worker {
    async fn run(mut self, mut subscription: Subscription) {
        loop {
            let entries = match self.next(&mut subscription).await {
                Next::Event(event) => self.take(&event),
                Next::PlaceDue => Vec::new(),
                Next::Stop => break,
            };
            let moved_at = *self.moved_at.get_or_insert_with(Instant::now);
            let due = moved_at.elapsed() >= PLACE_AFTER;
            if (due || !entries.is_empty()) && !self.carry_out(&entries).await {
                return;
            }
        }
        if self.moved_at.is_some() {
            self.carry_out(&[]).await;
        }
    }

    async fn next(&mut self, subscription: &mut Subscription) -> Next {
        let moved_at = self.moved_at;
        let place_due = async {
            match moved_at {
                Some(at) => tokio::time::sleep_until(at + PLACE_AFTER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => Next::Stop,
            event = subscription.next() => event.map_or(Next::Stop, Next::Event),
            () = place_due => Next::PlaceDue,
        }
    }

    fn take(&mut self, event: &Event) -> Vec<(String, Values)> {
        let mut entries = Vec::new();
        match event {
            Event::Batch(batch) => {
                let (rule, needs) = (&self.rule, self.rule.needs());
                let wanted = |begins: &Begins<'_>| rule.may_match(begins);
                self.follow.take_some(batch, wanted, |step| {
                    if step.completes(needs)
                        && let Some(values) = rule.values(step.entry)
                    {
                        entries.push((step.entry.position.to_string(), values));
                    }
                });
            }
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                let rule = self.rule.name();
                tracing::error!(rule, %server, %epoch, from, to, "entries lost to the transactions");
                self.follow.gap(server, *epoch, *from, *to);
            }
            Event::Joined { .. } | Event::Left { .. } => {}
        }
        entries
    }

    /// Carries out what came with an event and writes the place, however often the machine refuses;
    /// false when told to stop.
    async fn carry_out(&mut self, entries: &[(String, Values)]) -> bool {
        let Ok(place) = postcard::to_stdvec(&self.follow.saved()) else {
            // Its form has no part that cannot be written.
            return false;
        };
        let mut refused = false;
        loop {
            let carried = lock(&self.ledger).carry_out(entries, &place);
            match carried {
                Ok((_, dead)) => {
                    if dead > 0 {
                        let rule = self.rule.name();
                        tracing::warn!(rule, dead, "transactions failed; see the dead letters");
                    }
                    self.moved_at = None;
                    return true;
                }
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::error!(%error, "transactions wait; retrying");
                    }
                }
            }
            let stopped = self.stopped.wait_for(|stop| *stop);
            if tokio::time::timeout(RETRY_AFTER, stopped).await.is_ok() {
                return false;
            }
        }
    }
}
