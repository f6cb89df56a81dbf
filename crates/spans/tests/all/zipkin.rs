//! Zipkin's protobuf says what its JSON says.

use proptest::collection::vec;
use proptest::prelude::*;
use selvedge_spans::{Refusal, SpanError, zipkin};
use serde_json::{Map, Value as Json, json};

use crate::encode::{bytes, fixed64, message, number, text};

/// A span as somebody wants to send it; zero and empty is what is not said.
#[derive(Clone, Debug)]
struct Wanted {
    short: bool,
    trace: u8,
    id: u8,
    parent: u8,
    kind: u8,
    name: String,
    timestamp: u32,
    duration: u32,
    local: Endpoint,
    remote: Endpoint,
    annotations: Vec<(u32, String)>,
    tags: Vec<(String, String)>,
    debug: bool,
    shared: bool,
}

#[derive(Clone, Debug)]
struct Endpoint {
    service: String,
    ipv4: [u8; 4],
    ipv6: [u8; 16],
    port: u16,
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let service = "[a-z]{0,3}";
    let fields = (service, any::<[u8; 4]>(), any::<[u8; 16]>(), any::<u16>());
    fields.prop_map(|(service, ipv4, ipv6, port)| Endpoint {
        service,
        ipv4,
        ipv6,
        port,
    })
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let ids = (any::<bool>(), 0..3_u8, 0..4_u8, 0..4_u8, 0..6_u8);
    let times = (0..3_u32, 0..3_u32);
    let annotations = vec((1..9_u32, "[a-z]{0,3}".prop_map(String::from)), 0..3);
    // A map's names are each there once, and JSON's reader sorts them.
    let tags = proptest::collection::btree_map("[a-z]{1,2}|error", "[a-z]{0,3}|false", 0..4);
    let flags = (any::<bool>(), any::<bool>());
    let all = (
        ids,
        "[a-z]{0,3}",
        times,
        (endpoint(), endpoint()),
        annotations,
        tags,
        flags,
    );
    all.prop_map(
        |(ids, name, times, ends, annotations, tags, flags)| Wanted {
            short: ids.0,
            trace: ids.1,
            id: ids.2,
            parent: ids.3,
            kind: ids.4,
            name,
            timestamp: times.0,
            duration: times.1,
            local: ends.0,
            remote: ends.1,
            annotations,
            tags: tags.into_iter().collect(),
            debug: flags.0,
            shared: flags.1,
        },
    )
}

fn as_json(wanted: &Wanted) -> Json {
    const KINDS: [&str; 5] = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];
    let side = |side: &Endpoint| {
        let v4 = std::net::Ipv4Addr::from(side.ipv4).to_string();
        let v6 = std::net::Ipv6Addr::from(side.ipv6).to_string();
        json!({"serviceName": side.service, "ipv4": v4, "ipv6": v6, "port": side.port})
    };
    let width = if wanted.short { 16 } else { 32 };
    let mut span = json!({
        "traceId": format!("{:0width$x}", wanted.trace), "id": format!("{:016x}", wanted.id),
        "parentId": format!("{:016x}", wanted.parent), "name": wanted.name,
        "kind": KINDS.get(usize::from(wanted.kind)).unwrap_or(&"LATER"),
        "localEndpoint": side(&wanted.local), "remoteEndpoint": side(&wanted.remote),
        "debug": wanted.debug, "shared": wanted.shared,
    });
    if wanted.timestamp > 0 {
        span["timestamp"] = json!(wanted.timestamp);
    }
    if wanted.duration > 0 {
        span["duration"] = json!(wanted.duration);
    }
    let annotations = wanted.annotations.iter();
    span["annotations"] = annotations
        .map(|(at, value)| json!({"timestamp": at, "value": value}))
        .collect();
    let tags = wanted.tags.iter();
    let tags: Map<String, Json> = tags.map(|(k, v)| (k.clone(), json!(v))).collect();
    span["tags"] = Json::Object(tags);
    span
}

fn as_protobuf(out: &mut Vec<u8>, wanted: &Wanted) {
    let wide = |byte: u8| {
        let mut id = [0; 16];
        id[15] = byte;
        id
    };
    let side = |out: &mut Vec<u8>, side: &Endpoint| {
        text(out, 1, &side.service);
        bytes(out, 2, &side.ipv4);
        bytes(out, 3, &side.ipv6);
        number(out, 4, u64::from(side.port));
    };
    message(out, 1, |out| {
        // The ids last: the order of fields does not matter.
        number(out, 4, u64::from(wanted.kind));
        text(out, 5, &wanted.name);
        fixed64(out, 6, u64::from(wanted.timestamp));
        number(out, 7, u64::from(wanted.duration));
        message(out, 8, |out| side(out, &wanted.local));
        message(out, 9, |out| side(out, &wanted.remote));
        for (at, value) in &wanted.annotations {
            message(out, 10, |out| {
                fixed64(out, 1, u64::from(*at));
                text(out, 2, value);
            });
        }
        for (key, value) in &wanted.tags {
            message(out, 11, |out| {
                text(out, 1, key);
                text(out, 2, value);
            });
        }
        number(out, 12, u64::from(wanted.debug));
        number(out, 13, u64::from(wanted.shared));
        let skipped = if wanted.short { 8 } else { 0 };
        bytes(out, 1, &wide(wanted.trace)[skipped..]);
        bytes(out, 2, &wide(wanted.parent)[8..]);
        bytes(out, 3, &wide(wanted.id)[8..]);
        // A field of a later release.
        text(out, 77, "unknown");
    });
}

proptest! {
    #[test]
    fn protobuf_says_what_json_says(wanted in vec(wanted(), 0..8)) {
        let json: Json = wanted.iter().map(as_json).collect();
        let mut protobuf = Vec::new();
        wanted.iter().for_each(|wanted| as_protobuf(&mut protobuf, wanted));
        let json = zipkin::from_json(json.to_string().as_bytes()).expect("readable");
        let protobuf = zipkin::from_protobuf(&protobuf).expect("readable");
        prop_assert_eq!(protobuf, json);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(input in vec(any::<u8>(), 0..200)) {
        _ = zipkin::from_protobuf(&input);
    }
}

#[test]
fn a_broken_span_in_protobuf_costs_only_itself() {
    let good = Wanted {
        short: false,
        trace: 1,
        id: 2,
        parent: 0,
        kind: 1,
        name: "good".to_owned(),
        timestamp: 5,
        duration: 1,
        local: Endpoint {
            service: "shop".to_owned(),
            ipv4: [10, 0, 0, 1],
            ipv6: [0; 16],
            port: 80,
        },
        remote: Endpoint {
            service: String::new(),
            ipv4: [0; 4],
            ipv6: [0; 16],
            port: 0,
        },
        annotations: Vec::new(),
        tags: Vec::new(),
        debug: false,
        shared: false,
    };
    let mut list = Vec::new();
    let broken = |list: &mut Vec<u8>, field: u32, value: &[u8]| {
        message(list, 1, |out| {
            bytes(out, 1, &[1; 16]);
            bytes(out, 3, &[2; 8]);
            bytes(out, field, value);
        });
    };
    broken(&mut list, 5, b"\xff"); // a name that is no UTF-8
    broken(&mut list, 6, b"text"); // a time of the wrong type
    broken(&mut list, 8, b"\x12\x03abc"); // an IPv4 address of three bytes
    broken(&mut list, 1, b"abc"); // a trace id of three bytes
    broken(&mut list, 3, &[0; 8]);
    as_protobuf(&mut list, &good);
    let intake = zipkin::from_protobuf(&list).expect("readable");
    let names: Vec<&str> = intake.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["good"]);
    let refused: Vec<_> = intake.refused.into_iter().collect();
    let expected = [
        (Refusal::ZeroId, 1),
        (Refusal::BadId, 1),
        (Refusal::Malformed, 3),
    ];
    assert_eq!(refused, expected);
    let cut = zipkin::from_protobuf(&list[..list.len() - 1]);
    assert!(matches!(cut, Err(SpanError::Format { .. })));
}
