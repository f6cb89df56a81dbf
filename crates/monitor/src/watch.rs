//! The threshold monitor at work: follows the bus, feeds the rules, tells the receivers.
//!
//! Everything it knows is one state: how far each journal was followed, the entries that wait for
//! their end, the rules' counts, the notifications that wait. It is written as a whole, at least
//! once a second and *before* a notification is sent. So after a crash it goes on from one
//! consistent moment: each entry counts once, a crossing that was told is not found again, and
//! one that was not told is.
//!
//! While it catches up with what it missed, time for the rules is that of the entries, so that
//! what rose and fell meanwhile is found; as soon as nothing is waiting it is the clock's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Bus, BusError, Event, Start, Subscribe, Subscription};
use selvedge_entry::Timestamp;
use selvedge_follow::{Follow, FollowCounts, SavedFollow};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::notify::{self, ReceiverConfig, Shared};
use crate::outbox::{Notification, Outbox};
use crate::state_file::StateFile;
use crate::threshold::{Crossing, Rule, RuleConfig, RuleError, Threshold, ThresholdCounts};
use crate::transaction::{LedgerError, TransactionError};

/// How long a change of the state may wait to be written.
const SAVE_AFTER: Duration = Duration::from_secs(1);
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
    /// The wall clock.
    pub now: Now,
}

/// Why a monitor does not start.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// A rule is refused.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Two rules of one name.
    #[error("two thresholds are named {0}; give each a name of its own")]
    Twice(String),
    /// A receiver is refused.
    #[error("threshold receiver: {0}")]
    Receiver(String),
    /// The state cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    State {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A transaction's rule is refused.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A transaction's database cannot be used.
    #[error("transaction: {0}")]
    Ledger(#[from] LedgerError),
    /// The bus refused.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Checks rules and receivers, as `selvedge check` does.
///
/// # Errors
/// The first that is refused.
pub fn check(
    rules: &[RuleConfig],
    receivers: &[ReceiverConfig],
) -> Result<Vec<Rule>, MonitorError> {
    let mut checked: Vec<Rule> = Vec::new();
    for config in rules {
        let rule = Rule::new(config)?;
        if checked.iter().any(|other| other.name() == rule.name()) {
            return Err(MonitorError::Twice(config.name.clone()));
        }
        checked.push(rule);
    }
    for receiver in receivers {
        receiver.check().map_err(MonitorError::Receiver)?;
    }
    Ok(checked)
}

/// The state of a rule, for answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStatus {
    /// The rule.
    pub rule: RuleConfig,
    /// What became of the entries that it asked for.
    pub counts: ThresholdCounts,
    /// Its groups; one without a name where it has none.
    pub groups: Vec<GroupStatus>,
}

/// The state of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupStatus {
    /// Its name.
    pub group: Option<String>,
    /// The window's value.
    pub value: f64,
    /// Its standard error as a share of it; 0: exact.
    pub error: f64,
    /// Whether it fires.
    pub firing: bool,
    /// The number of the crossing that fires.
    pub crossing: Option<u64>,
}

/// The state of a monitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MonitorStatus {
    /// Its rules.
    pub thresholds: Vec<RuleStatus>,
    /// What became of the records.
    pub followed: FollowCounts,
    /// Notifications that wait, by receiver.
    pub waiting: Vec<(String, usize)>,
    /// Notifications given up because too many waited.
    pub given_up: u64,
}

/// A running monitor; dropping it ends it without a last write of its state.
#[derive(Debug)]
pub struct RunningMonitor {
    stop: watch::Sender<bool>,
    ask: mpsc::Sender<oneshot::Sender<MonitorStatus>>,
    task: JoinHandle<()>,
    receivers: Vec<JoinHandle<()>>,
}

impl RunningMonitor {
    /// How its rules stand now.
    pub async fn status(&self) -> MonitorStatus {
        self.asker().status().await
    }

    /// Asks for the status from elsewhere.
    #[must_use]
    pub fn asker(&self) -> StatusAsker {
        StatusAsker {
            ask: self.ask.clone(),
        }
    }

    /// Ends it, its state written.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningMonitor {
    fn drop(&mut self) {
        self.task.abort();
        for receiver in &self.receivers {
            receiver.abort();
        }
    }
}

/// Asks a running monitor how its rules stand.
#[derive(Clone, Debug)]
pub struct StatusAsker {
    ask: mpsc::Sender<oneshot::Sender<MonitorStatus>>,
}

impl StatusAsker {
    /// How its rules stand now; empty if it has ended.
    pub async fn status(&self) -> MonitorStatus {
        let (answer, answered) = oneshot::channel();
        if self.ask.send(answer).await.is_err() {
            return MonitorStatus::default();
        }
        answered.await.unwrap_or_default()
    }
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
    let rules = check(&options.rules, &options.receivers)?;
    let file = StateFile::new(options.data.join("thresholds"));
    let unreadable = |source| MonitorError::State {
        path: file.path().to_owned(),
        source,
    };
    let now = (options.now)();
    let saved = match file.read().map_err(unreadable)? {
        None => None,
        Some(bytes) => Some(postcard::from_bytes::<Saved>(&bytes).map_err(|error| {
            let message = format!("{error}; move the file away to begin anew");
            unreadable(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                message,
            ))
        })?),
    };
    let begins = saved.is_none();
    let saved = saved.unwrap_or_else(|| Saved::new(now));
    let mut outbox = saved.outbox;
    outbox.set_receivers(options.receivers.iter().map(ReceiverConfig::name));
    let rules = at_work(rules, &options.rules, &saved.rules, now);
    let follow = Follow::restore(saved.follow);
    let subscription = bus
        .subscribe(Subscribe {
            name: options.name.clone(),
            from: follow.positions(),
            start: if begins { Start::Now } else { Start::Oldest },
            ..Subscribe::default()
        })
        .await?;
    let shared = Arc::new(Shared::new(outbox));
    let receivers = options.receivers.iter().map(|receiver| {
        tokio::spawn(notify::serve(
            receiver.clone(),
            saved.instance.clone(),
            options.link_key,
            shared.clone(),
        ))
    });
    let receivers = receivers.collect();
    let (stop, stopped) = watch::channel(false);
    let (ask, asked) = mpsc::channel(16);
    let watcher = Watcher {
        instance: saved.instance,
        rules,
        follow,
        shared,
        decided: Vec::new(),
        file,
        now: options.now,
        last: now,
        save_at: None,
    };
    let task = tokio::spawn(watcher.run(subscription, stopped, asked));
    Ok(RunningMonitor {
        stop,
        ask,
        task,
        receivers,
    })
}

/// A rule at work.
struct Work {
    config: RuleConfig,
    /// Part of the ids of its notifications: a rule that begins anew has another.
    instance: String,
    threshold: Threshold,
}

/// The rules at work: each from its written state, if that is of the very same rule.
fn at_work(
    rules: Vec<Rule>,
    configs: &[RuleConfig],
    saved: &[SavedRule],
    now: Timestamp,
) -> Vec<Work> {
    let restored = |rule: &Rule, config: &RuleConfig| {
        let text = fingerprint(config);
        let saved = saved.iter().find(|saved| saved.config == text)?;
        let mut bytes = postcard::Deserializer::from_bytes(&saved.state);
        let threshold = Threshold::restore(rule.clone(), &mut bytes)
            .inspect_err(|error| {
                tracing::error!(rule = rule.name(), %error, "state of the rule not readable");
            })
            .ok()?;
        Some((saved.instance.clone(), threshold))
    };
    let each = rules.into_iter().zip(configs);
    each.map(|(rule, config)| {
        let (instance, threshold) = restored(&rule, config).unwrap_or_else(|| {
            tracing::info!(rule = rule.name(), "threshold begins to count");
            (instance(now), Threshold::new(rule, now))
        });
        Work {
            config: config.clone(),
            instance,
            threshold,
        }
    })
    .collect()
}

/// A name for something that begins.
fn instance(now: Timestamp) -> String {
    let mut random = [0; 4];
    // Without random bytes the instant alone tells two beginnings apart.
    let _ = getrandom::fill(&mut random);
    format!("{:x}{:08x}", now.0 / 1_000_000, u32::from_le_bytes(random))
}

fn fingerprint(config: &RuleConfig) -> String {
    serde_json::to_string(config).unwrap_or_default()
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// Names the monitor on its links.
    instance: String,
    follow: SavedFollow,
    rules: Vec<SavedRule>,
    outbox: Outbox,
}

#[derive(Serialize, Deserialize)]
struct SavedRule {
    /// The rule's configuration: a changed rule begins anew.
    config: String,
    instance: String,
    state: Vec<u8>,
}

impl Saved {
    fn new(now: Timestamp) -> Self {
        Self {
            instance: instance(now),
            follow: SavedFollow::default(),
            rules: Vec::new(),
            outbox: Outbox::default(),
        }
    }
}

struct Watcher {
    instance: String,
    rules: Vec<Work>,
    follow: Follow,
    shared: Arc<Shared>,
    /// Not to be sent before they are on the disk.
    decided: Vec<Notification>,
    file: StateFile,
    now: Now,
    /// The last instant that the rules were told.
    last: Timestamp,
    /// When the state is to be written.
    save_at: Option<Instant>,
}

enum Next {
    Event(Event),
    Due,
    Acknowledged,
    Asked(oneshot::Sender<MonitorStatus>),
    Stop,
}

impl Watcher {
    async fn run(
        mut self,
        mut subscription: Subscription,
        mut stopped: watch::Receiver<bool>,
        mut asked: mpsc::Receiver<oneshot::Sender<MonitorStatus>>,
    ) {
        loop {
            let due = self.due();
            let next = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => Next::Stop,
                answer = asked.recv() => answer.map_or(Next::Stop, Next::Asked),
                event = subscription.next() => event.map_or(Next::Stop, Next::Event),
                () = self.shared.acknowledged() => Next::Acknowledged,
                () = tokio::time::sleep_until(due) => Next::Due,
            };
            let crossings = match next {
                Next::Event(event) => self.take(&event),
                Next::Due => self.tick(),
                Next::Acknowledged => {
                    self.changed();
                    Vec::new()
                }
                Next::Asked(answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.status());
                    Vec::new()
                }
                Next::Stop => break,
            };
            if !crossings.is_empty() {
                self.tell(crossings).await;
            } else if self.save_at.is_some_and(|at| at <= Instant::now()) {
                self.save().await;
            }
        }
        self.save().await;
    }

    /// When something is to be done though nothing comes.
    fn due(&self) -> Instant {
        let now = (self.now)();
        let ticks = self.rules.iter().filter_map(|rule| rule.threshold.due(now));
        let tick = ticks.min().map(|at| {
            let wait = at.0.saturating_sub(now.0).max(0);
            Instant::now() + Duration::from_nanos(wait as u64)
        });
        let idle = Instant::now() + Duration::from_secs(3600);
        tick.into_iter().chain(self.save_at).min().unwrap_or(idle)
    }

    fn take(&mut self, event: &Event) -> Vec<(usize, Crossing)> {
        let mut crossings = Vec::new();
        match event {
            Event::Batch(batch) => {
                let real = (self.now)();
                let Self {
                    rules,
                    follow,
                    last,
                    ..
                } = self;
                follow.take(batch, |step| {
                    let at = step.entry.opening.at;
                    let missed = real.0.saturating_sub(at.0) > MISSED_NS;
                    *last = (*last).max(if missed { at } else { real });
                    for (index, rule) in rules.iter_mut().enumerate() {
                        let threshold = &mut rule.threshold;
                        if step.completes(threshold.rule().needs()) {
                            let crossed = threshold.take(step.entry, *last);
                            crossings.extend(crossed.into_iter().map(|c| (index, c)));
                        }
                    }
                });
                self.changed();
            }
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                tracing::warn!(%server, %epoch, from, to, "entries lost to the thresholds");
                self.follow.gap(server, *epoch, *from, *to);
                self.changed();
            }
            Event::Joined { .. } | Event::Left { .. } => {}
        }
        crossings
    }

    fn tick(&mut self) -> Vec<(usize, Crossing)> {
        self.last = self.last.max((self.now)());
        let mut crossings = Vec::new();
        for (index, rule) in self.rules.iter_mut().enumerate() {
            let crossed = rule.threshold.tick(self.last);
            crossings.extend(crossed.into_iter().map(|c| (index, c)));
        }
        crossings
    }

    fn changed(&mut self) {
        self.save_at
            .get_or_insert_with(|| Instant::now() + SAVE_AFTER);
    }

    /// Makes crossings of rules known: first to the disk, then to the receivers.
    async fn tell(&mut self, crossings: Vec<(usize, Crossing)>) {
        let at = (self.now)();
        for (rule, crossing) in crossings {
            let instance = &self.rules[rule].instance;
            let notification = Notification::new(instance, Crossing { at, ..crossing });
            tracing::info!(
                id = notification.id,
                value = notification.value,
                "threshold crossed"
            );
            self.decided.push(notification);
        }
        self.save().await;
    }

    /// Writes the state, and lets the receivers have what was decided.
    async fn save(&mut self) {
        let state = match self.encode() {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "state of the thresholds cannot be encoded");
                return;
            }
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file.write(&state)).await;
        match written {
            Ok(Ok(())) => {
                self.save_at = None;
                self.shared.push(self.decided.drain(..));
            }
            Ok(Err(error)) => {
                let path = self.file.path().display();
                tracing::error!(%path, %error, "state of the thresholds cannot be written; retrying");
                self.save_at = Some(Instant::now() + SAVE_AFTER);
            }
            // The runtime ends.
            Err(_) => {}
        }
    }

    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let rules = self.rules.iter().map(|rule| {
            Ok(SavedRule {
                config: fingerprint(&rule.config),
                instance: rule.instance.clone(),
                state: postcard::to_stdvec(&rule.threshold.saved())?,
            })
        });
        let mut outbox = self.shared.outbox().clone();
        for notification in &self.decided {
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
