//! What is in flight: requests and their bytes, each bounded.
//!
//! Nothing waits here while it holds something, so nothing can wait for itself: where there is no
//! room, the sender is told to come again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Fault, Limits};

/// The room that there is.
#[derive(Debug)]
pub(crate) struct Flights {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One request's part of the room; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    _request: OwnedSemaphorePermit,
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Flights {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes = limits.bytes_in_flight_max.min(Semaphore::MAX_PERMITS);
        Self {
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// When there are as many as may be.
    pub(crate) fn take(&self) -> Result<Flight, Fault> {
        let permit = Arc::clone(&self.requests).try_acquire_owned();
        Ok(Flight {
            _request: permit.map_err(|_| Fault::Busy)?,
            all: Arc::clone(&self.bytes),
            held: None,
            bytes: 0,
        })
    }
}

impl Flight {
    /// Makes sure that it holds this many bytes.
    ///
    /// # Errors
    /// When there is no room for them.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        while self.bytes < bytes {
            let more = u32::try_from(bytes - self.bytes).unwrap_or(u32::MAX);
            let permit = Arc::clone(&self.all).try_acquire_many_owned(more);
            let permit = permit.map_err(|_| Fault::Busy)?;
            match &mut self.held {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
            self.bytes += more as usize;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_and_never_exceeded() {
        let flights = Flights::new(&Limits {
            requests_max: 2,
            bytes_in_flight_max: 100,
            ..Limits::default()
        });
        let mut one = flights.take().expect("room");
        let mut two = flights.take().expect("room");
        assert_eq!(flights.take().map(|_| ()), Err(Fault::Busy));
        one.hold(60).expect("room");
        one.hold(50).expect("it holds more already");
        assert_eq!(two.hold(41), Err(Fault::Busy));
        two.hold(40).expect("room");
        drop(one);
        two.hold(100).expect("room");
        assert!(flights.take().is_ok());
    }
}
