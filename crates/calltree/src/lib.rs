//! Rebuilds the call tree of one request from any subset of its entries.
//!
//! Every service that a request passes logs the request identifier that it received and those
//! that it sent. An identifier names not only its own interaction but its newest ancestors, so
//! when whole hosts' logs are gone, the deeper entries still tell who called whom. This crate
//! joins them: [`TreeBuilder`] takes [`Observation`]s in any order, with repeats, and gives the
//! [`Tree`]: the same for any order. Every node says how it is known ([`Evidence`]); what
//! identifiers contradict is never drawn, and where several parents fit all are named.
//!
//! ```
//! use selvedge_calltree::TreeBuilder;
//! # let origin = selvedge_identity::Origin::new(1, [1; 10]);
//! # let observations: Vec<selvedge_calltree::Observation> = Vec::new();
//! let mut builder = TreeBuilder::new(origin);
//! builder.extend(observations);
//! let tree = builder.tree();
//! for (indent, node) in tree.preorder() {
//!     println!("{:indent$}{:?}", "", node.service());
//! }
//! let json = tree.to_json(); // serde: the query API's form
//! # assert!(json.nodes.is_empty());
//! ```
//!
//! Pure: it knows nothing of where entries come from, and its order never depends on a clock.
//! Times are corrected for skew with a bound, beside the raw ones.
//!
//! Requirements: D8-D12, E3.

mod builder;
mod chain;
mod chunks;
mod clocks;
mod diagnose;
mod diagnosis_json;
mod evidence;
mod index;
mod json;
mod levels;
mod observation;
mod order;
mod place;
mod resolve;
mod skeleton;
mod skew;
mod times;
mod tree;
mod view;

pub use builder::{Added, TreeBuilder};
pub use diagnose::{Diagnosis, Fault, Source, Step};
pub use diagnosis_json::{DiagnosisJson, SourceJson, StepJson};
pub use json::{EntryJson, EventJson, LinkJson, NodeJson, TreeJson};
pub use levels::Levels;
pub use observation::{Details, Handle, Moment, Observation};
pub use place::Place;
pub use tree::{Evidence, Flag, NodeIndex, Tree};
pub use view::NodeView;
