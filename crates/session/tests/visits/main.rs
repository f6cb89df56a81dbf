//! Timelines against plain models: simulated visits, and any graph at all.

mod client;
mod graph;
mod simulation;
