//! Questions about references, passed on to a store that other servers reach, too.

use selvedge_identity::carrier::reference::Reference;
use selvedge_relay::{Body, Request, RequestHead, Response};

use super::{No, PREFIX};
use crate::target::{Target, Targets};

/// The longest body of a reference.
pub(super) const BODY_BYTES_MAX: usize = 1024;

/// A store of references that other servers reach, too.
pub(super) struct References<'a> {
    pub(super) targets: &'a Targets,
    pub(super) target: &'a Target,
}

impl References<'_> {
    /// Passes a question of the local API on to it.
    pub(super) async fn pass(&self, mut request: Request) -> Result<Response, No> {
        let path = format!("{}{}", self.target.prefix, request.head.target());
        let set = request.head.set_target(&path);
        set.map_err(|refused| No::bad(refused.reason))?;
        request.head.fields.set("host", &self.target.address);
        let client = self.targets.client(self.target);
        let sent = client.send(&request.head, &mut request.body).await;
        sent.map_err(|error| {
            let message = format!("the reference store did not answer: {error}");
            No::new(502, "no_reference", &message)
        })
    }

    pub(super) async fn put(&self, token: &str, identifier: &[u8]) -> bool {
        let sent = self
            .ask("PUT", token, Body::full(identifier.to_vec()))
            .await;
        sent.is_some()
    }

    pub(super) async fn get(&self, token: &str) -> Option<String> {
        // A token is a part of a path: what is none is not asked for.
        token.parse::<Reference>().ok()?;
        let mut body = self.ask("GET", token, Body::empty()).await?;
        let body = body.collect(BODY_BYTES_MAX).await.ok()?;
        String::from_utf8(body.into()).ok()
    }

    async fn ask(&self, method: &str, token: &str, mut body: Body) -> Option<Body> {
        let path = format!("{}{}references/{token}", self.target.prefix, PREFIX);
        let mut head = RequestHead::new(method, &path).ok()?;
        head.fields.set("host", &self.target.address);
        let client = self.targets.client(self.target);
        match client.send(&head, &mut body).await {
            Ok(response) if response.head.status < 300 => Some(response.body),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(store = self.target.address, %error, "reference store failed");
                None
            }
        }
    }
}
