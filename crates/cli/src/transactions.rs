//! The transaction processor in this process, and what the admin port shows of it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use selvedge_bus::Bus;
use selvedge_monitor::transaction::{
    LETTERS_MAX, LedgerError, RunningTransactions, Transaction, TransactionConfig, Transactions,
    Tried,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a question names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    rule: String,
    #[serde(default)]
    position: String,
    #[serde(default)]
    cursor: String,
}

/// Checks the rules of a configuration.
pub(crate) fn check(rules: &[TransactionConfig]) -> Result<Vec<Transaction>> {
    let mut checked: Vec<Transaction> = Vec::new();
    for config in rules {
        let rule = Transaction::new(config.clone())?;
        if checked.iter().any(|other| other.name() == rule.name()) {
            anyhow::bail!(
                "two transactions are named {}; give each a name of its own",
                rule.name()
            );
        }
        checked.push(rule);
    }
    Ok(checked)
}

/// Starts the rules; their databases lie in `data` unless they say otherwise.
pub(crate) async fn start(
    rules: &[TransactionConfig],
    data: &Path,
    bus: Arc<dyn Bus>,
) -> Result<RunningTransactions> {
    RunningTransactions::start(check(rules)?, data, bus)
        .await
        .context("transactions")
}

/// `/api/v1/transactions`: how many each rule has done, its dead letters, and trying one again.
pub(crate) fn routes(transactions: Transactions) -> Router {
    Router::new()
        .route("/api/v1/transactions", get(list))
        .route("/api/v1/transactions/dead", get(dead))
        .route("/api/v1/transactions/retry", post(retry))
        .with_state(transactions)
}

async fn list(State(transactions): State<Transactions>) -> Response {
    answer(move || {
        let counts = transactions.counts()?;
        let rows: Vec<Value> = counts
            .into_iter()
            .map(|(rule, done, dead)| json!({"rule": rule, "done": done, "dead": dead}))
            .collect();
        Ok((StatusCode::OK, json!({"transactions": rows, "next": null})))
    })
    .await
}

async fn dead(State(transactions): State<Transactions>, asked: Asked) -> Response {
    let question = match asked {
        Ok(Query(question)) => question,
        Err(rejection) => return refused(&rejection),
    };
    answer(move || {
        let Some(letters) = transactions.dead(&question.rule, &question.cursor)? else {
            return Ok(unknown(&format!(
                "no transaction rule {:?}: GET /api/v1/transactions lists them",
                question.rule
            )));
        };
        let last = letters.last().filter(|_| letters.len() == LETTERS_MAX);
        let next = last.map(|letter| letter.position.clone());
        Ok((StatusCode::OK, json!({"letters": letters, "next": next})))
    })
    .await
}

async fn retry(State(transactions): State<Transactions>, asked: Asked) -> Response {
    let question = match asked {
        Ok(Query(question)) => question,
        Err(rejection) => return refused(&rejection),
    };
    answer(move || {
        Ok(
            match transactions.retry(&question.rule, &question.position)? {
                Tried::Done => (StatusCode::OK, json!({"done": true, "reason": null})),
                Tried::Dead(reason) => (StatusCode::OK, json!({"done": false, "reason": reason})),
                Tried::Unknown => unknown("no such dead letter: name its rule and its position"),
            },
        )
    })
    .await
}

type Asked = Result<Query<Question>, QueryRejection>;

fn refused(rejection: &QueryRejection) -> Response {
    let body = json!({"error": {"code": "bad_request", "message": rejection.body_text()}});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

fn unknown(message: &str) -> (StatusCode, Value) {
    let body = json!({"error": {"code": "not_found", "message": message}});
    (StatusCode::NOT_FOUND, body)
}

/// Asks a database, on a thread that may wait for it.
async fn answer(
    ask: impl FnOnce() -> Result<(StatusCode, Value), LedgerError> + Send + 'static,
) -> Response {
    let asked = tokio::task::spawn_blocking(ask).await;
    let (status, body) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let body = json!({"error": {"code": "unavailable", "message": error.to_string()}});
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
        Err(_) => {
            let body = json!({"error": {"code": "internal", "message": "the question failed"}});
            (StatusCode::INTERNAL_SERVER_ERROR, body)
        }
    };
    (status, Json(body)).into_response()
}
