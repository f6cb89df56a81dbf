//! Serves a router on a listener, with limits on what strangers can hold open.
//!
//! HTTP/1.1 only. A connection has [`HEAD_WAIT`] for each request's head (which bounds idle ones
//! too) and [`HEAD_BYTES_MAX`] for its size; over [`CONNECTIONS_MAX`] connections new ones wait
//! in the operating system's queue.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// How long a connection may take for a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(60);
/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most connections at once.
const CONNECTIONS_MAX: usize = 512;

/// Serves until `stop` resolves; requests in flight are finished first, for at most five seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("never closed"),
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles, mostly: others must end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let told = async move { _ = stopped.wait_for(|stop| *stop).await };
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = told => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
    drop(listener);
    stopping.send_replace(true);
    // All permits back: all connections are done.
    let all = permits.acquire_many(CONNECTIONS_MAX as u32);
    _ = tokio::time::timeout(Duration::from_secs(5), all).await;
}
