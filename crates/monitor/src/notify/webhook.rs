//! Notifications as HTTP requests.

use reqwest::header::CONTENT_TYPE;

use crate::outbox::Notification;

/// A URL that takes notifications.
pub(super) struct Webhook {
    url: String,
    client: reqwest::Client,
}

impl Webhook {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            client: reqwest::Client::new(),
        }
    }

    /// Done once the receiver has answered 2xx; its body is not read. The caller sets the time
    /// limit.
    pub(super) async fn send(&self, notification: &Notification) -> Result<(), String> {
        let body = serde_json::to_vec(notification).map_err(|error| error.to_string())?;
        let answer = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", &notification.id)
            .body(body)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("answered {}", answer.status()))
        }
    }
}
