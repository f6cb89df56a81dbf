//! A listener: takes connections, bounded in number, and ends them when it is stopped.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// The body of an answer.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How long a connection may take for a request's head. It bounds idle ones too; SDKs send every
/// few seconds and keep theirs.
const HEAD_WAIT: Duration = Duration::from_secs(120);
/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// HTTP/2: requests in flight on one connection.
const STREAMS_MAX: u32 = 64;
/// HTTP/2: bytes that a peer may send before they are asked for, on one connection.
const WINDOW_BYTES: u32 = 1 << 20;
/// HTTP/2: how often a silent peer is asked whether it is there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);
/// How long requests in flight may take once it stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// Serves until `stop` says so; requests in flight are then finished, for at most
/// [`STOP_GRACE`].
pub(crate) async fn serve<F, A>(
    listener: TcpListener,
    version: Version,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let connections_max = connections_max.min(u32::MAX as usize);
    let permits = Arc::new(Semaphore::new(connections_max));
    let connection_stop = stop.clone();
    loop {
        let permit = tokio::select! {
            () = stopped(&mut stop) => break,
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("never closed"),
        };
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, mostly: others must end first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (answer, stop) = (answer.clone(), connection_stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(stream, version, stop, answer).await {
                tracing::debug!(%error, "collector connection ended");
            }
        });
    }
    drop(listener);
    // All permits back: all connections are done.
    let all = permits.acquire_many(connections_max as u32);
    _ = tokio::time::timeout(STOP_GRACE, all).await;
}

/// Returns once it is stopped, or its owner is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
}

async fn connection<F, A>(
    stream: TcpStream,
    version: Version,
    mut stop: watch::Receiver<bool>,
    answer: F,
) -> Result<(), hyper::Error>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    // An answer is small and whole; waiting for more of it would only delay it.
    _ = stream.set_nodelay(true);
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let told = async move { stopped(&mut stop).await };
    // The two kinds of connection have no trait in common.
    match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = told => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Version::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .initial_stream_window_size(WINDOW_BYTES / 2)
                .initial_connection_window_size(WINDOW_BYTES)
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_WAIT)
                .serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = told => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    }
}
