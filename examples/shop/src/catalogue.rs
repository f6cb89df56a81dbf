//! The catalogue service: what there is, and what it costs. What is not there is made to order.
//!
//! `GET /items`, `GET /items/{id}`.

use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_node::Node;
use serde_json::{Value, json};

use crate::item::{self, ITEMS, TO_ORDER_CENTS};
use crate::json::BODY_BYTES_MAX;
use crate::refusal::Refusal;

pub(crate) fn router(node: Node) -> Router {
    Router::new()
        .route("/items", get(list))
        .route("/items/{id}", get(one))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(selvedge::Layer::new(node))
}

async fn list() -> Json<Value> {
    Json(json!({ "items": ITEMS }))
}

async fn one(Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    match item::find(&id) {
        Some(item) => Ok(Json(json!(item))),
        None if item::is_name(&id) => Ok(Json(json!({
            "id": id,
            "name": format!("{id}, made to order"),
            "price_cents": TO_ORDER_CENTS,
        }))),
        None => Err(Refusal::no_item(&id)),
    }
}
