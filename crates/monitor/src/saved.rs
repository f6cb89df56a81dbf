//! What the threshold monitor writes, and the rules that go on from it.

use selvedge_entry::Timestamp;
use selvedge_follow::SavedFollow;
use serde::{Deserialize, Serialize};

use crate::outbox::Outbox;
use crate::threshold::{Rule, RuleConfig, Threshold};

/// What is written.
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

impl Saved {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            instance: instance(now),
            follow: SavedFollow::default(),
            rules: Vec::new(),
            outbox: Outbox::default(),
        }
    }
}

/// A rule at work.
pub(crate) struct Work {
    pub(crate) config: RuleConfig,
    /// Part of the ids of its notifications: a rule that begins anew has another.
    pub(crate) instance: String,
    pub(crate) threshold: Threshold,
}

/// The rules at work: each from its written state, if that is of the very same rule.
pub(crate) fn at_work(
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

pub(crate) fn fingerprint(config: &RuleConfig) -> String {
    serde_json::to_string(config).unwrap_or_default()
}
