//! The JSON form of an entry, held against a golden file.

use bytes::Bytes;
use selvedge_entry::{Data, Entry, Fold, Record};
use selvedge_identity::{Epoch, ServerName};
use serde_json::{Value, json};

use crate::fixture::{records, state};

fn fold() -> Fold {
    let epoch = Epoch {
        counter: 3,
        random: 0x9f8e_7d6c_5b4a_3f2e,
    };
    Fold::new(ServerName::new("content-2").unwrap(), epoch)
}

/// The entry of the fixtures' order.
fn order() -> Entry {
    let mut fold = fold();
    let [opening, effect, closing, _, _] = records();
    fold.apply(300, opening);
    fold.apply(301, effect);
    fold.apply(305, closing);
    fold.remove(300).unwrap()
}

#[test]
fn an_entry_shows_every_name_of_the_interface_in_its_order() {
    let text = serde_json::to_string_pretty(&order()).unwrap() + "\n";
    assert_eq!(text, include_str!("fixtures/entry.json"));
}

#[test]
fn what_is_not_known_is_null_or_empty() {
    let mut fold = fold();
    let [_, _, _, whole, _] = records();
    let Record::Whole(opening, _) = whole else {
        panic!("the fourth fixture is a whole record");
    };
    fold.apply(7, Record::Opening(opening));
    let json = fold.get(7).unwrap().to_json();
    for name in [
        "ordering",
        "session",
        "client",
        "origin",
        "interaction",
        "depth",
        "peer",
        "peer_host",
        "generated",
        "duration",
        "status",
        "error",
        "work",
    ] {
        assert_eq!(json[name], Value::Null, "{name}");
        assert!(json.as_object().unwrap().contains_key(name), "{name}");
    }
    for name in ["after", "unseen", "flags", "state", "links"] {
        assert_eq!(json[name], json!([]), "{name}");
    }
    assert_eq!(json["outcome"], "unknown");
    let nothing =
        json!({"method": null, "path": null, "bytes": null, "body": null, "truncated": false});
    assert_eq!(json["request"], nothing);
    let nothing = json!({"status": null, "bytes": null, "body": null, "truncated": false});
    assert_eq!(json["response"], nothing);
}

#[test]
fn state_is_shown_with_its_value_unless_it_is_hidden() {
    let mut fold = fold();
    let [opening, _, closing, _, _] = records();
    fold.apply(300, opening);
    fold.apply(301, state());
    fold.apply(305, closing);
    let shown = fold.get(300).unwrap().to_json()["state"].clone();
    let replaced = "content-1/3-9f8e7d6c5b4a3f2e/302";
    let cart = json!({"name": "cart", "bytes": 12, "value": {"kettle": 2}, "replaces": [replaced]});
    let address = json!({"name": "address", "bytes": 6, "value": null, "replaces": []});
    let hint = json!({"name": "hint", "bytes": null, "value": null, "replaces": []});
    assert_eq!(shown, json!([cart, address, hint]));
}

#[test]
fn a_body_is_json_else_text_else_base64() {
    let body = |bytes: &'static [u8]| {
        let mut entry = order();
        entry.closing.as_mut().unwrap().response = Data {
            body: Some(Bytes::from_static(bytes)),
            ..Data::default()
        };
        entry.to_json()["response"]["body"].clone()
    };
    assert_eq!(body(b"{\"a\":[1]}"), json!({"a": [1]}));
    assert_eq!(body(b"a < b"), json!("a < b"));
    assert_eq!(body(b""), json!(""));
    assert_eq!(body(&[0xff]), json!({"base64": "/w=="}));
    assert_eq!(body(&[0xff, 0xee]), json!({"base64": "/+4="}));
    assert_eq!(body(&[0xff, 0xee, 0xdd]), json!({"base64": "/+7d"}));
    let deep: &'static [u8] = Vec::leak(vec![b'['; 100_000]);
    assert!(body(deep).is_string());
}
