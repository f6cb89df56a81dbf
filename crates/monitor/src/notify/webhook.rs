//! Notifications as HTTP requests.

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use crate::outbox::Notification;

/// A URL that takes notifications.
pub(crate) struct Webhook {
    url: String,
    client: reqwest::Client,
}

impl Webhook {
    pub(crate) fn new(url: String) -> Result<Self, String> {
        // A redirected POST may end as a GET, and what answers that has taken nothing.
        let client = reqwest::Client::builder().redirect(Policy::none()).build();
        Ok(Self {
            client: client.map_err(|error| format!("webhook {url}: {error}"))?,
            url,
        })
    }

    /// Done once the receiver has answered 2xx; its body is not read. The caller sets the time
    /// limit.
    pub(crate) async fn send(&self, notification: &Notification) -> Result<(), String> {
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
