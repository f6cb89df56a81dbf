//! A ledger over SOAP that looks at no HTTP header: as behind an enterprise bus that passes
//! envelopes on and nothing else. The identifier is the envelope's.

use std::net::SocketAddr;

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use selvedge::{Arrival, End, Node};
use tokio::net::TcpListener;

use crate::args;
use crate::fleet;

/// An envelope that books this.
pub(crate) fn envelope(item: &str) -> String {
    let item = item.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\">\
         <soap:Body><b:Book xmlns:b=\"urn:example:ledger\">{item}</b:Book></soap:Body>\
         </soap:Envelope>"
    )
}

pub(crate) async fn run(args: args::Ledger) -> Result<()> {
    let node = fleet::join(&args.member, "ledger").await?;
    let router = axum::Router::new()
        .route("/book", post(book))
        .with_state(node.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let web = tokio::spawn(async move { axum::serve(listener, router).await });
    fleet::serve(&args.member, &node, &[("soap", address)]).await?;
    web.abort();
    Ok(())
}

async fn book(
    State(node): State<Node>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Bytes,
) -> impl IntoResponse {
    let arrival = Arrival::new("SOAP", "Book").from(peer.ip());
    let exchange = arrival.soap(&request).take(&node).await;
    let answer = envelope("booked");
    exchange
        .finish(End {
            request_bytes: request.len() as u64,
            response_bytes: answer.len() as u64,
            ..End::status(200)
        })
        .await;
    ([(CONTENT_TYPE, "application/soap+xml")], answer)
}
