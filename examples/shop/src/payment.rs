//! The payment service: takes money up to a limit.
//!
//! `POST /charges {"order","amount_cents"}` → 201 `{"payment","amount_cents"}`, 402 above the
//! limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use selvedge_node::Node;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::{BODY_BYTES_MAX, Body};
use crate::refusal::Refusal;

/// The most that one order may cost, in cents.
pub const LIMIT_CENTS: u64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Charge {
    order: String,
    amount_cents: u64,
}

pub(crate) fn router(node: Node) -> Router {
    Router::new()
        .route("/charges", post(charge))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(selvedge::Layer::new(node))
        .with_state(Arc::new(AtomicU64::new(0)))
}

async fn charge(
    State(charges): State<Arc<AtomicU64>>,
    Body(charge): Body<Charge>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    if charge.amount_cents > LIMIT_CENTS {
        let message = format!(
            "{} cents are more than the limit of {LIMIT_CENTS}",
            charge.amount_cents
        );
        let status = StatusCode::PAYMENT_REQUIRED;
        return Err(Refusal::new(status, "payment_refused", message));
    }
    let number = charges.fetch_add(1, Ordering::Relaxed) + 1;
    let paid = json!({
        "payment": format!("p{number}"),
        "order": charge.order,
        "amount_cents": charge.amount_cents,
    });
    Ok((StatusCode::CREATED, Json(paid)))
}
