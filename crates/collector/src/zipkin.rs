//! Zipkin v2 over HTTP: `POST /api/v2/spans` as JSON or protobuf, answered 202.
//!
//! Zipkin has no way to say that single spans were refused; the counts say so.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::Pipeline;
use crate::{Fault, Form, Protocol, web};

const PATH: &str = "/api/v2/spans";
const HEALTH: &str = "/health";

/// Answers a request.
pub(crate) async fn answer(
    pipeline: Arc<Pipeline>,
    cors_origins: Arc<[String]>,
    request: Request<Incoming>,
) -> Answer {
    let form = form(request.headers());
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
        _ => match web::post(&pipeline, PATH, request, form).await {
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

fn form(headers: &HeaderMap) -> Result<Form, Fault> {
    let kind = web::content_type(headers);
    match kind.as_str() {
        "application/json" => Ok(Form::ZipkinJson),
        "application/x-protobuf" | "application/protobuf" => Ok(Form::ZipkinProtobuf),
        _ => Err(Fault::ContentType {
            given: kind,
            known: "application/json or application/x-protobuf",
        }),
    }
}

fn refused(fault: &Fault) -> Answer {
    let sentence = format!("{fault}\n").into_bytes();
    let mut answer = web::answer(fault.status(), "text/plain; charset=utf-8", sentence);
    web::fault_headers(&mut answer, fault);
    answer
}
