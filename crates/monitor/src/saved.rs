//! What the threshold monitor writes, and how its life goes on from that.
//!
//! The whole state now and then, and in between every step that changed it. A step says all that
//! it depends on (what was counted, and when), so living the steps again ends in the same state.

use selvedge_entry::Timestamp;
use selvedge_follow::{Follow, SavedFollow};
use selvedge_identity::{Epoch, ServerName};
use serde::{Deserialize, Serialize};

use crate::outbox::{Notification, Outbox};
use crate::threshold::{Rule, RuleConfig, Taking, Threshold};

/// The whole state.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Names the monitor on its links.
    pub(crate) instance: String,
    pub(crate) follow: SavedFollow,
    pub(crate) rules: Vec<SavedRule>,
    pub(crate) outbox: Outbox,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedRule {
    /// The rule's configuration: a changed rule begins anew.
    pub(crate) config: String,
    pub(crate) instance: String,
    pub(crate) state: Vec<u8>,
}

/// What changed the state. Those of one event stand or fall together: what was counted of a batch,
/// how far that brought the journal, and what is to be told of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A rule, by its place among the saved ones, counted.
    Counted { rule: u32, taking: Taking, now: i64 },
    /// A journal was followed so far.
    Followed {
        server: ServerName,
        epoch: Epoch,
        next: u64,
    },
    /// Time went on.
    Ticked { now: i64 },
    /// A crossing is to be told.
    Told(Notification),
    /// A receiver acknowledged.
    Acknowledged { receiver: String, id: String },
}

/// A rule at work.
pub(crate) struct Work {
    pub(crate) config: RuleConfig,
    /// Part of the ids of its notifications: a rule that begins anew has another.
    pub(crate) instance: String,
    pub(crate) threshold: Threshold,
}

/// All that a monitor knows.
pub(crate) struct Life {
    pub(crate) instance: String,
    pub(crate) follow: Follow,
    pub(crate) rules: Vec<Work>,
    pub(crate) outbox: Outbox,
}

impl Life {
    /// The rules begin at `now`.
    pub(crate) fn begin(rules: Vec<Rule>, configs: &[RuleConfig], now: Timestamp) -> Self {
        let each = rules.into_iter().zip(configs);
        Self {
            instance: instance(now),
            follow: Follow::default(),
            rules: each.map(|(rule, config)| anew(rule, config, now)).collect(),
            outbox: Outbox::default(),
        }
    }

    /// Goes on from what was written: each rule from its state, if that is of the very same rule.
    pub(crate) fn go_on(
        state: &[u8],
        since: &[Vec<u8>],
        rules: Vec<Rule>,
        configs: &[RuleConfig],
        now: Timestamp,
    ) -> Result<Self, postcard::Error> {
        let saved: Saved = postcard::from_bytes(state)?;
        // Where each saved rule is now; `None` if it is no more.
        let mut places = vec![None; saved.rules.len()];
        let mut works = Vec::with_capacity(rules.len());
        for (rule, config) in rules.into_iter().zip(configs) {
            let text = fingerprint(config);
            let place = saved.rules.iter().position(|saved| saved.config == text);
            let restored = place.and_then(|place| restored(&rule, config, &saved.rules[place]));
            if let (Some(place), Some(_)) = (place, &restored) {
                places[place] = Some(works.len());
            }
            works.push(restored.unwrap_or_else(|| anew(rule, config, now)));
        }
        let mut life = Self {
            instance: saved.instance,
            follow: Follow::restore(saved.follow),
            rules: works,
            outbox: saved.outbox,
        };
        for body in since {
            for step in postcard::from_bytes::<Vec<Step>>(body)? {
                life.again(step, &places);
            }
        }
        Ok(life)
    }

    /// Lives a step again. What it crossed then was told then.
    fn again(&mut self, step: Step, places: &[Option<usize>]) {
        match step {
            Step::Counted { rule, taking, now } => {
                if let Some(Some(place)) = places.get(rule as usize) {
                    self.rules[*place].threshold.count(&taking, Timestamp(now));
                }
            }
            Step::Followed {
                server,
                epoch,
                next,
            } => self.follow.was_told(&server, epoch, next),
            Step::Ticked { now } => {
                for place in places.iter().flatten() {
                    self.rules[*place].threshold.tick(Timestamp(now));
                }
            }
            Step::Told(notification) => self.outbox.push(&notification),
            Step::Acknowledged { receiver, id } => self.outbox.acknowledge(&receiver, &id),
        }
    }
}

fn anew(rule: Rule, config: &RuleConfig, now: Timestamp) -> Work {
    tracing::info!(rule = rule.name(), "threshold begins to count");
    Work {
        config: config.clone(),
        instance: instance(now),
        threshold: Threshold::new(rule, now),
    }
}

fn restored(rule: &Rule, config: &RuleConfig, saved: &SavedRule) -> Option<Work> {
    let mut bytes = postcard::Deserializer::from_bytes(&saved.state);
    let threshold = Threshold::restore(rule.clone(), &mut bytes)
        .inspect_err(|error| {
            tracing::error!(rule = rule.name(), %error, "state of the rule not readable");
        })
        .ok()?;
    Some(Work {
        config: config.clone(),
        instance: saved.instance.clone(),
        threshold,
    })
}

/// A name for something that begins.
fn instance(now: Timestamp) -> String {
    let mut random = [0; 4];
    // Without random bytes the instant alone tells two beginnings apart.
    let _ = getrandom::fill(&mut random);
    format!("{:x}{:08x}", now.0 / 1_000_000, u32::from_le_bytes(random))
}

pub(crate) fn fingerprint(config: &RuleConfig) -> String {
    serde_json::to_string(config).unwrap_or_default()
}
