//! A listening server and its end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ShopError;

/// Requests in flight at a stop get this long; connections that merely stand open end at once.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A server that is running. Dropped, it goes on until the program ends.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new requests, lets those in flight end (at most 5 s), and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(STOP_WITHIN, self.task).await.is_err() {
            abort.abort();
        }
    }
}

pub(crate) async fn start(listen: SocketAddr, router: Router) -> Result<Running, ShopError> {
    let failed = |source| ShopError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, mut stopped) = watch::channel(false);
    // Small answers must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move {
        let stop = async move {
            // An error means that the handle was dropped: the server goes on.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let served = axum::serve(listener, service).with_graceful_shutdown(stop);
        if let Err(error) = served.await {
            tracing::error!(%address, %error, "server ended");
        }
    });
    Ok(Running {
        address,
        stop,
        task,
    })
}
