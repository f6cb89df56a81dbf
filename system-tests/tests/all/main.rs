//! Tests of the real program. One binary, so that they link once.

mod agents;
mod analysis;
mod bad_spans;
mod balance;
mod bodies;
mod carriers;
mod diagnosis;
mod disk;
mod external;
mod fabric;
mod import;
mod monitors;
mod network;
mod ordering;
mod otlp;
mod processes;
mod propagator;
mod python;
mod real_traces;
mod refusals;
mod sizes;
mod thresholds;
mod transactions;
mod viewers;
mod visit;
mod zipkin_receiver;
