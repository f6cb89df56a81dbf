//! Tests of call trees against made-up systems, whose truth is known.

mod loss;
mod oracle;
mod order;
mod whole;
mod world;
