//! OTLP over HTTP: `POST /v1/traces` as protobuf or JSON; an answer is in the encoding of its
//! request.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::listener::Answer;
use crate::pipeline::{Collected, Pipeline, Taken};
use crate::{Encoding, Fault, Form, Protocol, otlp, web};

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
        match export(&pipeline, request, form).await {
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

async fn export(
    pipeline: &Pipeline,
    request: Request<Incoming>,
    form: Result<Form, Fault>,
) -> Result<Taken, Fault> {
    let (head, mut body) = request.into_parts();
    let collected = collect(pipeline, &head, form, &mut body).await;
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
    form: Result<Form, Fault>,
    body: &mut Incoming,
) -> Result<(Collected, Form, Encoding), Fault> {
    if head.uri.path() != PATH {
        return Err(Fault::Path(head.uri.path().chars().take(128).collect()));
    }
    web::check_method(&head.method)?;
    let form = form?;
    let encoding = web::encoding(&head.headers)?;
    Ok((pipeline.collect(body, 0).await?, form, encoding))
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
