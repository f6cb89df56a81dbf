//! Notifications from the threshold link to the thread that places them, and their
//! acknowledgement once they are placed and remembered.

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use selvedge_monitor::Notification;
use selvedge_monitor::link::{Arrived, LinkListener};
use selvedge_monitor::threshold::Change;
use selvedge_video::{Indication, State};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::counts::Counted;
use crate::taken::Taken;

/// Notifications that wait to be placed, at most; more are not taken from the link.
pub(crate) const WAITING_MAX: usize = 1024;

pub(crate) fn indication(notification: &Notification) -> Indication {
    Indication {
        id: notification.id.clone(),
        rule: notification.rule.clone(),
        group: notification.group.clone(),
        state: match notification.change {
            Change::Raised => State::Raised,
            Change::Cleared => State::Cleared,
        },
        value: notification.value,
        at: notification.at,
    }
}

/// Serves the link until the placing thread is gone.
pub(crate) async fn serve(
    mut listener: LinkListener,
    mut taken: Taken,
    to_place: SyncSender<Indication>,
    mut placed: UnboundedReceiver<Vec<Indication>>,
    counted: Counted,
) {
    let mut waiting: HashMap<String, Vec<Arrived>> = HashMap::new();
    loop {
        tokio::select! {
            arrived = listener.next(), if waiting.len() < WAITING_MAX => {
                let Some(arrived) = arrived else { return };
                take(arrived, &taken, &mut waiting, &to_place, &counted);
            }
            done = placed.recv() => {
                let Some(mut done) = done else { return };
                // Those that were placed meanwhile share the write.
                while let Ok(more) = placed.try_recv() {
                    done.extend(more);
                }
                taken = remember(taken, done, &mut waiting).await;
            }
        }
    }
}

fn take(
    arrived: Arrived,
    taken: &Taken,
    waiting: &mut HashMap<String, Vec<Arrived>>,
    to_place: &SyncSender<Indication>,
    counted: &Counted,
) {
    let id = arrived.notification.id.clone();
    if taken.has(&id) {
        counted.change(|counts| counts.repeated += 1);
        arrived.acknowledge();
        return;
    }
    if let Some(same) = waiting.get_mut(&id) {
        counted.change(|counts| counts.repeated += 1);
        same.push(arrived);
        return;
    }
    let indication = indication(&arrived.notification);
    if let Err(error) = indication.check() {
        counted.change(|counts| counts.unfit += 1);
        tracing::warn!(rule = indication.rule, %error, "an indication is not placed");
        // Sent again it would fit no better.
        arrived.acknowledge();
        return;
    }
    // There is room for as many as may wait; one that is not taken is repeated.
    if to_place.try_send(indication).is_ok() {
        waiting.insert(id, vec![arrived]);
    }
}

async fn remember(
    mut taken: Taken,
    done: Vec<Indication>,
    waiting: &mut HashMap<String, Vec<Arrived>>,
) -> Taken {
    let ids: Vec<String> = done
        .iter()
        .map(|indication| indication.id.clone())
        .collect();
    // A write to the disk must not hold up this thread's other tasks.
    let (back, written) = match tokio::task::spawn_blocking(move || {
        let written = taken.add(done);
        (taken, written)
    })
    .await
    {
        Ok(both) => both,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    taken = back;
    if let Err(error) = &written {
        tracing::warn!(%error, "what was placed is not remembered; it will be placed again");
    }
    for id in ids {
        for arrived in waiting.remove(&id).unwrap_or_default() {
            if written.is_ok() {
                arrived.acknowledge();
            }
        }
    }
    taken
}
