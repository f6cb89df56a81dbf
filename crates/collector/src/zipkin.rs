//! Zipkin v2 over HTTP: `POST /api/v2/spans` as JSON or protobuf, answered 202.
//!
//! Zipkin has no way to say that single spans were refused; the counts say so.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::{Collected, Pipeline, Taken};
use crate::{Encoding, Fault, Form, Protocol, web};

const PATH: &str = "/api/v2/spans";
const HEALTH: &str = "/health";

/// Answers a request.
pub(crate) async fn answer(
    pipeline: Arc<Pipeline>,
    cors_origins: Arc<[String]>,
    request: Request<Incoming>,
) -> Answer {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Err(fault) = web::check_origin(request.headers(), &cors_origins) {
        pipeline.counts.fault(Protocol::Zipkin, &fault);
        return refused(&fault);
    }
    let mut answer = match (request.method(), request.uri().path()) {
        (&Method::OPTIONS, PATH) => web::preflight(request.headers()),
        (&Method::GET, HEALTH) => {
            let up = br#"{"status":"UP"}"#.to_vec();
            web::answer(StatusCode::OK, "application/json", up)
        }
        _ => match export(&pipeline, request).await {
            Ok(taken) => {
                let (spans, refused) = (taken.spans, &taken.refused);
                pipeline.counts.taken(Protocol::Zipkin, spans, refused);
                web::empty(StatusCode::ACCEPTED)
            }
            Err(fault) => {
                pipeline.counts.fault(Protocol::Zipkin, &fault);
                refused(&fault)
            }
        },
    };
    web::allow_origin(&mut answer, origin);
    answer
}

async fn export(pipeline: &Pipeline, request: Request<Incoming>) -> Result<Taken, Fault> {
    let (head, mut body) = request.into_parts();
    let collected = collect(pipeline, &head, &mut body).await;
    let (collected, form, encoding) = match collected {
        Ok(collected) => collected,
        Err(fault) => return Err(web::drained(fault, &head.headers, &mut body).await),
    };
    let bytes = collected.bytes.clone();
    pipeline.take(collected, bytes, encoding, form).await
}

async fn collect(
    pipeline: &Pipeline,
    head: &Parts,
    body: &mut Incoming,
) -> Result<(Collected, Form, Encoding), Fault> {
    if head.uri.path() != PATH {
        return Err(Fault::Path(head.uri.path().chars().take(128).collect()));
    }
    web::check_method(&head.method)?;
    let kind = web::content_type(&head.headers);
    let form = match kind.as_str() {
        "application/json" => Form::ZipkinJson,
        "application/x-protobuf" | "application/protobuf" => Form::ZipkinProtobuf,
        _ => {
            return Err(Fault::ContentType {
                given: kind,
                known: "application/json or application/x-protobuf",
            });
        }
    };
    let encoding = web::encoding(&head.headers)?;
    Ok((pipeline.collect(body, 0).await?, form, encoding))
}

fn refused(fault: &Fault) -> Answer {
    let sentence = format!("{fault}\n").into_bytes();
    let mut answer = web::answer(fault.status(), "text/plain; charset=utf-8", sentence);
    web::fault_headers(&mut answer, fault);
    answer
}
