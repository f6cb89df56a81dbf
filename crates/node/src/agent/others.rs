//! Follows everyone else's journals into the server's memory (B2).

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Bus, Event, Pace, Subscribe};
use selvedge_identity::ServerName;

use crate::Memory;
use crate::metrics::{NodeMetrics, count};

/// How seldom a memory without entries is brought up to date while nobody waits for it.
const PACE: Duration = Duration::from_millis(5);

/// What the task that follows the others holds.
pub(crate) struct Others {
    pub(crate) server: ServerName,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Arc<NodeMetrics>,
    /// Whether the memory keeps entries, so that their owners may count on it.
    pub(crate) holds: bool,
}

impl Others {
    pub(crate) async fn run(self, bus: Arc<dyn Bus>) {
        let request = Subscribe::oldest(self.server.as_str());
        let request = match self.holds {
            true => request.holds(self.server.clone()),
            // It wants positions only, and those seldom.
            false => request.skip(self.server.clone()).pace(Pace {
                every: PACE,
                hurry: self.memory.wanted(),
            }),
        };
        let mut subscription = match bus.subscribe(request).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::error!(%error, "cannot follow the back-end network");
                return;
            }
        };
        while let Some(event) = subscription.next().await {
            match event {
                Event::Batch(batch) => {
                    count(&self.metrics.batches_taken);
                    self.memory
                        .apply(&batch.server, batch.epoch, batch.first, &batch.records);
                }
                Event::Gap {
                    server,
                    epoch,
                    from,
                    to,
                } => {
                    self.memory.gap(&server, epoch, from, to);
                }
                // What comes with its reports only is not waited for either.
                Event::Joined { server, terms, .. } => {
                    self.memory.presence(&server, terms.peers_at_once);
                }
                Event::Left { server } => self.memory.presence(&server, false),
            }
        }
    }
}
