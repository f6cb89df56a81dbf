//! The response race to a client of one's own (C7): one question to the master, the sites' answers
//! at one instant, and the first that arrives names the fastest site.
//!
//! ```no_run
//! # async fn browse() -> Result<(), Box<dyn std::error::Error>> {
//! // The master listens on port 7700 of the gateway's host.
//! let raced = selvedge::race::fastest("192.0.2.1:7700".parse()?).await?;
//! let site = raced.winner();
//! println!("{} at {}", site.site, site.url);
//! // What the fleet learns of it: how often DNS would have been right.
//! raced.tell(None)?;
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;

pub use selvedge_race::client::{Came, ClientError, ClientOptions, Raced};
pub use selvedge_race::wire::Wanted;

/// Lets the sites race for their addresses. It takes the race's delay, the way to the fastest site,
/// and 300 ms in which the others are measured.
///
/// # Errors
/// No master there, or it refuses: see [`ClientError`].
pub async fn fastest(master: SocketAddr) -> Result<Raced, ClientError> {
    race(ClientOptions::new(master)).await
}

/// Lets them race as the options say: for their content too, and with other times.
///
/// # Errors
/// See [`ClientError`].
pub async fn race(options: ClientOptions) -> Result<Raced, ClientError> {
    // It waits on a socket of its own, whose answers have the kernel's stamps.
    let raced = tokio::task::spawn_blocking(move || selvedge_race::client::race(&options)).await;
    raced.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Err(ClientError::Socket(std::io::Error::other(error))),
    })
}
