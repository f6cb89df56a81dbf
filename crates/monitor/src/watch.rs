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

use selvedge_bus::{Bus, Event, Start, Subscribe, Subscription};
use selvedge_entry::Timestamp;
use selvedge_follow::Follow;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::{MonitorError, check};
use crate::notify::{self, ReceiverConfig, Shared};
use crate::outbox::Notification;
use crate::saved::{Saved, SavedRule, Work, at_work, fingerprint};
use crate::state_file::StateFile;
use crate::status::{GroupStatus, MonitorStatus, RuleStatus, RunningMonitor};
use crate::threshold::{Crossing, RuleConfig};

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
