//! The JSON form of an entry: what the query API, `selvedge log --json` and the timeline show.
//!
//! The names are those of the outside interface and stay. Every name is always there, `null` or
//! empty where nothing is known, so that a reader needs no special cases. Kept fields stand
//! beside `method` and `path` in `request` and `response`; a field that came several times is a
//! list, and one that is called like a name of ours (`bytes`, `body`, `truncated`, `status`) has
//! `field.` put before it.

use std::collections::BTreeMap;

use selvedge_identity::{Interaction, Origin};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::{Data, Entry, Fields, Link, StateWrite};

impl Entry {
    /// The JSON form as a value (its keys sorted; serialising the entry itself keeps the order of
    /// the interface).
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Cannot fail: every key is a text, and no number is outside of JSON's.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let opening = &self.opening;
        let closing = self.closing.as_ref();
        let call = opening.call.as_ref();
        let after: Vec<_> = opening
            .after
            .iter()
            .map(|follow| &follow.position)
            .collect();
        let interaction = call.map(|call| {
            call.interaction.map_or_else(
                || call.identifier.own().to_string(),
                |whole| whole.to_string(),
            )
        });
        let links: Vec<_> = opening.links.iter().map(LinkJson::from).collect();
        let status = Some(self.status()).filter(|status| *status != 0);

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ordering", &self.ordering())?;
        map.serialize_entry("after", &after)?;
        map.serialize_entry("server", &self.position.server)?;
        map.serialize_entry("epoch", &self.position.epoch)?;
        map.serialize_entry("sequence", &self.position.sequence)?;
        map.serialize_entry("session", &opening.session)?;
        map.serialize_entry("service", &opening.service)?;
        map.serialize_entry("version", &opening.version)?;
        map.serialize_entry("action", &opening.action)?;
        map.serialize_entry("client", &opening.client)?;
        map.serialize_entry("origin", &call.map(|call| call.identifier.origin()))?;
        map.serialize_entry("interaction", &interaction)?;
        map.serialize_entry("depth", &call.map(|call| call.identifier.depth()))?;
        map.serialize_entry("direction", opening.direction.as_str())?;
        map.serialize_entry("host", &opening.host)?;
        map.serialize_entry("peer", &call.and_then(|call| call.peer.as_ref()))?;
        map.serialize_entry("peer_host", &call.and_then(|call| call.peer_host.as_ref()))?;
        map.serialize_entry("generated", &opening.generated)?;
        map.serialize_entry("received", &opening.at)?;
        map.serialize_entry("duration", &closing.map(|closing| closing.duration_ns))?;
        map.serialize_entry("outcome", self.outcome().as_str())?;
        map.serialize_entry("status", &status)?;
        map.serialize_entry("error", &closing.and_then(|closing| closing.error.as_ref()))?;
        map.serialize_entry("work", &closing.map(|closing| closing.work))?;
        map.serialize_entry("request", &self.request_json())?;
        map.serialize_entry("response", &self.response_json())?;
        map.serialize_entry("unseen", &opening.unseen)?;
        map.serialize_entry("flags", &opening.flags)?;
        map.serialize_entry("attributes", &self.attributes())?;
        map.serialize_entry("state", &self.state().map(StateJson).collect::<Vec<_>>())?;
        map.serialize_entry("links", &links)?;
        map.end()
    }
}

impl Entry {
    /// All its attributes by name; of those given several times the last.
    #[must_use]
    pub fn attributes(&self) -> BTreeMap<&str, &str> {
        let mut all = BTreeMap::new();
        let effect = self.effect.as_ref().map(|(_, effect)| &effect.attributes);
        let closing = self.closing.as_ref().map(|closing| &closing.attributes);
        let parts = [Some(&self.opening.attributes), effect, closing];
        for (name, value) in parts.into_iter().flatten().flatten() {
            all.insert(&**name, &**value);
        }
        all
    }

    fn request_json(&self) -> Object<'_> {
        let opening = &self.opening.request;
        let closing = self.closing.as_ref();
        let mut object = Object::default();
        for name in [Data::METHOD, Data::PATH] {
            let value = opening
                .field(name)
                .or_else(|| closing.and_then(|closing| closing.request.field(name)));
            object.put(name, json!(value));
        }
        for data in [Some(opening), closing.map(|closing| &closing.request)] {
            object.fields(data.map(|data| &data.fields), &[Data::METHOD, Data::PATH]);
        }
        let later = closing.map(|closing| &closing.request);
        object.body(
            closing.map(|closing| closing.request_bytes),
            [Some(opening), later],
        );
        object
    }

    fn response_json(&self) -> Object<'_> {
        let closing = self.closing.as_ref();
        let status = Some(self.status()).filter(|status| *status != 0);
        let mut object = Object::default();
        object.put("status", json!(status));
        object.fields(closing.map(|closing| &closing.response.fields), &[]);
        object.body(
            closing.map(|closing| closing.response_bytes),
            [closing.map(|closing| &closing.response), None],
        );
        object
    }
}

#[derive(serde::Serialize)]
struct LinkJson {
    origin: Origin,
    interaction: Interaction,
}

impl From<&Link> for LinkJson {
    fn from(link: &Link) -> Self {
        Self {
            origin: link.origin,
            interaction: link.interaction,
        }
    }
}

/// A write of the session's state: its value where it was kept to be shown.
struct StateJson<'a>(&'a StateWrite);

impl Serialize for StateJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let write = self.0;
        let value = write.value.as_ref();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("name", &write.name)?;
        map.serialize_entry("bytes", &value.map(bytes::Bytes::len))?;
        let shown = value.filter(|_| !write.hidden);
        map.serialize_entry("value", &shown.map(|value| body_json(value)))?;
        map.serialize_entry("replaces", &write.replaces)?;
        map.end()
    }
}

/// Names of ours in `request` and `response`, which no kept field may take.
const RESERVED: [&str; 4] = ["bytes", "body", "truncated", "status"];

/// A JSON object that keeps the order its names came in.
#[derive(Default)]
struct Object<'a> {
    members: Vec<(std::borrow::Cow<'a, str>, Value)>,
}

impl<'a> Object<'a> {
    fn put(&mut self, name: &'static str, value: Value) {
        self.members.push((name.into(), value));
    }

    /// The kept fields but for those named in `except`.
    fn fields(&mut self, fields: Option<&'a Fields>, except: &[&str]) {
        for (name, value) in fields.into_iter().flatten() {
            if except.contains(&&**name) {
                continue;
            }
            let name = if RESERVED.contains(&&**name) {
                format!("field.{name}").into()
            } else {
                std::borrow::Cow::Borrowed(&**name)
            };
            match self.members.iter_mut().find(|(held, _)| *held == name) {
                None => self.members.push((name, json!(&**value))),
                Some((_, Value::Array(list))) => list.push(json!(&**value)),
                Some((_, held)) => *held = json!([held.take(), &**value]),
            }
        }
    }

    fn body(&mut self, bytes: Option<u64>, parts: [Option<&Data>; 2]) {
        let parts = || parts.iter().rev().flatten();
        let body = parts().find_map(|data| data.body.as_ref());
        let truncated = parts().any(|data| data.truncated);
        self.put("bytes", json!(bytes));
        self.put("body", body.map_or(Value::Null, |body| body_json(body)));
        self.put("truncated", json!(truncated));
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members.iter().map(|(name, value)| (name, value)))
    }
}

/// A body that parses as JSON as JSON, else text as text, else `{"base64": …}`.
fn body_json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| match std::str::from_utf8(body) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": base64(body)}),
    })
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            // One byte makes two digits, two make three.
            out.push(if digit <= group.len() {
                DIGITS[value] as char
            } else {
                '='
            });
        }
    }
    out
}
