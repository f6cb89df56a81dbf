//! How a monitor stands, for answers; and the handle that asks it.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use selvedge_follow::FollowCounts;

use crate::threshold::{RuleConfig, ThresholdCounts};

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
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) ask: mpsc::Sender<oneshot::Sender<MonitorStatus>>,
    pub(crate) task: JoinHandle<()>,
    pub(crate) receivers: Vec<JoinHandle<()>>,
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
