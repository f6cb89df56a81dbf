//! The threshold monitor at work: follows the bus, feeds the rules, tells the receivers.
//!
//! Everything it knows is one state: how far each journal was followed, the entries that wait for
//! their end, the rules' counts, the notifications that wait. Every step that changes it is
//! written down, those of one event together, and a crossing's are on the disk *before* it is
//! told. So after a crash it goes on from one consistent moment: each entry counts once, a
//! crossing that was told is not found again, and one that was not told is.
//!
//! While it catches up with what it missed, time for the rules is that of the entries, so that
//! what rose and fell meanwhile is found; as soon as nothing is waiting it is the clock's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Batch, Bus, Event, Pace, Start, Subscribe, Subscription};
use selvedge_entry::{Begins, Timestamp};
use selvedge_filter::Filter;
use selvedge_follow::Follow;
use selvedge_journal::Storage;
use selvedge_node::Node;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::books::Books;
use crate::disk::Disk;
use crate::error::{MonitorError, check};
use crate::notify::{self, ReceiverConfig, Sender, Shared};
use crate::outbox::Notification;
use crate::saved::{Life, Saved, SavedRule, Step, Work, fingerprint};
use crate::status::{GroupStatus, MonitorStatus, RuleStatus, RunningMonitor};
use crate::store::{Found, Store};
use crate::threshold::{Crossing, RuleConfig};

/// How long another monitor may hold the folder: one that is just ending.
const FOLDER_WITHIN: Duration = Duration::from_secs(5);
/// What comes within this is counted together: far less than a crossing may take to be told.
const PACE: Duration = Duration::from_millis(1);
/// An entry older than this was missed, not just made.
const MISSED_NS: i64 = 1_000_000_000;

/// Where the monitor's time comes from.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a monitor needs.
#[derive(Clone)]
pub struct MonitorOptions {
    /// Its name on the bus.
    pub name: String,
    /// Where its state is kept.
    pub data: PathBuf,
    /// The rules.
    pub rules: Vec<RuleConfig>,
    /// Who is told.
    pub receivers: Vec<ReceiverConfig>,
    /// The secret of the threshold link.
    pub link_key: [u8; 32],
    /// The servers that receivers on the bus name.
    pub nodes: Vec<Node>,
    /// The wall clock.
    pub now: Now,
}

/// Starts a monitor. With a state from before it goes on from there; without, it begins with what
/// comes from now on.
///
/// # Errors
/// See [`MonitorError`].
pub async fn start(
    options: MonitorOptions,
    bus: Arc<dyn Bus>,
) -> Result<RunningMonitor, MonitorError> {
    start_on(Disk::default(), options, bus).await
}

/// The same, its state on another disk than the machine's.
///
/// # Errors
/// As there.
pub async fn start_on(
    disk: Disk,
    options: MonitorOptions,
    bus: Arc<dyn Bus>,
) -> Result<RunningMonitor, MonitorError> {
    let rules = check(&options.rules, &options.receivers)?;
    let unusable = |source| MonitorError::Folder {
        path: options.data.clone(),
        source,
    };
    let Disk { storage, aside } = disk;
    let store = folder(storage, &options.data).await.map_err(unusable)?;
    let unreadable = |source| MonitorError::State {
        path: store.state_path().to_owned(),
        source,
    };
    let found = store.read().map_err(unreadable)?;
    let now = (options.now)();
    let (number, start, life) = match found {
        None => (0, Start::Now, Life::begin(rules, &options.rules, now)),
        Some((number, Found { state, since })) => {
            let life = Life::go_on(&state, &since, rules, &options.rules, now);
            let life = life.map_err(|error| {
                let message = format!("{error}; move the file away to begin anew");
                unreadable(std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    message,
                ))
            })?;
            (number, Start::Oldest, life)
        }
    };
    let Life {
        instance,
        follow,
        rules,
        mut outbox,
    } = life;
    outbox.set_receivers(options.receivers.iter().map(ReceiverConfig::name));
    let subscription = bus
        .subscribe(Subscribe {
            name: options.name.clone(),
            from: follow.positions(),
            start,
            pace: Some(Pace::every(PACE)),
            // What it tells is not what it counts.
            skip: options.nodes.first().map(|node| node.server().clone()),
            ..Subscribe::default()
        })
        .await?;
    let shared = Arc::new(Shared::new(outbox));
    let mut receivers = Vec::new();
    for receiver in &options.receivers {
        let sender = Sender::new(receiver.clone(), &instance, &options);
        let sender = sender.map_err(MonitorError::Receiver)?;
        let serving = notify::serve(receiver.name().to_owned(), sender, shared.clone());
        receivers.push(tokio::spawn(serving));
    }
    let (stop, stopped) = watch::channel(false);
    let (ask, asked) = mpsc::channel(16);
    let filters = rules
        .iter()
        .map(|rule| rule.threshold.rule().filter.clone());
    let mut watcher = Watcher {
        instance,
        filters: filters.collect(),
        rules,
        follow,
        shared,
        now: options.now,
        last: now,
    };
    // Before anything is counted it is written where this life began: no crash undoes that.
    let state = watcher.encode(&[]).map_err(std::io::Error::other);
    let books = Books::begin(store, aside, number, state.map_err(unusable)?).await;
    let books = books.map_err(unusable)?;
    let task = tokio::spawn(async move { watcher.run(books, subscription, stopped, asked).await });
    Ok(RunningMonitor {
        stop,
        ask,
        task,
        receivers,
    })
}

/// Takes the monitor's folder.
async fn folder(storage: Arc<dyn Storage>, path: &Path) -> std::io::Result<Store> {
    let until = Instant::now() + FOLDER_WITHIN;
    loop {
        if let Some(store) = Store::open(storage.clone(), path)? {
            return Ok(store);
        }
        if Instant::now() >= until {
            let message = "another monitor uses it; give each a name or a data folder of its own";
            return Err(std::io::Error::new(std::io::ErrorKind::WouldBlock, message));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct Watcher {
    instance: String,
    rules: Vec<Work>,
    /// The rules', so that what none of them can match is left unread.
    filters: Vec<Filter>,
    follow: Follow,
    shared: Arc<Shared>,
    now: Now,
    /// The last instant that the rules were told.
    last: Timestamp,
}

enum Next {
    Event(Event),
    Due,
    Written(Vec<Notification>),
    Acknowledged,
    Asked(oneshot::Sender<MonitorStatus>),
    Stop,
}

impl Watcher {
    async fn run(
        &mut self,
        mut books: Books,
        mut subscription: Subscription,
        mut stopped: watch::Receiver<bool>,
        mut asked: mpsc::Receiver<oneshot::Sender<MonitorStatus>>,
    ) {
        loop {
            books.write_if_due(|decided| self.encode(decided));
            let tick = self.tick_at();
            let idle = Instant::now() + Duration::from_secs(3600);
            let due = tick.into_iter().chain(books.due()).min().unwrap_or(idle);
            let next = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => Next::Stop,
                answer = asked.recv() => answer.map_or(Next::Stop, Next::Asked),
                told = books.written() => Next::Written(told),
                () = tokio::time::sleep_until(due) => Next::Due,
                () = self.shared.acknowledged() => Next::Acknowledged,
                event = subscription.next() => event.map_or(Next::Stop, Next::Event),
            };
            let mut steps = Vec::new();
            match next {
                Next::Event(event) => self.take(&event, &mut steps),
                Next::Due => {
                    if tick.is_some_and(|at| at <= Instant::now()) {
                        self.tick(&mut steps);
                    }
                }
                Next::Written(told) => self.shared.push(told),
                Next::Acknowledged => steps.extend(self.shared.take_acknowledged()),
                // Whoever asked may be gone.
                Next::Asked(answer) => _ = answer.send(self.status()),
                Next::Stop => break,
            }
            if !steps.is_empty() {
                books.note(&steps);
            }
        }
        books.close(|decided| self.encode(decided)).await;
    }

    /// When time alone may change something.
    fn tick_at(&self) -> Option<Instant> {
        let now = (self.now)();
        let ticks = self.rules.iter().filter_map(|rule| rule.threshold.due(now));
        let at = ticks.min()?;
        let wait = at.0.saturating_sub(now.0).max(0);
        Some(Instant::now() + Duration::from_nanos(wait as u64))
    }

    fn take(&mut self, event: &Event, steps: &mut Vec<Step>) {
        match event {
            Event::Batch(batch) => self.take_batch(batch, steps),
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                tracing::warn!(%server, %epoch, from, to, "entries lost to the thresholds");
                self.follow.gap(server, *epoch, *from, *to);
            }
            Event::Joined { .. } | Event::Left { .. } => {}
        }
    }

    fn take_batch(&mut self, batch: &Batch, steps: &mut Vec<Step>) {
        let real = (self.now)();
        let Self {
            rules,
            filters,
            follow,
            last,
            ..
        } = self;
        let mut crossings = Vec::new();
        let wanted = |begins: &Begins<'_>| filters.iter().any(|one| one.may_match(begins));
        follow.take_some(batch, wanted, |step| {
            let at = step.entry.opening.at;
            let missed = real.0.saturating_sub(at.0) > MISSED_NS;
            *last = (*last).max(if missed { at } else { real });
            for (index, rule) in rules.iter_mut().enumerate() {
                let threshold = &mut rule.threshold;
                if step.completes(threshold.rule().needs())
                    && let Some(taking) = threshold.look(step.entry)
                {
                    let crossed = threshold.count(&taking, *last);
                    crossings.extend(crossed.into_iter().map(|c| (index, c)));
                    steps.push(Step::Counted {
                        rule: index as u32,
                        taking,
                        now: last.0,
                    });
                }
            }
        });
        // Where nothing was counted nothing need be written: taken again, it counts nothing again.
        if !steps.is_empty()
            && let Some((epoch, next)) = self.follow.reached(&batch.server)
        {
            steps.push(Step::Followed {
                server: batch.server.clone(),
                epoch,
                next,
            });
        }
        self.tell(crossings, steps);
    }

    fn tick(&mut self, steps: &mut Vec<Step>) {
        self.last = self.last.max((self.now)());
        let mut crossings = Vec::new();
        for (index, rule) in self.rules.iter_mut().enumerate() {
            let crossed = rule.threshold.tick(self.last);
            crossings.extend(crossed.into_iter().map(|c| (index, c)));
        }
        steps.push(Step::Ticked { now: self.last.0 });
        self.tell(crossings, steps);
    }

    /// Makes notifications of crossings of rules. They are told once they are on the disk.
    fn tell(&self, crossings: Vec<(usize, Crossing)>, steps: &mut Vec<Step>) {
        let at = (self.now)();
        for (rule, crossing) in crossings {
            let instance = &self.rules[rule].instance;
            let notification = Notification::new(instance, Crossing { at, ..crossing });
            tracing::info!(
                id = notification.id,
                value = notification.value,
                "threshold crossed"
            );
            steps.push(Step::Told(notification));
        }
    }

    /// The whole state, in which these notifications wait, too.
    fn encode(&self, decided: &[Notification]) -> Result<Vec<u8>, postcard::Error> {
        let rules = self.rules.iter().map(|rule| {
            Ok(SavedRule {
                config: fingerprint(&rule.config),
                instance: rule.instance.clone(),
                state: postcard::to_stdvec(&rule.threshold.saved())?,
            })
        });
        let mut outbox = self.shared.outbox().clone();
        for notification in decided {
            outbox.push(notification);
        }
        postcard::to_stdvec(&Saved {
            instance: self.instance.clone(),
            follow: self.follow.saved(),
            rules: rules.collect::<Result<_, postcard::Error>>()?,
            outbox,
        })
    }

    fn status(&self) -> MonitorStatus {
        let rules = self.rules.iter();
        let outbox = self.shared.outbox();
        MonitorStatus {
            thresholds: rules
                .map(|rule| RuleStatus {
                    rule: rule.config.clone(),
                    counts: rule.threshold.counts(),
                    groups: rule
                        .threshold
                        .groups(self.last)
                        .map(|group| GroupStatus {
                            group: group.group.map(str::to_owned),
                            value: group.value,
                            error: group.error,
                            firing: group.firing.is_some(),
                            crossing: group.firing,
                        })
                        .collect(),
                })
                .collect(),
            followed: self.follow.counts(),
            waiting: outbox
                .waiting()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            given_up: outbox.given_up(),
        }
    }
}
