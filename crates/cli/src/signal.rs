//! Being asked to stop, or to read the configuration again.
//!
//! Whoever sees that a process serves may ask it to stop in the same moment. So a role listens for
//! signals before it says that it serves: one that comes in between is not lost.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::print;

/// The signals of this process, listened for from now on.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Listens for SIGINT and SIGTERM. Where that cannot be, they end the process at once, which
    /// the journals bear.
    pub(crate) fn listen() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Waits until it is asked to stop.
    pub(crate) async fn stop_asked(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            () = next(&mut self.terminate) => {}
        }
    }
}

/// SIGHUP too, at which the configuration is read again.
pub(crate) struct Rereading {
    signals: Signals,
    hangup: Option<Signal>,
}

impl Rereading {
    /// Listens.
    pub(crate) fn listen() -> Self {
        Self {
            signals: Signals::listen(),
            hangup: signal(SignalKind::hangup()).ok(),
        }
    }

    /// Waits until it is asked to stop, and calls `reread` at each SIGHUP.
    pub(crate) async fn until_stopped(&mut self, mut reread: impl FnMut()) {
        loop {
            tokio::select! {
                () = self.signals.stop_asked() => return,
                () = next(&mut self.hangup) => reread(),
            }
        }
    }
}

/// Reads something again and says what is there now; what cannot be read leaves `what` as it was.
pub(crate) fn reread(what: &str, read: impl FnOnce() -> Result<String>) {
    let said = match read() {
        Ok(now) => print::text(&format!("{now}\n")),
        Err(error) => {
            eprintln!("selvedge: the {what} stay as they were: {error:#}");
            Ok(())
        }
    };
    if let Err(error) = said {
        tracing::warn!(%error, "standard output is closed");
    }
}

/// The next signal; never, where it is not listened for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
