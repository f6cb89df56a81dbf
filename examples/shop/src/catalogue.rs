//! The catalogue service: what there is, and what it costs.
//!
//! `GET /items`, `GET /items/{id}`.

use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_node::Node;
use serde_json::{Value, json};

use crate::item::{self, ITEMS, Item};
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

async fn one(Path(id): Path<String>) -> Result<Json<&'static Item>, Refusal> {
    item::find(&id)
        .map(Json)
        .ok_or_else(|| Refusal::no_item(&id))
}
