//! The service that W3C's suite for Trace Context asks for, on the SDK: it answers a POST of a JSON
//! list by a POST of each element's `arguments` to its `url`. `cargo xtask trace-context` runs the
//! suite against it.
//!
//! It says on its standard output where it listens.

use std::sync::Arc;

use axum::{Extension, Json, Router, http::StatusCode, routing::post};
use selvedge::{Client, Layer, Node, NodeOptions, Session};
use selvedge_bus::{Hub, HubOptions};
use selvedge_identity::{KeyRing, ServerName};
use serde_json::Value;

async fn test(
    session: Session,
    Extension(client): Extension<Client>,
    Json(elements): Json<Vec<Value>>,
) -> Result<(), StatusCode> {
    for element in elements {
        let url = element["url"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
        let reply = client
            .post_json(&session, "harness", url, &element["arguments"])
            .await;
        let reply = reply.map_err(|_| StatusCode::BAD_GATEWAY)?;
        reply.text().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let server = ServerName::new("trace-context")?;
    let options = NodeOptions::new(
        server,
        "trace-context",
        folder.path(),
        KeyRing::single([1; 32]),
    );
    let node = Node::start(options, Arc::new(Hub::new(HubOptions::default()))).await?;
    let app = Router::new()
        .route("/test", post(test))
        .layer(Extension(Client::new()?))
        .layer(Layer::new(node));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
