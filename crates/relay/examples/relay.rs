//! The bare packet path, for measuring it: `relay LISTEN UPSTREAM` (two `host:port`).

use std::sync::Arc;

use selvedge_relay::{Client, ClientLimits, Handler, Limits, Request, Response, Server};

struct Relay(Client);

impl Handler for Relay {
    async fn handle(&self, mut request: Request) -> Response {
        request.head.fields.append("x-relayed", "1");
        match self.0.send(&request.head, &mut request.body).await {
            Ok(response) => response,
            Err(error) => Response::text(502, &error.to_string()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        eprintln!("use: relay LISTEN UPSTREAM");
        std::process::exit(2);
    };
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let handler = Arc::new(Relay(Client::new(upstream, ClientLimits::default())));
    let server = Server::start(listener, handler, Limits::default())?;
    println!("{}", server.local_addr());
    std::future::pending().await
}
