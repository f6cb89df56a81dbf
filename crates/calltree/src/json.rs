//! The tree's JSON form, as the outside interface fixes it (design.md section 11).
//!
//! Every field of that form is always there; beyond it a node has `status`, `outcome`,
//! `deliveries` (where several hosts received one call), `actions`, `events` and `flags`, each left
//! out where empty.
//! Durations and latencies are nanoseconds, ids hex, an entry is named by its position. Ids are
//! unique within a tree: where short ids repeat, `@depth` and, if need be, `~n` follow. A lost
//! root is named by its origin.

use std::borrow::Cow;
use std::collections::BTreeMap;

use selvedge_entry::{Fields, Link, Outcome, Timestamp};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::Observation;
use crate::tree::{Evidence, Tree};
use crate::view::NodeView;

type Str<'a> = Cow<'a, str>;

/// A tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeJson<'a> {
    /// The root request's id.
    pub origin: Str<'a>,
    /// No node is inferred, ambiguous or unanchored, and the root is there.
    pub complete: bool,
    /// Breadth first, the root first.
    pub nodes: Vec<NodeJson<'a>>,
    /// Related contexts, never parents.
    pub links: Vec<LinkJson<'a>>,
    /// Names of [`crate::Flag`]s.
    pub flags: Vec<Str<'a>>,
    /// Sentences for the reader.
    pub warnings: Vec<Str<'a>>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeJson<'a> {
    /// The interaction's id.
    pub id: Str<'a>,
    /// The receiving service.
    pub service: Option<Str<'a>>,
    /// What was asked.
    pub operation: Option<Str<'a>>,
    /// The receiving host.
    pub host: Option<Str<'a>>,
    /// Calls between it and the root.
    pub depth: u32,
    /// The caller's id; null for the root, and where it is not known.
    pub parent: Option<Str<'a>>,
    /// Ids of the calls it made, in order.
    pub children: Vec<Str<'a>>,
    /// `observed`, `one-sided`, `inferred` or `ambiguous`.
    pub evidence: Str<'a>,
    /// The nearest entry below it, if nobody logged it.
    pub inferred_from: Option<Str<'a>>,
    /// How many levels are lost from that entry up to and including it.
    pub levels_lost: u32,
    /// All nodes that fit, if it is ambiguous.
    pub candidates: Vec<Str<'a>>,
    /// Received (or sent), on the root's clock.
    pub start: Option<Timestamp>,
    /// The same as its own clock said it.
    pub start_raw: Option<Timestamp>,
    /// How far `start` may be off, in nanoseconds; null where nothing bounds it.
    pub skew_bound: Option<u64>,
    /// Nanoseconds.
    pub duration: Option<u64>,
    /// Why it failed.
    pub error: Option<Str<'a>>,
    /// The quantum of work it cost.
    pub work: Option<u64>,
    /// Nanoseconds from sent to received, corrected.
    pub latency_in: Option<i64>,
    /// Small values by name.
    pub attributes: BTreeMap<Str<'a>, Str<'a>>,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `ok`, `refused`, `error` or `unknown`.
    #[serde(default)]
    pub outcome: Str<'a>,
    /// All receivers of one call, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<EntryJson<'a>>,
    /// What the service noted that it did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<EntryJson<'a>>,
    /// What its entries say was odd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Str<'a>>,
    /// What happened while the callee worked, or while its caller waited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventJson<'a>>,
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventJson<'a> {
    /// When, on its own clock.
    pub at_raw: Timestamp,
    /// What.
    pub name: Str<'a>,
    /// Small values by name.
    pub attributes: BTreeMap<Str<'a>, Str<'a>>,
}

/// One entry of a node: a delivery or an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryJson<'a> {
    /// Its position.
    pub entry: Str<'a>,
    /// The service that wrote it.
    pub service: Str<'a>,
    /// The host it ran on.
    pub host: Str<'a>,
    /// What was done.
    pub operation: Str<'a>,
    /// When, on its own clock.
    pub start_raw: Timestamp,
    /// Nanoseconds.
    pub duration: Option<u64>,
    /// How it ended.
    pub outcome: Str<'a>,
    /// Why it failed.
    pub error: Option<Str<'a>>,
    /// Small values by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Str<'a>, Str<'a>>,
    /// What happened meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventJson<'a>>,
}

/// A related context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkJson<'a> {
    /// The node whose entry names it.
    pub node: Str<'a>,
    /// The other origin.
    pub origin: Str<'a>,
    /// The other interaction.
    pub interaction: Str<'a>,
}

/// A tree that becomes JSON node by node, while it is written.
struct Written<'t>(&'t Tree<'t>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tree = self.0;
        let ids = tree.ids();
        let nodes = Sequence(|| tree.nodes().map(|node| node_json(&node, &ids)));
        let links = Sequence(|| {
            tree.links()
                .map(|(node, link)| link_json(&node, link, &ids))
        });
        let mut form = serializer.serialize_struct("Tree", 6)?;
        form.serialize_field("origin", &tree.origin().to_string())?;
        form.serialize_field("complete", &tree.is_complete())?;
        form.serialize_field("nodes", &nodes)?;
        form.serialize_field("links", &links)?;
        let flags: Vec<&str> = tree.flags().iter().map(|flag| flag.as_str()).collect();
        form.serialize_field("flags", &flags)?;
        form.serialize_field("warnings", &tree.warnings())?;
        form.end()
    }
}

/// A list that is made while it is written.
struct Sequence<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Sequence<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Tree<'_> {
    /// What writes the same as [`Tree::to_json`], in little memory however large the tree is.
    pub fn written(&self) -> impl Serialize {
        Written(self)
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> TreeJson<'_> {
        let ids = self.ids();
        let links = self.links();
        let links = links.map(|(node, link)| link_json(&node, link, &ids));
        TreeJson {
            origin: self.origin().to_string().into(),
            complete: self.is_complete(),
            nodes: self.nodes().map(|node| node_json(&node, &ids)).collect(),
            links: links.collect(),
            flags: self
                .flags()
                .iter()
                .map(|flag| flag.as_str().into())
                .collect(),
            warnings: self.warnings().into_iter().map(Cow::from).collect(),
        }
    }

    /// The unique id of every node, by its number.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .nodes()
            .map(|node| match node.id() {
                Some(id) if node.level() > 0 || node.evidence() != Evidence::Inferred => {
                    id.to_string()
                }
                _ => self.origin().to_string(),
            })
            .collect();
        tell_apart(&mut ids, |at, _| format!("@{}", self.nodes[at].level));
        tell_apart(&mut ids, |_, nth| format!("~{nth}"));
        ids
    }
}

/// Adds a suffix to those ids that are not unique.
fn tell_apart(ids: &mut [String], suffix: impl Fn(usize, usize) -> String) {
    let mut sorted: Vec<usize> = (0..ids.len()).collect();
    sorted.sort_by(|&a, &b| ids[a].cmp(&ids[b]).then(a.cmp(&b)));
    let same: Vec<Vec<usize>> = sorted
        .chunk_by(|&a, &b| ids[a] == ids[b])
        .filter(|same| same.len() > 1)
        .map(<[usize]>::to_vec)
        .collect();
    for same in same {
        for (nth, at) in same.into_iter().enumerate() {
            ids[at].push_str(&suffix(at, nth + 1));
        }
    }
}

fn link_json(node: &NodeView<'_>, link: Link, ids: &[String]) -> LinkJson<'static> {
    LinkJson {
        node: ids[node.index().get()].clone().into(),
        origin: link.origin.to_string().into(),
        interaction: link.interaction.to_string().into(),
    }
}

fn node_json<'t>(node: &NodeView<'t>, ids: &[String]) -> NodeJson<'t> {
    let id = |node: NodeView<'_>| -> Str<'t> { ids[node.index().get()].clone().into() };
    let inferred = node.inferred_from();
    let deliveries = node.deliveries();
    let several = if deliveries.len() > 1 {
        deliveries
    } else {
        Vec::new()
    };
    NodeJson {
        id: id(*node),
        service: node.service().map(|text| (&**text).into()),
        operation: node.operation().map(|text| (&**text).into()),
        host: node.host().map(|text| (&**text).into()),
        depth: node.depth(),
        parent: node.parent().map(id),
        children: node.children().map(id).collect(),
        evidence: node.evidence().as_str().into(),
        inferred_from: inferred.map(|(handle, _)| handle.to_string().into()),
        levels_lost: inferred.map_or(0, |(_, levels)| levels),
        candidates: node.candidates().into_iter().map(id).collect(),
        start: node.start(),
        start_raw: node.start_raw(),
        skew_bound: node.skew_bound(),
        duration: node.duration_ns(),
        error: node.error().map(|text| text.to_string().into()),
        work: node.work(),
        latency_in: node.latency_in_ns(),
        attributes: node
            .attributes()
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        status: node.status(),
        outcome: outcome(node.outcome()).into(),
        deliveries: several.into_iter().map(entry_json).collect(),
        actions: node.actions().into_iter().map(entry_json).collect(),
        flags: node
            .odd()
            .into_iter()
            .map(|text| (&**text).into())
            .collect(),
        events: [node.inbound(), node.outbound()]
            .into_iter()
            .flatten()
            .flat_map(events)
            .collect(),
    }
}

fn events(entry: &Observation) -> impl Iterator<Item = EventJson<'_>> {
    let moments = entry
        .details
        .as_ref()
        .map_or(&[][..], |details| &details.moments);
    moments.iter().map(|moment| EventJson {
        at_raw: moment.at,
        name: (&*moment.name).into(),
        attributes: values(&moment.attributes),
    })
}

fn values(fields: &Fields) -> BTreeMap<Str<'_>, Str<'_>> {
    let fields = fields.iter();
    fields
        .map(|(key, value)| ((&**key).into(), (&**value).into()))
        .collect()
}

fn entry_json(entry: &Observation) -> EntryJson<'_> {
    EntryJson {
        entry: entry.handle.to_string().into(),
        service: (&*entry.service).into(),
        host: (&*entry.host).into(),
        operation: (&*entry.action).into(),
        start_raw: entry.at,
        duration: entry.duration_ns,
        outcome: outcome(entry.outcome).into(),
        error: entry.error.as_deref().map(Cow::from),
        attributes: entry
            .details
            .as_ref()
            .map(|details| values(&details.attributes))
            .unwrap_or_default(),
        events: events(entry).collect(),
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Refused => "refused",
        Outcome::Error => "error",
        Outcome::Unknown => "unknown",
    }
}
