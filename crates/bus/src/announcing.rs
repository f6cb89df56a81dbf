//! What every publisher does with a batch that it is to announce.

use selvedge_identity::ServerName;
use tokio::sync::Notify;

use crate::batch::split;
use crate::{Batch, BusError};

/// The parts, of at most this cost or one record each, in which a batch of the journal of `owned`
/// goes out; none of an empty one.
pub(crate) fn parts(
    batch: Batch,
    owned: &ServerName,
    cost_max: usize,
) -> Result<Vec<Batch>, BusError> {
    if batch.server != *owned {
        return Err(BusError::WrongServer {
            owned: owned.clone(),
            announced: batch.server,
        });
    }
    if batch.records.is_empty() {
        return Ok(Vec::new());
    }
    Ok(split(batch, cost_max))
}

/// Tries until there was room; `room` tells when there may be some.
pub(crate) async fn until_room(
    room: &Notify,
    mut attempt: impl FnMut() -> Result<bool, BusError>,
) -> Result<(), BusError> {
    loop {
        let changed = room.notified();
        tokio::pin!(changed);
        // Registered before looking, so that no change in between is missed.
        changed.as_mut().enable();
        if attempt()? {
            return Ok(());
        }
        changed.await;
    }
}
