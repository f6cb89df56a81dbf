//! Messages over NATS JetStream: the pairs that identify a request are the message's headers.
//!
//! The broker keeps messages until each consumer has acknowledged them, so minutes or days may
//! lie between sending and receiving, and every consumer gets its own copy: one edge of the tree,
//! with a delivery each.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, Message, stream};
use futures_util::StreamExt as _;
use selvedge::{Arrival, Batch, Channels as _, End, Exchange, Node};

use crate::args;
use crate::fleet;
use crate::grpc::PricesClient;

/// Where orders go.
pub(crate) const SUBJECT: &str = "orders.new";
/// The stream that keeps them.
const STREAM: &str = "ORDERS";

/// A connection to the broker, with the stream there.
pub(crate) async fn connect(url: &str) -> Result<jetstream::Context> {
    let client = async_nats::connect(url).await;
    let client = client.with_context(|| format!("cannot reach the broker at {url}"))?;
    let context = jetstream::new(client);
    context
        .get_or_create_stream(stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["orders.>".to_owned()],
            ..stream::Config::default()
        })
        .await?;
    Ok(context)
}

/// Publishes an order while handling a request.
pub(crate) async fn publish(
    broker: &jetstream::Context,
    exchange: &Exchange,
    item: &str,
) -> Result<()> {
    let sending = exchange.message(SUBJECT);
    let mut headers = HeaderMap::new();
    for (key, value) in sending.pairs() {
        headers.insert(key, value.as_str());
    }
    let body = item.to_owned().into();
    let sent = broker.publish_with_headers(SUBJECT, headers, body).await;
    // The broker has it once it says so.
    let accepted = match sent {
        Ok(accepting) => accepting.await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(_) => sending.accepted(),
        Err(error) => {
            sending.failed(&error.to_string());
            return Err(error.into());
        }
    }
    Ok(())
}

pub(crate) async fn run(args: args::Consumer) -> Result<()> {
    let service = args.member.name.split('-').next().unwrap_or("consumer");
    let node = fleet::join(&args.member, service).await?;
    let broker = connect(&args.nats).await?;
    let consumer = broker
        .get_stream(STREAM)
        .await?
        .get_or_create_consumer(
            service,
            pull::Config {
                durable_name: Some(service.to_owned()),
                ..pull::Config::default()
            },
        )
        .await?;
    let prices = args.grpc.as_deref().map(PricesClient::new).transpose()?;
    let from = address(&args.nats)?;
    let work = async {
        match args.batch {
            Some(number) => batches(&node, &consumer, from, number).await,
            None => one_by_one(&node, &consumer, from, prices).await,
        }
    };
    // It ends when it is asked to, or when the broker fails it.
    tokio::select! {
        served = fleet::serve(&args.member, &node, &[]) => served,
        worked = work => worked.context("the broker"),
    }
}

/// The broker's address: what comes from it is as trusted as it is.
fn address(url: &str) -> Result<IpAddr> {
    let (_, address) = url.split_once("://").context("nats://HOST:PORT")?;
    Ok(address.parse::<SocketAddr>()?.ip())
}

fn pairs(message: &Message) -> impl Iterator<Item = (&str, &[u8])> {
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    headers.flat_map(|(key, values)| {
        let values = values.iter();
        values.map(move |value| (key.as_ref(), value.as_str().as_bytes()))
    })
}

async fn one_by_one(
    node: &Node,
    consumer: &PullConsumer,
    from: IpAddr,
    prices: Option<PricesClient>,
) -> Result<()> {
    let mut messages = consumer.messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let arrival = Arrival::message(&message.subject).from(from);
        let exchange = arrival.pairs(pairs(&message)).take(node).await;
        let item = String::from_utf8_lossy(&message.payload);
        let end = match &prices {
            Some(prices) => match prices.price(&exchange, &item).await {
                Ok(_) => End::status(200),
                Err(status) => End {
                    error: Some(status.message().to_owned()),
                    ..End::default()
                },
            },
            None => End::status(200),
        };
        exchange.finish(end).await;
        acknowledge(&message).await?;
    }
    Ok(())
}

async fn batches(node: &Node, consumer: &PullConsumer, from: IpAddr, number: usize) -> Result<()> {
    let mut messages = consumer.messages().await?;
    let mut gathered = Vec::with_capacity(number);
    while let Some(message) = messages.next().await {
        gathered.push(message?);
        if gathered.len() < number {
            continue;
        }
        let arrivals = gathered.iter().map(|message| {
            let arrival = Arrival::message(&message.subject).from(from);
            arrival.pairs(pairs(message))
        });
        let batch = Batch::take(node, "report", arrivals.collect()).await;
        println!("report {}", batch.identifier().origin());
        batch.close(End::status(200));
        for message in gathered.drain(..) {
            acknowledge(&message).await?;
        }
    }
    Ok(())
}

async fn acknowledge(message: &Message) -> Result<()> {
    message.ack().await.map_err(|error| anyhow::anyhow!(error))
}
