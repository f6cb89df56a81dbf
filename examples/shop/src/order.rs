//! An order for a good or a service (A6).
//!
//! The price comes from the catalogue, the stock is reserved, then the money is taken; where the
//! payment is refused, the stock gets its items back. Each is a call to a service of its own.

use axum::http::StatusCode;
use selvedge::{CallError, Client, Exchange, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Services;
use crate::item;
use crate::refusal::Refusal;

/// The most of one item that one order may want.
pub const QUANTITY_MAX: u64 = 100;

/// An order that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id, unique.
    pub id: String,
    /// What was ordered.
    pub item: String,
    /// How many.
    pub quantity: u64,
    /// What all of it costs, in cents.
    pub total_cents: u64,
    /// The payment's id.
    pub payment: String,
    /// The reservation's id.
    pub reservation: String,
}

/// What a viewer asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) item: String,
    #[serde(default = "one")]
    pub(crate) quantity: u64,
}

fn one() -> u64 {
    1
}

impl Wanted {
    /// Places the order.
    pub(crate) async fn place(
        self,
        exchange: &Exchange,
        client: &Client,
        services: &Services,
    ) -> Result<Order, Refusal> {
        self.check()?;
        let id = order_id(exchange);
        let total_cents = self.price(exchange, client, services).await? * self.quantity;
        let reservation = self.reserve(exchange, client, services, &id).await?;
        let charge = json!({ "order": id, "amount_cents": total_cents });
        let url = format!("{}/charges", services.payment);
        let paid = client.post_json(exchange, "payment", &url, &charge).await;
        let paid = match paid {
            Ok(reply) => said(reply, "payment").await,
            Err(error) => Err(error.into()),
        };
        match paid.and_then(|paid| field(&paid, "payment")) {
            Ok(payment) => Ok(Order {
                id,
                item: self.item,
                quantity: self.quantity,
                total_cents,
                payment,
                reservation,
            }),
            Err(refusal) => {
                self.release(exchange, client, services).await;
                Err(refusal)
            }
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        if !(1..=QUANTITY_MAX).contains(&self.quantity) {
            return Err(Refusal::bad(format!(
                "a quantity of {} cannot be ordered: it must be 1 to {QUANTITY_MAX}",
                self.quantity
            )));
        }
        if !item::is_name(&self.item) {
            return Err(Refusal::no_item(&self.item));
        }
        Ok(())
    }

    async fn price(
        &self,
        exchange: &Exchange,
        client: &Client,
        services: &Services,
    ) -> Result<u64, Refusal> {
        let item = self.item.replace(' ', "%20");
        let url = format!("{}/items/{item}", services.catalogue);
        let reply = client.get(exchange, "catalogue", &url).await?;
        let item = said(reply, "catalogue").await?;
        item["price_cents"]
            .as_u64()
            .ok_or_else(|| Refusal::upstream("the catalogue named no price"))
    }

    async fn reserve(
        &self,
        exchange: &Exchange,
        client: &Client,
        services: &Services,
        order: &str,
    ) -> Result<String, Refusal> {
        let url = format!("{}/reservations", services.stock);
        let body = json!({ "order": order, "item": self.item, "quantity": self.quantity });
        let reply = client.post_json(exchange, "stock", &url, &body).await?;
        field(&said(reply, "stock").await?, "reservation")
    }

    /// Gives back what was reserved. Where that fails the items stay reserved, and it is logged.
    async fn release(&self, exchange: &Exchange, client: &Client, services: &Services) {
        let url = format!("{}/releases", services.stock);
        let body = json!({ "item": self.item, "quantity": self.quantity });
        let released: Result<Reply, CallError> =
            client.post_json(exchange, "stock", &url, &body).await;
        if let Err(error) = released {
            tracing::warn!(item = self.item, %error, "reserved items not released");
        }
    }
}

/// The answer of a service, its refusal passed on as ours.
pub(crate) async fn said(reply: Reply, service: &str) -> Result<Value, Refusal> {
    let status = reply.status();
    let said: Value = reply.json().await?;
    if status.is_success() {
        return Ok(said);
    }
    let message = said["error"]["message"].as_str();
    let message = message.map_or_else(|| format!("{service} answered {status}"), str::to_owned);
    Err(match status {
        StatusCode::NOT_FOUND => Refusal::new(status, "unknown_item", message),
        StatusCode::PAYMENT_REQUIRED => Refusal::new(status, "payment_refused", message),
        StatusCode::CONFLICT => Refusal::new(status, "out_of_stock", message),
        _ => Refusal::upstream(message),
    })
}

fn field(said: &Value, name: &str) -> Result<String, Refusal> {
    said[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Refusal::upstream(format!("a service's answer lacks its {name}")))
}

fn order_id(exchange: &Exchange) -> String {
    format!("o{:016x}", u64::from_be_bytes(exchange.node().random()))
}
