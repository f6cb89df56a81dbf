//! Tests of call trees against made-up systems, whose truth is known.

mod diagnose;
mod json;
mod loss;
mod oracle;
mod order;
mod size;
mod skew;
mod whole;
mod world;
