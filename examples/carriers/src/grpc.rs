//! The price service as gRPC defines it: `shop.Prices`, with a call that has one answer and one
//! that has many. Written by hand, as generated code would need a protobuf compiler:
//!
//! ```proto
//! package shop;
//! service Prices {
//!   rpc Price(Item) returns (Cents);
//!   rpc Watch(Item) returns (stream Cents);
//! }
//! message Item { string name = 1; }
//! message Cents { uint64 cents = 1; }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use selvedge::{CallLayer, Calls, Exchange};
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::server::{Grpc as Server, NamedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Layer as _, Service, service_fn};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Cents {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
}

/// The server's side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prices;

impl NamedService for Prices {
    const NAME: &'static str = "shop.Prices";
}

impl<B> Service<http::Request<B>> for Prices
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let mut server = Server::new(ProstCodec::<Cents, Item>::default());
            Ok(match request.uri().path() {
                "/shop.Prices/Price" => server.unary(service_fn(price), request).await,
                "/shop.Prices/Watch" => server.server_streaming(service_fn(watch), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn price(request: Request<Item>) -> Result<Response<Cents>, Status> {
    let price = price_of(&request.get_ref().name);
    price.map(Response::new)
}

async fn watch(
    request: Request<Item>,
) -> Result<Response<tokio_stream::Iter<std::vec::IntoIter<Result<Cents, Status>>>>, Status> {
    let first = price_of(&request.get_ref().name)?;
    let mut prices: Vec<Result<Cents, Status>> = (0..3)
        .map(|n| {
            Ok(Cents {
                cents: first.cents + n,
            })
        })
        .collect();
    if request.get_ref().name == "brittle" {
        // It fails after its answer began: only the trailers can tell.
        prices.push(Err(Status::data_loss("the price list broke off")));
    }
    Ok(Response::new(tokio_stream::iter(prices)))
}

/// What an item costs.
pub(crate) fn price_of(name: &str) -> Result<Cents, Status> {
    match name {
        "" => Err(Status::invalid_argument("which item?")),
        "unknown" => Err(Status::not_found("there is no such item")),
        "broken" => Err(Status::internal("the price list is torn")),
        name => Ok(Cents {
            cents: 100 * name.len() as u64,
        }),
    }
}

/// The client's side: its calls belong to the exchange that each is made with.
#[derive(Clone)]
pub(crate) struct PricesClient {
    channel: Calls<Channel>,
}

impl PricesClient {
    /// A client that connects when it is first used.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(url.to_owned())?.connect_lazy();
        Ok(Self {
            channel: CallLayer::new("prices").layer(channel),
        })
    }

    pub(crate) async fn price(&self, exchange: &Exchange, name: &str) -> Result<u64, Status> {
        let mut client = Client::new(self.channel.clone());
        ready(&mut client).await?;
        let path = PathAndQuery::from_static("/shop.Prices/Price");
        let codec = ProstCodec::<Item, Cents>::default();
        let answer = client.unary(request(exchange, name), path, codec).await?;
        Ok(answer.into_inner().cents)
    }

    /// All prices until the stream's end.
    pub(crate) async fn watch(&self, exchange: &Exchange, name: &str) -> Result<Vec<u64>, Status> {
        let mut client = Client::new(self.channel.clone());
        ready(&mut client).await?;
        let path = PathAndQuery::from_static("/shop.Prices/Watch");
        let codec = ProstCodec::<Item, Cents>::default();
        let answer = client.server_streaming(request(exchange, name), path, codec);
        let mut stream: Streaming<Cents> = answer.await?.into_inner();
        let mut prices = Vec::new();
        while let Some(price) = stream.message().await? {
            prices.push(price.cents);
        }
        Ok(prices)
    }
}

/// The exchange goes along in the request's extensions.
fn request(exchange: &Exchange, name: &str) -> Request<Item> {
    let mut request = Request::new(Item {
        name: name.to_owned(),
    });
    request.extensions_mut().insert(exchange.clone());
    request
}

async fn ready(client: &mut Client<Calls<Channel>>) -> Result<(), Status> {
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))
}
