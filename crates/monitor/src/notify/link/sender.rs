//! The monitor's side of a link.

use std::io;

use tokio::net::TcpStream;

use super::frames::{Frames, greet};
use super::{HANDSHAKE_WITHIN, LinkError};
use crate::outbox::Notification;

/// The monitor's side: connects when something is to be sent, and again after a failure.
pub struct LinkSender {
    address: String,
    instance: String,
    secret: [u8; 32],
    frames: Option<Frames<TcpStream>>,
}

impl LinkSender {
    /// To `host:port`; `instance` names this monitor.
    #[must_use]
    pub fn new(address: String, instance: String, secret: [u8; 32]) -> Self {
        Self {
            address,
            instance,
            secret,
            frames: None,
        }
    }

    /// Done once the other side has acknowledged. Dropped before that, the connection is not used
    /// again: what its next frame would be is not known.
    ///
    /// # Errors
    /// When it was not acknowledged: it is to be sent again.
    pub async fn send(&mut self, notification: &Notification) -> Result<(), String> {
        let frames = self.frames.take();
        let sent = self.try_send(frames, notification).await;
        match sent {
            Ok(frames) => {
                self.frames = Some(frames);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn try_send(
        &self,
        frames: Option<Frames<TcpStream>>,
        notification: &Notification,
    ) -> Result<Frames<TcpStream>, LinkError> {
        let mut frames = match frames {
            Some(frames) => frames,
            None => tokio::time::timeout(HANDSHAKE_WITHIN, self.connect())
                .await
                .unwrap_or(Err(LinkError::Late))?,
        };
        let body = serde_json::to_vec(notification).map_err(io::Error::other)?;
        frames.send(&body).await?;
        loop {
            // An acknowledgement of what was sent before is passed over.
            if frames.receive().await? == notification.id.as_bytes() {
                return Ok(frames);
            }
        }
    }

    async fn connect(&self) -> Result<Frames<TcpStream>, LinkError> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        greet(stream, &self.secret, &self.instance).await
    }
}
