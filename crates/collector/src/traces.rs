//! OTLP over HTTP: `POST /v1/traces` as protobuf or JSON; an answer is in the encoding of its
//! request.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::Pipeline;
use crate::{Fault, Form, Protocol, otlp, web};

const PATH: &str = "/v1/traces";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Answers a request.
pub(crate) async fn answer(
    pipeline: Arc<Pipeline>,
    cors_origins: Arc<[String]>,
    request: Request<Incoming>,
) -> Answer {
    let form = form(request.headers());
    // Who sends neither form is answered in the one that people can read.
    let json = form.as_ref().map_or(true, |form| form.is_json());
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Err(fault) = web::check_origin(request.headers(), &cors_origins) {
        pipeline.counts.fault(Protocol::OtlpHttp, &fault);
        return refused(&fault, json);
    }
    let mut answer = if request.method() == Method::OPTIONS && request.uri().path() == PATH {
        web::preflight(request.headers())
    } else {
        match web::post(&pipeline, PATH, request, form).await {
            Ok(taken) => {
                let (spans, refused) = (taken.spans, &taken.refused);
                pipeline.counts.taken(Protocol::OtlpHttp, spans, refused);
                if json {
                    web::answer(StatusCode::OK, JSON, otlp::response_json(&taken))
                } else {
                    web::answer(StatusCode::OK, PROTOBUF, otlp::response_protobuf(&taken))
                }
            }
            Err(fault) => {
                pipeline.counts.fault(Protocol::OtlpHttp, &fault);
                refused(&fault, json)
            }
        }
    };
    web::allow_origin(&mut answer, origin);
    answer
}

fn form(headers: &HeaderMap) -> Result<Form, Fault> {
    let kind = web::content_type(headers);
    match kind.as_str() {
        PROTOBUF => Ok(Form::OtlpProtobuf),
        JSON => Ok(Form::OtlpJson),
        _ => Err(Fault::ContentType {
            given: kind,
            known: "application/x-protobuf or application/json",
        }),
    }
}

fn refused(fault: &Fault, json: bool) -> Answer {
    let (kind, body) = if json {
        (JSON, otlp::status_json(fault))
    } else {
        (PROTOBUF, otlp::status_protobuf(fault))
    };
    let mut answer = web::answer(fault.status(), kind, body);
    web::fault_headers(&mut answer, fault);
    answer
}
