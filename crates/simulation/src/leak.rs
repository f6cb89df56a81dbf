//! The planted bug [`Plant::LostDelivery`](crate::Plant::LostDelivery): a subscription that loses
//! every hundredth batch.

use async_trait::async_trait;
use selvedge_bus::{Event, Events, Subscription};

pub(crate) struct Leaking {
    subscription: Subscription,
    batches: u64,
}

impl Leaking {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            batches: 0,
        }
    }
}

#[async_trait]
impl Events for Leaking {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.subscription.next().await?;
            if matches!(event, Event::Batch(_)) {
                self.batches += 1;
                if self.batches.is_multiple_of(100) {
                    continue;
                }
            }
            return Some(event);
        }
    }
}
