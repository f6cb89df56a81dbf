//! Tests of call trees against made-up systems, whose truth is known.

mod diagnose;
mod json;
mod levels;
mod loss;
mod oracle;
mod order;
mod seeds;
mod size;
mod skew;
mod whole;
mod world;
