//! The interactive-TV shop: content servers for viewers, and three services behind an order.
//!
//! A viewer opens a page, sees what is on, orders things, votes, and orders content to be
//! broadcast (A6). Every content server does all of it, and a visit may meet another one at every
//! request: what the visit did elsewhere, a server reads from its node's memory of the session
//! (B2), and what it left for later, its cart, from the session's state; so there is no database and
//! no sticky routing. An order calls the catalogue, the stock
//! and the payment service over HTTP, so one request becomes a call tree.
//!
//! It is an example and a test bed: prices are invented, payment refuses by a fixed limit, and
//! the stock is forgotten at every start.

mod cart;
mod catalogue;
mod channel;
mod content;
mod error;
mod item;
mod json;
mod order;
mod payment;
mod refusal;
mod server;
mod stock;
mod visit;

use std::net::SocketAddr;
use std::time::Duration;

pub use error::ShopError;
pub use item::{ITEMS, Item};
pub use order::{Order, QUANTITY_MAX};
pub use payment::LIMIT_CENTS;
use selvedge_node::Node;
pub use server::Running;

/// How orders are fulfilled, as `selvedge` reads it in its configuration.
pub const TRANSACTIONS: &str = include_str!("../transactions.toml");

/// What the shop's channel reacts to, as a configuration: viewers who vote alike.
pub const THRESHOLDS: &str = include_str!("../thresholds.toml");

/// What a content server is told when it starts.
#[derive(Clone, Debug)]
pub struct ShopOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The services behind an order.
    pub services: Services,
    /// Wait this long in every request: a server that is slower than its peers.
    pub slow: Option<Duration>,
}

/// Base URLs of the services behind an order, for one `http://127.0.0.1:9001`.
#[derive(Clone, Debug)]
pub struct Services {
    /// The catalogue: what there is, and what it costs.
    pub catalogue: String,
    /// The payment service.
    pub payment: String,
    /// The stock service.
    pub stock: String,
}

/// Starts a content server; it writes into the journal of `node`, whose name it shows as its own.
/// Its node should keep JSON bodies ([`selvedge_node::Keep::json_bodies`]): the visit's orders are
/// read from them.
///
/// # Errors
/// When it cannot listen.
pub async fn start_content(options: ShopOptions, node: Node) -> Result<Running, ShopError> {
    let router = content::router(&options, node)?;
    server::start(options.listen, router).await
}

/// Starts the catalogue service.
///
/// # Errors
/// When it cannot listen.
pub async fn start_catalogue(listen: SocketAddr, node: Node) -> Result<Running, ShopError> {
    server::start(listen, catalogue::router(node)).await
}

/// Starts the payment service.
///
/// # Errors
/// When it cannot listen.
pub async fn start_payment(listen: SocketAddr, node: Node) -> Result<Running, ShopError> {
    server::start(listen, payment::router(node)).await
}

/// Starts the stock service.
///
/// # Errors
/// When it cannot listen.
pub async fn start_stock(listen: SocketAddr, node: Node) -> Result<Running, ShopError> {
    server::start(listen, stock::router(node)).await
}
