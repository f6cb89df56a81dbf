//! The price service: the same over gRPC, with tonic, and over HTTP, with axum. One layer stands
//! before both.

use std::net::SocketAddr;

use anyhow::Result;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use selvedge::Layer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};

use crate::args;
use crate::fleet;
use crate::grpc::{Prices, price_of};

pub(crate) async fn run(args: args::Prices) -> Result<()> {
    let node = fleet::join(&args.member, "prices").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let grpc = listener.local_addr()?;
    // tonic says otherwise than axum where a request came from.
    let layer =
        Layer::new(node.clone()).peer_by(|e| Some(e.get::<TcpConnectInfo>()?.remote_addr()?.ip()));
    let server = Server::builder().layer(layer).add_service(Prices);
    let server = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let router = axum::Router::new()
        .route("/prices/{item}", get(price))
        .layer(Layer::new(node.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let http = listener.local_addr()?;
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let web = tokio::spawn(async move { axum::serve(listener, router).await });

    fleet::serve(&args.member, &node, &[("grpc", grpc), ("http", http)]).await?;
    server.abort();
    web.abort();
    Ok(())
}

async fn price(Path(item): Path<String>) -> Result<String, StatusCode> {
    let price = price_of(&item).map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(price.cents.to_string())
}
