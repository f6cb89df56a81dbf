//! `docs/formats/sv-vectors.json`: what `sv` members say, and what a hop makes of the headers it
//! received. The propagators for other languages are held against the same file, so it is written
//! by this crate (`SELVEDGE_BLESS=1`) and compared on every run.

use selvedge_identity::carrier::{Headers, extract, inject};
use selvedge_identity::{
    DEPTH_MAX, Interaction, Origin, RequestIdentifier, Shape, StackId, TraceParent,
};
use serde_json::{Value, json};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/formats/sv-vectors.json"
);

/// Numbers that look random and are the same everywhere (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn interaction(&mut self) -> Interaction {
        Interaction::from_random(self.next().to_be_bytes())
    }

    fn origin(&mut self) -> Origin {
        let bytes = [self.next().to_be_bytes(), self.next().to_be_bytes()].concat();
        Origin::from_random(bytes.try_into().expect("16 bytes"))
    }

    fn shape(&mut self) -> Shape {
        Shape {
            k: 1 + self.below(16) as u8,
            width: 1 + self.below(8) as u8,
            depth_increment: 1,
        }
    }
}

/// An identifier as a chain of services of different shapes leaves it.
fn identifier(numbers: &mut Numbers, own: Interaction) -> RequestIdentifier {
    let origin = numbers.origin();
    let depth = match numbers.below(4) {
        0 => 0,
        1 => numbers.below(40) as u32,
        2 => numbers.below(u64::from(DEPTH_MAX)) as u32,
        _ => DEPTH_MAX - 1,
    };
    let first = [StackId::from(numbers.interaction())];
    let mut id = RequestIdentifier::from_parts(origin, depth, 16, &first).expect("in range");
    for _ in 0..numbers.below(18) {
        id = id.advance(numbers.interaction(), numbers.shape());
    }
    id.advance(own, numbers.shape())
}

/// What a hop of `shape` sends for a call of its own, given what it received.
fn hop(traceparent: &str, tracestate: Option<&str>, own: Interaction, shape: Shape) -> Value {
    let headers = Headers {
        request: None,
        traceparent: Some(traceparent.as_bytes()),
        tracestate: tracestate.map(str::as_bytes),
    };
    let extracted = extract(headers, true, shape);
    let received = extracted.identifier.expect("a good traceparent");
    let sent = inject(
        &received.advance(own, shape),
        own,
        extracted.flags,
        extracted.tracestate.as_deref(),
    );
    json!({
        "ids": shape.k,
        "id_bytes": shape.width,
        "received": {"traceparent": traceparent, "tracestate": tracestate},
        "own": own.to_string(),
        "ignored_hop": extracted.ignored_hop,
        "refused": extracted.sv_fault.map(|fault| fault.to_string()),
        "sent": {"traceparent": sent.traceparent.as_str(), "tracestate": sent.tracestate.as_str()},
    })
}

/// A character replaced, removed or added; whatever comes out, the Rust side says what it means.
fn damaged(value: &str, numbers: &mut Numbers) -> String {
    let mut text = value.as_bytes().to_vec();
    let at = numbers.below(text.len() as u64) as usize;
    let other = b"ABz09-_=!~"[numbers.below(10) as usize];
    match numbers.below(3) {
        0 => text[at] = other,
        1 => drop(text.remove(at)),
        _ => text.insert(at, other),
    }
    // A second `=` would break the whole list in one SDK and not in another.
    String::from_utf8_lossy(&text).replace('=', "A")
}

fn vectors() -> Value {
    let mut numbers = Numbers(3);
    let mut hops = Vec::new();
    for case in 0..120 {
        let parent = numbers.interaction();
        let id = identifier(&mut numbers, parent);
        let sent = inject(&id, parent, 1, Some("other=1,vendor@x=y z"));
        let (own, shape) = (numbers.interaction(), numbers.shape());
        let with = |interaction| {
            let traceparent = TraceParent {
                origin: id.origin(),
                interaction,
                flags: 1,
            };
            traceparent.text().to_string()
        };
        let state = &sent.tracestate;
        hops.push(match case % 6 {
            0..=2 => hop(&sent.traceparent, Some(state), own, shape),
            // A hop between passed it on.
            3 => hop(&with(numbers.interaction()), Some(state), own, shape),
            4 => {
                let (member, others) = state.split_once(',').expect("others");
                let member = damaged(&member["sv=".len()..], &mut numbers);
                let state = format!("sv={member},{others}");
                hop(&with(parent), Some(&state), own, shape)
            }
            _ => {
                let state = (case % 12 < 6).then_some("other=1");
                hop(&with(parent), state, own, shape)
            }
        });
    }
    json!({"hops": hops})
}

#[test]
fn the_vectors_are_what_this_crate_reads_and_writes() {
    let vectors = vectors();
    if std::env::var_os("SELVEDGE_BLESS").is_some() {
        let hops = vectors["hops"].as_array().expect("a list");
        let lines: Vec<String> = hops.iter().map(Value::to_string).collect();
        let text = format!("{{\"hops\": [\n{}\n]}}\n", lines.join(",\n"));
        std::fs::write(FILE, text).expect("written");
    }
    let kept = std::fs::read(FILE).expect("the vectors are there");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert!(
        kept == vectors,
        "the format changed; if that is meant: SELVEDGE_BLESS=1 cargo test -p selvedge-identity"
    );
}
