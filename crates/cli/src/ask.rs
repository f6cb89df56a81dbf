//! Asking a running Selvedge over its query API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::Value;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Gets `path` with `query` of the API at `admin`.
///
/// # Errors
/// When nothing answers there, or the answer is an error: its message.
pub(crate) async fn get(admin: &str, path: &str, query: &[(&str, String)]) -> Result<Value> {
    ask(Method::GET, None, admin, path, query, Vec::new()).await
}

/// As [`get`], with a key of its own.
///
/// # Errors
/// As there.
pub(crate) async fn get_with(
    key: Option<String>,
    admin: &str,
    path: &str,
    query: &[(&str, String)],
) -> Result<Value> {
    ask(Method::GET, key, admin, path, query, Vec::new()).await
}

/// As [`get`], by POST: for what makes servers work.
///
/// # Errors
/// As there.
pub(crate) async fn post(admin: &str, path: &str, query: &[(&str, String)]) -> Result<Value> {
    ask(Method::POST, None, admin, path, query, Vec::new()).await
}

/// Posts a file, or a piece of one, which says itself what it is.
///
/// # Errors
/// As there.
pub(crate) async fn send(admin: &str, path: &str, file: Vec<u8>) -> Result<Value> {
    ask(Method::POST, None, admin, path, &[], file).await
}

/// Without a key the one of this variable is shown, if there is one.
const KEY: &str = "SELVEDGE_KEY";

async fn ask(
    method: Method,
    key: Option<String>,
    admin: &str,
    path: &str,
    query: &[(&str, String)],
    body: Vec<u8>,
) -> Result<Value> {
    let url = format!("{}{path}", admin.trim_end_matches('/'));
    let mut url = reqwest::Url::parse(&url).with_context(|| format!("--admin {admin:?}"))?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(300))
        .no_proxy()
        .build()?;
    let mut request = client.request(method, url);
    if let Some(key) = key.or_else(|| std::env::var(KEY).ok()) {
        request = request.bearer_auth(key);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/octet-stream");
    }
    let mut answer = request.body(body).send().await.with_context(|| {
        format!("nothing answers at {admin}; is `selvedge up` running, or --admin another address?")
    })?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            bail!("the answer of {admin} is longer than {ANSWER_BYTES_MAX} bytes");
        }
    }
    let value: Value = serde_json::from_slice(&body)
        .with_context(|| format!("{admin} answered {status} with something else than JSON"))?;
    if let Some(message) = value["error"]["message"].as_str() {
        bail!("{message}");
    }
    if !status.is_success() {
        bail!("{admin} answered {status}");
    }
    Ok(value)
}
