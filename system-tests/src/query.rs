//! Asking the query API.

use std::time::Duration;

use serde_json::Value;

/// How long an answer that must come may take to come. It bounds a failing test, and no passing
/// one waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The query API of one running Selvedge.
#[derive(Clone, Debug)]
pub struct Query {
    admin: String,
    client: reqwest::Client,
}

impl Query {
    /// The API at this URL.
    #[must_use]
    pub fn new(admin: String) -> Self {
        Self {
            admin,
            client: reqwest::Client::new(),
        }
    }

    /// One answer: its status and its JSON.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.admin);
        let answer = self.client.get(url).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Asks until the answer is as wanted: the repository hears of an entry a moment after the
    /// client, and has no way to tell that it has heard of all.
    ///
    /// # Panics
    /// When it does not become so: with the last answer.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (status, value) = self.get(path).await;
            if status == 200 && wanted(&value) {
                return value;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path} never became as wanted; last: {status} {value:#}"
            );
            tokio::task::yield_now().await;
        }
    }

    /// The timeline of a session, once it has this many closed entries.
    pub async fn timeline(&self, session: &str, entries: usize) -> Value {
        let path = format!("/api/v1/sessions/{session}");
        self.until(&path, |timeline| {
            let list = timeline["entries"].as_array();
            let closed = |e: &&Value| e["outcome"] != "unknown";
            list.is_some_and(|list| list.iter().filter(closed).count() >= entries)
        })
        .await
    }

    /// The tree of a request, once it has this many nodes and every one of them has ended.
    pub async fn tree(&self, origin: &str, nodes: usize) -> Value {
        let path = format!("/api/v1/requests/{origin}");
        self.until(&path, |tree| {
            let list = tree["nodes"].as_array();
            let whole = |n: &&Value| n["evidence"] == "observed" && n["duration"].is_number();
            list.is_some_and(|list| list.iter().filter(whole).count() >= nodes)
        })
        .await
    }
}
