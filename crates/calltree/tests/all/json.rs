//! The JSON form of trees, made from whole entries.

use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::{Call, Closing, Direction, Entry, Link, Opening, Outcome, Timestamp};
use selvedge_identity::{Epoch, Interaction, Origin, Position, RequestIdentifier, StackId};
use serde_json::{Value, json};

fn id(byte: u8) -> Interaction {
    Interaction::from_random([byte; 8])
}

fn origin() -> Origin {
    Origin::new(1, [2; 10])
}

/// An entry of `server` whose identifier holds the calls `stack`, oldest first.
fn entry(server: &str, sequence: u64, direction: Direction, stack: &[u8], peer: &str) -> Entry {
    let ids: Vec<StackId> = stack.iter().map(|&byte| StackId::of(id(byte), 4)).collect();
    let depth = stack.len() as u32 - 1;
    let identifier = RequestIdentifier::from_parts(origin(), depth, 6, &ids);
    let own = stack[stack.len() - 1];
    Entry {
        position: Position {
            server: server.parse().expect("a name"),
            epoch: Epoch {
                counter: 1,
                random: 7,
            },
            sequence,
        },
        opening: Opening {
            call: Some(Call {
                identifier: identifier.expect("a valid stack"),
                interaction: (direction == Direction::Outbound).then(|| id(own)),
                peer: Some(peer.into()),
                peer_host: None,
            }),
            version: "1".into(),
            host: format!("host-of-{server}").as_str().into(),
            attributes: vec![("key".into(), "opening".into())],
            ..Opening::new(direction, server, "GET /", Timestamp(1_000_000_000))
        },
        effect: None,
        closing: Some(Closing {
            duration_ns: 500,
            status: 200,
            outcome: Outcome::Ok,
            work: 3,
            ..Closing::default()
        }),
    }
}

fn tree(entries: &[Entry]) -> Value {
    let observations = entries.iter().filter_map(Observation::of).collect();
    let builder = TreeBuilder::batch(origin(), observations);
    serde_json::to_value(builder.tree().to_json()).expect("a tree is json")
}

#[test]
fn a_call_that_both_sides_logged_has_every_field() {
    let root = entry("gateway", 1, Direction::Inbound, &[1], "client");
    let mut sent = entry("gateway", 2, Direction::Outbound, &[1, 2], "shop");
    sent.opening.at = Timestamp(1_000_000_100);
    let closing = sent.closing.as_mut().expect("closed");
    closing.duration_ns = 300;
    let mut received = entry("shop", 1, Direction::Inbound, &[1, 2], "gateway");
    received.opening.at = Timestamp(5_000_000_150);
    received.opening.links = vec![Link {
        origin: Origin::new(9, [9; 10]),
        interaction: id(9),
    }];
    let closing = received.closing.as_mut().expect("closed");
    (closing.duration_ns, closing.status, closing.outcome) = (200, 503, Outcome::Error);
    closing.attributes = vec![
        ("key".into(), "closing".into()),
        ("item".into(), "7".into()),
    ];
    let action = entry("shop", 2, Direction::Internal, &[1, 2], "gateway");

    let json = tree(&[root, sent, received, action]);
    assert_eq!(json["origin"], origin().to_string());
    assert_eq!(json["complete"], true);
    assert_eq!(json["flags"], json!(["skewed", "error"]));
    assert_eq!(json["warnings"], json!([]));
    assert_eq!(json["nodes"][0]["id"], "01010101");
    assert_eq!(json["nodes"][0]["children"], json!(["0202020202020202"]));
    assert_eq!(json["nodes"][0]["error"], Value::Null);
    // The callee's clock is 4 s ahead, known to 50 ns: the call left and came back within that.
    assert_eq!(
        json["nodes"][1],
        json!({
            "id": "0202020202020202",
            "service": "shop",
            "operation": "GET /",
            "host": "host-of-shop",
            "depth": 1,
            "parent": "01010101",
            "children": [],
            "evidence": "observed",
            "inferred_from": null,
            "levels_lost": 0,
            "candidates": [],
            "start": "1970-01-01T00:00:01.000000150Z",
            "start_raw": "1970-01-01T00:00:05.000000150Z",
            "skew_bound": 50,
            "duration": 200,
            "error": "status 503",
            "work": 3,
            "latency_in": 50,
            "attributes": { "key": "closing", "item": "7" },
            "status": 503,
            "outcome": "error",
            "actions": [{
                "entry": "shop/1-0000000000000007/2",
                "service": "shop",
                "host": "host-of-shop",
                "operation": "GET /",
                "start_raw": "1970-01-01T00:00:01.000000000Z",
                "duration": 500,
                "outcome": "ok",
                "error": null,
                "attributes": { "key": "opening" },
            }],
        })
    );
    assert_eq!(
        json["links"],
        json!([{
            "node": "0202020202020202",
            "origin": Origin::new(9, [9; 10]).to_string(),
            "interaction": "0909090909090909",
        }])
    );
}

#[test]
fn a_lost_root_is_named_by_its_origin_and_a_lost_call_says_from_what_it_is_inferred() {
    let json = tree(&[entry("stock", 4, Direction::Inbound, &[1, 2, 3], "shop")]);
    assert_eq!(json["complete"], false);
    assert_eq!(json["flags"], json!(["inferred", "missing_root"]));
    let nodes = &json["nodes"];
    assert_eq!(nodes[0]["id"], origin().to_string());
    assert_eq!(nodes[0]["children"], json!(["02020202"]));
    assert_eq!(nodes[1]["service"], "shop");
    assert_eq!(nodes[1]["evidence"], "inferred");
    assert_eq!(nodes[1]["inferred_from"], "stock/1-0000000000000007/4");
    assert_eq!(nodes[1]["levels_lost"], 1);
    assert_eq!(nodes[1]["start"], Value::Null);
    assert_eq!(nodes[0]["levels_lost"], 2);
    assert_eq!(nodes[2]["evidence"], "one-sided");
    assert_eq!(nodes[2]["parent"], "02020202");
}

#[test]
fn one_call_that_several_hosts_received_is_one_node_with_deliveries() {
    let root = entry("gateway", 1, Direction::Inbound, &[1], "client");
    let sent = entry("gateway", 2, Direction::Outbound, &[1, 2], "wall");
    let walls =
        ["wall-1", "wall-2"].map(|wall| entry(wall, 1, Direction::Inbound, &[1, 2], "gateway"));
    let json = tree(&[root, sent, walls[1].clone(), walls[0].clone()]);
    assert_eq!(json["nodes"].as_array().map(Vec::len), Some(2));
    let hosts: Vec<&Value> = json["nodes"][1]["deliveries"]
        .as_array()
        .expect("several")
        .iter()
        .map(|delivery| &delivery["host"])
        .collect();
    assert_eq!(hosts, ["host-of-wall-1", "host-of-wall-2"]);
}

#[test]
fn several_fitting_parents_are_all_named_and_none_is_drawn() {
    // Two calls of one short id under different callers; the third call's stack is too short to
    // tell which of them made it.
    let root = entry("gateway", 1, Direction::Inbound, &[1], "client");
    let left = entry("left", 1, Direction::Inbound, &[1, 2, 4], "a");
    let right = entry("right", 1, Direction::Inbound, &[1, 3, 4], "b");
    let mut child = entry("child", 1, Direction::Inbound, &[1, 2, 4, 5], "c");
    let short = [4, 5].map(|byte| StackId::of(id(byte), 4));
    let call = child.opening.call.as_mut().expect("a call");
    call.identifier = RequestIdentifier::from_parts(origin(), 3, 2, &short).expect("valid");
    let json = tree(&[root, left, right, child]);
    let nodes = json["nodes"].as_array().expect("nodes");
    let child = nodes
        .iter()
        .find(|node| node["id"] == "05050505")
        .expect("there");
    assert_eq!(child["evidence"], "ambiguous");
    assert_eq!(child["parent"], Value::Null);
    assert_eq!(child["candidates"], json!(["04040404@2~1", "04040404@2~2"]));
    assert_eq!(json["flags"], json!(["inferred", "ambiguous"]));
    assert_eq!(json["complete"], false);
}
