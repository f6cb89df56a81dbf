//! The diagnosis's JSON form: nodes by the ids of the tree's JSON form, times in nanoseconds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::diagnose::Diagnosis;
use crate::tree::{NodeIndex, Tree};

type Str<'a> = Cow<'a, str>;

/// What a tree tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisJson<'a> {
    /// The root request's id.
    pub origin: Str<'a>,
    /// Where failures began; those that reach the root first.
    pub sources: Vec<SourceJson<'a>>,
    /// What the request waited for; parents before their children.
    pub critical_path: Vec<StepJson<'a>>,
}

/// Where a failure began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceJson<'a> {
    /// The node that failed first.
    pub node: Str<'a>,
    /// Its service.
    pub service: Option<Str<'a>>,
    /// What it was asked.
    pub operation: Option<Str<'a>>,
    /// Its host.
    pub host: Option<Str<'a>>,
    /// `failed`, `timed_out`, `unreached` or `broken`.
    pub fault: Str<'a>,
    /// What its entry says.
    pub error: Option<Str<'a>>,
    /// Whether the root failed because of it.
    pub reaches_root: bool,
    /// Nodes that failed because of it, from its caller upwards.
    pub echoes: Vec<Str<'a>>,
    /// Where a call that timed out spent its time.
    pub slowest: Option<Str<'a>>,
}

/// A node's part of the critical path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepJson<'a> {
    /// The node.
    pub node: Str<'a>,
    /// Its service.
    pub service: Option<Str<'a>>,
    /// What it was asked.
    pub operation: Option<Str<'a>>,
    /// Nanoseconds that the request waited for the node's own work.
    pub own: u64,
    /// Nanoseconds that it waited for the way there and back.
    pub network: u64,
}

impl Diagnosis {
    /// The JSON form; `tree` is the tree that was diagnosed.
    #[must_use]
    pub fn to_json<'t>(&self, tree: &'t Tree<'_>) -> DiagnosisJson<'t> {
        let ids = tree.ids();
        let id = |index: NodeIndex| -> Str<'t> { ids[index.get()].clone().into() };
        let source = |source: &crate::Source| {
            let node = tree.node(source.node);
            SourceJson {
                node: id(source.node),
                service: node.service().map(|text| (&**text).into()),
                operation: node.operation().map(|text| (&**text).into()),
                host: node.host().map(|text| (&**text).into()),
                fault: source.fault.as_str().into(),
                error: source.error.as_ref().map(|text| text.to_string().into()),
                reaches_root: source.reaches_root,
                echoes: source.echoes.iter().copied().map(id).collect(),
                slowest: source.slowest.map(id),
            }
        };
        let step = |step: &crate::Step| {
            let node = tree.node(step.node);
            StepJson {
                node: id(step.node),
                service: node.service().map(|text| (&**text).into()),
                operation: node.operation().map(|text| (&**text).into()),
                own: step.own_ns,
                network: step.network_ns,
            }
        };
        DiagnosisJson {
            origin: tree.origin().to_string().into(),
            sources: self.sources.iter().map(source).collect(),
            critical_path: self.critical_path.iter().map(step).collect(),
        }
    }
}
