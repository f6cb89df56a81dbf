//! Being asked to stop, or to read the configuration again.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn stop_asked() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals end the process at once, which the journals bear.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits for SIGINT or SIGTERM, and calls `reread` at each SIGHUP.
pub(crate) async fn until_stopped(mut reread: impl FnMut()) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return stop_asked().await;
    };
    let stop = stop_asked();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = hangup.recv() => reread(),
        }
    }
}
