//! Channels of the application's own, and SOAP, through a sidecar: what the application is told,
//! what stands in the journal, and every way to be told no.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use common::{Fleet, LOOPBACK, options};
use selvedge_entry::{Direction, Entry, Outcome};
use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::separate::Separate;
use selvedge_identity::carrier::soap;
use selvedge_node::Node;
use selvedge_sidecar::{RunningSidecar, Sidecar, SidecarOptions, SoapOptions};
use serde_json::{Value, json};

/// An application that keeps what it was sent, behind a sidecar.
struct Behind {
    fleet: Fleet,
    node: Node,
    sidecar: RunningSidecar,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

async fn application() -> (SocketAddr, Arc<Mutex<Vec<(HeaderMap, Bytes)>>>) {
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let keeps = seen.clone();
    let keep = |headers: HeaderMap, body: Bytes| async move {
        keeps.lock().unwrap().push((headers, body));
    };
    let router = Router::new().fallback(keep);
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

impl Behind {
    async fn start(set: impl FnOnce(&mut SidecarOptions)) -> Self {
        let fleet = Fleet::new();
        let (address, seen) = application().await;
        let mut options = options(address);
        set(&mut options);
        let node = fleet.node("sender", "sender").await;
        let sidecar = Sidecar::start(options, node.clone()).await.unwrap();
        Self {
            fleet,
            node,
            sidecar,
            seen,
        }
    }

    /// A request comes in; the identifier that the application was given.
    async fn request(&mut self) -> String {
        let to = self.sidecar.inbound_addr();
        assert_eq!(self.fleet.ask(to, "/", None).await.0, 200);
        let (headers, _) = self.seen.lock().unwrap().pop().unwrap();
        headers["selvedge-request"].to_str().unwrap().to_owned()
    }

    /// A question to the local API.
    async fn ask(&self, method: &str, question: &str, about: &str, body: &str) -> (u16, Value) {
        let url = format!(
            "http://{}/selvedge/v1/{question}",
            self.sidecar.egress_addr()
        );
        let request = self.fleet.http.request(method.parse().unwrap(), url);
        let request = match about {
            "" => request,
            about => request.header("selvedge-request", about),
        };
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::from(text)),
        )
    }

    async fn tell(&self, question: &str, about: &str, body: Value) -> (u16, Value) {
        self.ask("POST", question, about, &body.to_string()).await
    }

    async fn journal(&self) -> Vec<Entry> {
        self.fleet.journal(&self.node).await
    }
}

fn parse(value: &Value) -> RequestIdentifier {
    RequestIdentifier::parse(value.as_str().unwrap().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_gets_its_identifier_in_every_form_asked_for_and_its_end_is_told() {
    let mut behind = Behind::start(|_| {}).await;
    let request = behind.request().await;
    let new = json!({
        "peer": "worker", "host": "10.0.0.9:7", "method": "QUEUE", "path": "jobs",
        "about": "job-7", "reference": true, "session": true,
    });
    let (status, call) = behind.tell("call", &request, new).await;
    assert_eq!(status, 201, "{call}");
    let own = parse(&call["headers"]["selvedge-request"]);
    let parent = RequestIdentifier::parse(request.as_bytes()).unwrap();
    assert_eq!(
        (own.origin(), own.depth()),
        (parent.origin(), parent.depth() + 1)
    );
    assert!(call["headers"]["selvedge-carried"].is_string());
    assert_eq!(call["headers"]["selvedge-caller"], "sender");
    let separate = Separate::parse(call["separate"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(
        (separate.about(), separate.identifier()),
        (&b"job-7"[..], &own)
    );
    let token = call["reference"].as_str().unwrap();
    let (status, found) = behind
        .ask("GET", &format!("references/{token}"), "", "")
        .await;
    assert_eq!((status, parse(&found)), (200, own.clone()));

    let end = format!("call/{}", call["call"].as_str().unwrap());
    assert_eq!(
        behind.tell(&end, "", json!({ "error": "no ink" })).await.0,
        204
    );
    assert_eq!(
        behind.tell(&end, "", json!({})).await.0,
        404,
        "it has ended"
    );
    let (_, plain) = behind.tell("call", &request, json!({})).await;
    assert_eq!(
        plain["headers"]["selvedge-carried"],
        Value::Null,
        "unless asked for"
    );
    assert_eq!(
        (&plain["separate"], &plain["reference"]),
        (&Value::Null, &Value::Null)
    );

    // One that is never ended is written as given up, at the latest when the sidecar ends.
    let Behind {
        fleet,
        node,
        sidecar,
        ..
    } = behind;
    sidecar.stop().await;
    let entries = fleet.journal(&node).await;
    let calls: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.opening.direction == Direction::Outbound)
        .collect();
    let ended = calls[0].closing.as_ref().unwrap();
    assert_eq!(
        (&*calls[0].opening.action, ended.error.as_deref()),
        ("QUEUE jobs", Some("no ink"))
    );
    let sent = calls[0].opening.call.as_ref().unwrap();
    assert_eq!(
        (sent.peer.as_deref(), sent.peer_host.as_deref()),
        (Some("worker"), Some("10.0.0.9:7"))
    );
    assert_eq!(sent.identifier, own);
    assert_eq!(calls[1].outcome(), Outcome::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_another_channel_is_a_request_like_any_other() {
    let mut behind = Behind::start(|_| {}).await;
    let request = behind.request().await;
    let asks = json!({ "about": "job-7", "reference": true });
    let (_, call) = behind.tell("call", &request, asks).await;
    let sent = parse(&call["headers"]["selvedge-request"]);
    let separate = call["separate"].as_str().unwrap();
    for (how, new) in [
        ("pairs", json!({ "headers": call["headers"] })),
        (
            "w3c",
            json!({ "headers": {
            "TraceParent": call["headers"]["traceparent"],
            "tracestate": call["headers"]["tracestate"],
        } }),
        ),
        (
            "reference",
            json!({ "headers": { "Selvedge-Reference": call["reference"] } }),
        ),
        ("beside", json!({ "about": "job-7", "wait_ms": 10_000 })),
    ] {
        let came = behind.ask("POST", "separate", "", separate);
        let (received, came) = tokio::join!(behind.tell("request", "", new), came);
        assert_eq!((received.0, came.0), (201, 204), "{how}");
        let received = received.1;
        let own = parse(&received["request"]);
        assert_eq!(
            (own.origin(), own.depth()),
            (sent.origin(), sent.depth()),
            "{how}"
        );
        assert!(own.own().matches(&sent.own()), "{how}");
        let named = received["request"].as_str().unwrap();
        let action = json!({ "name": "work" });
        assert_eq!(behind.tell("action", named, action).await.0, 201, "{how}");
        assert_eq!(behind.tell("call", named, json!({})).await.0, 201, "{how}");
        let end = format!("request/{}", received["id"].as_str().unwrap());
        assert_eq!(behind.tell(&end, "", json!({ "status": 200 })).await.0, 204);
        assert_eq!(behind.tell(&end, "", json!({ "status": 200 })).await.0, 404);
    }
    // Without anything it is a new root.
    let forgotten =
        json!({ "headers": { "selvedge-reference": "0123456789abcdef0123456789abcdef" } });
    for new in [
        json!({ "method": "QUEUE", "path": "jobs" }),
        forgotten,
        json!({ "about": "job-8" }),
    ] {
        let (status, received) = behind.tell("request", "", new).await;
        assert_eq!(status, 201);
        let own = parse(&received["request"]);
        assert_eq!(own.depth(), 0);
        assert_ne!(own.origin(), sent.origin());
    }
    let counts = behind.sidecar.counts();
    assert_eq!(counts.channel_requests, 7);
    assert_eq!(counts.identifiers_missing, 2, "a token and a name in vain");
    assert_eq!(counts.channel_calls, 5);
    let Behind {
        fleet,
        node,
        sidecar,
        ..
    } = behind;
    sidecar.stop().await;
    let entries = fleet.journal(&node).await;
    let never = entries
        .iter()
        .find(|entry| &*entry.opening.action == "QUEUE jobs");
    let never = never.unwrap().closing.as_ref().unwrap();
    assert_eq!(
        never.error.as_deref(),
        Some("the application never said how it ended")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_about_channels_are_refused_with_a_sentence() {
    let mut behind = Behind::start(|_| {}).await;
    let request = behind.request().await;
    let long = "x".repeat(2_000);
    let (_, call) = behind.tell("call", &request, json!({})).await;
    let call = format!("call/{}", call["call"].as_str().unwrap());
    for (question, about, body, status) in [
        ("call", "", json!({}), 400),
        (
            "call",
            "1.4.6.A.01a1f8d3ea00a1b2c3d4e5f60718293a.ERER.aaaa",
            json!({}),
            400,
        ),
        ("call", &request, json!("worker"), 400),
        ("call", &request, json!({ "pier": "worker" }), 400),
        ("call", &request, json!({ "path": long }), 400),
        ("call", &request, json!({ "about": "" }), 400),
        (&call, "", json!({ "status": 42 }), 400),
        ("call/none", "", json!({}), 404),
        ("request", "", json!({ "headers": { "a": 1 } }), 400),
        ("request", "", json!({ "about": "x".repeat(193) }), 400),
        ("request/0000000000000000", "", json!({}), 404),
        ("separate", "", json!("hello"), 400),
        ("nonsense", "", json!({}), 404),
    ] {
        let (answered, said) = behind.tell(question, about, body).await;
        assert_eq!(answered, status, "{question} {said}");
        assert!(said["error"]["message"].is_string(), "{question} {said}");
    }
    let token = "references/0123456789abcdef0123456789abcdef";
    for (method, question, body, status) in [
        ("GET", "call", "", 405),
        ("GET", token, "", 404),
        ("PUT", token, "no identifier", 400),
        ("PUT", "references/short", &*request, 400),
        ("DELETE", token, "", 405),
        ("PUT", token, &*"x".repeat(5_000), 400),
    ] {
        let (answered, said) = behind.ask(method, question, "", body).await;
        assert_eq!(answered, status, "{method} {question} {said}");
    }
    assert_eq!(behind.ask("PUT", token, "", &request).await.0, 204);
    assert_eq!(
        behind.ask("GET", token, "", "").await.1,
        Value::from(request)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn references_lie_where_the_settings_say_and_calls_go_without_where_that_is_down() {
    let store = Behind::start(|_| {}).await;
    let url = format!("http://{}", store.sidecar.egress_addr());
    let mut behind = Behind::start(|options| options.references = Some(url)).await;
    let request = behind.request().await;
    let (status, call) = behind
        .tell("call", &request, json!({ "reference": true }))
        .await;
    assert_eq!(status, 201, "{call}");
    let token = call["reference"].as_str().unwrap();
    for behind in [&behind, &store] {
        let (status, found) = behind
            .ask("GET", &format!("references/{token}"), "", "")
            .await;
        assert_eq!(
            (status, &found),
            (200, &call["headers"]["selvedge-request"])
        );
    }
    let new = json!({ "headers": { "selvedge-reference": token } });
    let (_, received) = behind.tell("request", "", new.clone()).await;
    assert_eq!(
        parse(&received["request"]).origin(),
        parse(&call["headers"]["selvedge-request"]).origin()
    );

    store.sidecar.stop().await;
    let asks = json!({ "reference": true });
    let (status, call) = behind.tell("call", &request, asks).await;
    assert_eq!(
        (status, &call["reference"]),
        (201, &Value::Null),
        "the call is made without"
    );
    assert_eq!(behind.sidecar.counts().references_unkept, 1);
    let (status, received) = behind.tell("request", "", new).await;
    assert_eq!(
        (status, parse(&received["request"]).depth()),
        (201, 0),
        "served as a new root"
    );
}

const PLAIN: &str = "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body>kettle</e:Body></e:Envelope>";

fn with_soap(options: &mut SidecarOptions) {
    options.soap = SoapOptions {
        paths: vec!["/soap/".to_owned()],
        services: vec!["ledger".to_owned()],
        envelope_bytes_max: 2_000,
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_finds_its_request_in_the_soap_header_where_that_is_configured() {
    let behind = Behind::start(with_soap).await;
    let to = behind.sidecar.inbound_addr();
    let long = PLAIN.replace("kettle", &"x".repeat(3_000));
    let malformed = "<!DOCTYPE x><y/>".to_owned();
    let sent =
        RequestIdentifier::parse(b"1.4.6.C.01a1f8d3ea00a1b2c3d4e5f60718293a.ERERESIiIiIzMzMz.vBAs");
    let sent = sent.unwrap();
    let marked = String::from_utf8(soap::write(PLAIN.as_bytes(), &sent).unwrap()).unwrap();
    for (path, kind, body, looked_into) in [
        (
            "/soap/order",
            "application/soap+xml; charset=utf-8",
            PLAIN,
            true,
        ),
        ("/soap/order", "Text/XML", &marked, true),
        ("/soap/order", "text/plain", PLAIN, false),
        ("/other", "text/xml", PLAIN, false),
        ("/soap/order", "text/xml", &long, false),
        ("/soap/order", "text/xml", &malformed, false),
    ] {
        let post = behind.fleet.http.post(format!("http://{to}{path}"));
        let answer = post
            .header("content-type", kind)
            .body(body.to_owned())
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 200, "{path} {kind}");
        let (headers, came) = behind.seen.lock().unwrap().pop().unwrap();
        let own = headers["selvedge-request"].as_bytes();
        if looked_into {
            assert_eq!(soap::read(&came).unwrap(), Some(own), "{path} {kind}");
            assert!(came.ends_with(b"<e:Body>kettle</e:Body></e:Envelope>"));
            let continued = own == sent.encode().as_bytes();
            assert_eq!(continued, body == marked, "{path} {kind}");
        } else {
            assert_eq!(came, body.as_bytes(), "{path} {kind}");
        }
    }
    // Of unknown length and too long: it cannot be given back.
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(long))]);
    let post = behind.fleet.http.post(format!("http://{to}/soap/order"));
    let post = post.header("content-type", "text/xml");
    let answer = post
        .body(reqwest::Body::wrap_stream(stream))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);

    let entries = behind.journal().await;
    let flagged = entries.iter().filter(|e| {
        e.opening
            .flags
            .iter()
            .any(|f| &**f == "refused_soap_header")
    });
    assert_eq!(flagged.count(), 1, "the malformed one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soap_call_names_its_request_by_the_block_and_goes_out_with_its_own() {
    let (address, called) = application().await;
    let mut behind = Behind::start(|options| {
        with_soap(options);
        for name in ["ledger", "other"] {
            options
                .routes
                .insert(name.to_owned(), format!("http://{address}"));
        }
    })
    .await;
    let request = behind.request().await;
    let parent = RequestIdentifier::parse(request.as_bytes()).unwrap();
    let copied = soap::write(PLAIN.as_bytes(), &parent).unwrap();
    for (service, marked) in [("ledger", true), ("other", false)] {
        let egress = behind.sidecar.egress_addr();
        let post = behind.fleet.http.post(format!("http://{egress}/soap/book"));
        let post = post
            .header("host", service)
            .header("content-type", "text/xml");
        assert_eq!(
            post.body(copied.clone()).send().await.unwrap().status(),
            200
        );
        let (headers, came) = called.lock().unwrap().pop().unwrap();
        let block = soap::read(&came).unwrap().unwrap();
        let own = RequestIdentifier::parse(block).unwrap();
        if marked {
            assert_eq!(headers["selvedge-request"].as_bytes(), block);
            assert_eq!(
                (own.origin(), own.depth()),
                (parent.origin(), parent.depth() + 1)
            );
        } else {
            assert_eq!(
                (own, headers.get("selvedge-request")),
                (parent.clone(), None)
            );
        }
    }
    let entries = behind.journal().await;
    let calls: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.opening.direction == Direction::Outbound)
        .collect();
    assert_eq!(calls.len(), 1);
    let call = calls[0].opening.call.as_ref().unwrap();
    assert_eq!(call.peer.as_deref(), Some("ledger"));
}
