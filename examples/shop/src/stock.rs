//! The stock service: reserves what is there.
//!
//! `POST /reservations {"order","item","quantity"}` → 201 `{"reservation","left"}`, 409 when
//! there are too few; `POST /releases {"item","quantity"}` → 200 `{"left"}` gives them back. Of
//! what is made to order there is as much as is wanted, and `left` is null.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use selvedge_node::Node;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::item::ITEMS;
use crate::json::{BODY_BYTES_MAX, Body};
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reservation {
    order: String,
    item: String,
    quantity: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    item: String,
    quantity: u64,
}

struct Shelves {
    left: HashMap<&'static str, u64>,
    reservations: u64,
}

type Shared = State<Arc<Mutex<Shelves>>>;

pub(crate) fn router(node: Node) -> Router {
    let shelves = Shelves {
        left: ITEMS.iter().map(|item| (item.id, item.stock)).collect(),
        reservations: 0,
    };
    Router::new()
        .route("/reservations", post(reserve))
        .route("/releases", post(release))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(selvedge::Layer::new(node))
        .with_state(Arc::new(Mutex::new(shelves)))
}

async fn reserve(
    State(shelves): Shared,
    Body(wanted): Body<Reservation>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut shelves = shelves.lock().unwrap_or_else(PoisonError::into_inner);
    // What has no shelf is made to order, as much as is wanted.
    let rest = match shelves.left.get_mut(wanted.item.as_str()) {
        None => None,
        Some(left) => {
            let Some(rest) = left.checked_sub(wanted.quantity) else {
                let message = format!("only {left} of {} are left", wanted.item);
                return Err(Refusal::new(StatusCode::CONFLICT, "out_of_stock", message));
            };
            *left = rest;
            Some(rest)
        }
    };
    shelves.reservations += 1;
    let reserved = json!({
        "reservation": format!("r{}", shelves.reservations),
        "order": wanted.order,
        "left": rest,
    });
    Ok((StatusCode::CREATED, Json(reserved)))
}

async fn release(State(shelves): Shared, Body(back): Body<Release>) -> Json<Value> {
    let mut shelves = shelves.lock().unwrap_or_else(PoisonError::into_inner);
    let left = shelves.left.get_mut(back.item.as_str()).map(|left| {
        *left = left.saturating_add(back.quantity);
        *left
    });
    Json(json!({ "left": left }))
}
