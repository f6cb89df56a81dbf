//! Master, replicas and clients in the WAN lab: one master, five sites, four places of clients, with
//! ways of 5 to 80 ms, clocks that are seconds off and drift by 30 parts in a million. Skipped,
//! saying so, without root.

mod clocks;
mod fleet;
mod races;
