//! Asks every upstream regularly whether it is there.

use std::sync::Arc;
use std::time::Duration;

use selvedge_relay::{Body, RequestHead};

use crate::upstream::{Upstream, Upstreams};

/// Probes until dropped; ends at once where no probe is configured.
pub(crate) async fn probe(upstreams: Arc<Upstreams>) {
    let Some(options) = upstreams.probe_options().cloned() else {
        return;
    };
    let mut tick = tokio::time::interval(Duration::from_millis(options.interval_ms.max(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut asked = tokio::task::JoinSet::new();
        for upstream in upstreams.list().iter() {
            let (upstream, upstreams) = (Arc::clone(upstream), Arc::clone(&upstreams));
            let path = options.path.clone();
            asked.spawn(async move {
                let good = ask(&upstream, &path, upstreams.probe_timeout()).await;
                upstreams.probed(&upstream, good);
            });
        }
        while asked.join_next().await.is_some() {}
    }
}

async fn ask(upstream: &Upstream, path: &str, timeout: Duration) -> bool {
    let Ok(mut head) = RequestHead::new("GET", path) else {
        return false;
    };
    head.fields.append("host", upstream.client.address());
    head.fields.append("user-agent", "selvedge-probe");
    let mut body = Body::empty();
    let answer = tokio::time::timeout(timeout, upstream.client.send(&head, &mut body)).await;
    matches!(answer, Ok(Ok(response)) if response.head.status < 400)
}
