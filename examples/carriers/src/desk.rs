//! The desk: each path asks for the same over another carrier.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use async_nats::jetstream;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use selvedge::{Channels as _, Client, End, Layer, References, Sending, Session};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use crate::args;
use crate::fleet;
use crate::grpc::PricesClient;
use crate::ledger::envelope;
use crate::lines::Job;
use crate::messages;

struct Desk {
    args: args::Desk,
    prices: Option<PricesClient>,
    broker: Option<jetstream::Context>,
    references: Option<References>,
    client: Client,
    http: reqwest::Client,
}

pub(crate) async fn run(args: args::Desk) -> Result<()> {
    let node = fleet::join(&args.member, "desk").await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let broker = match &args.nats {
        Some(url) => Some(messages::connect(url).await?),
        None => None,
    };
    let references = args.references.as_deref();
    let desk = Arc::new(Desk {
        prices: args.grpc.as_deref().map(PricesClient::new).transpose()?,
        references: references.map(|url| References::new(http.clone(), url)),
        broker,
        client: Client::new()?,
        http,
        args,
    });
    let router = axum::Router::new()
        .route("/{carrier}/{item}", post(order))
        .with_state(desk.clone())
        .layer(Layer::new(node.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let web = tokio::spawn(async move { axum::serve(listener, router).await });
    fleet::serve(&desk.args.member, &node, &[("desk", address)]).await?;
    web.abort();
    Ok(())
}

/// Answers with the request's origin, for whoever wants to see its tree.
async fn order(
    State(desk): State<Arc<Desk>>,
    Path((carrier, item)): Path<(String, String)>,
    session: Session,
) -> (StatusCode, Json<Value>) {
    let origin = session.identifier().origin().to_string();
    let asked = match &*carrier {
        "grpc" => desk.over_grpc(&session, &item).await,
        "watch" => desk.over_a_stream(&session, &item).await,
        "message" => desk.over_messages(&session, &item).await,
        "before" => desk.beside(&session, &item, true).await,
        "after" => desk.beside(&session, &item, false).await,
        "reference" => desk.by_reference(&session, &item).await,
        "soap" => desk.over_soap(&session, &item).await,
        "w3c" => desk.over_trace_context(&session, &item).await,
        "native" => desk.over_http(&session, &item).await,
        _ => Err(anyhow!("no such carrier")),
    };
    match asked {
        Ok(said) => (
            StatusCode::OK,
            Json(json!({ "origin": origin, "said": said })),
        ),
        Err(error) => {
            let said = json!({ "origin": origin, "error": format!("{error:#}") });
            (StatusCode::BAD_GATEWAY, Json(said))
        }
    }
}

impl Desk {
    async fn over_grpc(&self, session: &Session, item: &str) -> Result<Value> {
        let prices = self.prices.as_ref().context("--grpc")?;
        Ok(json!(prices.price(session, item).await?))
    }

    async fn over_a_stream(&self, session: &Session, item: &str) -> Result<Value> {
        let prices = self.prices.as_ref().context("--grpc")?;
        Ok(json!(prices.watch(session, item).await?))
    }

    async fn over_messages(&self, session: &Session, item: &str) -> Result<Value> {
        let broker = self.broker.as_ref().context("--nats")?;
        messages::publish(broker, session, item).await?;
        Ok(json!("sent"))
    }

    /// The line goes over TCP, its identifier in a datagram, before it or after.
    async fn beside(&self, session: &Session, item: &str, before: bool) -> Result<Value> {
        let printer = self.args.printer.context("--printer")?;
        let beside = self.args.beside.context("--beside")?;
        let host = printer.to_string();
        let sending = session.sending("printer", Some(&host), "PRINT", item);
        // What names the job at both sides: nobody else has this interaction.
        let job = format!("job-{}", sending.identifier().own());
        let message = sending.separate(job.as_bytes()).context("a short name")?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let line = format!("PRINT {job} {item}");
        let printed = async {
            if before {
                socket.send_to(message.as_bytes(), beside).await?;
            }
            let job = Job::send(printer, &line).await?;
            if !before {
                socket.send_to(message.as_bytes(), beside).await?;
            }
            job.printed().await
        };
        let printed = printed.await;
        end(sending, printed)
    }

    async fn by_reference(&self, session: &Session, item: &str) -> Result<Value> {
        let printer = self.args.printer.context("--printer")?;
        let references = self.references.as_ref().context("--references")?;
        let host = printer.to_string();
        let sending = session.sending("printer", Some(&host), "STORE", item);
        let token = match item {
            // As when the store forgot it: the printer finds nothing under this token.
            "forgotten" => "0123456789abcdef0123456789abcdef".to_owned(),
            _ => match references.put(&sending).await {
                Some(token) => token.to_string(),
                None => "-".to_owned(),
            },
        };
        let line = format!("STORE {item} {token}");
        let stored = async { Job::send(printer, &line).await?.printed().await };
        let stored = stored.await;
        end(sending, stored)
    }

    async fn over_soap(&self, session: &Session, item: &str) -> Result<Value> {
        let url = self.args.ledger.as_deref().context("--ledger")?;
        let sending = session.sending("ledger", None, "SOAP", "Book");
        let envelope = sending.soap(envelope(item).as_bytes())?;
        let request = self.http.post(format!("{url}/book"));
        let request = request.header(CONTENT_TYPE, "application/soap+xml");
        match request.body(envelope).send().await {
            Ok(answer) => {
                sending.close(End::status(answer.status().as_u16()));
                Ok(json!(answer.status().as_u16()))
            }
            Err(error) => {
                sending.failed(&error.to_string());
                Err(error.into())
            }
        }
    }

    /// As over something between that passes `traceparent` and `tracestate` on, and nothing else.
    async fn over_trace_context(&self, session: &Session, item: &str) -> Result<Value> {
        let url = self.args.http.as_deref().context("--http")?;
        let sending = session.sending("prices", None, "GET", &format!("/prices/{item}"));
        let mut request = self.http.get(format!("{url}/prices/{item}"));
        for (name, value) in sending.trace_context() {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(answer) => {
                sending.close(End::status(answer.status().as_u16()));
                Ok(json!(answer.text().await?))
            }
            Err(error) => {
                sending.failed(&error.to_string());
                Err(error.into())
            }
        }
    }

    async fn over_http(&self, session: &Session, item: &str) -> Result<Value> {
        let url = self.args.http.as_deref().context("--http")?;
        let url = format!("{url}/prices/{item}");
        let reply = self.client.get(session, "prices", &url).await?;
        if reply.status() != StatusCode::OK {
            bail!("prices: {}", reply.status());
        }
        Ok(json!(reply.text().await?))
    }
}

fn end(sending: Sending, answer: Result<String>) -> Result<Value> {
    match answer {
        Ok(origin) => {
            sending.accepted();
            Ok(json!(origin))
        }
        Err(error) => {
            sending.failed(&error.to_string());
            Err(error)
        }
    }
}
